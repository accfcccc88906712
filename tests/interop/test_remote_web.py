"""Web and WebDAV remotes: a real WebDAV server (rclone), a web server of files with each way to log in, and the real dvc on both."""
import base64
import contextlib
import hashlib
import http.server
import os
import re
import ssl
import subprocess
import threading

import pytest

from conftest import Sandbox, free_port, need_peer, server
from remote_help import Item, Remote, check_parts, check_stale_temporaries, clean, make_object


class Files(http.server.SimpleHTTPRequestHandler):
    """Files of server.root: GET and HEAD as http.server does, PUT and POST write."""
    protocol_version = "HTTP/1.1"

    def __init__(self, *args):
        super().__init__(*args, directory=args[2].root)

    def log_message(self, *args):
        pass

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def digest_is_right(self):
        given = dict(re.findall(r'(\w+)="?([^",]+)"?', self.headers.get("Authorization", "")))
        ha1 = hashlib.md5(b"me:test:pass word").hexdigest()
        ha2 = hashlib.md5(f"{self.command}:{self.path}".encode()).hexdigest()
        want = hashlib.md5(":".join([ha1, "abc", given.get("nc", ""), given.get("cnonce", ""), "auth", ha2]).encode()).hexdigest()
        return given.get("response") == want

    def may(self):
        login = self.server.login
        if login == "digest" and not self.digest_is_right():
            self.body()
            self.answer(401, WWW_Authenticate='Digest realm="test", nonce="abc", qop="auth", algorithm=MD5')
            return False
        if isinstance(login, tuple) and self.headers.get(login[0]) != login[1]:
            self.body()
            self.answer(401, WWW_Authenticate='Basic realm="test"')
            return False
        rule = self.server.rule
        status = rule(self) if rule else None
        if status:
            self.body()
            self.answer(*status[:1], **(status[1] if len(status) > 1 else {}))
        return not status

    def do_GET(self):
        self.server.seen.append((self.command, self.path))
        if self.may():
            super().do_GET()

    def do_HEAD(self):
        self.server.seen.append((self.command, self.path))
        if self.may():
            super().do_HEAD()

    def do_PUT(self):
        self.server.seen.append((self.command, self.path))
        if not self.may():
            return
        data = self.body()
        path = self.translate_path(self.path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        self.answer(201)

    do_POST = do_PUT


@contextlib.contextmanager
def files(root, context=None):
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    running.daemon_threads = True
    running.handle_error = lambda *args: None
    running.root, running.login, running.rule, running.seen = str(root), None, None, []
    if context:
        running.socket = context.wrap_socket(running.socket, server_side=True)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    running.url = f"http{'s' if context else ''}://localhost:{running.server_address[1]}"
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture
def web(tmp_path):
    (tmp_path / "served").mkdir()
    with files(tmp_path / "served") as running:
        yield running


@pytest.fixture(scope="module")
def dav(tmp_path_factory):
    """rclone serve webdav over a directory, with a user and a password."""
    program = need_peer("rclone")
    root = tmp_path_factory.mktemp("dav")
    port = free_port()
    env = {**os.environ, "RCLONE_CONFIG": str(root / "none")}
    (root / "data").mkdir()
    with server([program, "serve", "webdav", str(root / "data"), "--addr", f"127.0.0.1:{port}", "--user", "me", "--pass", "secret",
                 "--dir-cache-time", "0s"], port, env) as it:
        it.url, it.root = f"webdav://127.0.0.1:{port}", root / "data"
        yield it


@pytest.fixture(params=["web", "webdav"])
def remote(request, tmp_path):
    if request.param == "web":
        running = request.getfixturevalue("web")
        it = Remote(f"{running.url}/some prefix", clean(tmp_path))
        it.root = tmp_path / "served" / "some prefix"
        return it
    running = request.getfixturevalue("dav")
    it = Remote(f"{running.url}/{tmp_path.name}", clean(tmp_path), user="me", password="secret")
    it.root = running.root / tmp_path.name
    return it


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.mkdir()
    return path


def to(tmp_path, item, name="got"):
    (tmp_path / name).mkdir(exist_ok=True)
    return item.at(tmp_path / name / item.path.name)


@pytest.mark.slow
def test_round_trip(remote, source, tmp_path):
    items = [make_object(source, data) for data in (b"", b"a", os.urandom(8192), os.urandom(3_000_000))]
    items.append(Item("odd name/é %41+?#&", items[2].path, items[2].size, items[2].md5))
    assert remote.states("check", items) == ["missing"] * 5
    assert remote.states("put", items) == ["done"] * 5
    answers = remote.move("check", items)
    assert [(a.state, a.size) for a in answers] == [("done", i.size) for i in items]
    names = [to(tmp_path, i, str(n)) for n, i in enumerate(items)]
    assert remote.states("get", names) == ["done"] * 5
    assert [n.path.read_bytes() for n in names] == [i.path.read_bytes() for i in items]
    unknown = [Item(i.key, tmp_path / f"unknown{n}", "-", i.md5) for n, i in enumerate(items)]
    assert remote.states("get", unknown) == ["done"] * 5
    assert remote.states("check", [Item(items[1].key, "-", 7, items[1].md5)]) == ["damaged"]


def test_parts(remote, source):
    """The web server here knows no ranges, and sends everything."""
    check_parts(remote, source)


def test_wrong_bytes_go_nowhere(remote, source, tmp_path):
    item = make_object(source, os.urandom(300_000))
    wrong = Item("files/md5/00/11", item.path, item.size, "0" * 32)
    gone = Item("files/md5/00/22", tmp_path / "gone", 1, item.md5)
    assert remote.states("put", [item, wrong, gone]) == ["done", "damaged", "missing"]
    if "webdav" in remote.url:
        assert remote.states("check", [item, wrong]) == ["done", "missing"]
    stored = remote.root / item.key
    stored.write_bytes(b"x" * item.size)
    got = to(tmp_path, item)
    assert remote.states("get", [got]) == ["damaged"] and not got.path.exists()
    stored.write_bytes(b"x" * (item.size + 1))
    assert remote.states("get", [got]) == ["damaged"] and remote.states("check", [item]) == ["damaged"]
    assert remote.states("get", [Item("files/md5/no/thing", tmp_path / "n", 1, item.md5)]) == ["missing"]


@pytest.mark.slow
def test_webdav_removes_what_a_killed_put_left(dav, tmp_path, source):
    remote = Remote(f"{dav.url}/{tmp_path.name}", clean(tmp_path), user="me", password="secret")
    check_stale_temporaries(remote, dav.root / tmp_path.name, source)


def test_webdav_lists_and_leaves_nothing_behind(dav, tmp_path, source):
    remote = Remote(f"{dav.url}/{tmp_path.name}", clean(tmp_path), user="me", password="secret")
    items = [make_object(source, str(n).encode()) for n in range(40)]
    assert set(remote.states("put", items)) == {"done"}
    assert remote.list("files/md5/") == {i.key: i.size for i in items}
    assert remote.list(items[0].key[:12]) == {i.key: i.size for i in items if i.key.startswith(items[0].key[:12])}
    assert remote.list("nothing/") == {}
    assert not list((dav.root / tmp_path.name / ".mlmake-tmp").iterdir())


@pytest.mark.parametrize("login, options", [
    (("Authorization", "Basic " + base64.b64encode(b"me:pass word").decode()), {"auth": "basic", "user": "me", "password": "pass word"}),
    (("X-Key", "pass word"), {"auth": "custom", "custom_auth_header": "X-Key", "password": "pass word"}),
    ("digest", {"auth": "digest", "user": "me", "password": "pass word"}),
])
def test_ways_to_log_in(web, tmp_path, source, login, options):
    web.login = login
    items = [make_object(source, data) for data in (b"a", os.urandom(300_000))]
    remote = Remote(web.url, clean(tmp_path), method="put", **options)
    assert remote.states("put", items) == ["done"] * 2
    assert remote.states("check", items) == ["done"] * 2
    assert remote.states("get", [to(tmp_path, i) for i in items]) == ["done"] * 2
    answers = Remote(web.url, clean(tmp_path), **{**options, "password": "wrong"}).move("get", [to(tmp_path, items[0], "b")])
    assert answers[-1].state == "error" and "401" in answers[-1].message and "check the remote's user" in answers[-1].hint
    answers = Remote(web.url, clean(tmp_path)).move("check", items)
    assert answers[-1].state == "error" and "auth, user and password" in answers[-1].hint


def test_user_of_the_url_and_token(web, tmp_path, source):
    item = make_object(source, b"a")
    web.login = ("Authorization", "Basic " + base64.b64encode(b"me:secret").decode())
    assert Remote(web.url.replace("://", "://me:secret@"), clean(tmp_path)).states("put", [item]) == ["done"]
    web.login = ("Authorization", "Bearer abc")
    assert Remote(web.url.replace("http", "webdav"), clean(tmp_path), token="abc").states("check", [item]) == ["done"]


@pytest.mark.parametrize("options, word", [
    ({"auth": "basic", "user": "me"}, "user and password"),
    ({"auth": "custom", "password": "x"}, "custom_auth_header and password"),
    ({"auth": "ntlm", "user": "me", "password": "x"}, "auth = ntlm"),
    ({"auth": "custom", "custom_auth_header": "a b", "password": "x"}, "no name of a header"),
    ({"method": "GET"}, "method = GET"),
])
def test_options_that_make_no_sense(tmp_path, options, word):
    remote = Remote("http://127.0.0.1:9/x", clean(tmp_path), **options)
    assert word in remote.move("check", [Item("a")])[-1].message and remote.code == 2


@pytest.mark.slow
def test_login_stays_with_its_host(web, tmp_path, source):
    """A redirect to another place is followed, without what logs in here; uploads are not redirected."""
    item = make_object(source, b"abc")
    (tmp_path / "other").mkdir()
    with files(tmp_path / "other") as other:
        assert Remote(other.url, clean(tmp_path)).states("put", [item]) == ["done"]
        heard = []
        other.rule = lambda request: heard.append(request.headers.get("X-Key"))
        web.rule = lambda request: (302, {"Location": f"{other.url}{request.path}"})
        remote = Remote(web.url, clean(tmp_path), auth="custom", custom_auth_header="X-Key", password="p")
        assert remote.states("check", [item]) == ["done"]
        assert remote.states("get", [to(tmp_path, item)]) == ["done"]
        assert heard and set(heard) == {None}
        assert "where that leads" in remote.move("put", [item])[-1].hint


def test_what_a_server_says_does_not_reach_the_terminal_as_it_is(web, tmp_path, source):
    item = make_object(source, b"abc")
    for location in ("/x\x1b[2Jy", "ftp://x\x1b[2Jy/"):
        web.rule = lambda request, location=location: (302, {"Location": location})
        answer = Remote(web.url, clean(tmp_path)).move("get", [to(tmp_path, item)])[-1]
        assert "[2Jy" in answer.message and "\x1b" not in answer.message + answer.hint, answer


def test_trouble_is_tried_again_and_no_head_is_no_trouble(web, tmp_path, source):
    item = make_object(source, os.urandom(100_000))
    counts = {}

    def rule(request):
        if request.command == "HEAD":
            return (405,)
        counts[request.command] = counts.get(request.command, 0) + 1
        return (503, {"Retry-After": "0"}) if counts[request.command] % 2 else None
    web.rule = rule
    remote = Remote(web.url, clean(tmp_path), method="PUT")
    assert remote.states("put", [item]) == ["done"]
    assert remote.states("check", [item, Item("no/such")]) == ["done", "missing"]
    assert remote.states("get", [to(tmp_path, item)]) == ["done"]
    web.rule = lambda request: (405,) if request.command == "PUT" else None
    answer, = remote.move("put", [item])
    assert answer.state == "failed" and "method" in answer.hint


@pytest.mark.slow
def test_tls_and_certificates(tmp_path, source):
    openssl = need_peer("openssl")
    (tmp_path / "served").mkdir()
    subprocess.run([openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out",
                    "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], cwd=tmp_path, check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    item = make_object(source, b"a")
    with files(tmp_path / "served", context) as web:
        env = {k: v for k, v in clean(tmp_path).items() if k not in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
        remote = Remote(web.url, env)
        assert "certificate" in remote.move("put", [item])[-1].message.lower()
        assert remote.states("put", [item], ca_bundle=tmp_path / "cert.pem") == ["done"]
        assert remote.states("check", [item], no_ssl_verify=1) == ["done"]
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(tmp_path / "cert.pem")
        trusted = {"ca_bundle": tmp_path / "cert.pem"}
        assert remote.states("check", [item], cert_path=tmp_path / "cert.pem", key_path=tmp_path / "key.pem", **trusted) == ["done"]
        assert remote.move("check", [item], read_timeout_s=1, **trusted)[-1].state in ("error", "failed")


# Beside the real dvc.

def settings(box, options):
    for name, value in options.items():
        box.mlmake("data", "remote", "modify", "--local", "store", name, value)


def both_ways(tmp_path, url, options):
    one, two = Sandbox(tmp_path / "one"), Sandbox(tmp_path / "two")
    one.git("init", "-q", "-b", "main")
    one.mlmake("data", "init")
    one.mlmake("data", "remote", "add", "-d", "store", url)
    settings(one, options)
    one.write("d/a", "one")
    one.write("d/s/b é", "two")
    one.write("f", os.urandom(300_000))
    one.mlmake("data", "add", "d", "f")
    assert "nothing" not in one.mlmake("data", "push").stdout
    one.git("add", "-A")
    one.git("commit", "-qm", "data")
    two.git("clone", "-q", one.path, ".")
    two.write(".dvc/config.local", one.read(".dvc/config.local") if options else "")
    two.dvc("pull", "-q")
    assert two.read("d/s/b é") == b"two" and two.read("f") == one.read("f")
    two.write("d/c", "by dvc")
    two.dvc("add", "-q", "d")
    two.dvc("push", "-q")
    two.git("commit", "-qam", "more")
    one.git("pull", "-q", two.path, "main")
    assert one.mlmake("data", "status", "-c", "--json").stdout
    one.mlmake("data", "pull")
    assert one.read("d/c") == b"by dvc"
    one.mlmake("data", "verify", "-r", "store")
    assert one.mlmake("data", "push", "--json").stdout.count('"pushed": 0') == 1
    return one


@pytest.mark.slow
def test_dvc_on_a_web_server(tmp_path, web):
    need_peer("dvc")
    web.login = ("Authorization", "Basic " + base64.b64encode(b"me:secret").decode())
    one = both_ways(tmp_path, f"{web.url}/store", {"auth": "basic", "user": "me", "password": "secret"})
    assert "POST" in {m for m, _ in web.seen} and "PUT" not in {m for m, _ in web.seen}
    for path in (tmp_path / "served/store/files/md5").rglob("*"):
        if path.is_file() and not path.name.endswith(".dir"):
            path.write_bytes(b"damaged")
    said = one.mlmake("data", "verify", "-r", "store", check=3).stderr
    assert "damaged on the remote" in said and said.count("(md5 ") == 4


@pytest.mark.slow
def test_dvc_on_webdav(tmp_path, dav):
    need_peer("dvc")
    one = both_ways(tmp_path, f"{dav.url}/{tmp_path.name}/store", {"user": "me", "password": "secret"})
    one.write("f", "another")
    one.mlmake("data", "add", "f")
    one.mlmake("data", "push")
    assert one.mlmake("data", "gc", "-w", "-c", "-f").returncode == 0
