"""Target globs on the command line."""
import json

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  test-unit: {run: echo unit}
  test-slow: {run: echo slow}
  lint: {run: echo lint}
  test-helper: {run: echo helper, private: true}
  "api:test": {run: echo api}
"""


@pytest.fixture
def many(box):
    box.write("mlmake.yaml", PROJECT)
    return box


def test_a_glob_runs_what_matches(many):
    assert sorted(many.mlmake("test*").stdout.split()) == ["slow", "unit"]
    assert sorted(many.mlmake("{lint,*:test}").stdout.split()) == ["api", "lint"]
    assert sorted(many.mlmake("run", "*").stdout.split()) == ["api", "lint", "slow", "unit"]


def test_a_target_runs_once_however_often_it_is_named(many):
    assert sorted(many.mlmake("test-unit", "test*", "*-unit").stdout.split()) == ["slow", "unit"]


def test_no_match_is_an_error(many):
    result = many.mlmake("tset*", check=2)
    assert "no target matches 'tset*'" in result.stderr and "hint:" in result.stderr
    assert "did you mean 'lint'" in many.mlmake("lnit*", check=2).stderr
    assert many.mlmake("test*", "nothing*", check=2).stdout == ""


def test_list_takes_names_and_globs(many):
    assert many.mlmake("list", "test*").stdout.split() == ["test-unit", "test-slow"]
    assert many.mlmake("list", "test-helper").stdout.split() == ["test-helper"]
    names = [t["name"] for t in json.loads(many.mlmake("list", "--json", "lint", "api*").stdout)["targets"]]
    assert names == ["lint", "api:test"]
    assert "no target matches 'x*'" in many.mlmake("list", "x*", check=2).stderr
