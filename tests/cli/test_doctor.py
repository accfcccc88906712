"""mlmake doctor: what is there, what is missing and for whom."""
import json

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  t: {run: "no-such-program --x"}
  u: {run: ["cd . && no-such-program", "./own.sh"]}
  v: {tools: [other-program], run: "echo x || also-missing"}
  w: {run: "sh -c true"}
"""


def findings(box, check, **env):
    report = json.loads(box.mlmake("doctor", "--json", check=check, **env).stdout)
    assert report["healthy"] == (check == 0)
    return {f["name"]: f for f in report["findings"]}


def only(box, *names):
    """A PATH with these programs alone."""
    bin_dir = box.home / "bin"
    bin_dir.mkdir(exist_ok=True)
    for name in names:
        target = box.run("sh", "-c", f"command -v {name}", check=0).stdout.strip()
        (bin_dir / name).symlink_to(target)
    return str(bin_dir)


@pytest.mark.slow
def test_a_healthy_project(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {run: 'true'}\n")
    found = findings(box, 0)
    assert found["output cache"]["detail"] == str(box.home / ".cache/mlmake") and found["file system"]["state"] in ("ok", "note")
    assert found["libcurl"]["state"] == found["libgit2"]["state"] == "ok"
    assert "Python 3" in found["python3"]["detail"] and found["python3"]["hint"] is None
    assert "ok        python3: Python 3" in box.mlmake("doctor").stdout


@pytest.mark.slow
def test_programs_that_targets_run(box):
    box.write("mlmake.yaml", PROJECT)
    found = findings(box, 1)
    assert found["no-such-program"]["state"] == "missing" and found["no-such-program"]["needed_by"] == "t, u"
    assert found["other-program"]["needed_by"] == "v"
    assert "also-missing" not in found and "./own.sh" not in found and "sh" not in found
    text = box.mlmake("doctor", check=1).stdout
    assert "missing   no-such-program: not on PATH; needed by t, u\n          install it, or put its directory on PATH\n" in text


def test_what_the_rules_need(box):
    box.write("requirements.txt", "")
    box.write("Dockerfile", "FROM scratch\n")
    found = findings(box, 1, PATH=only(box, "sh"))
    assert found["python3"]["state"] == "missing" and found["python3"]["needed_by"] == "install"
    assert found["buildah, podman or docker"]["needed_by"] == "build" and "buildah" in found["buildah, podman or docker"]["hint"]
    assert found["git"]["state"] == "optional" and found["dvc"]["state"] == "optional"
    (box.path / "requirements.txt").unlink()
    (box.path / "Dockerfile").unlink()
    assert findings(box, 0, PATH=only(box))["python3"]["state"] == "optional"


@pytest.mark.slow
def test_what_another_target_brings_is_not_missing(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  env: {run: 'true', path: [.venv/bin]}\n  t: {needs: [env], run: new-program}\n")
    assert findings(box, 0)["new-program"]["state"] == "note"


@pytest.mark.slow
def test_a_cache_that_cannot_be_made(box):
    box.env["MLMAKE_CACHE_DIR"] = "/dev/null/x"
    found = findings(box, 1)["output cache"]
    assert found["state"] == "missing" and "MLMAKE_CACHE_DIR" in found["hint"]
