"""src/net against real S3 servers (versitygw, moto, the one that is named), botocore, and the real dvc's directory remote."""
import json
import os
import socket
import stat
import sys
import threading
import time
import http.server

import conftest
import pytest
from remote_help import Item, Remote, check_parts, clean, make_object

CREDENTIALS_OF_ENV = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    return path


@pytest.fixture(params=["directory", "s3", "moto", "named", "packed directory", "packed s3", "packed named"])
def remote(request, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    packed = {"packed": 1, "pack_dir": tmp_path / "packs"} if request.param.startswith("packed") else {}
    if request.param.endswith("directory"):
        yield Remote(str(tmp_path / "remote"), clean(home), **packed)
        return
    if request.param.endswith("s3"):
        s3, bucket = request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
        yield Remote(f"s3://{bucket}/some prefix", {**clean(home), **s3.env}, endpoint_url=s3.endpoint, **packed)
        return
    s3 = request.getfixturevalue(f"{request.param.split()[-1]}_server")
    bucket = f"b{time.time_ns()}"
    request.getfixturevalue("make_bucket")(s3, bucket)
    yield Remote(f"s3://{bucket}", {**clean(home), **s3.env}, endpoint_url=s3.endpoint, **packed)


def fetched(item, target):
    return item.at(target / item.path.name)


def test_round_trip(remote, source, target):
    items = [make_object(source, data) for data in (b"", b"a", os.urandom(8192), os.urandom(700_000), b"x" * 300_000)]
    assert remote.states("check", items) == ["missing"] * 5
    assert remote.states("put", items) == ["done"] * 5
    answers = remote.move("check", items)
    assert [a.state for a in answers] == ["done"] * 5
    assert [a.size for a in answers] == [i.size for i in items]
    assert remote.states("get", [fetched(i, target) for i in items]) == ["done"] * 5
    for item in items:
        assert (target / item.path.name).read_bytes() == item.path.read_bytes()
        assert stat.S_IMODE((target / item.path.name).stat().st_mode) == 0o600
    assert remote.list("files/md5/") == {i.key: i.size for i in items}
    assert remote.list(items[0].key[:16]) == {items[0].key: 0}
    assert remote.list("nothing/") == {}


def test_unknown_size_and_digest(remote, source, target):
    items = [make_object(source, data) for data in (b"", b"abc", os.urandom(20_000))]
    assert remote.states("put", [Item(i.key, i.path) for i in items]) == ["done"] * 3
    answers = remote.move("get", [Item(i.key, target / i.path.name) for i in items])
    assert [(a.state, a.size) for a in answers] == [("done", i.size) for i in items]
    assert [(target / i.path.name).read_bytes() for i in items] == [i.path.read_bytes() for i in items]


def test_parts(remote, source):
    if "packed" in remote.options:
        pytest.skip("of packs and plain objects alone")
    check_parts(remote, source)


def test_put_refuses_wrong_bytes(remote, source):
    small, middle = make_object(source, b"good" * 100), make_object(source, os.urandom(600_000))
    other = make_object(source, b"other")
    small.path.write_bytes(b"evil" * 100)
    middle.path.write_bytes(os.urandom(600_000))
    longer = make_object(source, b"short")
    longer.path.write_bytes(b"not so short")
    gone = Item("files/md5/aa/bb", source / "absent", 3, "0" * 32)
    answers = remote.move("put", [small, middle, other, longer, gone])
    assert [a.state for a in answers] == ["damaged", "damaged", "done", "damaged", "missing"]
    assert all(a.message for a in answers if a.state != "done")
    assert remote.list("files/") == {other.key: 5}


def test_get_refuses_wrong_bytes(remote, source, target):
    items = [make_object(source, data) for data in (b"good", b"fine", b"size")]
    lying = [Item(items[0].key, target / "0", 4, "0" * 32), fetched(items[1], target), Item(items[2].key, target / "2", 5, items[2].md5),
             Item(items[2].key, target / "3", 3, items[2].md5), Item("files/md5/aa/bb", target / "4", 3, "0" * 32)]
    assert remote.states("put", items) == ["done"] * 3
    answers = remote.move("get", lying)
    assert [a.state for a in answers] == ["damaged", "done", "damaged", "damaged", "missing"]
    assert "digest" in answers[0].message
    assert os.listdir(target) == [items[1].path.name]


def test_get_never_replaces_a_file(remote, source, target):
    item = make_object(source, b"new")
    (target / "here").write_bytes(b"old")
    remote.move("put", [item])
    answer, = remote.move("get", [item.at(target / "here")])
    assert answer.state == "failed" and "exists" in answer.message
    assert (target / "here").read_bytes() == b"old"


def test_check_finds_damage_and_put_heals(remote, source):
    item = make_object(source, b"right")
    assert remote.states("put", [Item(item.key, make_object(source, b"wrong one").path)]) == ["done"]
    assert remote.states("check", [item]) == ["damaged"]
    assert remote.states("put", [item]) == ["done"]
    assert remote.states("check", [item]) == ["done"]


def test_unsafe_key(remote, tmp_path):
    answer, = [a for a in remote.move("get", [Item("../outside", tmp_path / "x")]) if a.state == "error"]
    assert remote.code == 3 and "../outside" in answer.message


def test_stop(remote, source):
    items = [make_object(source, os.urandom(100)) for _ in range(50)]
    answers = remote.move("put", items, stop_after=1)
    assert remote.code == 130 and answers[-1].state == "error"


@pytest.mark.slow
def test_many_keys_are_listed(remote, source):
    if "127.0.0.1" not in remote.options.get("endpoint_url", ""):
        pytest.skip("directories are not listed")
    items = [make_object(source, str(i).encode()) for i in range(1300)]
    assert set(remote.states("put", items[:1200], jobs=16)) == {"done"}
    answers = remote.move("check", items)
    assert [a.state for a in answers] == ["done"] * 1200 + ["missing"] * 100
    assert remote.states("check", items[1000:1250]) == ["done"] * 200 + ["missing"] * 50
    assert len(remote.list("files/md5/")) == 1200


@pytest.mark.slow
def test_large(remote, source, target):
    data = os.urandom(1 << 20) * 70 + b"the end"
    item = make_object(source, data)
    assert remote.states("put", [item]) == ["done"]
    unknown = Item(item.key, target / "unknown", "-", item.md5)
    assert remote.states("get", [fetched(item, target), unknown]) == ["done", "done"]
    assert (target / item.path.name).read_bytes() == data
    assert (target / "unknown").read_bytes() == data
    wrong = Item(item.key, target / "wrong", item.size, "0" * 32)
    assert remote.states("get", [wrong]) == ["damaged"]
    assert not (target / "wrong").exists()
    with item.path.open("r+b") as file:
        file.seek(30 << 20)
        file.write(b"changed")
    assert remote.states("put", [Item("files/md5/00/11", item.path, item.size, item.md5)]) == ["damaged"]
    assert remote.list("files/md5/00/") == {}


@pytest.mark.slow
def test_directory_is_laid_out_as_by_dvc(box, tmp_path):
    box.git("init", "-q")
    box.dvc("init", "-q")
    box.write("d/a", "one")
    box.write("d/b", "two")
    box.dvc("add", "-q", "d")
    box.dvc("remote", "add", "-q", "-d", "r", tmp_path / "dvc-remote")
    box.dvc("push", "-q")
    cache = box.path / ".dvc" / "cache"
    items = [Item(str(path.relative_to(cache)), path, path.stat().st_size) for path in cache.rglob("*") if path.is_file()]
    ours = Remote(str(tmp_path / "our-remote"), clean(box.home))
    assert set(ours.states("put", items)) == {"done"}

    def tree(root):
        return {str(p.relative_to(root)): (stat.S_IFMT(p.stat().st_mode), stat.S_IMODE(p.stat().st_mode), p.read_bytes() if p.is_file() else b"")
                for p in root.rglob("*")}
    assert tree(tmp_path / "our-remote") == tree(tmp_path / "dvc-remote")


# Credentials and settings.

def credentials_of(env, tmp_path, **options):
    remote = Remote("", env, **options)
    import subprocess
    argv = [str(conftest.BUILD / "tests" / "remote_driver"), "credentials", *[f"{k}={v}" for k, v in options.items()]]
    result = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=30)
    remote.code = result.returncode
    return result.returncode, result.stdout.strip().split("\t")


