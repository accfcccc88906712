"""What runs beside what: order, processors, memory, GPUs, pools; and how failures are retried."""
import json
import os
import signal
import time

import pytest

from conftest import PATIENCE, ROOT, wait_for


def project(box, targets, **top):
    body = {"version": 1, "rules": [], **top, "targets": targets}
    box.write("mlmake.yaml", json.dumps(body))


def job(name, seconds=0.15, extra="", **more):
    return {"run": f"echo +{name} >> trail; {extra} sleep {seconds}; echo -{name} >> trail", **more}


def trail(box):
    """(name, ...) in the order of their starts, and how many ran at once at most of each letter, and in all."""
    lines = (box.path / "trail").read_text().split()
    (box.path / "trail").unlink()
    running, most = set(), {"all": 0}
    for line in lines:
        if line[0] == "-":
            running.discard(line[1:])
            continue
        running.add(line[1:])
        most["all"] = max(most["all"], len(running))
        for letter in {name[0] for name in running}:
            most[letter] = max(most.get(letter, 0), sum(name[0] == letter for name in running))
    return [line[1:] for line in lines if line[0] == "+"], most


@pytest.mark.slow
def test_the_longest_chain_goes_first(box):
    targets = {f"short{n}": job(f"s{n}", 0.1) for n in range(4)}
    targets["head"] = job("head", 0.1)
    targets["tail"] = {**job("tail", 0.4), "needs": ["head"]}
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("-j2", "all")
    assert "head" not in trail(box)[0][:2]
    box.mlmake("-j2", "all")
    assert "head" in trail(box)[0][:2], "by what was recorded, not by declaration"


@pytest.mark.slow
def test_processors(box):
    targets = {f"w{n}": job(f"w{n}", resources={"cpu": 2}) for n in range(4)}
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("-j4", "all")
    assert trail(box)[1]["w"] == 2
    box.mlmake("-j8", "all")
    assert trail(box)[1]["w"] == 4
    box.mlmake("-j1", "all")
    assert trail(box)[1]["w"] == 1, "more than there is: alone"


@pytest.mark.slow
def test_how_many_by_default(box):
    """One more than there are processors; but what wants all of these is alone."""
    count = len(os.sched_getaffinity(0))
    targets = {f"w{n}": job(f"w{n}", 0.6) for n in range(2 * count + 2)}
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("all")
    assert trail(box)[1]["w"] == count + 1
    if count == 1:
        return
    targets = {"x": job("x", resources={"cpu": count}), **{f"w{n}": job(f"w{n}") for n in range(3)}}
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("all")
    lines = box.read("trail").decode().split()
    assert lines.index("-x") == lines.index("+x") + 1


@pytest.mark.slow
def test_memory(box):
    targets = {f"m{n}": job(f"m{n}", resources={"memory": "3G"}) for n in range(3)}
    targets["a"] = job("a")
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("-j8", "all", MLMAKE_MEMORY="8G")
    assert trail(box)[1]["m"] == 2
    box.mlmake("-j8", "all", MLMAKE_MEMORY="1G")
    assert trail(box)[1]["m"] == 1


@pytest.mark.slow
def test_pools(box):
    targets = {f"p{n}": job(f"p{n}", 0.1, pool="net") for n in range(5)}
    targets |= {f"q{n}": job(f"q{n}", 0.1) for n in range(3)}
    targets["all"] = {"needs": [*targets]}
    project(box, targets, pools={"net": 2})
    box.mlmake("-j8", "all")
    order, most = trail(box)
    assert len(order) == 8 and most["p"] == 2 and most["q"] == 3 and most["all"] > 3, "others are not held up"


def test_a_pool_goes_on_after_a_failure(box):
    targets = {f"p{n}": job(f"p{n}", 0.01, "false;" if n % 2 else "", pool="one", resources={"gpu": 1}) for n in range(6)}
    targets["all"] = {"needs": [*targets]}
    project(box, targets, pools={"one": 1})
    box.mlmake("-j8", "-k", "all", check=1, MLMAKE_GPUS=1)
    assert len((box.path / "trail").read_text().split()) == 9


@pytest.mark.slow
def test_gpus(box):
    see = "printenv CUDA_VISIBLE_DEVICES > {}.gpu || echo > {}.gpu;"
    targets = {f"g{n}": job(f"g{n}", extra=see.replace("{}", f"g{n}"), resources={"gpu": 1}) for n in range(4)}
    targets["two"] = job("two", extra=see.replace("{}", "two"), resources={"gpu": 2})
    targets["none"] = job("none", extra=see.replace("{}", "none"))
    targets["all"] = {"needs": [*targets]}
    project(box, targets)
    box.mlmake("-j8", "all", MLMAKE_GPUS="5,7")
    order, most = trail(box)
    assert most["g"] == 2 and len(order) == 6
    assert {box.read(f"g{n}.gpu").decode().strip() for n in range(4)} == {"5", "7"}
    assert box.read("two.gpu") == b"5,7\n" and box.read("none.gpu") == b"\n"
    box.mlmake("g0", CUDA_VISIBLE_DEVICES="GPU-abc,GPU-def")
    assert box.read("g0.gpu").startswith(b"GPU-")
    box.mlmake("two", MLMAKE_GPUS=3)
    assert box.read("two.gpu") == b"0,1\n"


