"""mlmake data import-url beside the real dvc: local paths, HTTP with and without etags, S3. The .dvc files are the same, byte for byte."""
import contextlib
import email.utils
import http.server
import os
import shutil
import subprocess
import threading
import time

import pytest

from conftest import Sandbox, S3, free_port, need_peer, server


class Handler(http.server.BaseHTTPRequestHandler):
    """What is answered is in the name: /etag/x, /weak, /md5, /plain, /redir, /nohead, /nolen, /type, /404."""
    content = b"hello\n"
    trouble = []
    whole = []  # what was sent to its end

    def answer(self):
        path = self.path
        if path.startswith("/redir") or path.startswith("/loop"):
            self.send_response(302)
            self.send_header("Location", "../etag/x" if path.startswith("/redir") else path)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.trouble and self.command == "GET":
            status, more = self.trouble.pop()
            self.send_response(status)
            for pair in more.items():
                self.send_header(*pair)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        status = 404 if path.startswith("/404") else 405 if "nohead" in path and self.command == "HEAD" else 200
        self.send_response(status)
        if "etag" in path or "nohead" in path:
            self.send_header("ETag", f'"{len(self.content)}-1"')
        if "weak" in path:
            self.send_header("ETag", 'W/"abc-1"')
        if "md5" in path:
            self.send_header("Content-MD5", "sZRqySSS0jR8YjW00mERhA==")
        if "type" in path:
            self.send_header("Content-Type", "text/csv; charset=utf-8")
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 10:00:00 GMT")
            self.send_header("Accept-Ranges", "none")
        if "nolen" not in path:
            self.send_header("Content-Length", str(len(self.content)) if status == 200 else "0")
        self.end_headers()
        if self.command != "HEAD" and status == 200:
            self.wfile.write(self.content)
            self.whole.append(path)
        return None

    do_GET = do_HEAD = answer

    def log_message(self, *args):
        pass


@pytest.fixture
def web():
    handler = type("Web", (Handler,), {})
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    running.handler = handler
    running.url = f"http://127.0.0.1:{running.server_address[1]}"
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture
def box(tmp_path):
    one = Sandbox(tmp_path / "one")
    one.git("init", "-q", "-b", "main")
    one.mlmake("data", "init")
    return one


@pytest.fixture
def pair(tmp_path):
    need_peer("dvc")
    boxes = []
    for name in ("by-dvc", "by-mlmake"):
        one = Sandbox(tmp_path / name)
        one.git("init", "-q", "-b", "main")
        one.mlmake("data", "init")
        boxes.append(one)
    boxes[0].tool = lambda *args, **env: boxes[0].dvc(args[0], "-q", *args[1:], **env)
    boxes[1].tool = lambda *args, **env: boxes[1].mlmake("data", *args, **env)
    return boxes


def records(one):
    return {str(p.relative_to(one.path)): p.read_text() for p in one.path.rglob("*.dvc") if p.is_file()}


def same(pair):
    ours, theirs = records(pair[1]), records(pair[0])
    for name, text in theirs.items():
        assert ours.get(name) == text, name
    assert set(ours) == set(theirs)


@pytest.mark.slow
def test_local(tmp_path, pair):
    outside = tmp_path / "outside"
    (outside / "d/s").mkdir(parents=True)
    (outside / "f").write_text("f\n")
    (outside / "f").chmod(0o755)
    (outside / "d/a").write_text("1\n")
    (outside / "d/s/b é").write_text("2\n")
    for one in pair:
        one.write("inside", "in")
        (one.path / "sub").mkdir()
        for args in (["../../outside/f"], ["../../outside/d"], [str(outside / "f"), "g"], ["inside", "copy"], ["../../outside/f", "pf", "--no-download"],
                     ["../../outside/d", "pd", "--no-download"], ["../../outside/f", "bare", "--no-exec"], ["inside", "sub"]):
            one.tool("import-url", *args)
    same(pair)
    (outside / "f").write_text("changed")
    (outside / "d/c").write_text("3")
    for one in pair:
        one.tool("update", "f.dvc", "d.dvc", "bare.dvc", "pd.dvc", "copy.dvc")
        one.tool("update", "g.dvc", "--no-download")
    same(pair)
    assert pair[1].read("d/c") == b"3" and pair[1].read("f") == b"changed" and pair[1].read("pd/s/b é") == b"2\n"


