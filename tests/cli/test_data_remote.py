"""push, fetch and pull on S3: what is asked for, what a dry run says, what a clone remembers of a remote."""
import hashlib
import json
import pathlib
import shutil
import sys

import pytest

from test_data import data  # noqa: F401 (fixture)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from proxy import Proxy, Rule  # noqa: E402


@pytest.fixture
def proxy(s3_server):
    with Proxy(int(s3_server.endpoint.rsplit(":", 1)[1])) as running:
        yield running


@pytest.fixture
def pushed(data, s3_server, bucket, proxy):  # noqa: F811
    """30 files in d and one beside, on S3 behind the proxy."""
    for i in range(30):
        data.write(f"d/{i:02}", f"content {i}\n")
    data.write("f", "alone\n")
    data.mlmake("data", "add", "d", "f")
    data.mlmake("data", "remote", "add", "-d", "s3", f"s3://{bucket}/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", f"http://127.0.0.1:{proxy.port}")
    data.env.update(s3_server.env)
    assert json.loads(data.mlmake("data", "push", "--json").stdout)["pushed"] == 32
    data.bucket = s3_server.root / bucket
    proxy.log.clear()
    return data


def on_remote(box, content):
    md5 = hashlib.md5(content.encode()).hexdigest()
    return box.bucket / "x/files/md5" / md5[:2] / md5[2:]


def push(box, *args):
    return json.loads(box.mlmake("data", "push", "--json", *args).stdout)


def test_nothing_to_push_is_two_requests(pushed, proxy):
    assert push(pushed, "d")["pushed"] == 0
    assert [method for method, _, _ in proxy.log] == ["HEAD", "GET"]
    assert ".dir" in proxy.log[0][1] and "list-type=2" in proxy.log[1][1]
    proxy.log.clear()
    assert push(pushed, "d", "--verify")["pushed"] == 0
    assert len(proxy.log) == 32, "and one that tells which state of the manifest this was"


def test_verify_finds_what_others_deleted(pushed):
    on_remote(pushed, "content 7\n").unlink()
    assert push(pushed, "--verify")["pushed"] == 1
    assert on_remote(pushed, "content 7\n").exists()


def test_a_remote_that_lost_everything_is_noticed_by_a_plain_push(pushed):
    for path in (pushed.bucket / "x/files/md5").rglob("*"):
        if path.is_file() and not path.name.endswith(".dir"):
            path.unlink()
    assert push(pushed)["pushed"] == 31


def test_another_manifest_is_not_believed(pushed, proxy):
    """One that was written again, by whomever, with the same bytes."""
    on_remote(pushed, "content 7\n").unlink()
    manifest = next((pushed.bucket / "x/files/md5").rglob("*.dir"))
    os_stat = manifest.stat()
    import os
    os.utime(manifest, (os_stat.st_atime - 100, os_stat.st_mtime - 100))
    assert push(pushed)["pushed"] == 1
    proxy.log.clear()
    push(pushed, "d")
    assert len(proxy.log) == 2, "what was seen whole is remembered again"


def test_verify_makes_records_void(pushed, proxy):
    pushed.mlmake("data", "verify", "-r", "s3")
    proxy.log.clear()
    push(pushed, "d")
    assert len(proxy.log) > 30


def test_nothing_is_remembered_of_what_is_not_there(pushed):
    """A member that is nowhere: never exit 0, the second time neither."""
    pushed.write("d/30", "lost\n")
    pushed.mlmake("data", "add", "d")
    md5 = hashlib.md5(b"lost\n").hexdigest()
    (pushed.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    for _ in range(2):
        assert "d/30" in pushed.mlmake("data", "push", check=3).stderr


@pytest.mark.slow
def test_dry_runs_move_nothing(pushed, proxy):
    pushed.write("d/30", "new\n")
    pushed.mlmake("data", "add", "d")
    result = pushed.mlmake("data", "push", "--dry-run")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["d/30", "d/"]
    assert "would be pushed 2 objects" in result.stderr
    assert not any(method in ("PUT", "POST") for method, _, _ in proxy.log)
    pushed.mlmake("data", "push")
    shutil.rmtree(pushed.path / ".dvc/cache")
    shutil.rmtree(pushed.path / "d")
    on_remote(pushed, "content 7\n").unlink()
    for command in ("fetch", "pull"):
        result = pushed.mlmake("data", command, "-n", check=3)
        assert len(result.stdout.splitlines()) == 31 and "d/07" in result.stderr
        assert not (pushed.path / "d").exists()
    assert len(json.loads(pushed.mlmake("data", "pull", "-n", "--json", check=3).stdout)["planned"]) == 31


def test_a_listing_that_is_refused_costs_requests_only(pushed, proxy):
    proxy.rules.append(Rule("GET", "list-type", "status", code=403, name="AccessDenied"))
    assert push(pushed)["pushed"] == 0
    on_remote(pushed, "content 7\n").unlink()
    assert push(pushed)["pushed"] == 1


@pytest.mark.slow
def test_the_rate_is_kept(data, s3_server, bucket):  # noqa: F811
    """Small objects that go from memory, and one that is streamed; both ways."""
    import os
    import time
    for i in range(10):
        data.write(f"d/{i}", os.urandom(50_000))
    data.write("f", os.urandom(1_500_000))
    data.mlmake("data", "add", "d", "f")
    data.mlmake("data", "remote", "add", "-d", "s3", f"s3://{bucket}/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", s3_server.endpoint)
    data.env.update(s3_server.env)
    def seconds(*args):
        start = time.monotonic()
        data.mlmake("data", *args)
        return time.monotonic() - start
    assert seconds("push", "--limit-rate", "1M") > 1.5
    data.write("mlmake.yaml", "version: 1\ndata: {limit_rate: 1M}\n")
    shutil.rmtree(data.path / ".dvc/cache")
    slow = seconds("pull")
    assert slow > 1.5
    shutil.rmtree(data.path / ".dvc/cache")
    assert seconds("fetch", "--limit-rate", "0") < slow, "any, whatever the project says"
    data.write("mlmake.yaml", "version: 1\ndata: {limit_rate: fast}\n")
    refused = data.mlmake("data", "push", check=2)
    assert "mlmake.yaml:2:20: error: 'fast' is no rate" in refused.stderr and "500k, 10M" in refused.stderr
    assert "no rate" in data.mlmake("data", "push", "--limit-rate", "fast", check=2).stderr
