"""mlmake -n says exactly what then runs: over random graphs and edits."""
import json
import random
import re
import shutil

import pytest

READ = r"""read_all() {
for f; do
  if [ -d "$f" ] && [ ! -L "$f" ]; then find "$f" -type f | LC_ALL=C sort | while read -r p; do echo "$p"; cat "$p"; done; else echo "$f"; cat "$f"; fi
done
}
"""
LEVEL = 3  # targets whose outputs a glob of a later level may find


def out(n):
    return f"out/{n // LEVEL}/{n}"


def made_by(random_, n, earlier):
    """How a target makes its output: what is in it, and which files there are, depends on what was read, more or less of it."""
    read = f"{random_.choice(['head -c 9', 'tail -c 12', 'cat'])} read{n}"
    number = f"$({read} | cksum | cut -c 1)"
    kind = random_.choice(["file", "file", "directory", "link", "params", "program"])
    if kind == "link" and not earlier:
        kind = "file"
    path = out(n)
    return kind, {
        "file": f"{{ {read}; echo .; }} > {path}",
        "directory": f"mkdir -p {path}/sub; {read} > {path}/{number}; echo x > {path}/sub/always; ln -s sub/always {path}/link",
        "link": f"ln -s ../../src/$(echo {number} | tr 89 01) {path}",
        "params": f"echo \"a: {number}, b: 1\" | tr , '\\n' | sed 's/^ //' > {path}",
        "program": f"{{ echo '#!/bin/sh'; echo \"echo {number}\"; }} > {path}; chmod +x {path}"}[kind]


def graph(random_, size):
    """Targets that read sources and outputs of earlier ones, by their names, by globs, through links, as parameters and as programs."""
    targets, kinds = {}, []
    for n in range(size):
        earlier = random_.sample(range(n), min(n, random_.randint(0, 3)))
        named = [out(k) for k in earlier if random_.random() < 0.7]
        inputs = [f"src/{random_.randrange(size)}" for _ in range(random_.randint(0, 2))] + named
        if n >= LEVEL and random_.random() < 0.4:
            level = random_.randrange(n // LEVEL)
            inputs.append(random_.choice([f"out/{level}/*", f"out/{level}/**", f"out/{level}/*/[0-4]"]))
        needs = [f"t{k}" for k in earlier if out(k) not in inputs]
        params = [f"{out(k)}:a" for k in earlier if kinds[k] == "params" and out(k) not in inputs]
        programs = [f"./{out(k)}" for k in earlier if kinds[k] == "program" and out(k) not in inputs]
        kind, makes = made_by(random_, n, earlier)
        kinds.append(kind)
        words = " ".join(sorted(set(inputs))).replace("/**", "/*")
        run = f"echo t{n} >> ran\n{READ}read_all {words} > read{n} 2> /dev/null || :\n"
        run += "".join(f"grep ^a: {name.split(':')[0]} >> read{n}\n" for name in params) + "".join(f"{program} >> read{n}\n" for program in programs)
        # All that is read is known to mlmake, so what is made is a function of the key.
        targets[f"t{n}"] = {"inputs": sorted(set(inputs)), "needs": needs, "params": params, "outputs": [out(n)], "run": run + makes}
        if not inputs:
            del targets[f"t{n}"]["inputs"]
    targets["all"] = {"needs": [f"t{n}" for n in range(size)]}
    return targets


def edit(random_, box, targets, size):
    kind = random_.choice(["source", "source", "output", "remove", "command", "back"])
    if kind == "source":
        box.write(f"src/{random_.randrange(size)}", random_.choice("ab") + str(random_.randrange(4)))
    elif kind == "output":
        path = out(random_.randrange(size))
        shutil.rmtree(box.path / path, ignore_errors=True)
        box.write(path, "by hand")
    elif kind == "remove":
        path = box.path / out(random_.randrange(size))
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    elif kind == "command":
        targets[f"t{random_.randrange(size)}"]["run"] += "\n:"
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


def test_what_a_glob_will_find_is_known(box):
    box.write("mlmake.yaml", json.dumps(CHAIN))
    for text in ("1x", "2x"):
        box.write("in", text)
        box.mlmake("wide", "last")
    box.write("in", "1x")
    (box.path / "c.out").unlink()
    said = said_by(box, "wide")
    assert all("(its outputs would come from the output cache)" in said[name] for name in ("a", "b", "c", "wide")), said


def test_what_dvc_will_track_is_not_foreseen(box):
    """Its digest is another, of what is not there yet; all else is known behind it."""
    box.mlmake("data", "init", "--no-scm")
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "model": {"inputs": ["in"], "outputs": [{"path": "model.bin", "track": True}], "run": "head -c 1 in > model.bin"},
        "eval": {"inputs": ["model.bin"], "outputs": ["score"], "run": "cp model.bin score"},
        "other": {"needs": ["model"], "outputs": ["other.out"], "run": "echo > other.out"}}}))
    for text in ("1x", "2x"):
        box.write("in", text)
        box.mlmake("eval", "other")
    box.write("in", "1x")
    said = said_by(box, "eval", "other")
    assert said["eval"] == ["'model' would be restored first"]
    assert "(its outputs would come from the output cache)" in said["other"]
