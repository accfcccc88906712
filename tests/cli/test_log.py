"""mlmake log, --replay: what a target printed stays readable."""
import time
import subprocess
import json
import shutil

import pytest

from conftest import PATIENCE, wait_for

PROJECT = """\
version: 1
rules: []
targets:
  say:
    inputs: [word]
    outputs: [out]
    run: |
      cat word; echo to-stderr >&2
      cp word out
  use:
    inputs: [out]
    run: echo used; test "$(cat out)" != bad
  quiet:
    inputs: [word]
    run: test "$(cat word)" != bad
  check:
    needs: [say, use]
"""


@pytest.fixture
def said(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("word", "".join(f"line {n}\n" for n in range(1, 31)))
    box.mlmake("check", "quiet")
    return box


def test_the_kept_log(said):
    lines = said.mlmake("log", "say").stdout.splitlines()
    assert len(lines) == 31 and "line 1" in lines and "to-stderr" in lines
    assert said.mlmake("log", "-n", 2, "say").stdout.splitlines() == lines[-2:]
    assert said.mlmake("log", "-n", 0, "say").stdout == ""
    assert said.mlmake("log", "--lines=99", "say").stdout.splitlines() == lines
    data = json.loads(said.mlmake("log", "--json", "use").stdout)
    assert data["text"] == "used\n" and data["path"].endswith("/.mlmake/logs/use.log") and data["cut"] is False


def test_nothing_to_show(said):
    result = said.mlmake("log", "quiet")
    assert result.stdout == "" and "quiet printed nothing" in result.stderr
    result = said.mlmake("log", "check", check=1)
    assert "there is no log of 'check'" in result.stderr and "runs nothing itself" in result.stderr
    assert "did you mean 'say'" in said.mlmake("log", "sya", check=2).stderr
    assert "wants one target" in said.mlmake("log", check=2).stderr


def test_the_log_of_a_failure_replaces_that_of_a_success(said):
    said.write("word", "bad")
    said.mlmake("use", check=1)
    assert said.mlmake("log", "use").stdout == "used\n"
    said.mlmake("quiet", check=1)
    assert said.mlmake("log", "quiet").stdout == ""


def test_a_failure_without_output_is_not_taken_for_an_earlier_success(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t:\n    inputs: [word]\n    outputs: [out]\n"
                             "    run: grep good word && touch out\n")
    box.write("word", "good\n")
    box.mlmake("t")
    box.write("word", "bad\n")
    box.mlmake("t", check=1)
    assert box.mlmake("log", "t").stdout == ""


def test_what_was_restored_has_its_log(said):
    said.write("word", "second\n")
    said.mlmake("check")
    said.write("word", "".join(f"line {n}\n" for n in range(1, 31)))
    result = said.mlmake("check")
    assert "say ... restored" in result.stderr and "line 1" not in result.stdout
    assert "line 30" in said.mlmake("log", "say").stdout
    shutil.rmtree(said.path / ".mlmake/logs")
    assert "line 30" in said.mlmake("log", "say").stdout, "from the output cache"


def test_replay(said):
    assert said.mlmake("check").stdout == ""
    result = said.mlmake("--replay", "check")
    assert "line 30" in result.stdout and "used" in result.stdout and "nothing to do" in result.stderr
    assert said.mlmake("use", "--replay").stdout == "used\n", "what it needs was not asked for"
    events = [json.loads(line) for line in said.mlmake("--json", "--replay", "use").stdout.splitlines()]
    assert {"version": 1, "event": "output", "target": "use", "stream": "stdout", "replayed": True, "text": "used\n"} in events
    said.write("word", "third\n")
    assert said.mlmake("--replay", "check").stdout.count("third") == 1, "what runs prints once"


@pytest.mark.slow
def test_follow(box):
    """Through an attempt that fails, until the end of the one that does not."""
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t:\n    retries: 1\n    backoff: 300ms\n    run: |\n"
              "      echo begin; while [ ! -e go ]; do sleep 0.02; done; rm go; echo end; [ -e second ] || { touch second; false; }; echo over\n")
    log = box.path / ".mlmake/logs/t.log"
    run = box.popen(box.binary, "--quiet", "t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(log.exists)
    follower = box.popen(box.binary, "log", "--follow", "t", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert follower.stdout.readline() == "begin\n"
    time.sleep(0.2)
    assert follower.poll() is None
    box.write("go", "")
    assert follower.stdout.readline() == "end\n"
    assert follower.stdout.readline() == "begin\n", "the second attempt"
    box.write("go", "")
    out, err = follower.communicate(timeout=PATIENCE)
    assert out == "end\nover\n" and err == "" and follower.returncode == 0 and run.wait(PATIENCE) == 0
    result = box.mlmake("log", "--follow", "t")
    assert result.stdout == "begin\nend\nover\n" and "t does not run now" in result.stderr
    assert "has no JSON" in box.mlmake("log", "--follow", "--json", "t", check=2).stderr


@pytest.mark.slow
def test_following_does_not_hold_up_a_run(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {run: 'for i in $(seq 20); do echo $i; sleep 0.02; done'}\n")
    for _ in range(3):
        run = box.popen(box.binary, "t", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        followers = [box.popen(box.binary, "log", "--follow", "t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
        _, said = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0 and "waiting" not in said
        for follower in followers:
            follower.wait(PATIENCE)
