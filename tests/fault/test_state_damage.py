"""Files that mlmake writes for itself, damaged at random: the state database, its lock file, snapshots, locks, the index of the output
cache. No run may die of it or believe something false; what is damaged is made anew, and what could not be used is said.
(The database alone, thousands of times: unit/store/test_state_damage.c, MLMAKE_DAMAGE_ROUNDS.)"""
import os
import pathlib
import random
import subprocess
import tempfile

import pytest

from conftest import BUILD, Sandbox

TARGETS = 40
CONFIG = "version: 1\nrules: []\ntargets:\n  all: {needs: [" + ", ".join(f"t{i}" for i in range(TARGETS)) + "]}\n" + "".join(
    f"  t{i}: {{inputs: [in/{i}{f', out/{i - 1}' if i % 3 else ''}], outputs: [out/{i}], run: 'cat in/{i}"
    f"{f' out/{i - 1}' if i % 3 else ''} > out/{i}; echo ran {i}'}}\n" for i in range(TARGETS))
OTHERS = [["stats"], ["log", "t1"], ["why", "t2"], ["-n", "all"], ["-q", "all"], ["cache", "status"], ["cache", "gc", "--max", "1G"], ["clean", "-n"], ["data", "status"]]


@pytest.fixture
def box():
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="damage-", dir=memory) as directory:
        yield Sandbox(pathlib.Path(directory))


def own_files(box):
    files = [path for top in (box.path / ".mlmake", box.home / ".cache/mlmake/v1/index") for path in sorted(top.rglob("*"))
             if path.is_file() and ".aside" not in str(path) and path.name != ".gitignore" and "logs" not in path.parts]
    # The databases are what it is about.
    return files + [path for path in files if path.name == "data.mdb"] * len(files)


def damage(path, rng):
    data = bytearray(path.read_bytes())
    page = rng.randrange(max(1, len(data) // 4096)) * 4096
    end = min(len(data), page + 4096)
    kind = rng.randrange(7)
    if kind == 0:
        data[page:end] = rng.randbytes(end - page)
    elif kind == 1:
        data[page:end] = bytes(end - page)
    elif kind == 2:
        data = data[:rng.randrange(len(data) + 1)]
    elif kind == 3:
        other = rng.randrange(max(1, len(data) // 4096)) * 4096
        data[page:end] = data[other:other + end - page]
    elif kind == 4:
        data = bytearray(rng.randbytes(rng.randrange(20000)))
    else:
        for _ in range(rng.randrange(1, 6)):
            at = min(page + rng.randrange(rng.choice([32, 160, 4096])), len(data) - 1)
            if at >= 0:
                data[at] = rng.randrange(256)
    if rng.random() < 0.5:
        path.write_bytes(data)
    else:
        other = path.with_name("other")
        other.write_bytes(data)
        other.replace(path)


def check(box, texts):
    for i in range(TARGETS):
        want = "".join(texts[k] for k in range(i, i - i % 3 - 1, -1))
        assert box.read(f"out/{i}").decode() == want, i


def one_round(box, texts, rng):
    for _ in range(rng.randrange(1, 4)):
        damage(rng.choice(own_files(box)), rng)
    if rng.random() < 0.7:
        changed = rng.randrange(TARGETS)
        texts[changed] = f"{rng.randrange(4)}\n"
        box.write(f"in/{changed}", texts[changed])
    if rng.random() < 0.2:
        (box.path / f"out/{rng.randrange(TARGETS)}").unlink()
    if rng.random() < 0.4:
        command = rng.choice(OTHERS)
        result = box.mlmake(*command, check=None)
        assert 0 <= result.returncode <= 3, (command, result.returncode, result.stderr)
    result = box.mlmake("all", check=None)
    assert result.returncode == 0, (result.returncode, result.stderr)
    check(box, texts)
    said = "set aside" in result.stderr
    asides = [path for top in (box.path, box.home) for path in top.rglob("*.aside")]
    for path in asides:
        subprocess.run(["rm", "-rf", path], check=True)
    again = box.mlmake("all", "--why")
    if "nothing to do" not in again.stderr:
        # Damaged records that the run before had no need to read: noticed by this one, and all that it may run for.
        ran = [line.split()[-1] for line in again.stdout.splitlines()]
        assert all(f"t{i} runs: no record of a success\n" in again.stderr for i in ran), again.stderr
        again = box.mlmake("all")
        assert "nothing to do" in again.stderr, again.stderr
    check(box, texts)
    return said, len(asides)


def many_rounds(box, rounds, seed):
    texts = {i: f"{i}\n" for i in range(TARGETS)}
    for i, text in texts.items():
        box.write(f"in/{i}", text)
    box.write("mlmake.yaml", CONFIG)
    box.mlmake("all")
    told = asides = 0
    for number in range(rounds):
        rng = random.Random(f"{seed} {number}")
        print("round", number)
        said, aside = one_round(box, texts, rng)
        told += said
        asides += aside
        # What one command has set aside is told by the next that may tell it, maybe some rounds later.
        assert told <= asides
    return told


@pytest.mark.slow
def test_some_damage(box):
    assert many_rounds(box, 6, "quick")


@pytest.mark.slow
def test_much_damage(box):
    assert many_rounds(box, int(os.environ.get("MLMAKE_DAMAGE_ROUNDS", "300")), os.environ.get("MLMAKE_DAMAGE_SEED", "slow")) > 50


@pytest.mark.slow
def test_much_damage_of_a_database(tmp_path):
    binary = BUILD / "tests/unit/store/test_state_damage"
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else str(tmp_path)
    env = {**os.environ, "MLMAKE_DAMAGE_ROUNDS": "600", "MLMAKE_DAMAGE_SEED": "5000", "TMPDIR": memory}
    result = subprocess.run([binary], env=env, capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]


def test_the_index_of_the_output_cache_is_made_anew(box):
    box.write("mlmake.yaml", "version: 1\ntargets: {t: {inputs: [in], outputs: [out], run: cp in out}}\n")
    box.write("in", "1\n")
    box.mlmake("t")
    index = box.home / ".cache/mlmake/v1/index/data.mdb"
    index.write_bytes(b"\xff" * index.stat().st_size)
    box.write("in", "2\n")
    result = box.mlmake("t")
    assert "the index of the output cache is damaged: it is set aside as" in result.stderr
    assert "set aside" not in box.mlmake("t", "-B").stderr
    (box.path / "out").unlink()
    box.mlmake("t")
    assert box.read("out") == b"2\n"


def test_it_is_said_to_whoever_can_be_told(box):
    box.write("mlmake.yaml", "version: 1\ntargets: {t: {inputs: [in], outputs: [out], run: cp in out}}\n")
    box.write("in", "1\n")
    box.mlmake("t")
    state = box.path / ".mlmake/state/data.mdb"
    state.write_bytes(state.read_bytes()[:8192])
    box.mlmake("stats", check=None)
    assert "the state database is damaged: it is set aside as" in box.mlmake("t").stderr
    assert "set aside" not in box.mlmake("t").stderr