@pytest.mark.slow
def test_http(pair, web):
    for one in pair:
        for name in ("etag", "weak", "md5", "plain", "redir", "nohead", "etag/nolen", "plain/type", "plain/it's", "etag/q?x=1&y=2"):
            one.tool("import-url", f"{web.url}/{name}", "o-" + "".join(c for c in name if c.isalnum()))
        one.tool("import-url", f"{web.url}/etag/name.csv?token=1")
        one.tool("import-url", f"{web.url}/etag/x", "partial", "--no-download")
    same(pair)
    assert pair[1].read("o-redir") == b"hello\n" and pair[1].read("name.csv") == b"hello\n"
    web.handler.content = b"something else\n"
    for one in pair:
        one.tool("update", "o-etag.dvc", "o-plain.dvc", "partial.dvc")
    same(pair)
    assert pair[1].read("o-etag") == b"something else\n" == pair[1].read("partial")


def test_a_url_with_a_space(box, web):
    refused = box.mlmake("data", "import-url", f"{web.url}/a b.csv", "x", check=2)
    assert "%20" in refused.stderr and not (box.path / "x.dvc").exists()


def test_what_the_own_remote_lacks_is_at_the_source(box, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/a").write_text("a")
    box.mlmake("data", "import-url", tmp_path / "there", "d")
    shutil.rmtree(box.path / ".dvc/cache")
    shutil.rmtree(box.path / "d")
    assert "data update d.dvc" in box.mlmake("data", "pull", check=2).stderr
    box.mlmake("data", "remote", "add", "-d", "own", tmp_path / "own")
    assert "data update d.dvc" in box.mlmake("data", "pull", check=3).stderr
    box.mlmake("data", "update", "d.dvc")
    assert box.read("d/a") == b"a"
    box.mlmake("data", "push")
    shutil.rmtree(box.path / ".dvc/cache")
    assert "data update" not in box.mlmake("data", "fetch").stderr


def test_http_failures(box, web):
    assert "404" in box.mlmake("data", "import-url", f"{web.url}/404/x", check=3).stderr
    assert "redirects more than" in box.mlmake("data", "import-url", f"{web.url}/loop", "x", check=4).stderr
    assert box.mlmake("data", "import-url", f"http://127.0.0.1:{free_port()}/x", check=4).stderr
    assert "no name of its own" in box.mlmake("data", "import-url", f"{web.url}/", check=2).stderr
    assert "kind that cannot" in box.mlmake("data", "import-url", "gs://bucket/x", check=2).stderr
    assert "cannot import" in box.mlmake("data", "import-url", "nothing/x", check=2).stderr
    assert not records(box) and not list((box.path / ".dvc/cache").rglob("*.dvc"))


def test_http_trouble_is_waited_for(box, web):
    web.handler.trouble = [(503, {}), (429, {"Retry-After": "1"})]
    start = time.monotonic()
    box.mlmake("data", "import-url", f"{web.url}/etag/x")
    assert not web.handler.trouble and time.monotonic() - start >= 1 and box.read("x") == b"hello\n"
    web.handler.trouble = [(503, {"Retry-After": email.utils.formatdate(time.time() + 3, usegmt=True)})]
    start = time.monotonic()
    box.mlmake("data", "import-url", f"{web.url}/etag/x", "later")
    assert not web.handler.trouble and time.monotonic() - start >= 1.9
    web.handler.trouble = [(503, {})] * 9
    assert "answers 503" in box.mlmake("data", "import-url", f"{web.url}/etag/y", "y", check=4).stderr


def test_a_server_without_head_sends_the_file_once(box, web):
    web.handler.content, web.handler.whole = b"0123456789abcdef" * 2_000_000, []
    box.mlmake("data", "import-url", f"{web.url}/nohead", "x")
    assert web.handler.whole == ["/nohead"] and box.read("x") == web.handler.content


@contextlib.contextmanager
def moto():
    port = free_port()
    with server([need_peer("moto"), "-H", "127.0.0.1", "-p", str(port)], port):
        yield S3(port)


PUT = """import boto3, sys
client = boto3.client("s3", endpoint_url=sys.argv[1])
if sys.argv[3] == "make":
    client.create_bucket(Bucket=sys.argv[2])
for pair in sys.argv[4:]:
    key, text = pair.split("=", 1)
    client.put_object(Bucket=sys.argv[2], Key=key, Body=text)
"""


def put(s3, bucket, how, *objects):
    python = os.path.join(os.path.dirname(need_peer("dvc")), "python")
    subprocess.run([python, "-c", PUT, s3.endpoint, bucket, how, *objects], check=True, env={**os.environ, **s3.env})


def run_s3(pair, s3, bucket, how):
    put(s3, bucket, how, "f=f\n", "dir/a=1\n", "dir/s/b=2\n", "dir/s/é \"q\"=3\n", "dirt=no\n")
    for one in pair:
        one.env.update(s3.env)
        one.mlmake("data", "remote", "add", "st", f"s3://{bucket}")
        one.mlmake("data", "remote", "modify", "st", "endpointurl", s3.endpoint)
        for args in (["remote://st/f"], ["remote://st/dir"], ["remote://st/dir/", "slash"], ["remote://st/dir", "partial", "--no-download"],
                     [f"s3://{bucket}/f", "by-config", "--fs-config", f"endpointurl={s3.endpoint}"]):
            one.tool("import-url", *args)
        one.tool("import-url", f"s3://{bucket}/dir", "by-env", AWS_ENDPOINT_URL=s3.endpoint)
    same(pair)
    assert pair[1].read('dir/s/é "q"') == b"3\n" and not (pair[1].path / "dirt").exists()
    put(s3, bucket, "keep", "f=changed", "dir/n=new")
    for one in pair:
        one.tool("update", "f.dvc", "dir.dvc", "partial.dvc")
    same(pair)
    assert pair[1].read("f") == b"changed" and pair[1].read("partial/n") == b"new"
    missing = pair[1].mlmake("data", "import-url", "remote://st/none", check=3)
    assert "there is nothing at remote://st/none" in missing.stderr


@pytest.mark.slow
def test_versitygw(pair, s3_server, bucket):
    run_s3(pair, s3_server, bucket, "there")


@pytest.mark.slow
def test_named_server(pair, named_server):
    run_s3(pair, named_server, f"b{time.time_ns()}", "make")


@pytest.mark.slow
def test_moto(pair):
    with moto() as s3:
        run_s3(pair, s3, "bucket", "make")


@pytest.mark.slow
@pytest.mark.parametrize("importer,puller", [("dvc", "mlmake"), ("mlmake", "dvc")])
def test_data_goes_to_the_own_remote(tmp_path, pair, web, importer, puller):
    """What was imported from a URL is pushed like any data, and fetched from there."""
    tools = {"dvc": pair[0], "mlmake": pair[1]}
    first = tools[importer]
    first.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    first.tool("import-url", f"{web.url}/etag/x")
    first.tool("push")
    first.git("add", "-A")
    first.git("commit", "-qm", "one")
    second = Sandbox(tmp_path / "clone")
    second.git("clone", "-q", first.path, ".")
    web.handler.content = b"newer"
    if puller == "dvc":
        second.dvc("pull", "-q")
    else:
        second.mlmake("data", "pull")
    assert second.read("x") == b"hello\n"
