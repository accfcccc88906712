"""mlmake graph, and mlmake why A B."""
import json
import re

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  install: {run: touch venv, outputs: [venv]}
  prepare: {needs: [install], outputs: [build/clean.csv], run: touch build/clean.csv}
  train:
    needs: [install]
    inputs: [build/*.csv]
    outputs: ['models/the "model"']
    run: "true"
  lint: {run: "true"}
  late: {after: [lint], run: "true"}
  all: {needs: [train, lint]}
"""


@pytest.fixture
def project(box):
    box.write("mlmake.yaml", PROJECT)
    return box


def test_dot(project):
    text = project.mlmake("graph").stdout
    assert text.startswith("digraph mlmake {") and text.endswith("}\n")
    assert '  "prepare" -> "train" [label="build/*.csv"];\n' in text
    assert '  "lint" -> "late" [style=dashed];\n' in text
    assert '  "all" [shape=ellipse];\n' in text
    assert len(re.findall("->", text)) == 6
    assert project.mlmake("graph", "--format=dot").stdout == text


def test_only_what_is_named_and_what_it_leads_to(project):
    text = project.mlmake("graph", "tr*n").stdout
    assert '"install" -> "train"' in text and "lint" not in text and '"all"' not in text
    text = project.mlmake("graph", "late").stdout
    assert '"late"' in text and "lint" not in text, "order alone brings nothing in"
    assert "no target matches 'x*'" in project.mlmake("graph", "x*", check=2).stderr


def test_mermaid(project):
    text = project.mlmake("graph", "--format", "mermaid", "all").stdout
    assert text.startswith("flowchart LR\n")
    names = dict(re.findall(r'^  (t\d+)\(?\["(.*?)"\]\)?$', text, re.M))
    assert set(names.values()) == {"install", "prepare", "train", "lint", "all"}
    ids = {name: key for key, name in names.items()}
    assert f'  {ids["prepare"]} -->|"build/*.csv"| {ids["train"]}\n' in text
    assert f'  {ids["train"]} --> {ids["all"]}\n' in text


def test_json(project):
    data = json.loads(project.mlmake("graph", "--json").stdout)
    assert data == json.loads(project.mlmake("graph", "--format", "json").stdout)
    assert [t["name"] for t in data["targets"]] == ["install", "prepare", "train", "lint", "late", "all"]
    assert {"from": "train", "to": "prepare", "kind": "input", "input": "build/*.csv", "file": "mlmake.yaml", "line": 8} in data["edges"]
    assert "--format takes dot, mermaid or json" in project.mlmake("graph", "--format", "svg", check=2).stderr


def test_why_two(project):
    text = project.mlmake("why", "all", "prepare").stdout
    assert text.splitlines() == ["all depends on prepare:", "  all needs train  (mlmake.yaml:13)",
                                 "  train reads build/*.csv, which prepare makes  (mlmake.yaml:8)"]
    assert project.mlmake("why", "prepare", "all").stdout == text, "in either direction"
    data = json.loads(project.mlmake("why", "train", "install", "--json").stdout)
    assert data["depends"] and [(e["from"], e["to"], e["kind"]) for e in data["path"]] == [("train", "install", "needs")]
    assert "late runs after lint" in project.mlmake("why", "late", "lint").stdout


def test_why_two_without_a_way(project):
    assert project.mlmake("why", "prepare", "lint", check=1).stdout == "prepare does not depend on lint, nor lint on prepare\n"
    assert json.loads(project.mlmake("why", "prepare", "lint", "--json", check=1).stdout)["path"] == []
    assert "named twice" in project.mlmake("why", "lint", "lint", check=2).stderr
    assert "did you mean 'lint'" in project.mlmake("why", "lnit", "all", check=2).stderr
