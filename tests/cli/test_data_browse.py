"""mlmake data diff, ls, get, commit: beside the real dvc where it is there, and on their own."""
import json
import os
import shutil
import subprocess

import pytest

from test_data import cached, data, md5, on_remote, stored, wipe_cache  # noqa: F401 (fixtures)


@pytest.fixture
def two(stored):
    """Two commits: in the second d/a changed, d/b gone, d/n new, f moved to g."""
    stored.git("add", "-A")
    stored.git("commit", "-qm", "one")
    stored.write("d/a", "changed\n")
    (stored.path / "d/b").unlink()
    stored.write("d/n", "new\n")
    (stored.path / "f").rename(stored.path / "g")
    (stored.path / "f.dvc").unlink()
    stored.mlmake("data", "add", "d", "g")
    stored.git("add", "-A")
    stored.git("commit", "-qm", "two")
    return stored


def diff(box, *args):
    return json.loads(box.mlmake("data", "diff", "--json", *args).stdout)


def test_diff_of_revisions(two):
    found = diff(two, "HEAD~1", "HEAD")
    assert found == {
        "added": [{"path": "d/n"}], "deleted": [{"path": "d/b"}], "modified": [{"path": "d/"}, {"path": "d/a"}],
        "renamed": [{"path": {"old": "f", "new": "g"}}]}
    assert diff(two, "HEAD~1", "HEAD", "--", "g") == {
        "added": [{"path": "g"}], "deleted": [], "modified": [], "renamed": []}
    assert diff(two, "HEAD", "HEAD") == {} == diff(two)
    said = two.mlmake("data", "diff", "--show-hash", "HEAD~1").stdout
    assert f"{md5('content of f' + chr(10))[:8]}  f -> g" in said
    assert "files summary: 1 added, 1 deleted, 1 renamed, 1 modified" in said
    two.mlmake("data", "diff", "--exit-code", "HEAD~1", check=1)
    two.mlmake("data", "diff", "--exit-code", check=0)


def test_diff_needs_no_cache_but_manifests(two):
    two.mlmake("data", "push")
    wipe_cache(two)
    assert diff(two, "HEAD~1", "HEAD")["modified"] == [{"path": "d/"}, {"path": "d/a"}]
    wipe_cache(two)
    shutil.rmtree(two.remote)
    assert diff(two, "HEAD~1", "HEAD")["modified"] == [{"path": "d/"}], "members are unknown, and said to be"
    assert "members of d/ cannot be compared" in two.mlmake("data", "diff", "HEAD~1", "HEAD").stderr


@pytest.mark.parametrize("record", ["", "<<<<<<< ours\n"])
def test_diff_of_a_record_that_cannot_be_read_tells_nothing_of_its_data(two, record):
    two.write("g", "changed\n")
    two.write("d.dvc", record)
    for args, paths in (([], ["g"]), (["HEAD~1"], ["g", "f"])):
        result = two.mlmake("data", "diff", "--json", *args, check=3)
        assert "d.dvc" in result.stderr
        found = json.loads(result.stdout)
        assert [e["path"] for kind in ("added", "deleted", "modified") for e in found[kind]] == paths


def test_diff_refusals(two, box):
    assert "no revision 'nope'" in two.mlmake("data", "diff", "nope", check=2).stderr
    two.mlmake("data", "diff", "a", "b", "c", check=2)
    two.write("g.dvc", "")
    assert "g.dvc" in two.mlmake("data", "diff", check=3).stderr


@pytest.mark.slow
def test_diff_says_what_dvc_says(two):
    def check(*args):
        for more in ([], ["--show-hash"]):
            theirs = json.loads(two.dvc("diff", "--json", *more, *args).stdout)
            assert json.loads(two.mlmake("data", "diff", "--json", *more, *args).stdout) == theirs
    check("HEAD~1", "HEAD")
    two.write("d/s/c", "edited, not recorded")
    (two.path / "g").rename(two.path / "h")
    cached(two, "new\n").unlink()
    check()
    two.mlmake("data", "add", "h")
    (two.path / "g.dvc").unlink()
    shutil.copytree(two.path / "d", two.path / "e")
    shutil.rmtree(two.path / "d")
    (two.path / "d.dvc").unlink()
    two.mlmake("data", "add", "e")
    check()
    check("HEAD~1")


