"""Every system call of some kinds fails once in a run (all that write, and kills, are in test_run_boundaries.py): whatever the place, the next run makes what the commands make,
and no run that did not says that it did."""
import itertools

import pytest

from conftest import BUILD

FAULTY = BUILD / "mlmake-fault"
CONFIG = """\
version: 1
rules: []
targets:
  a: {inputs: [in], outputs: [a.out], run: "cp in a.out; echo a >> a.out"}
  b: {inputs: [a.out], outputs: [b], run: "mkdir b; cp a.out b/1; cp a.out b/2"}
  c: {needs: [b], inputs: [in], outputs: [seen], run: "cat b/1 > seen"}
"""


@pytest.fixture
def project(box):
    if not FAULTY.exists():
        pytest.fail("make fault builds build/mlmake-fault, which this needs")
    box.write("mlmake.yaml", CONFIG)
    box.write("in", "0\n")
    box.mlmake("c")
    return box


def check(box, text):
    want = (text + "a\n").encode()
    assert (box.read("a.out"), box.read("b/1"), box.read("b/2"), box.read("seen")) == (want,) * 4


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["openat:EMFILE", "renameat:EIO", "pwrite:EIO", "read:EIO", "mkdirat:ENOSPC",
                                   "ofd_lock:ENOLCK"])
def test_no_fault_makes_it_lie(project, fault, tmp_path):
    log = tmp_path / "log"
    for round_number, number in enumerate(itertools.count(1)):
        # Contents come back every third time, so that restoring from the cache is struck as well.
        text = f"{round_number % 3}\n"
        project.write("in", text)
        log.unlink(missing_ok=True)
        result = project.run(FAULTY, "c", MLMAKE_FAULT=f"{fault}:{number}", MLMAKE_FAULT_LOG=log, timeout=30)
        assert result.returncode in (0, 1, 2, 3, -9), (number, result.stderr)
        if result.returncode == 0:
            check(project, text)
        elif result.returncode > 0:
            assert "error: " in result.stderr or "failed: " in result.stderr
        project.mlmake("c")
        check(project, text)
        if log.exists() and int(log.read_text().split()[-1]) < number:
            break
        assert number < 2000


@pytest.mark.slow
def test_a_full_disk_is_an_error_and_nothing_is_lost(project):
    project.write("in", "new\n")
    result = project.run(FAULTY, "c", MLMAKE_FAULT="pwrite:ENOSPC:1+")
    assert result.returncode in (0, 1)
    project.mlmake("c")
    check(project, "new\n")
