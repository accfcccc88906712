"""mlmake completion: what each shell is given. bash's own function is called with the line up to the cursor."""
import shutil

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  train: {run: 'true', desc: train the classifier}
  test: {run: 'true'}
  api:test: {run: 'true'}
  api:lint: {run: 'true'}
  hidden: {run: 'true', private: true}
"""

# What readline does: the words as bash splits them, at ':' and '=', too.
DRIVER = r"""
source <("$1" completion bash)
COMP_LINE=$2 COMP_POINT=${#2} COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
_mlmake "$1" "" ""
printf '%s\n' "${COMPREPLY[@]}"
complete -p mlmake
"""


@pytest.fixture
def project(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("other.yaml", PROJECT.replace("train:", "deploy:"))
    (box.path / "sub").mkdir()
    return box


def bash(box, line, **kw):
    found = box.run("bash", "-c", DRIVER, "bash", box.binary, line, check=0, **kw)
    assert found.stderr == ""
    *words, completes = found.stdout.splitlines()
    assert completes == "complete -o bashdefault -o default -F _mlmake mlmake"
    return [w for w in words if w]


@pytest.mark.parametrize("line, words", [
    ("mlmake tr", ["train"]),
    ("mlmake t", ["train", "test"]),
    ("mlmake hid", []),
    ("mlmake compl", ["completion"]),
    ("mlmake data pu", ["push", "pull"]),
    ("mlmake data remote re", ["remove", "rename"]),
    ("mlmake data pull --re", ["--remote"]),
    ("mlmake data pull --js", ["--json"]),
    ("mlmake data add ", []),
    ("mlmake --dry", ["--dry-run"]),
    ("mlmake test --keep", ["--keep-going"]),
    ("mlmake run te", ["test"]),
    ("mlmake run data", []),
    ("mlmake why tr", ["train"]),
    ("mlmake run -j 4 tr", ["train"]),
    ("mlmake run -j t", []),
    ("mlmake --jobs=4 tr", ["train"]),
    ("mlmake test -- t", []),
    ("mlmake -f other.yaml d", ["data", "deploy"]),
    ("mlmake -f other.yaml run t", ["test"]),
    ("mlmake -C sub tr", ["train"]),
    ("mlmake -C nowhere tr", []),
    ("mlmake api:", ["test", "lint"]),
    ("mlmake api:te", ["test"]),
    ("mlmake ap", ["api:test", "api:lint"]),
    ("mlmake help da", ["data"]),
    ("mlmake help data remote mo", ["modify"]),
    ("mlmake rules s", ["show"]),
    ("mlmake new t", ["tabular"]),
    ("mlmake completion f", ["fish"]),
    ("mlmake ci generate --fo", ["--force"]),
    ("mlmake hook i", ["install"]),
])
def test_bash(project, line, words):
    found = bash(project, line)
    if line.endswith("mlmake t") or line.endswith("d"):
        found = [w for w in found if w in words]
    assert sorted(found) == sorted(words)


def test_bash_elsewhere(project):
    """In a subdirectory the same targets; without or with a broken project commands alone."""
    assert bash(project, "mlmake tr", cwd=project.path / "sub") == ["train"]
    assert {"list", "run", "data"} <= set(bash(project, "mlmake ", cwd=project.home))
    project.write("mlmake.yaml", "targets: [\n")
    assert bash(project, "mlmake da") == ["data"]
    assert bash(project, "mlmake run t") == []


def test_targets_wherever_a_command_takes_them(project):
    text = project.mlmake("--help").stdout.split("\nCommands:\n")[1].split("\n\n")[0]
    names = [line.split()[0] for line in text.splitlines()]
    takes = [n for n in names if "TARGET" in project.mlmake(n, "--help").stdout.split("\n")[0]]
    assert {"run", "list", "why", "log"} <= set(takes)
    for name in takes:
        assert bash(project, f"mlmake {name} tr") == ["train"], name


def test_rules_are_completed(gitbox):
    gitbox.write("requirements.txt", "iniconfig\n")
    gitbox.write("test_a.py", "")
    gitbox.git("add", ".")
    assert bash(gitbox, "mlmake rules show pyte") == ["pytest"]


def test_words_say_what_they_are(project):
    assert project.mlmake("completion", "words", "--", "tr").stdout == "train\ttrain the classifier\n"
    assert "--remote\tthat remote" in project.mlmake("completion", "words", "--", "data", "push", "--rem").stdout


def test_every_command_has_options(project):
    """Commands read their table before they do anything: completing must not run them."""
    before = sorted(p.name for p in project.path.iterdir())
    for command in (["init"], ["new"], ["schema"], ["data", "init"], ["data", "root"], ["hook", "install"], ["ci", "generate"],
                    ["version"], ["rules"], ["completion"], ["data", "remote", "default"], ["graph"], ["log"], ["list"]):
        words = project.mlmake("completion", "words", "--", *command, "-").stdout
        assert "--help\tshow this help\n" in words and "-C\t" in words, command
    assert sorted(p.name for p in project.path.iterdir()) == before


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells(project, shell):
    script = project.mlmake("completion", shell).stdout
    assert "completion words -- " in script
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    path = project.write(f"completion.{shell}", script)
    project.run(shell, "-n", path, check=0)
    if shell == "fish":
        (project.home / "bin").mkdir()
        (project.home / "bin/mlmake").symlink_to(project.binary)
        found = project.run("fish", "--no-config", "-c", f"set PATH {project.home}/bin $PATH; source {path}; complete -C 'mlmake tr'", check=0)
        assert found.stdout == "train\ttrain the classifier\n"


def test_names_of_shells(box):
    assert "wants the name of a shell" in box.mlmake("completion", check=2).stderr
    assert "no completion for the shell 'ksh'" in box.mlmake("completion", "ksh", check=2).stderr
