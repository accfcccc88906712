"""What a remote's options do: the headers that botocore sends for the same options; TLS with a CA of our own; buckets in the host name;
another region; credentials that run out under way."""
import base64
import os
import pathlib
import subprocess
import sys

import conftest
import pytest
from remote_help import Item, Remote, clean, make_object

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from proxy import Proxy, Rule  # noqa: E402

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def proxy(s3_server):
    with Proxy(int(s3_server.endpoint.rsplit(":", 1)[1])) as running:
        yield running


@pytest.fixture
def remote(s3_server, bucket, proxy, tmp_path):
    return Remote(f"s3://{bucket}/p", {**clean(tmp_path), **s3_server.env}, endpoint_url=f"http://127.0.0.1:{proxy.port}")


def amazon(headers):
    return {k.lower(): v for k, v in headers if k.lower().startswith("x-amz-") and k.lower() not in (
        "x-amz-date", "x-amz-content-sha256", "x-amz-security-token") and "checksum" not in k.lower()}


def of_botocore(operation, **parameters):
    """The headers that botocore would send; nothing is sent."""
    session = conftest.need_botocore().Session()
    client = session.create_client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:1", aws_access_key_id="a",
                                   aws_secret_access_key="b")
    found = []

    class Stop(Exception):
        pass

    def look(request, **_):
        found.append([(k, v.decode() if isinstance(v, bytes) else v) for k, v in request.headers.items()])
        raise Stop
    client.meta.events.register("before-send", look)
    with pytest.raises(Stop):
        getattr(client, operation)(Bucket="b", Key="k", **parameters)
    return amazon(found[0])


