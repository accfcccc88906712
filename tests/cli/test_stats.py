"""mlmake stats: what ran, how long, what was saved."""
import json

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  slow: {inputs: [src], outputs: [out], run: "sleep 0.2; cp src out"}
  quick: {inputs: [src], run: "! grep bad src"}
  idle: {inputs: [src], run: "true"}
"""


def stats(box, *args):
    return {t["target"]: t for t in json.loads(box.mlmake("stats", "--json", *args).stdout)["targets"]}


@pytest.mark.slow
def test_stats(box):
    box.write("mlmake.yaml", PROJECT)
    box.write("src", "one")
    assert "nothing has run" in box.mlmake("stats").stderr and stats(box) == {}
    box.mlmake("slow", "quick")
    box.mlmake("slow", "quick")
    box.write("src", "bad")
    box.mlmake("-k", "slow", "quick", check=1)
    box.write("src", "one")
    box.mlmake("slow")
    found = stats(box)
    assert list(found) == ["slow", "quick"]
    slow = found["slow"]
    assert (slow["succeeded"], slow["failed"], slow["restored"]) == (2, 0, 1), "being up to date is no run"
    assert [e["outcome"] for e in slow["last"]] == ["succeeded", "succeeded", "restored"]
    assert slow["ran_ms"] >= 400 and 200 <= slow["saved_ms"] < slow["ran_ms"] and slow["mean_ms"] == slow["ran_ms"] // 2
    assert [e["outcome"] for e in found["quick"]["last"]] == ["succeeded", "failed"]
    lines = box.mlmake("stats").stdout.splitlines()
    assert lines[0].split() == ["target", "mean", "last", "ran", "failed", "restored", "saved"]
    assert lines[1].startswith("slow") and lines[2].split()[0] == "quick" and lines[2].split()[-1] == "-"
    assert lines[-1].startswith("3 runs took ") and "1 restored saved 0.2" in lines[-1]
    assert [line.split()[0] for line in box.mlmake("stats", "-n", 1).stdout.splitlines()] == ["target", "slow", "3"]
    assert list(stats(box, "q*")) == ["quick"]
    assert "did you mean 'slow'" in box.mlmake("stats", "slwo", check=2).stderr


def test_it_keeps_the_last_twenty(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: {run: 'true'}\n")
    for _ in range(23):
        box.mlmake("t")
    t = stats(box)["t"]
    assert t["succeeded"] == 23 and len(t["last"]) == 20
