"""mlmake -n says exactly what then runs: over random graphs and edits."""
import json
import random
import re

import pytest


def graph(random_, size):
    """Targets that read sources and outputs of earlier ones; what is made keeps or loses what was read."""
    targets = {}
    for n in range(size):
        earlier = random_.sample(range(n), min(n, random_.randint(0, 3)))
        inputs = [f"src/{random_.randrange(size)}" for _ in range(random_.randint(0, 2))] + [f"out/{k}" for k in earlier if random_.random() < 0.7]
        needs = [f"t{k}" for k in earlier if f"out/{k}" not in inputs]
        lossy = random_.random() < 0.4
        read = " ".join(sorted(set(inputs))) or "/dev/null"
        targets[f"t{n}"] = {
            "inputs": sorted(set(inputs)), "needs": needs, "outputs": [f"out/{n}"],
            "run": f"echo t{n} >> ran; cat {read} | {'head -c 1' if lossy else 'cat'} > out/{n}; echo . >> out/{n}"}
        if not inputs:
            del targets[f"t{n}"]["inputs"]
    targets["all"] = {"needs": [f"t{n}" for n in range(size)]}
    return targets


def edit(random_, box, targets, size):
    kind = random_.choice(["source", "source", "output", "remove", "command", "back"])
    if kind == "source":
        box.write(f"src/{random_.randrange(size)}", random_.choice("ab") + str(random_.randrange(4)))
    elif kind == "output":
        box.write(f"out/{random_.randrange(size)}", "by hand")
    elif kind == "remove":
        (box.path / f"out/{random_.randrange(size)}").unlink(missing_ok=True)
    elif kind == "command":
        targets[f"t{random_.randrange(size)}"]["run"] += "; true"
    else:
        box.write(f"src/{random_.randrange(size)}", "a0")


def check(box, *options):
    """What -n says against what a run then does."""
    events = [json.loads(line) for line in box.mlmake("-n", "--json", *options, "all").stdout.splitlines()]
    said = {event["target"]: event["reasons"] for event in events if event["event"] == "finished" and event["outcome"] == "would-run"}
    restored = {name for name, reasons in said.items() if any("output cache" in reason for reason in reasons)}
    firsts = {name: re.findall("'(t[0-9]+)' would run first", " ".join(reasons)) for name, reasons in said.items()}
    behind = {name for name, first in firsts.items() if first}
    assert not restored & {first for names in firsts.values() for first in names}, "what comes from the cache is known"
    (box.path / "ran").unlink(missing_ok=True)
    events = [json.loads(line) for line in box.mlmake("--json", *options, "all").stdout.splitlines()]
    outcome = {event["target"]: event["outcome"] for event in events if event["event"] == "finished" and event["target"] != "all"}
    ran = {name for name, how in outcome.items() if how == "succeeded"}
    assert ran == set((box.path / "ran").read_text().split() if (box.path / "ran").exists() else [])
    assert ran <= set(said) - restored, "nothing runs that was not said"
    assert set(said) - restored - behind <= ran, "what was said runs, but for what an earlier result may spare"
    assert {name for name, how in outcome.items() if how == "restored"} <= set(said)
    assert restored <= {name for name, how in outcome.items() if how == "restored"}
    assert "nothing to do" in box.mlmake("-n", "all").stderr


@pytest.mark.parametrize("seed", [1, 2, pytest.param(range(3, 25), marks=pytest.mark.slow)], ids=str)
def test_what_is_said_is_what_runs(box, seed):
    for one in seed if isinstance(seed, range) else [seed]:
        random_, size = random.Random(one), 8
        targets = graph(random_, size)
        for n in range(size):
            box.write(f"src/{n}", "a0")
        for step in range(4):
            for _ in range(random_.randint(1, 3) if step else 0):
                edit(random_, box, targets, size)
            box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": targets}))
            try:
                check(box, *(["--no-cache"] if random_.random() < 0.3 else []))
            except AssertionError as failure:
                raise AssertionError(f"seed {one}, step {step}: {failure}") from failure


def said_by(box, *args):
    events = [json.loads(line) for line in box.mlmake("-n", "--json", *args).stdout.splitlines()]
    return {event["target"]: event["reasons"] for event in events if event["event"] == "finished" and event["outcome"] == "would-run"}


CHAIN = {"version": 1, "rules": [], "targets": {
    "a": {"inputs": ["in"], "outputs": ["a.out"], "run": "head -c 1 in > a.out"},
    "b": {"inputs": ["a.out"], "outputs": ["b.out"], "run": "cp a.out b.out; echo b >> ran"},
    "c": {"inputs": ["b.out"], "outputs": ["c.out"], "run": "cp b.out c.out; echo c >> ran"},
    "last": {"inputs": ["b.out"], "needs": ["c"], "cache": False, "run": "echo last >> ran"},
    "wide": {"inputs": ["*.out"], "run": "echo wide >> ran"}}}


def test_behind_what_is_restored_all_is_known(box):
    box.write("mlmake.yaml", json.dumps(CHAIN))
    for text in ("1x", "2x"):
        box.write("in", text)
        box.mlmake("last")
    box.write("in", "1x")
    said = said_by(box, "last")
    assert all("(its outputs would come from the output cache)" in said[name] for name in "abc"), said
    assert "b.out changed" in " ".join(said["last"]) and "would run first" not in str(said), said
    (box.path / "ran").unlink()
    box.mlmake("last")
    assert box.read("ran") == b"last\n"


def test_behind_what_is_restored_as_it_was_nothing_runs(box):
    """The outputs are gone, and come back as what the others were made from."""
    box.write("mlmake.yaml", json.dumps(CHAIN))
    box.write("in", "1x")
    box.mlmake("last")
    for name, text in ((None, None), ("a.out", "other"), ("a.out/x/y", "deep")):
        (box.path / "a.out").unlink()
        if name:
            box.write(name, text)
        assert list(said_by(box, "last")) == ["a"]
        (box.path / "ran").unlink(missing_ok=True)
        box.mlmake("last")
        assert not (box.path / "ran").exists()
        assert "nothing to do" in box.mlmake("-n", "last").stderr


def test_what_a_glob_finds_is_not_foreseen(box):
    box.write("mlmake.yaml", json.dumps(CHAIN))
    for text in ("1x", "2x"):
        box.write("in", text)
        box.mlmake("wide", "last")
    box.write("in", "1x")
    assert "would run first" in " ".join(said_by(box, "wide")["wide"])
