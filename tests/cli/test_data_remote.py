"""push, fetch and pull on S3: what is asked for, what a dry run says, what a clone remembers of a remote."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys

import conftest
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


def test_the_reason_stands_once_for_all_that_did_not_move(data):  # noqa: F811
    """Where nobody answers: not behind a line for each file, each of which says nothing."""
    for i in range(12):
        data.write(f"d/{i:02}", f"content {i}\n")
    data.mlmake("data", "add", "d")
    data.mlmake("data", "remote", "add", "-d", "gone", "s3://bucket/x")
    data.mlmake("data", "remote", "modify", "gone", "endpointurl", "http://127.0.0.1:1")
    data.env.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_MAX_ATTEMPTS="1")
    said = data.mlmake("data", "push", check=4).stderr.splitlines()
    assert said[0].startswith("mlmake: error: cannot connect to http://127.0.0.1:1") and "the server running" in said[-1]
    at = said.index("note: 13 objects were not moved:")
    assert said[at + 1:at + 4] == ["  d/", "  d/00", "  d/01"] and said[-2] == "  and 3 more, which --json lists"
    report = json.loads(data.mlmake("data", "push", "--json", check=4).stdout)
    assert len(report["failed"]) == 13 and all("not moved: cannot connect" in line for line in report["failed"])
    shutil.rmtree(data.path / ".dvc/cache")
    shutil.rmtree(data.path / "d")
    for command in ("push", "fetch", "pull"):
        said = data.mlmake("data", command, check=4).stderr.splitlines()
        assert "cannot connect" in said[0] and said[-3:-1] == ["note: 1 object was not moved:", "  d/"], command


@pytest.mark.parametrize("aware", [False, True])
def test_what_the_remote_refuses_to_say_is_not_called_absent(pushed, proxy, aware):
    """status -c called a directory absent, exit 0, of which one member could not be asked for."""
    name = "content 7\n"
    if aware:
        pushed.mlmake("data", "remote", "modify", "s3", "version_aware", "true")
        record = (pushed.path / "f.dvc").read_text()
        (pushed.path / "f.dvc").write_text(record + "  cloud:\n    s3:\n      etag: e\n      version_id: v\n")
        name = "x/f"
    rule = Rule("", "x/f?" if aware else on_remote(pushed, name).name, "status", code=403, name="AccessDenied")
    proxy.rules.append(rule)
    result = pushed.mlmake("data", "status", "-c", *(["f"] if aware else []), check=4)
    assert "Not on the remote" not in result.stdout and "AccessDenied" in result.stderr and "check that the credentials" in result.stderr
    assert result.stderr.count("hint:") == 1
    report = json.loads(pushed.mlmake("data", "status", "-c", "--json", *(["f"] if aware else []), check=4).stdout)
    assert len(report["failed"]) == 1 and "not_in_remote" not in report and len(report["hints"]) == 1
    if aware:
        return
    on_remote(pushed, "content 8\n").unlink()
    assert json.loads(pushed.mlmake("data", "status", "-c", "--json", check=4).stdout)["not_in_remote"] == ["d/"]
    for args in (("push", "--verify"), ("verify", "-r", "s3")):
        refused = pushed.mlmake("data", *args, check=4)
        assert refused.stderr.count("hint: check that the credentials") == 1, args
    (pushed.path / "d.dvc").unlink()
    rule.method = "DELETE"
    refused = pushed.mlmake("data", "gc", "-w", "-c", "-f", check=4)
    assert "could not be deleted" in refused.stderr and refused.stderr.count("hint: check that the credentials") == 1


def test_a_remote_whose_url_names_no_remote(data):  # noqa: F811
    data.mlmake("data", "remote", "add", "-d", "sub", "remote://typo/x")
    said = data.mlmake("data", "push", check=2).stderr
    assert "the url of the remote 'sub' leads to 'typo', which has no url" in said and "remote list" in said and "not moved" not in said


def test_a_directory_that_is_not_there_is_named(data, tmp_path):  # noqa: F811
    """A disk that is not mounted: everything is missing, and why is said once."""
    data.write("d/a", "a\n")
    data.write("f", "f\n")
    data.mlmake("data", "add", "d", "f")
    data.mlmake("data", "remote", "add", "-d", "disk", str(tmp_path / "disk/store"))
    shutil.rmtree(data.path / ".dvc/cache")
    for command in ("pull", "fetch"):
        said = data.mlmake("data", command, check=3).stderr
        assert said.count(f"hint: there is no directory {tmp_path}/disk/store: is what it lies on mounted") == 1, said
    (tmp_path / "disk/store").mkdir(parents=True)
    assert "hint:" not in data.mlmake("data", "pull", check=3).stderr


def test_version_aware_remotes_name_what_did_not_move(data):  # noqa: F811
    data.write("f", "f\n")
    data.mlmake("data", "add", "f")
    data.mlmake("data", "remote", "add", "-d", "gone", "s3://bucket/x")
    for option, value in (("endpointurl", "http://127.0.0.1:1"), ("version_aware", "true")):
        data.mlmake("data", "remote", "modify", "gone", option, value)
    data.env.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_MAX_ATTEMPTS="1")
    said = data.mlmake("data", "push", check=4).stderr
    assert said.startswith("mlmake: error: cannot connect") and "note: 1 object was not moved:\n  f\n" in said


@pytest.mark.slow
def test_a_server_that_goes_away_is_one_reason(data, tmp_path):  # noqa: F811
    """What was under way has failed by then, while the rest waited."""
    program, port = conftest.need_peer("versitygw"), conftest.free_port()
    (tmp_path / "s3/bucket").mkdir(parents=True)
    for i in range(60):
        data.write(f"d/{i:02}", os.urandom(100_000))
    data.mlmake("data", "add", "d")
    data.mlmake("data", "remote", "add", "-d", "s3", "s3://bucket/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", f"http://127.0.0.1:{port}")
    data.env.update(conftest.S3(port).env, AWS_MAX_ATTEMPTS="2")
    env = {**os.environ, "ROOT_ACCESS_KEY": "testaccess", "ROOT_SECRET_KEY": "testsecretkey"}
    with conftest.server([program, "--port", f"127.0.0.1:{port}", "--quiet", "posix", str(tmp_path / "s3")], port, env) as gateway:
        push = data.popen(data.binary, "data", "push", "--json", "--limit-rate", "1M", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        conftest.wait_for(lambda: sum(path.is_file() for path in (tmp_path / "s3/bucket").rglob("files/md5/??/*")) > 5)
        gateway.kill()
        out, said = push.communicate(timeout=60)
    assert push.returncode == 4 and said.count("Failed to connect") <= 1 and "objects were not moved:" in said, said
    named = {line.split(":")[0] for line in json.loads(out)["failed"]}
    there = {path.parent.name + path.name for path in (tmp_path / "s3/bucket/x/files/md5").rglob("*") if path.is_file()}
    missing = {f"d/{i:02}" for i in range(60) if hashlib.md5(data.read(f"d/{i:02}")).hexdigest() not in there}
    assert missing and {*missing, "d/"} <= named


def test_a_part_of_a_directory_says_what_is_still_due(data):  # noqa: F811
    for name in ("a", "b", "c"):
        data.write(f"d/{name}", name * 3)
    data.mlmake("data", "add", "d")
    data.mlmake("data", "remote", "add", "-d", "store", "../store")
    for args in (("--dry-run",), ()):
        refused = data.mlmake("data", "push", *args, "d/a", check=3).stderr
        assert "d/: 2 of its 3 members are not there; this push was of other paths" in refused and "failed" not in refused
        assert "to send the rest: mlmake data push d\n" in refused
    assert "pushed 0 objects" in data.mlmake("data", "push", "d/a", check=3).stderr
    told = json.loads(data.mlmake("data", "push", "--json", "d/b", check=3).stdout)
    assert told["pushed"] == 1 and "failed" not in told and told["withheld"] == ["d/: 1 of its 3 members is not there; this push was of other paths"]
    assert "mlmake data push .\n" in data.mlmake("data", "push", "-C", "d", "a", check=3).stderr
    (data.path / ".dvc/cache/files/md5" / hashlib.md5(b"ccc").hexdigest()[:2] / hashlib.md5(b"ccc").hexdigest()[2:]).unlink()
    lost = data.mlmake("data", "push", "d/a", check=3).stderr
    assert "the cache lacks some of them, too" in lost and "to send the rest" not in lost
    missing = data.mlmake("data", "push", check=3).stderr
    assert "d/c" in missing and "d/: 1 of its 3 members is not there\n" in missing
    data.mlmake("data", "add", "d")
    assert "pushed 2 objects" in data.mlmake("data", "push", "d/c").stderr, "the last part brings the manifest"


TARGETS = """\
version: 1
targets:
  train:
    outputs: [{path: model.bin, track: true}, log.txt]
    run: echo model >model.bin; echo log >log.txt
  each:
    matrix: {n: [1, 2]}
    outputs: [{path: "each-${matrix.n}", track: true}]
    run: echo ${matrix.n} >each-${matrix.n}
  plain:
    outputs: [plain.txt]
    run: echo plain >plain.txt
  lint:
    run: "true"
