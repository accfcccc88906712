"""mlmake data beside the real dvc: the same bytes where dvc writes files, and data that goes both ways over remotes."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from conftest import Sandbox, need_peer

pytestmark = pytest.mark.slow

ODD_NAMES = [
    "plain.csv", "two words", "q'uote", 'double"quote', "both'\"", "uniçødé", "nfd-e\u0301", "astral-\U0001f600", "-dash", "--long",
    "12345", "017", "1e3", "0x1f", "1_000", "2024-01-01", "true", "null", "~", "no", "a: b", "colon:", "#hash", "sp #hash", "[x]", "{x}",
    "!bang", "*star", "?mark", "&amp", "%pct", "@at", "`tick", "|pipe", ">gt", "a,b", "= x", "<<", "back\\slash", ".hidden", "1:30",
    "word " * 24 + "end", "x" * 120, "tab\there",
]


@pytest.fixture
def pair(tmp_path):
    """Two repositories that begin alike: one for dvc, one for mlmake."""
    need_peer("dvc")
    boxes = []
    for name in ("by-dvc", "by-mlmake"):
        box = Sandbox(tmp_path / name)
        box.git("init", "-q", "-b", "main")
        boxes.append(box)
    boxes[0].dvc("init", "-q")
    boxes[1].mlmake("data", "init")
    return boxes


def both(pair, action):
    for box in pair:
        action(box)


def records(box):
    """All that a commit would hold: .dvc files, .gitignore files, .dvcignore."""
    found = {}
    for path in box.path.rglob("*"):
        rel = path.relative_to(box.path)
        if rel.parts[0] in (".git", ".mlmake") or rel.parts[:2] in ((".dvc", "cache"), (".dvc", "tmp")) or not path.is_file():
            continue
        if path.name in (".gitignore", ".dvcignore", "config") or path.name.endswith(".dvc"):
            found[str(rel)] = path.read_bytes()
    return found


def objects(box):
    root = box.path / ".dvc" / "cache" / "files" / "md5"
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mode) for p in root.rglob("*") if p.is_file()}


def fill(box):
    for i, name in enumerate(ODD_NAMES):
        box.write(name, f"content {i}\n")
        box.write(f"dir/{name}", f"member {i}\n")
        box.write(f"dir/deep/{name}/f", f"deep {i}\n")
    box.write("empty", "")
    box.write("dir/empty", "")
    box.write("tool.sh", "#!/bin/sh\n", mode=0o755)
    box.write("dir/run", "#!/bin/sh\n", mode=0o755)
    (box.path / "dir/void").mkdir()
    (box.path / "nothing").mkdir()
    box.write("sub/.gitignore", "*.pyc")
    box.write("sub/data.bin", bytes(range(256)) * 10)
    box.write("order/a", "1")
    box.write("order/a.b", "2")
    box.write("order/a-c/d", "3")
    box.write("order/a/c".replace("a/", "aa/"), "4")


def test_init_writes_what_dvc_writes(pair):
    assert records(pair[0]) == records(pair[1])
    assert pair[0].git("status", "--porcelain").stdout == pair[1].git("status", "--porcelain").stdout


def test_add_writes_what_dvc_writes(pair):
    both(pair, fill)
    paths = [*ODD_NAMES, "dir", "empty", "tool.sh", "nothing", "sub/data.bin", "order"]
    pair[0].dvc("add", "-q", "--", *paths)
    pair[1].mlmake("data", "add", "--", *paths)
    theirs, ours = records(pair[0]), records(pair[1])
    for name, expected in theirs.items():
        assert ours.get(name) == expected, name
    assert set(ours) == set(theirs)
    assert objects(pair[1]) == objects(pair[0])
    # dvc sees nothing to do in ours, and the other way round.
    assert "up to date" in pair[1].dvc("status").stdout
    assert "uncommitted" not in json.loads(pair[0].mlmake("data", "status", "--json").stdout)


def test_add_again_edits_as_dvc_does(pair):
    both(pair, lambda box: (box.write("d/a", "1"), box.write("d/b", "2"), box.write("f", "x")))
    pair[0].dvc("add", "-q", "d", "f")
    pair[1].mlmake("data", "add", "d", "f")
    for box in pair:
        text = box.read("d.dvc").decode()
        box.write("d.dvc", "# our training set\n" + text + "meta:\n  source: hand made\ndesc: numbers\n")
        box.write("d/a", "changed")
        box.write("d/c", "new")
        box.write("f", "y")
    pair[0].dvc("add", "-q", "d", "f")
    pair[1].mlmake("data", "add", "d", "f")
    assert records(pair[0]) == records(pair[1])
    assert b"# our training set" in pair[1].read("d.dvc")


def test_add_of_a_member_keeps_absent_ones(pair):
    both(pair, lambda box: [box.write(f"d/{n}", n) for n in ("a", "b", "s/c")])
    pair[0].dvc("add", "-q", "d")
    pair[1].mlmake("data", "add", "d")
    for box in pair:
        (box.path / "d/b").unlink()
        box.write("d/a", "changed")
        box.write("d/new", "new")
    pair[0].dvc("add", "-q", "d/a", "d/new")
    pair[1].mlmake("data", "add", "d/a", "d/new")
    assert records(pair[0]) == records(pair[1])
    assert b"nfiles: 4" in pair[1].read("d.dvc")


def test_the_sum_stays_known_while_members_are_only_added(pair):
    both(pair, lambda box: [box.write(f"d/{n}", n) for n in ("a", "b")])
    pair[0].dvc("add", "-q", "d")
    pair[1].mlmake("data", "add", "d")
    both(pair, lambda box: box.write("d/new", "12345"))
    pair[0].dvc("add", "-q", "d/new")
    pair[1].mlmake("data", "add", "d/new")
    assert records(pair[0]) == records(pair[1])
    assert b"size: 7" in pair[1].read("d.dvc")


def test_a_file_that_git_tracks_is_refused(pair):
    for box in pair:
        box.write("code.py", "x")
        box.git("add", "code.py")
    assert pair[0].dvc("add", "code.py", check=None).returncode == 1
    refused = pair[1].mlmake("data", "add", "code.py", check=1)
    assert "git rm -r --cached code.py" in refused.stderr
    assert not (pair[1].path / "code.py.dvc").exists()


def test_dvcignore_counts_alike(pair):
    def fill_ignored(box):
        box.write(".dvcignore", "*.tmp\n  /d/skip  \n!keep.tmp\n# note\nlogs/\n")
        for name in ("d/a", "d/x.tmp", "d/keep.tmp", "d/skip/in", "d/logs/l", "d/s/.gitignore", "d/s/skip/in"):
            box.write(name, name)
    both(pair, fill_ignored)
    pair[0].dvc("add", "-q", "d")
    pair[1].mlmake("data", "add", "d")
    assert pair[0].read("d.dvc") == pair[1].read("d.dvc")


def normal(status):
    """A status with its lists in one order."""
    if isinstance(status, dict):
        return {k: normal(v) for k, v in status.items()}
    return sorted(status, key=json.dumps) if isinstance(status, list) else status


def compare_status(pair, *flags):
    theirs, ours = (json.loads(r.stdout) for r in (pair[0].dvc("data", "status", "--json", *flags),
                                                  pair[1].mlmake("data", "status", "--json", *flags)))
    assert normal(ours) == normal(theirs)
    return ours


def test_status_says_what_dvc_says(pair):
    both(pair, lambda box: [box.write(n, n * 3) for n in ("d/a", "d/b", "d/s/c", "f", "g", "h", "i/x")])
    pair[0].dvc("add", "-q", "d", "f", "g", "h", "i")
    pair[1].mlmake("data", "add", "d", "f", "g", "h", "i")
    compare_status(pair, "--granular")
    for box in pair:
        box.git("add", "-A")
        box.git("commit", "-qm", "data")
    assert compare_status(pair) == {}
    for box in pair:
        box.write("d/a", "changed")
        box.write("d/new", "n")
        (box.path / "d/b").unlink()
        box.write("f", "changed")
        (box.path / "g").unlink()
    compare_status(pair)
    assert "uncommitted" in compare_status(pair, "--granular")
    pair[0].dvc("add", "-q", "f")
    pair[1].mlmake("data", "add", "f")
    for box in pair:
        (box.path / "h.dvc").unlink()
    compare_status(pair)
    for box in pair:
        md5 = hashlib.md5(b"i/x" * 3).hexdigest()
        (box.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]).unlink()
    assert "i/x" in compare_status(pair, "--granular")["not_in_cache"]


def test_renames_of_equal_files_are_matched_as_by_dvc(pair):
    both(pair, lambda box: [box.write(f"old/{n}", "") for n in ("b", "a", "a.b", "c/x", "s/t", "s.t")])
    pair[0].dvc("add", "-q", "old")
    pair[1].mlmake("data", "add", "old")
    for box in pair:
        box.git("add", "-A")
        box.git("commit", "-qm", "data")
    pair[0].dvc("move", "old", "new")
    pair[1].mlmake("data", "move", "old", "new")
    renamed = compare_status(pair, "--granular")["committed"]["renamed"]
    assert len(renamed) == 7, "the directory and each of its members"


@pytest.mark.parametrize("links", ["copy", "hardlink", "symlink"])
def test_checkout_mends_the_executable_bit(pair, links):
    def prepare(box):
        box.write(".dvc/config", f"[cache]\n    type = {links}\n")
        box.write("f", "same")
        (box.path / "f").chmod(0o755)
    both(pair, prepare)
    pair[0].dvc("add", "-q", "f")
    pair[1].mlmake("data", "add", "f")
    for box in pair:
        (box.path / "f").unlink()
        box.write("f", "same")
    assert "M" in pair[0].dvc("checkout").stdout
    assert json.loads(pair[1].mlmake("data", "checkout", "--json").stdout)["modified"] == ["f"]
    for box in pair:
        assert (box.path / "f").stat().st_mode & 0o777 == 0o744
    assert not json.loads(pair[1].mlmake("data", "checkout", "--json").stdout).get("modified")


def test_an_ignored_output_stops_nothing_else(pair):
    both(pair, lambda box: [box.write(n, n) for n in ("d/a", "f")])
    pair[0].dvc("add", "-q", "d", "f")
    pair[1].mlmake("data", "add", "d", "f")
    both(pair, lambda box: [box.write(".dvcignore", "/d\n"), box.write("f", "changed")])
    assert "is ignored by" in pair[0].dvc("data", "status", check=255).stderr
    assert json.loads(pair[1].mlmake("data", "status", "--json").stdout)["uncommitted"] == {"modified": ["f"]}
    for what in (["add", "d"], ["commit"]):
        assert "d is ignored by .dvcignore" in pair[1].mlmake("data", *what, check=2).stderr
    pair[1].mlmake("data", "add", "f")


def test_no_link_to_a_lost_object_is_made(pair):
    def prepare(box):
        box.write(".dvc/config", "[cache]\n    type = symlink\n")
        box.write("f", "content")
    both(pair, prepare)
    pair[0].dvc("add", "-q", "f")
    pair[1].mlmake("data", "add", "f")
    for box in pair:
        (box.path / "f").unlink()
        shutil.rmtree(box.path / ".dvc/cache")
    pair[0].dvc("checkout")
    assert (pair[0].path / "f").is_symlink() and not (pair[0].path / "f").exists()
    pair[1].mlmake("data", "checkout", check=3)
    assert not os.path.lexists(pair[1].path / "f")


def set_remote(kind, tmp_path, s3, boxes):
    """A remote that both programs can reach, with credentials in config.local."""
    for box in boxes:
        if kind == "dir":
            box.mlmake("data", "remote", "add", "-d", "store", tmp_path / "remote store")
            continue
        server, bucket = s3
        box.mlmake("data", "remote", "add", "-d", "store", f"s3://{bucket}/some/prefix")
        box.mlmake("data", "remote", "modify", "store", "endpointurl", server.endpoint)
        box.mlmake("data", "remote", "modify", "--local", "store", "access_key_id", server.access)
        box.mlmake("data", "remote", "modify", "--local", "store", "secret_access_key", server.secret)
        box.env["AWS_DEFAULT_REGION"] = "us-east-1"


def tree(path):
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def make_server(kind, request):
    """(server, a fresh bucket on it)"""
    if kind == "dir":
        return None
    if kind == "s3":
        return request.getfixturevalue("s3_server"), request.getfixturevalue("bucket")
    server, bucket = request.getfixturevalue(f"{kind}_server"), f"b{time.time_ns()}"
    request.getfixturevalue("make_bucket")(server, bucket)
    return server, bucket


@pytest.mark.parametrize("kind", ["dir", "s3", "moto", "named"])
def test_data_goes_both_ways(kind, tmp_path, request):
    need_peer("dvc")
    s3 = make_server(kind, request)
    one, two, three = (Sandbox(tmp_path / n) for n in ("one", "two", "three"))
    one.git("init", "-q", "-b", "main")
    one.mlmake("data", "init")
    set_remote(kind, tmp_path, s3, [one])
    fill(one)
    one.mlmake("data", "add", "dir", "tool.sh", "empty", "nothing", "sub/data.bin")
    pushed = one.mlmake("data", "push", "--json")
    assert json.loads(pushed.stdout)["pushed"] == len(objects(one))
    one.git("add", "-A")
    one.git("commit", "-qm", "data")

    def clone(box):
        box.git("clone", "-q", one.path, ".")
        if s3:
            box.write(".dvc/config.local", one.read(".dvc/config.local"))
            box.env["AWS_DEFAULT_REGION"] = "us-east-1"

    clone(two)
    two.dvc("pull", "-q")
    for name in ("dir", "sub"):
        assert {k: v for k, v in tree(two.path / name).items()} == tree(one.path / name)
    assert os.access(two.path / "tool.sh", os.X_OK)
    # The reverse: dvc adds and pushes, mlmake pulls.
    two.write("dir/added by dvc", "there and back")
    two.write("fresh", "also")
    two.dvc("add", "-q", "dir", "fresh")
    two.dvc("push", "-q")
    two.git("add", "-A")
    two.git("commit", "-qm", "more")
    one.git("pull", "-q", two.path, "main")
    one.mlmake("data", "pull")
    assert one.read("dir/added by dvc") == b"there and back" and one.read("fresh") == b"also"
    clone_of_two = three
    clone(clone_of_two)
    three.git("pull", "-q", two.path, "main")
    three.mlmake("data", "pull")
    assert tree(three.path / "dir") == tree(two.path / "dir")
    assert "up to date" in three.dvc("status").stdout
    assert json.loads(three.dvc("data", "status", "--json", "--not-in-remote").stdout) == {}
    assert json.loads(three.mlmake("data", "status", "--json", "-c").stdout) == {}


@pytest.mark.parametrize("links", ["hardlink", "symlink"])
def test_linked_caches(pair, links):
    for box in pair:
        box.write(".dvc/config", f"[cache]\n    type = {links}\n")
        box.write("d/a", "1")
        box.write("d/empty", "")
        box.write("tool", "#!", mode=0o755)
    pair[0].dvc("add", "-q", "d", "tool")
    pair[1].mlmake("data", "add", "d", "tool")
    assert records(pair[0]) == records(pair[1])
    both(pair, lambda box: (box.path / "d/a").unlink())
    pair[1].mlmake("data", "checkout")
    member = pair[1].path / "d/a"
    assert member.is_symlink() if links == "symlink" else member.stat().st_nlink > 1
    assert member.read_text() == "1"
    assert "up to date" in pair[1].dvc("status").stdout
    pair[1].mlmake("data", "status", "--exit-code")


def test_dvc_reads_edited_config(pair):
    box = pair[1]
    box.write(".dvc/config", "# for all of us\n[core]\n    autostage = true   # handy\n")
    box.mlmake("data", "remote", "add", "-d", "a", "../store")
    box.mlmake("data", "remote", "add", "b", "s3://bucket/p")
    box.mlmake("data", "remote", "modify", "b", "endpointurl", "http://127.0.0.1:9000/x,y#z")
    box.mlmake("data", "remote", "rename", "b", "c")
    text = box.read(".dvc/config").decode()
    assert "# for all of us" in text and "# handy" in text
    listed = box.dvc("remote", "list").stdout
    assert str(box.path.parent / "store") in listed and "s3://bucket/p" in listed
    assert box.dvc("config", "remote.c.endpointurl").stdout.strip() == "http://127.0.0.1:9000/x,y#z"
    assert box.dvc("config", "core.remote").stdout.strip() == "a"
    box.mlmake("data", "remote", "remove", "a")
    assert box.dvc("config", "core.remote", check=None).stdout == ""
    box.write("f", "x")
    box.mlmake("data", "add", "f")
    assert "f.dvc" in box.git("diff", "--cached", "--name-only").stdout


def test_without_git_as_no_scm(tmp_path):
    need_peer("dvc")
    one, two = Sandbox(tmp_path / "a"), Sandbox(tmp_path / "b")
    one.dvc("init", "-q", "--no-scm")
    two.mlmake("data", "init", "--no-scm")
    for box in (one, two):
        box.write("f", "x")
    one.dvc("add", "-q", "f")
    two.mlmake("data", "add", "f")
    assert records(one) == records(two)
    assert not pathlib.Path(two.path / ".gitignore").exists()


VERSIONED = """import boto3, sys
client = boto3.client("s3", endpoint_url=sys.argv[1])
client.create_bucket(Bucket=sys.argv[2])
client.put_bucket_versioning(Bucket=sys.argv[2], VersioningConfiguration={"Status": "Enabled"})
"""


@pytest.mark.slow
def test_new_content_is_not_fetched_by_the_version_of_the_old(tmp_path, moto_server):
    """A file that dvc has pushed to a version_aware remote, changed and added by mlmake."""
    python = os.path.join(os.path.dirname(need_peer("dvc")), "python")
    bucket = f"versions{os.getpid()}"
    subprocess.run([python, "-c", VERSIONED, moto_server.endpoint, bucket], check=True, env={**os.environ, **moto_server.env})
    one, two = Sandbox(tmp_path / "one"), Sandbox(tmp_path / "two")
    for box in (one, two):
        box.env.update(moto_server.env)
    one.git("init", "-q", "-b", "main")
    one.mlmake("data", "init")
    one.mlmake("data", "remote", "add", "-d", "store", f"s3://{bucket}/data")
    for name, value in (("endpointurl", moto_server.endpoint), ("version_aware", "true")):
        one.mlmake("data", "remote", "modify", "store", name, value)
    one.write("f", "old")
    one.mlmake("data", "add", "f")
    one.dvc("push", "-q")
    assert "version_id" in one.read("f.dvc").decode()
    one.write("f", "new")
    one.mlmake("data", "add", "f")
    assert "cloud" not in one.read("f.dvc").decode() and "version_id" not in one.read("f.dvc").decode()
    one.dvc("push", "-q")
    one.git("add", "-A")
    one.git("commit", "-qm", "data")
    two.git("clone", "-q", one.path, ".")
    two.dvc("pull", "-q")
    assert two.read("f") == b"new"
