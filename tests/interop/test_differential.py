"""Random work by dvc and mlmake on twin repositories (differential.py). The same 150 sequences each time, so that a failure is of the change
at hand; MLMAKE_DIFFERENTIAL_SEED and _COUNT choose others: 1,000 take about 8 minutes on two processors."""
import collections
import concurrent.futures
import os
import pathlib

import pytest

import differential
from conftest import ROOT, need_peer

pytestmark = pytest.mark.slow


def test_differences_on_purpose_are_in_the_docs():
    text = (pathlib.Path(ROOT) / "docs/dvc-compat.md").read_text(encoding="utf-8")
    for beginning in differential.DIFFERENCES.values():
        assert f"\n| {beginning}" in text, beginning


@pytest.mark.timeout(1500)
def test_sequences():
    need_peer("dvc")
    first = int(os.environ.get("MLMAKE_DIFFERENTIAL_SEED", "2000"))
    count = int(os.environ.get("MLMAKE_DIFFERENTIAL_COUNT", "150"))
    workers = min(len(os.sched_getaffinity(0)), count)
    print(f"seeds {first}..{first + count - 1}")
    seen, failures = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        for failed, counted in pool.map(differential.play, [range(first + i, first + count, workers) for i in range(workers)]):
            failures += failed
            seen.update(counted)
    for seed, message in failures[:5]:
        print(f"\nseed {seed} (python tests/interop/differential.py --seed {seed} --verbose):\n{message}")
    assert not failures, f"{len(failures)} sequences differ: seeds {[seed for seed, _ in failures][:50]}"
    # Every difference that is excused was really met.
    if count >= 1000:
        assert set(seen) == set(differential.DIFFERENCES.values()), seen
