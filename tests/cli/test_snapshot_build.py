"""After a run that made much, mlmake looks at once whether anything is to do, as the next run would: that one is told, and nothing wrong."""
import os
import pathlib
import tempfile

import pytest

from conftest import BUILD, Sandbox
from test_snapshot import Asked, is_short

COUNT = 300 # shortcut.c: AGAIN_MIN is 256
ENOUGH = 256
FAULTY = BUILD / "mlmake-fault"


@pytest.fixture
def memory_box():
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="snapshot-", dir=memory) as directory:
        yield Sandbox(pathlib.Path(directory))


def config(count, extra=""):
    lines = ["version: 1\nrules: []\ntargets:\n"]
    lines += [f"  t{i}: {{inputs: [in/{i}], outputs: [out/{i}], run: 'cat in/{i} > out/{i}'}}\n" for i in range(count)]
    return "".join(lines) + extra + "  all:\n    needs: [" + ", ".join(f"t{i}" for i in range(count)) + (", last" if extra else "") + "]\n"


def fill(box, extra="", count=COUNT):
    for i in range(count):
        box.write(f"in/{i}", f"{i}\n")
    box.write("mlmake.yaml", config(count, extra))


def test_the_first_run_keeps_the_graph(box):
    """Also where it makes .mlmake itself, which makes the project's directory new."""
    for number in range(5):
        (box.path / f"{number}").mkdir()
        box.write(f"{number}/mlmake.yaml", "version: 1\ntargets:\n  t: {inputs: [in], outputs: [out], run: cp in out}\n")
        box.write(f"{number}/in", "")
        box.run("sleep", "0.02")
        box.mlmake("t", cwd=box.path / f"{number}")
        assert len(list((box.path / f"{number}/.mlmake/graphs").iterdir())) == 1


@pytest.mark.slow
def test_the_first_run_after_a_build_goes_the_short_way(box):
    fill(box)
    built = box.mlmake("-v", "all")
    assert "this answer is kept as a snapshot" in built.stderr.split("all: done in")[1]
    first = Asked(box, "all")
    assert is_short(first) and f"nothing to do ({COUNT} up to date)" in first.stderr
    box.write("in/7", "changed\n")
    second = Asked(box, "all")
    assert not is_short(second) and "(1 ran" in second.stderr and box.read("out/7") == b"changed\n"
    assert "nothing to do" in box.mlmake("all").stderr
    # Everything anew, from what a snapshot of before is there of.
    for i in range(COUNT):
        box.write(f"in/{i}", f"anew {i}\n")
    assert f"({COUNT} ran" in box.mlmake("all").stderr
    assert is_short(Asked(box, "all"))
    (box.path / "out/3").unlink()
    assert "nothing to do" not in box.mlmake("all").stderr and box.read("out/3") == b"anew 3\n"


@pytest.mark.slow
def test_a_little_is_left_to_the_next_run(box):
    fill(box)
    box.mlmake("all")
    for i in range(COUNT // 5):
        box.write(f"in/{i}", f"changed {i}\n")
    assert "kept as a snapshot" not in box.mlmake("-v", "all").stderr
    assert "nothing to do" in box.mlmake("all").stderr


@pytest.mark.slow
@pytest.mark.parametrize("what", ["an input changes meanwhile", "an output changes meanwhile", "a target fails", "one always runs"])
def test_a_build_after_which_something_is_to_do(box, what):
    """The last target leaves the others not up to date: no answer is kept, and the next run does what is to do."""
    command, options = {
        "an input changes meanwhile": ("echo late > in/5", "inputs: [mlmake.yaml], outputs: [stamp]"),
        "an output changes meanwhile": ("echo late > out/5", "inputs: [mlmake.yaml], outputs: [stamp]"),
        "a target fails": ("exit 1", "inputs: [mlmake.yaml], outputs: [stamp]"),
        "one always runs": ("true", "always: true, outputs: [stamp]"),
    }[what]
    needs = ", ".join(f"t{i}" for i in range(COUNT))
    fill(box, f"  last: {{needs: [{needs}], {options}, run: 'test -e stamp || {{ : > stamp.made; {command}; }}; : > stamp'}}\n")
    built = box.mlmake("-v", "all", check=None)
    assert built.returncode == (1 if what == "a target fails" else 0)
    assert "kept as a snapshot" not in built.stderr
    second = Asked(box, "all", check=None)
    assert not is_short(second) and "nothing to do" not in second.stderr
    if what != "one always runs":
        assert box.read("out/5") == (b"late\n" if what.startswith("an input") else b"5\n")


@pytest.mark.slow
@pytest.mark.parametrize("strike", ["any:KILL:{}", "any:ENOSPC:{}+"])
def test_struck_while_it_looks_again(memory_box, tmp_path, strike):
    """The build is done and says so; whatever strikes it then, the next run is right."""
    box, log = memory_box, tmp_path / "log"
    if not FAULTY.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    fill(box, count=ENOUGH)

    def build(number, what):
        box.write("mlmake.yaml", config(ENOUGH).replace("cat in/", f"echo {number} - in/"))
        log.unlink(missing_ok=True)
        return box.run(FAULTY, "-v", "all", MLMAKE_FAULT=what, MLMAKE_FAULT_LOG=log)

    assert "kept as a snapshot" in build(0, "any:EIO:1000000").stderr
    calls = int(log.read_text().split()[-1])
    for number in range(1, 4):
        built = build(number, strike.format(calls + 2 - 4 * number))
        if built.returncode == 0:
            assert f"nothing to do ({ENOUGH} up to date)" in box.mlmake("all").stderr
        else:
            assert built.returncode == -9 or "error: " in built.stderr or "failed: " in built.stderr
            box.mlmake("all")
        for i in range(ENOUGH):
            assert box.read(f"out/{i}") == f"{number} - in/{i}\n".encode()
        assert "nothing to do" in box.mlmake("all").stderr