@pytest.mark.slow
def test_broken_links_are_members_without_content(two):
    """They have no md5, so that the directory has none either (dvc makes one up)."""
    (two.path / "d/new").symlink_to("nowhere")
    (two.path / "d/a").unlink()
    (two.path / "d/a").symlink_to("nowhere")
    (two.path / "g").unlink()
    (two.path / "g").symlink_to("nowhere")
    ours = diff(two, "--show-hash")
    theirs = json.loads(two.dvc("diff", "--json", "--show-hash").stdout)
    assert [e["path"] for e in ours["added"]] == ["d/new"] and {"d/", "d/a"} <= {e["path"] for e in ours["modified"]}
    for side in (ours, theirs):
        for entry in side["modified"]:
            if entry["path"] == "d/":
                entry["hash"]["new"] = None
    assert ours == theirs
    assert "  d/new\n" in two.mlmake("data", "diff", "--show-hash").stdout
    shutil.rmtree(two.path / ".dvc/cache")
    unknown = json.loads(two.mlmake("data", "status", "--granular", "--json").stdout)["uncommitted"]["unknown"]
    assert {"d/a", "d/new"} <= set(unknown)


def listing(box, *args, **kw):
    return json.loads(box.mlmake("data", "ls", "--json", *args, **kw).stdout)


def test_ls(two):
    assert [e["path"] for e in listing(two)] == ["d", "g"]
    assert [e["path"] for e in listing(two, "--rev", "HEAD~1")] == ["d", "f"]
    assert [e["path"] for e in listing(two, "-R", "--rev", "HEAD~1")] == ["d/a", "d/b", "d/s/c", "f"]
    assert [(e["path"], e["isdir"], e["isout"]) for e in listing(two, "d")] == [("a", False, True), ("n", False, True), ("s", True, True)]
    assert [e["path"] for e in listing(two, "d/s")] == ["c"]
    assert [e["path"] for e in listing(two, "s", cwd=two.path / "d")] == ["c"]
    assert listing(two, "g")[0]["size"] == 13
    assert listing(two, "d/a")[0] == {
        "isout": True, "isdir": False, "isexec": False, "size": 8, "md5": md5("changed\n"), "path": "a"}
    line = two.mlmake("data", "ls", "-R", "--size", "--hash", "d/a").stdout.split()
    assert line == ["8", md5("changed\n"), "a"]
    assert "no tracked data at nope" in two.mlmake("data", "ls", "nope", check=2).stderr


def test_empty_directories_are_listed(two):
    for name in ("empty", "deep/empty"):
        (two.path / name).mkdir(parents=True)
        two.mlmake("data", "add", name)
    assert listing(two, "empty") == listing(two, "-R", "empty") == []
    for where in ([], [two.path, "--dvc-only"]):
        for args in ([], ["-R", "-L", "1"]):
            assert [e["path"] for e in listing(two, *where, *args) if e["isdir"]] == ["d", "deep", "empty"]
        for args in (["-R", "-L", "2"], ["-T"]):
            assert "empty" in two.mlmake("data", "ls", *where, *args).stdout
        assert not [e for e in listing(two, *where, "-R") if e["isdir"]]


def test_diff_without_git_says_what_there_is(box):
    box.mlmake("data", "init", "--no-scm")
    said = box.mlmake("data", "diff", check=2).stderr
    assert "compares with a commit" in said and "mlmake data status" in said


@pytest.mark.slow
def test_ls_says_what_dvc_says(two):
    two.write("deep/er/x", "x", mode=0o755)
    (two.path / "empty").mkdir()
    two.mlmake("data", "add", "deep/er/x", "empty")
    for args in ([], ["-R"], ["d"], ["-R", "d"], ["g"], ["deep"], ["--rev", "HEAD~1"], ["empty"], ["-R", "-L", "1"], ["-R", "-L", "2"]):
        path = [a for a in args if a in ("d", "g", "deep", "empty")]
        theirs = json.loads(two.dvc("ls", ".", *path, "--dvc-only", "--json", *[a for a in args if a not in path]).stdout)
        ours = listing(two, *args)
        for entry in [*ours, *theirs]:
            del entry["size"], entry["isexec"]  # dvc ls --dvc-only has neither of a member
            if "-L" in args:
                del entry["md5"], entry["isout"]  # what is deeper is not looked at by dvc, and is the list of its files here
        assert ours == theirs, args


