"""mlmake --watch: again when what was read changes."""
import contextlib
import json
import os
import pathlib
import queue
import signal
import subprocess
import threading
import time

import pytest

from conftest import wait_for

WAIT = 120 # less says nothing on a busy machine


class Watch:
    """A running mlmake --watch --json, and its events as they come."""

    def __init__(self, box, *args):
        self.process = subprocess.Popen([box.binary, "--watch", "--json", *args], cwd=box.path, env=box.env, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.events, self.errors = queue.Queue(), []
        self.threads = [threading.Thread(target=self.read), threading.Thread(target=self.read_errors)]
        for thread in self.threads:
            thread.start()

    def read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def read_errors(self):
        for line in self.process.stderr:
            self.errors.append(line)

    def until(self, name, seconds=WAIT):
        """The events up to the next of that name."""
        seen = []
        while not seen or seen[-1]["event"] != name:
            try:
                seen.append(self.events.get(timeout=seconds))
            except queue.Empty:
                raise AssertionError(f"no {name}: {seen} {self.errors}") from None
        return seen

    def ran(self):
        """What ran until it waits again: {target: outcome}; and what had changed."""
        seen = self.until("watching")
        changed = [event["paths"] for event in seen if event["event"] == "changed"]
        outcomes = {event["target"]: event["outcome"] for event in seen if event["event"] == "finished"}
        return {target: outcome for target, outcome in outcomes.items() if outcome != "up-to-date"}, changed[0] if changed else None

    def said(self, text):
        deadline = time.monotonic() + WAIT
        while not any(text in line for line in self.errors) and time.monotonic() < deadline:
            time.sleep(0.02)
        return any(text in line for line in self.errors)

    def quiet(self, seconds=0.5):
        """Nothing but waiting again."""
        time.sleep(seconds)
        while not self.events.empty():
            event = self.events.get()
            assert event["event"] == "watching", event

    def end(self, number=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(WAIT)
        for thread in self.threads:
            thread.join()
        return code


@pytest.fixture
def watch(box):
    with contextlib.ExitStack() as stack:
        def begin(*args):
            started = Watch(box, *args)
            stack.callback(lambda: (started.end(signal.SIGKILL), started.process.stdout.close(), started.process.stderr.close()))
            return started
        yield begin


def config(box, targets, **top):
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], **top, "targets": targets}))


TARGETS = {
    "gen": {"inputs": ["src/**/*.py", "!src/skip.py"], "outputs": ["out/gen"], "run": "cat $(find src -name '*.py' | sort) > out/gen"},
    "use": {"inputs": ["out/gen", "named.txt"], "params": ["params.yaml:a"], "outputs": ["out/use"], "run": "cat out/gen named.txt > out/use"},
}


@pytest.fixture
def work(box):
    config(box, TARGETS)
    for name in ("src/a.py", "src/skip.py", "src/note.txt", "named.txt"):
        box.write(name, name)
    box.write("params.yaml", "a: 1\nb: 1\n")
    return box


def replace(path, text):
    """As editors do."""
    new = path.with_name(path.name + "~")
    new.write_text(text)
    new.rename(path)


@pytest.mark.slow
def test_what_was_read_runs_again(work, watch):
    w = watch("use")
    assert w.ran() == ({"gen": "succeeded", "use": "succeeded"}, None)
    work.write("src/a.py", "edited")
    assert w.ran() == ({"gen": "succeeded", "use": "succeeded"}, ["src/a.py"])
    replace(work.path / "named.txt", "renamed over")
    assert w.ran() == ({"use": "succeeded"}, ["named.txt"])
    work.write("params.yaml", "a: 2\nb: 1\n")
    assert w.ran()[0]["use"] == "succeeded"
    work.write("src/deep/er/b.py", "a new directory")
    assert w.ran()[0]["gen"] == "succeeded"
    assert b"a new directory" in work.read("out/use")
    work.write("src/deep/er/b.py", "and what is in it")
    assert w.ran() == ({"gen": "succeeded", "use": "succeeded"}, ["src/deep/er/b.py"])
    (work.path / "src/deep").rename(work.path / "elsewhere")
    assert w.ran()[0]["gen"] == "restored" and b"and what" not in work.read("out/use")
    (work.path / "src/a.py").chmod(0o755)
    assert w.ran()[0]["gen"] == "succeeded", "the executable bit is content"
    assert w.end() == 130


@pytest.mark.slow
def test_what_was_not_read_is_nobodys_business(work, watch):
    w = watch("use")
    w.ran()
    for name in ("src/skip.py", "src/note.txt", "other.txt", "out/new"):
        work.write(name, "x")
    made = work.read("out/use")
    work.write("out/use", "by hand")
    w.quiet()
    work.write("out/use", made)
    work.write("params.yaml", "b: 2\na: 1\n")
    os.utime(work.path / "src/a.py")
    w.quiet()
    assert w.end(signal.SIGTERM) == 143


