"""The pre-commit hook: it judges what is staged, whatever the work tree looks like, and never touches the work tree."""
import hashlib
import json
import os
import signal
import subprocess

import pytest

from conftest import PATIENCE, wait_for

LINT = """\
version: 1
targets:
  lint:
    inputs: ['**/*.py']
    run: |
      ! grep -rn BAD --include='*.py' .
"""
SLEEPS = "      touch $HOME/up; exec sleep 600\n"  # exec: what mlmake started itself ends with it
HOOK = ".git/hooks/pre-commit"


@pytest.fixture
def repo(gitbox):
    """A repository with one commit, a lint that dislikes BAD, and the hook."""
    gitbox.env["PATH"] = f"{os.path.dirname(gitbox.binary)}:{gitbox.env['PATH']}"
    gitbox.write("mlmake.yaml", LINT)
    gitbox.write("a.py", "good = 1\n")
    gitbox.git("add", ".")
    gitbox.git("commit", "-qm", "one")
    gitbox.mlmake("hook", "install")
    return gitbox


def commit(repo, *args, refused=None, **kw):
    """git commit; refused is what the refusal must say, None where there must be none."""
    done = repo.git("commit", "-qm", "more", *args, check=None, **kw)
    text = done.stdout + done.stderr
    if refused is None:
        assert done.returncode == 0, text
    else:
        assert done.returncode == 1, text
        assert "commit refused" in text and refused in text, text
        assert "--no-verify" in text and "hint:" in text
    return text


def test_bad_staged_content_is_refused_though_the_work_tree_is_fine(repo):
    repo.write("a.py", "BAD = 1\n")
    repo.git("add", "a.py")
    repo.write("a.py", "good = 2\n")
    text = commit(repo, refused="lint failed on what is staged")
    assert "a.py:1:BAD = 1" in text
    assert repo.read("a.py") == b"good = 2\n"
    commit(repo, "--no-verify")


def test_good_staged_content_is_accepted_though_the_work_tree_is_broken(repo):
    repo.write("a.py", "good = 2\n")
    repo.git("add", "a.py")
    repo.write("a.py", "BAD = 1\n")
    repo.write("untracked.py", "BAD = 1\n")
    commit(repo)
    assert repo.read("a.py") == b"BAD = 1\n"
    assert repo.git("show", "HEAD:a.py").stdout == "good = 2\n"


def test_only_what_changed_is_written_again(repo):
    repo.write("b.py", "b = 1\n")
    repo.git("add", ".")
    commit(repo)
    tree = repo.path / ".mlmake/hook/tree"
    before = (tree / "a.py").stat().st_ino
    repo.write("b.py", "b = 2\n")
    repo.git("add", ".")
    commit(repo)
    assert (tree / "a.py").stat().st_ino == before
    assert (tree / "b.py").read_text() == "b = 2\n"


def test_a_commit_without_python_does_not_lint_again(repo):
    repo.write("mlmake.yaml", LINT.replace("run: |\n", "run: |\n      date >> '%s'\n" % (repo.path.parent / "ran")))
    repo.git("add", ".")
    commit(repo)
    repo.write("README.md", "# text\n")
    repo.git("add", ".")
    commit(repo)
    assert len((repo.path.parent / "ran").read_text().splitlines()) == 1


def test_git_sees_nothing_of_it(repo):
    repo.write("b.py", "")
    repo.git("add", ".")
    commit(repo)
    assert repo.git("status", "--porcelain").stdout == ""


def test_what_a_command_did_to_the_tree_is_put_right(repo):
    repo.write("b.py", "b = 1\n")
    repo.git("add", ".")
    commit(repo)
    tree = repo.path / ".mlmake/hook/tree"
    (tree / "b.py").write_text("BAD\n")
    (tree / "a.py").unlink()
    (tree / "a.py").mkdir()
    (tree / "a.py/x").write_text("BAD\n")
    repo.write("c.py", "")
    repo.git("add", ".")
    commit(repo)
    assert (tree / "b.py").read_text() == "b = 1\n"
    assert (tree / "a.py").read_text() == "good = 1\n"


