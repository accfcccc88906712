"""Packed remotes: small files in large packs, beside the plain objects of the same place."""
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

from test_data import data, md5, wipe_cache  # noqa: F401 (fixture)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fault"))
from proxy import Proxy, Rule  # noqa: E402

MANIFEST = "version: 1\ndata:\n  remotes:\n    packs: {url: \"remote://store\", packed: true}\n"
LARGE = b"L" * ((1 << 20) + 1)


@pytest.fixture
def packed(data, tmp_path):  # noqa: F811
    """60 small files in d and a large one, beside a directory remote `store` with packs on it."""
    data.remote = tmp_path / "store"
    data.mlmake("data", "remote", "add", "-d", "store", data.remote)
    data.write("mlmake.yaml", MANIFEST)
    for i in range(60):
        data.write(f"d/{i:02}", f"content {i}\n")
    data.write("d/empty", "")
    data.write("large", LARGE.decode())
    data.mlmake("data", "add", "d", "large")
    return data


def push(box, *args, check=0):
    return json.loads(box.mlmake("data", "push", "-r", "packs", "--json", *args, check=check).stdout)


def packs_of(box, suffix=".pack"):
    return sorted((box.remote / "mlmake/packs/1").glob("*" + suffix))


def plain_of(box):
    return sorted(p.parent.name + p.name for p in (box.remote / "files/md5").glob("*/*"))


def manifests_of(box):
    return sorted((box.remote / "mlmake/manifests/1").glob("*/*.dir"))


def pull_anew(box, *args, check=0):
    wipe_cache(box)
    shutil.rmtree(box.path / "d", ignore_errors=True)
    return box.mlmake("data", "pull", "-r", "packs", *args, check=check)


def assert_whole(box, names=range(60)):
    for i in names:
        assert (box.path / f"d/{i:02}").read_text() == f"content {i}\n"


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def age(box, hours=2):
    for path in packs_of(box):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def test_small_files_travel_in_one_pack(packed):
    assert push(packed)["pushed"] == 63
    assert len(packs_of(packed)) == len(packs_of(packed, ".index")) == 1
    assert len(plain_of(packed)) == 1, "what is too large"
    assert len(manifests_of(packed)) == 1
    for path in packs_of(packed) + packs_of(packed, ".index"):
        assert path.stem == hashlib.md5(path.read_bytes()).hexdigest()
    assert push(packed)["pushed"] == 0
    assert packed.mlmake("data", "status", "-c", "-r", "packs", "--json").stdout.count("not_in_remote") == 0
    pull_anew(packed)
    assert_whole(packed)
    assert (packed.path / "large").read_bytes() == LARGE and (packed.path / "d/empty").read_bytes() == b""
    assert not list((packed.path / ".mlmake/packs").glob("*/work-*"))


@pytest.mark.slow
def test_plain_and_packed_are_told_apart(packed):
    push(packed)
    assert json.loads(packed.mlmake("data", "push", "--json").stdout)["pushed"] == 62, "colleagues on dvc need them all, and the manifest"
    shutil.rmtree(packed.remote / "mlmake")
    pull_anew(packed)
    assert_whole(packed)


@pytest.mark.slow
def test_dvc_is_not_led_to_believe_that_packed_files_are_there(packed):
    """dvc takes a plain manifest as a sign that its members are there, and would not push them."""
    push(packed)
    packed.dvc("push")
    shutil.rmtree(packed.remote / "mlmake")
    wipe_cache(packed)
    shutil.rmtree(packed.path / "d")
    packed.dvc("pull")
    assert_whole(packed)


@pytest.mark.slow
def test_what_is_plain_already_is_not_packed(packed):
    packed.mlmake("data", "push")
    assert push(packed)["pushed"] == 1 and not packs_of(packed), "the manifest, which says that all is there"
    packed.write("d/new", "new\n")
    packed.mlmake("data", "add", "d")
    assert push(packed)["pushed"] == 2 and len(packs_of(packed)) == 1


