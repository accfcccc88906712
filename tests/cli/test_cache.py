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


# What a tag, a worktree or another project needs

CHAIN = """\
version: 1
rules: []
targets:
  prep: {inputs: [src/**], outputs: [mid], run: "cat src/* > mid"}
  train: {inputs: [mid], params: ["params.yaml:train"], outputs: [model/], run: "mkdir model; cat mid params.yaml > model/m"}
"""


def commit(box, message):
    box.git("add", "-A")
    box.git("commit", "-qm", message)


def made(box, letter, rate=1, target="train"):
    box.write("src/data", letter * 20000)
    box.write("src/run.sh", "#!/bin/sh\n", 0o755)
    box.write("params.yaml", f"train: {{rate: {rate}}}\nother: {letter}\n")
    return box.mlmake(target)


def restores(box, *args):
    """The targets that come from the cache once nothing is there any more."""
    box.mlmake("clean")
    end = json.loads(box.mlmake("--json", "train", *args).stdout.splitlines()[-1])
    return end["restored"]


@pytest.fixture
def tagged(gitbox):
    """A chain with results of a (tagged as v1, as a run before the commit made them), b, c (tagged as v2) and d (current)."""
    gitbox.write("mlmake.yaml", CHAIN)
    gitbox.write(".gitignore", "mid\nmodel/\n")
    for letter in "abcd":
        made(gitbox, letter)
        commit(gitbox, letter)
        if letter in "ac":
            gitbox.git("tag", *(["v1"] if letter == "a" else ["-a", "v2", "-m", "second"]))
    age(gitbox, 86400)
    return gitbox


def collect_all(box, **kw):
    """As a full cache would be; what is less than an hour old is spared in any case, so it is made older."""
    age(box, 7200)
    return box.mlmake("cache", "gc", "--max-size=0", **kw)


def test_what_a_tag_needs_stays(tagged):
    collect_all(tagged)
    for rev, count in (("v1", 2), ("v2", 2), ("main", 2), ("v2~1", 0)):
        tagged.git("checkout", "-q", rev)
        assert restores(tagged) == count, rev


def test_without_the_tag_it_goes(tagged):
    tagged.git("tag", "-d", "v1")
    collect_all(tagged)
    tagged.git("checkout", "-q", "main~3")
    assert restores(tagged) == 0


def test_a_tag_on_other_parameters_keeps_its_own(gitbox):
    gitbox.write("mlmake.yaml", CHAIN)
    gitbox.write(".gitignore", "mid\nmodel/\n")
    for rate in (1, 2, 3):
        made(gitbox, "a", rate)
        if rate == 2:
            commit(gitbox, "two")
            gitbox.git("tag", "v1")
    commit(gitbox, "three")
    collect_all(gitbox)
    gitbox.git("checkout", "-q", "v1")
    assert restores(gitbox) == 2
    gitbox.write("params.yaml", "train: {rate: 1}\nother: a\n")
    assert restores(gitbox) == 1, "prep alone: nobody needs what train made at rate 1"


def test_results_from_the_tag_to_come_are_not_taken_for_its_own(tagged):
    """d's results are current and stay; of b nothing does, though its run.sh is that of every commit."""
    before = status(tagged)["results"]
    assert before == 8
    collect_all(tagged)
    assert status(tagged)["results"] == 6


def test_an_executable_bit_is_content(gitbox):
    gitbox.write("mlmake.yaml", CHAIN)
    gitbox.write(".gitignore", "mid\nmodel/\n")
    made(gitbox, "a")
    gitbox.path.joinpath("src/run.sh").chmod(0o644)
    gitbox.mlmake("train")
    commit(gitbox, "plain")
    gitbox.git("tag", "v1")
    made(gitbox, "b")
    assert status(gitbox)["results"] == 5, "mid is the same with and without the bit, so train ran twice in all"
    collect_all(gitbox)
    assert status(gitbox)["results"] == 4


def test_a_project_below_the_repository(tmp_path, gitbox):
    for path in ("mlmake.yaml", ".gitignore"):
        gitbox.write(f"sub/{path}", CHAIN if path == "mlmake.yaml" else "mid\nmodel/\n")
    for letter in "abc":
        gitbox.write("sub/src/data", letter * 20000)
        gitbox.write("sub/params.yaml", "train: {rate: 1}\n")
        gitbox.mlmake("-C", "sub", "train")
        commit(gitbox, letter)
        gitbox.git("tag", letter)
    gitbox.git("tag", "-d", "b")
    age(gitbox, 7200)
    gitbox.mlmake("-C", "sub", "cache", "gc", "--max-size=0")
    assert status(gitbox)["results"] == 4


def test_other_projects_and_worktrees_are_spared(tagged, tmp_path):
    tagged.git("worktree", "add", "-q", str(tmp_path / "other tree"), "v2~1")
    worktree = tmp_path / "other tree"
    tagged.mlmake("train", cwd=worktree)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mlmake.yaml").write_text(PROJECT)
    (elsewhere / "src").write_text("x")
    tagged.mlmake("t", cwd=elsewhere)
    age(tagged, 7200)
    tagged.mlmake("cache", "gc", "--max-size=0", cwd=elsewhere)
    assert status(tagged)["results"] == 8 + 1, "a, c and d of the project and its tags, b of the worktree, one of this"
    tagged.git("worktree", "remove", "--force", str(worktree))
    tagged.mlmake("cache", "gc", "--max-size=0", cwd=elsewhere)
    assert status(tagged)["results"] == 6 + 1


def test_a_full_cache_trims_itself_to_what_tags_need(tagged):
    """The collection that a run does now and then asks the same."""
    (tagged.home / ".cache/mlmake/v1/looked").unlink(missing_ok=True)
    age(tagged, 7200)
    tagged.write("src/data", "e" * 20000)
    tagged.mlmake("train", MLMAKE_CACHE_SIZE="1k")
    tagged.git("checkout", "-q", "-f", "v1")
    assert restores(tagged) == 2
    tagged.git("checkout", "-q", "-f", "v2~1")
    assert restores(tagged) == 0


def test_a_repository_that_git_cannot_read_keeps_all(tagged):
    (tagged.path / ".git/HEAD").write_text("nonsense\n")
    (tagged.path / ".git/config").write_text("[core\n")
    collect_all(tagged)
    assert status(tagged)["results"] == 8


def test_a_project_that_is_gone_for_long_is_forgotten(tagged, tmp_path):
    notes = tagged.home / ".cache/mlmake/v1/projects"
    assert [p.read_text() for p in notes.iterdir()] == [str(tagged.path)]
    moved = tmp_path / "moved"
    tagged.path.rename(moved)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    age(tagged, 29 * 86400)
    tagged.mlmake("cache", "gc", "--max-size=1G", cwd=elsewhere)
    assert len(list(notes.iterdir())) == 1
    age(tagged, 31 * 86400)
    tagged.mlmake("cache", "gc", "--max-size=1G", cwd=elsewhere)
    assert not list(notes.iterdir())