def test_no_certificate_is_read(repo):
    """libgit2 with mbed TLS would: half of the time of a hook."""
    opened = repo.calls("openat", "hook", "run", "pre-commit")
    assert "libgit2" in opened
    assert "certificates" not in opened and "/etc/ssl" not in opened


def test_first_commit_of_a_repository(gitbox):
    gitbox.write("mlmake.yaml", LINT)
    gitbox.write("a.py", "BAD\n")
    gitbox.mlmake("hook", "install")
    gitbox.git("add", ".")
    commit(gitbox, refused="lint failed")
    gitbox.write("a.py", "good\n")
    gitbox.git("add", ".")
    commit(gitbox)


def test_commit_all_and_commit_of_a_path(repo):
    """git gives these an index of their own; what is staged in the other one does not count."""
    repo.write("b.py", "b = 1\n")
    repo.git("add", "b.py")
    repo.git("commit", "-qm", "b", "--no-verify")
    repo.write("a.py", "BAD\n")
    commit(repo, "-a", refused="lint failed")
    repo.git("add", "a.py")
    repo.write("b.py", "b = 2\n")
    commit(repo, "--", "b.py")
    commit(repo, "--", "a.py", refused="lint failed")
    assert repo.git("diff", "--cached", "--name-only").stdout == "a.py\n"


def test_intent_to_add_is_not_staged(repo):
    repo.write("new.py", "BAD\n")
    repo.git("add", "-N", "new.py")
    repo.write("a.py", "good = 3\n")
    repo.git("add", "a.py")
    commit(repo)
    assert not (repo.path / ".mlmake/hook/tree/new.py").exists()


def test_deleted_renamed_modes_links_and_odd_names(repo):
    repo.write("dir/deep/x.py", "x = 1\n")
    repo.write("white space.py", "w = 1\n")
    repo.write("line\nbreak.py", "l = 1\n")
    repo.write("run.sh", "#!/bin/sh\n", mode=0o755)
    os.symlink("a.py", repo.path / "link.py")
    repo.git("add", ".")
    commit(repo)
    tree = repo.path / ".mlmake/hook/tree"
    assert os.access(tree / "run.sh", os.X_OK) and not os.access(tree / "a.py", os.X_OK)
    assert os.readlink(tree / "link.py") == "a.py"
    assert (tree / "line\nbreak.py").read_text() == "l = 1\n"
    repo.git("rm", "-rq", "dir", "white space.py", "link.py")
    repo.git("mv", "line\nbreak.py", "dir")
    repo.git("update-index", "--chmod=-x", "run.sh")
    os.mkdir(repo.path / "link.py")
    repo.write("link.py/inner.py", "i = 1\n")
    repo.git("add", "link.py")
    commit(repo)
    assert (tree / "dir").read_text() == "l = 1\n"
    assert (tree / "link.py/inner.py").read_text() == "i = 1\n"
    assert not os.access(tree / "run.sh", os.X_OK)
    assert not (tree / "white space.py").exists()
    listed = {str(p.relative_to(tree)) for p in tree.rglob("*") if not p.is_dir() and p.parts[len(tree.parts)] not in (".git", ".mlmake")}
    assert listed == set(repo.git("ls-files", "-z").stdout.split("\0")) - {""}


