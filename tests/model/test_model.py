"""Random projects against the model (run.py says how); the mutations that it must notice are in mutants.py."""
import os
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT
from mutants import MUTATIONS

RUN = [sys.executable, str(ROOT / "tests/model/run.py"), "--build", str(BUILD)]
SLOW_BUILD = BUILD.name in ("san", "tsan")


def run(tmp_path, *options, timeout):
    env = {k: v for k, v in os.environ.items() if not k.startswith("MLMAKE")}
    result = subprocess.run([*RUN, "--dir", str(tmp_path), *options], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=timeout, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_some_steps(tmp_path):
    """Always the same, so that a failure is of the change at hand."""
    assert "as the model says" in run(tmp_path, "--seed", "1", "--steps", "20" if SLOW_BUILD else "70", timeout=600)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_many_steps(tmp_path):
    """The same each time, so that a failure is of the change at hand; MLMAKE_MODEL_SEED chooses others."""
    said = run(tmp_path, "--seed", os.environ.get("MLMAKE_MODEL_SEED", "2000"), "--steps", "1000" if SLOW_BUILD else "10000", timeout=2900)
    print(said)
    assert int(said.split("\n")[1].split()[0]) >= (1000 if SLOW_BUILD else 10_000)


def test_each_mutation_has_its_line():
    """One whose line was rewritten would be found out by a whole run of the list alone."""
    stale = [(name, file) for name, (_, file, text, _) in MUTATIONS.items() if (ROOT / file).read_text().count(text) != 1]
    assert not stale


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_mutations_are_found(tmp_path):
    """Two of the list, others each day; `make mutants` tries them all."""
    if SLOW_BUILD:
        pytest.skip("mutations are compiled without sanitizers")
    argv = [sys.executable, str(ROOT / "tests/model/mutants.py"), "--build", str(BUILD), "--dir", str(tmp_path), "--sample", "2"]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=2300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