def test_get(two, tmp_path):
    two.mlmake("data", "push")
    out = tmp_path / "out"
    two.mlmake("data", "get", "d/b", "--rev", "HEAD~1", "-o", out)
    assert out.read_text() == "content of d/b\n" and not (two.path / "d/b").exists()
    assert "exists already" in two.mlmake("data", "get", "d/a", "-o", out, check=1).stderr
    two.mlmake("data", "get", "d/a", "-o", out, "-f")
    assert out.read_text() == "changed\n"
    two.mlmake("data", "get", "f", "--rev", "HEAD~1", "-o", tmp_path)
    assert (tmp_path / "f").read_text() == "content of f\n"
    two.mlmake("data", "get", "d", "--rev", "HEAD~1", "-o", tmp_path / "whole")
    assert (tmp_path / "whole/s/c").read_text() == "content of d/s/c\n" and (tmp_path / "whole/b").exists()
    two.mlmake("data", "get", "d/s", "-o", tmp_path / "part")
    assert [p.name for p in (tmp_path / "part").iterdir()] == ["c"]
    for path, words in (("d/zz", "no member zz"), ("nope", "no tracked data"), ("g/x", "no tracked data")):
        assert words in two.mlmake("data", "get", path, "-o", tmp_path / "no", check=2).stderr
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".mlmake")]


def test_get_fetches_one_member_alone(two, tmp_path):
    two.mlmake("data", "push")
    wipe_cache(two)
    two.mlmake("data", "get", "d/a", "-o", tmp_path / "a")
    objects = [p for p in (two.path / ".dvc/cache/files").rglob("*") if p.is_file()]
    assert len(objects) == 2, "the manifest and the member"
    cached(two, "changed\n").chmod(0o644)
    cached(two, "changed\n").write_text("Changed\n")
    cached(two, "changed\n").chmod(0o444)
    two.mlmake("data", "get", "d/a", "-o", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "changed\n", "a damaged object is fetched again"
    wipe_cache(two)
    on_remote(two, "changed\n").chmod(0o644)
    on_remote(two, "changed\n").write_text("Changed\n")
    assert "damaged on the remote" in two.mlmake("data", "get", "d/a", "-o", tmp_path / "c", check=3).stderr
    on_remote(two, "changed\n").unlink()
    assert "missing on the remote" in two.mlmake("data", "get", "d/a", "-o", tmp_path / "c", check=3).stderr
    assert not (tmp_path / "c").exists()


def test_commit_records_what_is_tracked(stored):
    stored.write("d/a", "changed\n")
    stored.write("f", "changed too\n")
    stored.write("untracked", "x")
    report = json.loads(stored.mlmake("data", "commit", "--json", "d/a").stdout)
    assert [(a["dvc"], a["changed"]) for a in report["added"]] == [("d.dvc", True)]
    assert cached(stored, "changed\n").exists()
    (stored.path / "f").unlink()
    said = stored.mlmake("data", "commit").stderr
    assert "not here, so left as recorded" in said and "\n  f" in said
    stored.write("f", "changed too\n")
    stored.mlmake("data", "commit", "-f", "f.dvc")
    stored.mlmake("data", "status", "--exit-code")
    assert "not tracked" in stored.mlmake("data", "commit", "untracked", check=2).stderr
    assert not (stored.path / "untracked.dvc").exists()
    stored.write("f.dvc", "")
    assert "f.dvc" in stored.mlmake("data", "commit", check=3).stderr


@pytest.mark.slow
def test_commit_writes_what_dvc_writes(stored):
    stored.write("d/a", "changed\n")
    stored.write("f", "changed too\n", mode=0o755)
    before = {n: stored.read(n) for n in ("d.dvc", "f.dvc")}
    stored.mlmake("data", "commit")
    ours = {n: stored.read(n) for n in before}
    for name, text in before.items():
        stored.write(name, text)
    stored.dvc("commit", "-f", "-q")
    assert ours == {n: stored.read(n) for n in before} != before