def test_commands_ask_git_about_what_is_staged(repo):
    """In the tree, git is a repository of its own: it lists what is staged, and what is done to it stays there."""
    repo.write("mlmake.yaml", "version: 1\ntargets:\n  lint:\n    run: |\n"
                              "      test \"$(git ls-files)\" = \"$(printf 'a.py\\nmlmake.yaml\\nnew.txt')\"\n"
                              "      test \"$(git log -1 --format=%s)\" = one\n"
                              "      test \"$(git branch --show-current)\" = main\n"
                              "      env | grep '^GIT_' && exit 1\n"
                              "      git reset -q --hard; git update-index --force-remove a.py\n")
    repo.write("new.txt", "")
    repo.git("add", ".")
    commit(repo)
    assert repo.git("ls-files").stdout == "a.py\nmlmake.yaml\nnew.txt\n"
    assert repo.git("status", "--porcelain").stdout == ""


def test_linked_worktree(repo):
    linked = repo.path.parent / "linked"
    repo.git("worktree", "add", "-q", "-b", "side", linked)
    (linked / "a.py").write_text("BAD\n")
    commit(repo, "-a", refused="lint failed", cwd=linked)
    (linked / "a.py").write_text("good = 5\n")
    commit(repo, "-a", cwd=linked)
    assert (linked / ".mlmake/hook/tree/a.py").exists()
    assert not (repo.path / ".mlmake/hook/tree").exists()


def test_merge(repo):
    repo.git("checkout", "-qb", "other")
    repo.write("b.py", "BAD\n")
    repo.git("add", ".")
    repo.git("commit", "-qm", "bad", "--no-verify")
    repo.git("checkout", "-q", "main")
    repo.write("c.py", "c = 1\n")
    repo.git("add", ".")
    commit(repo)
    repo.git("merge", "-q", "--no-commit", "other")
    commit(repo, refused="lint failed")
    repo.write("b.py", "b = 1\n")
    repo.git("add", ".")
    commit(repo)


def test_submodule(repo, tmp_path_factory):
    library = tmp_path_factory.mktemp("library")
    repo.git("init", "-q", "-b", "main", cwd=library)
    (library / "lib.txt").write_text("inside\n")
    repo.git("add", ".", cwd=library)
    repo.git("commit", "-qm", "lib", cwd=library)
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "vendor")
    repo.write("mlmake.yaml", LINT + "      grep -q inside vendor/lib.txt\n")
    repo.git("add", ".")
    commit(repo)


def test_amend_of_the_message_alone_and_empty_commits(repo):
    repo.git("rm", "-q", "a.py")
    commit(repo)
    repo.git("commit", "-q", "--amend", "-m", "other words")
    repo.git("commit", "-q", "--allow-empty", "-m", "empty")


def test_broken_staged_config_is_an_error_with_its_place(repo):
    repo.write("mlmake.yaml", LINT + "nonsense: true\n")
    repo.git("add", ".")
    repo.write("mlmake.yaml", LINT)
    done = repo.git("commit", "-qm", "x", check=None)
    assert done.returncode != 0
    assert "mlmake.yaml:7:1: error" in done.stderr and "in what is staged" in done.stderr


def test_hook_key_of_targets(repo):
    repo.write("mlmake.yaml", "version: 1\ntargets:\n  lint: {hook: false, run: 'false'}\n  types: {hook: true, run: 'echo mistyped; false'}\n")
    repo.git("add", ".")
    text = commit(repo, refused="types failed on what is staged")
    assert "mistyped" in text


def test_only_what_failed_is_shown(repo):
    repo.write("mlmake.yaml", "version: 1\ntargets:\n  quiet: {hook: true, run: 'echo all is well'}\n  loud: {hook: true, run: 'echo broken; exit 3'}\n")
    repo.git("add", ".")
    text = commit(repo, refused="loud failed on what is staged")
    assert "broken" in text and "all is well" not in text


