"""Every call of a run that writes state, one after the other: the process dies before it, or the call fails. mlmake's own are struck in the
table of system calls (fault.c), LMDB's in a library of LD_PRELOAD (preload.c). Whatever the place: no run says that it did what it
did not, the next one does it, and the one after it has nothing to do."""
import os
import pathlib
import shutil
import tempfile

import pytest

from conftest import BUILD, Sandbox

FAULTY = BUILD / "mlmake-fault"
PRELOAD = BUILD / "tests/preload.so"
CALLS_MAX = 2000
CONFIG = """\
version: 1
rules: []
targets:
  a: {inputs: [in], outputs: [a.out], run: "cp in a.out; echo a >> a.out"}
  b: {inputs: [a.out], outputs: [b], run: "mkdir b; cp a.out b/1; ln -s 1 b/2"}
  c: {needs: [b], inputs: [in], outputs: [seen], cache: false, run: "echo said; cat b/2 > seen"}
"""


@pytest.fixture
def box():
    """In memory, where there is such a place: some thousand runs, and each of them syncs."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="boundaries-", dir=memory) as directory:
        yield Sandbox(pathlib.Path(directory))


def check(box, text):
    want = (text + "a\n").encode()
    assert (box.read("a.out"), box.read("b/1"), box.read("b/2"), box.read("seen")) == (want,) * 4
    assert sorted(os.listdir(box.path / "b")) == ["1", "2"]


def prepare(box, mode, number):
    """What in holds for a run that is the first of all, makes something new, or restores what was."""
    if mode == "first":
        shutil.rmtree(box.path / ".mlmake", ignore_errors=True)
        shutil.rmtree(box.home / ".cache", ignore_errors=True)
    text = f"{number % 2}\n" if mode == "restored" else f"{mode} {number}\n"
    box.write("in", text)
    return text


def strike_all(box, mode, log, strike):
    """strike(n) runs mlmake c with the n-th call struck. The number of calls that there were to strike."""
    for text in ("0\n", "1\n"):
        box.write("in", text)
        box.mlmake("c")
    for number in range(1, CALLS_MAX):
        text = prepare(box, mode, number)
        log.unlink(missing_ok=True)
        result = strike(number)
        assert result.returncode in (0, 1, 2, 3, -9), (number, result.stderr)
        if result.returncode == 0:
            check(box, text)
        elif result.returncode > 0:
            assert "error: " in result.stderr or "failed: " in result.stderr, number
        box.mlmake("c")
        check(box, text)
        assert "nothing to do" in box.mlmake("c").stderr, number
        check(box, text)
        if log.exists() and int(log.read_text().split()[-1]) < number:
            return number - 1
    raise AssertionError(f"more than {CALLS_MAX} calls")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["first", "new", "restored"])
@pytest.mark.parametrize("error", ["KILL", "ENOSPC", "EIO"])
def test_mlmakes_own_calls(box, tmp_path, mode, error):
    if not FAULTY.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    box.write("mlmake.yaml", CONFIG)
    log = tmp_path / "log"
    struck = strike_all(box, mode, log, lambda n: box.run(FAULTY, "c", MLMAKE_FAULT=f"any:{error}:{n}", MLMAKE_FAULT_LOG=log, timeout=60))
    assert struck > 30


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["first", "new", "restored"])
@pytest.mark.parametrize("error", ["KILL:{}", "ENOSPC:{}", "EIO:{}", "ENOSPC:{}+", "SHORT:{}"])
def test_calls_of_the_database(box, tmp_path, mode, error):
    if BUILD.name in ("san", "tsan"):
        pytest.skip("a sanitizer wants to be the first library")
    if not PRELOAD.exists():
        pytest.fail("make fault builds build/tests/preload.so, which this needs")
    box.write("mlmake.yaml", CONFIG)
    log = tmp_path / "log"
    struck = strike_all(box, mode, log, lambda n: box.mlmake("c", check=None, LD_PRELOAD=PRELOAD, MLMAKE_PRELOAD=error.format(n),
                                                             MLMAKE_PRELOAD_LOG=log, timeout=60))
    assert struck > (10 if mode == "first" else 3)
    aside = [path for top in (box.path / ".mlmake", box.home) for path in top.rglob("*.aside")]
    assert not aside, "a write that failed is no damage"
