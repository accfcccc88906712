"""The short way to "nothing to do": when it is taken, and everything after which it must not be."""
import os
import random
import re
import shutil
import time

import pytest

PROJECT = """\
version: 1
vars:
  greeting: ${env:GREETING:-hello}
targets:
  prepare:
    inputs: [src/**/*.txt, link]
    outputs: [out/all]
    run: |
      echo ran prepare >> "$HOME/ran"
      ./scripts/join.sh > out/all
  check:
    needs: [prepare]
    inputs: [src]
    params: ["params.yaml:check"]
    pass_env: [FLAVOUR]
    run: |
      echo ran check ${greeting} "$@" >> "$HOME/ran"
      mytool
  other:
    inputs: [docs/x.md]
    run: echo ran other >> "$HOME/ran"
"""


def ran(box):
    path = box.home / "ran"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.removeprefix("ran ").split()[0] for line in lines]


class Asked:
    """mlmake, and whether it went the short way: the long one reads the clock of the project, by writing to it."""

    def __init__(self, box, *args, check=0, **kw):
        clock = box.path / ".mlmake/clock"
        if clock.exists():
            os.utime(clock, ns=(1, 1))
        self.result = box.mlmake(*args, check=check, **kw)
        self.short = clock.exists() and clock.stat().st_mtime_ns == 1
        self.returncode, self.stderr, self.stdout = self.result.returncode, self.result.stderr, self.result.stdout


def is_short(asked):
    return asked.short


def settle(box, *args, **env):
    """Runs until the short way is taken; files that are too new keep it from that for a moment."""
    for _ in range(50):
        result = Asked(box, *args, **env)
        if is_short(result):
            assert "nothing to do" in result.stderr
            ran(box)
            return result
        time.sleep(0.01)
    raise AssertionError(f"never settles: {result.stderr}")


@pytest.fixture
def project(box):
    box.git("init", "-q")
    box.write("mlmake.yaml", PROJECT)
    box.write("src/a.txt", "alpha\n")
    box.write("src/deep/b.txt", "beta\n")
    box.write("src/ignored.txt", "gamma\n")
    box.write(".gitignore", "src/ignored.txt\n")
    box.write("docs/x.md", "text\n")
    box.write("params.yaml", "check: {level: 1}\nother: 2\n")
    box.write("scripts/join.sh", "#!/bin/sh\ncat src/*.txt\n", mode=0o755)
    box.write("target-a", "a")
    box.write("target-b", "b")
    (box.path / "link").symlink_to("target-a")
    for name in ("bin", "bin2"):
        tool = box.home / name / "mytool"
        tool.parent.mkdir()
        tool.write_text(f"#!/bin/sh\n: {name}\n")
        tool.chmod(0o755)
    box.env["PATH"] = f"{box.home}/bin:{box.env['PATH']}"
    settle(box, "check")
    return box


