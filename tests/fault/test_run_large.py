"""Large inputs and outputs are read beside the loop: what else runs does not wait for that."""
import json
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BUILD, PATIENCE, wait_for

FAULTY = BUILD / "mlmake-fault"
SLOW_MS = 60
MEGABYTES = 40  # read in that many pieces: 2.4 s
LINES = 60
OUTPUTS = [("big", f"truncate -s {MEGABYTES}M big"), ("dir", f"mkdir -p dir/deep; truncate -s {MEGABYTES}M dir/deep/big; echo x > dir/small")]


def project(box, output, made, cache):
    chain = {f"b{i}": {"run": f"echo start {i}; sleep 0.05", "needs": [f"b{i - 1}"] if i else []} for i in range(LINES)}
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "a": {"inputs": ["in"], "outputs": [output], "cache": cache, "run": made},
        "all": {"needs": ["a", f"b{LINES - 1}"]}, **chain}}))
    box.write("in", "")


def follow(process):
    """When each event came: [(seconds, event)]."""
    return [(time.monotonic(), json.loads(line)) for line in process.stdout]


@pytest.mark.slow
@pytest.mark.parametrize("output, made", OUTPUTS)
@pytest.mark.parametrize("cache", [True, False])
def test_others_do_not_wait_for_the_reading_of_a_large_output(box, output, made, cache):
    project(box, output, made, cache)
    box.env["MLMAKE_FAULT_SLOW_MS"] = str(SLOW_MS)
    process = box.popen(FAULTY, "-j", "2", "--json", "all", stdout=subprocess.PIPE, text=True)
    events = follow(process)
    assert process.wait(PATIENCE) == 0
    began = next(at for at, event in events if event["event"] == "started" and event["target"] == "a")
    ended = next(at for at, event in events if event["event"] == "finished" and event["target"] == "a")
    assert ended - began > 0.8 * SLOW_MS * MEGABYTES / 1000, "reading it takes its time"
    meanwhile = [at for at, event in events if event["event"] in ("started", "output") and event["target"] != "a" and began <= at <= ended]
    gaps = [after - before for before, after in zip(meanwhile, meanwhile[1:])]
    assert len(meanwhile) > 10 and max(gaps) < SLOW_MS * MEGABYTES / 1000 / 3, sorted(gaps)[-3:]
    del box.env["MLMAKE_FAULT_SLOW_MS"]
    box.mlmake("a", "-q")
    if cache:
        (box.path / "in").write_text("other")
        box.mlmake("a")
        (box.path / "in").write_text("")
        assert "restored" in box.mlmake("a", "--json").stdout
        assert (box.path / ("big" if output == "big" else "dir/deep/big")).stat().st_size == MEGABYTES << 20


@pytest.mark.slow
def test_an_interruption_does_not_wait_for_it(box):
    project(box, "big", "truncate -s 40M big; touch made", True)
    box.env["MLMAKE_FAULT_SLOW_MS"] = "3000"
    process = box.popen(FAULTY, "a")
    wait_for((box.path / "made").exists)
    time.sleep(0.3)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert time.monotonic() - began < 60, "to read it takes two minutes"
    assert not (box.path / "big").exists() and (box.path / ".mlmake/interrupted/a/big").exists()
    del box.env["MLMAKE_FAULT_SLOW_MS"]
    assert "no record of a success" in box.mlmake("-n", "a").stdout


def without_outputs(box, output):
    """Made, and taken away again."""
    box.mlmake("a")
    shutil.rmtree(box.path / "dir", ignore_errors=True)
    (box.path / "big").unlink(missing_ok=True)
    return box.path / ("big" if output == "big" else "dir/deep/big")


