"""What is inferred from a repository without mlmake.yaml."""
import json
import textwrap

import pytest


def plain_project(box, tests="test_app.py"):
    box.write("requirements.txt", "")
    box.write("app.py", "def f(x):\n    return x + 1\n")
    box.write(tests, "import app\n\n\ndef test_f():\n    assert app.f(1) == 2\n")


def names(box):
    return [t["name"] for t in json.loads(box.mlmake("list", "--json").stdout)["targets"]]


@pytest.mark.parametrize("tests", ["test_app.py", "tests/test_app.py", "tests/unit/app_test.py"])
def test_inferred_targets(gitbox, tests):
    plain_project(gitbox, tests)
    gitbox.write("Dockerfile", "FROM scratch\n")
    assert names(gitbox) == ["install", "lint", "test", "build"]
    out = gitbox.mlmake("rules").stdout
    assert f"because: found requirements.txt and found {tests}" in out
    matched = {r["name"]: r for r in json.loads(gitbox.mlmake("rules", "--json").stdout)["rules"]}
    assert matched["dockerfile"]["why"] == "found Dockerfile" and matched["dockerfile"]["targets"] == ["build"]


def test_only_what_is_there(gitbox):
    gitbox.write("app.py", "")
    assert names(gitbox) == []
    gitbox.write("requirements.txt", "")
    assert names(gitbox) == ["install", "lint"]
    # What git ignores is not the project's.
    gitbox.write(".gitignore", "/vendor\n")
    gitbox.write("vendor/test_x.py", "")
    assert names(gitbox) == ["install", "lint"]


def test_declared_targets_win(gitbox):
    plain_project(gitbox)
    gitbox.write("mlmake.yaml", "targets: {test: {desc: mine, run: x}}\n")
    listed = {t["name"]: t for t in json.loads(gitbox.mlmake("list", "--json").stdout)["targets"]}
    assert listed["test"]["origin"] == "mlmake.yaml" and listed["lint"]["origin"] == "rule:pylint"
    gitbox.write("mlmake.yaml", "rules: none\ntargets: {test: {run: x}}\n")
    assert names(gitbox) == ["test"]
    gitbox.write("mlmake.yaml", "rules: [python-pip]\n")
    assert names(gitbox) == ["install"]
    gitbox.write("mlmake.yaml", "rules: [python-pop]\n")
    assert "did you mean 'python-pip'?" in gitbox.mlmake("list", check=2).stderr


def test_rules_of_the_repository(gitbox):
    plain_project(gitbox)
    gitbox.write("rules/hello.yaml", textwrap.dedent("""\
        mlmake_rule: 1
        detect: {matches: {file: '*.py', pattern: '^def f\\('}}
        vars:
          greeting: [{value: no, matches: {file: app.py, pattern: '^return'}}, {value: hello, not: {file: none}}, {value: last}]
        targets: {hello: {desc: 'says ${greeting}', run: 'echo ${greeting}'}}
        """))
    gitbox.write("rules/unrelated.yaml", "%%% not a rule of mlmake\n")
    assert "hello" in names(gitbox)
    assert "says hello" in gitbox.mlmake("list").stdout
    # One of the same name replaces the built-in rule.
    gitbox.write("rules/pytest.yaml", "mlmake_rule: 1\ndetect: {file: app.py}\ntargets: {test: {desc: other, run: x}}\n")
    assert "other" in gitbox.mlmake("list").stdout
    assert gitbox.mlmake("rules", "show", "pytest").stdout.startswith("# rules/pytest.yaml\n")
    gitbox.write("rules/bad.yaml", "mlmake_rule: 1\ndetect: {fiel: x}\ntargets: {t: {run: x}}\n")
    result = gitbox.mlmake("list", check=2)
    assert result.stderr.startswith("rules/bad.yaml:2:10: error: unknown condition 'fiel'")
    gitbox.write("rules/bad.yaml", "mlmake_rule: 1\ndetect: {matches: {file: app.py, pattern: '('}}\ntargets: {t: {run: x}}\n")
    result = gitbox.mlmake("list", check=2)
    assert result.stderr.startswith("rules/bad.yaml:2:43: error: ") and "hint: " in result.stderr