@pytest.mark.slow
def test_part_of_a_directory(packed):
    push(packed)
    wipe_cache(packed)
    shutil.rmtree(packed.path / "d")
    packed.mlmake("data", "pull", "-r", "packs", "d/07")
    assert_whole(packed, [7])
    assert not (packed.path / "d/08").exists()


@pytest.mark.slow
def test_a_pack_that_is_gone_is_missed_and_sent_again(packed):
    push(packed)
    packs_of(packed)[0].unlink()
    status = json.loads(packed.mlmake("data", "status", "-c", "-r", "packs", "--json", "--granular").stdout)
    assert len(status["not_in_remote"]) >= 61
    assert push(packed)["pushed"] == 61
    pull_anew(packed)
    assert_whole(packed)


@pytest.mark.slow
def test_damage_is_found_named_and_repaired(packed):
    push(packed)
    pack = packs_of(packed)[0]
    flip(pack, pack.read_bytes().index(b"content 33\n"))
    wrong = pull_anew(packed, check=3)
    assert "d/33" in wrong.stderr and "damaged" in wrong.stderr and "d/34" not in wrong.stderr
    packed.write("d/33", "content 33\n")
    packed.mlmake("data", "pull", check=3)
    for i in range(60):
        packed.write(f"d/{i:02}", f"content {i}\n")
    packed.mlmake("data", "add", "d")
    found = packed.mlmake("data", "verify", "-r", "packs", check=3)
    assert "d/33" in found.stderr + found.stdout
    packed.mlmake("data", "verify", "-r", "packs", "--repair")
    assert len(packs_of(packed)) == 2
    packed.mlmake("data", "verify", "-r", "packs")
    pull_anew(packed)
    assert_whole(packed)


@pytest.mark.slow
def test_damaged_index_loses_nothing(packed):
    """Its packs say themselves what is in them, once they are older than a push takes."""
    push(packed)
    index = packs_of(packed, ".index")[0]
    flip(index, 40)
    shutil.rmtree(packed.path / ".mlmake/packs")
    pull_anew(packed, check=3)
    age(packed)
    pull_anew(packed)
    assert_whole(packed)
    refused = packed.mlmake("data", "gc", "-w", "-c", "-r", "packs", "-f", check=3)
    assert index.name in refused.stderr and packs_of(packed)


@pytest.mark.slow
def test_packs_of_an_interrupted_push_are_found_and_indexed(packed):
    push(packed)
    packs_of(packed, ".index")[0].unlink()
    age(packed)
    packed.write("d/new", "new\n")
    packed.mlmake("data", "add", "d")
    assert push(packed)["pushed"] == 2
    for path in packs_of(packed):
        os.utime(path)
    shutil.rmtree(packed.path / ".mlmake/packs")
    pull_anew(packed)
    assert_whole(packed)


@pytest.mark.slow
@pytest.mark.parametrize("keep, packs", [(5, 1), (50, 1), (0, 0)])
def test_gc_keeps_what_is_used_and_drops_the_rest(packed, keep, packs):
    push(packed)
    before = packs_of(packed)
    for i in range(keep, 60):
        (packed.path / f"d/{i:02}").unlink()
    (packed.path / "d/empty").unlink()
    if not keep:
        packed.write("d/only", "large " * 200_000)
    packed.mlmake("data", "add", "d")
    push(packed)
    age(packed)
    gone = json.loads(packed.mlmake("data", "gc", "-w", "-c", "-r", "packs", "-f", "--json").stdout)
    assert gone["remote_objects"] == 60 - keep + 2, "and the old manifest"
    assert len(packs_of(packed)) == packs and len(packs_of(packed, ".index")) == (1 if packs else 0)
    assert (packs_of(packed) == before) == (keep == 50), "a pack that is half full is written anew"
    pull_anew(packed)
    assert_whole(packed, range(keep))
    assert json.loads(packed.mlmake("data", "gc", "-w", "-c", "-r", "packs", "-f", "--json").stdout)["remote_objects"] == 0


