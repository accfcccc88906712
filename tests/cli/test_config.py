"""Bad mlmake.yaml: each a message with its position, a hint and exit code 2."""
import json
import textwrap

import pytest

from conftest import ROOT

BAD = {
    "broken YAML": ("""\
        targets:
          test:
            run: [pytest
        """, None, "mlmake.yaml:4:1: error: invalid YAML"),
    "unknown key": ("""\
        targets:
          train:
            inptus: [a]
            run: x
        """, """\
        mlmake.yaml:3:5: error: unknown key 'inptus'
            3 |     inptus: [a]
              |     ^~~~~~
        note: in target 'train'
        hint: did you mean 'inputs'?
        """, None),
    "cycle": ("""\
        targets:
          a: {needs: [b], run: x}
          b: {after: [a], run: x}
        """, """\
        mlmake.yaml:2:15: error: targets need each other in a circle: a -> b -> a
            2 |   a: {needs: [b], run: x}
              |               ^
        note: 'a' needs 'b' at mlmake.yaml:2:15
        note: 'b' runs after 'a' at mlmake.yaml:3:15
        hint: remove one of these from needs:, after: or inputs:
        """, None),
    "duplicate output": ("""\
        targets:
          a: {outputs: [m.bin], run: x}
          b: {outputs: [m.bin], run: x}
        """, """\
        mlmake.yaml:3:17: error: targets 'a' and 'b' both write 'm.bin'
            3 |   b: {outputs: [m.bin], run: x}
              |                 ^~~~~
        note: in target 'b'
        note: the other is at mlmake.yaml:2:17
        hint: give each target an output of its own, and let the one that reads the other's list it in inputs:
        """, None),
    "output outside": ("""\
        targets:
          a: {outputs: [../m.bin], run: x}
        """, None, "mlmake.yaml:2:17: error: output '../m.bin' lies outside the repository"),
    "a command where a target's keys belong": ("""\
        targets:
          hello: echo hello
        """, """\
        mlmake.yaml:2:10: error: 'hello' is a string, not a map
            2 |   hello: echo hello
              |          ^~~~~~~~~~
        note: in target 'hello'
        hint: a command stands in run: 'hello: {run: ...}'
        """, None),
    "unknown name": ("""\
        vars: {image: x}
        targets:
          a:
            run: push ${imgae}
        """, """\
        mlmake.yaml:4:15: error: unknown name 'imgae'
            4 |     run: push ${imgae}
              |               ^~~~~~~~
        note: in target 'a'
        hint: did you mean 'image'?
        """, None),
    "not yet": ("""\
        targets:
          a:
            run: x
            when: never
        """, None, "mlmake.yaml:4:5: error: 'when' is not supported in this version"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(box, name):
    yaml, whole, first = BAD[name]
    box.write("mlmake.yaml", textwrap.dedent(yaml))
    result = box.mlmake("list", check=2)
    assert result.stdout == ""
    if whole is not None:
        assert result.stderr == textwrap.dedent(whole)
    else:
        assert result.stderr.startswith(first)
        assert "\nhint: " in result.stderr


def test_missing_input(box):
    box.write("data/train.csv", "")
    box.write("mlmake.yaml", textwrap.dedent("""\
        targets:
          train:
            inputs: [data/trian.csv]
            run: touch ran
          other: {run: touch ran}
        """))
    for args in (["train"], ["-n", "train"], ["why", "train"]):
        assert box.mlmake(*args, check=2).stderr == textwrap.dedent("""\
            mlmake.yaml:3:14: error: unknown input 'data/trian.csv'
                3 |     inputs: [data/trian.csv]
                  |              ^~~~~~~~~~~~~~
            note: in target 'train'
            hint: did you mean 'data/train.csv'?
            """)
    assert not (box.path / "ran").exists()
    box.mlmake("other")
    assert "did you mean 'train'?" in box.mlmake("trian", check=2).stderr


def test_overrides_reach_commands(box):
    box.write("params.yaml", "train: {lr: 0.1}\n")
    box.write("mlmake.yaml", textwrap.dedent("""\
        vars: {name: world}
        targets:
          train:
            outputs: [out.txt]
            run: echo ${name} ${params.train.lr} > out.txt
        """))
    box.mlmake("train")
    assert box.read("out.txt") == b"world 0.1\n"
    box.mlmake("train", "vars.name=you", "params.train.lr=0.2")
    assert box.read("out.txt") == b"you 0.2\n"
    assert "did you mean 'train.lr'?" in box.mlmake("train", "params.train.rl=1", check=2).stderr
    assert "did you mean 'name'?" in box.mlmake("train", "vars.nam=1", check=2).stderr


def test_control_and_hostile_yaml(box):
    for yaml in (b"\x00", b"\xff\xfe\x00", b"targets: &a [*a]\n", b"[" * 5000, b"a: b: c\n", b"- x\n", b"x\n"):
        box.write("mlmake.yaml", yaml)
        result = box.mlmake("list", check=2)
        assert "mlmake.yaml" in result.stderr and "hint: " in result.stderr, yaml


def test_list(box):
    box.write("mlmake.yaml", textwrap.dedent("""\
        default: train
        targets:
          prepare: {desc: cut the data, run: x, outputs: [data/clean.csv]}
          train:
            desc: fit the model
            inputs: [data/clean.csv]
            outputs: [{path: model.bin, track: true}]
            run: x
          helper: {run: x, private: true}
          list: {run: x}
        """))
    assert box.mlmake("list").stdout == (
        "prepare  cut the data\n"
        "train    fit the model\n"
        "list       (a command of mlmake is called so, too: mlmake run list)\n")
    assert "helper" in box.mlmake("list", "--all").stdout
    listed = json.loads(box.mlmake("list", "--json").stdout)
    assert listed["version"] == 1 and listed["default"] == "train" and listed["config"] == "mlmake.yaml"
    train = listed["targets"][1]
    assert (train["name"], train["line"], train["inputs_from"]) == ("train", 4, ["prepare"])
    assert train["outputs"] == [{"path": "model.bin", "track": True, "metrics": False}]


def test_list_in_a_subdirectory_and_with_another_file(box):
    box.write("mlmake.yaml", "targets: {a: {run: x}}\n")
    box.write("sub/other.yaml", "targets: {b: {run: x}}\n")
    assert box.mlmake("list", cwd=box.path / "sub").stdout == "a\n"
    assert box.mlmake("-f", "other.yaml", "list", cwd=box.path / "sub").stdout == "b\n"
    missing = box.mlmake("-f", "none.yaml", "list", check=2)
    assert "there is no configuration 'none.yaml'" in missing.stderr


def test_nothing_to_run(box):
    result = box.mlmake("list")
    assert result.stdout == "" and "nothing to run" in result.stderr and "mlmake init" in result.stderr


def test_positions_are_relative_to_where_one_stands(box):
    box.write("mlmake.yaml", "targets:\n  a: {rum: x}\n")
    (box.path / "sub/deep").mkdir(parents=True)
    for where, shown in ((".", "mlmake.yaml:2:7: "), ("sub", "../mlmake.yaml:2:7: "), ("sub/deep", "../../mlmake.yaml:2:7: ")):
        assert box.mlmake("list", cwd=box.path / where, check=2).stderr.startswith(shown)
    assert box.mlmake("-C", box.path, "list", cwd=box.home, check=2).stderr.startswith("mlmake.yaml:2:7: ")


def test_the_other_ending_is_told(box):
    box.write("mlmake.yml", "targets:\n  a: {run: echo a}\n")
    result = box.mlmake("a", check=2)
    assert "must be called mlmake.yaml" in result.stderr and "hint: mv mlmake.yml mlmake.yaml" in result.stderr
    assert box.mlmake("-f", "mlmake.yml", "a").stdout == "a\n"


def test_a_file_without_targets_is_not_a_missing_file(box):
    box.write("mlmake.yaml", "version: 1\n")
    result = box.mlmake("list")
    assert "mlmake.yaml declares no targets" in result.stderr and "no mlmake.yaml" not in result.stderr


def test_a_missing_parameter_file_says_what_is_wanted(box):
    box.write("mlmake.yaml", "targets:\n  a: {params: [params.yaml:x], run: x}\n")
    result = box.mlmake("a", check=2)
    assert "mlmake.yaml:2:16: error: the parameter file 'params.yaml' does not exist" in result.stderr and "hint: " in result.stderr


def test_schema_knows_what_the_check_knows(box):
    schema = json.loads(box.mlmake("schema").stdout)
    target = schema["properties"]["targets"]["additionalProperties"]
    assert target["additionalProperties"] is False
    assert {"run", "inputs", "outputs", "needs", "params", "timeout"} <= set(target["properties"])
    assert "when" not in target["properties"]
    assert target["properties"]["cache"]["enum"] == [True, False, "local"]
    for name, key in target["properties"].items():
        assert key["description"], name
        # Each key of the schema is one that the check accepts: what is wrong with it, if anything, is its value.
        box.write("mlmake.yaml", f"targets: {{t: {{run: x, needs: [], {name}: null}}}}\n" if name not in ("run", "needs") else "")
        result = box.mlmake("list", check=None)
        assert "unknown key" not in result.stderr and result.returncode == 0, name


def test_reference_names_every_key(box):
    reference = (ROOT / "docs" / "language.md").read_text()
    schema = json.loads(box.mlmake("schema").stdout)
    keys = set(schema["properties"]) | set(schema["properties"]["targets"]["additionalProperties"]["properties"])
    assert [k for k in sorted(keys) if f"`{k}`" not in reference] == []