CREATE = [
    ({"sse": "AES256"}, {"ServerSideEncryption": "AES256"}),
    ({"sse": "aws:kms", "sse_kms_key_id": "arn:aws:kms:x"}, {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:x"}),
    ({"sse_customer_key": KEY}, {"SSECustomerKey": bytes(range(32)), "SSECustomerAlgorithm": "AES256"}),
    ({"acl": "bucket-owner-full-control"}, {"ACL": "bucket-owner-full-control"}),
    ({"grant_read": "id=a", "grant_read_acp": "id=b", "grant_write_acp": "id=c", "grant_full_control": "id=d"},
     {"GrantRead": "id=a", "GrantReadACP": "id=b", "GrantWriteACP": "id=c", "GrantFullControl": "id=d"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("options, parameters", CREATE, ids=[next(iter(o)) for o, _ in CREATE])
def test_headers_are_those_of_botocore(remote, proxy, tmp_path, options, parameters):
    item = make_object(tmp_path, b"abc")
    proxy.rules.append(Rule("", "", "status", code=403, name="AccessDenied"))  # whether the server can do it is not the question
    remote.move("put", [item], **options)
    remote.move("check", [item], **options)
    remote.move("get", [item.at(tmp_path / "to")], **options)
    sent = {first.split()[0]: amazon(headers) for first, headers in reversed(proxy.requests)}
    customer = {k: v for k, v in parameters.items() if k.startswith("SSECustomer")}
    assert sent["PUT"] == of_botocore("put_object", Body=b"abc", **parameters)
    assert sent["HEAD"] == of_botocore("head_object", **customer)
    assert next(amazon(h) for f, h in proxy.requests if f.startswith("GET") and "files" in f) == of_botocore("get_object", **customer)


@pytest.mark.slow
def test_headers_of_uploads_in_parts(remote, proxy, tmp_path):
    item = make_object(tmp_path, os.urandom(1 << 20) * 65)
    proxy.rules.append(Rule("PUT", "partNumber", "status", code=403, name="AccessDenied"))
    remote.move("put", [item], sse_customer_key=KEY, grant_read="id=a")
    start = next(h for f, h in proxy.requests if f.startswith("POST"))
    part = next(h for f, h in proxy.requests if "partNumber" in f)
    customer = {"SSECustomerKey": bytes(range(32)), "SSECustomerAlgorithm": "AES256"}
    assert amazon(start) == of_botocore("create_multipart_upload", GrantRead="id=a", **customer)
    assert amazon(part) == of_botocore("upload_part", Body=b"x", PartNumber=1, UploadId="u", **customer)


@pytest.mark.parametrize("options, word", [
    ({"acl": "private", "grant_read": "id=a"}, "exclude"), ({"sse_customer_key": "***"}, "base64"),
    ({"sse_customer_key": "YWJj"}, "3 bytes, not of 32"),
    ({"sse_customer_key": KEY, "sse_kms_key_id": "k"}, "exclude"), ({"sse_customer_algorithm": "AES256"}, "sse_customer_key"),
    ({"acl": "a\rX-Evil: 1"}, "control characters"),
    ({"region": "eu west"}, "'eu west' is no region"),
])
def test_options_that_make_no_sense(remote, options, word):
    answers = remote.move("check", [Item("k")], **options)
    assert remote.code == 2 and word in answers[-1].message


def test_addressing_style_that_is_none(remote, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = sideways\n")
    answer = remote.move("check", [Item("k")])[-1]
    assert remote.code == 2 and "'sideways'" in answer.message and "auto, path and virtual" in answer.hint


def test_requester_pays(remote, proxy, tmp_path):
    item = make_object(tmp_path, b"abc")
    remote.env["AWS_REQUEST_PAYER"] = "requester"
    assert remote.states("put", [item]) == ["done"]
    remote.states("check", [item])
    remote.list("files/")
    assert len(proxy.requests) >= 3
    assert all(amazon(h).get("x-amz-request-payer") == "requester" for _, h in proxy.requests)
    remote.env["AWS_REQUEST_PAYER"] = "me"
    assert "requester" in remote.move("check", [item])[-1].hint


@pytest.mark.parametrize("verb, rule", [
    ("put", Rule("PUT", "", "status", times=1, code=400, name="AuthorizationHeaderMalformed", extra="<Region>us-east-1</Region>")),
    ("put", Rule("PUT", "", "status", times=1, code=301, name="PermanentRedirect", headers=(("x-amz-bucket-region", "us-east-1"),))),
    ("put", Rule("PUT", "", "status", times=1, code=400, name="IllegalLocationConstraintException",
                 headers=(("x-amz-bucket-region", "us-east-1"),))),
    ("check", Rule("HEAD", "", "status", times=1, code=400, headers=(("x-amz-bucket-region", "us-east-1"),))),
    ("check", Rule("HEAD", "", "status", times=1, code=301, headers=(("x-amz-bucket-region", "us-east-1"),))),
], ids=["malformed", "redirect", "location", "head-400", "head-301"])
def test_bucket_of_another_region(remote, proxy, tmp_path, verb, rule):
    items = [make_object(tmp_path, str(i).encode()) for i in range(5)]
    assert remote.states("put", items) == ["done"] * 5
    proxy.rules.append(rule)
    assert remote.states(verb, items, region="ap-south-1", jobs=1) == ["done"] * 5
    regions = [dict((k.lower(), v) for k, v in h)["authorization"].split("/")[2] for f, h in proxy.requests if f.startswith(rule.method)]
    assert regions[-6:] == ["ap-south-1"] + ["us-east-1"] * 5


# Credentials that end before the transfer does.

def write_process(tmp_path, s3, seconds, token=True):
    script = tmp_path / "give-keys"
    script.write_text(f"""#!/bin/sh
echo x >>{tmp_path}/given
n=$(wc -l <{tmp_path}/given | tr -d ' ')
at=$(date -u -d '+{seconds} seconds' +%Y-%m-%dT%H:%M:%SZ)
echo "{{\\"Version\\": 1, \\"AccessKeyId\\": \\"{s3.access}\\", \\"SecretAccessKey\\": \\"{s3.secret}\\", \\"SessionToken\\": \\"t$n\\", \\"Expiration\\": \\"$at\\"}}"
""")
    script.chmod(0o755)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(f"[default]\ncredential_process = {script}\nregion = us-east-1\n")
    return lambda: (tmp_path / "given").read_text().count("x")


@pytest.fixture
def moto(moto_server, moto_buckets, tmp_path):
    """A remote on moto without keys in the environment, behind a proxy: (remote, proxy)."""
    bucket = f"keys{os.getpid()}{tmp_path.name[-3:]}".replace("_", "-")
    moto_buckets(bucket)
    with Proxy(int(moto_server.endpoint.rsplit(":", 1)[1])) as proxy:
        yield Remote(f"s3://{bucket}", clean(tmp_path), endpoint_url=f"http://127.0.0.1:{proxy.port}"), proxy


@pytest.mark.slow
def test_keys_are_renewed_before_they_expire(moto, moto_server, tmp_path):
    remote, proxy = moto
    given = write_process(tmp_path, moto_server, 3)
    items = [make_object(tmp_path, str(i).encode()) for i in range(40)]
    proxy.rules.append(Rule("PUT", "", "delay", at=150))
    assert remote.states("put", items, jobs=1) == ["done"] * 40
    tokens = [dict((k.lower(), v) for k, v in h)["x-amz-security-token"] for f, h in proxy.requests if f.startswith("PUT")]
    assert len(tokens) == 40 and given() == len(set(tokens)) >= 3
    assert tokens == sorted(tokens, key=lambda t: int(t[1:]))


@pytest.mark.slow
def test_keys_that_the_server_calls_expired_are_renewed_once(moto, moto_server, tmp_path):
    remote, proxy = moto
    given = write_process(tmp_path, moto_server, 3600)
    items = [make_object(tmp_path, str(i).encode()) for i in range(40)]
    proxy.rules.append(Rule("PUT", "", "status", times=8, code=400, name="ExpiredToken"))
    assert remote.states("put", items, jobs=8) == ["done"] * 40
    assert given() == 2, "eight requests were refused, and one renewal serves all"


def test_expired_keys_that_nobody_renews(remote, proxy, tmp_path):
    remote.env["AWS_SESSION_TOKEN"] = "old"
    proxy.rules.append(Rule("PUT", "", "status", code=400, name="ExpiredToken"))
    answers = remote.move("put", [make_object(tmp_path, b"x")])
    assert remote.code == 4 and "ExpiredToken" in answers[-1].message and "sign in again" in answers[-1].hint


def test_without_keys(moto, remote, proxy, tmp_path):
    """Nothing is signed, though there are keys; and who may not come in is told that he came without them."""
    item = make_object(tmp_path, b"public")
    public, public_proxy = moto
    public.env.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_SESSION_TOKEN="c")
    assert public.states("put", [item], acl="public-read") == ["done"]
    public_proxy.requests.clear()
    assert public.states("check", [item], anonymous=1) == ["done"]
    assert public.states("get", [item.at(tmp_path / "to")], anonymous=1) == ["done"]
    names = {k.lower() for _, headers in public_proxy.requests for k, _ in headers}
    assert len(public_proxy.requests) == 2 and not names & {"authorization", "x-amz-security-token", "x-amz-date"}, names
    for verb in ("put", "check"):
        answers = remote.move(verb, [item], anonymous=1)
        assert "AccessDenied" in answers[0].message and "without keys (allow_anonymous_login)" in answers[0].hint, answers


def test_what_may_not_be_listed(remote, proxy, tmp_path):
    """S3 calls what is not there forbidden, where listing is not allowed: the hint says so."""
    proxy.rules.append(Rule("", "", "status", code=403, name="AccessDenied"))
    answer, = remote.move("check", [make_object(tmp_path, b"x")])
    assert answer.state == "failed" and "s3:ListBucket" in answer.hint


@pytest.mark.parametrize("code, name, words, options", [
    (400, "InvalidRequest", "sse_customer_key", {}), (403, "AccessDenied", "sse_customer_key", {"sse_customer_key": KEY}),
    (400, "InvalidArgument", None, {}), (400, "", "an S3 server?", {})])
def test_hints_of_refusals(remote, proxy, tmp_path, code, name, words, options):
    proxy.rules.append(Rule("", "", "status", code=code, name=name, extra="<Detail>The object was stored using a form of Server Side Encryption.</Detail>"))
    answer, = remote.move("check", [make_object(tmp_path, b"x")], **options)
    assert answer.state == "failed" and (words in answer.hint if words else not answer.hint), answer


def test_where_a_redirect_leads_is_said_and_not_followed(remote, proxy, tmp_path):
    proxy.rules.append(Rule("", "", "status", code=308, name="", headers=(("Location", "https://minio.example.com/b\x07?x=1"),)))
    answers = remote.move("put", [make_object(tmp_path, b"x")])
    assert remote.code == 4 and "leads to https://minio.example.com/b ?x=1" in answers[-1].hint and "endpointurl" in answers[-1].hint, answers


def test_plain_http_to_amazon(proxy, tmp_path):
    """use_ssl = false without an endpoint: the request shows at a proxy what address and which Host it is for."""
    env = {**clean(tmp_path), "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "http_proxy": f"http://127.0.0.1:{proxy.port}"}
    proxy.rules.append(Rule("", "", "status", code=404, name="NoSuchKey"))
    remote = Remote("s3://bkt/p", env, no_ssl=1, region="eu-west-1")
    assert remote.states("get", [make_object(tmp_path, b"x").at(tmp_path / "to")]) == ["missing"]
    (first, headers), = proxy.requests
    assert first.startswith("GET http://bkt.s3.eu-west-1.amazonaws.com/p/files/md5/") and ("Host", "bkt.s3.eu-west-1.amazonaws.com") in headers


# TLS and host names.

@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """versitygw with a certificate of a CA made here, for localhost and the bucket tlsbucket in front of it."""
    program = conftest.need_peer("versitygw")
    openssl = conftest.need_peer("openssl")
    root = tmp_path_factory.mktemp("tls")

    def run(*argv):
        subprocess.run([openssl, *argv], cwd=root, check=True, capture_output=True)
    (root / "ext").write_text("subjectAltName=DNS:localhost,DNS:tlsbucket.localhost,IP:127.0.0.1\n")
    for name in ("ca", "other"):
        run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.pem", "-days", "2", "-subj", f"/CN=test {name}")
    run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "key.pem", "-out", "csr.pem", "-subj",
        "/CN=localhost")
    run("x509", "-req", "-in", "csr.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "cert.pem", "-days", "2",
        "-extfile", "ext")
    port = conftest.free_port()
    s3 = conftest.S3(port)
    s3.endpoint = f"https://localhost:{port}"
    s3.root = root
    (root / "data" / "tlsbucket").mkdir(parents=True)
    env = {**os.environ, "ROOT_ACCESS_KEY": s3.access, "ROOT_SECRET_KEY": s3.secret}
    with conftest.server([program, "--port", f"127.0.0.1:{port}", "--keep-alive", "--quiet", "--virtual-domain", f"localhost:{port}", "--cert",
                          str(root / "cert.pem"), "--key", str(root / "key.pem"), "posix", str(root / "data")], port, env):
        yield s3


@pytest.fixture
def tls_remote(tls, tmp_path):
    env = {k: v for k, v in {**clean(tmp_path), **tls.env}.items() if k not in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")}
    return Remote(f"s3://tlsbucket/{tmp_path.name}", env, endpoint_url=tls.endpoint)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["option", "environment", "profile", "directory"])
def test_ca_of_our_own(tls, tls_remote, tmp_path, how):
    ca = tls.root / "ca.pem"
    if how == "option":
        tls_remote.options["ca_bundle"] = ca
    elif how == "environment":
        tls_remote.env["AWS_CA_BUNDLE"] = str(ca)
    elif how == "profile":
        (tmp_path / ".aws").mkdir()
        (tmp_path / ".aws" / "config").write_text(f"[default]\nca_bundle = {ca}\n")
    else:
        (tmp_path / "ca").mkdir()
        (tmp_path / "ca" / "one.pem").write_bytes(ca.read_bytes())
        subprocess.run([conftest.need_peer("openssl"), "rehash", str(tmp_path / "ca")], check=True, capture_output=True)
        tls_remote.options["ca_bundle"] = tmp_path / "ca"
    items = [make_object(tmp_path, data) for data in (b"a", os.urandom(400_000))]
    assert tls_remote.states("put", items) == ["done"] * 2
    assert tls_remote.states("get", [i.at(tmp_path / f"to{n}") for n, i in enumerate(items)]) == ["done"] * 2


@pytest.mark.slow
def test_servers_that_are_not_trusted(tls, tls_remote, tmp_path):
    item = make_object(tmp_path, b"a")
    for options in ({}, {"ca_bundle": tls.root / "other.pem"}, {"ca_bundle": tls.root / "ca.pem", "endpoint_url": tls.endpoint.replace(
            "localhost", "elsewhere.localhost")}):
        answers = tls_remote.move("put", [item], **options)
        assert tls_remote.code == 4, answers
        assert "certificate" in answers[-1].message.lower() or "SSL" in answers[-1].message, answers
    assert tls_remote.states("put", [item], no_ssl_verify=1) == ["done"]


@pytest.mark.slow
def test_bucket_in_the_host_name(tls, tls_remote, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    item = make_object(tmp_path, b"abc")
    assert tls_remote.states("put", [item], ca_bundle=tls.root / "ca.pem") == ["done"]
    assert tls_remote.list("files/", ca_bundle=tls.root / "ca.pem") == {item.key: 3}
    (tmp_path / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = path\n")
    assert tls_remote.list("files/", ca_bundle=tls.root / "ca.pem") == {item.key: 3}
    # The same object by both addresses; a bucket that has no certificate shows which one was used.
    (tmp_path / ".aws" / "config").write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    other = Remote("s3://another", tls_remote.env, endpoint_url=tls.endpoint, ca_bundle=tls.root / "ca.pem")
    answers = other.move("check", [item])
    assert other.code == 4 and "another.localhost" in answers[-1].message
