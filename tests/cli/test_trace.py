"""--trace: a timeline in Chrome's format."""
import json

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  a: {run: sleep 0.2}
  b: {run: sleep 0.2}
  c: {needs: [a, b], inputs: [src], outputs: [out], run: "cp src out; sleep 0.05"}
  bad: {after: [c], run: exit 3}
"""


@pytest.mark.slow
def test_trace(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("src", "1")
    box.mlmake("-j2", "-k", "c", "bad", "--trace", "t.json", check=1)
    events = {e["name"]: e for e in json.loads((box.path / "t.json").read_text())["traceEvents"]}
    assert set(events) == {"a", "b", "c", "bad"} and all(e["ph"] == "X" for e in events.values())
    assert events["a"]["tid"] != events["b"]["tid"], "what overlaps has rows of its own"
    assert events["c"]["ts"] >= events["a"]["ts"] + events["a"]["dur"] and events["c"]["dur"] >= 50000
    assert events["bad"]["args"] == {"outcome": "failed", "exit_code": 3, "reasons": ["it always runs"]}
    (box.path / "out").unlink()
    box.mlmake("c", "--trace=u.json")
    cats = {e["name"]: e["cat"] for e in json.loads((box.path / "u.json").read_text())["traceEvents"]}
    assert cats == {"a": "succeeded", "b": "succeeded", "c": "restored"}


def test_trace_of_nothing(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {inputs: [mlmake.yaml], run: 'true'}\n")
    box.mlmake("t")
    box.mlmake("t")
    box.mlmake("t", "--trace", "t.json")
    assert json.loads((box.path / "t.json").read_text())["traceEvents"] == []
    result = box.mlmake("t", "--trace", "no/such/t.json", check=1)
    assert "no/such" in result.stderr and "hint:" in result.stderr
