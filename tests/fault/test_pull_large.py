"""data pull of large files, whose second copies are made while they are hashed: the file is right, and whatever goes wrong on the way costs a
copy, never a file, and leaves nothing behind."""
import hashlib
import os
import shutil
import signal
import subprocess

import pytest

from conftest import BUILD, PATIENCE, wait_for
from test_data_faults import check_objects, small_disk

pytestmark = pytest.mark.slow

SIZE = (64 << 20) + 12_345  # from 64 MiB on copies are made ahead
COPIES_FAIL = {"MLMAKE_FAULT": "ficlone:EIO:1+"}  # those that a checkout makes: the one ahead goes on without


@pytest.fixture(scope="module")
def content():
    return os.urandom(SIZE)


@pytest.fixture
def repo(gitbox, s3_server, bucket, content):
    """One large file on the remote, and not here."""
    gitbox.env.update(s3_server.env)
    gitbox.mlmake("data", "init")
    gitbox.mlmake("data", "remote", "add", "-d", "store", f"s3://{bucket}/p")
    gitbox.mlmake("data", "remote", "modify", "store", "endpointurl", s3_server.endpoint)
    gitbox.write("big", content)
    gitbox.write("small", b"small")
    gitbox.mlmake("data", "add", "big", "small")
    gitbox.mlmake("data", "push")
    gitbox.objects = s3_server.root / bucket / "p/files/md5"
    gitbox.faulty = BUILD / "mlmake-fault"
    forget(gitbox)
    return gitbox


def forget(repo):
    for name in ("big", "small"):
        (repo.path / name).unlink(missing_ok=True)
    for name in ("cache", "tmp"):
        shutil.rmtree(repo.path / ".dvc" / name, ignore_errors=True)


def left_behind(repo):
    staging = list((repo.path / ".dvc/tmp").glob("staging*"))
    temporary = repo.path / ".dvc/cache/.mlmake-tmp"
    return staging + [p for p in temporary.rglob("*") if p.is_file() or p.parent == temporary and p.name != "partial"]


def assert_pulled(repo, content):
    big, small = repo.path / "big", repo.path / "small"
    assert big.read_bytes() == content and big.stat().st_mode == small.stat().st_mode and big.stat().st_nlink == 1
    check_objects(repo.path / ".dvc/cache")
    assert not left_behind(repo)
    assert not repo.mlmake("data", "status", "--exit-code").stderr


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_copy_ahead_is_the_file(repo, content, umask):
    before = os.umask(umask)
    try:
        repo.run(repo.faulty, "data", "pull", "big", check=0, **COPIES_FAIL)
        repo.mlmake("data", "pull")
    finally:
        os.umask(before)
    assert_pulled(repo, content)


def test_one_object_twice_and_executable(repo, content):
    """Who comes first has the copy ahead, the other one a usual copy."""
    (repo.path / "run.dvc").write_text((repo.path / "big.dvc").read_text().replace("path: big", "path: run\n  isexec: true"))
    repo.mlmake("data", "pull")
    assert (repo.path / "run").read_bytes() == content and (repo.path / "run").stat().st_mode & 0o777 == 0o744
    assert_pulled(repo, content)


def test_members_of_a_directory(repo, content):
    repo.write("d/sub/big", content)
    repo.mlmake("data", "add", "d")
    repo.mlmake("data", "push")
    shutil.rmtree(repo.path / "d")
    shutil.rmtree(repo.path / ".dvc/cache")
    repo.run(repo.faulty, "data", "pull", "d", check=0, **COPIES_FAIL)
    assert repo.read("d/sub/big") == content and not left_behind(repo)
    assert not repo.mlmake("data", "status", "--exit-code", check=1).stderr, "of the others nothing is here"


@pytest.mark.parametrize("how", ["fetch", "links"])
def test_none_where_none_is_wanted(repo, content, how):
    if how == "links":
        repo.mlmake("data", "config", "cache.type", "hardlink")
    repo.run(repo.faulty, "data", "fetch" if how == "fetch" else "pull", check=0, MLMAKE_FAULT="copy_file_range:KILL:1+")
    assert not left_behind(repo)
    assert (repo.path / "big").exists() == (how == "links")


def test_none_of_a_file_that_is_there(repo, content):
    repo.write("big", content)
    repo.run(repo.faulty, "data", "pull", "big", check=0, MLMAKE_FAULT="copy_file_range:KILL:1+")
    assert repo.read("big") == content and not left_behind(repo)


def test_wrong_bytes_on_the_remote(repo, content):
    digest = hashlib.md5(content).hexdigest()
    path = repo.objects / digest[:2] / digest[2:]
    with open(path, "r+b") as stored:
        stored.seek(SIZE - 100)
        stored.write(b"other bytes")
    said = repo.mlmake("data", "pull", check=3).stderr
    assert "big" in said and not (repo.path / "big").exists() and not left_behind(repo)
    assert not (repo.path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]).exists()