def edit_in_place(path, content):
    """The same size, inode and mtime: only ctime tells."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.write(content.ljust(before.st_size)[:before.st_size])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (before.st_size, before.st_mtime_ns, before.st_ino) == (after.st_size, after.st_mtime_ns, after.st_ino)


def relink(box):
    (box.path / "link").unlink()
    (box.path / "link").symlink_to("target-b")


BOTH, PREPARE, CHECK, NOTHING = ["prepare", "check"], ["prepare"], ["check"], []
CHANGES = {  # what changes -> (how, what runs then)
    "an input, its size and mtime kept": (lambda b: edit_in_place(b.path / "src/a.txt", b"ALPHA\n"), BOTH),
    "an input's mode": (lambda b: (b.path / "src/a.txt").chmod(0o755), BOTH),
    "only an input's mtime": (lambda b: os.utime(b.path / "src/a.txt"), NOTHING),
    "what a link leads to": (lambda b: edit_in_place(b.path / "target-a", b"A"), PREPARE),
    "where a link leads": (relink, PREPARE),
    "a new file that a glob matches": (lambda b: b.write("src/new/c.txt", "new\n"), BOTH),
    "a new file that no glob matches": (lambda b: b.write("src/new.md", ""), CHECK),
    "a file that a glob matched is gone": (lambda b: (b.path / "src/deep/b.txt").unlink(), BOTH),
    "an ignored file becomes visible": (lambda b: b.write(".gitignore", ""), BOTH),
    "a file becomes ignored": (lambda b: b.write("src/deep/.gitignore", "b.txt\n"), BOTH),
    "a file becomes ignored for this clone": (lambda b: b.write(".git/info/exclude", "b.txt\n"), BOTH),
    "a parameter": (lambda b: b.write("params.yaml", "check: {level: 2}\nother: 2\n"), CHECK),
    "a parameter of somebody else": (lambda b: b.write("params.yaml", "check: {level: 1}\nother: 3\n"), NOTHING),
    "a script": (lambda b: b.write("scripts/join.sh", "#!/bin/sh\ncat src/a.txt\n"), BOTH),
    "a tool": (lambda b: edit_in_place(b.home / "bin/mytool", b"#!/bin/sh\n: b!n\n"), CHECK),
    "a command": (lambda b: b.write("mlmake.yaml", PROJECT.replace("ran check", "ran check again")), CHECK),
    "a comment in mlmake.yaml": (lambda b: b.write("mlmake.yaml", PROJECT + "# a comment\n"), NOTHING),
    "rules of the repository": (lambda b: b.write("rules/own.yaml", "mlmake_rule: 1\nnonsense: [\n"), None),
    "an output is gone": (lambda b: (b.path / "out/all").unlink(), None),
    "an output was written to": (lambda b: edit_in_place(b.path / "out/all", b"x"), None),
    "the records are gone": (lambda b: shutil.rmtree(b.path / ".mlmake/state"), None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_never_overlooked(project, what):
    change, expected = CHANGES[what]
    change(project)
    result = Asked(project, "check", check=None)
    assert not is_short(result)
    if expected is not None:
        assert ran(project) == expected
    if what == "rules of the repository":
        assert result.returncode == 2
        (project.path / "rules/own.yaml").unlink()
    settle(project, "check")
    if what.startswith("an output"):
        assert project.read("out/all") == b"alpha\ngamma\n"


@pytest.mark.parametrize("variable,expected", [("FLAVOUR", CHECK), ("GREETING", CHECK)])
def test_a_variable_that_counts(project, variable, expected):
    result = Asked(project, "check", **{variable: "new"})
    assert not is_short(result) and ran(project) == expected
    settle(project, "check", **{variable: "new"})
    assert not is_short(Asked(project, "check", **{variable: "newer"}))


def test_a_variable_that_does_not_count(project):
    assert is_short(Asked(project, "check", UNRELATED="1", TERM="dumb"))


def test_another_tool_first_in_path(project):
    project.env["PATH"] = f"{project.home}/bin2:{project.env['PATH']}"
    assert not is_short(Asked(project, "check"))
    assert ran(project) == CHECK


def test_a_tool_that_appears_earlier_in_path(project):
    project.env["PATH"] = f"{project.home}/bin3:{project.env['PATH']}"
    settle(project, "check")
    shutil.copytree(project.home / "bin2", project.home / "bin3")
    assert not is_short(Asked(project, "check"))
    assert ran(project) == CHECK


def test_a_file_that_nothing_asks_for(project):
    project.write("docs/y.md", "")
    assert is_short(Asked(project, "check"))


@pytest.mark.slow
def test_what_is_asked_counts(project):
    for words, expected in ((["prepare"], []), (["check", "prepare"], []), (["check", "vars.greeting=hey"], CHECK),
                            (["check", "--", "word"], CHECK), (["check", "--", "two", "words"], CHECK),
                            (["check", "--", "two words"], CHECK)):
        assert is_short(Asked(project, "check"))
        assert not is_short(Asked(project, *words)), words
        assert ran(project) == expected
        settle(project, "check")


def test_each_question_has_its_own_answer(project):
    project.mlmake("other")
    for target in ("prepare", "other", "check"):
        settle(project, target)
    for target in ("prepare", "other", "check"):
        assert is_short(Asked(project, target))


@pytest.mark.slow
def test_questions_do_not_pile_up(project):
    settle(project, "prepare")
    for i in range(40):
        project.mlmake("prepare", f"vars.greeting={i}")
    assert len(list((project.path / ".mlmake/snapshots").iterdir())) <= 32


def test_another_run_in_between(project):
    """A record that somebody else wrote may be of another environment."""
    project.mlmake("check", FLAVOUR="other")
    ran(project)
    result = Asked(project, "check")
    assert not is_short(result) and "1 from the cache" in result.stderr


def test_what_tells_of_single_targets_goes_the_long_way(project):
    assert "prepare ... up to date" in project.mlmake("-v", "check").stderr
    project.write("mlmake.yaml", "version: 1\ntargets:\n  loud: {inputs: [src], run: echo said}\n")
    settle(project, "loud")
    assert "said" in project.mlmake("--replay", "loud").stdout


def test_forced_and_json_go_the_long_way(project):
    project.mlmake("-B", "check")
    assert sorted(ran(project)) == sorted(BOTH)
    settle(project, "check")
    assert '"up-to-date"' in project.mlmake("--json", "check").stdout


def test_questions_are_answered_the_short_way_too(project):
    settle(project, "-n", "check")
    result = Asked(project, "-q", "check")
    assert is_short(result)
    assert (result.stdout, result.stderr) == ("", "")
    project.write("src/a.txt", "other\n")
    project.mlmake("-q", "check", check=1)
    assert ran(project) == []


def test_in_a_subdirectory_and_from_elsewhere(project):
    assert is_short(Asked(project, "check", cwd=project.path / "src"))
    assert is_short(Asked(project, "-C", project.path, "check", cwd="/"))


def test_another_config_file(project):
    project.write("other.yaml", PROJECT.replace("ran check", "ran check otherwise"))
    project.write("third.yaml", PROJECT.replace("ran check", "ran check thirdly"))
    assert not is_short(Asked(project, "-f", "other.yaml", "check"))
    assert ran(project) == CHECK
    settle(project, "-f", "other.yaml", "check")
    assert not is_short(Asked(project, "-f", "third.yaml", "check"))
    assert ran(project) == CHECK


def test_a_nearer_project(project):
    project.write("src/mlmake.yaml", "version: 1\ntargets:\n  check: {run: echo ran inner >> $HOME/ran}\n")
    project.mlmake("check", cwd=project.path / "src")
    assert ran(project) == ["inner"]


def test_an_upgrade(project):
    original, mine = project.binary, project.home / "mlmake"
    shutil.copy(original, mine)
    project.binary = str(mine)
    settle(project, "check")
    mine.unlink()
    shutil.copy(original, mine)
    assert not is_short(Asked(project, "check"))


def test_the_commit_counts_where_it_is_used(project):
    project.write("mlmake.yaml", "version: 1\ntargets:\n  t: {inputs: [src], run: 'echo ran ${git.sha} >> $HOME/ran'}\n")
    project.git("add", ".")
    project.git("commit", "-qm", "one")
    for _ in range(3):
        project.mlmake("t")
        time.sleep(0.01)
    ran(project)
    project.git("commit", "-qm", "two", "--allow-empty")
    project.mlmake("t")
    sha = project.git("rev-parse", "HEAD").stdout.strip()
    assert ran(project) == [sha]


def test_tracked_data(project):
    project.mlmake("data", "init")
    project.write("data/train.csv", "1,2\n")
    project.mlmake("data", "add", "data/train.csv")
    project.write("mlmake.yaml", "version: 1\ntargets:\n  t: {inputs: [data/train.csv], run: 'echo ran t >> $HOME/ran'}\n")
    settle(project, "t")
    edit_in_place(project.path / "data/train.csv", b"2,2\n")
    assert not is_short(Asked(project, "t"))
    assert ran(project) == ["t"]
    project.mlmake("data", "add", "data/train.csv")
    settle(project, "t")
    # Absent, it counts by what the .dvc file says.
    (project.path / "data/train.csv").unlink()
    result = Asked(project, "t")
    assert not is_short(result) and ran(project) == []
    settle(project, "t")
    dvc = project.path / "data/train.csv.dvc"
    dvc.write_text(re.sub("md5: [0-9a-f]{8}", "md5: 01234567", dvc.read_text()))
    assert not is_short(Asked(project, "t", check=None))


CHAIN = """\
version: 1
rules: []
targets:
  first: {inputs: [in/1], outputs: [out/1], run: 'echo ran first >> "$HOME/ran"; cat in/1 > out/1'}
  second: {inputs: [out/1, in/2], outputs: [out/2], run: 'echo ran second >> "$HOME/ran"; cat out/1 in/2 > out/2'}
  third: {needs: [second], run: 'echo ran third >> "$HOME/ran"'}
  apart: {inputs: [in/3], outputs: [out/3], run: 'echo ran apart >> "$HOME/ran"; cat in/3 > out/3'}
  all: {needs: [third, apart]}