def test_environment_is_lent_where_it_would_come_out_the_same(repo):
    counter = repo.path.parent / "installs"
    repo.write(".gitignore", "/.env\n")
    repo.write("lock.txt", "one\n")
    repo.write("mlmake.yaml", f"""\
version: 1
targets:
  install:
    inputs: [lock.txt]
    stamp: .env/stamp
    cache: false
    run: |
      echo x >> {counter}
      rm -rf .env/; mkdir .env
      cp lock.txt .env/tool; cp lock.txt .env/stamp
  lint: {{needs: [install], inputs: ['*.py'], run: "grep -q one .env/tool"}}
""")
    repo.mlmake("run", "lint")
    repo.git("add", ".")
    commit(repo)
    tree_env = repo.path / ".mlmake/hook/tree/.env"
    assert tree_env.is_symlink() and counter.read_text() == "x\n"
    repo.write("lock.txt", "one two\n")
    repo.git("add", ".")
    repo.write("lock.txt", "three\n")
    commit(repo)
    assert not tree_env.is_symlink() and (tree_env / "tool").read_text() == "one two\n"
    assert repo.read(".env/tool") == b"one\n" and counter.read_text() == "x\nx\n"
    repo.write("a.py", "again = 1\n")
    commit(repo, "--", "a.py")
    assert counter.read_text() == "x\nx\n"


def test_stale_workflow(repo):
    repo.mlmake("ci", "generate")
    repo.git("add", ".")
    commit(repo)
    repo.write("mlmake.yaml", LINT + "  test: {run: echo}\n")
    repo.git("add", ".")
    text = commit(repo, refused="mlmake ci generate && git add .github/workflows/mlmake.yml")
    assert "+  test:" in text
    repo.mlmake("ci", "generate")
    commit(repo, refused="out of date")
    repo.git("add", ".")
    commit(repo)


def test_workflow_of_the_work_tree_does_not_count(repo):
    repo.write("mlmake.yaml", LINT + "  test: {run: echo}\n")
    repo.mlmake("ci", "generate")
    repo.write("mlmake.yaml", LINT)
    repo.git("add", "mlmake.yaml")
    repo.write("a.py", "x = 1\n")
    commit(repo, "--", "a.py")


def test_removed_workflow_is_fine(repo):
    repo.mlmake("ci", "generate")
    repo.git("add", ".")
    commit(repo)
    repo.git("rm", "-q", ".github/workflows/mlmake.yml")
    commit(repo)


# Tracked data.

@pytest.fixture
def data(repo):
    """The repository with one tracked file and one tracked directory, saved and committed."""
    repo.mlmake("data", "init")
    repo.write("data/raw.csv", "a,b\n1,2\n")
    repo.write("images/one.png", "1")
    repo.write("images/two.png", "2")
    repo.mlmake("data", "add", "data/raw.csv", "images")
    repo.git("add", ".")
    commit(repo)
    return repo


def test_changed_data_is_refused_until_it_is_saved(data):
    data.write("data/raw.csv", "a,b\n1,3\n")
    data.write("a.py", "good = 7\n")
    data.git("add", ".")
    text = commit(data, refused="tracked data was changed and is not saved")
    assert "    data/raw.csv\n" in text and "mlmake data add" in text
    data.mlmake("data", "add", "data/raw.csv")
    data.git("add", ".")
    commit(data)


def test_changed_member_of_a_directory(data):
    data.write("images/three.png", "3")
    data.write("a.py", "good = 7\n")
    data.git("add", ".")
    assert "    images/\n" in commit(data, refused="tracked data was changed and is not saved")


def test_data_that_is_not_checked_out_is_no_reason(data):
    (data.path / "data/raw.csv").unlink()
    data.run("rm", "-r", "images")
    data.write("a.py", "good = 7\n")
    data.git("add", ".")
    commit(data)


def test_staged_dvc_file_whose_data_is_nowhere(data):
    dvc = data.read("data/raw.csv.dvc").decode()
    digest = dvc.split("md5: ")[1][:32]
    data.write("data/raw.csv.dvc", dvc.replace(digest, "0" * 32))
    data.git("add", ".")
    data.write("data/raw.csv.dvc", dvc)
    text = commit(data, refused="name data that is not in the cache")
    assert "    data/raw.csv\n" in text


