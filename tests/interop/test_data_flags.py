"""The options of dvc's commands: what a dvc user types works and does the same, or is refused with a hint."""
import hashlib
import json
import os

import pytest

from conftest import need_peer
from test_data_dvc import both, objects, pair, records  # pylint: disable=unused-import

pytestmark = pytest.mark.slow

COMMANDS = ["add", "commit", "data status", "diff", "checkout", "remove", "move", "unprotect", "list", "get", "import", "import-url",
            "update", "gc", "root", "config", "init", "push", "fetch", "pull", "remote add", "remote list", "remote modify", "remote rename",
            "remote remove", "remote default"]
OURS = {"data status": "status", "list": "ls"}


LIST_ALL = """
import argparse, json
from dvc.cli.parser import get_main_parser
def walk(parser, name, into):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, sub in action.choices.items():
                walk(sub, (name + " " + word).strip(), into)
        elif action.help != argparse.SUPPRESS:
            into.setdefault(name, []).extend(action.option_strings)
    return into
print(json.dumps(walk(get_main_parser(), "", {})))
"""


def test_every_command_and_option_is_known(gitbox):
    python = os.path.join(os.path.dirname(os.path.realpath(need_peer("dvc"))), "python")
    if not os.path.exists(python):
        pytest.skip("this dvc has no Python beside it that could list its options")
    known = json.loads(gitbox.run(python, "-c", LIST_ALL, check=0).stdout)
    for command in {name.split()[0] for name in known if name} - {"daemon", "data", "test-db"}:
        said = gitbox.mlmake("data", command, "--help", check=None)
        assert said.returncode == 0 or "hint" in said.stderr and "lists the commands" not in said.stderr, command
    wrong = []
    for command in COMMANDS:
        assert "--help" in known[command], command
        for option in known[command]:
            said = gitbox.mlmake("data", *OURS.get(command, command).split(), option, check=None).stderr
            if "unknown option" in said or ("error" in said and "hint" not in said):
                wrong.append((command, option, said))
    assert not wrong


def each(pair, *args, code=0):
    """The same by both; only whether it is refused is compared, and code is ours."""
    theirs, ours = pair[0].dvc(*args, check=None), pair[1].mlmake("data", *args, check=code)
    assert bool(theirs.returncode) == bool(ours.returncode), theirs.stderr
    return theirs, ours


def same(pair):
    assert records(pair[0]) == records(pair[1])
    theirs = {n: o for n, o in objects(pair[0]).items() if not n.endswith(".tmp")}  # dvc leaves some behind
    assert theirs == objects(pair[1])
    tracked = [{str(p.relative_to(b.path)): p.read_bytes() for p in b.path.rglob("*") if p.is_file() and
                p.relative_to(b.path).parts[0] not in (".git", ".dvc", ".mlmake")} for b in pair]
    assert tracked[0] == tracked[1]


def sort_ignored(pair):
    """dvc takes matches in the order in which the file system lists them."""
    for box in pair:
        for path in [box.path / ".gitignore", box.path / "x/.gitignore", box.path / "x/y/.gitignore"]:
            if path.exists():
                path.write_bytes(b"".join(sorted(path.read_bytes().splitlines(keepends=True))))


def test_glob(pair):
    both(pair, lambda box: [box.write(n, n) for n in ("a.csv", "b.csv", ".hidden.csv", "x/c.csv", "x/y/d.csv", "x/y/e.txt", "z[1].dat")])
    each(pair, "add", "--glob", "*.csv")
    each(pair, "add", "--glob", "x/**/*.csv")
    each(pair, "add", "--glob", "z[[]1].dat")
    sort_ignored(pair)
    same(pair)
    assert not (pair[1].path / ".hidden.csv.dvc").exists() and (pair[1].path / "x/y/d.csv.dvc").exists()
    assert "nothing matches" in each(pair, "add", "--glob", "nope*", code=2)[1].stderr
    # Without --glob a pattern is a name, as ever.
    each(pair, "add", "*.txt", code=2)
    each(pair, "add", "--glob", "x/y/*.txt", "x/y/e.txt")
    sort_ignored(pair)
    same(pair)


def test_glob_leaves_records_and_members_alone(pair):
    ours = pair[1]
    for name in ("d/a", "d/b", "f"):
        ours.write(name, name)
    ours.mlmake("data", "add", "--glob", "*")
    assert sorted(p.name for p in ours.path.glob("[!.]*.dvc")) == ["d.dvc", "f.dvc"]
    ours.write("d/a", "changed")
    ours.mlmake("data", "add", "--glob", "**")  # d.dvc and f.dvc match, too; d is taken whole, not member by member
    ours.mlmake("data", "status", "--exit-code")