def write_aws(home, credentials="", config=""):
    (home / ".aws").mkdir(exist_ok=True)
    (home / ".aws" / "credentials").write_text(credentials)
    (home / ".aws" / "config").write_text(config)


def test_credentials_order(tmp_path):
    env = clean(tmp_path)
    write_aws(tmp_path, "[default]\naws_access_key_id = FILE\naws_secret_access_key=a/b+c=#x\n\n[other]\n# note\naws_access_key_id=OTHER\n"
              "aws_secret_access_key = s\naws_session_token = t\n",
              "[default]\nregion = eu-west-1\ns3 =\n  addressing_style = path\n[profile process]\ncredential_process = echo "
              "'{\"Version\": 1, \"AccessKeyId\": \"PROC\", \"SecretAccessKey\": \"ps\", \"SessionToken\": \"pt\"}'\n"
              "[profile inconfig]\naws_access_key_id = CONFIG\naws_secret_access_key = cs\n")
    assert credentials_of(env, tmp_path)[1][:3] == ["FILE", "a/b+c=#x", "-"]
    assert credentials_of({**env, "AWS_PROFILE": "other"}, tmp_path)[1][:3] == ["OTHER", "s", "t"]
    assert credentials_of(env, tmp_path, profile="process")[1][:3] == ["PROC", "ps", "pt"]
    assert credentials_of(env, tmp_path, profile="inconfig")[1][:2] == ["CONFIG", "cs"]
    in_env = {**env, "AWS_ACCESS_KEY_ID": "ENV", "AWS_SECRET_ACCESS_KEY": "es"}
    assert credentials_of(in_env, tmp_path)[1][:3] == ["ENV", "es", "-"]
    assert credentials_of({**in_env, "AWS_PROFILE": "other"}, tmp_path)[1][0] == "ENV"
    assert credentials_of(in_env, tmp_path, profile="other")[1][0] == "OTHER"
    assert credentials_of(in_env, tmp_path, access_key_id="MINE", secret_access_key="ms")[1][0] == "MINE"


