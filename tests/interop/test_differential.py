"""Random work by dvc and mlmake on twin repositories (differential.py). The same 1,000 sequences each time, so that a failure is of the
change at hand; MLMAKE_DIFFERENTIAL_SEED and _COUNT choose others. They take about 8 minutes on two processors, nearly all of it dvc's own time."""
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


@pytest.mark.timeout(5400)
def test_sequences():
    need_peer("dvc")
    first = int(os.environ.get("MLMAKE_DIFFERENTIAL_SEED", "2000"))
    count = int(os.environ.get("MLMAKE_DIFFERENTIAL_COUNT", "1000"))
    workers = min(len(os.sched_getaffinity(0)), count)
    print(f"\nseeds {first}..{first + count - 1} in {workers} processes", flush=True)
    seen, failures = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(workers) as pool:
        for failed, counted in pool.map(differential.play, [range(first + i, first + count, workers) for i in range(workers)]):
            failures += failed
            seen.update(counted)
    print("differences on purpose:", dict(seen))
    for seed, message in failures[:5]:
        print(f"\nseed {seed} (python tests/interop/differential.py --seed {seed} --verbose):\n{message}")
    assert not failures, f"{len(failures)} sequences differ: seeds {[seed for seed, _ in failures][:50]}"
    # Every difference that is excused was really met.
    usual = {name: text for name, text in differential.DIFFERENCES.items() if name not in differential.RARE}
    if count >= 1000:
        assert set(usual.values()) <= set(seen) <= set(differential.DIFFERENCES.values()), seen
