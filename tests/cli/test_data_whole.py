"""A large directory that is as it was when it was last looked at closely is not looked at closely again; anything else is noticed."""
import json
import os
import shutil
import time

import pytest

from test_data import cached, data  # noqa: F401 (fixtures)

COUNT = 1200


@pytest.fixture
def large(data):
    for i in range(COUNT):
        data.write(f"d/{i % 4}/{i:04}", f"content {i:04}\n")
    data.mlmake("data", "add", "d")
    data.git("add", "-A")
    data.git("commit", "-qm", "large")
    time.sleep(0.05)  # what is younger than the look at it is not believed
    for _ in range(2):
        assert status(data) == {"unchanged": ["d/"]}
    return data


def status(box, *argv):
    found = json.loads(box.mlmake("data", "status", "--json", *(argv or ["--unchanged"])).stdout)
    return {key: value for key, value in found.items() if value}



@pytest.fixture
def recorded(large):
    name = (large.path / "d.dvc").read_text().split("md5: ")[1].split()[0]
    return large.path / ".dvc/cache/files/md5" / name[:2] / name[2:]


def was_opened(box, path):
    return str(path) in box.calls("openat", "data", "status")


def test_what_is_known_is_not_compared_again(large, recorded):
    assert not was_opened(large, recorded), "the manifest was read"
    os.utime(large.path / "d/1/0001")
    assert was_opened(large, recorded)


def replace(path):
    stamp = path.stat()
    path.write_text("CONTENT 0001\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


@pytest.mark.parametrize("change, change_of", [
    (replace, "modified"),
    (lambda path: path.unlink(), "deleted"),
    (lambda path: path.with_name("new").write_text("new\n"), "added"),
    (lambda path: path.rename(path.with_name("other")), "renamed"),
    (lambda path: os.replace(path.with_name("0005"), path), "modified"),
], ids=["same size and mtime", "deleted", "added", "renamed", "another's inode"])
def test_changes_are_noticed(large, change, change_of):
    change(large.path / "d/1/0001")
    found = status(large, "--granular")
    assert found["uncommitted"][change_of] and found["uncommitted"]["modified"][0] == "d/"
    if change is replace:
        assert found["uncommitted"] == {"modified": ["d/", "d/1/0001"]}


def test_permissions_alone_change_nothing(large):
    (large.path / "d/1/0001").chmod(0o755)
    assert status(large) == {"unchanged": ["d/"]}


def test_a_new_rule_of_dvcignore_is_noticed(large):
    large.write(".dvcignore", "0001\n")
    assert status(large, "--granular")["uncommitted"]["deleted"] == ["d/1/0001"]


def told(box, words):
    """Whether status says so of an odd member each time: no look at it may learn the directory, and be the last close one."""
    record = box.read("d.dvc").decode()
    box.write("d.dvc", "".join(line for line in record.splitlines(True) if "nfiles" not in line))  # whose count would tell, too
    time.sleep(0.05)  # as in large: else nothing would be learnt in any case
    return all(words in box.mlmake("data", "status").stderr for _ in range(3))


def test_a_fifo_is_told_each_time(large):
    os.mkfifo(large.path / "d/pipe")
    assert told(large, "d/pipe is a FIFO")


def test_an_ignore_file_is_told_each_time(large):
    large.write("d/.dvcignore", "")
    assert told(large, "d/.dvcignore is inside of a tracked directory")


def test_a_dvc_file_is_told_each_time(large):
    large.write("d/x.dvc", "outs:\n- path: x\n")
    assert told(large, "d/x.dvc is a .dvc file inside of a tracked directory")


def test_a_name_that_is_not_utf8_is_told_each_time(large):
    with open(os.path.join(os.fsencode(large.path), b"d/\xff"), "w"):
        pass
    assert told(large, "d/\\xff has a name that is not UTF-8")


@pytest.mark.parametrize("target, words", [("nowhere", "is a broken symbolic link"), ("1", "is a symbolic link to a directory")])
def test_links_that_are_no_files_are_told_each_time(large, target, words):
    (large.path / "d/link").symlink_to(target)
    assert told(large, f"d/link {words}")


def test_a_lost_object_is_noticed(large):
    cached(large, "content 0001\n").unlink()
    assert status(large, "--granular")["not_in_cache"] == ["d/1/0001"]


def test_a_lost_manifest_is_noticed(large, recorded):
    recorded.unlink()
    assert status(large)["not_in_cache"] == ["d/"]


def test_a_damaged_manifest_is_noticed(large, recorded):
    stamp = recorded.stat()
    text = recorded.read_bytes()
    recorded.chmod(0o644)
    recorded.write_bytes(text.replace(b"0001", b"ooo1"))
    recorded.chmod(0o444)
    os.utime(recorded, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert status(large)["not_in_cache"] == ["d/"]


def test_another_record_of_the_same_data_is_noticed(large):
    text = (large.path / "d.dvc").read_text()
    (large.path / "d.dvc").write_text(text.replace(f"nfiles: {COUNT}", f"nfiles: {COUNT + 1}"))
    assert status(large)["not_in_cache"] == ["d/"]
    (large.path / "d.dvc").write_text(text)
    (large.path / "d/1/0001").unlink()
    large.mlmake("data", "add", "d")
    (large.path / "d.dvc").write_text(text)
    assert status(large)["uncommitted"] == {"modified": ["d/"]}


def test_members_are_named_where_they_are_asked_for(large):
    assert len(status(large, "--granular", "--unchanged")["unchanged"]) == COUNT + 1


@pytest.fixture
def added(large):
    """The third add of the same finds nothing to look at closely."""
    for _ in range(2):
        large.mlmake("data", "add", "d")
    return large


def looked_at(box):
    """How often add looks at objects of the cache."""
    calls = box.calls("newfstatat", "data", "add", "d")
    return sum(len(line.split('"')) > 1 and len(line.split('"')[1]) == 30 for line in calls.splitlines())


def test_add_looks_at_objects_once(added):
    assert looked_at(added) < COUNT / 10
    cached(added, "content 0001\n").unlink()
    assert looked_at(added) >= COUNT
    assert cached(added, "content 0001\n").exists()


def test_add_brings_again_what_went(added):
    cached(added, "content 0001\n").unlink()
    added.mlmake("data", "add", "d")
    added.mlmake("data", "verify")
    for _ in range(3):
        added.mlmake("data", "add", "d")
    shutil.rmtree(added.path / ".dvc/cache/files")
    added.mlmake("data", "add", "d")
    added.mlmake("data", "verify")
    assert status(added) == {"unchanged": ["d/"]}


def test_add_records_what_changed(added):
    record = added.read("d.dvc")
    replace(added.path / "d/1/0001")
    added.mlmake("data", "add", "d")
    assert added.read("d.dvc") != record and cached(added, "CONTENT 0001\n").exists()
    added.write("d/1/0001", "content 0001\n")
    added.mlmake("data", "add", "d")
    assert added.read("d.dvc") == record
    (added.path / "d.dvc").unlink()
    added.mlmake("data", "add", "d")
    assert added.read("d.dvc") == record, "what is known is known of the data, not of the record"
    added.write("d/new", "new\n")
    added.mlmake("data", "add", "d/new")
    assert f"nfiles: {COUNT + 1}" in added.read("d.dvc").decode()
    assert "uncommitted" not in status(added)