@pytest.mark.parametrize("config, word", [
    ("[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = y\n", "'y'"),
    ("[default]\nsso_start_url = https://x\n", "no AWS credentials"),
    ("[default]\nregion = eu-west-1\n", "no AWS credentials"),
    ("[default]\ncredential_process = sh -c 'exit 3'\n", "exit code 3"),
    ("[default]\ncredential_process = echo nonsense\n", "credential_process"),
])
def test_credentials_refused(tmp_path, config, word):
    write_aws(tmp_path, config=config)
    code, fields = credentials_of(clean(tmp_path), tmp_path)
    assert code in (2, 3) and word in "\t".join(fields)


def test_unknown_profile(tmp_path):
    code, fields = credentials_of(clean(tmp_path), tmp_path, profile="nobody")
    assert code == 2 and "nobody" in fields[3]


class Metadata(http.server.BaseHTTPRequestHandler):
    def answer(self, text, code=200):
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_PUT(self):
        self.answer("tok" if self.headers.get("X-aws-ec2-metadata-token-ttl-seconds") else "", 200)

    def do_GET(self):
        keys = json.dumps({"AccessKeyId": "META", "SecretAccessKey": "ms", "Token": "mt", "Expiration": "2099-01-01T00:00:00Z"})
        if self.path == "/container" and self.headers.get("Authorization") == "Bearer x":
            self.answer(keys)
        elif self.headers.get("X-aws-ec2-metadata-token") != "tok":
            self.answer("no", 401)
        else:
            self.answer(keys if self.path.endswith("/role-a") else "role-a\n")

    def log_message(self, *args):
        pass


@pytest.fixture
def metadata():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_credentials_of_servers(tmp_path, metadata):
    env = {**clean(tmp_path), "AWS_EC2_METADATA_DISABLED": "false"}
    assert credentials_of({**env, "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata}, tmp_path)[1][:3] == ["META", "ms", "mt"]
    container = {**clean(tmp_path), "AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata + "/container",
                 "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Bearer x"}
    assert credentials_of(container, tmp_path)[1][:3] == ["META", "ms", "mt"]
    code, fields = credentials_of({**container, "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/x"}, tmp_path)
    assert code == 2 and "example.com" in fields[3]


@pytest.mark.parametrize("key, secret, word", [("nobody", "not-this-one", "access key"), (None, "nor-this-one", "SignatureDoesNotMatch")])
def test_wrong_keys(s3_server, bucket, tmp_path, source, key, secret, word):
    env = {**clean(tmp_path), "AWS_ACCESS_KEY_ID": key or s3_server.access, "AWS_SECRET_ACCESS_KEY": secret}
    remote = Remote(f"s3://{bucket}", env, endpoint_url=s3_server.endpoint)
    answers = remote.move("put", [make_object(source, b"x")])
    assert remote.code == 4 and word in answers[-1].message and answers[-1].hint
    assert secret not in answers[-1].message


def test_no_bucket(s3_server, tmp_path, source):
    remote = Remote("s3://there-is-none", {**clean(tmp_path), **s3_server.env}, endpoint_url=s3_server.endpoint)
    for verb in ("put", "get", "check"):
        answers = remote.move(verb, [make_object(source, b"x").at(source / verb if verb == "get" else make_object(source, b"x").path)])
        assert remote.code == 4 and "NoSuchBucket" in answers[-1].message, (verb, answers)


@pytest.mark.slow
def test_nobody_listens(tmp_path, source):
    remote = Remote("s3://b", {**clean(tmp_path), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
                    endpoint_url=f"http://127.0.0.1:{conftest.free_port()}")
    answers = remote.move("put", [make_object(source, str(i).encode()) for i in range(100)], timeout=conftest.PATIENCE)
    assert remote.code == 4 and "connect" in answers[-1].message.lower() and answers[-1].hint


def test_bad_endpoint(tmp_path, source):
    env = {**clean(tmp_path), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    answers = Remote("s3://b", env, endpoint_url="localhost:9000").move("check", [Item("k")])
    assert answers[-1].state == "error" and "localhost:9000" in answers[-1].message
    answers = Remote("s3://b", {**env, "AWS_CA_BUNDLE": "/nonexistent.pem"}, endpoint_url="https://127.0.0.1:1").move("check", [Item("k")])
    assert answers[-1].state == "error" and "/nonexistent.pem" in answers[-1].message
