"""version_aware remotes beside the real dvc, on servers that keep versions: versitygw and moto."""
import contextlib
import hashlib
import json
import os
import pathlib
import re
import shutil
import sys
import time

import pytest

from conftest import BUILD, S3, Sandbox, free_port, need_botocore, need_peer, server

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from proxy import Proxy, Rule  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def versitygw(tmp_path_factory):
    program = need_peer("versitygw")
    root, old = tmp_path_factory.mktemp("s3"), tmp_path_factory.mktemp("versions")
    s3 = S3(free_port())
    port = int(s3.endpoint.rsplit(":", 1)[1])
    env = {**os.environ, "ROOT_ACCESS_KEY": s3.access, "ROOT_SECRET_KEY": s3.secret}
    with server([program, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "posix", "--versioning-dir", str(old), str(root)], port, env):
        yield s3


class Bucket:
    def __init__(self, s3, versioned=True):
        botocore = need_botocore()
        self.s3, self.name = s3, f"v{time.time_ns()}"
        self.client = botocore.get_session().create_client("s3", "us-east-1", endpoint_url=s3.endpoint, aws_access_key_id=s3.access,
                                                           aws_secret_access_key=s3.secret)
        self.client.create_bucket(Bucket=self.name)
        if versioned:
            self.client.put_bucket_versioning(Bucket=self.name, VersioningConfiguration={"Status": "Enabled"})

    def versions(self, key):
        found = self.client.list_object_versions(Bucket=self.name, Prefix=f"p/{key}").get("Versions", [])
        return [v["VersionId"] for v in found if v["Key"] == f"p/{key}"]

    def content(self, key, version):
        return self.client.get_object(Bucket=self.name, Key=f"p/{key}", VersionId=version)["Body"].read()


@pytest.fixture(params=["versitygw", "moto_server", "named_server"])
def bucket(request):
    return Bucket(request.getfixturevalue(request.param))


@pytest.fixture
def one_bucket(versitygw):
    return Bucket(versitygw)


def project(path, bucket, name="va", endpoint=None):
    box = Sandbox(path)
    box.git("init", "-q", "-b", "main")
    box.mlmake("data", "init")
    box.env.update(bucket.s3.env)
    add_remote(box, bucket, name, endpoint, "-d")
    return box


def add_remote(box, bucket, name, endpoint=None, *more):
    box.mlmake("data", "remote", "add", *more, name, f"s3://{bucket.name}/p")
    box.mlmake("data", "remote", "modify", name, "endpointurl", endpoint or bucket.s3.endpoint)
    box.mlmake("data", "remote", "modify", name, "version_aware", "true")


def clone(path, of):
    box = Sandbox(path)
    box.git("clone", "-q", of.path, ".")
    box.env.update({k: v for k, v in of.env.items() if k.startswith("AWS_")})
    return box


def fill(box):
    box.write("f.txt", "one\n")
    box.write("sub/d/a", "same\n")
    box.write("sub/d/b", "same\n")
    box.write("sub/d/deep/x y", "deep\n")
    box.write("sub/d/empty", "")
    box.write("12345", "twin\n")


def change(box):
    box.write("f.txt", "two\n")
    box.write("sub/d/a", "other\n")
    (box.path / "sub/d/b").unlink()
    box.write("sub/d/c", "new\n")


TARGETS = ["f.txt", "sub/d", "12345"]
RECORDS = ["f.txt.dvc", "sub/d.dvc", "12345.dvc"]


def records(box):
    return {name: box.read(name).decode() for name in RECORDS}


def without_ids(texts):
    return {name: re.sub(r"version_id: \S+", "version_id: ID", text) for name, text in texts.items()}


def commit(box):
    box.git("add", "-A")
    box.git("commit", "-qm", "data")


def tree(box):
    files = (p.relative_to(box.path) for p in box.path.rglob("*") if p.is_file() and p.suffix != ".dvc")
    return {str(p): box.read(p) for p in files if not any(part.startswith(".") for part in p.parts)}


