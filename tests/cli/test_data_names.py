"""What is typed: parts of directories that are none."""
import os
import shutil

import pytest

from test_data import cached, data, stored, wipe_cache  # noqa: F401 (fixtures)

COMMANDS = ["status", "commit", "checkout", "unprotect", "fetch", "pull", "push", "verify", "get", "migrate"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_part_that_a_directory_does_not_have(stored, command):
    """A name typed wrongly is not all well."""
    result = stored.mlmake("data", command, "d/nope", check=2)
    assert "d has no member nope" in result.stderr and "mlmake data ls -R d" in result.stderr
    assert not (stored.path / "d/nope").exists()


@pytest.mark.parametrize("command", ["checkout", "pull"])
def test_nothing_is_made_for_such_a_part(stored, command):
    shutil.rmtree(stored.path / "d")
    stored.mlmake("data", command, "d/nope", check=2)
    assert not (stored.path / "d").exists(), "an empty directory reads as one whose members were deleted"
    stored.mlmake("data", command, "d")
    assert stored.read("d/a")


def test_such_a_part_is_told_once_its_manifest_was_fetched(stored):
    wipe_cache(stored)
    assert "has no member" in stored.mlmake("data", "fetch", "d/nope", check=2).stderr


def test_new_and_deleted_members_are_parts(stored):
    stored.write("d/new", "new\n")
    (stored.path / "d/a").unlink()
    for path in ("d/new", "d/a"):
        assert "modified: d/" in stored.mlmake("data", "status", path).stdout
        stored.mlmake("data", "unprotect", path)
    for command in ("pull", "push", "verify"):
        assert "no member new" in stored.mlmake("data", command, "d/new", check=2).stderr
    assert "would be lost" in stored.mlmake("data", "checkout", "d/new", check=1).stderr
    stored.mlmake("data", "commit", "d/new")
    stored.mlmake("data", "checkout", "d/a")
    assert "uncommitted" not in stored.mlmake("data", "status", "--json").stdout


def test_only_recorded_members_are_said_to_be_brought_back(stored):
    (stored.path / "d/a").unlink()
    for command in ("add", "commit"):
        result = stored.mlmake("data", command, "d/a", check=2)
        assert "error: d/a does not exist" in result.stderr and "checkout d/a brings it back" in result.stderr
    assert "brings it back" not in stored.mlmake("data", "add", "d/nope", check=2).stderr


@pytest.mark.parametrize("make, words", [
    (os.mkfifo, "odd is a FIFO"),
    (lambda path: path.symlink_to("nowhere"), "odd is a broken symbolic link"),
    (lambda path: path.symlink_to("d"), "odd is a symbolic link to a directory"),
])
def test_an_odd_path_is_named_as_it_is(stored, make, words):
    make(stored.path / "odd")
    assert f"error: {words}\n" in stored.mlmake("data", "add", "odd", check=1).stderr
