"""The locks of mlmake data and of the real dvc at the same time: .dvc/tmp/lock while metadata changes, rwlock entries while bytes move."""
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import need_peer


@pytest.fixture
def repo(gitbox):
    gitbox.mlmake("data", "init")
    return gitbox


def entries(box):
    try:
        return json.loads(box.read(".dvc/tmp/rwlock"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def is_free(path):
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


@contextlib.contextmanager
def stopped_while_bytes_move(box, *args, when=lambda: True):
    """The command, stopped at a moment in which it has rwlock entries and neither of the locks, and something is so."""
    process = box.popen(box.binary, *args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    locks = [box.path / ".dvc/tmp/lock", box.path / ".dvc/tmp/rwlock.lock"]
    try:
        while True:
            assert process.poll() is None, process.stdout.read()
            if entries(box).get("write") and when():
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
                if all(is_free(lock) for lock in locks):
                    break
                process.send_signal(signal.SIGCONT)
            time.sleep(0.0005)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert process.returncode == 0


def big(box, name):
    box.write(name, os.urandom(1 << 20) * 48)


def write_entry(box, mode, path, pid):
    info = {"pid": pid, "cmd": "another command"}
    table = {"write": {str(path): info}, "read": {}} if mode == "write" else {"read": {str(path): [info]}}
    (box.path / ".dvc/tmp").mkdir(exist_ok=True)
    box.write(".dvc/tmp/rwlock", json.dumps(table))


@pytest.fixture
def holder():
    with subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL) as process:
        yield process.pid
        process.kill()


@pytest.mark.slow
def test_dvc_meets_our_entries(repo):
    """What we are at work on is busy for dvc; all else is free, for the lock is not held meanwhile."""
    need_peer("dvc")
    big(repo, "data/big")
    repo.write("other", "1")
    with stopped_while_bytes_move(repo, "data", "add", "data/big") as process:
        table = entries(repo)
        assert table["write"] == {str(repo.path / "data/big"): {"pid": process.pid, "cmd": f"{repo.binary} data add data/big"}}
        refused = repo.dvc("add", "data/big", check=1)
        assert "busy" in refused.stderr and str(process.pid) in refused.stderr
        repo.dvc("add", "-q", "other")
    assert entries(repo) == {"read": {}}
    assert "up to date" in repo.dvc("status").stdout
    assert repo.git("status", "--porcelain", "--ignored", "data/big").stdout.startswith("!!")


@pytest.mark.slow
def test_dvc_meets_our_checkout(repo):
    need_peer("dvc")
    big(repo, "data/big")
    repo.mlmake("data", "add", "data/big")
    repo.write("data/big", "changed")
    with stopped_while_bytes_move(repo, "data", "checkout", "--force"):
        assert "busy" in repo.dvc("commit", "-f", "data/big.dvc", check=None).stderr
    assert "up to date" in repo.dvc("status").stdout


@pytest.mark.slow
def test_a_collection_meanwhile_costs_nothing(repo):
    """dvc gc sees no record of what is being added, and takes its objects; they are there again when the record is."""
    need_peer("dvc")
    objects = repo.path / ".dvc/cache/files/md5"
    for i in range(4500):
        repo.write(f"d/{i}", f"{i}")
    with stopped_while_bytes_move(repo, "data", "add", "d", when=objects.exists):
        before = sum(path.is_file() for path in objects.rglob("*"))
        repo.dvc("gc", "-q", "-w", "-f")
        assert 0 == sum(path.is_file() for path in objects.rglob("*")) < before
    repo.run("rm", "-rf", "d")
    repo.mlmake("data", "checkout")
    assert len(list((repo.path / "d").iterdir())) == 4500


@pytest.mark.slow
def test_we_meet_dvc(repo):
    """While dvc adds, its entry is there and the lock is held: we wait, and both are recorded."""
    program = need_peer("dvc")
    repo.write("ours", "1")
    for number in range(10):
        big(repo, f"theirs{number}")
        with repo.popen(program, "add", "-q", f"theirs{number}") as process:
            while process.poll() is None and not entries(repo).get("write"):
                time.sleep(0.001)
            seen = process.poll() is None
            if seen:
                repo.mlmake("data", "add", "ours")
            assert process.wait(300) == 0
        if seen:
            break
    assert seen, "dvc was done each time before we looked"
    assert "up to date" in repo.dvc("status").stdout
    assert (repo.path / "ours.dvc").exists() and not any(entries(repo).values())


@pytest.mark.parametrize("mode", ["write", "read"])
@pytest.mark.parametrize("where", ["data", "data/raw", "data/raw/x"])
def test_entries_of_others_are_respected(repo, holder, mode, where):
    repo.write("data/raw/x", "1")
    repo.write("free", "1")
    write_entry(repo, mode, repo.path / where, holder)
    refused = repo.mlmake("data", "add", "--lock-timeout", "0s", "data/raw", check=5)
    assert f"process {holder} (another command)" in refused.stderr and str(repo.path / where) in refused.stderr
    assert not (repo.path / "data/raw.dvc").exists()
    repo.mlmake("data", "add", "--lock-timeout", "0s", "free")
    assert entries(repo)[mode], "the entry of the other is gone"


def test_entries_of_the_dead_are_dropped(repo):
    with subprocess.Popen(["true"]) as process:
        process.wait()
    repo.write("data", "1")
    write_entry(repo, "write", repo.path / "data", process.pid)
    added = repo.mlmake("data", "add", "data")
    assert f"process {process.pid} (another command) ended" in added.stderr
    assert entries(repo) == {"read": {}}


@pytest.mark.slow
def test_dvc_drops_the_entries_of_one_of_us_that_was_killed(repo):
    need_peer("dvc")
    big(repo, "data")
    with pytest.raises(AssertionError), stopped_while_bytes_move(repo, "data", "add", "data") as process:
        process.kill()
    assert entries(repo)["write"]
    repo.dvc("add", "-q", "data")
    repo.mlmake("data", "status", "--exit-code", check=None)
    assert entries(repo) == {"read": {}}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"writes": {}}', '{"write": {"/x": []}}', '{"write": {"/x": {"pid": "1", "cmd": ""}}}',
                                  '{"read": {"/x": [{"pid": 1}]}}'])
def test_a_file_that_is_none(repo, text):
    repo.write("data", "1")
    repo.write(".dvc/tmp/rwlock", text)
    refused = repo.mlmake("data", "add", "data", check=3)
    assert "rwlock" in refused.stderr and "rm " in refused.stderr
    assert not (repo.path / "data.dvc").exists()


@pytest.mark.slow
def test_two_of_us_at_once(repo):
    """Each adds its own part of one directory; both parts are in it at the end."""
    for i in range(8):
        repo.write(f"d/{i}", f"{i}")
    repo.mlmake("data", "add", "d")
    for i in range(8):
        repo.write(f"d/{i}", f"new {i}")
    running = [repo.popen(repo.binary, "data", "add", f"d/{i}", stderr=subprocess.PIPE) for i in range(8)]
    for process in running:
        assert process.communicate(timeout=60)[1] is not None and process.returncode == 0
    assert "uncommitted" not in json.loads(repo.mlmake("data", "status", "--json").stdout)
    assert entries(repo) == {"read": {}}
