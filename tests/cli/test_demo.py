"""./bootstrap.sh demo, and what one does next in the project that it leaves."""
import re

import pytest

from conftest import ROOT, Sandbox

pytestmark = pytest.mark.slow


class Demo:
    def __init__(self, box):
        self.box = box
        self.result = box.run(ROOT / "tests" / "demo.sh", box.path / "demo", MLMAKE=box.binary, timeout=280)
        self.project = box.path / "demo" / "tumours"
        self.python = self.project / ".venv" / "bin" / "python"
        box.env["MLMAKE_CACHE_DIR"] = str(box.path / "demo" / "cache")
        box.env["PATH"] = f"{box.path / 'demo' / 'bin'}:{box.env['PATH']}"

    def mlmake(self, *args, check=0):
        return self.box.mlmake(*args, check=check, cwd=self.project)

    def git(self, *args, check=0):
        return self.box.git(*args, check=check, cwd=self.project)


@pytest.fixture(scope="module", name="demo")
def fixture_demo(tmp_path_factory):
    return Demo(Sandbox(tmp_path_factory.mktemp("demo")))


def test_it_works(demo):
    out = demo.result.stdout
    assert demo.result.returncode == 0, out + demo.result.stderr
    for step in ("new", "data add", "test", "train", "data push", "data pull", "ci generate", "hook install"):
        assert f"$ mlmake {step}" in out
    assert "Try next:" in out


def test_nothing_but_caches_in_the_home_directory(demo):
    # pip asks a rustc that it finds for its version; a rustup wrapper then makes .rustup.
    assert {path.name for path in demo.box.home.iterdir()} <= {".cache", "dvc-site", ".rustup"}


def test_it_refuses_a_directory_that_exists(demo):
    result = demo.box.run(ROOT / "tests" / "demo.sh", demo.box.path / "demo", MLMAKE=demo.box.binary)
    assert result.returncode != 0 and "demo" in result.stderr


def test_the_templates_own_tests_and_lint(demo):
    demo.box.run(demo.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "tests", check=0, cwd=demo.project)
    demo.box.run(demo.python, "-m", "pylint", "--disable=R,C", "src", "tests", check=0, cwd=demo.project)


def test_training_is_repeatable(demo):
    before = (demo.project / "models" / "model.joblib").read_bytes()
    demo.mlmake("-B", "--no-cache", "train")
    assert (demo.project / "models" / "model.joblib").read_bytes() == before
    assert demo.git("status", "--porcelain").stdout == ""


def test_a_comment_runs_only_what_reads_the_file(demo):
    path = demo.project / "src" / "evaluate.py"
    before = path.read_text()
    path.write_text(before + "# a note\n")
    try:
        assert "src/evaluate.py" in demo.mlmake("why", "test").stdout
        events = demo.mlmake("-n", "--json", "test", "train", "evaluate").stdout
        would = set(re.findall(r'"target": ?"(\w+)"[^\n]*"outcome": ?"would-run"', events))
        assert would == {"test", "evaluate"}
    finally:
        path.write_text(before)


def test_the_hook_refuses_what_lint_refuses(demo):
    path = demo.project / "src" / "train.py"
    before = path.read_text()
    path.write_text(before + "\nundefined_name()\n")
    result = demo.git("commit", "-q", "-a", "-m", "broken", check=None)
    assert result.returncode != 0
    assert "undefined" in result.stdout + result.stderr
    path.write_text(before)
    demo.git("add", "-A")
    assert demo.git("status", "--porcelain").stdout == ""