def test_staged_directory_of_which_a_member_is_nowhere(data):
    data.write("images/two.png", "22")
    data.mlmake("data", "add", "images")
    lost = data.path / ".dvc/cache/files/md5/b6/d767d2f8ed5d21a44b0e5886680cb9"
    lost.unlink()
    data.git("add", ".")
    assert "images/two.png" in commit(data, refused="name data that is not in the cache")


def test_broken_dvc_file_is_refused(data):
    data.write("data/raw.csv.dvc", "<<<<<<< HEAD\nouts:\n")
    data.git("add", ".")
    commit(data, refused="the staged data/raw.csv.dvc cannot be read")


def test_cache_and_remote_by_relative_paths(data):
    """They are relative to the real .dvc, also in the tree of what is staged."""
    data.write(".dvc/config", "[cache]\n    dir = ../../shared\n")
    data.write("data/raw.csv", "a,b\n5,6\n")
    data.mlmake("data", "add", "data/raw.csv", "images")
    assert (data.path.parent / "shared/files/md5").is_dir()
    data.git("add", ".")
    commit(data)


def test_target_that_reads_data_finds_it_in_the_tree(data):
    data.write("mlmake.yaml", LINT + "  schema: {hook: true, inputs: [data/raw.csv], run: 'grep -q a,b data/raw.csv'}\n")
    data.git("add", ".")
    commit(data)
    assert data.git("status", "--porcelain").stdout == ""


@pytest.mark.slow
def test_project_in_a_subdirectory(gitbox):
    gitbox.write("services/api/mlmake.yaml", LINT)
    gitbox.write("services/api/a.py", "BAD\n")
    gitbox.write("other/b.py", "BAD\n")
    gitbox.mlmake("hook", "install", cwd=gitbox.path / "services/api")
    gitbox.write("more here/mlmake.yaml", LINT)
    gitbox.mlmake("hook", "install", cwd=gitbox.path / "more here")
    gitbox.git("add", ".")
    commit(gitbox, refused="lint failed")
    gitbox.write("services/api/a.py", "good\n")
    gitbox.git("add", ".")
    commit(gitbox)
    status = json.loads(gitbox.mlmake("hook", "status", "--json", cwd=gitbox.path / "services/api").stdout)
    assert status["projects"] == ["more here", "services/api"]
    gitbox.write("more here/c.py", "BAD\n")
    gitbox.git("add", ".")
    commit(gitbox, refused="lint failed")


