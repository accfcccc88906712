"""mlmake clean removes what mlmake made, and nothing else."""
import json

import pytest

from conftest import wait_for

PROJECT = """\
version: 1
rules: []
targets:
  gen:
    inputs: [src]
    outputs: [out/a, out/dir]
    run: |
      cp src out/a
      mkdir -p out/dir/sub
      cp src out/dir/sub/b
      ln -s sub/b out/dir/link
  use: {inputs: [out/a], outputs: [used], run: cp out/a used}
  never: {outputs: [precious], run: "false"}
  all: {needs: [gen, use]}
"""


@pytest.fixture
def built(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("src", "text\n")
    box.write("precious", "mine\n")
    box.mlmake("all")
    return box


def there(box, *names):
    return [name for name in names if (box.path / name).exists()]


def test_it_removes_what_it_made(built):
    assert built.mlmake("clean", "-n").stdout.splitlines()[:3] == ["would remove out/a", "would remove out/dir", "would remove used"]
    assert there(built, "out/a", "out/dir", "used") == ["out/a", "out/dir", "used"]
    result = built.mlmake("clean")
    assert result.stdout.splitlines() == ["removed out/a", "removed out/dir", "removed used",
                                          "left precious: no record says that 'never' made it"]
    assert there(built, "out/a", "out/dir", "used", "src", "precious") == ["src", "precious"]
    assert "nothing to remove" in built.mlmake("clean", "all").stderr


@pytest.mark.parametrize("change", ["edit", "add", "remove", "mode", "replace"])
def test_it_leaves_what_was_changed(built, change):
    if change == "edit":
        built.write("out/dir/sub/b", "edited\n")
    elif change == "add":
        built.write("out/dir/mine", "x")
    elif change == "remove":
        (built.path / "out/dir/link").unlink()
    elif change == "mode":
        (built.path / "out/dir/sub/b").chmod(0o755)
    else:
        (built.path / "out/dir").rename(built.path / "kept")
        (built.path / "out/dir").symlink_to("../kept")
    result = built.mlmake("clean", "gen")
    assert result.stdout.splitlines() == ["removed out/a", "left out/dir: changed since 'gen' made it"]
    assert "--force" in result.stderr
    assert built.mlmake("clean", "--force", "gen").stdout == "removed out/dir\n"
    assert there(built, "out/dir", "used") == ["used"]
    if change == "replace":
        assert (built.path / "kept/sub/b").exists(), "never through a link"


def test_named_targets_alone(built):
    data = json.loads(built.mlmake("clean", "--json", "us*", "never").stdout)
    assert data["removed"] == [{"path": "used", "target": "use"}]
    assert data["left"] == [{"path": "precious", "target": "never", "reason": "no record says that 'never' made it"}]
    assert there(built, "out/a", "used", "precious") == ["out/a", "precious"]
    assert "there is no target 'gne'" in built.mlmake("clean", "gne", check=2).stderr


def test_what_comes_next_is_restored(built):
    built.mlmake("clean")
    result = built.mlmake("all")
    assert "2 from the cache" in result.stderr
    assert (built.path / "out/dir/link").read_text() == "text\n"


def test_data_stays(gitbox):
    gitbox.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t:\n    outputs: [{path: model, track: true}]\n    run: echo m > model\n")
    gitbox.mlmake("data", "init")
    gitbox.mlmake("t")
    assert gitbox.mlmake("clean").stdout == "left model: versioned as data\n"
    assert gitbox.mlmake("clean", "--force").stdout == "removed model\n"


def test_a_project_may_define_its_own(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  clean: {run: echo own}\n  t: {outputs: [o], run: touch o}\n")
    box.mlmake("t")
    assert box.mlmake("clean").stdout == "own\n"
    assert there(box, "o") == ["o"]
    assert box.mlmake("list").stdout.split() == ["clean", "t"]


def test_another_that_runs_is_not_disturbed(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {outputs: [o], run: \"echo x > o; touch up; sleep 600\"}\n")
    process = box.popen(box.binary, "t")
    try:
        wait_for((box.path / "up").exists)
        result = box.mlmake("clean", "--force")
        assert f"left o: process {process.pid} makes it (mlmake t)" in result.stdout
        assert there(box, "o") == ["o"]
    finally:
        process.terminate()
        process.wait()
