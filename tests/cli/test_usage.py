"""The command line as such: help, misspelt words, options before and after, standard streams that are closed."""
import re
import subprocess

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  hello: {run: echo hello}
  args: {run: 'echo "$@"'}
"""


@pytest.fixture
def project(box):
    box.write("mlmake.yaml", PROJECT)
    return box


def every_command(box, prefix=()):
    """Each command and subcommand, with its help."""
    text = box.mlmake(*prefix, "--help").stdout
    yield prefix, text
    if "\nCommands:\n" in text:
        for name in re.findall(r"^  (\w+)  ", text.split("\nCommands:\n")[1].split("\n\n")[0], re.M):
            yield from every_command(box, (*prefix, name))


@pytest.mark.slow
def test_help_of_every_command(box):
    """Says how it is called, gives an example of it, and lists the options; the same from `help`."""
    commands = dict(every_command(box))
    assert len(commands) > 30 and ("data", "remote", "add") in commands
    for command, text in commands.items():
        assert text.startswith(f"Usage: mlmake {' '.join(command)}".rstrip()) and text.endswith("\n"), text
        assert re.search(rf"^ +.*\bmlmake .*{command[-1] if command else ''}", text, re.M), text
        assert "Usage" in text and not re.search(r"[^\n]\n(Options|Commands):\n", text), text
        assert all(len(line) <= 130 for line in text.split("\n")), text
        if command and "\nCommands:\n" not in text:
            assert "\n  -C DIR " in text and "\n  -h, --help " in text, text
        assert box.mlmake("help", *command).stdout == text


@pytest.mark.parametrize("args, message, hint", [
    (["tset"], "there is no target 'tset'", "no mlmake.yaml"),
    (["test"], "there is no target 'test'", "no mlmake.yaml"),
    (["lst"], "there is no target 'lst'", "did you mean 'mlmake list'?"),
    (["data", "pul"], "has no command 'pul'", "did you mean 'mlmake data pull'?"),
    (["ci", "gen"], "has no command 'gen'", "did you mean 'mlmake ci generate'?"),
    (["help", "dta"], "has no command 'dta'", "did you mean 'mlmake data'?"),
    (["help", "data", "pul"], "has no command 'pul'", "did you mean 'mlmake data pull'?"),
    (["-C"], "option '-C' wants a value", "--help"),
    (["-C", "nowhere"], "cannot change to directory 'nowhere'", "exists"),
    (["list", "-C", "nowhere"], "cannot change to directory 'nowhere'", "exists"),
    (["new", "--json"], "unknown option '--json'", "no result to print as JSON"),
    (["data", "remote", "add"], "'mlmake data remote add' wants NAME URL", "--help"),
])
def test_mistakes(box, args, message, hint):
    result = box.mlmake(*args, check=2)
    assert message in result.stderr and hint in result.stderr and result.stdout == ""


def test_groups_take_help_as_a_word(box):
    assert box.mlmake("data", "help").stdout == box.mlmake("data", "--help").stdout


def test_options_may_follow(project):
    project.write("sub/x", "")
    project.write("other.yaml", PROJECT.replace("hello", "bye"))
    for args in (["-C", "sub", "hello"], ["hello", "-C", "sub"], ["run", "hello", "-Csub"]):
        assert project.mlmake(*args).stdout == "hello\n"
    for args in (["-f", "other.yaml", "bye"], ["bye", "--file=other.yaml"], ["run", "bye", "-f", "other.yaml"]):
        assert project.mlmake(*args).stdout == "bye\n"
    assert project.mlmake("args", "--", "-C", "x").stdout == "-C x\n"


def test_arguments_want_a_target(project):
    assert "no target is named" in project.mlmake("--", "-k", "slow", check=2).stderr


def test_verbose_names_what_is_up_to_date(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  a: {inputs: [mlmake.yaml], run: 'true'}\n")
    assert "a runs: no record of a success" in box.mlmake("a", "-v").stderr
    assert "a ... up to date" in box.mlmake("a", "-v").stderr


def test_closed_streams_lose_nothing_but_their_own(project):
    """With descriptor 1 free, the first file that is opened would get it, and be written over."""
    program = f"exec {project.binary} hello"
    result = project.run("sh", "-c", program + " >&-", check=1)
    assert "cannot write the result" in result.stderr
    assert project.run("sh", "-c", program + " 2>&-", check=0).stdout == "hello\n"
    assert project.run("sh", "-c", program + " <&-", check=0).stdout == "hello\n"
    with open("/dev/full", "w", encoding="ascii") as full:
        assert subprocess.run([project.binary, "list"], cwd=project.path, env=project.env, stdout=full, check=False,
                              stderr=subprocess.DEVNULL).returncode == 1


@pytest.mark.parametrize("words, said", [
    (["version", "x"], "'mlmake version' takes no arguments, but there is 'x'"),
    (["schema", "x"], "'mlmake schema' takes no arguments"),
    (["doctor", "x"], "it looks at all that the targets here need"),
    (["log"], "'mlmake log' wants one target\nhint: 'mlmake list' shows them"),
    (["why", "a", "b", "c"], "wants one target, or two"),
    (["data", "root", "x"], "'mlmake data root' takes no arguments"),
    (["data", "add"], "'mlmake data add' wants PATH..."),
    (["data", "move", "a"], "'mlmake data move' wants FROM TO\nhint: 'mlmake data move --help' shows examples"),
    (["data", "diff", "a", "b", "c"], "paths come after --"),
    (["data", "remote", "rename", "a"], "'mlmake data remote rename' wants NAME NEW"),
    (["ci", "check", "x"], "'mlmake ci check' takes no arguments"),
    (["hook", "install", "x"], "the one hook there is, is pre-commit"),
])
def test_too_many_or_too_few_operands(box, words, said):
    assert said in box.mlmake(*words, check=2).stderr
