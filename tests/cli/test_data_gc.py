"""mlmake data gc: what is deleted, and above all what is not."""
import json
import os
import pty
import shutil
import subprocess

import pytest

from test_data import cached, data, md5, on_remote, stored, wipe_cache  # noqa: F401 (fixtures)
from conftest import Sandbox, free_port


@pytest.fixture
def history(stored):
    """One version of v on each of: an old commit, a tag, another branch, the index, the work tree; and one nowhere."""
    def version(name, commit=True):
        stored.write("v", name)
        stored.mlmake("data", "add", "v")
        stored.git("add", "-A")
        if commit:
            stored.git("commit", "-qm", name)
    version("old")
    version("tagged")
    stored.git("tag", "t1")
    stored.git("checkout", "-q", "-b", "other")
    version("branch")
    stored.git("checkout", "-q", "main")
    version("head")
    version("index", commit=False)
    stored.write("v", "nowhere")
    stored.mlmake("data", "add", "v")
    stored.write("v", "tree")
    stored.mlmake("data", "add", "v")
    return stored


VERSIONS = ["old", "tagged", "branch", "head", "index", "nowhere", "tree"]


def gc(box, *args, check=0):
    return json.loads(box.mlmake("data", "gc", "--json", *args, check=check).stdout)


def left(box):
    return [v for v in VERSIONS if cached(box, v).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("scope, kept", [
    (["--rev", "HEAD", "-n", "2"], ["day 4", "day 3"]),
    (["--rev", "HEAD~1", "--num", "1"], ["day 3"]),
    (["--rev", "HEAD~1", "-n", "-1"], ["day 3", "day 2", "day 1"]),
    (["--rev", "side", "-n", "3"], ["side", "day 1"]),
    (["--date", "2024-03-03"], ["day 4", "day 3", "side"]),
    (["--date", "2024-03-02", "--rev", "HEAD~3"], ["day 4", "day 3", "day 2", "day 1", "side"]),
    (["--date", "2030-01-01"], []),
])
def test_numbers_and_dates(stored, tmp_path, scope, kept):
    """The last commits of a revision, first parents; and what was committed since a day, on any branch: as dvc has it."""
    def version(name, day):
        stored.write("v", name)
        stored.mlmake("data", "add", "v")
        stored.git("add", "-A")
        stored.git("commit", "-qm", name, GIT_COMMITTER_DATE=f"2024-03-{day:02} 12:00:00", GIT_AUTHOR_DATE="2000-01-01 00:00:00")
    version("day 1", 1)
    stored.git("checkout", "-q", "-b", "side")
    version("side", 5)
    stored.git("checkout", "-q", "main")
    for day in (2, 3, 4):
        version(f"day {day}", day)
    stored.write("v", "now")
    stored.mlmake("data", "add", "v")
    stored.git("add", "-A")  # the index counts as the work tree does
    versions = ["day 1", "day 2", "day 3", "day 4", "side", "now"]
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(stored.path, twin.path, symlinks=True, dirs_exist_ok=True)
    stored.mlmake("data", "gc", *scope, "--strict", "-f")
    assert {v for v in versions if cached(stored, v).exists()} == {*kept, "now"}
    twin.dvc("gc", *scope, "-f")
    assert {v for v in versions if cached(twin, v).exists()} == {*kept, "now"}


@pytest.mark.parametrize("options, said", [
    (["-w", "-n", "2"], "there is none"), (["--rev", "HEAD", "-n", "0"], "'0' is no number of commits"),
    (["--rev", "HEAD", "-n", "x"], "'x' is no number"), (["--date", "yesterday"], "'yesterday' is no date"), (["--date", "2024-13-01"], "is no date"),
])
def test_no_numbers_and_dates(stored, options, said):
    assert said in stored.mlmake("data", "gc", *options, "-f", check=2).stderr


@pytest.mark.parametrize("scope, kept", [
    (["-w"], ["tagged", "branch", "head", "index", "tree"]),
    (["-w", "--strict"], ["index", "tree"]),
    (["-a", "--strict"], ["branch", "head", "index", "tree"]),
    (["-T", "--strict"], ["tagged", "head", "index", "tree"]),
    (["-A"], ["old", "tagged", "branch", "head", "index", "tree"]),
    (["--rev", "HEAD~2", "--strict"], ["old", "index", "tree"]),
])
def test_scopes(history, scope, kept):
    dry = gc(history, *scope, "--dry")
    assert left(history) == VERSIONS and not dry["deleted"]
    assert dry["objects"] == len(VERSIONS) - len(kept)
    gc(history, *scope, "-f")
    assert left(history) == kept
    history.mlmake("data", "verify", "d", "f")
    assert "unused" not in gc(history, *scope, "-f")


def test_the_only_copy_of_another_branch_stays(history):
    said = history.mlmake("data", "gc", "-w", "-f").stderr
    assert "kept 3 objects that only other branches or tags record" in said
    history.git("stash", "-q")
    history.git("checkout", "-q", "other")
    history.mlmake("data", "checkout", "v", "--force")
    assert history.read("v") == b"branch"


def test_nothing_is_deleted_unasked(history):
    assert "-w the work tree" in history.mlmake("data", "gc", "-f", check=2).stderr
    assert "nobody to ask" in history.mlmake("data", "gc", "-w", check=2).stderr
    assert left(history) == VERSIONS
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        ours, theirs = pty.openpty()
        os.write(ours, answer)
        done = subprocess.run([history.binary, "data", "gc", "-w"], cwd=history.path, env=history.env, stdin=theirs, capture_output=True)
        os.close(ours)
        os.close(theirs)
        assert done.returncode == code and b"Delete for good?" in done.stderr
        assert ("nowhere" in left(history)) == (code == 1)


@pytest.mark.parametrize("record", ["v.dvc", "dvc.lock"])
def test_a_record_that_cannot_be_read_ends_it(history, record):
    history.write(record, "<<<<<<< HEAD\n")
    for args in ([], ["--skip-failed"]):
        refused = history.mlmake("data", "gc", "-w", "-f", *args, check=3).stderr
        assert record in refused and "nobody can tell what is in use" in refused
    assert left(history) == VERSIONS


def test_a_broken_record_of_history_ends_it_unless_skipped(history):
    history.git("stash", "-q")
    history.write("x.dvc", "")
    history.git("add", "-f", "x.dvc")
    history.git("commit", "-qm", "broken")
    history.git("rm", "-q", "x.dvc")
    history.git("commit", "-qm", "mended")
    assert "x.dvc" in history.mlmake("data", "gc", "-A", "-f", check=3).stderr
    assert left(history) == VERSIONS
    assert "skipped: x.dvc" in history.mlmake("data", "gc", "-A", "-f", "--skip-failed").stderr
    assert left(history) == ["old", "tagged", "branch", "head", "index", "tree"], "what is stashed is reachable"


def test_a_missing_manifest_is_fetched_or_ends_it(stored):
    manifest = next((stored.path / ".dvc/cache/files/md5").glob("*/*.dir"))
    manifest.chmod(0o644)
    manifest.unlink()
    gc(stored, "-w", "-f")
    assert cached(stored, "content of d/a\n").exists() and manifest.exists()
    manifest.unlink()
    shutil.rmtree(stored.remote)
    assert "manifest of d" in stored.mlmake("data", "gc", "-w", "-f", check=3).stderr
    assert cached(stored, "content of d/a\n").exists()


def test_a_remote_and_another_project(history, tmp_path):
    history.mlmake("data", "push")
    history.git("stash", "-q")
    history.git("stash", "drop", "-q")
    history.mlmake("data", "push")
    other = Sandbox(tmp_path / "other")
    other.mlmake("data", "init", "--no-scm")
    other.write("w", "of the other project")
    other.mlmake("data", "add", "w")
    other.mlmake("data", "remote", "add", "-d", "store", history.remote)
    other.mlmake("data", "push")
    junk = history.remote / "files/md5/00" / ("0" * 30)
    junk.parent.mkdir(exist_ok=True)
    junk.write_text("x")
    (history.remote / "files/md5/00/notes.txt").write_text("mine")
    found = gc(history, "-w", "-r", "store", "--dry", "-p", other.path)
    assert found["remote_objects"] == 2 and junk.exists(), "tree, which is in no ref that counts, and the junk"
    gc(history, "-w", "-c", "-f", "-p", other.path)
    assert not junk.exists() and not on_remote(history, "tree").exists()
    assert on_remote(history, "of the other project").exists() and on_remote(history, "head").exists()
    assert (history.remote / "files/md5/00/notes.txt").exists()
    gc(history, "-w", "-c", "-f")
    assert not on_remote(history, "of the other project").exists()


def test_s3(data, s3_server, bucket):
    data.write("a", "kept")
    data.mlmake("data", "add", "a")
    data.mlmake("data", "remote", "add", "-d", "s3", f"s3://{bucket}/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", s3_server.endpoint)
    data.env.update(s3_server.env)
    data.mlmake("data", "push")
    data.write("a", "kept now")
    data.mlmake("data", "add", "a")
    data.mlmake("data", "push")
    assert gc(data, "-w", "-c", "-f")["remote_objects"] == 1
    names = [p.parent.name + p.name for p in (s3_server.root / bucket / "x/files/md5").rglob("*") if p.is_file()]
    assert names == [md5("kept now")]


PIPELINE_LOCK = "schema: '2.0'\nstages:\n  gone:\n    cmd: x\n    outs:\n    - path: ../o\n      hash: md5\n      md5: {}\n      size: 3\n"


def test_outputs_of_pipelines_are_in_use(data):
    data.write("old", "of a stage that is gone")
    data.mlmake("data", "add", "old")
    (data.path / "old.dvc").unlink()
    data.write("dvc.lock", PIPELINE_LOCK.format(md5("of a stage that is gone")))
    gc(data, "-w", "-f")
    assert cached(data, "of a stage that is gone").exists()
    data.git("add", "-A")
    (data.path / "dvc.lock").unlink()
    gc(data, "-w", "-f", "--strict")
    assert cached(data, "of a stage that is gone").exists(), "git's index has it"


@pytest.mark.slow
def test_dvc_agrees_on_what_is_unused(history, tmp_path):
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(history.path, twin.path, dirs_exist_ok=True, symlinks=True)
    twin.git("reset", "-q")
    history.git("reset", "-q")
    for scope in ("-A", "-a", "-w"):
        history.mlmake("data", "gc", scope, "--strict", "-f")
        twin.dvc("gc", "-q", "-f", scope)
        in_index = ["head"] if scope == "-w" else []  # which dvc does not look at
        assert left(history) == in_index + left(twin), scope
    assert "up to date" in history.dvc("status").stdout


@pytest.mark.slow
def test_linked_worktrees_and_stashes_keep_their_data(stored):
    """A commit that only a worktree's detached HEAD has, and three that only stashes have."""
    def version(name):
        stored.write("v", name)
        stored.mlmake("data", "add", "v")
    version("base")
    stored.git("add", "-A")
    stored.git("commit", "-qm", "base")
    version("detached")
    stored.git("commit", "-qam", "detached")
    stored.git("worktree", "add", "-q", "--detach", "../tree", "HEAD")
    stored.git("reset", "-q", "--hard", "HEAD~1")
    for name in ("stash 1", "stash 2"):
        version(name)
        stored.git("stash", "-q")
    version("staged")
    stored.git("add", "v.dvc")
    version("stash 3")
    stored.git("stash", "-q")
    stored.mlmake("data", "checkout")
    names = ["base", "detached", "stash 1", "stash 2", "staged", "stash 3"]
    for scope in ("-w", "-a", "-A"):
        stored.mlmake("data", "gc", scope, "-f")
        assert [n for n in names if cached(stored, n).exists()] == names, scope
    stored.git("worktree", "remove", "../tree")
    stored.git("stash", "clear")
    stored.mlmake("data", "gc", "-w", "-f")
    assert [n for n in names if cached(stored, n).exists()] == ["base"]


@pytest.fixture
def half(stored):
    """d/ (a, b, s/c) and f are on the remote, "new" is not; all of it is recorded."""
    stored.write("new", "new")
    stored.mlmake("data", "add", "new")
    stored.git("add", "-A")
    stored.git("commit", "-qm", "half")
    stored.names = {name: f"content of {name}\n" for name in ("d/a", "d/b", "d/s/c", "f")} | {"new": "new"}
    return stored


def held(box):
    return [name for name, content in box.names.items() if cached(box, content).exists()]


def damage(path):
    path.chmod(0o644)
    path.write_bytes(b"#" * path.stat().st_size)


@pytest.mark.parametrize("how", [[], ["--quick"], ["-r", "store"]])
def test_what_the_remote_has_goes_where_that_is_asked_for(half, how):
    half.write("gone", "gone")
    half.mlmake("data", "add", "gone")
    (half.path / "gone.dvc").unlink()
    dry = gc(half, "-w", "--not-in-remote", "--dry", *how)
    assert dry["on_remote"] == 4 and dry["objects"] == 5 and dry["remote"] == "store" and held(half) == list(half.names)
    said = half.mlmake("data", "gc", "-w", "--not-in-remote", "-f", *how).stderr
    assert "deleted 5 objects" in said and "'store' has 4 of them" in said
    assert held(half) == ["new"] and not cached(half, "gone").exists()
    assert half.read("d/a") == b"content of d/a\n", "the work tree is not touched"
    assert json.loads(half.mlmake("data", "status", "--json", "--granular").stdout)["not_in_cache"] == ["d/a", "d/b", "d/s/c", "f"]
    shutil.rmtree(half.path / "d")
    half.mlmake("data", "pull")
    assert held(half) == list(half.names) and half.read("d/s/c") == b"content of d/s/c\n"
    half.mlmake("data", "verify", "new", "d", "f")


def test_what_has_the_name_on_the_remote_is_read_first(half):
    damage(on_remote(half, "content of d/a\n"))
    on_remote(half, "content of d/b\n").unlink()
    digest = md5("content of d/a\n")
    assert gc(half, "-w", "--not-in-remote", "-f", check=3)["damaged_on_remote"] == [f"{digest[:2]}/{digest[2:]}"]
    assert held(half) == ["d/a", "d/b", "new"]
    half.mlmake("data", "verify", "-r", "store", "--repair")
    gc(half, "-w", "--not-in-remote", "-f")
    assert held(half) == []  # verify sent "new", too


def test_a_remote_that_is_not_there_has_nothing(half):
    os.rename(half.remote, half.remote.with_name("away"))
    half.mlmake("data", "gc", "-w", "--not-in-remote", "-f", check=None)
    assert held(half) == list(half.names)
    assert "exclude each other" in half.mlmake("data", "gc", "-w", "-c", "--not-in-remote", "-f", check=2).stderr
    assert "--not-in-remote" in half.mlmake("data", "gc", "-w", "--quick", "-f", check=2).stderr


def test_what_pull_would_not_look_for_there_stays(half, tmp_path):
    """A pinned output, another project's, what links lead to, and what only another branch records but is not pushed."""
    half.mlmake("data", "remote", "add", "second", tmp_path / "second")
    half.write("f.dvc", half.read("f.dvc").decode() + "  remote: second\n")
    other = Sandbox(tmp_path / "other")
    other.mlmake("data", "init", "--no-scm")
    other.mlmake("data", "config", "cache.dir", half.path / ".dvc/cache")
    other.write("w", "content of d/a\n")
    other.mlmake("data", "add", "w")
    half.git("checkout", "-q", "-b", "side")
    half.write("v", "of side")
    half.mlmake("data", "add", "v")
    half.git("add", "v.dvc", ".gitignore")
    half.git("commit", "-qm", "side", "v.dvc", ".gitignore")
    half.git("stash", "-q")
    half.git("checkout", "-q", "main")
    half.git("stash", "pop", "-q")
    gc(half, "-w", "--not-in-remote", "-f", "-p", other.path)
    assert held(half) == ["d/a", "f", "new"] and cached(half, "of side").exists()
    half.mlmake("data", "pull", "d")
    half.mlmake("data", "config", "cache.type", "symlink")
    half.mlmake("data", "checkout", "--relink", "d")
    gc(half, "-w", "--not-in-remote", "-f")
    assert half.read("d/b") == b"content of d/b\n" and (half.path / "d/b").is_symlink()


def test_what_is_imported_stays(half, tmp_path):
    """It is fetched from where it is from, which may be gone."""
    twin = tmp_path / "twin"
    shutil.copytree(half.path, twin, symlinks=True)
    half.mlmake("data", "import", twin, "f", "-o", "imported")
    half.mlmake("data", "remove", "f")
    half.git("add", "-A")
    half.git("commit", "-qm", "imported")
    gc(half, "-w", "--strict", "--not-in-remote", "-f")
    assert held(half) == ["f", "new"]


@pytest.mark.slow
def test_dvc_agrees_on_what_the_remote_has(half, tmp_path):
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(half.path, twin.path, dirs_exist_ok=True, symlinks=True)
    on_remote(half, "content of d/b\n").unlink()
    twin.dvc("gc", "-q", "-f", "-w", "--not-in-remote")
    gc(half, "-w", "--not-in-remote", "-f")
    twin.names = half.names
    assert held(half) == held(twin) == ["d/b", "new"]


def test_commits_of_each_branch(stored):
    """-a -n, as dvc has it."""
    def version(name):
        stored.write("v", name)
        stored.mlmake("data", "add", "v")
        stored.git("add", "-A")
        stored.git("commit", "-qm", name)
    for name in ("1", "2", "3"):
        version(name)
    stored.git("checkout", "-q", "-b", "side", "HEAD~2")
    for name in ("a", "b", "c"):
        version(name)
    gc(stored, "-a", "-n", "2", "--strict", "-f")
    assert [n for n in "123abc" if cached(stored, n).exists()] == ["2", "3", "b", "c"]


def test_it_is_said_where_an_unreadable_record_is(history):
    history.git("stash", "-q")
    history.git("checkout", "-q", "other")
    history.write("x.dvc", "")
    history.git("add", "-f", "x.dvc")
    said = history.mlmake("data", "gc", "-w", "-f", check=3).stderr
    assert "the work tree has that record" in said and "restore it from git" in said
    (history.path / "x.dvc").unlink()
    said = history.mlmake("data", "gc", "-w", "-f", check=3).stderr
    assert "git's index has that record" in said and "mend or remove it first" in said
    history.git("commit", "-qm", "broken")
    history.git("checkout", "-qf", "main")
    said = history.mlmake("data", "gc", "-w", "-f", check=3).stderr
    assert "another branch or tag has that record" in said and "--strict leaves other branches and tags out" in said
    history.mlmake("data", "gc", "-w", "-f", "--strict")


def test_leftovers_of_killed_pushes_go(stored, tmp_path):
    """A day after somebody last wrote to them, as a later push has it; not in a dry run, and not without the remote."""
    stored.mlmake("data", "push")
    remote, = [path.parent for path in stored.path.parent.rglob("files") if path.is_dir() and ".dvc" not in path.parts]
    temp = remote / ".mlmake-tmp"
    for name in ("put-old", "put-young"):
        (temp / name).mkdir(parents=True)
        (temp / name / "0").write_bytes(b"part")
    at = os.stat(temp).st_mtime - 25 * 3600
    os.utime(temp / "put-old", (at, at))
    assert "remote_leftovers" not in gc(stored, "-w", "-f")
    assert gc(stored, "-w", "-c", "--dry")["remote_leftovers"] == 0 and (temp / "put-old").exists()
    said = stored.mlmake("data", "gc", "-w", "-c", "-f").stderr
    assert "removed what 1 killed push left on the remote" in said
    assert [path.name for path in temp.iterdir()] == ["put-young"]
    os.utime(temp / "put-young", (at, at))
    assert gc(stored, "-w", "-c", "-f")["remote_leftovers"] == 1 and not temp.exists()


def test_a_manifest_behind_a_network_that_is_down(stored):
    """Nothing is wrong with the data: 4, as for all that a remote does not answer."""
    next((stored.path / ".dvc/cache/files/md5").glob("*/*.dir")).unlink()
    stored.mlmake("data", "remote", "add", "-d", "far", "s3://bucket/x")
    stored.mlmake("data", "remote", "modify", "far", "endpointurl", f"http://127.0.0.1:{free_port()}")
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    said = stored.mlmake("data", "gc", "-w", "-f", check=4, **keys).stderr
    assert "the manifest of d cannot be read" in said and (stored.path / ".dvc/cache").exists()