@pytest.mark.slow
def test_a_running_target_that_is_stale_starts_again(work, watch):
    config(work, {"slow": {"inputs": ["in"], "outputs": ["out"], "run": "cat in > out; echo $$ > pid; if grep -q slow in; then sleep 60; fi"},
                  "other": {"inputs": ["named.txt"], "run": "sleep 1; echo other >> ran"}, "all": {"needs": ["slow", "other"]}})
    work.write("in", "slow 1")
    w = watch("-j2", "all")
    wait_for(lambda: (work.path / "pid").exists() and work.read("pid"))
    first = int(work.read("pid"))
    work.write("in", "slow 1")
    time.sleep(0.4)
    assert pathlib.Path(f"/proc/{first}").exists(), "the same content"
    work.write("in", "quick")
    seen = w.until("watching")
    assert [event["reasons"] for event in seen if event["event"] == "restarted"] == [["in changed"]]
    outcomes = {event["target"]: event["outcome"] for event in seen if event["event"] == "finished"}
    assert outcomes["slow"] == outcomes["other"] == "succeeded"
    assert not pathlib.Path(f"/proc/{first}").exists()
    assert work.read("out") == b"quick" and work.read("ran") == b"other\n", "others are left alone"
    assert w.end() == 130


@pytest.mark.slow
def test_the_configuration_is_read_again(work, watch):
    w = watch("use")
    w.ran()
    config(work, {**TARGETS, "use": {**TARGETS["use"], "inputs": ["out/gen", "src/note.txt"], "run": "cp src/note.txt out/use"}})
    assert w.ran()[0]["use"] == "succeeded" and work.read("out/use") == b"src/note.txt"
    work.write("src/note.txt", "an input now")
    assert w.ran()[0]["use"] == "succeeded"
    work.write("mlmake.yaml", "version: [")
    seen = w.until("watching")
    assert seen[0] == {"version": 1, "event": "changed", "paths": ["mlmake.yaml"]}
    assert w.said("error"), "it says what is wrong, and waits"
    config(work, TARGETS)
    assert w.ran()[0]["use"] in ("succeeded", "restored")
    assert w.end() == 130


@pytest.mark.slow
def test_a_definition_that_changes_while_its_target_runs(work, watch):
    config(work, {"serve": {"inputs": ["named.txt"], "run": "echo one >> said; sleep 60"}})
    w = watch("serve")
    wait_for((work.path / "said").exists)
    config(work, {"serve": {"inputs": ["named.txt"], "run": "echo two >> said"}})
    w.ran()
    assert work.read("said") == b"one\ntwo\n"
    assert w.end() == 130


def test_failures_are_waited_out(work, watch):
    config(work, {"bad": {"inputs": ["named.txt"], "run": "grep -q good named.txt"}, "late": {"inputs": ["src/a.py"], "run": "true"},
                  "all": {"needs": ["bad", "late"]}})
    w = watch("-k", "all")
    assert w.ran()[0] == {"bad": "failed", "late": "succeeded", "all": "skipped"}
    work.write("named.txt", "good")
    assert w.ran()[0] == {"bad": "succeeded"}
    assert w.end() == 130


@pytest.mark.slow
def test_a_target_that_writes_what_it_reads(work, watch):
    """Else it would run for ever."""
    config(work, {"circle": {"inputs": ["named.txt"], "run": "date +%s%N > named.txt; echo x >> ran"}})
    w = watch("circle")
    assert w.said("waiting for another change")
    time.sleep(0.5)
    runs = len(work.read("ran").split())
    time.sleep(0.7)
    assert 3 <= runs <= 12 and len(work.read("ran").split()) == runs
    assert w.end() == 130


def test_ctrl_c_while_a_target_runs(work, watch):
    config(work, {"slow": {"inputs": ["named.txt"], "run": "sleep 60"}})
    w = watch("slow")
    w.until("started")
    assert w.end() == 130


@pytest.mark.slow
def test_more_changes_than_the_kernel_can_tell(work, watch):
    """The queue holds 16384 events: mlmake is stopped while there are more."""
    w = watch("use")
    w.ran()
    w.process.send_signal(signal.SIGSTOP)
    for n in range(9000):
        (work.path / f"src/x{n}").write_text("")
    work.write("src/new.py", "lost among them")
    w.process.send_signal(signal.SIGCONT)
    assert w.ran()[0]["gen"] == "succeeded"
    assert b"lost among them" in work.read("out/use")
    work.write("src/a.py", "and it goes on")
    assert w.ran()[0]["gen"] == "succeeded"
    assert w.end() == 130


def test_for_people(work):
    process = work.popen(work.binary, "--watch", "use", stderr=subprocess.PIPE, text=True)
    lines = []

    def until(text):
        for line in process.stderr:
            lines.append(line)
            if text in line:
                return
        raise AssertionError(lines)
    until("watching for changes; Ctrl-C ends")
    for n in range(5):
        work.write(f"src/new{n}.py", "x")
    until("changed: src/new0.py, src/new1.py, src/new2.py and 2 more")
    until("watching for changes")
    process.send_signal(signal.SIGINT)
    assert process.wait(WAIT) == 130
    process.stderr.close()


@pytest.mark.parametrize("option", ["-n", "-q", "--touch", "--since=HEAD"])
def test_what_does_not_go_together(work, option):
    assert "it goes with none of" in work.mlmake("--watch", option, "use", check=2).stderr


def test_a_wrong_beginning_ends(work):
    assert "--watch wants a target" in work.mlmake("--watch", check=2).stderr
    assert "there is no target 'usee'" in work.mlmake("--watch", "usee", check=2).stderr
