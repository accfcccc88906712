#!/usr/bin/env python3
"""Runs all tests and counts them. Only the standard library, so that it runs anywhere.

    tests/run.py [--quick] [--build DIR] [-k WORDS]

In order: the lint, the unit binaries in DIR/tests/unit, the fuzz corpora, then pytest (--quick: without what is marked slow) on the
folders beside this file, in several processes where there are two processors. Each failure is printed with its output, each skip with its
reason. --quick works in memory (/dev/shm) where there is room and TMPDIR says nothing else: removing thousands of small trees is what a
disk takes longest for. The last line is `N passed, N failed`, with `, N skipped` where there are some; the exit code is 1 when something failed or
nothing ran.
"""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
UNIT_TIMEOUT = 600       # seconds, each binary
PYTEST_TIMEOUT = 600     # seconds, each test
PYTEST_TOTAL = 120 * 60  # seconds, each lot
FOLDERS = {"fault": 2, "interop": 2, "model": 1, "cli": 2}  # into how many lots; what takes long comes first
AT_ONCE = {"quick": 3, "full": 2}  # lots: quick tests wait for each other's fsync more than for a processor
QUICK_ROOM = 1 << 30     # bytes
OUTPUT_LIMIT = 12000     # characters of a failure's output: its beginning, which names a seed or a step, and its end


class Results:
    def __init__(self):
        self.passed = self.failed = 0
        self.skipped = collections.Counter()  # reason -> how many

    def ok(self, count=1):
        self.passed += count

    def fail(self, name, output):
        self.failed += 1
        output = output.strip()
        if len(output) > OUTPUT_LIMIT:
            output = output[:OUTPUT_LIMIT // 3] + "\n[...]\n" + output[-OUTPUT_LIMIT * 2 // 3:]
        print(f"FAILED {name}")
        print("".join(f"    {line}\n" for line in output.split("\n")), end="", flush=True)

    def skip(self, reason, count=1):
        self.skipped[reason] += count

    def finish(self):
        for reason, count in self.skipped.items():
            print(f"SKIPPED {count}: {reason}")
        skipped = sum(self.skipped.values())
        if self.passed + self.failed == 0:
            print("nothing ran: `make units` builds the unit tests, `./bootstrap.sh test` installs the rest")
        print(f"{self.passed} passed, {self.failed} failed" + (f", {skipped} skipped" if skipped else ""))
        return 1 if self.failed or self.passed == 0 else 0


def run(argv, timeout, env=None):
    """(exit code, or None when time ran out; stdout and stderr together)"""
    process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = process.communicate(timeout=timeout)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
        code = None
    return code, output.decode(errors="replace")


def how_it_ended(code, timeout):
    if code is None:
        return f"still running after {timeout} s"
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


def run_lint(build, results):
    for script, *arguments in (["tests/lint/layers.py"], ["tests/lint/habits.py", str(build / "libmlmake.a")]):
        code, output = run([sys.executable, script, *arguments], UNIT_TIMEOUT)
        if code == 0:
            results.ok()
        else:
            results.fail(script, output)


TAP = re.compile(r"^(ok|not ok)\s+\d+\s*(?:-\s*)?(.*)$", re.M)


def count_unit(path, code, output, results):
    """A cmocka binary: TAP on its output, one line a test. What follows a `not ok` as comments is its message."""
    name = f"{path.parent.name}/{path.name}"
    failed = 0
    for verdict, what in TAP.findall(output):
        if re.search(r"#\s*skip", what, re.I):
            results.skip(f"{name}: {what}")
        elif verdict == "ok":
            results.ok()
        else:
            failed += 1
    if failed:
        results.fail(name, output)
        results.failed += failed - 1
    elif code != 0:
        results.fail(name, f"{how_it_ended(code, UNIT_TIMEOUT)}\n{output}")
    elif not TAP.search(output):
        results.fail(name, f"no test in it reported anything\n{output}")


def run_units(build, results):
    paths = [path for path in sorted((build / "tests" / "unit").glob("**/test_*")) if path.is_file() and os.access(path, os.X_OK)]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for path, ended in zip(paths, pool.map(lambda path: run([str(path)], UNIT_TIMEOUT, {"CMOCKA_MESSAGE_OUTPUT": "TAP"}), paths)):
            count_unit(path, *ended, results)


def run_fuzz(build, results):
    """tests/fuzz/fuzz_x.c was built with a driver that reads every file of a directory: tests/fuzz/corpus/x."""
    for path in sorted((build / "tests" / "fuzz").glob("fuzz_*")):
        if not path.is_file() or not os.access(path, os.X_OK):
            continue
        corpus = ROOT / "tests" / "fuzz" / "corpus" / path.name.removeprefix("fuzz_")
        if not corpus.is_dir() or not any(corpus.iterdir()):
            results.fail(path.name, f"{corpus.relative_to(ROOT)} holds no inputs for it")
            continue
        code, output = run([str(path), str(corpus)], UNIT_TIMEOUT)
        if code == 0:
            results.ok()
        else:
            results.fail(f"fuzz/{path.name}", f"{how_it_ended(code, UNIT_TIMEOUT)}\n{output}")


def use_memory():
    shm = pathlib.Path("/dev/shm")
    if "TMPDIR" not in os.environ and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free >= QUICK_ROOM:
        os.environ["TMPDIR"] = str(shm)


def peers_dir():
    return pathlib.Path(os.environ.get("MLMAKE_PEERS", ROOT / "build" / "peers"))


def pytest_command():
    """The interpreter of the peers, else python3; None when neither has pytest."""
    for python in (str(peers_dir() / "tools" / "bin" / "python"), shutil.which("python3"), sys.executable):
        if python and shutil.which(python) and run([python, "-c", "import pytest"], 60)[0] == 0:
            command = [python, "-m", "pytest", "-c", "tests/pytest.ini", f"--rootdir={ROOT}", "-q",
                       "--continue-on-collection-errors"]
            if run([python, "-c", "import pytest_timeout"], 60)[0] == 0:
                command.append(f"--timeout={PYTEST_TIMEOUT}")
            return command
    return None


def count_junit(path, results):
    """A test that fails and then fails again in its teardown is one <testcase> with two problems: one failure."""
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        problems = case.findall("failure") + case.findall("error")
        skips = case.findall("skipped")
        if problems:
            parts = [problem.text or problem.get("message") or "" for problem in problems]
            parts += [node.text or "" for node in case.findall("system-out") + case.findall("system-err")]
            results.fail(name, "\n".join(parts))
        elif skips:
            results.skip(skips[0].get("message") or "no reason given")
        else:
            results.ok()


def make_lots(quick):
    """[(name, files)]: what one pytest each runs. The quick tests of all folders but tests/cli are one lot."""
    lots = []
    for folder, count in FOLDERS.items():
        files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / folder).glob("**/test_*.py"))
        lots += [(f"{folder}{i}", files[i::count]) for i in range(count)]
    if quick:
        rest = [file for name, files in lots for file in files if not name.startswith("cli")]
        lots = [("rest", rest)] + [lot for lot in lots if lot[0].startswith("cli")]
    return [(name, files) for name, files in lots if files]