@pytest.mark.parametrize("call", ["copy_file_range:KILL:1", "copy_file_range:KILL:200"])
def test_killed_while_copying(repo, content, call):
    assert repo.run(repo.faulty, "data", "pull", MLMAKE_FAULT=call).returncode == -9
    assert not (repo.path / "big").exists() and left_behind(repo)
    repo.mlmake("data", "pull")
    assert_pulled(repo, content)


def test_interrupted_while_copying(repo, content):
    """Ctrl-C ends it at once; the next pull goes on from what was downloaded, and removes what was copied."""
    process = repo.popen(repo.binary, "data", "pull", "--limit-rate", "30M", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(p.is_file() for p in (repo.path / ".dvc/tmp").rglob("*ahead*")))
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == -signal.SIGINT and not (repo.path / "big").exists()
    repo.mlmake("data", "pull")
    assert_pulled(repo, content)


@pytest.mark.parametrize("fault", ["copy_file_range:EOPNOTSUPP:1+", "copy_file_range:EIO:3", "openat:EACCES:1"])
def test_copies_otherwise(repo, content, fault):
    repo.run(repo.faulty, "data", "pull", MLMAKE_FAULT=fault, check=None)
    repo.mlmake("data", "pull")
    assert_pulled(repo, content)


@pytest.mark.parametrize("pace", [[], ["--limit-rate", "40M"]])
def test_no_room_for_the_copy(repo, content, pace):
    """The object gets what room there is, and stays for the next pull, as where it is copied afterwards."""
    small = repo.path.parent / "small"
    with small_disk(small, f"{SIZE + SIZE // 2}"):
        clone = small / "clone"
        shutil.copytree(repo.path, clone)
        refused = repo.mlmake("data", "pull", "big", *pace, cwd=clone, check=None)
        assert refused.returncode not in (0, 70) and "No space left" in refused.stderr
        assert not (clone / "big").exists()
        assert len([p for p in (clone / ".dvc/cache/files").rglob("*") if p.is_file()]) == 1
        assert not list((clone / ".dvc/tmp").glob("staging*"))
        repo.run("mount", "-o", f"remount,size={SIZE * 3}", small, check=0)
        repo.mlmake("data", "pull", cwd=clone)
        assert (clone / "big").read_bytes() == content


def test_the_object_comes_before_the_copy(repo, content, tmp_path):
    """Where a write finds the disk full the copy goes, and the write is done again."""
    log = tmp_path / "log"
    repo.run(repo.faulty, "data", "pull", check=0, MLMAKE_FAULT="pwrite:EIO:1000000", MLMAKE_FAULT_LOG=log)
    middle = int(log.read_text().split()[-1]) // 2
    for at in (middle, middle + 1):  # one of them at least is no note of what is there
        forget(repo)
        repo.run(repo.faulty, "data", "pull", check=0, MLMAKE_FAULT=f"pwrite:ENOSPC:{at}")
        assert_pulled(repo, content)


def test_no_room_at_all(repo):
    """Which is known before the first part is fetched."""
    small = repo.path.parent / "small"
    with small_disk(small, f"{SIZE // 2}"):
        clone = small / "clone"
        shutil.copytree(repo.path, clone)
        refused = repo.mlmake("data", "pull", "big", "--limit-rate", "10M", cwd=clone, check=None, timeout=4)
        assert refused.returncode not in (0, 70) and "no room" in refused.stderr and "No space left" in refused.stderr
        assert not [p for p in (clone / ".dvc/cache").rglob("*") if p.is_file()]


def test_a_file_put_there_meanwhile(repo, content):
    """What the user writes while a pull is on its way is not overwritten."""
    pulling = repo.popen(repo.binary, "data", "pull", "big", "--limit-rate", "40M")
    wait_for(lambda: list((repo.path / ".dvc/tmp").glob("staging-*/*/ahead")))
    repo.write("big", b"mine")
    assert pulling.wait(60) == 1
    assert repo.read("big") == b"mine" and not left_behind(repo)
    repo.mlmake("data", "pull", "-f")
    assert_pulled(repo, content)


def test_a_link_put_there_meanwhile(repo, content, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (repo.path / "sub").mkdir()
    for name in ("big", "big.dvc"):
        if (repo.path / name).exists():
            (repo.path / name).rename(repo.path / "sub" / name)
    pulling = repo.popen(repo.binary, "data", "pull", "sub", "--limit-rate", "40M")
    wait_for(lambda: list((repo.path / ".dvc/tmp").glob("staging-*/*/ahead")))
    (repo.path / "sub").rename(repo.path / "moved")
    (repo.path / "sub").symlink_to(outside)
    assert pulling.wait(60) not in (0, 70, -9)
    assert not list(outside.iterdir()) and not left_behind(repo)
