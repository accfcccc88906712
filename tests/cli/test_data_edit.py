"""mlmake data remove, move, unprotect: beside the real dvc, and what is never lost."""
import shutil

import pytest

from test_data import cached, data, md5, stored  # noqa: F401 (fixtures)


def records(box):
    return {str(p.relative_to(box.path)): p.read_bytes() for p in sorted(box.path.rglob("*"))
            if p.is_file() and (p.suffix == ".dvc" or p.name == ".gitignore") and not {".dvc", ".mlmake"} & set(p.parts[len(box.path.parts):-1])}


def test_remove_keeps_the_data(stored):
    stored.mlmake("data", "remove", "d", "f.dvc")
    assert stored.read("d/s/c") == b"content of d/s/c\n" and stored.read("f") == b"content of f\n"
    assert records(stored) == {}
    assert "not tracked" in stored.mlmake("data", "remove", "f", check=2).stderr


def test_remove_leaves_copies_of_its_own(stored):
    stored.write(".dvc/config", "[cache]\n    type = symlink\n")
    stored.mlmake("data", "checkout", "--relink")
    assert (stored.path / "f").is_symlink()
    stored.mlmake("data", "remove", "f", "d")
    assert not (stored.path / "f").is_symlink() and not (stored.path / "d/a").is_symlink()
    shutil.rmtree(stored.path / ".dvc/cache")
    assert stored.read("f") == b"content of f\n" and stored.read("d/a") == b"content of d/a\n"


def test_remove_with_data_loses_nothing_unasked(stored):
    stored.write("d/new", "in no cache")
    refused = stored.mlmake("data", "remove", "--outs", "f", "d", check=1).stderr
    assert "d/new is in no cache and would be lost" in refused
    assert (stored.path / "f.dvc").exists() and (stored.path / "f").exists(), "nothing happened to the others"
    stored.mlmake("data", "remove", "--outs", "f")
    assert not (stored.path / "f").exists() and not (stored.path / "f.dvc").exists()
    stored.mlmake("data", "remove", "--outs", "-f", "d")
    assert not (stored.path / "d").exists() and cached(stored, "content of d/a\n").exists()


def test_remove_without_data_here(stored):
    (stored.path / "f").unlink()
    shutil.rmtree(stored.path / "d")
    stored.mlmake("data", "remove", "f")
    stored.mlmake("data", "remove", "--outs", "d")
    assert records(stored) == {}


def test_remove_refusals(stored):
    assert "is a part of d" in stored.mlmake("data", "remove", "d/a", check=2).stderr
    stored.mlmake("data", "remove", check=2)
    stored.write(".gitignore", "/other\n/d\n/f\n")
    stored.mlmake("data", "remove", "f")
    assert stored.read(".gitignore") == b"/other\n/d\n"


def test_move(stored):
    stored.write("f.dvc", "# a comment\n" + stored.read("f.dvc").decode())
    (stored.path / "sub").mkdir()
    stored.mlmake("data", "move", "f", "sub")
    assert stored.read("sub/f") == b"content of f\n" and not (stored.path / "f").exists()
    assert stored.read("sub/f.dvc").startswith(b"# a comment\nouts:") and not (stored.path / "f.dvc").exists()
    stored.mlmake("data", "move", "d", "deep/er/e")
    assert b"path: e\n" in stored.read("deep/er/e.dvc") and stored.read("deep/er/.gitignore") == b"/e\n"
    assert not (stored.path / ".gitignore").exists()
    stored.mlmake("data", "status", "--exit-code")
    (stored.path / "sub/f").unlink()
    stored.mlmake("data", "move", "f.dvc", "../g", cwd=stored.path / "sub")
    assert (stored.path / "g.dvc").exists()
    stored.mlmake("data", "checkout", "g")
    assert stored.read("g") == b"content of f\n"


@pytest.mark.parametrize("source, target, words", [
    ("f", "d", "d/f is inside of d"), ("f", "d/x", "inside of d"), ("d", "d/e", "inside of itself"), ("d/a", "x", "a part of d"),
    ("f", "taken", "exists already"), ("f", "half", "half.dvc exists already"), ("nope", "x", "not tracked"), ("f", "../x", "outside"),
    ("f", ".dvc/x", "no place for data"), (".", "x", "several outputs"), ("f", "link/x", "symbolic link"),
])
def test_move_refusals(stored, source, target, words):
    stored.write("taken", "x")
    stored.write("half.dvc", "outs:\n- path: half\n")
    (stored.path / "link").symlink_to("/tmp")
    before = records(stored)
    refused = stored.mlmake("data", "move", source, target, check=None)
    assert refused.returncode in (1, 2, 3) and words in refused.stderr
    assert records(stored) == before and stored.read("f") == b"content of f\n" and stored.read("d/a") == b"content of d/a\n"


