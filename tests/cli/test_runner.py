"""tests/run.py counts what it should: a crash is a failure, and nothing at all is one, too."""
import importlib.util
import re

import pytest

from conftest import ROOT

spec = importlib.util.spec_from_file_location("run_tests", ROOT / "tests" / "run.py")
run_tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_tests)


def binary(tmp_path, name, body):
    path = tmp_path / "tests" / "unit" / "room" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("body, passed, failed, said", [
    ("printf '1..2\\nok 1 - a\\nok 2 - b\\n'", 2, 0, None),
    ("printf '1..2\\nok 1 - a\\nnot ok 2 - b\\n# wrong sum\\n'; exit 1", 1, 1, "wrong sum"),
    ("printf '1..2\\nok 1 - a\\n'; kill -SEGV $$", 1, 1, "killed by signal 11"),
    ("printf '1..1\\nok 1 - a\\n'; exit 3", 1, 1, "exit code 3"),
    ("exit 0", 0, 1, "no test in it reported anything"),
])
def test_unit_binaries(tmp_path, capfd, body, passed, failed, said):
    binary(tmp_path, "test_x", body)
    results = run_tests.Results()
    run_tests.run_units(tmp_path, results)
    assert (results.passed, results.failed) == (passed, failed)
    assert said is None or said in capfd.readouterr().out


@pytest.mark.slow
def test_a_hanging_binary_is_ended(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(run_tests, "UNIT_TIMEOUT", 1)
    binary(tmp_path, "test_x", "sleep 60")
    results = run_tests.Results()
    run_tests.run_units(tmp_path, results)
    assert results.failed == 1 and "still running after 1 s" in capfd.readouterr().out


def test_junit(tmp_path, capfd):
    (tmp_path / "junit.xml").write_text("""<testsuites><testsuite>
        <testcase classname="tests.cli.test_a" name="good"/>
        <testcase classname="tests.cli.test_a" name="bad"><failure message="m">trace</failure><error>teardown</error></testcase>
        <testcase classname="tests.cli.test_a" name="left"><skipped message="the peer x is not installed"/></testcase>
        </testsuite></testsuites>""")
    results = run_tests.Results()
    run_tests.count_junit(tmp_path / "junit.xml", results)
    assert results.finish() == 1
    out = capfd.readouterr().out
    assert "FAILED tests.cli.test_a::bad" in out and "trace" in out and "teardown" in out
    assert "SKIPPED 1: the peer x is not installed" in out
    assert out.splitlines()[-1] == "1 passed, 1 failed, 1 skipped"


def test_the_last_line(capfd):
    results = run_tests.Results()
    assert results.finish() == 1, "nothing ran"
    results.ok(3)
    assert results.finish() == 0
    assert re.fullmatch(r"3 passed, 0 failed", capfd.readouterr().out.splitlines()[-1])