def drop_cache(box):
    for path in sorted((box.path / ".dvc/cache").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def test_both_write_the_same_records(bucket, tmp_path):
    """Twins that share nothing but the server: what each writes is the same, but for the ids that the server gives."""
    other = Bucket(bucket.s3)
    one, two = project(tmp_path / "one", bucket), project(tmp_path / "two", other)
    for step in (fill, change):
        for box in (one, two):
            step(box)
        one.mlmake("data", "add", *TARGETS)
        two.dvc("add", "-q", *TARGETS)
        assert without_ids(records(one)) == without_ids(records(two))
        one.mlmake("data", "push")
        two.dvc("push", "-q")
        assert without_ids(records(one)) == without_ids(records(two))
    # Each takes what the other wrote for its own.
    for box in (one, two):
        before = records(box)
        assert "up to date" in box.dvc("push").stdout and records(box) == before
        assert "everything is on the remote" in box.mlmake("data", "push").stderr and records(box) == before
        assert json.loads(box.mlmake("data", "status", "-c", "--json").stdout).get("not_in_remote", []) == []
        assert "up to date" in box.dvc("status").stdout
    assert len(bucket.versions("f.txt")) == 2 and len(bucket.versions("sub/d/empty")) == 1


def test_data_goes_both_ways(bucket, tmp_path):
    one = project(tmp_path / "one", bucket)
    fill(one)
    one.mlmake("data", "add", *TARGETS)
    pushed = json.loads(one.mlmake("data", "push", "--json").stdout)
    assert pushed["pushed"] == 6 and sorted(pushed["recorded"]) == sorted(RECORDS)
    commit(one)
    two = clone(tmp_path / "two", one)
    two.dvc("pull", "-q")
    assert tree(two) == tree(one)
    change(two)
    two.dvc("add", "-q", *TARGETS)
    two.dvc("push", "-q")
    commit(two)
    three = clone(tmp_path / "three", two)
    assert json.loads(three.mlmake("data", "pull", "--dry-run", "--json").stdout)["fetched"] == 6
    assert json.loads(three.mlmake("data", "pull", "--json").stdout)["fetched"] == 6
    assert tree(three) == tree(two)
    assert "No changes" in three.mlmake("data", "status").stdout and "up to date" in three.dvc("status").stdout
    three.mlmake("data", "verify")
    # An old commit is had by its versions, although newer ones stand in front of them; a part of a directory alone, too.
    three.git("checkout", "-q", "HEAD~1")
    drop_cache(three)
    shutil.rmtree(three.path / "sub/d")
    three.mlmake("data", "pull", "-f")
    assert tree(three) == tree(one)
    drop_cache(three)
    assert json.loads(three.mlmake("data", "fetch", "sub/d/deep", "--json").stdout)["fetched"] == 1


def test_same_content_comes_once_and_from_whichever_is_there(one_bucket, tmp_path):
    one = project(tmp_path / "one", one_bucket)
    fill(one)
    one.mlmake("data", "add", *TARGETS)
    one.mlmake("data", "push")
    commit(one)
    drop_cache(one)
    assert json.loads(one.mlmake("data", "fetch", "sub/d", "--json").stdout)["fetched"] == 3
    drop_cache(one)
    gone = one_bucket.versions("sub/d/a")[0]
    one_bucket.client.delete_object(Bucket=one_bucket.name, Key="p/sub/d/a", VersionId=gone)
    assert json.loads(one.mlmake("data", "fetch", "sub/d", "--json").stdout)["fetched"] == 3
    assert json.loads(one.mlmake("data", "status", "-c", "--json", "--granular").stdout)["not_in_remote"] == ["sub/d/", "sub/d/a"]
    # Pushed again, only that one is.
    assert json.loads(one.mlmake("data", "push", "sub/d", "--json").stdout)["pushed"] == 1
    assert gone not in one.read("sub/d.dvc").decode()
    assert "not_in_remote" not in json.loads(one.mlmake("data", "status", "-c", "--json").stdout)


def test_a_version_that_is_gone_is_named(bucket, tmp_path):
    one = project(tmp_path / "one", bucket)
    fill(one)
    one.mlmake("data", "add", *TARGETS)
    one.mlmake("data", "push")
    commit(one)
    two = clone(tmp_path / "two", one)
    version = bucket.versions("f.txt")[0]
    bucket.client.delete_object(Bucket=bucket.name, Key="p/f.txt", VersionId=version)
    result = two.mlmake("data", "pull", check=3)
    assert f"the version {version} is gone" in result.stderr and "f.txt" in result.stderr
    assert (two.path / "sub/d/a").exists() and not (two.path / "f.txt").exists()
    # A file that somebody deleted still has its versions; one that a deletion left as a marker has not.
    bucket.client.delete_object(Bucket=bucket.name, Key="p/12345")
    (two.path / "12345").unlink()
    drop_cache(two)
    two.mlmake("data", "pull", "12345")
    # Nobody pushed this.
    two.write("g", "g")
    two.mlmake("data", "add", "g")
    drop_cache(two)
    assert "g.dvc records no version of it on 'va'" in two.mlmake("data", "fetch", "g", check=3).stderr


def test_wrong_bytes_do_not_get_in(one_bucket, tmp_path):
    one = project(tmp_path / "one", one_bucket)
    fill(one)
    one.mlmake("data", "add", "f.txt")
    one.mlmake("data", "push")
    other = one_bucket.client.put_object(Bucket=one_bucket.name, Key="p/f.txt", Body=b"bad\n")["VersionId"]
    text = one.read("f.txt.dvc").decode()
    one.write("f.txt.dvc", re.sub(r"version_id: \S+", f"version_id: {other}", text))
    drop_cache(one)
    assert "other bytes in the version" in one.mlmake("data", "fetch", check=3).stderr
    # From another clone that has them, a push puts that right.
    one.mlmake("data", "add", "f.txt")
    one.mlmake("data", "push")
    version = re.search(r"version_id: (\S+)", one.read("f.txt.dvc").decode())[1]
    assert version != other and one_bucket.content("f.txt", version) == b"one\n"


def test_killed_at_any_point(one_bucket, tmp_path):
    """Whatever a push left, the next one records the right versions, and uploads nothing twice that came through."""
    box = project(tmp_path / "one", one_bucket)
    fill(box)
    box.mlmake("data", "add", *TARGETS)
    commit(box)
    at = killed = 0
    while True:
        at += 1
        result = box.run(BUILD / "mlmake-fault", "data", "push", "-j1", MLMAKE_FAULT=f"any:KILL:{at}")
        for name in RECORDS:
            text = box.read(name).decode()
            assert text.startswith("outs:\n") and text.endswith("\n")
        if result.returncode == 0:
            break
        killed += 1
        assert result.returncode == -9
    assert killed > 3
    assert "everything is on the remote" in box.mlmake("data", "push").stderr
    for key, content in tree(box).items():
        assert len(one_bucket.versions(key)) == 1
        assert one_bucket.content(key, one_bucket.versions(key)[0]) == content
    drop_cache(box)
    box.dvc("fetch", "-q")
    assert len(list((box.path / ".dvc/cache/files").rglob("*"))) > 5


def test_one_that_is_refused_is_named_and_the_others_are_recorded(one_bucket, tmp_path):
    with Proxy(int(one_bucket.s3.endpoint.rsplit(":", 1)[1])) as proxy:
        box = project(tmp_path / "one", one_bucket, endpoint=f"http://127.0.0.1:{proxy.port}")
        fill(box)
        box.mlmake("data", "add", *TARGETS)
        proxy.rules.append(Rule("PUT", "/p/sub/d/a", "status", code=403, name="AccessDenied"))
        result = box.mlmake("data", "push", check=4)
        assert "sub/d/a" in result.stderr and "403" in result.stderr
        assert "cloud" in box.read("f.txt.dvc").decode()
        assert box.read("sub/d.dvc").decode().count("version_id") == 3
        proxy.rules.clear()
        assert json.loads(box.mlmake("data", "push", "--json").stdout)["pushed"] == 1
        assert box.read("sub/d.dvc").decode().count("version_id") == 4
        # Reading is refused, of one.
        drop_cache(box)
        proxy.rules.append(Rule("GET", "/p/sub/d/deep", "status", code=403, name="AccessDenied"))
        assert "sub/d/deep/x y" in box.mlmake("data", "fetch", check=4).stderr
        proxy.rules.clear()
        assert json.loads(box.mlmake("data", "fetch", "--json").stdout)["fetched"] == 1


def test_large_files_go_in_parts(one_bucket, tmp_path):
    box = project(tmp_path / "one", one_bucket)
    content = os.urandom(1 << 20) * 12
    box.write(".aws/config", "[default]\ns3 =\n    multipart_threshold = 6MB\n    multipart_chunksize = 5MB\n")
    box.mlmake("data", "remote", "modify", "va", "configpath", ".aws/config")
    box.write("big", content)
    box.mlmake("data", "add", "big")
    box.mlmake("data", "push")
    text = box.read("big.dvc").decode()
    head = one_bucket.client.head_object(Bucket=one_bucket.name, Key="p/big")
    assert f"version_id: {head['VersionId']}" in text and f"etag: {head['ETag'][1:-1]}" in text and "-3" in head["ETag"]
    before = box.read("big.dvc")
    assert "up to date" in box.dvc("push").stdout and box.read("big.dvc") == before
    assert "everything" in box.mlmake("data", "push").stderr
    one_bucket.client.put_object(Bucket=one_bucket.name, Key="p/big", Body=b"newer")
    drop_cache(box)
    (box.path / "big").unlink()
    box.mlmake("data", "pull")
    assert hashlib.md5(box.read("big")).digest() == hashlib.md5(content).digest()


def test_a_second_remote(versitygw, tmp_path):
    """Its ids stand in meta:, which dvc leaves alone; dvc goes on with the first."""
    first, second = Bucket(versitygw), Bucket(versitygw)
    box = project(tmp_path / "one", first)
    add_remote(box, second, "vb")
    fill(box)
    box.mlmake("data", "add", *TARGETS)
    box.mlmake("data", "push", "-r", "vb")
    assert "cloud:\n    va" not in box.read("f.txt.dvc").decode() and "mlmake:" in box.read("f.txt.dvc").decode()
    box.mlmake("data", "push")
    box.mlmake("data", "push", "-r", "vb")
    commit(box)
    one = records(box)
    assert "up to date" in box.dvc("push").stdout and records(box) == one
    change(box)
    box.dvc("add", "-q", "f.txt", "sub/d")
    box.dvc("push", "-q")
    box.mlmake("data", "push", "-r", "vb")
    assert json.loads(box.mlmake("data", "status", "-c", "-r", "vb", "--json").stdout).get("not_in_remote", []) == []
    text = box.read("sub/d.dvc").decode()
    assert text.count("version_id") == 8 and "relpath: b" not in text
    commit(box)
    two = clone(tmp_path / "two", box)
    # The first is lost: all comes from the second, old commits included.
    for found in first.client.list_object_versions(Bucket=first.name)["Versions"]:
        first.client.delete_object(Bucket=first.name, Key=found["Key"], VersionId=found["VersionId"])
    two.mlmake("data", "pull", check=3)
    two.mlmake("data", "pull", "-r", "vb")
    assert tree(two) == tree(box)
    two.git("checkout", "-q", "HEAD~1")
    two.mlmake("data", "pull", "-r", "vb")
    assert two.read("sub/d/b") == b"same\n" and two.read("f.txt") == b"one\n"


def test_what_is_refused(versitygw, tmp_path):
    bucket = Bucket(versitygw, versioned=False)
    box = project(tmp_path / "one", bucket)
    box.write("f.txt", "one\n")
    box.mlmake("data", "add", "f.txt")
    before = box.read("f.txt.dvc")
    result = box.mlmake("data", "push", check=2)
    assert "keeps no versions" in result.stderr and "versioning" in result.stderr
    assert box.read("f.txt.dvc") == before and "Contents" not in bucket.client.list_objects_v2(Bucket=bucket.name)
    for args in (["gc", "-w", "-c", "-f"], ["verify", "-r", "va"], ["push", "-A"]):
        result = box.mlmake("data", *args, check=2)
        assert "version_aware" in result.stderr or "revision" in result.stderr, args
    assert (box.path / ".dvc/cache/files").exists(), "gc deleted nothing before it said no"
    box.mlmake("data", "remote", "modify", "va", "worktree", "true")
    assert "worktree" in box.mlmake("data", "push", check=2).stderr
    box.mlmake("data", "remote", "add", "here", tmp_path / "store")
    box.mlmake("data", "remote", "modify", "here", "version_aware", "true")
    assert "only buckets" in box.mlmake("data", "push", "-r", "here", check=2).stderr


def test_names_move_with_their_versions_left_behind(one_bucket, tmp_path):
    box = project(tmp_path / "one", one_bucket)
    fill(box)
    box.mlmake("data", "add", *TARGETS)
    box.mlmake("data", "push")
    box.mlmake("data", "move", "sub/d", "moved")
    box.mlmake("data", "move", "f.txt", "g.txt")
    assert "version_id" not in box.read("moved.dvc").decode() + box.read("g.txt.dvc").decode()
    assert json.loads(box.mlmake("data", "push", "--json").stdout)["pushed"] == 5
    drop_cache(box)
    assert json.loads(box.mlmake("data", "fetch", "--json").stdout)["fetched"] == 5
    box.dvc("fetch", "-q")
    # Outputs that are files of stages are dvc's.
    with contextlib.suppress(FileNotFoundError):
        (box.path / "dvc.yaml").unlink()
    box.write("dvc.yaml", "stages:\n  make:\n    cmd: echo x > made\n    outs:\n    - made\n")
    box.dvc("repro", "-q")
    assert "dvc push" in box.mlmake("data", "push", check=4).stderr
