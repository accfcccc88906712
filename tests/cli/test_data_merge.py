"""git merge of .dvc files through the driver that `hook install` sets up."""
import hashlib
import json
import shutil

import pytest


@pytest.fixture
def repo(gitbox):
    """main with data/ (a, b, sub/c) and its driver installed; branch `other` begins at the same commit."""
    gitbox.mlmake("data", "init")
    for name in ("a", "b", "sub/c"):
        gitbox.write(f"data/{name}", name)
    gitbox.mlmake("data", "add", "data")
    gitbox.mlmake("hook", "install")
    commit(gitbox, "data")
    gitbox.git("branch", "other")
    gitbox.env["PATH"] = "/usr/local/bin:/usr/bin:/bin"  # no mlmake there: the driver's fallback
    return gitbox


def commit(box, message, *paths):
    box.mlmake("data", "add", *(paths or ["data"]))
    box.git("add", "-A")
    box.git("commit", "-qm", message, "--no-verify")


def on(box, branch, change, *paths):
    box.git("checkout", "-q", branch)
    box.mlmake("data", "checkout")
    change()
    commit(box, f"on {branch}", *paths)


def members(box, name="data"):
    md5 = box.read(f"{name}.dvc").decode().split("md5: ")[1].split()[0]
    return {m["relpath"]: m["md5"] for m in json.loads(box.read(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"))}


def md5_of(text):
    return hashlib.md5(text.encode()).hexdigest()


def test_members_of_both_sides_are_merged(repo):
    on(repo, "other", lambda: (repo.write("data/new by other", "1"), (repo.path / "data/b").unlink()))
    on(repo, "main", lambda: (repo.write("data/a", "changed"), repo.write("data/sub/d", "2")))
    repo.git("merge", "-q", "--no-edit", "other")
    assert members(repo) == {n: md5_of(t) for n, t in
                             {"a": "changed", "new by other": "1", "sub/c": "sub/c", "sub/d": "2"}.items()}
    assert repo.read("data.dvc").decode().split("\n")[2:5] == ["  size: 14", "  nfiles: 4", "  hash: md5"]
    repo.mlmake("data", "checkout")
    assert repo.read("data/new by other") == b"1" and not (repo.path / "data/b").exists()
    repo.mlmake("data", "status", "-q")


@pytest.mark.slow
def test_one_member_changed_by_both_is_a_conflict_by_name(repo):
    on(repo, "other", lambda: (repo.write("data/a", "theirs"), repo.write("data/x", "1"), (repo.path / "data/b").unlink()))
    on(repo, "main", lambda: (repo.write("data/a", "ours"), repo.write("data/x", "2"), repo.write("data/b", "kept")))
    merged = repo.git("merge", "-q", "other", check=1)
    assert "data/a was changed by both sides" in merged.stderr
    assert "data/x was added by both sides, with different content" in merged.stderr
    assert "data/b was changed by ours and removed by theirs" in merged.stderr
    assert "sub/c" not in merged.stderr
    assert repo.read("data.dvc").count(b"<<<<<<<") == 1
    # The rest of the repository goes on.
    repo.write("other.csv", "1")
    repo.mlmake("data", "add", "other.csv")
    status = repo.mlmake("data", "status", "--json", check=3)
    assert "other.csv" in json.loads(status.stdout)["committed"]["added"] and "data.dvc" in status.stderr
    (repo.path / "other.csv").unlink()
    checked_out = repo.mlmake("data", "checkout", check=3)
    assert repo.read("other.csv") == b"1" and "data.dvc" in checked_out.stderr
    repo.mlmake("data", "checkout", "other.csv")
    repo.git("checkout", "--theirs", "data.dvc")
    repo.git("add", "data.dvc")
    repo.mlmake("data", "checkout", "data")
    assert repo.read("data/a") == b"theirs"


def test_files_and_the_rest_of_the_record(repo):
    """A file that both changed conflicts; one that one side changed is taken, beside an edit of the other to desc."""
    repo.write("f", "0")
    repo.write("g", "0")
    commit(repo, "files", "f", "g")
    repo.git("branch", "-f", "other")
    on(repo, "other", lambda: (repo.write("f", "theirs"), repo.write("g", "theirs")), "f", "g")
    repo.git("checkout", "-q", "main")
    repo.write("g.dvc", "# ours\n" + repo.read("g.dvc").decode() + "desc: numbers\n")
    repo.write("f", "ours")
    commit(repo, "ours", "f")
    merged = repo.git("merge", "-q", "other", check=1)
    assert "f was changed by both sides" in merged.stderr and "g" not in merged.stderr.split()
    text = repo.read("g.dvc").decode()
    assert text.startswith("# ours\n") and "desc: numbers" in text and md5_of("theirs") in text and "<<<" not in text


def test_added_by_both(repo):
    def add(name):
        return lambda: [repo.write(f"more/{n}", n) for n in ("same", name)]
    on(repo, "other", add("theirs"), "more")
    on(repo, "main", add("ours"), "more")
    repo.git("merge", "-q", "--no-edit", "other")
    assert set(members(repo, "more")) == {"same", "theirs", "ours"}


def test_a_file_here_and_a_directory_there(repo):
    on(repo, "other", lambda: repo.write("data/x/y", "1"))
    on(repo, "main", lambda: repo.write("data/x", "2"))
    assert "'x' is a file and a directory at once" in repo.git("merge", "-q", "other", check=1).stderr


def test_a_manifest_that_is_not_here_is_fetched_or_named(repo, tmp_path):
    repo.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    repo.git("commit", "-qam", "remote", "--no-verify")
    repo.git("branch", "-f", "other")
    on(repo, "other", lambda: repo.write("data/new", "1"))
    lost = repo.read("data.dvc").decode().split("md5: ")[1].split()[0]
    on(repo, "main", lambda: repo.write("data/a", "changed"))
    path = repo.path / ".dvc/cache/files/md5" / lost[:2] / lost[2:]
    saved = path.read_bytes()
    path.unlink()
    named = repo.git("merge", "-q", "other", check=1)
    assert "(theirs)" in named.stderr and lost[:-4] in named.stderr and "mlmake data push" in named.stderr
    repo.git("merge", "--abort")
    # On the remote: it comes from there.
    there = tmp_path / "store/files/md5" / lost[:2] / lost[2:]
    there.parent.mkdir(parents=True)
    there.write_bytes(saved)
    repo.git("merge", "-q", "--no-edit", "other")
    assert set(members(repo)) == {"a", "b", "sub/c", "new"}
    assert members(repo)["a"] == md5_of("changed")


@pytest.mark.slow
def test_a_repository_below_the_top_and_a_linked_worktree(box):
    box.git("init", "-q", "-b", "main")
    (box.path / "in sub").mkdir()
    sub = {"cwd": box.path / "in sub"}
    box.mlmake("data", "init", "--subdir", **sub)
    box.write("in sub/d/a", "1")
    box.mlmake("data", "add", "d", **sub)
    box.mlmake("hook", "install")
    box.git("add", "-A")
    box.git("commit", "-qm", "1", "--no-verify")
    box.git("worktree", "add", "-q", "-b", "other", "../tree")
    tree = box.path.parent / "tree/in sub"
    shutil.copytree(box.path / "in sub/.dvc/cache", tree / ".dvc/cache")
    (tree / "d").mkdir()
    (tree / "d/a").write_text("1")
    (tree / "d/theirs").write_text("2")
    box.mlmake("data", "add", "d", cwd=tree)
    box.git("commit", "-qam", "2", "--no-verify", cwd=tree)
    box.write("in sub/d/ours", "3")
    box.mlmake("data", "add", "d", **sub)
    box.git("commit", "-qam", "3", "--no-verify")
    shutil.copytree(box.path / "in sub/.dvc/cache", tree / ".dvc/cache", dirs_exist_ok=True)
    box.git("merge", "-q", "--no-edit", "main", cwd=tree)
    assert "nfiles: 3" in (tree / "d.dvc").read_text()


def test_install_and_uninstall(gitbox):
    gitbox.write(".git/info/attributes", "*.bin binary")
    gitbox.mlmake("hook", "install")
    gitbox.mlmake("hook", "install")
    assert gitbox.read(".git/info/attributes") == b"*.bin binary\n*.dvc merge=mlmake\n"
    assert gitbox.git("check-attr", "merge", "x/y.dvc").stdout == "x/y.dvc: merge: mlmake\n"
    assert json.loads(gitbox.mlmake("hook", "status", "--json").stdout)["merge_driver"] is True
    gitbox.mlmake("hook", "uninstall")
    assert gitbox.read(".git/info/attributes") == b"*.bin binary\n"
    assert "mlmake" not in gitbox.read(".git/config").decode()
    assert json.loads(gitbox.mlmake("hook", "status", "--json", check=1).stdout)["merge_driver"] is False
    assert "no hook" in gitbox.mlmake("hook", "uninstall").stderr