def test_out(pair, tmp_path):
    (tmp_path / "elsewhere/s").mkdir(parents=True)
    (tmp_path / "elsewhere/a").write_text("1")
    (tmp_path / "elsewhere/s/b").write_text("2")
    (tmp_path / "tool.sh").write_text("#!/bin/sh\n")
    (tmp_path / "tool.sh").chmod(0o755)
    both(pair, lambda box: [(box.path / "sub").mkdir(), box.write("mine", "mine")])
    each(pair, "add", "../../elsewhere", "-o", "d")
    each(pair, "add", tmp_path / "tool.sh", "--out", "sub")
    each(pair, "add", "mine", "-o", "copy")
    same(pair)
    assert (pair[1].path / "sub/tool.sh").read_text() == "#!/bin/sh\n" and (pair[1].path / "d/s/b").read_text() == "2"
    assert "--force" in each(pair, "add", tmp_path / "tool.sh", "-o", "sub", code=1)[1].stderr
    (tmp_path / "tool.sh").write_text("#!/bin/bash\n")
    each(pair, "add", "-f", tmp_path / "tool.sh", "-o", "sub")
    same(pair)
    assert (pair[1].path / "sub/tool.sh").read_text() == "#!/bin/bash\n"
    for words in (["a", "b", "-o", "c"], ["--glob", "m*", "-o", "c"], ["--no-commit", "mine", "-o", "c"]):
        each(pair, "add", *words, code=2)
    pair[1].mlmake("data", "status", "--exit-code")


def test_out_keeps_what_else_the_record_says(pair, tmp_path):
    (tmp_path / "new").write_text("new")
    both(pair, lambda box: box.write("f", "old"))
    each(pair, "add", "f")
    both(pair, lambda box: box.write("f.dvc", "# ours\n" + box.read("f.dvc").decode() + "desc: numbers\n"))
    each(pair, "add", "-f", tmp_path / "new", "-o", "f")
    same(pair)
    assert b"# ours" in pair[1].read("f.dvc") and pair[1].read("f") == b"new"


def test_out_that_cannot_be_recorded_touches_nothing(pair, tmp_path):
    ours = pair[1]
    (tmp_path / "d").mkdir()
    os.mkfifo(tmp_path / "d/pipe")
    ours.write("there", "precious")
    assert "pipe" in ours.mlmake("data", "add", "-f", tmp_path / "d", "-o", "there", check=1).stderr
    ours.git("add", "-f", "there")
    assert "tracked by git" in ours.mlmake("data", "add", "-f", tmp_path, "-o", "there", check=1).stderr
    ours.mlmake("data", "add", tmp_path / "absent", "-o", "new", check=2)
    assert ours.read("there") == b"precious" and not list(ours.path.glob("[!.]*.dvc")) and not (ours.path / "new").exists()


def test_allow_missing(pair):
    both(pair, lambda box: [box.write(n, n) for n in ("d/a", "d/b", "f", "g")])
    each(pair, "add", "d", "f", "g")
    for box in pair:
        for content in ("d/b", "f"):
            name = hashlib.md5(content.encode()).hexdigest()
            (box.path / ".dvc/cache/files/md5" / name[:2] / name[2:]).unlink()
        box.run("rm", "-r", "d", "f", "g")
        box.run("rm", "-rf", box.home / "dvc-site")
    each(pair, "checkout", code=3)
    both(pair, lambda box: box.run("rm", "-rf", "d", "f", "g"))
    ours = each(pair, "checkout", "--allow-missing")[1]
    assert "not in the cache" in ours.stderr and "f (md5" in ours.stderr
    same(pair)
    assert pair[1].read("g") == b"g" and not (pair[1].path / "d").exists()
    # What is damaged is no matter of course.
    name = hashlib.md5(b"g").hexdigest()
    damaged = pair[1].path / ".dvc/cache/files/md5" / name[:2] / name[2:]
    damaged.chmod(0o644)
    damaged.write_text("x")
    damaged.chmod(0o444)
    (pair[1].path / "g").unlink()
    pair[1].mlmake("data", "checkout", "--allow-missing", check=3)


