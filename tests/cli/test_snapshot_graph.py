"""What mlmake.yaml says, kept between runs: when it is taken from there, and everything after which it must not be."""
import ctypes
import os
import random
import re
import select
import shutil
import struct
import time

import pytest

PROJECT = """\
version: 1
vars:
  greeting: ${env:GREETING:-hello}
pools: {one: 1}
targets:
  prepare:
    desc: puts it together
    inputs: [src/**/*.txt, "!src/no.txt"]
    outputs: [out/all]
    run: cat src/*.txt > out/all
  check:
    needs: [prepare]
    after: [other]
    inputs: [out]
    params: ["params.yaml:check"]
    pass_env: [FLAVOUR]
    timeout: 1m
    pool: one
    run: echo ${greeting} ${params.check.level} "$@" >> "$HOME/said"
  other:
    inputs: [docs/x.md]
    run: echo other >> "$HOME/said"
  all: {needs: [check, other]}
"""
IN_OPEN, IN_NONBLOCK = 0x20, 0o4000


class Watch:
    """Whether a file was opened meanwhile, by anybody: the kernel says so."""

    def __init__(self, path):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(IN_NONBLOCK)
        if self.libc.inotify_add_watch(self.fd, os.fsencode(path), IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def opened(self):
        ready, _, _ = select.select([self.fd], [], [], 0)
        seen = bool(ready) and len(os.read(self.fd, 65536)) >= struct.calcsize("iIII")
        os.close(self.fd)
        return seen


class Asked:
    """mlmake, and whether it read mlmake.yaml for its answer."""

    def __init__(self, box, *args, check=0, config="mlmake.yaml", **kw):
        watch = Watch(box.path / config)
        self.result = box.mlmake(*args, check=check, **kw)
        self.read = watch.opened()
        self.stdout, self.stderr, self.returncode = self.result.stdout, self.result.stderr, self.result.returncode


def settle(box, *args, **kw):
    """Until nothing is too new to be believed."""
    for _ in range(50):
        asked = Asked(box, *args, **kw)
        if not asked.read:
            return asked
        time.sleep(0.01)
    raise AssertionError(f"never settles: {asked.stderr}")


def said(box):
    path = box.home / "said"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


@pytest.fixture
def project(box):
    box.git("init", "-q")
    box.write("mlmake.yaml", PROJECT)
    box.write("src/a.txt", "alpha\n")
    box.write("docs/x.md", "text\n")
    box.write("params.yaml", "check: {level: 1}\nother: 2\n")
    (box.path / "out").mkdir()
    box.mlmake("all")
    settle(box, "list")
    said(box)
    return box


def edit_in_place(path, old, new):
    """The same size, inode and mtime: only ctime tells."""
    before = path.stat()
    text = path.read_text()
    assert old in text and len(old) == len(new)
    with open(path, "r+") as file:
        file.write(text.replace(old, new))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_an_edit_elsewhere_does_not_read_the_configuration(project):
    project.write("src/a.txt", "beta\n")
    asked = Asked(project, "all")
    assert not asked.read and project.read("out/all") == b"beta\n"
    assert said(project) == ["hello 1"]
    (project.path / "out/all").unlink()
    asked = Asked(project, "all")
    assert not asked.read and project.read("out/all") == b"beta\n"


def test_the_first_run_after_a_build(box):
    box.write("mlmake.yaml", "version: 1\nrules: none\ntargets:\n  t: {outputs: [x], run: touch x}\n")
    time.sleep(0.05)
    box.mlmake("t")
    asked = Asked(box, "t")
    assert not asked.read and "nothing to do" in asked.stderr


CHANGES = {  # what changes -> (how, what check says then; None: the configuration is refused)
    "a command": (lambda b: b.write("mlmake.yaml", PROJECT.replace("echo ${greeting}", "echo also ${greeting}")), ["also hello 1"]),
    "a command, size and mtime kept": (lambda b: edit_in_place(b.path / "mlmake.yaml", "echo ${greeting}", "echo ${xreeting}"), None),
    "a comment": (lambda b: b.write("mlmake.yaml", PROJECT + "# a comment\n"), []),
    "its mode": (lambda b: (b.path / "mlmake.yaml").chmod(0o600), []),
    "a parameter that is a value": (lambda b: b.write("params.yaml", "check: {level: 7}\nother: 2\n"), ["hello 7"]),
    "a parameter of nobody": (lambda b: b.write("params.yaml", "check: {level: 1}\nother: 3\n"), []),
    "a rule of the repository": (lambda b: b.write("rules/own.yaml", "mlmake_rule: 1\nnonsense: [\n"), None),
    "what a rule looks for": (lambda b: b.write("requirements.txt", ""), []),
    "an ignore file": (lambda b: b.write(".gitignore", "src\n"), []),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_of_the_configuration(project, what):
    change, expected = CHANGES[what]
    change(project)
    asked = Asked(project, "check", check=None)
    assert asked.read
    assert asked.returncode == (2 if expected is None else 0), asked.stderr
    assert said(project) == (expected or [])
    if what == "what a rule looks for":
        assert "install" in project.mlmake("list").stdout


def test_a_variable_of_the_environment(project):
    assert Asked(project, "check", GREETING="hi").read
    assert said(project) == ["hi 1"]
    settle(project, "list", GREETING="hi")
    assert Asked(project, "check", GREETING="hey").read
    assert said(project) == ["hey 1"]
    assert Asked(project, "check").read
    settle(project, "list")
    asked = Asked(project, "check", UNRELATED="1", FLAVOUR="new")
    assert not asked.read and said(project) == ["hello 1"]


def test_each_command_line_has_its_own(project):
    for word, line in (("vars.greeting=hey", "hey 1"), ("params.check.level=9", "hello 9")):
        assert Asked(project, "check", word).read
        assert said(project) == [line]
        settle(project, "-n", "check", word)
    for text, words, line in (("gamma", ["vars.greeting=hey"], "hey 1"), ("delta", [], "hello 1")):
        project.write("src/a.txt", text)
        assert not Asked(project, "check", *words).read
        assert said(project) == [line]


def test_another_file(project):
    project.write("other.yaml", PROJECT.replace("echo ${greeting}", "echo other ${greeting}"))
    settle(project, "list", "-f", "other.yaml", config="other.yaml")
    for name in ("other", "third"):
        project.write(f"{name}.yaml", PROJECT.replace("echo ${greeting}", f"echo {name} ${{greeting}}"))
        assert Asked(project, "-f", f"{name}.yaml", "check", config=f"{name}.yaml").read
        assert said(project) == [f"{name} hello 1"]
    # The same words mean another file elsewhere.
    project.write("src/other.yaml", PROJECT.replace("echo ${greeting}", "echo inner ${greeting}"))
    asked = Asked(project, "-f", "other.yaml", "check", cwd=project.path / "src", config="src/other.yaml")
    assert asked.read and said(project) == ["inner hello 1"]


def test_the_commit_counts_where_it_is_used(project):
    project.write("mlmake.yaml", "version: 1\ntargets:\n  t: {inputs: [src], run: 'echo ${git.sha} >> $HOME/said'}\n")
    project.git("add", ".")
    project.git("commit", "-qm", "one")
    for _ in range(3):
        project.mlmake("t")
        time.sleep(0.02)
    said(project)
    project.git("commit", "-qm", "two", "--allow-empty")
    project.mlmake("t")
    assert said(project) == [project.git("rev-parse", "HEAD").stdout.strip()]


def test_an_upgrade(project):
    original, mine = project.binary, project.home / "mlmake"
    shutil.copy(original, mine)
    project.binary = str(mine)
    assert Asked(project, "list").read
    settle(project, "list")
    mine.unlink()
    shutil.copy(original, mine)
    assert Asked(project, "list").read


def test_it_says_the_same(project):
    """All that tells of the graph: read from the file, and taken from what was kept."""
    questions = [("list", "--json"), ("list", "--all"), ("graph", "--format", "json"), ("graph", "--format", "dot"), ("why", "check"),
                 ("why", "check", "prepare"), ("rules",), ("-n", "check"), ("-n", "nonsense")]
    project.write("src/a.txt", "changed\n")
    for words in questions:
        shutil.rmtree(project.path / ".mlmake/graphs", ignore_errors=True)
        first = Asked(project, *words, check=None)
        settle(project, "list")
        second = Asked(project, *words, check=None)
        assert first.read and not second.read, words
        told = [(re.sub(r"just now|\d+ seconds? ago", "a moment ago", asked.stdout), asked.stderr, asked.returncode) for asked in (first, second)]
        assert told[0] == told[1]


def test_an_error_shows_its_line(project):
    (project.path / "docs/x.md").unlink()
    asked = Asked(project, "other", check=2)
    assert "mlmake.yaml:21:14: error: unknown input 'docs/x.md'" in asked.stderr
    assert "inputs: [docs/x.md]" in asked.stderr


def test_nothing_is_left_where_mlmake_never_ran(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("params.yaml", "check: {level: 1}\n")
    box.mlmake("list")
    assert not (box.path / ".mlmake").exists()


def kept(box):
    graphs = list((box.path / ".mlmake/graphs").iterdir())
    assert len(graphs) == 1
    return graphs[0]


@pytest.mark.slow
def test_damage_leads_the_long_way(project):
    path = kept(project)
    good = path.read_bytes()
    truth = project.mlmake("list", "--json").stdout
    seed = random.randrange(1 << 30)
    print("seed", seed)
    chance = random.Random(seed)
    bad = [good[:n] for n in (0, 1, 15, 16, len(good) // 2, len(good) - 1)] + [good + b"x", bytes(len(good))]
    for _ in range(40):
        at, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
        bad.append(good[:at] + bytes([good[at] ^ bit]) + good[at + 1:])
    for damaged in bad:
        path.write_bytes(damaged)
        asked = Asked(project, "list", "--json")
        assert asked.read and asked.stdout == truth
    path.write_bytes(good)
    assert not Asked(project, "list", "--json").read


def test_what_is_kept_does_not_pile_up(project):
    for i in range(20):
        project.mlmake("-n", "check", f"vars.greeting={i}")
    assert len(list((project.path / ".mlmake/graphs").iterdir())) <= 8


def test_secrets_are_not_kept(project):
    project.write("mlmake.yaml", PROJECT.replace("pass_env: [FLAVOUR]", "secrets: [TOKEN]"))
    settle(project, "list", TOKEN="hush-hush-value")
    project.mlmake("check", TOKEN="hush-hush-value")
    for path in (project.path / ".mlmake").rglob("*"):
        if path.is_file():
            assert b"hush-hush-value" not in path.read_bytes()
