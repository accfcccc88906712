"""Shared results on real remotes: a directory, versitygw, moto; and beside the data of the real dvc, whose gc must leave them alone."""
import contextlib
import http.server
import json
import os
import shutil
import threading
import time

import conftest
import pytest
from share_help import clone, project, ran, summary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def moto_server():
    program = conftest.need_peer("moto")
    port = conftest.free_port()
    with conftest.server([program, "-H", "127.0.0.1", "-p", str(port)], port, dict(os.environ)):
        yield conftest.S3(port)


def make_bucket(endpoint, name):
    import urllib.request
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=conftest.PATIENCE).read()


@contextlib.contextmanager
def public_server(root):
    """The objects below root for everybody to read: GET without a signature, as a public bucket answers it."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kw):
            super().__init__(*args, directory=str(root), **kw)

        def do_GET(self):
            if "Authorization" in self.headers:
                self.send_error(403)
            else:
                super().do_GET()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()


@pytest.fixture(params=["directory", "versitygw", "moto"])
def first(request, box, tmp_path):
    if request.param == "directory":
        project(box, tmp_path / "remote")
    elif request.param == "versitygw":
        s3 = request.getfixturevalue("s3_server")
        project(box, f"s3://{request.getfixturevalue('bucket')}/a prefix", "", s3.env, endpointurl=s3.endpoint)
    else:
        s3 = request.getfixturevalue("moto_server")
        bucket = f"b{time.time_ns()}"
        make_bucket(s3.endpoint, bucket)
        project(box, f"s3://{bucket}", "", s3.env, endpointurl=s3.endpoint)
    return box


def test_what_one_made_another_restores(first, tmp_path):
    end, warnings = summary(first, "--cache-push", "train", "here", "never")
    assert end["succeeded"] == 4 and end["shared"] == 2 and end["not_shared"] == 0 and not warnings
    second = clone(first, tmp_path, "second")
    end, warnings = summary(second, "train")
    assert end["restored"] == 2 and end["fetched"] == 2 and not warnings and ran(second) == []
    assert second.read("model/big") == b"\0" * 300000 and os.readlink(second.path / "model/link") == "a"
    assert (second.path / "model/tool").stat().st_mode & 0o777 == 0o755 and (second.path / "model/empty").is_dir()
    assert second.mlmake("log", "train").stdout == "trained\n"
    # Nobody sends what is there.
    third = clone(first, tmp_path, "third")
    assert summary(third, "-B", "--cache-push", "train")[0]["shared"] == 0
    held = json.loads(third.mlmake("cache", "status", "--remote", "--json").stdout)["remote"]
    assert held["results"] == 2 and held["objects"] == 3
    time.sleep(2)
    assert json.loads(third.mlmake("cache", "gc", "--remote", "--older-than=1h", "--json").stdout)["removed_results"] == 0
    gone = json.loads(third.mlmake("cache", "gc", "--remote", "--older-than=1s", "--json").stdout)
    assert gone["removed_results"] == 2 and gone["objects"] == 3, "files may belong to a result on its way"
    assert summary(clone(first, tmp_path, "fourth"), "train")[0]["succeeded"] == 2


def test_reading_without_keys(box, tmp_path, s3_server, bucket):
    """A fork's pull request has no keys; what everybody may read, it restores."""
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    project(box, f"s3://{bucket}", "", s3_server.env, endpointurl=s3_server.endpoint)
    assert summary(box, "--cache-push", "train")[0]["shared"] == 2
    end, warnings = summary(clone(box, tmp_path, "private", none), "train")
    assert end["restored"] == 0 and len(warnings) == 1 and "there are no AWS credentials" in warnings[0]["message"]
    with public_server(s3_server.root) as endpoint:
        second = clone(box, tmp_path, "second", none)
        second.mlmake("data", "remote", "modify", "storage", "endpointurl", endpoint)
        end, warnings = summary(second, "train")
        assert end["restored"] == 2 and not warnings, warnings
        second.write("src", "other\n")
        end, warnings = summary(second, "--cache-push", "train")
        assert end["not_shared"] == 2 and len(warnings) == 1 and "there are no AWS credentials" in warnings[0]["message"]


def test_an_object_in_parts(first, tmp_path):
    """Over the size that goes in one request, and not through memory."""
    first.write("mlmake.yaml", """\
version: 1
rules: []
cache: {remote: storage}
targets:
  t: {inputs: [src], outputs: [big], run: "head -c 100000000 /dev/zero | tr '\\\\0' 'x' > big"}
""")
    assert summary(first, "--cache-push", "t")[0]["shared"] == 1
    second = clone(first, tmp_path, "second")
    result = second.run("/usr/bin/time", "-f", "%M", second.binary, "t") if shutil.which("/usr/bin/time") else second.mlmake("t")
    assert "restored from the remote" in result.stderr
    assert (second.path / "big").stat().st_size == 100000000
    if shutil.which("/usr/bin/time"):
        assert int(result.stderr.split()[-1]) < 64 << 10, "KiB"


@pytest.mark.parametrize("kind", ["directory", "s3"])
def test_dvc_gc_leaves_it_alone(request, gitbox, tmp_path, kind):
    """`dvc gc -c` removes the data that nothing records, of its present layout and of its older one, and none of the results."""
    box = gitbox
    if kind == "directory":
        url, env, options = tmp_path / "remote", {}, {}
    else:
        s3 = request.getfixturevalue("s3_server")
        url, env, options = f"s3://{request.getfixturevalue('bucket')}/p", s3.env, {"endpointurl": s3.endpoint}
    box.env.update(env)
    box.mlmake("data", "init")
    project_without_init(box, url, options)
    box.mlmake("--cache-push", "train")
    box.write("old.csv", "to be forgotten\n")
    box.dvc("add", "old.csv")
    box.dvc("push")
    box.git("add", "-A")
    box.git("commit", "-qm", "one")
    box.write("old.csv", "new\n")
    box.dvc("add", "old.csv")
    box.dvc("push")
    top = tmp_path / "remote" if kind == "directory" else s3.root / str(url)[len("s3://"):]
    before = {p for p in top.rglob("*") if p.is_file()}
    results = {p for p in before if "mlmake" in p.relative_to(top).parts}
    assert len(results) == 2 + 3
    box.dvc("gc", "-c", "-w", "-f")
    after = {p for p in top.rglob("*") if p.is_file()}
    assert len(before - after) == 1 and results <= after
    second = clone(box, tmp_path, "second")
    assert summary(second, "train")[0]["restored"] == 2


def project_without_init(box, url, options):
    from share_help import PROJECT
    box.mlmake("data", "remote", "add", "-d", "storage", str(url))
    for name, value in options.items():
        box.mlmake("data", "remote", "modify", "storage", name, value)
    box.write("mlmake.yaml", PROJECT % "")
    box.write("src", "data\n")