"""


def test_targets_stand_for_their_outputs(data):  # noqa: F811
    data.write("mlmake.yaml", TARGETS)
    data.write("other", "other")
    data.mlmake("data", "remote", "add", "-d", "store", "../store")
    data.mlmake("train", "each", "plain")
    data.mlmake("data", "add", "other")
    assert push(data, "train")["pushed"] == 1 and push(data, "each")["pushed"] == 2
    shutil.rmtree(data.path / ".dvc/cache")
    for name in ("model.bin", "each-1", "each-2", "other"):
        (data.path / name).unlink()
    data.write("sub/x", "")
    data.mlmake("data", "pull", "-C", "sub", "each@2")
    assert (data.path / "each-2").exists() and not (data.path / "each-1").exists()
    data.mlmake("data", "pull", "train", "each")
    assert data.read("model.bin") == b"model\n" and data.read("each-1") == b"1\n" and not (data.path / "other").exists()
    assert "model.bin" in data.mlmake("data", "status", "--unchanged", "train").stdout
    untracked = data.mlmake("data", "pull", "plain", check=2).stderr
    assert "plain.txt, an output of the target 'plain', is not tracked" in untracked and "track: true" in untracked
    assert "'lint' has no outputs" in data.mlmake("data", "pull", "lint", check=2).stderr
    typo = data.mlmake("data", "pull", "trian", check=2).stderr
    assert "trian is not tracked" in typo and "no such file" in typo and "data add" not in typo
    data.write("new file", "x")
    assert "mlmake data add 'new file' tracks it" in data.mlmake("data", "push", "new file", check=2).stderr
    data.write("mlmake.yaml", "version: 1\ntargets: [\n")
    broken = data.mlmake("data", "pull", "train", check=2).stderr
    assert "mlmake.yaml" in broken and "whether 'train'" in broken
    data.mlmake("data", "pull", "model.bin")


def test_a_manifest_of_any_size_is_not_fetched(data):  # noqa: F811
    data.write("d/a", "x")
    data.mlmake("data", "add", "d")
    data.mlmake("data", "remote", "add", "-d", "store", "../store")
    data.mlmake("data", "push")
    manifest, = (data.path.parent / "store").rglob("*.dir")
    manifest.chmod(0o644)
    os.truncate(manifest, 3 << 30)
    shutil.rmtree(data.path / ".dvc/cache")
    limited = ["bash", "-c", 'ulimit -f 262144; exec "$@"', "-", data.binary, "data"]
    for command in (["pull", "d"], ["fetch"], ["gc", "-w", "-f"], ["verify", "-r", "store"]):
        refused = data.run(*limited, *command)
        assert refused.returncode == 3 and "damaged" in refused.stderr, (command, refused.stderr)


@pytest.mark.parametrize("url", ["s3:/bucket/x", "s3:bucket", "S3://bucket/x", "s3//bucket", "https:/host/x", "gs//bucket", "SSH://host/x"])
def test_urls_that_are_slips(data, url):  # noqa: F811
    """A push would go to a directory of that name, and say that all is well."""
    data.mlmake("data", "remote", "add", "store", "../store")
    before = data.read(".dvc/config")
    for args in (["remote", "add", "x", url], ["remote", "modify", "store", "url", url], ["config", "remote.y.url", url]):
        refused = data.mlmake("data", *args, check=2).stderr
        assert "is not written as one" in refused and "://" in refused and f"./{url}" in refused
    assert data.read(".dvc/config") == before
    data.mlmake("data", "remote", "modify", "store", "url", "./s3//bucket")
    data.mlmake("data", "remote", "modify", "store", "url", "s3://bucket/x")
    data.write(".dvc/config", data.read(".dvc/config").decode().replace("s3://bucket/x", url))
    data.write("f", "f")
    data.mlmake("data", "add", "f")
    for command in (["push"], ["status", "-c"], ["fetch"]):
        assert "is not written as one" in data.mlmake("data", *command, "-r", "store", check=2).stderr