def run_lot(command, name, files, scratch, build):
    """(exit code, output, where the report is)"""
    junit = pathlib.Path(scratch) / f"{name}.xml"
    env = {"MLMAKE_BUILD": str(build), "MLMAKE_PEERS": str(peers_dir()), "PYTHONDONTWRITEBYTECODE": "1"}
    return *run([*command, f"--junitxml={junit}", f"--basetemp={scratch}/{name}", *files], PYTEST_TOTAL, env), junit


def run_pytest(build, options, results):
    lots = make_lots(options.quick)
    command = pytest_command()
    if command is None and os.environ.get("MLMAKE_REQUIRE_PEERS"):
        results.fail("pytest", "it is not installed, and MLMAKE_REQUIRE_PEERS asks for a full run: ./bootstrap.sh test")
        return
    if command is None:
        results.skip("pytest is not installed (./bootstrap.sh test installs it), so " + ", ".join(FOLDERS) + " did not run")
        return
    command += ["--tb=short"]
    if options.quick:
        command += ["-m", "not slow"]
    if options.k:
        command += ["-k", options.k]
    side_by_side = AT_ONCE["quick" if options.quick else "full"] if len(os.sched_getaffinity(0)) > 1 else 1
    with tempfile.TemporaryDirectory(prefix="mlmake-tests-") as scratch, concurrent.futures.ThreadPoolExecutor(side_by_side) as pool:
        for (name, _), (code, output, junit) in zip(lots, pool.map(lambda lot: run_lot(command, *lot, scratch, build), lots)):
            before = results.passed + results.failed
            if junit.exists():
                count_junit(junit, results)
            # 0 all passed, 1 some failed, 5 none selected; all else means that pytest itself broke.
            if code not in (0, 1, 5) or (code == 1 and results.passed + results.failed == before):
                results.fail(f"pytest {name}", f"{how_it_ended(code, PYTEST_TOTAL)}\n{output}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="leave out the tests that are marked slow")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR", help="where make put things")
    parser.add_argument("-k", metavar="WORDS", help="only pytest's tests that match, as in pytest -k")
    options = parser.parse_args()
    build = options.build.resolve()
    if options.quick:
        use_memory()
    results = Results()
    started = time.monotonic()
    for step in (lambda: run_lint(build, results), lambda: run_units(build, results), lambda: run_fuzz(build, results),
                 lambda: run_pytest(build, options, results)):
        step()
    print(f"{time.monotonic() - started:.0f} s")
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