@pytest.mark.slow
def test_gc_leaves_packs_alone_that_are_on_their_way(packed):
    push(packed)
    young = packs_of(packed)[0].with_name("0" * 32 + ".pack")
    young.write_bytes(b"half")
    (packed.path / "d/00").unlink()
    packed.mlmake("data", "add", "d")
    push(packed)
    packed.mlmake("data", "gc", "-w", "-c", "-r", "packs", "-f")
    assert young.exists()
    os.utime(young, (time.time() - 7200,) * 2)
    (packed.path / "d/01").unlink()
    packed.mlmake("data", "add", "d")
    push(packed)
    packed.mlmake("data", "gc", "-w", "-c", "-r", "packs", "-f")
    assert not young.exists()


@pytest.mark.slow
def test_two_push_at_once(packed, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(packed.path, other, symlinks=True)
    for i in range(60, 90):
        (other / f"d/{i:02}").write_text(f"content {i}\n")
    packed.mlmake("data", "add", "d", cwd=other)
    both = [subprocess.Popen([packed.binary, "data", "push", "-r", "packs"], cwd=where, env=packed.env, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) for where in (packed.path, other)]
    assert [p.wait(60) for p in both] == [0, 0], [p.stderr.read() for p in both]
    pull_anew(packed)
    assert_whole(packed)
    shutil.rmtree(other / ".dvc/cache")
    shutil.rmtree(other / "d")
    packed.mlmake("data", "pull", "-r", "packs", cwd=other)
    assert (other / "d/89").read_text() == "content 89\n"


@pytest.mark.slow
def test_pushes_that_end_do_not_disturb_others(packed, tmp_path):
    """Whoever is the last removes the directory of the temporaries, which the next may just have found."""
    for number in range(20):
        shutil.rmtree(packed.remote, ignore_errors=True)
        places = [tmp_path / f"copy{number}-{k}" for k in range(4)]
        for place in places:
            shutil.copytree(packed.path, place, symlinks=True)
            shutil.rmtree(place / ".mlmake", ignore_errors=True)
        pushes = [subprocess.Popen([packed.binary, "data", "push", "-r", "packs", "d"], cwd=place, env=packed.env, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True) for place in places]
        assert [p.communicate()[1] for p in pushes if p.wait()] == []


@pytest.mark.parametrize("text, words", [
    ("    packs: {packed: true}\n", "no url"),
    ("    packs: {url: s3://b}\n", "not packed"),
    ("    packs: {url: s3://b, packed: true, region: x}\n", "unknown key 'region'"),
    ("    packs: s3://b # packed\n", "is a string, not a map"),
    ("    store: {url: s3://b, packed: true}\n", "another one in .dvc/config"),
    ("    packs: {url: \"remote://none\", packed: true}\n", "no url"),
    ("    packs: {url: \"gs://x\", packed: true}\n", "not supported"),
])
def test_refused_configurations(packed, text, words):
    packed.write("mlmake.yaml", "version: 1\ndata:\n  remotes:\n" + text)
    name = "store" if "store:" in text else "packs"
    assert words in packed.mlmake("data", "push", "-r", name, check=2).stderr


def test_remote_list_names_it(packed):
    assert "packs\tremote://store\t(packed, in mlmake.yaml)" in packed.mlmake("data", "remote", "list").stdout
    listed = json.loads(packed.mlmake("data", "remote", "list", "--json").stdout)
    assert [(r["name"], r["packed"]) for r in listed] == [("store", False), ("packs", True)]


def test_web_servers_cannot_have_packs(packed):
    packed.write("mlmake.yaml", MANIFEST.replace("remote://store", "http://127.0.0.1:9/x"))
    assert "cannot be listed" in packed.mlmake("data", "push", "-r", "packs", check=4).stderr


# On S3.

@pytest.fixture
def on_s3(packed, s3_server, bucket):
    with Proxy(int(s3_server.endpoint.rsplit(":", 1)[1])) as proxy:
        packed.mlmake("data", "remote", "add", "-f", "store", f"s3://{bucket}/x")
        packed.mlmake("data", "remote", "modify", "store", "endpointurl", f"http://127.0.0.1:{proxy.port}")
        packed.env.update(s3_server.env)
        packed.remote = s3_server.root / bucket / "x"
        packed.proxy = proxy
        yield packed


def test_few_requests(on_s3):
    push(on_s3, "d")
    puts = [path for method, path, _ in on_s3.proxy.log if method == "PUT"]
    assert len(puts) == 3, "a pack, its index, the manifest"
    on_s3.proxy.log.clear()
    assert push(on_s3, "d")["pushed"] == 0
    assert [method for method, _, _ in on_s3.proxy.log] == ["GET", "HEAD", "GET", "GET"], "the packs, the manifest, a few objects"
    on_s3.proxy.log.clear()
    pull_anew(on_s3, "d")
    assert_whole(on_s3)
    assert len([path for method, path, _ in on_s3.proxy.log if method == "GET"]) <= 4, "manifest, listing, pack; the index is known here"


@pytest.mark.slow
@pytest.mark.parametrize("rule", [
    Rule("PUT", ".pack", "status", times=2), Rule("PUT", ".pack", "corrupt_request", times=1, at=100), Rule("PUT", ".index", "cut_request", times=1, at=40),
    Rule("GET", ".pack", "cut", times=1, at=300), Rule("GET", ".index", "corrupt", times=1, at=50), Rule("GET", "mlmake%2Fpacks", "reset", times=1),
], ids=lambda rule: f"{rule.method}-{rule.path}-{rule.action}")
def test_faults_that_pass(on_s3, rule):
    on_s3.proxy.rules.append(rule)
    push(on_s3)
    shutil.rmtree(on_s3.path / ".mlmake/packs")
    pull_anew(on_s3)
    assert_whole(on_s3)


@pytest.fixture
def wide(on_s3):
    """One pack of 8 MB with 400 files of 20 kB in it; the proxy's log is empty."""
    shutil.rmtree(on_s3.path / "d")
    (on_s3.path / "d").mkdir()
    on_s3.content = {f"d/{i:03}": os.urandom(20_000) for i in range(400)}
    for name, content in on_s3.content.items():
        (on_s3.path / name).write_bytes(content)
    on_s3.mlmake("data", "add", "d")
    push(on_s3, "d")
    on_s3.proxy.log.clear()
    on_s3.proxy.requests.clear()
    return on_s3


def pull_some(box, *names, check=0):
    """The ranges (None: all of it) of packs that were asked for."""
    box.proxy.requests.clear()
    pull = pull_anew(box, *names, check=check)
    for name in names if check == 0 else []:
        assert (box.path / name).read_bytes() == box.content[name], name
    return [dict((k.lower(), v) for k, v in headers).get("range") for first, headers in box.proxy.requests if ".pack " in first], pull


def lengths(ranges):
    places = [r.removeprefix("bytes=").split("-") for r in ranges]
    return [int(end) - int(start) + 1 for start, end in places]


def test_few_files_are_fetched_as_ranges(wide):
    assert lengths(pull_some(wide, "d/007")[0]) == [20_000]
    assert lengths(pull_some(wide, "d/007", "d/008")[0]) == [40_000], "neighbours in one request"
    assert lengths(pull_some(wide, "d/007", "d/009")[0]) == [60_000], "the gap is cheaper than a request"
    assert sorted(lengths(pull_some(wide, "d/007", "d/009", "d/300")[0])) == [20_000, 60_000]
    assert pull_some(wide, *[f"d/{i:03}" for i in range(0, 400, 7)])[0] == [None], "of most of it, all of it"
    assert not list((wide.path / ".mlmake/packs").glob("*/work-*"))


@pytest.mark.slow
@pytest.mark.parametrize("rule,asked", [
    (Rule("GET", ".pack", "whole"), 1), (Rule("GET", ".pack", "other_range", times=1, at=1), 2), (Rule("GET", ".pack", "corrupt", times=1, at=500), 2),
    (Rule("GET", ".pack", "cut", times=1, at=300), 2), (Rule("GET", ".pack", "short", times=1, at=300), 2),
    (Rule("GET", ".pack", "other_range", times=2, at=1), 3), (Rule("GET", ".pack", "status", times=1, code=503, name="SlowDown"), 2),
], ids=lambda value: value.action if isinstance(value, Rule) else "")
def test_faults_in_ranges(wide, rule, asked):
    rule = dataclasses.replace(rule, extra=str(packs_of(wide)[0]) if rule.action == "whole" else "") # rules count
    wide.proxy.rules.append(rule)
    ranges, _ = pull_some(wide, "d/007", "d/300")
    assert len(ranges) == asked + 1
    assert len([r for r in ranges if r is None]) == (rule.action == "corrupt")


@pytest.mark.slow
def test_a_range_that_is_damaged_where_it_lies(wide):
    flip(packs_of(wide)[0], packs_of(wide)[0].stat().st_size - 100)
    ranges, pull = pull_some(wide, "d/007", "d/399", check=3)
    assert "d/399" in pull.stderr and "damaged" in pull.stderr and "d/007" not in pull.stderr
    assert None in ranges, "its md5 shows that it is not the wire"
    assert [(p.stem in pull.stderr) for p in packs_of(wide)] == [False]
    wide.mlmake("data", "checkout", "d/007")
    assert (wide.path / "d/007").read_bytes() == wide.content["d/007"]


@pytest.mark.slow
def test_a_pack_that_goes_away_while_ranges_are_fetched(wide):
    """gc of somebody else put it into another pack."""
    pack = packs_of(wide)[0]
    wide.proxy.rules.append(Rule("GET", ".pack", "status", times=1, code=404, name="NoSuchKey"))
    ranges, _ = pull_some(wide, "d/007")
    assert len(ranges) == 2 and pack.exists()


@pytest.mark.slow
@pytest.mark.parametrize("where", [".pack", ".index"])
def test_push_that_is_refused_says_so_and_can_be_repeated(on_s3, where):
    on_s3.proxy.rules.append(Rule("PUT", where, "status", code=403, name="AccessDenied"))
    refused = on_s3.mlmake("data", "push", "-r", "packs", check=4)
    assert "AccessDenied" in refused.stderr
    assert not manifests_of(on_s3), "no manifest without what it lists"
    on_s3.proxy.rules.clear()
    push(on_s3)
    pull_anew(on_s3)
    assert_whole(on_s3)


def killed_at(box, command, method, where):
    """Ends a command with SIGKILL while a request of that kind waits."""
    rule = Rule(method, where, "stall", times=1)
    box.proxy.rules.append(rule)
    running = box.popen(box.binary, "data", *command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while rule.times and running.poll() is None:
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -9
    box.proxy.rules.clear()


@pytest.mark.slow
@pytest.mark.parametrize("method, where", [("PUT", ".pack"), ("PUT", ".index"), ("PUT", ".dir")])
def test_killed_push_is_repeated(on_s3, method, where):
    killed_at(on_s3, ["push", "-r", "packs"], method, where)
    assert not manifests_of(on_s3)
    push(on_s3)
    pull_anew(on_s3)
    assert_whole(on_s3)
    assert len(list((on_s3.path / ".mlmake/packs").glob("*/work-*"))) == 0


@pytest.mark.slow
@pytest.mark.parametrize("method, where", [("PUT", ".pack"), ("PUT", ".index"), ("DELETE", ".index"), ("DELETE", ".pack")])
def test_killed_gc_loses_nothing(on_s3, method, where):
    push(on_s3)
    for i in range(10, 60):
        (on_s3.path / f"d/{i:02}").unlink()
    on_s3.mlmake("data", "add", "d")
    push(on_s3)
    gc = ["gc", "-w", "-c", "-r", "packs", "-f"]
    killed_at(on_s3, gc, method, where)
    pull_anew(on_s3)
    assert_whole(on_s3, range(10))
    on_s3.mlmake("data", *gc)
    pull_anew(on_s3)
    assert_whole(on_s3, range(10))
    assert len(packs_of(on_s3, ".index")) == 1