def staged(box):
    return [path for path in (box.path / ".mlmake/staging").rglob("*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("output, made", OUTPUTS)
def test_others_do_not_wait_for_the_restoring_of_a_large_output(box, output, made):
    project(box, output, made, True)
    big = without_outputs(box, output)
    box.env["MLMAKE_FAULT_SLOW_MS"] = str(SLOW_MS)
    process = box.popen(FAULTY, "-j", "2", "--json", "all", stdout=subprocess.PIPE, text=True)
    events = follow(process)
    assert process.wait(PATIENCE) == 0
    ended, outcome = next((at, event["outcome"]) for at, event in events if event["event"] == "finished" and event["target"] == "a")
    assert outcome == "restored" and big.stat().st_size == MEGABYTES << 20 and not staged(box)
    meanwhile = [at for at, event in events if event["event"] in ("started", "output") and event["target"] != "a" and at <= ended]
    gaps = [after - before for before, after in zip(meanwhile, meanwhile[1:])]
    assert len(meanwhile) > 10 and max(gaps) < SLOW_MS * MEGABYTES / 1000 / 3, sorted(gaps)[-3:]


@pytest.mark.slow
def test_an_interruption_does_not_wait_for_the_restoring(box):
    project(box, *OUTPUTS[0], True)
    big = without_outputs(box, "big")
    box.env["MLMAKE_FAULT_SLOW_MS"] = "3000"
    process = box.popen(FAULTY, "a")
    wait_for(lambda: staged(box))
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert time.monotonic() - began < 60, "to copy it takes two minutes"
    assert not big.exists() and not staged(box)
    del box.env["MLMAKE_FAULT_SLOW_MS"]
    assert "1 from the cache" in box.mlmake("a").stderr and big.exists()


@pytest.mark.parametrize("damage", ["short", "other bytes", "gone"])
def test_a_large_output_that_is_damaged_in_the_cache_is_made_anew(box, damage):
    project(box, *OUTPUTS[1], True)
    big = without_outputs(box, "dir")
    objects = [path for path in (box.home / ".cache/mlmake/v1/objects").rglob("*") if path.is_file() and path.stat().st_size == MEGABYTES << 20]
    assert len(objects) == 1
    objects[0].chmod(0o644)
    if damage == "gone":
        objects[0].unlink()
    else:
        with open(objects[0], "r+b") as file:
            file.write(b"x")
            if damage == "short":
                file.truncate(MEGABYTES << 19)
    assert "(1 ran)" in box.mlmake("a").stderr
    assert big.stat().st_size == MEGABYTES << 20 and big.read_bytes()[:1] == b"\0" and not staged(box)


def test_a_large_output_that_is_there_twice_is_restored_twice(box):
    project(box, "dir", "mkdir -p dir/deep; truncate -s 9M dir/deep/big; cp dir/deep/big dir/too; chmod +x dir/too", True)
    without_outputs(box, "dir")
    assert "1 from the cache" in box.mlmake("a").stderr
    assert [(box.path / name).stat().st_size for name in ("dir/deep/big", "dir/too")] == [9 << 20] * 2
    assert [(box.path / name).stat().st_mode & 0o111 for name in ("dir/deep/big", "dir/too")] == [0, 0o111]


@pytest.mark.slow
def test_a_large_output_is_read_once(box):
    project(box, "big", "truncate -s 9M big", False)
    box.env["MLMAKE_FAULT_SLOW_MS"] = "400"
    began = time.monotonic()
    box.run(FAULTY, "a", check=0)
    took = time.monotonic() - began
    began = time.monotonic()
    box.run(FAULTY, "a", check=0)
    assert took > 3.6 > time.monotonic() - began


def with_large_inputs(box):
    chain = {f"b{i}": {"run": f"echo start {i}; sleep 0.05", "needs": [f"b{i - 1}"] if i else []} for i in range(LINES)}
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "a": {"inputs": ["big"], "outputs": ["out"], "run": "wc -c < big > out"},
        "also": {"inputs": ["bi*", "dir"], "outputs": ["also.out"], "run": "cat big dir/big | wc -c > also.out"},
        "all": {"needs": ["a", "also", f"b{LINES - 1}"]}, **chain}}))
    (box.path / "dir").mkdir()
    for name in ("big", "dir/big"):
        with open(box.path / name, "wb") as file:
            file.truncate(MEGABYTES << 20)


@pytest.mark.slow
def test_others_do_not_wait_for_the_reading_of_large_inputs(box):
    with_large_inputs(box)
    box.env["MLMAKE_FAULT_SLOW_MS"] = str(SLOW_MS)
    began = time.monotonic()
    process = box.popen(FAULTY, "-j", "3", "--json", "all", stdout=subprocess.PIPE, text=True)
    events = follow(process)
    assert process.wait(PATIENCE) == 0
    decided = next(at for at, event in events if event["event"] == "started" and event["target"] == "a")
    assert decided - began > 0.8 * SLOW_MS * MEGABYTES / 1000, "reading it takes its time"
    meanwhile = [at for at, event in events if event["event"] in ("started", "output") and event["target"] != "a" and at <= decided]
    gaps = [after - before for before, after in zip(meanwhile, meanwhile[1:])]
    assert len(meanwhile) > 10 and max(gaps) < SLOW_MS * MEGABYTES / 1000 / 3, sorted(gaps)[-3:]
    del box.env["MLMAKE_FAULT_SLOW_MS"]
    assert box.read("also.out").strip() == str(2 * MEGABYTES << 20).encode()
    box.mlmake("a", "also", "-q")
    with open(box.path / "dir/big", "r+b") as file:
        file.write(b"x")
    assert box.mlmake("-n", "a", "also").stdout == "also: would run: dir/big changed\n"
    assert "(1 ran, 1 up to date)" in box.mlmake("a", "also").stderr


@pytest.mark.slow
def test_an_interruption_does_not_wait_for_large_inputs(box):
    with_large_inputs(box)
    box.env["MLMAKE_FAULT_SLOW_MS"] = "3000"
    process = box.popen(FAULTY, "a", "b3")
    wait_for(lambda: (box.path / ".mlmake/logs/b0.log").exists())
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert time.monotonic() - began < 60, "to read it takes two minutes"


@pytest.mark.slow
def test_an_input_that_changes_while_it_is_read_is_read_again(box):
    with_large_inputs(box)
    box.env["MLMAKE_FAULT_SLOW_MS"] = str(SLOW_MS)
    process = box.popen(FAULTY, "a", "b9")
    wait_for(lambda: (box.path / ".mlmake/logs/b2.log").exists())
    with open(box.path / "big", "r+b") as file:
        file.seek(1000)
        file.write(b"x")
    assert process.wait(PATIENCE) == 0
    del box.env["MLMAKE_FAULT_SLOW_MS"]
    box.mlmake("a", "-q")
    with open(box.path / "big", "r+b") as file:
        file.seek(1000)
        file.write(b"\0")
    assert "a: would run: big changed" in box.mlmake("-n", "a").stdout
