"""What every test outside tests/unit shares: the binary, fresh directories, peers, servers.

A peer (a real dvc, a real S3 server, ...) that is missing skips its tests and says why; a peer that
MLMAKE_REQUIRE_PEERS names (comma separated, or "all") fails them.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("MLMAKE_BUILD", ROOT / "build")).resolve()
PEERS = pathlib.Path(os.environ.get("MLMAKE_PEERS", ROOT / "build" / "peers")).resolve()

PATIENCE = 120 # seconds that a test waits for what must come: on a busy machine less says nothing

PEER_PATHS = {
    "dvc": "dvc/bin/dvc",
    "dvc2": "dvc2/bin/dvc",
    "moto": "tools/bin/moto_server",
    "zizmor": "tools/bin/zizmor",
    "pre-commit": "tools/bin/pre-commit",
    "pylint": "tools/bin/pylint",
    "actionlint": "bin/actionlint",
    "versitygw": "bin/versitygw",
}


SANITIZERS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")


@pytest.fixture(autouse=True)
def sanitizer_reports(tmp_path_factory, monkeypatch):
    """With a build of SAN=1 or TSAN=1: a report of any process that a test starts fails the test, though the test
    expects the exit code or never looks at it."""
    if BUILD.name not in ("san", "tsan"):
        yield
        return
    logs = tmp_path_factory.mktemp("sanitizer")
    for name in SANITIZERS:
        # ThreadSanitizer takes the clone that starts a command, and shares memory, for a fork of the process itself.
        monkeypatch.setenv(name, f"log_path={logs}/{name.split('_', maxsplit=1)[0].lower()}:print_stacktrace=1:detect_leaks=1:die_after_fork=0")
    yield
    reports = [path.read_text(errors="replace") for path in sorted(logs.iterdir())]
    if reports:
        pytest.fail("\n".join(reports)[:20000])


def find_peer(name):
    """The path of a peer's program: from the peers directory, else from PATH; None if there is none."""
    if name in PEER_PATHS:
        path = PEERS / PEER_PATHS[name]
        if path.exists():
            return str(path)
    return shutil.which({"moto": "moto_server"}.get(name, name), path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


def wait_for(holds, seconds=PATIENCE):
    """Until holds() is so; what it gives."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return result


def wait_for_line(stream, text):
    """Reads lines until one holds text; all that was read."""
    seen = ""
    for line in stream:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"no {text!r} in {seen!r}")


def is_missing(name):
    """Skips, or fails where that peer is required."""
    required = os.environ.get("MLMAKE_REQUIRE_PEERS", "").split(",")
    if name in required or "all" in required:
        pytest.fail(f"the peer {name} is missing and required here; ./bootstrap.sh test installs it")
    pytest.skip(f"the peer {name} is not installed; ./bootstrap.sh test installs it")


def need_peer(name):
    path = find_peer(name)
    return path if path else is_missing(name)


def need_module(name, module):
    """A peer that is a Python module, which a test has tried to import."""
    if module is None:
        is_missing(name)


def clean_env(home, **extra):
    """An environment that nothing of this machine's user leaks into, but what reaches package registries."""
    keep = {k: v for k, v in os.environ.items()
            if k in ("PATH", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
            or k.startswith("PIP_") or k.lower().endswith("_proxy") or k in SANITIZERS}
    keep.update(
        HOME=str(home),
        XDG_CACHE_HOME=str(home / ".cache"),
        GIT_CONFIG_NOSYSTEM="1",
        GIT_AUTHOR_NAME="A U Thor", GIT_AUTHOR_EMAIL="author@example.com",
        GIT_COMMITTER_NAME="C O Mitter", GIT_COMMITTER_EMAIL="committer@example.com",
        DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(home / "dvc-site"),
        AWS_EC2_METADATA_DISABLED="true",
    )
    config = pathlib.Path(os.environ.get("HOME", "/root")) / ".config" / "pip" / "pip.conf"
    if config.exists():
        keep.setdefault("PIP_CONFIG_FILE", str(config))
    keep.update({k: str(v) for k, v in extra.items()})
    return keep


class Sandbox:
    """A fresh directory with a home of its own, and ways to run things in it."""

    def __init__(self, path):
        self.path = path / "project"
        self.home = path / "home"
        self.path.mkdir(parents=True)
        self.home.mkdir()
        self.env = clean_env(self.home)
        self.binary = os.environ.get("MLMAKE", str(BUILD / "mlmake"))

    def run(self, *argv, check=None, cwd=None, timeout=300, **env):
        """Runs a command; check is the exit code that it must have (None: any)."""
        result = subprocess.run([str(a) for a in argv], cwd=cwd or self.path, env={**self.env, **{k: str(v) for k, v in env.items()}},
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, errors="surrogateescape")
        if check is not None and result.returncode != check:
            raise AssertionError(f"{argv} gave {result.returncode}, not {check}\n--- stdout\n{result.stdout}\n--- stderr\n{result.stderr}")
        return result

    def mlmake(self, *args, check=0, **kw):
        return self.run(self.binary, *args, check=check, **kw)

    def calls(self, which, *args, check=0):
        """The system calls of mlmake ARGS, as strace writes them."""
        log = self.home / "strace.log"
        # The leak checker traces as well, and cannot where strace does.
        leaks = {"ASAN_OPTIONS": f"{self.env.get('ASAN_OPTIONS', '')}:detect_leaks=0"}
        self.run(need_peer("strace"), "-f", "-qq", "-e", f"trace={which}", "-o", log, self.binary, *args, check=check, **leaks)
        return log.read_text()

    def git(self, *args, check=0, **kw):
        return self.run("git", *args, check=check, **kw)

    def dvc(self, *args, check=0, **kw):
        return self.run(need_peer("dvc"), *args, check=check, **{"COLUMNS": 1000, **kw})  # it wraps tables

    def dvc2(self, *args, check=0, **kw):
        return self.run(need_peer("dvc2"), *args, check=check, **kw)

    def popen(self, *argv, **kw):
        return subprocess.Popen([str(a) for a in argv], cwd=self.path, env=self.env, stdin=subprocess.DEVNULL, **kw)

    def write(self, name, content, mode=None):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    def read(self, name):
        return (self.path / name).read_bytes()


@pytest.fixture
def box(tmp_path):
    return Sandbox(tmp_path)


@pytest.fixture
def gitbox(box):
    box.git("init", "-q", "-b", "main")
    return box


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def server(argv, port, env=None, seconds=PATIENCE):
    """A server of ours on 127.0.0.1:port for the length of the block."""
    process = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        deadline = time.monotonic() + seconds
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{argv[0]} did not come up")
            time.sleep(0.05)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class S3:
    def __init__(self, port, access="testaccess", secret="testsecretkey"):
        self.endpoint = f"http://127.0.0.1:{port}"
        self.access, self.secret = access, secret
        self.env = {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """versitygw over a directory: the buckets are the directories in s3.root."""
    program = need_peer("versitygw")
    root = tmp_path_factory.mktemp("s3")
    port = free_port()
    s3 = S3(port)
    s3.root = root
    env = {**os.environ, "ROOT_ACCESS_KEY": s3.access, "ROOT_SECRET_KEY": s3.secret}
    with server([program, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "posix", str(root)], port, env):
        yield s3


@pytest.fixture
def bucket(s3_server):
    """A fresh bucket: its name."""
    name = f"b{time.time_ns()}"
    (s3_server.root / name).mkdir()
    return name


@pytest.fixture(scope="session")
def named_server():
    """An S3 server that the tester has and names: MinIO, Ceph, a bucket store on this machine. docs/testing.md says how."""
    endpoint = os.environ.get("MLMAKE_S3_ENDPOINT")
    if not endpoint:
        pytest.skip("MLMAKE_S3_ENDPOINT names no S3 server (MinIO, ...) to run this against as well")
    s3 = S3(0, os.environ.get("MLMAKE_S3_KEY", "minioadmin"), os.environ.get("MLMAKE_S3_SECRET", "minioadmin"))
    s3.endpoint = endpoint.rstrip("/")
    return s3


def need_botocore():
    """The module botocore.session."""
    try:
        import botocore.session
    except ImportError:
        is_missing("botocore")
    return botocore.session


@pytest.fixture
def make_bucket():
    """Makes a bucket on any S3 server, with its keys."""
    session = need_botocore()

    def make(s3, name):
        client = session.get_session().create_client("s3", "us-east-1", endpoint_url=s3.endpoint, aws_access_key_id=s3.access,
                                                     aws_secret_access_key=s3.secret)
        client.create_bucket(Bucket=name)
    return make


@pytest.fixture(scope="session")
def moto_server():
    """moto: S3 that believes any signature and takes any session token."""
    program = need_peer("moto")
    port = free_port()
    with server([program, "-H", "127.0.0.1", "-p", str(port)], port, dict(os.environ)):
        yield S3(port)


@pytest.fixture
def moto_buckets(moto_server):
    def make(name):
        urllib.request.urlopen(urllib.request.Request(f"{moto_server.endpoint}/{name}", method="PUT"), timeout=PATIENCE).read()
    return make
