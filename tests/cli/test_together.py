"""Two, and ten, mlmake at once in one repository: every target is made once, by whichever comes first, and nobody fails."""
import json
import shutil
import subprocess

import pytest

from conftest import wait_for, wait_for_line

COUNTS = [2, pytest.param(10, marks=pytest.mark.slow)]
LAYERS, WIDTH = 4, 5


def names(layer):
    return [f"t{layer}{i}" for i in range(WIDTH)]


def lay_out(box, **more):
    """Layers of targets that read what two of the layer above made."""
    targets = {"all": {"needs": names(LAYERS - 1)}}
    for layer in range(LAYERS):
        for i, name in enumerate(names(layer)):
            reads = ["in"] if layer == 0 else [f"out/{names(layer - 1)[i]}", f"out/{names(layer - 1)[(i + 1) % WIDTH]}"]
            targets[name] = {"inputs": reads, "outputs": [f"out/{name}"], **more,
                             "run": f"echo {name} >> ran; cat {' '.join(reads)} > out/{name}; sleep 0.0{i}; echo {name} >> out/{name}"}
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": targets}))
    box.write("in", "in\n")


def expected():
    made = {"in": "in\n"}
    for layer in range(LAYERS):
        for i, name in enumerate(names(layer)):
            above = [made["in"]] if layer == 0 else [made[names(layer - 1)[i]], made[names(layer - 1)[(i + 1) % WIDTH]]]
            made[name] = "".join(above) + name + "\n"
    return made


def at_once(box, requests):
    processes = [box.popen(box.binary, *request, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for request in requests]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(requests), "\n".join(said)


def check(box, runs):
    ran = (box.path / "ran").read_text().split() if (box.path / "ran").exists() else []
    assert sorted(ran) == sorted(name for layer in range(LAYERS) for name in names(layer) for _ in range(runs))
    want = expected()
    for layer in range(LAYERS):
        for name in names(layer):
            assert box.read(f"out/{name}").decode() == want[name]
    assert "nothing to do" in box.mlmake("all").stderr


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("cache", [True, False])
def test_the_same_targets(box, count, cache):
    lay_out(box, cache=cache)
    at_once(box, [["all"]] * count)
    check(box, 1)


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
def test_different_targets(box, count):
    lay_out(box, cache=False)
    at_once(box, [["all"] if i == 0 else [names((i + k) % LAYERS)[(i * k) % WIDTH] for k in range(3)] for i in range(count)])
    check(box, 1)


@pytest.mark.slow
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("lost", ["outputs", "outputs and state", "state"])
def test_restores_from_the_shared_cache(box, count, lost):
    """Restored once a target, and no command runs again."""
    lay_out(box)
    box.mlmake("all")
    (box.path / "ran").rename(box.path / "ran.before")
    if "outputs" in lost:
        shutil.rmtree(box.path / "out")
    if "state" in lost:
        shutil.rmtree(box.path / ".mlmake")
    at_once(box, [["all"]] * count)
    check(box, 0)


@pytest.mark.slow
def test_two_clones_that_share_the_cache(box):
    """Different repositories do not wait for each other; either may run a target, and both have it right."""
    lay_out(box)
    other = box.path.parent / "other"
    shutil.copytree(box.path, other)
    processes = [subprocess.Popen([box.binary, "all"], cwd=path, env=box.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) for path in (box.path, other) for _ in range(3)]
    assert [process.wait(120) for process in processes] == [0] * 6
    want = expected()
    for path in (box.path, other):
        ran = (path / "ran").read_text().split() if (path / "ran").exists() else []
        assert len(ran) == len(set(ran))
        for layer in range(LAYERS):
            for name in names(layer):
                assert (path / "out" / name).read_text() == want[name]


@pytest.mark.slow
def test_what_always_runs_is_not_made_while_another_reads_it(box):
    """Its output is gone while it is made: who reads it then would fail, or see half of it."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "gen": {"always": True, "inputs": ["in"], "outputs": ["gen.out"], "run": "cp in gen.out; sleep 0.1; cat in >> gen.out"},
        **{f"use{n}": {"inputs": ["gen.out"], "outputs": [f"use{n}.out"], "cache": False,
                       "run": f"echo use{n} >> ran; cat gen.out > use{n}.out; sleep 0.3; cat gen.out >> use{n}.out"} for n in range(3)}}}))
    for text in ("1\n", "2\n"):
        box.write("in", text)
        (box.path / "ran").unlink(missing_ok=True)
        processes = [box.popen(box.binary, "-j", "2", f"use{n % 3}", f"use{(n + 1) % 3}", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                     for n in range(4)]
        said = [process.communicate(timeout=60)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, said
        assert sorted(box.read("ran").decode().split()) == ["use0", "use1", "use2"], said
        assert all(box.read(f"use{n}.out").decode() == 4 * text for n in range(3))
        assert "is not remembered" not in str(said)


def test_what_was_away_while_another_made_it_is_looked_at_again(box):
    """use is looked at while another mlmake makes gen.out: once that is over, it is as it was."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "gen": {"always": True, "outputs": ["gen.out"], "run": "while [ -e gen.wait ]; do sleep 0.02; done; echo x > gen.out"},
        "mid": {"always": True, "needs": ["gen"], "run": "touch mid.runs; while [ -e mid.wait ]; do sleep 0.02; done"},
        "use": {"needs": ["mid"], "inputs": ["gen.out"], "outputs": ["use.out"], "cache": False, "run": "echo use >> ran; cp gen.out use.out"}}}))
    box.mlmake("use")
    (box.path / "mid.runs").unlink()
    box.write("mid.wait", "")
    reader = box.popen(box.binary, "use", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for((box.path / "mid.runs").exists)
    box.write("gen.wait", "")
    maker = box.popen(box.binary, "gen", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: not (box.path / "gen.out").exists())
    (box.path / "mid.wait").unlink()
    wait_for_line(reader.stderr, "waiting for 'gen'")
    (box.path / "gen.wait").unlink()
    assert maker.wait(60) == 0
    said = reader.communicate(timeout=60)[1]
    assert reader.returncode == 0, said
    assert box.read("ran") == b"use\n", said
