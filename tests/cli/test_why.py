"""mlmake why: the input, parameter, variable or tool that changed is named."""
import json
import re

import pytest

CONFIG = """\
version: 1
rules: []
targets:
  base: {inputs: [base.txt], outputs: [base.out], run: cp base.txt base.out}
  t:
    needs: [base]
    inputs: [src/*.py]
    params: ["params.yaml:lr"]
    env: {MODE: fast}
    pass_env: [LEVEL]
    outputs: [t.out]
    run: cat src/*.py > t.out
"""


@pytest.fixture
def done(box):
    box.write("mlmake.yaml", CONFIG)
    box.write("params.yaml", "lr: 0.01\n")
    box.write("base.txt", "b")
    box.write("src/train.py", "x = 1\n")
    assert "no record" in box.mlmake("why", "t").stdout or "base" in box.mlmake("why", "t").stdout
    box.mlmake("t")
    return box


def reasons(box, target="t", **env):
    return json.loads(box.mlmake("why", target, "--json", **env).stdout)["reasons"]


def test_up_to_date(done):
    assert reasons(done) == []
    text = done.mlmake("why", "t").stdout
    assert "t is up to date" in text and "no record of a success" in text
    assert re.search(r"^it last ran (just now|[1-9]\d* (second|minute)s? ago); why it did then:$", text, re.M)


def test_inputs(done):
    done.write("src/train.py", "x = 2\n")
    done.write("src/new.py", "")
    assert sorted(reasons(done)) == ["src/new.py added", "src/train.py changed"]
    (done.path / "src/train.py").unlink()
    assert sorted(reasons(done)) == ["src/new.py added", "src/train.py removed"]


def test_mode(done):
    (done.path / "src/train.py").chmod(0o755)
    assert reasons(done) == ["src/train.py changed its mode"]


def test_parameters(done):
    done.write("params.yaml", "lr: 0.1\n")
    assert reasons(done) == ["params.yaml:lr 0.01 -> 0.1"]


def test_command(done):
    done.write("mlmake.yaml", CONFIG.replace("cat src/*.py", "cat  src/*.py"))
    assert reasons(done) == ["command changed"]


def test_environment_is_named_but_not_shown(done):
    done.write("mlmake.yaml", CONFIG.replace("fast", "slow"))
    assert reasons(done, LEVEL="confidential") == ["env MODE changed", "env LEVEL changed"]
    assert "confidential" not in done.mlmake("why", "t", LEVEL="confidential").stdout


def test_needs(done):
    done.write("base.txt", "other")
    assert reasons(done) == ["'base' would run first"]
    done.mlmake("base")
    assert reasons(done) == ["the result of 'base' changed"]


def test_outputs(done):
    done.write("t.out", "edited")
    assert reasons(done)[0] == "output t.out was changed"
    (done.path / "t.out").unlink()
    assert reasons(done)[0] == "output t.out is missing"


def test_tools(done):
    done.write("bin/cat", "#!/bin/sh\nexec /bin/cat \"$@\"\n", 0o755)
    assert reasons(done, PATH=f"{done.path}/bin:{done.env['PATH']}") == ["cat changed"]


def test_it_remembers_why_it_last_ran(done):
    done.write("src/train.py", "x = 3\n")
    done.mlmake("t")
    report = json.loads(done.mlmake("why", "t", "--json").stdout)
    assert report["reasons"] == [] and report["last_reasons"] == ["src/train.py changed"]


def test_it_runs_nothing_and_wants_a_name(done):
    done.mlmake("why", check=2)
    assert "did you mean" in done.mlmake("why", "bas", check=2).stderr


def test_a_section_of_parameters_is_told_leaf_by_leaf(gitbox):
    gitbox.write("mlmake.yaml", "version: 1\ntargets:\n  train: {params: ['p.yaml:train'], run: 'true'}\n")
    gitbox.write("p.yaml", "train: {lr: 0.01, model: {depth: 3, a.b: 1}}\n")
    gitbox.mlmake("train")
    gitbox.write("p.yaml", "train: {model: {a.b: 1, depth: 3}, lr: 0.01}\n")
    assert "nothing to do" in gitbox.mlmake("train").stderr, "the order of keys is no change"
    gitbox.write("p.yaml", "train: {lr: 0.01, model: {depth: 4, a.b: 1}}\n")
    assert reasons(gitbox, "train") == ["p.yaml:train.model.depth 3 -> 4"]
    gitbox.write("p.yaml", "train: {lr: 0.01, model: {depth: 3, a: {b: 1}}}\n")
    assert len(reasons(gitbox, "train")) == 2, "a dot in a key is not a level"