@pytest.mark.parametrize("before, after", [("copy", "hardlink"), ("hardlink", "symlink"), ("symlink", "copy")])
def test_relink(pair, before, after):
    """The kind of each file after it, and what --no-relink leaves."""
    def kinds(box):
        return {n: ("symlink" if (box.path / n).is_symlink() else "hardlink" if (box.path / n).stat().st_nlink > 1 else "copy")
                for n in ("d/a", "d/s/b", "f")}
    both(pair, lambda box: [box.write(n, n) for n in ("d/a", "d/s/b", "f")])
    each(pair, "config", "cache.type", before)
    each(pair, "add", "d", "f")
    assert set(kinds(pair[1]).values()) == {before}
    each(pair, "config", "cache.type", after)
    each(pair, "checkout")
    assert kinds(pair[0]) == kinds(pair[1]) == dict.fromkeys(kinds(pair[1]), before)
    each(pair, "add", "--no-relink", "d", "f")
    assert set(kinds(pair[1]).values()) == {before}
    each(pair, "checkout", "--relink")
    assert kinds(pair[0]) == kinds(pair[1]) == dict.fromkeys(kinds(pair[1]), after)
    same(pair)
    each(pair, "unprotect", "d", "f")
    assert set(kinds(pair[1]).values()) == {"copy"}


def test_untracked_files(pair):
    def fill(box):
        for name in ("d/a", "f", "notes.txt", "deep/er/x", "skip.log"):
            box.write(name, name)
        box.write(".gitignore", "*.log\n")
    both(pair, fill)
    each(pair, "add", "d", "f")
    for flags in (["--untracked-files"], ["--untracked-files", "all"], ["--untracked-files=no"], ["--untracked-files", "all", "d.dvc"]):
        theirs, ours = (json.loads(r.stdout or "{}") for r in (pair[0].dvc("data", "status", "--json", *flags, check=None),
                                                         pair[1].mlmake("data", "status", "--json", *flags, check=None)))
        assert sorted(theirs.get("untracked", [])) == ours.get("untracked", []), flags
    said = pair[1].mlmake("data", "status", "--untracked-files").stdout
    assert "deep/er/x" in said and "skip.log" not in said and "        d/a" not in said
    assert "untracked" not in pair[1].mlmake("data", "status", "--json").stdout


def test_diff_as_tables(pair):
    for box in pair:
        for name in ("d/a", "d/b", "f", "g", "ünï"):
            box.write(name, name)
    each(pair, "add", "d", "f", "g", "ünï")
    for box in pair:
        box.git("add", "-A")
        box.git("commit", "-qm", "1")
        box.write("d/a", "changed")
        box.write("d/c", "new")
        (box.path / "g").unlink()
        (box.path / "f").rename(box.path / "f2")
    for flags in (["--md"], ["--md", "--show-hash"], ["--md", "--targets", "d", "g"], ["--targets", "g", "--show-hash"], ["--hide-missing"]):
        theirs, ours = each(pair, "diff", *flags)
        assert sorted(theirs.stdout.split("\n")) == sorted(ours.stdout.split("\n")), flags
    both(pair, lambda box: [box.run("rm", "-rf", ".dvc/cache"), box.run("rm", "-rf", box.home / "dvc-site")])
    theirs, ours = each(pair, "diff", "--hide-missing", "--targets", "g", "--json")
    assert json.loads(theirs.stdout) == json.loads(ours.stdout)


def test_trees_and_levels(pair):
    both(pair, lambda box: [box.write(n, n) for n in ("d/a", "d/b", "d/s/u/y", "d/s/x", "d.c", "e/z", "f")])
    each(pair, "add", "d", "d.c", "e", "f")
    for flags in (["--tree"], ["--tree", "-L", "2"], ["-R", "-L", "2"], ["-R", "-L", "1"], ["-T", "-L", "1"]):
        theirs = pair[0].dvc("list", ".", "--dvc-only", *flags).stdout.splitlines()
        ours = pair[1].mlmake("data", "ls", *flags).stdout.splitlines()
        assert [line for line in theirs if line != "."] == ours, flags
    theirs = json.loads(pair[0].dvc("list", ".", "--dvc-only", "-R", "-L", "2", "--json").stdout)
    ours = json.loads(pair[1].mlmake("data", "ls", "-R", "-L", "2", "--json").stdout)
    assert {e["path"]: e["isdir"] for e in theirs} == {e["path"]: e["isdir"] for e in ours}
    pair[1].mlmake("data", "ls", "--tree", "--json", check=2)


def test_quiet_and_verbose_are_taken(pair):
    both(pair, lambda box: box.write("f", "f"))
    assert each(pair, "add", "-q", "f")[1].stderr == ""
    assert each(pair, "checkout", "-v", "-R")[1].returncode == 0
    (pair[1].path / "f").unlink()
    assert pair[1].mlmake("data", "checkout", "--summary").stdout == "0 modified, 1 added, 0 deleted\n"