def test_show(box):
    out = box.mlmake("rules", "show", "pytest").stdout
    assert out.startswith("# built in\nmlmake_rule: 1\n")
    assert "did you mean 'pytest'?" in box.mlmake("rules", "show", "pytset", check=2).stderr
    assert box.mlmake("rules", "show", check=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize("codes, said", [
    ({"0": 4, "1": 16}, "exit code 20: warnings, conventions"), ({"0": 0, "1": 2}, "exit code 2: errors"),
    ({"0": 0, "1": 127}, "exit code 127)"), ({}, None)])
def test_lint_puts_the_exit_codes_of_its_parts_together(gitbox, codes, said):
    """More names than one command line holds; a stand-in for pylint, which would take minutes."""
    count = 2600
    for n in range(count):
        gitbox.write(f"pkg/{n % 2}_{'x' * 60}_{n}.py", "")
    gitbox.write("requirements.txt", "")
    gitbox.write("mlmake.yaml", "version: 1\ntargets:\n  install: {inputs: [requirements.txt], run: 'true'}\n")
    gitbox.write(".gitignore", ".venv\nruns\n")
    gitbox.write(".venv/bin/python", """\
#!/bin/sh
n=$(ls runs 2>/dev/null | wc -l); mkdir -p runs; for a; do case $a in *.py) echo "$a";; esac; done > runs/$n
echo "part $n"; exit $(cat codes/$n 2>/dev/null || echo 0)
""", 0o755)
    for part, code in codes.items():
        gitbox.write(f"codes/{part}", str(code))
    result = gitbox.mlmake("lint", check=1 if said else 0)
    parts = sorted((gitbox.path / "runs").iterdir())
    assert len(parts) >= 2 and sum(len(part.read_text().split()) for part in parts) == count
    assert "part 0\npart 1\n" in result.stdout
    assert said is None or said in result.stderr


@pytest.mark.slow
def test_test_and_lint_work_in_a_plain_repository(gitbox):
    plain_project(gitbox, "tests/test_app.py")
    gitbox.write("tests/conftest.py", "")
    gitbox.git("add", ".")
    gitbox.git("commit", "-qm", "start")
    result = gitbox.mlmake("test")
    assert "1 passed" in result.stdout + result.stderr
    again = gitbox.mlmake("test")
    assert "2 up to date" in again.stdout + again.stderr and "passed" not in again.stdout
    gitbox.mlmake("lint")
    assert gitbox.git("status", "--porcelain").stdout == ""
    gitbox.write("app.py", "import os\n\n\ndef f(x):\n    return x + 1\n")
    failed = gitbox.mlmake("lint", check=1)
    assert "unused-import" in failed.stdout + failed.stderr
    assert "(exit code 4: warnings)" in failed.stderr, "pylint's own, not 123 of xargs"
    # A repository that says what it wants gets that.
    gitbox.write("app.py", "def f(x):\n    return x + 1\n")
    gitbox.write(".pylintrc", "[MESSAGES CONTROL]\nenable=all\n")
    failed = gitbox.mlmake("lint", check=1)
    assert "missing-function-docstring" in failed.stdout + failed.stderr
    assert gitbox.git("status", "--porcelain").stdout == "?? .pylintrc\n"


@pytest.mark.slow
def test_a_failed_install_does_not_count(gitbox):
    plain_project(gitbox)
    gitbox.write("requirements.txt", "./no-such-package\n")
    failed = gitbox.mlmake("test", check=1)
    assert "no-such-package" in failed.stdout + failed.stderr
    assert not (gitbox.path / ".venv" / ".mlmake-stamp").exists()
    assert "install" in gitbox.mlmake("-n", "test").stdout
    assert "?? .venv" not in gitbox.git("status", "--porcelain").stdout
