"""kill -9 during a run: the next run finishes the work, and nothing half-made is taken for made."""
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import PATIENCE, wait_for, wait_for_line

CHAIN = """\
version: 1
rules: []
targets:
""" + "".join(f"""\
  t{i}:
    inputs: [{f'o{i - 1}' if i else 'in'}]
    outputs: [o{i}]
    run: echo {i} >> ran; cat {f'o{i - 1}' if i else 'in'} > o{i}; sleep 0.05; echo {i} >> o{i}
""" for i in range(8))


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.08, 0.2, 0.3])
def test_the_next_run_finishes(box, after):
    box.write("mlmake.yaml", CHAIN)
    box.write("in", "start\n")
    process = box.popen(box.binary, "t7", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    time.sleep(after)
    process.kill()
    process.wait()
    box.mlmake("t7")
    assert box.read("o7") == b"start\n" + b"".join(b"%d\n" % i for i in range(8))
    assert "nothing to do" in box.mlmake("t7").stderr


ORPHANS = {
    "a child": "(BODY) & wait",
    "a child that ignores every signal": "(trap '' HUP INT TERM QUIT PIPE USR1 USR2; BODY) & wait",
    "a session of its own": "setsid sh -c 'BODY' & wait",
    "a daemon": "(setsid sh -c '(BODY) < /dev/null > /dev/null 2>&1 &' &) ; while :; do :; done",
    "a process group of its own": "set -m; (BODY) & wait",
    "nohup": "nohup sh -c 'BODY' > /dev/null 2>&1 & wait",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ORPHANS)
def test_an_orphan_does_not_write_behind_the_next_run(box, kind):
    """What a killed run leaves behind holds the target's lock until it ends, whatever it does about signals and groups."""
    box.write("in", "")
    body = ORPHANS[kind].replace("BODY", "echo started >> ran; until test -e go; do sleep 0.02; done; echo orphan >> out")
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "t": {"inputs": ["in"], "outputs": ["out"], "run": f"if test ! -e second; then {body}; fi; echo whole > out"}}}))
    process = box.popen(box.binary, "t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    process.kill()
    process.wait()
    box.write("second", "")
    with box.popen(box.binary, "t", stderr=subprocess.PIPE, text=True) as next_run:
        wait_for_line(next_run.stderr, "waiting for 't'")
        box.write("go", "")
        next_run.communicate(timeout=PATIENCE)
    assert next_run.returncode == 0 and box.read("out") == b"whole\n"
    assert "nothing to do" in box.mlmake("t").stderr


@pytest.mark.slow
def test_killed_at_random_it_never_lies(box):
    """Whatever the moment, what a later run calls up to date is what the commands make."""
    box.write("mlmake.yaml", """\
version: 1
rules: []
targets:
  a: {inputs: [in], outputs: [a.out], run: "cp in a.out; sleep 0.01; echo a >> a.out"}
  b: {inputs: [a.out], outputs: [b], run: "mkdir b; cp a.out b/1; sleep 0.01; cp a.out b/2"}
""")
    for round_number in range(12):
        text = f"{round_number % 4}\n"
        box.write("in", text)
        process = box.popen(box.binary, "b", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.004 * round_number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        box.mlmake("b")
        want = (text + "a\n").encode()
        assert (box.read("a.out"), box.read("b/1"), box.read("b/2")) == (want, want, want)
        assert sorted(os.listdir(box.path / "b")) == ["1", "2"]
