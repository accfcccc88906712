"""Outputs of dvc.yaml's stages in mlmake data: recorded by the real dvc, then pushed, fetched and checked out by either."""
import json
import shutil

import pytest

from conftest import need_peer

PIPELINE = """\
stages:
  prep:
    wdir: work
    cmd: mkdir -p out && cp ../in.txt out/a && echo two > out/b
    deps: [../in.txt]
    outs: [out]
  each:
    foreach: [x, y]
    do:
      cmd: echo ${item} > model-${item}.bin
      outs:
      - model-${item}.bin
  score:
    cmd: echo '{"f1":1}' > metrics.json; echo kept > local.bin; echo plain > plain.txt
    metrics:
    - metrics.json:
        cache: false
    outs:
    - local.bin:
        push: false
    - plain.txt
"""
MODELS = ["model-x.bin", "model-y.bin"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A repository in which dvc ran the pipeline and pushed nothing."""
    from conftest import Sandbox
    need_peer("dvc")
    box = Sandbox(tmp_path_factory.mktemp("pipeline"))
    box.git("init", "-q", "-b", "main")
    box.dvc("init", "-q")
    box.write("in.txt", "one\n")
    (box.path / "work").mkdir()
    box.write("dvc.yaml", PIPELINE)
    box.dvc("repro", "-q")
    box.git("add", "-A")
    box.git("commit", "-qm", "ran")
    box.mlmake("data", "remote", "add", "-d", "store", box.path.parent / "store")
    return box


@pytest.fixture
def pipeline(ran, tmp_path):
    from conftest import Sandbox
    box = Sandbox(tmp_path)
    shutil.copytree(ran.path, box.path, dirs_exist_ok=True, symlinks=True)
    box.mlmake("data", "remote", "modify", "store", "url", tmp_path / "store")
    box.store = tmp_path / "store"
    return box


def drop(box, cache=True):
    for name in [*MODELS, "plain.txt", "local.bin"]:
        (box.path / name).unlink()
    shutil.rmtree(box.path / "work/out")
    if cache:
        shutil.rmtree(box.path / ".dvc/cache")


def names(box):
    return sorted(str(p.relative_to(box.store / "files/md5")) for p in (box.store / "files/md5").rglob("*") if p.is_file())


def test_status_knows_them(pipeline):
    status = json.loads(pipeline.mlmake("data", "status", "--json", "--unchanged").stdout)
    assert sorted(status["unchanged"]) == ["local.bin", *MODELS, "plain.txt", "work/out/"]
    assert set(status) == {"unchanged"}
    pipeline.write("plain.txt", "changed")
    status = json.loads(pipeline.mlmake("data", "status", "--json").stdout)
    assert status == {"uncommitted": {"modified": ["plain.txt"]}}


@pytest.mark.slow
def test_status_says_what_dvc_says(pipeline):
    drop(pipeline, cache=False)
    (pipeline.path / "work/out").mkdir()
    pipeline.write("work/out/a", "other")
    ours = json.loads(pipeline.mlmake("data", "status", "--json", "--granular").stdout)
    theirs = json.loads(pipeline.dvc("data", "status", "--json", "--granular").stdout)
    theirs.pop("git", None)
    assert {k: {s: sorted(v) for s, v in ours[k].items()} for k in ours} == {k: {s: sorted(v) for s, v in theirs[k].items()} for k in theirs}


def test_push_and_pull(pipeline):
    pipeline.mlmake("data", "push")
    assert len(names(pipeline)) == 6, "a manifest, two members, three files; nothing of local.bin and metrics.json"
    drop(pipeline)
    pipeline.mlmake("data", "pull", "prep", "each@x", "dvc.yaml:each@y", "plain.txt")
    assert pipeline.read("work/out/a") == b"one\n" and pipeline.read("model-y.bin") == b"y\n"
    pipeline.mlmake("data", "verify", "work", check=0)
    assert pipeline.git("status", "--porcelain", "dvc.lock", "dvc.yaml").stdout == ""


@pytest.mark.slow
def test_dvc_pulls_what_we_push_and_the_reverse(pipeline):
    pipeline.mlmake("data", "push")
    drop(pipeline)
    pipeline.dvc("pull", "-q", *MODELS, "plain.txt", "work/out")
    assert pipeline.read("work/out/b") == b"two\n"
    assert "up to date" in pipeline.dvc("status", "prep", "each@x", "each@y").stdout
    shutil.rmtree(pipeline.store)
    pipeline.dvc("push", "-q")
    pipeline.mlmake("data", "verify", "-c", *MODELS, "work")


def test_what_is_not_ours_to_record(pipeline):
    refused = pipeline.mlmake("data", "add", "plain.txt", check=2).stderr
    assert "output of the stage 'score' of dvc.yaml" in refused and "dvc repro score" in refused


def test_stages_that_are_gone_count_no_more(pipeline):
    text = pipeline.read("dvc.yaml").decode()
    pipeline.write("dvc.yaml", text[:text.index("  each:")] + text[text.index("  score:"):])
    status = json.loads(pipeline.mlmake("data", "status", "--json", "--unchanged").stdout)
    assert not set(MODELS) & set(status["unchanged"])


def test_a_broken_lock_is_named_and_the_rest_goes_on(pipeline):
    pipeline.write("f", "x")
    pipeline.mlmake("data", "add", "f")
    for text in ("", "schema: '2.0'\nstages:\n  prep:\n    outs:\n    - path: out\n      md5: zz\n", "<<<<<<< HEAD\n"):
        pipeline.write("dvc.lock", text)
        said = pipeline.mlmake("data", "status", "--unchanged", check=3)
        assert "dvc.lock" in said.stderr and " f\n" in said.stdout
    pipeline.write("dvc.lock", "schema: '2.0'\nstages:\n  prep:\n    outs:\n    - path: ../../../out\n      md5: " + "0" * 32 + "\n")
    text = pipeline.read("dvc.yaml").decode().replace("outs: [out]", "outs: [../../../out]")
    pipeline.write("dvc.yaml", text)
    assert "not inside the repository" in pipeline.mlmake("data", "status", check=3).stderr
