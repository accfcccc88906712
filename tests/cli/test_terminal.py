"""Terminals and pipes: 20 columns, dumb ones, none, closed and full streams, for every family of commands."""
import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

import pytest

from conftest import PATIENCE

# One of each family that prints a result; and its exit code where all is well.
FAMILIES = [
    (["t"], 0), (["run", "-B", "t"], 0), (["-n", "-B", "t"], 0), (["list"], 0), (["list", "--json"], 0), (["why", "t"], 0), (["log", "t"], 0),
    (["graph"], 0), (["stats"], 0), (["clean", "-n"], 0), (["cache", "status"], 0), (["rules"], 0), (["schema"], 0), (["hook", "status"], 1),
    (["completion", "bash"], 0), (["help"], 0), (["version"], 0), (["new"], 0), (["doctor"], 0), (["data", "status"], 0), (["data", "root"], 0),
    (["data", "remote", "list"], 0), (["data", "config", "--list"], 0), (["ci", "check"], 1), (["-B", "--json", "t"], 0),
]
SILENT = {"t", "data status", "rules"}  # may print nothing on stdout, or all on stderr


@pytest.fixture
def work(gitbox):
    gitbox.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "t": {"desc": "a target whose description is longer than twenty columns", "inputs": ["in"], "outputs": ["out"],
              "run": "echo this line is longer than twenty columns; cp in out"},
        "lint": {"inputs": ["in"], "run": "true"},
        "slow-with-a-long-name": {"run": "sleep 0.6"}, "überlang-größer": {"run": "sleep 0.6"}, "both": {"needs": ["slow-with-a-long-name", "überlang-größer"]}}}))
    gitbox.write("in", "x")
    gitbox.mlmake("data", "init")
    gitbox.mlmake("data", "remote", "add", "-d", "store", "store")
    gitbox.mlmake("t")
    return gitbox


@pytest.mark.slow
def test_a_large_file_is_seen_to_advance(work):
    with open(work.path / "large", "wb") as f:
        f.truncate(600 << 20)

    def seen(verb, *args):
        code, said = on_terminal(work, "data", *args, columns=80)
        assert code == 0
        return {int(count) for count in re.findall(rf"{verb} [^\r]*?  (\d+)(?:\.\d+)? MiB", said)}
    assert len(seen("adding", "add", "large") - {600}) >= 2
    (work.path / "large").unlink()
    assert len(seen("checking out", "checkout") - {600}) >= 2
    os.utime(work.path / "large")
    assert len(seen("hashing", "status") - {600}) >= 2
    assert len(seen("verifying", "verify") - {600}) >= 2