@pytest.mark.parametrize("kind", ["hardlink", "symlink"])
def test_unprotect(stored, kind):
    stored.write(".dvc/config", f"[cache]\n    type = {kind}\n")
    stored.mlmake("data", "checkout", "--relink")
    (stored.path / "own").write_text("mine")
    assert (stored.path / "f").stat().st_ino == cached(stored, "content of f\n").stat().st_ino
    stored.mlmake("data", "unprotect", "f", "d/s")
    for name, copied in (("f", True), ("d/s/c", True), ("d/a", False)):
        path = stored.path / name
        assert (path.stat().st_ino != cached(stored, f"content of {name}\n").stat().st_ino) == copied, name
        assert path.is_symlink() == (kind == "symlink" and not copied)
    assert (stored.path / "f").stat().st_mode & 0o777 == 0o644
    stored.write("f", "written to")
    stored.mlmake("data", "verify")
    assert "no links were there: nothing to copy" in stored.mlmake("data", "unprotect", "f").stderr


@pytest.mark.slow
def test_dvc_does_the_same(stored, tmp_path):
    from conftest import Sandbox
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(stored.path, twin.path, dirs_exist_ok=True, symlinks=True)
    for box, run in ((stored, lambda *a: stored.mlmake("data", *a)), (twin, lambda *a: twin.dvc(*a, "-q"))):
        (box.path / "m").mkdir()
        run("move", "f", "m")
        run("move", "d", "e")
        run("move", "m/f", "g")
        run("remove", "e.dvc")
    assert records(stored) == records(twin)
    assert stored.git("status", "--porcelain").stdout == twin.git("status", "--porcelain").stdout


def test_unprotect_names_links_whose_object_is_gone(stored):
    stored.write(".dvc/config", "[cache]\n    type = symlink\n")
    stored.mlmake("data", "checkout", "--relink")
    cached(stored, "content of d/a\n").unlink()
    refused = stored.mlmake("data", "unprotect", "d", check=3).stderr
    assert "d/a is a broken symbolic link" in refused and "mlmake data pull d/a" in refused
    assert not (stored.path / "d/s/c").is_symlink(), "the others are copies all the same"


def looked_at(box, *argv):
    """What a command opens or stats."""
    return box.calls("openat,%stat", "data", *argv)


@pytest.mark.slow
def test_a_part_costs_what_the_part_costs(stored):
    for i in range(300):
        stored.write(f"d/many/{i}", f"{i}\n")
    stored.mlmake("data", "add", "d")
    stored.mlmake("data", "push")
    shutil.rmtree(stored.path / "d/s")
    shutil.rmtree(stored.path / ".dvc/cache")
    (stored.path / "d/a").unlink()
    fetched = looked_at(stored, "fetch", "d/s")
    assert cached(stored, "content of d/s/c\n").exists() and not cached(stored, "7\n").exists()
    assert fetched.count("/cache/files/md5/") < 60, "members that are not wanted are not looked for"
    out = looked_at(stored, "checkout", "d/s")
    assert (stored.path / "d/s/c").read_text() == "content of d/s/c\n" and not (stored.path / "d/a").exists()
    assert "d/many" not in out, "the rest of the directory is not looked at"
    stored.write("d/s/c", "changed\n")
    stored.write("d/s/new", "new\n")
    assert "d/many" not in looked_at(stored, "add", "d/s")
    listed = stored.mlmake("data", "ls", "-R", "d").stdout.split()
    assert len(listed) == 304 and {"a", "b", "s/c", "s/new", "many/0"} <= set(listed)
    # What is not recorded below the part is kept, what is beside it not even seen.
    stored.write("d/s/own", "mine\n")
    stored.write("d/beside", "mine\n")
    (stored.path / "d/s/c").unlink()
    refused = stored.mlmake("data", "checkout", "d/s", check=1).stderr
    assert "d/s/own" in refused and "beside" not in refused
    (stored.path / "d/s/own").unlink()
    stored.mlmake("data", "checkout", "d/s/c")
    assert (stored.path / "d/s/c").read_text() == "changed\n"
    # A link in the way leads nowhere.
    shutil.rmtree(stored.path / "d/s")
    (stored.path / "d/s").symlink_to(stored.path)
    assert stored.mlmake("data", "checkout", "d/s/c", check=None).returncode != 0
    assert not (stored.path / "c").exists()


def test_a_part_that_cannot_be_recorded_brings_nothing_into_the_cache(gitbox):
    gitbox.mlmake("data", "init")
    gitbox.write("d/a", "one")
    gitbox.mlmake("data", "add", "d")
    cache = gitbox.path / ".dvc/cache/files"
    next(cache.rglob("*.dir")).unlink()
    before = sorted(cache.rglob("*"))
    gitbox.write("d/b", "two")
    failed = gitbox.mlmake("data", "add", "d/b", check=3)
    assert "the manifest of d" in failed.stderr and "data fetch d" in failed.stderr
    assert sorted(cache.rglob("*")) == before
