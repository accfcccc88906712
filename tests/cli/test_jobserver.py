"""GNU make's jobserver, with the real make on either side: the most that runs at once, and that no token is lost."""
import json
import os
import signal
import subprocess
import sys

import pytest

from conftest import PATIENCE, need_peer, wait_for

MARK = "#!/bin/sh\necho \"+$1\" >> \"$TRAIL\"; sleep ${2:-0.15}; echo \"-$1\" >> \"$TRAIL\"\n"
# A client of the jobserver as make is one: one job on its own slot, one for each token that it gets, six in all.
CLIENT = "all: 1 2 3 4 5 6\n1 2 3 4 5 6:\n\t@$(MARK) $(P)$@\n"


def most(box):
    """How many ran at once at most; none may be left over."""
    running = top = 0
    for line in (box.path / "trail").read_text().split():
        running += 1 if line[0] == "+" else -1
        top = max(top, running)
    (box.path / "trail").unlink()
    assert running == 0
    return top


@pytest.fixture
def work(box):
    box.write("mark", MARK, 0o755)
    box.write("client.mk", CLIENT)
    box.env.update(TRAIL=box.path / "trail", MARK=box.path / "mark")
    return box


def project(box, targets, where="", **top):
    for target in targets.values():
        target.setdefault("pass_env", ["TRAIL", "MARK", "FLAGS"])
    box.write(where + "mlmake.yaml", json.dumps({"version": 1, "rules": [], **top, "targets": targets}))


def make_in(name):
    return {"run": f"make -s -f client.mk P={name}"}


@pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow), 3])
def test_make_below_targets_shares_their_slots(work, jobs):
    need_peer("make")
    project(work, {"a": make_in("a"), "b": make_in("b"), "w": {"run": "$MARK w; $MARK w"}, "all": {"needs": ["a", "b", "w"]}})
    result = work.mlmake(f"-j{jobs}", "all")
    assert "jobserver" not in result.stderr
    assert most(work) == jobs


@pytest.mark.slow
def test_a_target_has_the_processors_that_it_asked_for(work):
    need_peer("make")
    project(work, {"a": {**make_in("a"), "resources": {"cpu": 3}}, "b": {"run": "$MARK b 0.5"}, "all": {"needs": ["a", "b"]}})
    work.mlmake("-j4", "all")
    assert most(work) == 4


@pytest.mark.slow
def test_what_dies_with_tokens_is_made_good(work):
    """The first target takes all tokens and never gives them back: the next has its share all the same."""
    need_peer("make")
    work.write("thief", "#!/bin/bash\nfds=${MAKEFLAGS##*--jobserver-auth=}\ndd bs=1 count=2 <&${fds%,*} > got\nkill -9 $$\n", 0o755)
    project(work, {"thief": {"run": "./thief || true"}, "b": {**make_in("b"), "after": ["thief"]}})
    work.mlmake("-j3", "thief", "b", MLMAKE_JOBSERVER="pipe")
    assert work.read("got") == b"++" and most(work) == 3


def test_the_environment_says_so_and_the_key_does_not(work):
    project(work, {"t": {"inputs": ["client.mk"], "run": "echo \"$MAKEFLAGS\""},
                   "own": {"run": "echo \"<$MAKEFLAGS>\"", "env": {"MAKEFLAGS": ""}},
                   "off": {"run": "echo \"$${MAKEFLAGS-unset}\""},
                   "ninja": {"run": "echo ninja \"$MAKEFLAGS\""}})
    first = work.mlmake("-j3", "t", MLMAKE_JOBSERVER="pipe").stdout
    assert first.startswith("-j3 --jobserver-auth=") and "," in first
    assert "nothing to do" in work.mlmake("-j5", "t", MLMAKE_JOBSERVER="fifo").stderr, "no part of the key"
    assert work.mlmake("own").stdout == "<>\n", "what the file says wins"
    assert "--jobserver-auth=fifo:/proc/" in work.mlmake("ninja").stdout
    assert work.mlmake("off", MLMAKE_JOBSERVER="off").stdout == "unset\n"
    assert "-l2.5 -j2 --jobserver-auth=" in work.mlmake("-B", "-j2", "-l", "2.5", "t").stdout


@pytest.mark.parametrize("has, style", [("make with --jobserver-style in it", "fifo:/proc/"), ("an older make", "auth=1"), (None, "fifo:/proc/")])
def test_the_style_is_one_that_make_understands(work, has, style):
    work.write("bin/env-of", "#!/bin/sh\n", 0o755)
    if has:
        work.write("bin/make", has, 0o755)
    for name in ("sh", "cat"):
        (work.path / "bin" / name).symlink_to(f"/bin/{name}")
    project(work, {"t": {"run": "echo \"$MAKEFLAGS\""}})
    said = work.mlmake("t", PATH=work.path / "bin").stdout
    assert ("fifo:/proc/" in said) == (style == "fifo:/proc/")


@pytest.mark.slow
def test_a_fifo_is_followed_by_a_client(work):
    """Any client: Python in place of a make that is new enough."""
    client = work.write("client.py", """\
import os, subprocess, sys
auth = [word for word in os.environ["MAKEFLAGS"].split() if word.startswith("--jobserver-auth=fifo:")][-1].split(":", 1)[1]
fd, running, todo = os.open(auth, os.O_RDWR), [], 6
while todo or running:
    while todo and (not running or len(running) < 4):
        token = None
        if running:
            os.set_blocking(fd, False)
            try:
                token = os.read(fd, 1)
            except BlockingIOError:
                break
        running.append((subprocess.Popen([os.environ["MARK"], sys.argv[1] + str(todo)]), token))
        todo -= 1
    process, token = running.pop(0)
    process.wait()
    if token:
        os.write(fd, token)
""")
    project(work, {name: {"run": f"{sys.executable} {client} {name}"} for name in "ab"} | {"all": {"needs": ["a", "b"]}})
    work.mlmake("-j3", "all", MLMAKE_JOBSERVER="fifo")
    assert most(work) == 3


