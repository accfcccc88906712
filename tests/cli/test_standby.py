"""The next of many short targets stands by, its process ready, until there is room for it; never for long."""
import json
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import wait_for


def configure(box, targets):
    box.write("in", "in\n")
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": targets}))


def short(name, **more):
    return {"inputs": ["in"], "outputs": [f"out/{name}"], "run": f"echo {name} > out/{name}", **more}


def busy_slots(**last):
    """One short target, two that take both slots until there is a file `go`, and one more, which stands by for a moment."""
    waits = {name: {"inputs": ["in"], "run": f"touch {name}.began; while [ ! -e go ]; do sleep 0.02; done"} for name in ("b", "c")}
    return {"a": short("a"), **waits, "d": short("d", **last), "all": {"needs": ["a", "b", "c", "d"]}}


def begin(box):
    process = box.popen(box.binary, "-j2", "all", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for(lambda: (box.path / "b.began").exists() and (box.path / "c.began").exists())
    return process


def test_short_targets_stand_by(box):
    configure(box, {**{f"t{i}": short(f"t{i}") for i in range(60)}, "all": {"needs": [f"t{i}" for i in range(60)]}})
    woken = box.calls("futex", "-j2", "all").count("FUTEX_WAKE_PRIVATE, 1")
    assert woken > 10
    assert sorted(os.listdir(box.path / "out")) == sorted(f"t{i}" for i in range(60))
    assert box.mlmake("all").stderr.count("nothing to do") == 1
    # One at a time, nothing starts behind what may yet fail.
    (box.path / "in").write_text("other\n")
    assert box.calls("futex", "-j1", "all").count("FUTEX_WAKE_PRIVATE, 1") == 0


def test_others_may_have_it_when_it_waits_longer(box):
    configure(box, busy_slots())
    process = begin(box)
    said = box.mlmake("d").stderr # which ends before b and c do
    assert "waiting" not in said and box.read("out/d") == b"d\n"
    box.write("go", "")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 0, said
    assert "waiting" not in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_only_stood_by_is_not_touched(box, number):
    configure(box, busy_slots())
    box.write("out/d", "from before\n")
    process = begin(box)
    process.send_signal(number)
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number
    assert box.read("out/d") == b"from before\n"
    assert "'d'" not in said and "d:" not in said


def of_box(box):
    found = []
    for proc in pathlib.Path("/proc").iterdir():
        try:
            if proc.name.isdigit() and os.readlink(proc / "cwd") == str(box.path.resolve()):
                found.append(proc.name)
        except OSError:
            pass
    return found


def test_it_dies_with_mlmake(box):
    configure(box, busy_slots())
    process = begin(box)
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not of_box(box))
    assert not (box.path / "out/d").exists()


@pytest.mark.parametrize("shell, reason", [("./broken", "cannot execute './broken': Exec format error"), ("./none", "none")])
def test_one_that_cannot_be_executed_fails_in_its_turn(box, shell, reason):
    many = {f"t{i}": short(f"t{i}") for i in range(20)}
    configure(box, {**many, "u": short("u", shell=[shell]), "all": {"needs": [*many, "u"]}})
    box.write("broken", b"\177ELFxx", mode=0o755)
    said = box.mlmake("-j2", "-k", "all", check=1).stderr
    assert reason in said
    assert said.count("u failed") <= 1
    assert sorted(os.listdir(box.path / "out")) == sorted(many)
