"""The hook and the workflow where the disk fails, or the process dies, at any step: never a commit that was not checked, nothing lost."""
import os

import pytest

from conftest import BUILD

FAULTY = BUILD / "mlmake-fault"
LINT = "version: 1\ntargets:\n  lint: {inputs: ['**/*.py'], run: \"! grep -rn BAD --include='*.py' .\"}\n"
STEPS = 400


@pytest.fixture
def repo(gitbox):
    if not FAULTY.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    gitbox.write("mlmake.yaml", LINT)
    gitbox.write("a.py", "good = 1\n")
    gitbox.write("dir/b.py", "good = 1\n")
    gitbox.git("add", ".")
    gitbox.mlmake("hook", "run", "pre-commit")
    return gitbox


def strike(repo, fault, number, *args):
    """Runs a command with a fault at one place: the result, and whether there was such a place."""
    log = repo.path.parent / "count"
    log.unlink(missing_ok=True)
    result = repo.run(FAULTY, *args, MLMAKE_FAULT=f"{fault}:{number}", MLMAKE_FAULT_LOG=log)
    return result, not log.exists() or int(log.read_text().split()[-1]) >= number


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["any:KILL", "write:ENOSPC", "openat:EMFILE", "renameat:EIO"])
def test_bad_content_is_never_let_through(repo, fault):
    for number in range(1, STEPS):
        repo.write("a.py", f"BAD = {number}\n")
        repo.write(f"new{number}/c.py", "good\n")
        repo.git("add", "-A", ".")
        result, struck = strike(repo, fault, number, "hook", "run", "pre-commit")
        assert result.returncode in (1, -9), (number, result.stdout, result.stderr)
        assert "a.py:1:BAD" in repo.mlmake("hook", "run", "pre-commit", check=1).stderr
        repo.write("a.py", f"good = {number}\n")
        repo.run("rm", "-r", f"new{number}")
        repo.git("add", "-A", ".")
        repo.mlmake("hook", "run", "pre-commit")
        if not struck:
            break
    assert 2 < number < STEPS - 1
    tree = repo.path / ".mlmake/hook/tree"
    assert (tree / "a.py").read_bytes() == repo.read("a.py") and not (tree / f"new{number}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["any:KILL", "write:ENOSPC", "openat:EMFILE", "renameat:EIO", "fsync:EIO"])
@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_hook_that_was_there_is_never_lost(repo, fault, command):
    mine = "#!/bin/sh\nexit 0\n"
    hooks = repo.path / ".git/hooks"
    for number in range(1, STEPS):
        for name in hooks.glob("pre-commit*"):
            name.unlink()
        repo.write(".git/hooks/pre-commit", mine, mode=0o755)
        if command == "uninstall":
            repo.mlmake("hook", "install")
        _, struck = strike(repo, fault, number, "hook", command)
        names = [hooks / name for name in ("pre-commit", "pre-commit.before-mlmake") if (hooks / name).exists()]
        assert mine in [name.read_text() for name in names], number
        repo.mlmake("hook", "install")
        repo.mlmake("hook", "uninstall")
        assert (hooks / "pre-commit").read_text() == mine and os.access(hooks / "pre-commit", os.X_OK)
        if not struck:
            break
    assert number < STEPS - 1


@pytest.mark.parametrize("fault", ["any:KILL", "write:ENOSPC", "renameat:EIO", "fsync:EIO"])
def test_a_workflow_is_whole_or_as_it_was(repo, fault):
    path = repo.path / ".github/workflows/mlmake.yml"
    repo.mlmake("ci", "generate")
    good = path.read_text()
    repo.write("mlmake.yaml", LINT + "  test: {run: echo}\n")
    for number in range(1, STEPS):
        result, struck = strike(repo, fault, number, "ci", "generate")
        assert result.returncode in (0, 1, -9)
        assert path.read_text() == good or repo.mlmake("ci", "check", check=None).returncode == 0
        path.write_text(good)
        if not struck:
            break
    assert 1 < number < STEPS - 1
    assert [p.name for p in path.parent.iterdir() if p.suffix == ".yml"] == ["mlmake.yml"]
