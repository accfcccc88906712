"""How files of the work tree come from the cache: link types in order, between file systems, and caches that several users share."""
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile

import pytest

from conftest import BUILD, Sandbox, clean_env

ELSEWHERE = [pathlib.Path("/dev/shm"), pathlib.Path("/var/tmp"), BUILD]
FILES = {f"d/{i}": f"content {i}\n" for i in range(5)}


@pytest.fixture
def far(tmp_path):
    """A directory on another file system than tmp_path."""
    here = tmp_path.stat().st_dev
    other = next((place for place in ELSEWHERE if os.access(place, os.W_OK) and place.stat().st_dev != here), None)
    if other is None:
        pytest.skip("there is no second file system in " + ", ".join(str(place) for place in ELSEWHERE))
    path = pathlib.Path(tempfile.mkdtemp(dir=other, prefix="mlmake-test-"))
    yield path
    shutil.rmtree(path)


def kind(path):
    info = path.lstat()
    return "symlink" if stat.S_ISLNK(info.st_mode) else "hardlink" if info.st_nlink > 1 else "copy"


def kinds(box):
    return {kind(box.path / name) for name in FILES}


def prepare(box, types, cache=None):
    box.git("init", "-q", "-b", "main")
    box.mlmake("data", "init")
    box.mlmake("data", "config", "cache.type", types)
    if cache:
        box.mlmake("data", "config", "cache.dir", cache)
    for name, content in FILES.items():
        box.write(name, content)
    box.mlmake("data", "add", "d")


@pytest.mark.parametrize("types,near,expected", [
    ("hardlink,symlink", True, "hardlink"), ("hardlink,symlink", False, "symlink"), ("hardlink,copy", False, "copy"), ("hardlink", False, "copy"),
    ("symlink,copy", False, "symlink"), ("reflink,copy", False, "copy"), ("reflink,symlink", False, "symlink"), ("reflink,hardlink", False, "copy"),
])
def test_what_the_file_system_refuses_gives_way_to_the_next(box, far, types, near, expected):
    """Neither ext4 nor /dev/shm has reflinks, and no hard link leads from one file system to another."""
    prepare(box, types, None if near else far)
    assert kinds(box) == {expected}
    shutil.rmtree(box.path / "d")
    box.mlmake("data", "checkout")
    assert kinds(box) == {expected}
    assert all(box.read(name).decode() == content for name, content in FILES.items())
    box.mlmake("data", "status", "-q")
    box.mlmake("data", "move", "d", "e")
    assert {kind(path) for path in (box.path / "e").iterdir()} == {expected}
    box.mlmake("data", "unprotect", "e")
    assert {kind(path) for path in (box.path / "e").iterdir()} == {"copy"}
    box.write("e/0", "changed\n")
    box.mlmake("data", "commit")
    assert {kind(path) for path in (box.path / "e").iterdir()} == {expected}
    box.mlmake("data", "get", "e", "-o", "got")
    assert {kind(path) for path in (box.path / "got").iterdir()} == {"copy"}


@pytest.mark.parametrize("mode", [0o644, 0o444])
def test_a_damaged_object_is_not_called_missing(box, mode):
    prepare(box, "copy")
    box.mlmake("data", "remote", "add", "-d", "store", "../store")
    box.mlmake("data", "push")
    victim = next(p for p in (box.path / ".dvc/cache/files").rglob("*") if p.is_file() and p.read_text() == FILES["d/3"])
    victim.chmod(0o644)
    victim.write_text("c0ntent 3\n")
    victim.chmod(mode)
    shutil.rmtree(box.path / "d")
    err = box.mlmake("data", "checkout", check=3).stderr
    assert "damaged" in err and "d/3" in err and "missing" not in err and "not in the cache" not in err
    box.mlmake("data", "pull")
    assert box.read("d/3").decode() == FILES["d/3"] and victim.read_text() == FILES["d/3"]


class User(Sandbox):
    """A member of a group, with a home, a repository and a copy of mlmake of its own."""

    def __init__(self, area, uid, cache):
        self.area, self.uid = area / str(uid), uid
        self.area.mkdir()
        os.chown(self.area, uid, 4711)
        self.path, self.home, self.binary = self.area / "project", self.area / "home", str(area / "mlmake")
        self.env = clean_env(self.home)
        for path in self.path, self.home:
            path.mkdir()
            os.chown(path, uid, 4711)
        self.git("init", "-q", "-b", "main")
        self.mlmake("data", "init")
        self.mlmake("data", "config", "cache.dir", cache)
        self.mlmake("data", "config", "cache.shared", "group")

    def run(self, *argv, check=None, cwd=None, timeout=300, **env):
        result = subprocess.run([str(a) for a in argv], cwd=cwd or self.path, env={**self.env, **env}, stdin=subprocess.DEVNULL, text=True,
                                capture_output=True, timeout=timeout, user=self.uid, group=4711, extra_groups=[], umask=0o022, check=False)
        assert check is None or result.returncode == check, result
        return result

    def write(self, name, content, mode=None):
        path = super().write(name, content, mode)
        for part in [path, *path.parents]:
            if part == self.path:
                break
            os.chown(part, self.uid, 4711)
        return path


@pytest.fixture
def users():
    """Two users of one group, and the cache that they share."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two other users")
    area = pathlib.Path(tempfile.mkdtemp(prefix="mlmake-users-"))
    area.chmod(0o755)
    shutil.copy(os.environ.get("MLMAKE", str(BUILD / "mlmake")), area / "mlmake")
    cache = area / "shared"
    cache.mkdir()
    os.chown(cache, 4801, 4711)
    cache.chmod(0o2775)
    yield User(area, 4801, cache / "cache"), User(area, 4802, cache / "cache"), cache / "cache"
    shutil.rmtree(area)


def test_a_group_shares_a_cache(users):
    one, two, cache = users
    for user in one, two:
        for i in range(40):
            user.write(f"d/{i}", f"of {user.uid}, file {i}\n")
        user.mlmake("data", "add", "d")
    for path in [cache, *cache.rglob("*")]:
        if ".mlmake-tmp" not in path.parts:
            assert oct(stat.S_IMODE(path.stat().st_mode)) == ("0o2775" if path.is_dir() else "0o444"), path
    assert {p.stat().st_uid for p in (cache / "files").rglob("*") if p.is_file()} == {4801, 4802}
    # What is another's cannot be linked where the kernel forbids it (fs.protected_hardlinks): it is copied, or linked in another way.
    two.mlmake("data", "config", "cache.type", "hardlink,copy")
    two.write("d.dvc", one.read("d.dvc"))
    two.mlmake("data", "checkout")
    assert two.read("d/7") == one.read("d/7")
    two.mlmake("data", "verify")


def test_objects_of_another_user(users):
    one, two, cache = users
    one.write("a", "of one\n")
    one.mlmake("data", "add", "a")
    two.write("a.dvc", one.read("a.dvc"))
    victim = next(p for p in (cache / "files").rglob("*") if p.is_file())
    victim.chmod(0o664)  # right, but not protected, and not two's to protect
    two.mlmake("data", "checkout")
    assert two.read("a") == b"of one\n"
    (two.path / "a").unlink()
    victim.chmod(0o400)
    failed = two.mlmake("data", "checkout", check=1)
    assert str(victim) in failed.stderr and "Permission denied" in failed.stderr and "hint" in failed.stderr
    verify = two.mlmake("data", "verify", check=None)
    assert verify.returncode != 0 and "Permission denied" in verify.stderr and "damaged" not in verify.stderr
