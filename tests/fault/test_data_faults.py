"""mlmake data when things go wrong in the middle: killed, disk full, system calls that fail, remotes that misbehave."""
import contextlib
import hashlib
import http.server
import os
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, Sandbox

pytestmark = pytest.mark.slow

FILES = 300


def fill(box, seed=1):
    numbers = random.Random(seed)
    for i in range(FILES):
        box.write(f"d/{i % 7}/file {i}", numbers.randbytes(numbers.choice([0, 10, 5000, 60000])))


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def check_objects(root):
    """Every object that a reader would trust is what its name says."""
    for path in (root / "files/md5").rglob("*"):
        if path.is_file():
            name = path.parent.name + path.name.removesuffix(".dir")
            assert hashlib.md5(path.read_bytes()).hexdigest() == name, path


@pytest.fixture
def repo(gitbox, tmp_path):
    gitbox.mlmake("data", "init")
    gitbox.remote = tmp_path / "store"
    gitbox.mlmake("data", "remote", "add", "-d", "store", gitbox.remote)
    fill(gitbox)
    return gitbox


def kill_in_the_middle(box, *args):
    """Runs the command again and again, killed a little later each time, until it finishes by itself."""
    delay, killed = 0.002, 0
    while True:
        process = box.popen(box.binary, *args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            delay *= 1.5
            yield killed
            continue
        assert process.returncode == 0
        return


def test_killed_while_adding(repo):
    for _ in kill_in_the_middle(repo, "data", "add", "d"):
        check_objects(repo.path / ".dvc/cache")
        record = repo.path / "d.dvc"
        assert not record.exists() or record.read_text().endswith("path: d\n")
    assert not repo.mlmake("data", "status", "--exit-code").stderr
    expected = tree(repo.path / "d")
    shutil.rmtree(repo.path / "d")
    repo.mlmake("data", "checkout")
    assert tree(repo.path / "d") == expected
    temporaries = repo.path / ".dvc/cache/.mlmake-tmp"
    assert not list(temporaries.iterdir()), "left behind by those that were killed"


def test_killed_while_pushing_and_pulling(repo, tmp_path):
    repo.mlmake("data", "add", "d")
    for _ in kill_in_the_middle(repo, "data", "push"):
        if (repo.remote / "files/md5").exists():
            check_objects(repo.remote)
    check_objects(repo.remote)
    repo.git("add", "-A")
    repo.git("commit", "-qm", "data")
    other = Sandbox(tmp_path / "other")
    other.git("clone", "-q", repo.path, ".")
    other.mlmake("data", "remote", "modify", "--local", "store", "url", repo.remote)
    for _ in kill_in_the_middle(other, "data", "pull"):
        if (other.path / ".dvc/cache/files").exists():
            check_objects(other.path / ".dvc/cache")
        assert not (other.path / "d").exists() or tree(other.path / "d") == tree(repo.path / "d"), "half of a directory was there"
    assert tree(other.path / "d") == tree(repo.path / "d")


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path],
                                           capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


def test_killed_while_making_room(repo):
    """What the cache loses is on the remote."""
    repo.mlmake("data", "add", "d")
    repo.mlmake("data", "push")
    expected = tree(repo.remote / "files")
    for _ in kill_in_the_middle(repo, "data", "gc", "-w", "--not-in-remote", "-f"):
        check_objects(repo.path / ".dvc/cache")
        assert tree(repo.remote / "files") == expected
    assert len(tree(repo.path / ".dvc/cache/files")) == 1, "the manifest stays"
    shutil.rmtree(repo.path / "d")
    repo.mlmake("data", "pull")
    assert not repo.mlmake("data", "status", "--exit-code").stderr
    assert not list((repo.path / ".dvc/cache/.mlmake-tmp").iterdir())


def test_disk_full_while_making_room(repo, tmp_path):
    """What cannot be read on the remote stays in the cache, and is named."""
    with small_disk(tmp_path / "small", "12m"):
        cache = tmp_path / "small/cache"
        repo.mlmake("data", "config", "cache.dir", cache)
        repo.write("large", os.urandom(6_500_000))
        repo.write("little", b"little")
        repo.mlmake("data", "add", "large", "little")
        repo.mlmake("data", "push")
        said = repo.mlmake("data", "gc", "-w", "--not-in-remote", "-f", check=4).stderr
        digest = hashlib.md5(repo.read("large")).hexdigest()
        assert f"{digest[:2]}/{digest[2:]}" in said and "No space left" in said
        assert list(tree(cache / "files/md5").values()) == [repo.read("large")], "the little one is known to be there"
        repo.mlmake("data", "gc", "-w", "--not-in-remote", "--quick", "-f")
        assert not tree(cache)


