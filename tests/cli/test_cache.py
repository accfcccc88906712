"""mlmake cache: what is bounded, what goes first, what stays."""
import json
import os
import shutil
import time

import pytest

PROJECT = """\
version: 1
rules: []
targets:
  t: {inputs: [src], outputs: [out], run: "head -c 100000 src > out; echo made"}
"""


def status(box, **env):
    return json.loads(box.mlmake("cache", "status", "--json", **env).stdout)


def gc(box, *args):
    return json.loads(box.mlmake("cache", "gc", "--json", *args).stdout)


def age(box, seconds):
    for path in (box.home / ".cache/mlmake/v1").rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - seconds,) * 2)


def version(box, letter):
    box.write("src", letter * 100000)
    return box.mlmake("t")


@pytest.fixture
def filled(box):
    """Results of A, B, C in this order; C is current."""
    box.write("mlmake.yaml", PROJECT)
    for number, letter in enumerate("ABC"):
        version(box, letter)
        for path in (box.home / ".cache/mlmake/v1").rglob("*"):
            if path.is_file() and path.stat().st_mtime > time.time() - 3600:
                os.utime(path, (time.time() - 3 * 86400 + number * 86400,) * 2)
    return box


def test_status(filled):
    report = status(filled)
    assert report["results"] == 3 and report["objects"] == 3 and 300000 < report["bytes"] < 310000
    assert report["max_bytes"] == 10 << 30 and report["dir"] == str(filled.home / ".cache/mlmake/v1")
    assert "of 20.0 MiB: 3 results, 3 files, in" in filled.mlmake("cache", "status", MLMAKE_CACHE_SIZE="20M").stdout
    assert "is no size" in filled.mlmake("cache", "status", MLMAKE_CACHE_SIZE="lots", check=2).stderr


def test_an_empty_cache(box):
    assert status(box)["bytes"] == 0
    assert gc(box, "--max-size=0")["removed_bytes"] == 0


def test_the_least_recently_used_goes_first(filled):
    assert "restored" in version(filled, "A").stderr
    dry = gc(filled, "-n", "--max-size=250000")
    assert dry["removed_results"] == 1 and status(filled)["results"] == 3, "-n removes nothing"
    report = gc(filled, "--max-size=250000")
    assert report["removed_results"] == 1 and report["removed_objects"] == 1 and report["bytes"] <= 250000
    assert "restored" in version(filled, "C").stderr
    assert "restored" in version(filled, "A").stderr, "its use made it younger than B"
    assert "made" in version(filled, "B").stdout


def test_what_the_project_has_now_stays(filled):
    report = gc(filled, "--max-size=0")
    assert report["removed_results"] == 2 and report["bytes"] > 100000
    assert "more than asked for" in filled.mlmake("cache", "gc", "--max-size=0").stderr
    (filled.path / "out").unlink()
    assert "restored" in filled.mlmake("t").stderr


def test_a_shared_object_goes_with_its_last_result(box):
    box.write("mlmake.yaml", PROJECT.replace("  t:", "  u: {inputs: [word], outputs: [o2], run: 'head -c 100000 src > o2'}\n  t:"))
    box.write("word", "1")
    version(box, "A")
    box.mlmake("u")
    age(box, 86400)
    box.write("mlmake.yaml", PROJECT)
    report = gc(box, "--max-size=0")
    assert report["removed_results"] == 1 and report["removed_objects"] == 0
    (box.path / "out").unlink()
    assert "restored" in box.mlmake("t").stderr


def test_damaged_and_unnamed_go(filled):
    root = filled.home / ".cache/mlmake/v1"
    for number in range(3):
        junk = root / f"actions/ab/{number:062}"
        junk.parent.mkdir(parents=True, exist_ok=True)
        junk.write_bytes(b"junk")
    shutil.rmtree(root / "index")
    age(filled, 7200)
    fresh = root / "objects/ab/cd"
    fresh.parent.mkdir(exist_ok=True)
    fresh.write_bytes(b"x" * 10)
    report = gc(filled)
    assert report["removed_results"] == 3 and report["removed_objects"] == 3 and report["bytes"] == 10, "fresh ones are left to who stores them"
    age(filled, 7200)
    assert gc(filled)["removed_objects"] == 1


def test_runs_keep_to_the_limit(filled):
    filled.env["MLMAKE_CACHE_SIZE"] = "250000"
    version(filled, "D")
    assert status(filled)["bytes"] <= 250000, "the last look was days ago"
    version(filled, "E")
    version(filled, "F")
    assert status(filled)["bytes"] > 250000, "not after every run"
    os.utime(filled.home / ".cache/mlmake/v1/looked", (time.time() - 7200,) * 2)
    version(filled, "G")
    assert status(filled)["bytes"] <= 250000


def test_usage(box):
    assert "is no size" in box.mlmake("cache", "gc", "--max-size=x", check=2).stderr
    assert "takes no arguments" in box.mlmake("cache", "gc", "x", check=2).stderr
    assert "gc" in box.mlmake("cache", "--help").stdout
