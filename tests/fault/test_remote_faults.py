"""S3 remotes behind a proxy that breaks things: success after a retry with verified bytes, or a clear error and state; never a
wrong file left behind; never late."""
import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import conftest
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from proxy import Proxy, Rule  # noqa: E402
from remote_help import Item, Remote, clean, make_object  # noqa: E402
from test_terminal import on_terminal  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def proxy(s3_server):
    with Proxy(int(s3_server.endpoint.rsplit(":", 1)[1])) as running:
        yield running


@pytest.fixture
def remote(s3_server, bucket, proxy, tmp_path):
    return Remote(f"s3://{bucket}/p", {**clean(tmp_path), **s3_server.env}, endpoint_url=f"http://127.0.0.1:{proxy.port}",
                  read_timeout_s=30, jobs=4)


@pytest.fixture
def items(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    return [make_object(source, os.urandom(size)) for size in (100, 5000, 40_000, 400_000)]


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "target"
    path.mkdir()
    return path


def to(target, items, size=True):
    return [Item(i.key, target / i.md5, i.size if size else "-", i.md5) for i in items]


def assert_fetched(target, items, states):
    """What is done is there and right; of what is not done there is nothing."""
    for item, state in zip(items, states):
        path = target / item.md5
        if state == "done":
            assert path.read_bytes() == item.path.read_bytes()
        else:
            assert not path.exists()
    assert len(list(target.iterdir())) == states.count("done")


def lose_patience(remote, action):
    """A short timeout, where the server stalls and that is what is waited for; a busy machine is slow in all the others, too."""
    if action in ("stall", "stall_body"):
        remote.options["read_timeout_s"] = 1


def moved(remote, verb, items, within=60):
    start = time.monotonic()
    answers = remote.move(verb, items)
    assert time.monotonic() - start < within
    return answers


TRANSIENT = [
    ("status", {"code": 500}), ("status", {"code": 503, "name": "SlowDown"}), ("status", {"code": 502, "name": ""}),
    ("status", {"code": 429, "name": "", "headers": (("Retry-After", "1"),)}), ("status", {"code": 400, "name": "RequestTimeout"}),
    ("reset", {}), ("stall", {}), ("garbage", {}),
]
BOTH = [*TRANSIENT, ("cut", {"at": 0}), ("cut", {"at": 50})]


@pytest.mark.parametrize("size", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["sized", "unsized"])
@pytest.mark.parametrize("action, how", [*BOTH, ("stall_body", {"at": 50}), ("corrupt", {"at": 7}), ("short", {"at": 50})])
def test_get_recovers(remote, proxy, items, target, action, how, size):
    assert remote.states("put", items) == ["done"] * 4
    proxy.rules.append(Rule("GET", "files/", action, times=1, skip=1, **how))
    lose_patience(remote, action)
    answers = moved(remote, "get", to(target, items, size))
    assert [a.state for a in answers] == ["done"] * 4, answers
    assert any(entry[2] for entry in proxy.log)
    assert_fetched(target, items, ["done"] * 4)


@pytest.mark.parametrize("action, how", [*TRANSIENT, ("cut", {"at": 0}), ("cut_request", {"at": 50}), ("corrupt_request", {"at": 9}),
                                         ("status", {"code": 400, "name": "BadDigest"})])
def test_put_recovers(remote, proxy, items, target, action, how):
    proxy.rules.append(Rule("PUT", "files/", action, times=2, skip=1, **how))
    lose_patience(remote, action)
    answers = moved(remote, "put", items)
    assert [a.state for a in answers] == ["done"] * 4, answers
    assert any(entry[2] for entry in proxy.log)
    assert remote.states("get", to(target, items)) == ["done"] * 4
    assert_fetched(target, items, ["done"] * 4)


@pytest.mark.parametrize("action, how", [("status", {"code": 500}), ("reset", {}), ("garbage", {}), ("cut", {"at": 5})])
def test_get_gives_up(remote, proxy, items, target, action, how):
    assert remote.states("put", items) == ["done"] * 4
    proxy.rules.append(Rule("GET", "files/", action, **how))
    answers = moved(remote, "get", to(target, items))
    assert remote.code == 4 and answers[-1].state == "error" and "test" in answers[-1].message, answers
    assert_fetched(target, items, [a.state for a in answers[:4]])
    assert "done" not in [a.state for a in answers]


@pytest.mark.parametrize("action, how, state", [("corrupt", {"at": 3}, "damaged"), ("short", {"at": 20}, "damaged"),
                                                ("status", {"code": 403, "name": "AccessDenied"}, "failed")])
@pytest.mark.parametrize("size", [True, False], ids=["sized", "unsized"])
def test_one_object_is_bad(remote, proxy, items, target, action, how, state, size):
    assert remote.states("put", items) == ["done"] * 4
    proxy.rules.append(Rule("GET", items[1].md5[2:], action, **how))
    answers = moved(remote, "get", to(target, items, size))
    assert [a.state for a in answers] == ["done", state, "done", "done"], answers
    assert answers[1].message and (state == "damaged" or "made up & injected" in answers[1].message and answers[1].hint)
    assert_fetched(target, items, [a.state for a in answers])


def test_one_put_is_refused(remote, proxy, items):
    proxy.rules.append(Rule("PUT", items[2].md5[2:], "status", code=403, name="AccessDenied"))
    answers = moved(remote, "put", items)
    assert [a.state for a in answers] == ["done", "done", "failed", "done"]
    assert proxy.count("PUT", items[2].md5[2:]) == 1
    assert remote.states("check", items) == ["done", "done", "missing", "done"]


def test_one_put_always_fails_while_others_do_not(remote, proxy, items):
    proxy.rules.append(Rule("PUT", items[3].md5[2:], "status", code=500))
    answers = moved(remote, "put", items[3:] + items[:3])
    assert answers[0].state in ("failed",)
    assert proxy.count("PUT", items[3].md5[2:]) == 5


def test_a_login_page_takes_nothing(remote, proxy, items, tmp_path):
    """It answers 200 to whatever is sent."""
    page = tmp_path / "page.html"
    page.write_text("<html>Who are you?</html>")
    proxy.rules.append(Rule("", "", "whole", extra=str(page)))
    for answer in remote.move("put", items):
        assert answer.state == "failed" and "no ETag" in answer.message and "log in" in answer.hint
    assert remote.states("check", items) == ["damaged"] * 4


@pytest.mark.slow
def test_a_login_page_completes_nothing(remote, proxy, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<html>Who are you?</html>")
    item = make_object(tmp_path, os.urandom(1 << 20) * 66)
    proxy.rules.append(Rule("POST", "uploadId", "whole", extra=str(page)))
    answer, = remote.move("put", [item])
    assert answer.state == "failed" and "no ETag" in answer.message


def test_errors_name_the_request(remote, proxy, items):
    proxy.rules.append(Rule("", "files/", "status", code=403, name="AccessDenied", headers=(("x-amz-request-id", "R2"),)))
    for verb, request in (("put", "R1"), ("check", "R1")):
        answer = remote.move(verb, items[:1])[0]
        assert items[0].key in answer.message and f"(request {request})" in answer.message
        assert "credentials" in answer.hint and "clock" in answer.hint


def test_a_refused_head_says_why(remote, proxy, items):
    """Its answer has no body; a GET's has."""
    proxy.rules += [Rule("HEAD", "files/", "status", code=400, headers=(("x-amz-request-id", "R2"),)),
                    Rule("GET", "files/", "status", times=1, code=400, name="ExpiredToken")]
    answer = remote.move("check", items[:1])[-1]
    assert "ExpiredToken" in answer.message and "sign in again" in answer.hint
    for place in ("nothing there", "there"):
        answer = remote.move("check", items[:1])[0]
        assert (answer.state, "status 400" in answer.message) == ("failed", True), f"{place}: the GET is answered, so that nobody knows"
        remote.move("put", items[:1])
    assert [dict(headers).get("range") for first, headers in proxy.requests if first.startswith("GET")] == ["bytes=0-0"] * 3


@pytest.mark.parametrize("code", [400, 403])
def test_a_refused_head_whose_reason_is_mended_meanwhile(remote, proxy, items, code):
    """Of many that are under way, one learns the region or gets new keys, and the GETs that ask why are answered."""
    assert remote.states("put", items[:2]) == ["done"] * 2
    proxy.rules.append(Rule("HEAD", "files/", "status", times=4, code=code))
    assert remote.states("check", items) == ["done", "done", "missing", "missing"]
    proxy.rules.append(Rule("HEAD", items[0].md5[2:], "status", code=code))
    assert remote.states("check", items) == ["failed", "done", "missing", "missing"]


def test_a_wrong_key_is_called_that_in_another_region(remote, proxy, items):
    """The first reason is mended, the second one is not."""
    remote.options.update(region="eu-west-3")
    remote.env["AWS_SECRET_ACCESS_KEY"] = "wrong"
    answers = remote.move("check", items)
    assert answers[-1].state == "error" and "SignatureDoesNotMatch" in answers[-1].message and "secret key" in answers[-1].hint


@pytest.mark.slow
def test_silent_server(remote, proxy, items, target):
    proxy.rules.append(Rule("", "", "stall"))
    lose_patience(remote, "stall")
    for verb in ("put", "get"):
        answers = moved(remote, verb, to(target, items) if verb == "get" else items)
        assert remote.code == 4 and answers[-1].hint, answers
    assert not list(target.iterdir())


def test_clock_is_off(remote, proxy, items):
    proxy.rules.append(Rule("PUT", "", "status", times=1, code=403, name="RequestTimeTooSkewed",
                            headers=(("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())),)))
    assert remote.states("put", items) == ["done"] * 4


def test_region_is_another(remote, proxy, items):
    proxy.rules.append(Rule("PUT", "", "status", times=1, code=301, name="PermanentRedirect",
                            headers=(("x-amz-bucket-region", "us-east-1"), ("Location", "http://127.0.0.1:1/"))))
    remote.options.update(region="eu-west-3", jobs=1)
    assert remote.states("put", items) == ["done"] * 4


def test_broken_listing(remote, proxy, tmp_path):
    rule = Rule("GET", "list-type", "short", at=30)
    proxy.rules.append(rule)
    answers = remote.run("list", remote.url, "files/")
    assert remote.code == 4 and answers[-1].state == "error"


PAGE = ("<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>p/files/md5/00/{0}</Key><Size>1</Size></Contents>"
        "<NextContinuationToken>{0}</NextContinuationToken></ListBucketResult>")


@pytest.mark.parametrize("tokens", ["a", "ab", "abc"])
def test_a_listing_that_goes_round_in_circles(remote, proxy, tmp_path, tokens):
    for at, token in enumerate(tokens):
        (tmp_path / token).write_text(PAGE.format(token))
        before = "continuation-token=" + tokens[at - 1]
        proxy.rules.append(Rule("GET", before, "whole", extra=str(tmp_path / token)))
    proxy.rules.append(Rule("GET", "list-type", "whole", extra=str(tmp_path / tokens[0])))
    answers = remote.run("list", remote.url, "files/")
    assert remote.code == 4 and "in circles" in answers[-1].message and len(proxy.log) < 20


@pytest.mark.slow
def test_an_object_larger_than_any_file(remote, proxy, tmp_path, target, items):
    """So says the server, of one whose size nobody recorded."""
    body = b"<?xml version=\"1.0\"?>\n<Error><Code></Code><Message>made up &amp; injected</Message><RequestId>R1</RequestId></Error>"
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(f"[default]\ns3 =\n  multipart_chunksize = {len(body)}\n")
    for size in (2**64 - 1, 2**63, 2**62):
        proxy.rules[:] = [Rule("GET", "files/", "status", code=206, name="", headers=(("Content-Range", f"bytes 0-{len(body) - 1}/{size}"),))]
        answer, = moved(remote, "get", [Item(items[0].key, target / "x", "-", items[0].md5)])
        assert answer.state in ("damaged", "failed") and (str(size) in answer.message or "no room" in answer.message), answer
        assert not list(target.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("action, how", [("status", {"code": 503, "name": "SlowDown"}), ("cut_request", {"at": 1 << 20}),
                                         ("corrupt_request", {"at": 1 << 20}), ("reset", {})])
def test_large_put_recovers(remote, proxy, tmp_path, target, action, how):
    item = make_object(tmp_path, os.urandom(1 << 20) * 66)
    proxy.rules.append(Rule("PUT", "partNumber", action, times=2, skip=1, **how))
    assert [a.state for a in moved(remote, "put", [item])] == ["done"]
    proxy.rules[:] = [Rule("GET", "files/", "cut", times=2, skip=1, at=1 << 20), Rule("GET", "files/", "corrupt", times=1, skip=2, at=5)]
    assert [a.state for a in moved(remote, "get", to(target, [item]))] == ["done"]
    assert_fetched(target, [item], ["done"])


@pytest.mark.slow
def test_large_put_is_aborted(remote, proxy, s3_server, bucket, tmp_path):
    item = make_object(tmp_path, os.urandom(1 << 20) * 66)
    proxy.rules.append(Rule("PUT", "partNumber=3", "status", code=403, name="AccessDenied"))
    answer, = moved(remote, "put", [item])
    assert answer.state == "failed" and "AccessDenied" in answer.message
    assert proxy.count("DELETE", "uploadId") == 1
    assert remote.states("check", [item]) == ["missing"]


@pytest.mark.slow
@pytest.mark.parametrize("other", [False, True], ids=["its own", "another's"])
def test_the_answer_to_the_end_of_a_large_put_is_lost(remote, proxy, s3_server, bucket, tmp_path, other):
    """The server has put the parts together, knows nothing of the upload when it is asked again, and has the object, or another one."""
    item = make_object(tmp_path, os.urandom(1 << 20) * 66)
    if other:
        (s3_server.root / bucket / "p" / item.key).parent.mkdir(parents=True)
        (s3_server.root / bucket / "p" / item.key).write_bytes(bytes(item.size))
    proxy.rules.append(Rule("POST", "uploadId", "status", times=1, skip=1, code=404, name="NoSuchUpload"))
    proxy.rules.append(Rule("POST", "uploadId", "reset", times=1) if other else Rule("POST", "uploadId", "cut", times=1, at=0))
    answer, = moved(remote, "put", [item])
    assert proxy.count("POST", "uploadId") == 2
    if other:
        assert answer.state == "failed" and "does not know the upload" in answer.message, answer
    else:
        assert answer.state == "done" and answer.size == item.size, answer


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["put", "get"])
def test_what_breaks_after_a_long_time_is_tried_again(remote, proxy, tmp_path, target, verb):
    """Time in which bytes moved is not time of trouble."""
    item = make_object(tmp_path, os.urandom(1 << 20) * 22)
    if verb == "get":
        assert remote.states("put", [item]) == ["done"]
    proxy.rules.append(Rule(verb.upper(), "files/", "trickle", times=1, at=33))
    remote.options["read_timeout_s"] = 10
    answers = moved(remote, verb, [item] if verb == "put" else to(target, [item]))
    assert [a.state for a in answers] == ["done"] and proxy.count(verb.upper(), "files/") == 2, answers


@pytest.mark.slow
@pytest.mark.parametrize("then", ["goes on", "changed parts", "ended by the server"])
def test_large_put_goes_on(remote, proxy, tmp_path, target, then):
    """A run that fails in the middle, and one after it that sends what is missing."""
    item = make_object(tmp_path, os.urandom(1 << 20) * 66)
    remote.options.update(resume_dir=tmp_path / "uploads", jobs=1)
    proxy.rules.append(Rule("PUT", "partNumber=4", "status", code=403, name="AccessDenied"))
    answer, = moved(remote, "put", [item])
    assert answer.state == "failed" and not proxy.count("DELETE", "uploadId")
    record, = (tmp_path / "uploads").iterdir()
    sent = len(record.read_text().splitlines()) - 4
    assert 1 <= sent <= 4
    if then == "changed parts":
        lines = record.read_text().splitlines()
        lines[4] = f"{lines[4].split()[0]} {'0' * 64} {lines[4].split()[2]}"
        record.write_text("\n".join(lines) + "\n")
    if then == "ended by the server":
        proxy.rules[:] = [Rule("GET", "uploadId", "status", code=404, name="NoSuchUpload")]
    else:
        proxy.rules.clear()
    proxy.log.clear()
    assert [a.state for a in moved(remote, "put", [item])] == ["done"]
    again = {"goes on": 5 - sent, "changed parts": 6 - sent, "ended by the server": 5}[then]
    assert proxy.count("PUT", "partNumber") == again
    assert not list((tmp_path / "uploads").iterdir())
    proxy.rules.clear()
    assert [a.state for a in moved(remote, "get", to(target, [item]))] == ["done"]
    assert_fetched(target, [item], ["done"])


@pytest.mark.slow
def test_abandoned_uploads_are_ended(remote, proxy, tmp_path):
    item, small = make_object(tmp_path, os.urandom(1 << 20) * 66), make_object(tmp_path, b"small")
    remote.options["resume_dir"] = tmp_path / "uploads"
    proxy.rules.append(Rule("PUT", "partNumber=4", "status", code=403, name="AccessDenied"))
    assert [a.state for a in moved(remote, "put", [item])] == ["failed"]
    proxy.rules.clear()
    record, = (tmp_path / "uploads").iterdir()
    assert remote.states("put", [small]) == ["done"] and record.exists() and not proxy.count("DELETE")
    os.utime(record, (1, 1))
    assert remote.states("put", [small]) == ["done"] and not record.exists() and proxy.count("DELETE", "uploadId")
    assert remote.sweep() == 0
    proxy.rules.append(Rule("PUT", "partNumber=4", "status", code=403, name="AccessDenied"))
    assert [a.state for a in moved(remote, "put", [item])] == ["failed"]
    os.utime(next((tmp_path / "uploads").iterdir()), (1, 1))
    assert remote.sweep() == 1 and not list((tmp_path / "uploads").iterdir())


MIB = 1 << 20


def asked_for(proxy):
    """Bytes that the parts' requests asked for."""
    total = 0
    for first, headers in proxy.requests:
        span = {name.lower(): value for name, value in headers}.get("range")
        if first.startswith("GET ") and span:
            begin, end = span.removeprefix("bytes=").split("-")
            total += int(end) - int(begin) + 1
    return total


def recorded(partial):
    """Bytes that the record of the one interrupted download counts as there; 0 while there is none."""
    records = list(partial.glob("*.parts"))
    return sum(int(number, 16) for number in records[0].read_text().splitlines()[6:]) if records else 0


@pytest.fixture
def killed(remote, proxy, tmp_path, target):
    """An object of 80 MiB whose download was killed when 8 MiB and 6 MiB of each of the four parts behind them had come,
    as far as the record says it: to a MiB a part."""
    item = make_object(tmp_path, os.urandom(80 * MIB))
    remote.options.update(partial_dir=tmp_path / "partial", read_timeout_s=60)
    assert remote.states("put", [item], timeout=200) == ["done"]
    proxy.rules[:] = [Rule("GET", "files/", "stall_body", skip=1, at=6 * MIB)]
    argv = [conftest.BUILD / "tests" / "remote_driver", "get", remote.url, *[f"{k}={v}" for k, v in remote.options.items()]]
    with subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=remote.env, text=True) as process:
        process.stdin.write(to(target, [item])[0].line())
        process.stdin.close()
        deadline = time.monotonic() + conftest.PATIENCE
        while recorded(tmp_path / "partial") < 28 * MIB and time.monotonic() < deadline:
            time.sleep(0.1)
        process.kill()
    assert 28 * MIB <= recorded(tmp_path / "partial") <= 32 * MIB and not list(target.iterdir())
    proxy.rules.clear()
    proxy.requests.clear()
    return item


@pytest.mark.slow
@pytest.mark.parametrize("then", ["goes on", "unsized", "another version", "wrong bytes", "wrong size", "cut record", "somebody is at it"])
def test_killed_get_goes_on(remote, proxy, tmp_path, target, killed, then):
    record, = (tmp_path / "partial").glob("*.parts")
    rest = 80 * MIB - recorded(tmp_path / "partial")
    lines = record.read_text().splitlines(keepends=True)
    if then == "another version":
        record.write_text("".join([*lines[:5], '"0123"\n', *lines[6:]]))
    elif then == "wrong size":
        record.write_text("".join([*lines[:3], f"{79 * MIB}\n", *lines[4:]]))
    elif then == "cut record":
        record.write_text("".join(lines)[:-3])
    elif then == "wrong bytes":
        with open(record.with_suffix(""), "r+b") as file:
            file.seek(3 * MIB)
            file.write(b"wrong")
    with open(record, "rb") as held:
        if then == "somebody is at it":
            fcntl.flock(held, fcntl.LOCK_EX)
        assert [a.state for a in moved(remote, "get", to(target, [killed], then != "unsized"), 60)] == ["done"]
    assert_fetched(target, [killed], ["done"])
    if then in ("goes on", "unsized"):
        assert asked_for(proxy) == rest
    elif then == "wrong bytes":
        assert asked_for(proxy) == rest + 80 * MIB
    else:
        assert asked_for(proxy) >= 80 * MIB
    assert len(list((tmp_path / "partial").iterdir())) == (2 if then == "somebody is at it" else 0)


@pytest.mark.slow
def test_killed_get_of_an_object_that_is_gone(remote, proxy, tmp_path, target, killed):
    proxy.rules.append(Rule("GET", "files/", "status", code=404, name="NoSuchKey"))
    assert [a.state for a in moved(remote, "get", to(target, [killed]), 60)] == ["missing"]
    assert not list((tmp_path / "partial").iterdir()) and not list(target.iterdir())


@pytest.mark.slow
def test_killed_get_is_forgotten_after_days(remote, proxy, tmp_path, target, killed):
    small = make_object(tmp_path, b"small")
    assert remote.states("put", [small]) == ["done"]
    assert remote.states("get", to(target, [small])) == ["done"] and len(list((tmp_path / "partial").iterdir())) == 2
    for path in (tmp_path / "partial").iterdir():
        os.utime(path, (1, 1))
    (target / small.md5).unlink()
    assert remote.states("get", to(target, [small])) == ["done"] and not list((tmp_path / "partial").iterdir())


@pytest.mark.slow
def test_refused_get_goes_on(remote, proxy, tmp_path, target):
    """What fails is kept, too; bytes that do not belong to the object are not."""
    item = make_object(tmp_path, os.urandom(80 * MIB))
    remote.options.update(partial_dir=tmp_path / "partial")
    assert [a.state for a in moved(remote, "put", [item])] == ["done"]
    proxy.rules[:] = [Rule("GET", "files/", "status", skip=3, code=403, name="AccessDenied")]
    assert [a.state for a in moved(remote, "get", to(target, [item]))] == ["failed"]
    there = recorded(tmp_path / "partial")
    assert there >= 8 * MIB and not list(target.iterdir())
    proxy.rules.clear()
    proxy.requests.clear()
    assert [a.state for a in moved(remote, "get", to(target, [item]))] == ["done"]
    assert asked_for(proxy) <= 80 * MIB - there
    assert_fetched(target, [item], ["done"])


@pytest.mark.slow
def test_broken_part_goes_on_where_it_was(remote, proxy, tmp_path, target):
    item = make_object(tmp_path, os.urandom(80 * MIB))
    assert [a.state for a in moved(remote, "put", [item])] == ["done"]
    proxy.requests.clear()
    proxy.rules[:] = [Rule("GET", "files/", "cut", times=3, skip=1, at=5 * MIB)]
    assert [a.state for a in moved(remote, "get", to(target, [item]))] == ["done"]
    assert asked_for(proxy) == (80 + 3 * 3) * MIB
    assert_fetched(target, [item], ["done"])


@pytest.mark.slow
@pytest.mark.parametrize("columns", [100, 20])
def test_what_is_slow_is_named(gitbox, proxy, s3_server, bucket, columns):
    gitbox.env.update(s3_server.env)
    gitbox.mlmake("data", "init")
    gitbox.mlmake("data", "remote", "add", "-d", "store", f"s3://{bucket}/p")
    gitbox.mlmake("data", "remote", "modify", "store", "endpointurl", f"http://127.0.0.1:{proxy.port}")
    gitbox.mlmake("data", "remote", "modify", "store", "read_timeout", "6")
    gitbox.write("big", os.urandom(300_000))
    gitbox.mlmake("data", "add", "big")
    proxy.rules.append(Rule("PUT", "files/", "status", times=2, code=503, name="SlowDown"))
    code, said = on_terminal(gitbox, "data", "push", columns=100)
    assert code == 0 and "store: it asks for less: " in said
    (gitbox.path / "big").unlink()
    shutil.rmtree(gitbox.path / ".dvc/cache")
    proxy.rules[:] = [Rule("GET", "files/", "stall_body", times=1, at=1000)]
    code, said = on_terminal(gitbox, "data", "pull", columns=columns)
    drawn = re.findall(r"\r([^\r\n\x1b]*)\x1b\[K", said)
    assert code == 0 and (gitbox.path / "big").exists() and all(len(line) < columns for line in drawn)
    assert any("big: no byte for" in line for line in drawn), drawn
    assert "no byte" not in drawn[-1], "it moves again"


def test_members_of_a_directory_count_in_bytes(gitbox, proxy, s3_server, bucket):
    """A manifest has no sizes, the .dvc has their sum: what is left of it is what the time left is computed from."""
    gitbox.env.update(s3_server.env)
    gitbox.mlmake("data", "init")
    gitbox.mlmake("data", "remote", "add", "-d", "store", f"s3://{bucket}/p")
    gitbox.mlmake("data", "remote", "modify", "store", "endpointurl", f"http://127.0.0.1:{proxy.port}")
    for name, size in (("big", 300 << 10), ("small", 1 << 10), ("here", 50 << 10)):
        gitbox.write(f"d/{name}", os.urandom(size))
    here = hashlib.md5(gitbox.read("d/here")).hexdigest()
    gitbox.mlmake("data", "add", "d")
    gitbox.mlmake("data", "push")
    kept = gitbox.path / ".dvc/cache/files/md5" / here[:2] / here[2:]
    content = kept.read_bytes()
    shutil.rmtree(gitbox.path / ".dvc/cache")
    shutil.rmtree(gitbox.path / "d")
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    code, said = on_terminal(gitbox, "data", "pull", columns=100)
    assert code == 0 and re.search(r"fetching  2/2  301\.\d KiB/301\.\d KiB", said), said