def test_disk_full_while_adding(repo):
    repo.write(".dvc/config", "[cache]\n    dir = ../../small\n")
    with small_disk(repo.path.parent / "small", "2m"):
        refused = repo.mlmake("data", "add", "d", check=1)
        assert "No space left" in refused.stderr
        assert not (repo.path / "d.dvc").exists() and not (repo.path / ".gitignore").exists()
        assert len(tree(repo.path / "d")) == FILES


def test_disk_full_while_pushing_and_pulling(repo):
    repo.mlmake("data", "add", "d")
    repo.mlmake("data", "remote", "add", "small", repo.path.parent / "small")
    with small_disk(repo.path.parent / "small", "2m"):
        refused = repo.mlmake("data", "push", "-r", "small", check=None)
        assert refused.returncode not in (0, 70) and "No space left" in refused.stderr
        check_objects(repo.path.parent / "small")
        assert not list((repo.path.parent / "small").rglob("*.dir")), "the manifest went up without its members"
    repo.mlmake("data", "push")
    shutil.rmtree(repo.path / ".dvc/cache")
    shutil.rmtree(repo.path / "d")
    repo.mlmake("data", "remote", "remove", "small")
    repo.write(".dvc/config.local", "[cache]\n    dir = ../../small\n")
    with small_disk(repo.path.parent / "small", "2m"):
        refused = repo.mlmake("data", "pull", check=None)
        assert refused.returncode not in (0, 70) and "No space left" in refused.stderr
        assert not (repo.path / "d").exists()


CALLS = ["openat", "read", "write", "pread", "fstat", "fstatat", "renameat", "mkdirat", "fchmod", "fsync", "fdatasync", "flock",
         "copy_file_range", "readdir", "unlinkat"]


@pytest.mark.parametrize("call", CALLS)
def test_failing_system_calls(box, call):
    """The n-th call fails: the command either succeeds or says why, and nothing that is recorded is untrue."""
    program = BUILD / "mlmake-fault"
    if not program.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    box.mlmake("data", "init", "--no-scm")
    for name in ("d/a", "d/b", "f"):
        box.write(name, name * 1000)
    for nth in (1, 2, 3, 5, 8, 13, 21, 34):
        result = box.run(program, "data", "add", "d", "f", MLMAKE_FAULT=f"{call}:EIO:{nth}")
        assert result.returncode in (0, 1, 2, 3), (call, nth, result.stderr)
        assert result.returncode == 0 or result.stderr
        if (box.path / ".dvc/cache/files").exists():
            check_objects(box.path / ".dvc/cache")
        for record in box.path.glob("[df].dvc"):
            assert record.read_text().endswith("\n") and "md5" in record.read_text()
        for path in (".dvc/cache", "d.dvc", "f.dvc", ".mlmake"):
            subprocess.run(["rm", "-rf", box.path / path], check=True)


class Handler(http.server.BaseHTTPRequestHandler):
    behaviour = 403

    def answer(self):
        if self.behaviour == "close":
            self.connection.close()
            return
        if self.behaviour == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 10)
            self.connection.close()
            return
        body = b"<Error><Code>AccessDenied</Code><Message>No</Message></Error>"
        self.send_response(self.behaviour)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST = answer

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def bad_server(behaviour):
    handler = type("Bad", (Handler,), {"behaviour": behaviour})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("behaviour", [403, 500, "close", "cut", "nobody"])
def test_remotes_that_misbehave(box, behaviour):
    box.mlmake("data", "init", "--no-scm")
    box.write("f", "x" * 1000)
    box.mlmake("data", "add", "f")
    box.env.update(AWS_ACCESS_KEY_ID="k", AWS_SECRET_ACCESS_KEY="s", AWS_DEFAULT_REGION="us-east-1")
    box.mlmake("data", "remote", "add", "-d", "bad", "s3://bucket/prefix")
    with bad_server(behaviour if behaviour != "nobody" else 500) as url:
        if behaviour == "nobody":
            url = "http://127.0.0.1:9"
        box.mlmake("data", "remote", "modify", "bad", "endpointurl", url)
        start = time.monotonic()
        if behaviour != "cut":  # which answers HEAD as if all were there
            assert box.mlmake("data", "push", check=4, timeout=120).stderr.strip()
        (box.path / "f").unlink()
        subprocess.run(["rm", "-rf", box.path / ".dvc/cache"], check=True)
        pulled = box.mlmake("data", "pull", check=4, timeout=120)
        assert pulled.stderr.strip() and not (box.path / "f").exists()
        assert time.monotonic() - start < 150