OUTER = """\
.PHONY: all x y z
all: x y z
x y:
\t+@$(M) -C $@ $(T)
z:
\t@$(MARK) z
"""


@pytest.fixture
def outer(work):
    need_peer("make")
    work.write("outer.mk", OUTER)
    for where in "xy":
        targets = {name: {"run": f"$MARK {where}-{name}"} for name in "abc"}
        targets["m"] = {"run": f"make -s -f ../client.mk P={where}-m"}
        targets["fails"] = {"run": f"$MARK {where}-f; false"}
        targets["dies"] = {"run": "kill -9 $$"}
        targets["late"] = {"run": "exec sleep 5", "timeout": "100ms"}
        targets["all"] = {"needs": ["a", "b", "c", "m"]}
        targets["bad"] = {"needs": ["a", "fails", "dies", "late", "b"]}
        project(work, targets, where + "/")
    return work


@pytest.mark.parametrize("jobs", [2, 3, 5])
@pytest.mark.slow
def test_targets_take_tokens_of_the_make_above(outer, jobs):
    result = outer.run("make", "-s", f"-j{jobs}", "-f", "outer.mk", "T=all", f"M={outer.binary} --quiet", check=0)
    assert "jobserver" not in result.stderr
    assert most(outer) == jobs


@pytest.mark.slow
def test_failures_and_deaths_give_their_tokens_back(outer):
    result = outer.run("make", "-k", "-s", "-j3", "-f", "outer.mk", "T=bad", f"M={outer.binary} --quiet -k", check=2)
    assert "jobserver tokens" not in result.stderr, "make counts them at its end"
    assert "killed by signal 9" in result.stderr and "longer than 0.10s" in result.stderr
    assert 1 <= most(outer) <= 3


def test_without_a_plus_the_pipe_is_not_passed_on(outer):
    outer.write("outer.mk", OUTER.replace("+@", "@"))
    result = outer.run("make", "-s", "-j3", "-f", "outer.mk", "x", "T=a", f"M={outer.binary} --quiet", check=0)
    assert "begins with '+'" in result.stderr


def under_a_jobserver(box, tokens, *args):
    """mlmake below a jobserver of ours, and what counts its tokens."""
    reads, writes = os.pipe()
    os.write(writes, tokens)
    process = subprocess.Popen([box.binary, *args], cwd=box.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, pass_fds=(reads, writes),
                               env={**{k: str(v) for k, v in box.env.items()}, "MAKEFLAGS": f" -j{len(tokens) + 1} --jobserver-auth={reads},{writes}"})
    os.close(writes)
    return process, reads


def left(reads):
    os.set_blocking(reads, False)
    try:
        return sorted(os.read(reads, 100))
    except BlockingIOError:
        return []
    finally:
        os.close(reads)


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (None, 0)])
def test_every_token_comes_back(work, number, code):
    names = [f"t{n}" for n in range(5)]
    project(work, {name: {"run": f"$MARK {name} {'600' if number else '0.1'}"} for name in names} | {"all": {"needs": names}})
    process, reads = under_a_jobserver(work, b"abc", "all")
    trail = work.path / "trail"
    if number:
        wait_for(lambda: trail.exists() and trail.read_text().count("+") == 4)
        process.send_signal(number)
    assert process.wait(PATIENCE) == code
    # A writer is held open until all who inherited it are gone, so that an empty pipe would be an end, not a wait.
    assert bytes(left(reads)) == b"abc", "each of them, and the very same"


@pytest.mark.slow
def test_many_processors_are_taken_at_once_or_not_at_all(work):
    names = [f"t{n}" for n in range(3)]
    project(work, {name: {"run": f"$MARK {name}; $MARK {name}", "resources": {"cpu": 2}} for name in names} | {"all": {"needs": names}})
    process, reads = under_a_jobserver(work, b"abc", "all")
    assert process.wait(30) == 0 and most(work) == 2
    assert bytes(left(reads)) == b"abc"


@pytest.mark.slow
def test_an_own_number_of_jobs_leaves_the_jobserver(work):
    names = [f"t{n}" for n in range(4)]
    project(work, {name: {"run": f"$MARK {name} 0.3"} for name in names} | {"all": {"needs": names}})
    process, reads = under_a_jobserver(work, b"", "-j4", "all")
    assert process.wait(30) == 0 and most(work) == 4
    assert left(reads) == []


@pytest.mark.slow
def test_nothing_starts_beside_others_above_a_load(work):
    names = [f"t{n}" for n in range(4)]
    project(work, {name: {"run": f"$MARK {name} 0.1"} for name in names} | {"all": {"needs": names}})
    work.mlmake("-j4", "-l", "0.001", "all")
    assert most(work) == 1, "one runs all the same"
    work.mlmake("-j4", "--load-average=100000", "all")
    assert most(work) > 1


@pytest.mark.parametrize("value", ["0", "-1", "x", "nan", "1x"])
def test_a_load_is_a_number(work, value):
    project(work, {"t": {"run": "true"}})
    assert "wants a number above 0" in work.mlmake(f"-l{value}", "t", check=2).stderr
