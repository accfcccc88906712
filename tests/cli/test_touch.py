"""mlmake --touch: what is there counts as made from what is there now."""
import json

import pytest


@pytest.fixture
def made(box):
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "gen": {"inputs": ["in"], "outputs": ["mid"], "run": "echo gen >> ran; cat in > mid"},
        "use": {"inputs": ["mid"], "outputs": ["end"], "run": "echo use >> ran; cat mid > end"},
        "check": {"needs": ["use"], "inputs": ["in"], "run": "echo check >> ran"},
        "loud": {"run": "echo loud >> ran"}}}))
    box.write("in", "1")
    box.mlmake("check")
    assert ran(box) == ["gen", "use", "check"]
    return box


def ran(box):
    path = box.path / "ran"
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_outputs_are_accepted_as_they_are(made):
    made.write("in", "2")
    assert "gen: would be accepted: in changed" in made.mlmake("-n", "--touch", "check").stdout
    result = made.mlmake("--touch", "check")
    assert "gen ... accepted as it is" in result.stderr and "2 accepted, 1 up to date" in result.stderr
    assert made.read("mid") == b"1" and ran(made) == []
    assert "nothing to do (3 up to date)" in made.mlmake("check").stderr
    assert "accepted as it was (--touch)" in made.mlmake("why", "gen").stdout
    made.write("mid", "by hand")
    made.mlmake("--touch", "use")
    assert made.read("mid") == b"by hand" and made.read("end") == b"1" and "nothing to do" in made.mlmake("check").stderr
    made.write("in", "3")
    made.mlmake("check")
    assert ran(made) == ["gen", "use", "check"] and made.read("end") == b"3"


def test_what_was_accepted_is_not_shared(made):
    """The output cache must not learn that 1 is made from 2."""
    made.write("in", "2")
    made.mlmake("--touch", "gen")
    (made.path / "mid").unlink()
    made.mlmake("gen")
    assert made.read("mid") == b"2" and ran(made) == ["gen"]


def test_missing_outputs_are_refused(made):
    made.write("in", "2")
    (made.path / "mid").unlink()
    result = made.mlmake("--touch", "check", check=1)
    assert "'mid' is not there to be accepted; without --touch it is made" in result.stderr
    assert "gen" in made.mlmake("-n", "check").stdout and ran(made) == []
    events = [json.loads(line) for line in made.mlmake("stats", "--json").stdout.split("\n\n") if line.strip()]
    assert all(target["failed"] == 0 for target in events[0]["targets"]), "refusing is no failed run"


def test_what_always_runs_has_nothing_to_accept(made):
    assert "'loud' always runs: there is nothing to accept" in made.mlmake("--touch", "loud").stderr
    assert ran(made) == []


def test_events(made):
    made.write("in", "2")
    lines = [json.loads(line) for line in made.mlmake("--touch", "gen", "--json").stdout.splitlines()]
    assert [e["outcome"] for e in lines if e["event"] == "finished"] == ["accepted"] and lines[-1]["accepted"] == 1