"""


@pytest.fixture
def chain(box):
    box.git("init", "-q")
    box.write("mlmake.yaml", CHAIN)
    for i in (1, 2, 3):
        box.write(f"in/{i}", f"{i}\n")
    settle(box, "all")
    return box


def doubted(box):
    """What the last run left in doubt; None if nothing says so."""
    path = box.path / ".mlmake/since"
    content = b"".join(file.read_bytes() for file in path.iterdir()) if path.exists() else b""
    return {name for name in ("first", "second", "third", "apart") if f"{name}\0".encode() in content} or None


def tamper(box, name):
    """What the long way would notice, and no stamp tells: the record of a target is gone, and the transaction is as it was."""
    for file in (box.path / ".mlmake/state").glob("data.mdb"):
        content = file.read_bytes()
        assert name in content
        file.write_bytes(content.replace(name, bytes(reversed(name))))


def test_after_a_change_only_what_it_puts_in_doubt_is_looked_at(chain):
    chain.write("in/3", "three\n")
    chain.mlmake("all")
    assert ran(chain) == ["apart"] and doubted(chain) == {"apart"}
    # Again, without an answer in between.
    chain.write("in/2", "two\n")
    chain.mlmake("all")
    assert ran(chain) == ["second", "third"] and doubted(chain) == {"apart", "second", "third"}
    # Its record would not be found, if anybody looked for it; nothing has put it in doubt.
    tamper(chain, b"out/1\0\x01")
    settle(chain, "all")
    assert ran(chain) == []
    # From now on everything is looked at.
    chain.write("mlmake.yaml", CHAIN + "# a comment\n")
    assert "1 from the cache" in chain.mlmake("all").stderr


def test_what_was_put_in_doubt_stays_so(chain):
    """Its files may be as they were while its record is not."""
    output = chain.path / "out/3"
    kept = chain.home / "kept"
    os.rename(output, kept)
    chain.write("in/3", "three\n")
    chain.mlmake("all")
    assert ran(chain) == ["apart"]
    chain.write("in/1", "one\n")
    chain.mlmake("all")
    assert ran(chain) == ["first", "second", "third"]
    os.replace(kept, output)
    chain.write("in/3", "3\n")
    chain.mlmake("all")
    assert ran(chain) in ([], ["apart"]) and output.read_text() == "3\n"


def test_a_failure_leaves_its_target_in_doubt(chain):
    chain.write("mlmake.yaml", CHAIN.replace("cat in/3", "grep -v bad in/3"))
    settle(chain, "all")
    chain.write("in/3", "bad\n")
    chain.mlmake("-k", "all", check=1)
    ran(chain)
    chain.write("in/2", "two\n")
    chain.mlmake("-k", "all", check=1)
    assert sorted(ran(chain)) == ["apart", "second", "third"]
    chain.write("in/3", "good\n")
    chain.mlmake("all")
    assert ran(chain) == ["apart"]
    settle(chain, "all")


def test_another_process_writes_in_between(chain):
    """Its records may be of anything: then all is looked at."""
    chain.write("in/3", "three\n")
    chain.mlmake("all")
    chain.mlmake("first", "-B")
    (chain.path / "out/1").write_text("other\n")
    chain.mlmake("all")
    assert (chain.path / "out/1").read_text() == "1\n"


def test_accepting_and_forcing_leave_no_doubts(chain):
    chain.write("in/1", "one\n")
    chain.mlmake("--touch", "all")
    assert doubted(chain) is None
    chain.write("in/2", "two\n")
    chain.mlmake("-B", "all")
    assert doubted(chain) is None and sorted(ran(chain)) == ["apart", "first", "second", "third"]
    assert (chain.path / "out/2").read_text() == "one\ntwo\n"


def test_a_dry_run_after_a_change(chain):
    settle(chain, "-n", "all")
    chain.write("in/1", "one\n")
    said = chain.mlmake("-n", "all").stdout
    assert "first" in said and "second" in said and "apart" not in said
    assert said == chain.mlmake("-n", "all").stdout
    chain.mlmake("all")
    assert ran(chain) == ["first", "second", "third"]


def test_the_state_may_lie_elsewhere(project):
    away = project.home / "state"
    settle(project, "check", MLMAKE_STATE_DIR=away)
    assert list(away.glob("*/snapshots/*"))
    settle(project, "check")
    assert is_short(Asked(project, "check", MLMAKE_STATE_DIR=away))


def test_values_of_variables_are_not_kept(project):
    settle(project, "check", FLAVOUR="very-secret-flavour")
    for path in (project.path / ".mlmake").rglob("*"):
        if path.is_file():
            assert b"very-secret-flavour" not in path.read_bytes()


def test_a_tree_that_cannot_be_written(project):
    """No snapshot, no harm: what cannot be kept is looked at again."""
    shutil.rmtree(project.path / ".mlmake/snapshots")
    project.write(".mlmake/snapshots", "a file in the way")
    result = project.mlmake("-v", "check")
    assert "nothing to do" in result.stderr and "no snapshot" in result.stderr


@pytest.mark.slow
def test_edits_right_after_a_run(box):
    """Edits in the tick of a run or just after it: each is seen, whatever snapshot was kept before it."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {inputs: [in], outputs: [out], run: cp in out}\n")
    path = box.write("in", f"{0:06}")
    (box.path / "out").touch()
    shorts = 0
    for i in range(1, 200):
        for _ in range(chance.randrange(3)):
            time.sleep(chance.choice([0, 0, 0.001, 0.005]))
            shorts += is_short(Asked(box, "t", "--no-cache"))
        how = chance.randrange(4)
        if how == 0:
            edit_in_place(path, f"{i:06}".encode())
        elif how == 1:
            box.write("in", f"{i:06}")
        elif how == 2:
            box.write("in.new", f"{i:06}").rename(path)
        else:
            with open(path, "r+b") as file:
                file.write(f"{i:06}".encode())
        box.mlmake("t", "--no-cache")
        assert box.read("out") == f"{i:06}".encode(), f"seed {seed}, step {i}, how {how}"
    assert shorts > 10


def test_git_values_do_not_keep_from_the_short_way(box):
    """Commit and branch come from git's own files, which count like any others."""
    box.git("init", "-q", "-b", "main")
    box.write("mlmake.yaml", 'version: 1\nrules: []\ntargets:\n  t:\n    outputs: [out/v]\n    run: |\n      echo ran t >> "$HOME/ran"\n'
                             "      echo ${git.sha} ${git.branch} > out/v\n")
    box.write(".gitignore", "out/\n")
    box.git("add", "-A")
    box.git("commit", "-qm", "one")
    settle(box, "t")
    for change in (["commit", "-q", "--allow-empty", "-m", "two"], ["checkout", "-q", "-b", "feature/x"]):
        box.git(*change)
        assert "done in" in box.mlmake("t").stderr
        sha = box.git("rev-parse", "HEAD").stdout.strip()
        branch = box.git("rev-parse", "--abbrev-ref", "HEAD").stdout.strip()
        assert box.read("out/v").decode() == f"{sha} {branch}\n"
        settle(box, "t")
    box.git("pack-refs", "--all")  # the same commit, elsewhere
    assert "nothing to do" in box.mlmake("t").stderr
    settle(box, "t")
