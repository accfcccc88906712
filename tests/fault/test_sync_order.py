"""Nothing is trusted before it is on the disk: where a sync fails, what would point to the data is not there."""
import pytest

from conftest import BUILD


@pytest.fixture
def fault(gitbox):
    binary = BUILD / "mlmake-fault"
    if not binary.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    gitbox.mlmake("data", "init")
    gitbox.write("f", "content\n")
    return lambda what: gitbox.run(binary, "data", "add", "f", check=1, MLMAKE_FAULT=what)


def objects(box):
    return [path for path in (box.path / ".dvc/cache/files/md5").rglob("*") if path.is_file()]


def test_an_object_gets_its_name_after_its_bytes_are_synced(gitbox, fault):
    fault("fdatasync:EIO:1+")
    assert not objects(gitbox) and not (gitbox.path / "f.dvc").exists()


def test_nothing_is_recorded_before_the_directories_of_the_cache_are_synced(gitbox, fault):
    fault("fsync:EIO:1")
    assert objects(gitbox) and not (gitbox.path / ".gitignore").exists() and not (gitbox.path / "f.dvc").exists()


def test_a_dvc_file_gets_its_name_after_its_bytes_are_synced(gitbox, fault):
    """The second fdatasync: the first is the object's."""
    fault("fdatasync:EIO:2")
    assert objects(gitbox) and not (gitbox.path / "f.dvc").exists()