def on_terminal(box, *args, columns=20, seconds=PATIENCE, **env):
    """The exit code, and all that came on a terminal that is both stdout and stderr."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([box.binary, *args], cwd=box.path, env={**box.env, "TERM": "xterm", **env}, stdin=theirs, stdout=theirs, stderr=theirs,
                               start_new_session=True)
    os.close(theirs)
    said, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                chunk = os.read(ours, 65536)
            except OSError: # the other end is closed
                break
            if not chunk:
                break
            said += chunk
    os.close(ours)
    return process.wait(PATIENCE), said.decode()


@pytest.mark.slow
@pytest.mark.parametrize("args, code", FAMILIES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_terminal_of_20_columns(work, args, code):
    got, said = on_terminal(work, *args)
    assert got == code, said
    # A live line is drawn in place: it must not wrap.
    for drawn in re.findall(r"\r([^\r\n\x1b]*)\x1b\[K", said):
        assert len(drawn) < 20, repr(drawn)
    plain = re.sub(r"\x1b\[[0-9;]*[mK]", "", said)
    assert "\x1b" not in plain and "\x00" not in plain


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {}])
def test_the_live_line(work, env):
    code, said = on_terminal(work, "-j2", "both", **env)
    drawn = re.findall(r"\r([^\r\n\x1b]*)\x1b\[K", said)
    assert code == 0 and "both: done in" in said
    if env.get("TERM") == "dumb":
        assert "\x1b" not in said
        return
    assert any("[0/3]" in line for line in drawn) and all(len(line) < 20 for line in drawn), drawn
    assert said.rindex("\x1b[K") < said.rindex("both: done in"), "nothing is left of it"
    assert not re.search(r"\x1b\[[0-9;]*m", said), "a run that succeeds has no colours"
    code, said = on_terminal(work, "-j2", "both", columns=100, **env)
    drawn = re.findall(r"\r([^\r\n\x1b]*)\x1b\[K", said)
    assert any(re.search(r"\[0/3\] 0\.[0-9]+s ETA 1\.0s|\[0/3\] 0\.[0-9]+s ETA 0*1", line) or "ETA" in line for line in drawn), drawn
    assert any("überlang-größer" in line and "slow-with-a-long-name" in line for line in drawn)


def test_colours_of_an_error(work):
    code, said = on_terminal(work, "tt", columns=100)
    assert code == 2 and "\x1b[31merror:\x1b[0m there is no target 'tt'" in said
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        code, said = on_terminal(work, "tt", columns=100, **env)
        assert code == 2 and "\x1b" not in said and "error: there is no target 'tt'" in said


@pytest.mark.slow
def test_the_eta_in_events(work):
    work.mlmake("-j2", "both")
    events = [json.loads(line) for line in work.mlmake("-j2", "--json", "both").stdout.splitlines()]
    started = [event for event in events if event["event"] == "started"]
    assert all(300 <= event["eta_ms"] <= 3000 for event in started), started
    assert "eta_ms" not in [event for event in events if event["event"] == "finished"][-1]
    one = [json.loads(line) for line in work.mlmake("-j1", "--json", "both").stdout.splitlines()]
    eta = [event["eta_ms"] for event in one if event["event"] == "started"]
    assert eta[0] > 1.5 * eta[1], "one after the other"


@pytest.mark.slow
@pytest.mark.parametrize("args, code", FAMILIES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_full_stdout_is_a_failure(work, args, code):
    with open("/dev/full", "w", encoding="ascii") as full:
        result = subprocess.run([work.binary, *args], cwd=work.path, env=work.env, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                                text=True, check=False, timeout=30)
    if " ".join(args) in SILENT and result.returncode == code:
        return
    assert result.returncode == 1 and ("No space left" in result.stderr or code == 1), result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("args, code", FAMILIES, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_reader_that_goes_is_no_crash(work, args, code):
    reads, writes = os.pipe()
    os.close(reads)
    result = subprocess.run([work.binary, *args], cwd=work.path, env=work.env, stdin=subprocess.DEVNULL, stdout=writes, stderr=subprocess.PIPE,
                            text=True, check=False, timeout=30)
    os.close(writes)
    assert result.returncode in (1, code) and "Broken pipe" not in result.stderr, result.stderr
    if " ".join(args) not in SILENT:
        assert result.returncode == 1


def test_head_gets_its_line_and_the_run_goes_on(work):
    """A target's output that nobody reads is no reason to end it."""
    work.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "t": {"outputs": ["end"], "run": "for i in $(seq 2000); do echo line $i of many that nobody reads; done; echo x > end"}}}))
    result = work.run("sh", "-c", f"{work.binary} --quiet t | head -1")
    assert result.stdout == "line 1 of many that nobody reads\n" and result.stderr == ""
    assert work.read("end") == b"x\n"


def test_an_interactive_target_has_the_terminal(work):
    work.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "ask": {"interactive": True, "run": "test -t 0 && test -t 1 && test -t 2 && stty size"}}}))
    code, said = on_terminal(work, "ask", columns=33)
    assert code == 0 and "24 33" in said
    assert work.mlmake("ask", check=1).stdout == "", "and without one it is not made up"