def test_gpus_by_nvidia_smi(box):
    smi = box.write("bin/nvidia-smi", "#!/bin/sh\n[ \"$1\" = -L ] || exit 1\necho 'GPU 0: NVIDIA X (UUID: GPU-1)'\necho 'GPU 1: NVIDIA X (UUID: GPU-2)'\n", 0o755)
    project(box, {"t": {"run": "echo $CUDA_VISIBLE_DEVICES", "resources": {"gpu": 2}}})
    box.env["PATH"] = f"{smi.parent}:{box.env['PATH']}"
    assert box.mlmake("t").stdout == "0,1\n"


def test_too_few_gpus(box):
    project(box, {"t": {"inputs": ["src"], "outputs": ["out"], "run": "cp src out", "resources": {"gpu": 2}}})
    box.write("src", "1")
    result = box.mlmake("t", check=1, MLMAKE_GPUS=1)
    assert "it wants 2 GPUs, and this machine has 1; MLMAKE_GPUS=2" in result.stderr and not (box.path / "out").exists()
    box.mlmake("t", MLMAKE_GPUS=2)
    (box.path / "out").unlink()
    assert "restored" in box.mlmake("t", MLMAKE_GPUS=0).stderr, "what another machine made may be used"
    project(box, {"t": {"inputs": ["src"], "outputs": ["out"], "run": "cp src out", "resources": {"cpu": 3}}})
    assert "nothing to do" in box.mlmake("t").stderr, "resources are not part of the key"


@pytest.mark.slow
def test_backoff(box):
    targets = {"t": {"run": "date +%s%N >> times; test $(wc -l < times) = 4", "retries": 3, "backoff": "100ms"}}
    project(box, targets)
    result = box.mlmake("t")
    times = [int(line) / 1e9 for line in box.read("times").split()]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert 0.1 <= gaps[0] and 0.2 <= gaps[1] and 0.4 <= gaps[2]
    assert "attempt 2 of 4 in 0.10s" in result.stderr and "attempt 3 of 4 in 0.20s" in result.stderr and "attempt 4 of 4 in 0.40s" in result.stderr


def test_a_signal_ends_the_wait(box):
    project(box, {"t": {"run": "echo x >> tries; false", "retries": 1, "backoff": "1h"}})
    process = box.popen(box.binary, "t")
    wait_for((box.path / "tries").exists)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert box.read("tries") == b"x\n"


@pytest.mark.parametrize("top, target, said", [
    ({"pools": {"net": 2}}, {"pool": "nte"}, "did you mean 'net'"),
    ({}, {"pool": "x"}, "pools: {x: 1}"),
    ({"pools": {"net": 0}}, {}, "pool 'net' has no limit of '0'"),
    ({}, {"resources": {"memory": "lots"}}, "memory 'lots' is no size"),
    ({}, {"resources": {"cpus": 1}}, "did you mean 'cpu'"),
    ({}, {"backoff": "soon"}, "a duration such as"),
])
def test_wrong_values(box, top, target, said):
    project(box, {"t": {"run": "true", **target}}, **top)
    result = box.mlmake("t", check=2)
    assert said in result.stderr and "mlmake.yaml:1:" in result.stderr


def test_the_pages_say_so():
    text = (ROOT / "docs/language.md").read_text()
    assert "`resources`" in text and "`pools`" in text and "`backoff`" in text


def limited(box, limits, *args):
    return box.run("sh", "-c", f"{limits}; exec \"$@\"", "sh", box.binary, *args, check=0)


@pytest.mark.slow
def test_more_jobs_than_descriptors(box):
    """Not one of them fails for want of descriptors: as many run at a time as there are."""
    count = 60
    targets = {f"t{n}": {"inputs": ["in"], "outputs": [f"o{n}"], "run": f"sleep 0.1; ulimit -Sn > o{n}"} for n in range(count)}
    project(box, {**targets, "all": {"needs": [*targets]}})
    box.write("in", "")
    result = limited(box, "ulimit -Sn 200; ulimit -Hn 256", f"-j{count}", "all")
    assert "24 targets at a time, not 60: no more than 256 files may be open (ulimit -Hn)" in result.stderr
    assert {box.read(f"o{n}") for n in range(count)} == {b"200\n"}, "what this process was started with"
    box.write("in", "again")
    assert "at a time" not in limited(box, "ulimit -Sn 100", f"-j{count}", "all").stderr
    assert {box.read(f"o{n}") for n in range(count)} == {b"100\n"}
