"""import, import-url, update, get and ls with system calls that fail and the process killed at a call: what was there is there, what is recorded is
true, the exit code says so, and the next attempt goes through."""
import shutil

import pytest

from conftest import BUILD, Sandbox
from test_data_faults import check_objects, tree

pytestmark = pytest.mark.slow

PROGRAM = BUILD / "mlmake-fault"
NTH = (1, 2, 3, 5, 8, 13, 21, 34)
FAULTS = ["any:KILL", "write:ENOSPC", "openat:EACCES", "read:EIO", "renameat:EACCES", "copy_file_range:ENOSPC", "fdatasync:EIO", "fstat:EIO",
          "readdir:EIO", "unlinkat:EACCES"]


@pytest.fixture
def world(tmp_path):
    """A source with two revisions, and a repository that has imported the first of them and has data of its own."""
    if not PROGRAM.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    source = Sandbox(tmp_path / "source")
    source.git("init", "-q", "-b", "main")
    source.mlmake("data", "init")
    for name in ("d/a", "d/s/b", "f"):
        source.write(name, name * 3000)
    source.mlmake("data", "add", "d", "f")
    source.git("add", "-A")
    source.git("commit", "-qm", "one")
    (tmp_path / "plain/s").mkdir(parents=True)
    (tmp_path / "plain/x").write_text("x" * 5000)
    (tmp_path / "plain/s/y").write_text("y" * 5000)
    base = Sandbox(tmp_path / "base")
    base.git("init", "-q", "-b", "main")
    base.mlmake("data", "init")
    base.write("mine", "precious")
    base.mlmake("data", "import", source.path, "d", "-o", "old")
    base.mlmake("data", "import-url", tmp_path / "plain", "url")
    source.write("d/a", "second" * 1000)
    source.write("d/new", "new")
    source.mlmake("data", "add", "d")
    source.git("commit", "-qam", "two")
    (tmp_path / "plain/x").write_text("second" * 1000)
    base.source, base.plain, base.base = source, tmp_path / "plain", base.path
    base.path = base.path.parent / "work"
    return base


OPERATIONS = {
    "import": (lambda w: ["import", w.source.path, "d", "-o", "new"], "new", lambda w: tree(w.source.path / "d")),
    "import over data": (lambda w: ["import", "-f", w.source.path, "f", "-o", "mine"], "mine", lambda w: (w.source.path / "f").read_bytes()),
    "import-url": (lambda w: ["import-url", w.plain, "new"], "new", lambda w: tree(w.plain)),
    "update": (lambda w: ["update", "old"], "old", lambda w: tree(w.source.path / "d")),
    "update of a url": (lambda w: ["update", "url"], "url", lambda w: tree(w.plain)),
    "get": (lambda w: ["get", w.source.path, "d", "-o", "new"], "new", lambda w: tree(w.source.path / "d")),
    "ls": (lambda w: ["ls", "-R", w.source.path, "d"], None, lambda w: None),
}


def content(path):
    return tree(path) if path.is_dir() else path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_faults(world, name, fault):
    argv, out, expected = OPERATIONS[name]
    words = [str(word) for word in argv(world)]
    struck = 0
    for nth in NTH:
        shutil.rmtree(world.path, ignore_errors=True)
        shutil.copytree(world.base, world.path, symlinks=True)
        before = tree(world.path / "old"), tree(world.path / "url"), (world.path / "mine").read_bytes()
        old = content(world.path / out) if out else None
        record = world.path / f"{out}.dvc"
        said = record.read_bytes() if record.exists() else None
        shared = tree(world.source.path)
        result = world.run(PROGRAM, "data", *words, MLMAKE_FAULT=f"{fault}:{nth}", timeout=60)
        killed = result.returncode == -9
        assert killed == (fault == "any:KILL") or result.returncode == 0, (nth, result)
        assert result.returncode in (-9, 0, 1, 2, 3, 4), (nth, result)
        struck += result.returncode != 0
        if result.returncode > 0:
            assert "error: " in result.stderr and "/" in result.stderr or ".dvc" in result.stderr, (nth, result.stderr)
        # Nothing that was there is lost or changed, but for what was to be replaced: that is the old or the new.
        check_objects(world.path / ".dvc/cache")
        now = tree(world.path / "old"), tree(world.path / "url"), (world.path / "mine").read_bytes()
        wanted = expected(world)
        for had, has, which in zip(before, now, ("old", "url", "mine")):
            if which != out:
                assert has == had, (nth, which)
        if out and not isinstance(wanted, dict):
            assert content(world.path / out) in (old, wanted), nth
        elif out and content(world.path / out) not in (old, wanted, None):
            # Members are replaced one by one; each of them is the old one or the new one.
            for member, text in content(world.path / out).items():
                assert text in ((old or {}).get(member), wanted.get(member)), (nth, member)
        if record.exists() and said is not None:
            assert record.read_bytes() == said or record.read_bytes().endswith(f"path: {out}\n".encode()), nth
        assert tree(world.source.path) == shared, "the source was written to"
        if result.returncode == 0 and out:
            assert content(world.path / out) == wanted, (nth, "it said that all is well")
        # And the next attempt goes through.
        again = words + (["--force"] if name in ("import", "import-url", "get") else [])
        if out == "new" and (world.path / out).is_dir():
            shutil.rmtree(world.path / out)  # it would go into the directory
        world.run(world.binary, "data", *again, check=0, timeout=60)
        assert out is None or content(world.path / out) == wanted, nth
        if result.returncode == 0 and not killed and nth > 3:
            break
    if fault in ("any:KILL", "openat:EACCES") and name != "ls":
        assert struck, "no fault was met"
