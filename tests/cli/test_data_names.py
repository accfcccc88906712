"""What is typed: parts of directories that are none, and names that git or the shell would take for something else."""
import os
import re
import shutil
import subprocess

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


def stage(box, result, cwd="."):
    """Runs the command that was printed, as a user would."""
    command = re.search(r"^to record it in git: (git add .*)", result.stderr, re.M).group(1)
    subprocess.run(["sh", "-c", command], cwd=box.path / cwd, env=box.env, check=True)
    return command


def untold(box):
    """What git add was not told of."""
    return [line for line in box.git("status", "--short", "--untracked-files=all").stdout.splitlines() if line[1] != " "]


@pytest.mark.parametrize("cwd", [".", "sub"])
@pytest.mark.parametrize("name", ["-dash", ":(top)x", "it's", "a b", "$HOME", "[x]", "*", "~"])
def test_what_is_to_be_staged_can_be_pasted(data, name, cwd):
    data.git("add", "-A")
    data.write("sub/keep", "")
    data.git("add", "-A")
    data.write(f"{cwd}/{name}", "content\n")
    stage(data, data.mlmake("data", "add", "--", name, cwd=data.path / cwd), cwd)
    assert untold(data) == []
    data.git("commit", "-qm", "added")
    stage(data, data.mlmake("data", "remove", "--outs", "--", name, cwd=data.path / cwd), cwd)
    assert untold(data) == []


def test_a_name_with_a_dash_is_taken_behind_two(data):
    data.write("-dash", "x")
    assert "comes behind '--'" in data.mlmake("data", "add", "-dash", check=2).stderr
    assert "lists the options" in data.mlmake("data", "add", "-dish", check=2).stderr
    data.mlmake("data", "add", "--", "-dash")


def test_moves_and_removals_of_what_git_never_saw(data):
    data.git("add", "-A")
    data.write("a", "content\n")
    data.mlmake("data", "add", "a")
    stage(data, data.mlmake("data", "move", "a", "b"))
    assert untold(data) == []
    stage(data, data.mlmake("data", "move", "b", "c"))
    assert untold(data) == []
    data.git("commit", "-qm", "c")
    stage(data, data.mlmake("data", "remove", "c"))
    assert "c.dvc" not in data.git("ls-files").stdout
    assert untold(data) == ["?? c"]
    data.write("d", "content\n")
    data.mlmake("data", "add", "d")
    assert "to record it in git" not in data.mlmake("data", "remove", "d").stderr, "all is as git knows it"


def test_more_than_can_be_listed_is_staged_by_pattern(data):
    data.git("add", "-A")
    for i in range(120):
        data.write(f"many/{i}", f"{i}\n")
    command = stage(data, data.mlmake("data", "add", "--glob", "many/*"))
    assert len(command) < 200 and untold(data) == []
