"""Several hundred random requests, signed here and by botocore (which alone removes dot segments: none here has any)."""
import datetime
import hashlib
import random
import subprocess
import urllib.parse

import conftest
import pytest

try:
    import botocore.auth as botocore_auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    botocore_auth = None


@pytest.fixture(autouse=True)
def botocore():
    conftest.need_module("botocore", botocore_auth)


ALPHABET = "abcXYZ019-_~ +%&=:@!$'()*,;/?#[]äß漢"

OPTION_HEADERS = {  # what the options of a remote add
    "x-amz-server-side-encryption": "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:eu-west-1:1:key/a b",
    "x-amz-server-side-encryption-customer-algorithm": "AES256", "x-amz-server-side-encryption-customer-key": "c2VjcmV0+/=",
    "x-amz-server-side-encryption-customer-key-md5": "9ZbXWTrFbEXdLVzQ5Lp4bA==", "x-amz-acl": "bucket-owner-full-control",
    "x-amz-grant-read": 'id="a", uri="http://acs.amazonaws.com/groups/global/AllUsers"', "x-amz-grant-full-control": 'emailaddress="x@y"',
    "x-amz-request-payer": "requester", "content-md5": "9ZbXWTrFbEXdLVzQ5Lp4bA==", "range": "bytes=0-16777215",
    "if-match": '"9b2cf535f27731c974343645a3985328"', "content-type": "application/x-www-form-urlencoded; charset=utf-8",
}


def word(rng, low=1, high=12):
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randint(low, high)))


def quote(text, safe="-_.~"):
    return urllib.parse.quote(text, safe=safe)


def random_request(rng, service):
    parts = [word(rng).replace("/", "x") for _ in range(rng.randint(0, 4))]
    query = [f"{quote(word(rng))}={quote(word(rng, 0))}" for _ in range(rng.choice([0, 0, 1, 2, 5]))]
    headers = {}
    for _ in range(rng.randint(0, 3)):
        headers[f"x-amz-meta-{rng.randint(0, 99)}"] = "  ".join(quote(word(rng)) for _ in range(rng.randint(1, 3)))
    for name, value in OPTION_HEADERS.items():
        if rng.random() < 0.2:
            headers[name] = value
    return {
        "access": f"AKID{rng.randint(0, 9999)}", "secret": f"s3cr/et+{rng.random()}",
        "token": rng.choice(["", "Fwo+token/=="]), "region": rng.choice(["us-east-1", "eu-west-1"]),
        "time": rng.randint(10 ** 9, 2 * 10 ** 9), "method": rng.choice(["GET", "PUT", "POST", "DELETE", "HEAD"]),
        "host": rng.choice(["bucket.s3.amazonaws.com", "127.0.0.1:9000", "example.com"]),
        "path": "/" + "/".join(quote(p) for p in parts), "query": query, "headers": headers,
        "payload": hashlib.sha256(rng.randbytes(5)).hexdigest(), "service": service,
    }


class FixedTime(datetime.datetime):
    at = 0

    @classmethod
    def utcnow(cls):
        return cls.fromtimestamp(cls.at, datetime.timezone.utc).replace(tzinfo=None)

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(cls.at, tz or datetime.timezone.utc)


def signature_of_botocore(request, monkeypatch):
    FixedTime.at = request["time"]
    if hasattr(botocore_auth, "get_current_datetime"):
        monkeypatch.setattr(botocore_auth, "get_current_datetime", lambda remove_tzinfo=True: FixedTime.utcnow())
    else:
        monkeypatch.setattr(botocore_auth.datetime, "datetime", FixedTime)
    url = f"http://{request['host']}{request['path']}"
    if request["query"]:
        url += "?" + "&".join(request["query"])
    signed = AWSRequest(method=request["method"], url=url, headers=dict(request["headers"]))
    if request["service"] == "s3":
        signed.headers["X-Amz-Content-SHA256"] = request["payload"]
    keys = Credentials(request["access"], request["secret"], request["token"] or None)
    kind = botocore_auth.S3SigV4Auth if request["service"] == "s3" else botocore_auth.SigV4Auth
    signer = kind(keys, request["service"], request["region"])
    signer.payload = lambda _request: request["payload"]
    signer.add_auth(signed)
    return signed.headers["Authorization"]


def our_signatures(service, requests):
    text = ""
    for request in requests:
        for name in ("access", "secret", "token", "region", "time", "method", "host", "path", "payload"):
            text += f"{name} {request[name]}\n"
        text += "".join(f"query {q}\n" for q in request["query"])
        text += "".join(f"header {name}: {value}\n" for name, value in request["headers"].items())
        text += "\n"
    result = subprocess.run([conftest.BUILD / "tests" / "remote_driver", "sign", service], input=text, capture_output=True, text=True,
                            check=True, timeout=60)
    blocks = result.stdout.strip().split("\n\n")
    return [next(line for line in block.splitlines() if line.startswith("authorization: "))[len("authorization: "):] for block in blocks]


@pytest.mark.parametrize("service", ["s3", "lambda", "sts"])
def test_signatures_equal_botocore(service, monkeypatch):
    rng = random.Random(7)
    requests = [random_request(rng, service) for _ in range(500)]
    ours = our_signatures(service, requests)
    assert len(ours) == len(requests)
    for request, signature in zip(requests, ours):
        assert signature == signature_of_botocore(request, monkeypatch), repr(request)
