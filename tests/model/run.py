#!/usr/bin/env python3
"""Random projects, random changes, and after each change mlmake against a model of it.

    tests/model/run.py [--steps N] [--seconds S] [--seed N] [--workers N] [--build DIR] [--dir DIR]
    tests/model/run.py --repeat SEED        one project again, as a failure names it

A project (a seed) lives for some tens of steps. A step edits, touches, deletes, switches branches, changes mlmake.yaml,
kills, lets system calls fail, runs several mlmake at once (tests/model/world.py); then a run must do exactly what the
model says, leave exactly the bytes that the commands make, and the same again must do nothing. Times of files are coarse
in half of the projects, so that edits fall into one tick.

The first failure ends it: exit code 1, the seed, the steps that still lead there after others were left out, what mlmake said.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from world import World, Wrong

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STEPS_MAX = 45       # of one project
SHRINK_SECONDS = 40
SHRINK_REPEATS = 3   # what depends on a moment does not fail each time


class Failure(Exception):
    def __init__(self, seed, steps, message, world):
        super().__init__(message)
        self.seed, self.steps, self.message, self.world = seed, steps, message, world


def live(seed, build, directory, limit, deadline=None, steps=None):
    """Random steps, or those given; the number of steps taken."""
    rng = random.Random(seed + 1)
    world = World(seed, build, directory)
    taken = []
    for number in range(limit if steps is None else len(steps)):
        if deadline and time.monotonic() > deadline:
            break
        step = world.random_step(rng) if steps is None else steps[number]
        taken.append(step)
        try:
            world.step(step)
        except Wrong as problem:
            raise Failure(seed, taken, str(problem), world) from None
        except Exception as problem:  # the model itself is wrong, which its reader wants to see as well
            raise Failure(seed, taken, f"{problem!r}\n{traceback.format_exc()}", world) from problem
    return len(taken)


def still_fails(failure, steps, build, directory):
    for _ in range(SHRINK_REPEATS):
        try:
            live(failure.seed, build, directory, 0, steps=steps)
        except Failure as other:
            return other
    return None


def shrink(failure, build, directory):
    """Leaves out what the failure does not need: first steps, largest stretches first, then single edits."""
    deadline = time.monotonic() + SHRINK_SECONDS
    size = max(1, len(failure.steps) // 2)
    while size:
        at = 0
        while at < len(failure.steps) - 1 and time.monotonic() < deadline:
            fewer = failure.steps[:at] + failure.steps[min(at + size, len(failure.steps) - 1):]
            smaller = still_fails(failure, fewer, build, directory)
            if smaller:
                failure = smaller
            else:
                at += size
        size //= 2
    for number in range(len(failure.steps)):
        for index in reversed(range(len(failure.steps[number]["edits"]) if number < len(failure.steps) else 0)):
            steps = [dict(step) for step in failure.steps]
            steps[number]["edits"] = steps[number]["edits"][:index] + steps[number]["edits"][index + 1:]
            if time.monotonic() < deadline:
                failure = still_fails(failure, steps, build, directory) or failure
    return failure


def describe(failure):
    world = failure.world
    lines = [f"seed {failure.seed}: tests/model/run.py --repeat {failure.seed}", failure.message, "",
             f"times {world.tick or 'as they are'}{' ms apart' if world.tick else ''}; what was done:"]
    for step in failure.steps:
        edits = [json.dumps(e) if e[0] != "target" else json.dumps([*e[:3], e[3] if e[2] is None else e[3][e[2]]]) for e in step["edits"]]
        rest = {k: v for k, v in step.items() if k not in ("edits", "how") and v}
        lines += [f"  {edit}" for edit in edits] + [f"  {step['how']}: {json.dumps(rest)}"]
    lines += ["", "what mlmake said last:"] + ["  " + line for said in world.log[-4:] for line in str(said).split("\n")]
    lines += ["", "mlmake.yaml:", world.graph.config()]
    return "\n".join(lines)


def work(job):
    """One process: projects until its steps or its time are over. (steps, projects, failure as text or None)"""
    seed, count, seconds, build, options = job
    directory = options.dir
    deadline = time.monotonic() + seconds if seconds else None
    steps = projects = 0
    place = pathlib.Path(tempfile.mkdtemp(prefix="model-", dir=directory))
    try:
        while steps < count and not (deadline and time.monotonic() > deadline):
            steps += live(seed + 1000 * projects, build, place / "world", min(STEPS_MAX, count - steps), deadline)
            projects += 1
    except Failure as failure:
        text = describe(failure)
        small = failure if options.no_shrink else shrink(failure, build, place / "world")
        if len(small.steps) < len(failure.steps):
            text = f"{describe(small)}\n\nshrunk from {len(failure.steps)} steps"
        return steps, projects, text
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return steps, projects, None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, help="stop after that long, however few steps were taken")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--repeat", type=int, metavar="SEED")
    parser.add_argument("--workers", type=int, default=min(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--dir", help="where to work (default: the directory for temporary files)")
    parser.add_argument("--no-shrink", action="store_true", help="show the steps as they were")
    options = parser.parse_args()
    build = options.build.resolve()
    if not (build / "mlmake-fault").exists():
        parser.error(f"{build}/mlmake-fault is not there: make all fault")
    subprocess.run([build / "mlmake", "--version"], check=True, stdout=subprocess.DEVNULL)
    started = time.monotonic()
    if options.repeat is not None:
        results = [work((options.repeat, STEPS_MAX, options.seconds, build, options))]
    else:
        print(f"seed {options.seed}", flush=True)
        each = -(-options.steps // options.workers)
        jobs = [(options.seed + 1_000_003 * i, each, options.seconds, build, options) for i in range(options.workers)]
        options.dir = place = tempfile.mkdtemp(prefix="models-", dir=options.dir)
        with multiprocessing.Pool(options.workers) as pool:
            results = []
            for result in pool.imap_unordered(work, jobs):
                results.append(result)
                if result[2]:
                    pool.terminate()
                    break
        shutil.rmtree(place, ignore_errors=True)  # of who was terminated, too
    steps, projects = sum(r[0] for r in results), sum(r[1] for r in results)
    failures = [text for _, _, text in results if text]
    for text in failures:
        print(text, flush=True)
    print(f"{steps} steps in {projects} projects, {time.monotonic() - started:.0f} s: {'WRONG' if failures else 'as the model says'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