@pytest.mark.slow
def test_interrupted_while_the_tree_is_written(repo):
    """A kill in the middle leaves no manifest, and the next commit makes the tree anew."""
    repo.write("mlmake.yaml", LINT + SLEEPS)
    repo.git("add", ".")
    process = repo.popen(repo.binary, "hook", "run", "pre-commit", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for((repo.home / "up").exists)
    process.send_signal(signal.SIGKILL)
    process.wait()
    tree = repo.path / ".mlmake/hook"
    (tree / "manifest").unlink(missing_ok=True)
    (tree / "tree/stray.py").write_text("BAD\n")
    repo.write("mlmake.yaml", LINT)
    repo.git("add", ".")
    repo.write("b.py", "b\n")
    repo.git("add", ".")
    commit(repo)
    assert not (tree / "tree/stray.py").exists()


@pytest.mark.slow
def test_interrupt_ends_it(repo):
    repo.write("mlmake.yaml", LINT + SLEEPS)
    repo.git("add", ".")
    process = repo.popen(repo.binary, "hook", "run", "pre-commit", stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_for((repo.home / "up").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130


# Installing.

def test_install_twice_and_uninstall(repo):
    before = repo.read(HOOK)
    again = repo.mlmake("hook", "install")
    assert "already installed" in again.stderr and repo.read(HOOK) == before
    assert os.access(repo.path / HOOK, os.X_OK)
    assert "installed" in repo.mlmake("hook", "status").stdout
    repo.mlmake("hook", "uninstall")
    assert not (repo.path / HOOK).exists()
    repo.mlmake("hook", "status", check=1)
    assert "no hook to remove" in repo.mlmake("hook", "uninstall").stderr


@pytest.mark.slow
def test_hook_that_was_there_is_chained_and_restored(repo):
    repo.mlmake("hook", "uninstall")
    mine = "#!/bin/sh\necho mine ran >&2\ntest ! -e forbidden\n"
    repo.write(HOOK, mine, mode=0o755)
    assert "runs first" in repo.mlmake("hook", "install").stderr
    repo.write("a.py", "good = 4\n")
    repo.git("add", ".")
    assert "mine ran" in commit(repo)
    repo.write("forbidden", "")
    repo.git("add", ".")
    assert repo.git("commit", "-qm", "x", check=None).returncode == 1
    (repo.path / "forbidden").unlink()
    repo.write("a.py", "BAD\n")
    repo.git("add", ".")
    assert "mine ran" in commit(repo, refused="lint failed")
    repo.mlmake("hook", "install")
    repo.mlmake("hook", "uninstall")
    assert repo.read(HOOK) == mine.encode()
    assert sorted(p.name for p in (repo.path / ".git/hooks").glob("pre-commit*") if p.suffix != ".sample") == ["pre-commit"]


def test_foreign_hook_is_left_alone(repo):
    repo.mlmake("hook", "uninstall")
    repo.write(HOOK, "#!/bin/sh\nexit 0\n", mode=0o755)
    assert "left alone" in repo.mlmake("hook", "uninstall").stderr
    assert repo.read(HOOK) == b"#!/bin/sh\nexit 0\n"
    assert "not mlmake's" in repo.mlmake("hook", "status", check=1).stdout


def test_hooks_path(repo):
    repo.mlmake("hook", "uninstall")
    repo.git("config", "core.hooksPath", "my hooks")
    repo.mlmake("hook", "install")
    assert (repo.path / "my hooks/pre-commit").exists()
    repo.write("a.py", "BAD\n")
    repo.git("add", "a.py")
    commit(repo, refused="lint failed")


def test_mlmake_not_on_path(repo):
    repo.env["PATH"] = "/usr/bin:/bin"
    repo.write("a.py", "BAD\n")
    repo.git("add", ".")
    commit(repo, refused="lint failed")
    hook = repo.path / HOOK
    hook.write_text(hook.read_text().replace(os.path.realpath(repo.binary), "/gone/mlmake"))
    done = repo.git("commit", "-qm", "x", check=None)
    assert done.returncode == 1 and "neither on PATH nor at /gone/mlmake" in done.stderr and "hint:" in done.stderr


def test_outside_of_git(box):
    assert "git init" in box.mlmake("hook", "install", check=2).stderr
    assert "no hook 'post-commit'" in box.mlmake("hook", "run", "post-commit", check=2).stderr


def test_json_report(repo):
    repo.write("a.py", "BAD\n")
    repo.git("add", ".")
    report = json.loads(repo.mlmake("hook", "run", "pre-commit", "--json", check=1).stdout)
    assert report["refused"] and "BAD" in report["refusals"][0]["detail"]


def test_an_index_that_names_git_itself_writes_nothing(repo):
    """git refuses such a name; an index that was tampered with may hold it all the same."""
    repo.write("xgit/hooks/post-commit", "#!/bin/sh\n")
    repo.git("add", "xgit")
    index = repo.path / ".git/index"
    data = index.read_bytes()[:-20]
    assert data.count(b"xgit/hooks/post-commit") == 1
    data = data.replace(b"xgit/hooks/post-commit", b".git/hooks/post-commit")
    index.write_bytes(data + hashlib.sha1(data).digest())
    refused = repo.mlmake("hook", "run", "pre-commit", check=1)
    assert "git's index" in refused.stderr and not (repo.path / ".git/hooks/post-commit").exists()
