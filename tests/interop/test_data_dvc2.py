"""Data that the real dvc 2 recorded, in its own layout: read, checked out, moved and collected side by side with dvc 3."""
import json
import shutil

import pytest

from conftest import Sandbox, need_peer

pytestmark = pytest.mark.slow

# Of two files that differ in their line ends alone dvc 2 keeps one object, whichever came first: so lf has no twin here but in test_line_ends.
FILES = {"crlf.txt": b"a\r\nb\r\n", "bin": bytes(range(256)) * 20 + b"\r\n", "empty": b"", "split.txt": b"x" * ((1 << 20) - 1) + b"\r\nend\r\n",
         "sub/d\u00e9ep": b"x\r\n", "plain": b"no line end"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository that dvc 2 has made and pushed: d, f.txt and the program run, committed."""
    box = Sandbox(tmp_path_factory.mktemp("dvc2"))
    box.git("init", "-q", "-b", "main")
    box.dvc2("init", "-q")
    box.dvc2("remote", "add", "-q", "-d", "store", "../store")
    for name, content in FILES.items():
        box.write(f"d/{name}", content)
    box.write("f.txt", b"top\r\n")
    box.write("run", b"#!/bin/sh\n", mode=0o755)
    box.dvc2("add", "-q", "d", "f.txt", "run")
    box.git("add", "-A")
    box.git("commit", "-qm", "by dvc 2")
    box.dvc2("push", "-q")
    assert b"hash" not in box.read("d.dvc") and not (box.path / ".dvc/cache/files").exists()
    return box


@pytest.fixture
def legacy(made, tmp_path):
    box = Sandbox(tmp_path)
    shutil.copytree(made.path, box.path, symlinks=True, dirs_exist_ok=True)
    shutil.copytree(made.path.parent / "store", tmp_path / "store")
    box.git("status")
    return box


def objects(root):
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mode & 0o777) for p in root.rglob("*")
            if p.is_file() and ".mlmake-tmp" not in p.parts}


def tree(box):
    return {n: box.read(f"d/{n}") for n in FILES if (box.path / "d" / n).exists()}


def clear(box):
    shutil.rmtree(box.path / "d")
    (box.path / "f.txt").unlink()
    (box.path / "run").unlink()


def find(box, name):
    """The path of an object by its content."""
    return next(p for p in (box.path / ".dvc/cache").rglob("*") if p.is_file() and p.read_bytes() == name)


def same_answers(box):
    """status and diff of both, as far as scripts read them."""
    def norm(text):
        value = json.loads(text)
        for key, part in list(value.items()):
            if isinstance(part, dict):
                value[key] = {k: sorted(v, key=str) for k, v in part.items()}
            else:
                value[key] = sorted(part, key=str)
        return {k: v for k, v in value.items() if v}
    for ours, theirs in ((["status", "--json"], ["data", "status", "--json"]),
                         (["status", "--granular", "--unchanged", "--json"], ["data", "status", "--granular", "--unchanged", "--json"]),
                         (["diff", "--json"], ["diff", "--json"])):
        mine, other = norm(box.mlmake("data", *ours).stdout), norm(box.dvc(*theirs).stdout)
        mine.pop("git", None), other.pop("git", None)
        assert mine == other, ours
    return norm(box.mlmake("data", "status", "--json").stdout)


def test_status_and_diff_are_those_of_dvc(legacy):
    need_peer("dvc")
    assert same_answers(legacy) == {}
    legacy.write("d/crlf.txt", b"a\nb\n")  # the same, as dvc 2 sees it
    assert same_answers(legacy) == {}
    legacy.write("d/crlf.txt", b"a\nc\n")
    legacy.write("d/new", b"n")
    (legacy.path / "d/plain").unlink()
    (legacy.path / "run").unlink()
    assert same_answers(legacy)["uncommitted"] == {"modified": ["d/"], "deleted": ["run"]}
    (legacy.path / "d/new").unlink()
    legacy.mlmake("data", "checkout", "--force")
    legacy.mlmake("data", "migrate")
    assert same_answers(legacy) == {"committed": {"modified": ["d/", "f.txt", "run"]}}


def test_checkout(legacy, tmp_path):
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(legacy.path, twin.path, symlinks=True, dirs_exist_ok=True)
    clear(legacy)
    clear(twin)
    legacy.mlmake("data", "checkout")
    twin.dvc("checkout", "-q")
    assert tree(legacy) == tree(twin) == FILES
    for name in ("f.txt", "run"):
        assert legacy.read(name) == twin.read(name) and (legacy.path / name).stat().st_mode == (twin.path / name).stat().st_mode
    legacy.mlmake("data", "status", "-q")
    (legacy.path / "d/bin").write_bytes(b"mine")
    assert "d/bin" in legacy.mlmake("data", "checkout", check=1).stderr
    assert legacy.read("d/bin") == b"mine"
    legacy.mlmake("data", "checkout", "--force")
    assert tree(legacy) == FILES


def test_a_damaged_object_is_named_and_fetched_again(legacy):
    path = find(legacy, FILES["bin"])
    path.chmod(0o644)
    path.write_bytes(FILES["bin"][:-1] + b"!")
    path.chmod(0o444)
    shutil.rmtree(legacy.path / "d")
    assert "d/bin (md5-dos2unix" in legacy.mlmake("data", "verify", check=3).stderr
    result = legacy.mlmake("data", "checkout", check=3)
    assert "d/bin" in result.stderr and not (legacy.path / "d").exists()
    legacy.mlmake("data", "pull")
    assert tree(legacy) == FILES and (legacy.path / ".dvc/cache/.mlmake-tmp/damaged").is_dir()
    legacy.mlmake("data", "verify", "-r", "store")


def test_verify_repairs_either_side(legacy, tmp_path):
    path = find(legacy, FILES["plain"])
    other = tmp_path / "store" / path.parent.name / find(legacy, b"top\r\n").name
    path.unlink()
    lost = next(p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.read_bytes() == b"top\r\n")
    lost.unlink()
    assert not other.exists()
    result = legacy.mlmake("data", "verify", "-r", "store", check=3)
    assert "d/plain" in result.stderr and "f.txt" in result.stderr
    legacy.mlmake("data", "verify", "-r", "store", "--repair")
    assert path.read_bytes() == FILES["plain"] and lost.read_bytes() == b"top\r\n"
    assert not (tmp_path / "store/files").exists() and not (legacy.path / ".dvc/cache/files").exists()


def test_push_and_fetch_keep_to_the_place_of_dvc_2(legacy, tmp_path):
    pushed = objects(tmp_path / "store")
    cache = objects(legacy.path / ".dvc/cache")
    shutil.rmtree(tmp_path / "store")
    legacy.mlmake("data", "push")
    assert objects(tmp_path / "store").keys() == pushed.keys() and {k: v[0] for k, v in objects(tmp_path / "store").items()} == \
        {k: v[0] for k, v in pushed.items()}
    assert "in sync" in legacy.dvc("status", "-c").stdout
    shutil.rmtree(legacy.path / ".dvc/cache")
    clear(legacy)
    assert json.loads(legacy.mlmake("data", "status", "--json").stdout)["not_in_cache"] == ["d/", "f.txt", "run"]
    legacy.mlmake("data", "fetch", "d/sub")
    assert len(objects(legacy.path / ".dvc/cache")) == 2
    legacy.mlmake("data", "pull")
    assert objects(legacy.path / ".dvc/cache") == cache and tree(legacy) == FILES
    assert "up to date" in legacy.dvc2("status").stdout


def test_s3(legacy, s3_server, bucket):
    legacy.env.update(s3_server.env)
    legacy.dvc2("remote", "add", "-q", "-f", "-d", "s3", f"s3://{bucket}/p")
    legacy.dvc2("remote", "modify", "-q", "s3", "endpointurl", s3_server.endpoint)
    cache = objects(legacy.path / ".dvc/cache")
    legacy.mlmake("data", "push")
    root = s3_server.root / bucket / "p"
    assert {k for k in objects(root)} == set(cache)
    assert json.loads(legacy.mlmake("data", "status", "--not-in-remote", "--json").stdout).get("not_in_remote", []) == []
    assert "in sync" in legacy.dvc("status", "-c").stdout
    shutil.rmtree(legacy.path / ".dvc/cache")
    legacy.mlmake("data", "fetch")
    assert objects(legacy.path / ".dvc/cache") == cache
    legacy.mlmake("data", "verify", "-r", "s3")
    victim = next(p for p in root.rglob("*") if p.is_file() and p.read_bytes() == FILES["bin"])
    victim.write_bytes(FILES["bin"][:-1] + b"!")
    assert "d/bin" in legacy.mlmake("data", "verify", "-r", "s3", check=3).stderr


def test_gc_takes_what_dvc_takes(legacy, tmp_path):
    legacy.write("f.txt", b"later\r\n")
    legacy.dvc2("add", "-q", "f.txt")
    legacy.dvc2("push", "-q")
    legacy.git("commit", "-qam", "later")
    kept = objects(legacy.path / ".dvc/cache")
    assert "nothing to delete" in legacy.mlmake("data", "gc", "--all-commits", "-f").stderr
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(legacy.path, twin.path, symlinks=True, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "store", tmp_path / "twin/store")
    legacy.mlmake("data", "gc", "-w", "-c", "-f")
    twin.dvc("gc", "-q", "-w", "-c", "-f")
    left = objects(legacy.path / ".dvc/cache")
    assert left == objects(twin.path / ".dvc/cache") and len(left) == len(kept) - 1
    assert objects(tmp_path / "store").keys() == objects(tmp_path / "twin/store").keys() == left.keys()
    legacy.mlmake("data", "migrate")
    legacy.git("commit", "-qam", "migrated")
    legacy.mlmake("data", "gc", "-w", "-f")
    assert not [k for k in objects(legacy.path / ".dvc/cache") if not k.startswith("files/")]


def test_gc_refuses_where_a_manifest_is_nowhere(legacy, tmp_path):
    shutil.rmtree(tmp_path / "store")
    next((legacy.path / ".dvc/cache").glob("*/*.dir")).unlink()
    assert "the manifest of d" in legacy.mlmake("data", "gc", "-w", "-f", check=3).stderr


def test_ls_and_get(legacy, tmp_path):
    listed = json.loads(legacy.mlmake("data", "ls", "-R", "--size", "--json", "d").stdout)
    assert {e["path"]: e["size"] for e in listed} == {n: len(c) for n, c in FILES.items()}
    shutil.rmtree(legacy.path / ".dvc/cache")
    legacy.mlmake("data", "get", "d/crlf.txt", "-o", "one")
    assert legacy.read("one") == FILES["crlf.txt"]
    legacy.git("add", "-A")
    other = Sandbox(tmp_path / "other")
    other.git("init", "-q", "-b", "main")
    other.mlmake("data", "get", legacy.path, "d", "-o", "all")
    assert {n: other.read(f"all/{n}") for n in FILES} == FILES


def test_an_import_from_it_is_recorded_as_of_dvc_3(legacy, tmp_path):
    other = Sandbox(tmp_path / "other")
    other.git("init", "-q", "-b", "main")
    other.mlmake("data", "init")
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(other.path, twin.path, dirs_exist_ok=True)
    other.mlmake("data", "import", legacy.path, "d")
    twin.dvc("import", "-q", legacy.path, "d")
    assert {n: other.read(f"d/{n}") for n in FILES} == FILES
    assert other.read("d.dvc") == twin.read("d.dvc")
    assert objects(other.path / ".dvc/cache") == objects(twin.path / ".dvc/cache")


@pytest.fixture
def importing(made, tmp_path):
    """A repository in which dvc 2 imported d and f.txt from another one, without data and cache, as a clone is; and what the cache held."""
    box = Sandbox(tmp_path / "importing")
    box.git("init", "-q", "-b", "main")
    box.dvc2("init", "-q")
    box.dvc2("import", "-q", made.path, "d")
    box.dvc2("import", "-q", made.path, "f.txt")
    assert b"hash: md5" not in box.read("d.dvc") + box.read("f.txt.dvc")
    before = objects(box.path / ".dvc/cache")
    shutil.rmtree(box.path / "d")
    (box.path / "f.txt").unlink()
    shutil.rmtree(box.path / ".dvc/cache")
    return box, before


def test_imports_of_dvc_2_are_fetched_again(importing):
    box, before = importing
    records = {n: box.read(n) for n in ("d.dvc", "f.txt.dvc")}
    box.mlmake("data", "pull")
    assert tree(box) == FILES and box.read("f.txt") == b"top\r\n"
    assert {n: box.read(n) for n in records} == records
    now = objects(box.path / ".dvc/cache")
    assert {name: content for name, content in now.items() if not name.startswith("files/")} == before
    assert "uncommitted" not in json.loads(box.mlmake("data", "status", "--json").stdout)
    shutil.rmtree(box.path / "d")
    box.dvc2("checkout", "-q")
    assert tree(box) == FILES


@pytest.mark.parametrize("name", ["d", "f.txt"])
def test_an_import_of_dvc_2_must_be_what_is_recorded(importing, name):
    box, _ = importing
    lines = box.read(f"{name}.dvc").decode().split("outs:\n- md5: ")
    other = ("0" if lines[1][0] != "0" else "1") + lines[1][1:]
    box.write(f"{name}.dvc", f"{lines[0]}outs:\n- md5: {other}")
    refused = box.mlmake("data", "pull", check=3).stderr
    assert f"what {name} was imported from is not what {name}.dvc records any more" in refused
    assert not (box.path / name).exists() and (box.path / ("d" if name != "d" else "f.txt")).exists()


def test_add_keeps_the_record_of_what_is_unchanged(legacy, tmp_path):
    before = {n: legacy.read(n) for n in ("d.dvc", "f.txt.dvc")}
    legacy.mlmake("data", "add", "d", "f.txt")
    legacy.mlmake("data", "commit")
    assert {n: legacy.read(n) for n in before} == before and not (legacy.path / ".dvc/cache/files").exists()
    assert "migrate" in legacy.mlmake("data", "add", "d/plain", check=2).stderr
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(legacy.path, twin.path, symlinks=True, dirs_exist_ok=True)
    for box in legacy, twin:
        box.write("d/plain", b"changed\r\n")
    legacy.mlmake("data", "add", "d")
    twin.dvc("add", "-q", "d")
    assert legacy.read("d.dvc") == twin.read("d.dvc") and b"hash: md5" in legacy.read("d.dvc")
    assert legacy.read("f.txt.dvc") == before["f.txt.dvc"]
    assert "up to date" in legacy.dvc("status").stdout


def test_between_old_commits_and_migrated_ones(legacy):
    legacy.mlmake("data", "migrate")
    legacy.write("d/plain", b"of dvc 3\r\n")
    legacy.mlmake("data", "add", "d")
    legacy.git("commit", "-qam", "migrated")
    for rev, plain in (("HEAD~1", FILES["plain"]), ("main", b"of dvc 3\r\n"), ("HEAD~1", FILES["plain"])):
        legacy.git("checkout", "-q", rev)
        legacy.mlmake("data", "checkout")
        assert tree(legacy) == {**FILES, "plain": plain}
    # To dvc 2 these line ends are the same data. Nowhere are these bytes kept, and what is to be there differs.
    legacy.write("d/crlf.txt", b"a\nb\n")
    legacy.mlmake("data", "status", "-q")
    legacy.git("checkout", "-q", "main")
    assert "d/crlf.txt" in legacy.mlmake("data", "checkout", check=1).stderr
    assert legacy.read("d/crlf.txt") == b"a\nb\n"
    assert "would be lost" in legacy.mlmake("data", "remove", "--outs", "d", check=1).stderr
