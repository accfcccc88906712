"""mlmake run: what runs, what does not, and what is left behind. Each test named after a defect of another runner says so."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import BUILD, PATIENCE, wait_for, wait_for_line

PLAIN = """\
version: 1
rules: []
targets:
  gen:
    inputs: [src/a.txt]
    outputs: [out/a.up]
    run: |
      echo ran gen >> ran
      tr a-z A-Z < src/a.txt > out/a.up
  test:
    needs: [gen]
    inputs: [src/*.txt]
    run: echo ran test >> ran
  other:
    inputs: [docs/x.md]
    run: echo ran other >> ran
  all:
    needs: [test, other]
"""


def ran(box):
    """What ran since the last call, in order."""
    path = box.path / "ran"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    path.unlink(missing_ok=True)
    return [line.removeprefix("ran ") for line in lines]


@pytest.fixture
def plain(box):
    box.write("mlmake.yaml", PLAIN)
    box.write("src/a.txt", "alpha\n")
    box.write("src/b.txt", "beta\n")
    box.write("docs/x.md", "text\n")
    box.mlmake("all")
    assert sorted(ran(box)) == ["gen", "other", "test"]
    return box


def one(box, run, **target):
    """A project of one target t."""
    body = {"run": run, **target}
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  t: " + json.dumps(body) + "\n")


def test_second_run_does_nothing(plain):
    result = plain.mlmake("all")
    assert ran(plain) == []
    assert "all: nothing to do (3 up to date)" in result.stderr


def test_a_change_reruns_only_what_reads_it(plain):
    plain.write("src/b.txt", "beta # a comment\n")
    plain.mlmake("all")
    assert ran(plain) == ["test"]
    plain.write("docs/x.md", "other\n")
    plain.mlmake("all")
    assert ran(plain) == ["other"]


def test_touch_alone_reruns_nothing(plain):
    os.utime(plain.path / "src/a.txt")
    plain.mlmake("all")
    assert ran(plain) == []


def test_a_file_that_goes_back_in_time_is_noticed(plain):
    """Wrong in ninja (#2463): newer-than is not different-from."""
    plain.write("src/b.txt", "older\n")
    os.utime(plain.path / "src/b.txt", (1, 1))
    plain.mlmake("all")
    assert ran(plain) == ["test"]


def test_same_size_and_mtime_is_noticed(plain):
    """Wrong in doit and DVC: an equal mtime is trusted."""
    before = (plain.path / "src/b.txt").stat()
    plain.write("src/b.txt", "bEta\n")
    os.utime(plain.path / "src/b.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    plain.mlmake("all")
    assert ran(plain) == ["test"]


def test_edits_in_quick_succession_are_all_seen(box):
    one(box, "cat in >> ran", inputs=["in"])
    for i in range(15):
        box.write("in", f"ran {i:04}\n")
        box.mlmake("t", "--no-cache")
    assert ran(box) == [f"{i:04}" for i in range(15)]


def test_early_cutoff(box):
    box.write("mlmake.yaml", """\
version: 1
rules: []
targets:
  a: {inputs: [in], outputs: [mid], run: "echo ran a >> ran; cut -c1 in > mid"}
  b: {inputs: [mid], outputs: [end], run: "echo ran b >> ran; cp mid end"}
  c: {needs: [a], inputs: [other], run: "echo ran c >> ran"}
""")
    box.write("in", "xy")
    box.write("other", "")
    box.mlmake("b", "c")
    assert sorted(ran(box)) == ["a", "b", "c"]
    box.write("in", "xz")
    box.mlmake("b", "c")
    assert ran(box) == ["a"]
    box.write("in", "zz")
    box.mlmake("b", "c")
    assert sorted(ran(box)) == ["a", "b", "c"]


def test_there_and_back_again_restores(plain):
    """Wrong in just: A -> B -> A serves B's output, since only existence is looked at."""
    plain.write("src/a.txt", "other\n")
    plain.mlmake("gen")
    assert plain.read("out/a.up") == b"OTHER\n"
    plain.write("src/a.txt", "alpha\n")
    ran(plain)
    result = plain.mlmake("gen")
    assert ran(plain) == []
    assert plain.read("out/a.up") == b"ALPHA\n"
    assert "restored from the cache" in result.stderr


def test_no_cache_runs_instead(plain):
    plain.write("src/a.txt", "other\n")
    plain.mlmake("gen", "--no-cache")
    plain.write("src/a.txt", "alpha\n")
    plain.mlmake("gen", "--no-cache")
    assert ran(plain) == ["gen", "gen"]


def test_edited_and_missing_outputs_are_noticed(plain):
    """Wrong in go-task (#2181) and Turborepo (#4137)."""
    plain.write("out/a.up", "edited")
    plain.mlmake("gen")
    assert plain.read("out/a.up") == b"ALPHA\n"
    (plain.path / "out/a.up").unlink()
    plain.mlmake("gen")
    assert plain.read("out/a.up") == b"ALPHA\n"


def test_swapped_inputs_do_not_collide(box):
    """Wrong in Snakemake: hashes of inputs are sorted without their roles."""
    one(box, "cat a b > out", inputs=["a", "b"], outputs=["out"])
    for a, b in (("1", "2"), ("2", "1"), ("1", "2")):
        box.write("a", a)
        box.write("b", b)
        box.mlmake("t")
        assert box.read("out") == (a + b).encode()


def test_framing_of_names_and_content(box):
    """Wrong in go-task: names and contents are joined without frames."""
    one(box, "ls d | wc -l > out; cat d/* >> out", inputs=["d/**"], outputs=["out"])
    box.write("d/a", "bc")
    box.mlmake("t")
    first = box.read("out")
    (box.path / "d/a").unlink()
    box.write("d/ab", "c")
    box.mlmake("t")
    assert box.read("out") != first


def test_empty_files_count(box):
    """Zero-byte aggregates hash equal where their number is not framed."""
    one(box, "ls d > out", inputs=["d"], outputs=["out"])
    for names in ("a", "ab", "b"):
        for name in "ab":
            (box.path / "d" / name).unlink(missing_ok=True)
        for name in names:
            box.write(f"d/{name}", "")
        box.mlmake("t")
        assert box.read("out").split() == [name.encode() for name in names]


def test_the_command_is_in_the_key(box):
    """Wrong in go-task: the command is left out of the checksum."""
    box.write("in", "x")
    one(box, "echo one > out", inputs=["in"], outputs=["out"])
    box.mlmake("t")
    one(box, "echo two > out", inputs=["in"], outputs=["out"])
    box.mlmake("t")
    assert box.read("out") == b"two\n"


def test_shell_and_directory_are_in_the_key(box):
    box.write("in", "x")
    box.write("d/keep", "")
    variants = [{}, {"shell": ["sh", "-c"]}, {"dir": "d"}]
    for variant in variants:
        one(box, "echo ran t >> \"$TMPDIR/ran\"", inputs=["in"], **variant)
        assert "nothing to do" not in box.mlmake("t", TMPDIR=box.path).stderr
        assert "nothing to do" in box.mlmake("t", TMPDIR=box.path).stderr
    assert ran(box) == ["t"] * len(variants)


def test_declared_outputs_are_in_the_key(box):
    """Else the output cache would restore what an earlier declaration named, and the new output would be missing."""
    box.write("in", "x")
    one(box, "echo a > a; echo b > b", inputs=["in"], outputs=["a"])
    box.mlmake("t")
    (box.path / "b").unlink()
    one(box, "echo a > a; echo b > b", inputs=["in"], outputs=["a", "b"])
    box.mlmake("t")
    assert box.read("b") == b"b\n"


def test_executable_bit_and_link_target_are_content(box):
    one(box, "echo ran t >> ran", inputs=["in", "link"])
    box.write("in", "x")
    box.write("other", "x")
    (box.path / "link").symlink_to("in")
    box.mlmake("t")
    (box.path / "in").chmod(0o755)
    box.mlmake("t")
    (box.path / "link").unlink()
    (box.path / "link").symlink_to("other")
    box.mlmake("t")
    assert ran(box) == ["t"] * 3
    box.write("other", "y")
    box.mlmake("t")
    assert ran(box) == ["t"], "what a link leads to is read through it"


def test_undeclared_environment_does_not_reach_a_target(box):
    """Wrong in Turborepo (#14059): undeclared variables give stale hits."""
    box.write("in", "x")
    one(box, "echo $${A-unset} $${B-unset} > out", inputs=["in"], outputs=["out"], pass_env=["A"])
    box.mlmake("t", A="1", B="1")
    assert box.read("out") == b"1 unset\n"
    assert "nothing to do" in box.mlmake("t", A="1", B="2").stderr
    box.mlmake("t", A="2")
    assert box.read("out") == b"2 unset\n"


def test_the_file_beats_the_shell(box):
    """Wrong in go-task (#1038): the shell's value silently wins."""
    one(box, "echo $A", env={"A": "file"})
    assert box.mlmake("t", A="shell").stdout == "file\n"


def test_secrets_are_passed_masked_and_never_stored(box):
    one(box, "echo \"the token is $TOKEN.\"; echo $TOKEN > got", secrets=["TOKEN"], inputs=["in"])
    box.write("in", "")
    result = box.mlmake("t", "--json", TOKEN="s3cr3t-value")
    assert box.read("got") == b"s3cr3t-value\n"
    (box.path / "got").unlink()
    assert "s3cr3t" not in result.stdout + result.stderr
    assert "***" in result.stdout
    assert "nothing to do" in box.mlmake("t", TOKEN="another").stderr
    for directory in (box.path, box.home):
        found = subprocess.run(["grep", "-rl", "s3cr3t", str(directory)], capture_output=True, text=True, check=False)
        assert found.stdout == ""


def test_a_tool_is_in_the_key(box):
    box.write("bin/tool", "#!/bin/sh\necho one\n", 0o755)
    box.write("in", "x")
    one(box, "tool > out", inputs=["in"], outputs=["out"])
    path = f"{box.path}/bin:{box.env['PATH']}"
    box.mlmake("t", PATH=path)
    box.write("bin/tool", "#!/bin/sh\necho two\n", 0o755)
    box.mlmake("t", PATH=path)
    assert box.read("out") == b"two\n"


def test_params_count_by_key(box):
    box.write("params.yaml", "train: {lr: 0.1, n: 1}\nother: 1\n")
    one(box, "echo ran t >> ran", params=["params.yaml:train.lr"])
    box.mlmake("t")
    box.write("params.yaml", "other: 2\ntrain:\n  n: 3   # a comment\n  lr: 0.1\n")
    box.mlmake("t")
    assert ran(box) == ["t"]
    box.write("params.yaml", "train: {lr: 0.2}\n")
    result = box.mlmake("t", "--why")
    assert ran(box) == ["t"]
    assert "params.yaml:train.lr 0.1 -> 0.2" in result.stderr


def test_neither_inputs_nor_outputs_always_runs(box):
    one(box, "echo ran t >> ran")
    box.mlmake("t")
    box.mlmake("t")
    assert ran(box) == ["t", "t"]


def test_failure_is_remembered_by_nobody(box):
    """Wrong in go-task (#1178): the checksum is written before the command ends well."""
    one(box, "echo ran t >> ran; exit 3", inputs=["in"])
    box.write("in", "x")
    result = box.mlmake("t", check=1)
    assert "exit code 3" in result.stderr and "mlmake t" in result.stderr
    box.mlmake("t", check=1)
    assert ran(box) == ["t", "t"]


def test_failure_shows_the_last_lines(box):
    one(box, "for i in 1 2 3; do echo line $i; done; echo to stderr >&2; false")
    result = box.mlmake("t", check=1)
    summary = result.stderr[result.stderr.index("failed: t"):]
    assert "line 3" in summary and "to stderr" in summary


@pytest.mark.slow
def test_the_last_lines_are_not_repeated_below_themselves(box):
    """On a terminal, where they stand above; of what others printed after, they are told again."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "bad": {"run": "echo the reason; exit 1"}, "good": {"run": "sleep 0.3; echo more"}}}))
    both = f"{box.binary} {{}} 2>&1"
    assert box.run("sh", "-c", both.format("bad"), check=1).stdout.count("the reason") == 1
    assert box.run("sh", "-c", both.format("-k -j2 bad good"), check=1).stdout.count("the reason") == 2


def test_to_run_it_again_has_all_that_counts(box):
    box.write("other.yaml", json.dumps({"version": 1, "rules": [], "vars": {"x": 1}, "targets": {
        "before": {"run": "true"}, "bad": {"needs": ["before"], "run": "exit ${vars.x}"}}}))
    said = box.mlmake("-f", "other.yaml", "bad", "vars.x=2", "--", "-k", "a b", check=1).stderr
    assert "to run it again: mlmake -f other.yaml vars.x=2 bad -- -k 'a b'\n" in said


def test_missing_outputs_fail_and_are_named(box):
    one(box, "echo x > here", outputs=["here", "there/x", "elsewhere"])
    result = box.mlmake("t", check=1)
    assert "'there/x'" in result.stderr and "'elsewhere'" in result.stderr and "'here'" not in result.stderr
    assert "nothing to do" not in box.mlmake("t", check=1).stderr


def test_dry_run_and_question_change_nothing(plain):
    """Wrong in go-task (#1305): `--dry` and `--status` wrote state."""
    plain.write("src/a.txt", "other\n")
    for _ in range(2):
        result = plain.mlmake("-n", "all")
        assert "gen: would run: src/a.txt changed" in result.stdout
        assert "test: would run: 'gen' would run first" in result.stdout
        assert "other" not in result.stdout
        assert plain.mlmake("-q", "all", check=1).stderr == ""
    assert ran(plain) == [] and plain.read("out/a.up") == b"ALPHA\n"
    plain.mlmake("all")
    assert ran(plain) == ["gen", "test"]
    plain.mlmake("-q", "all", check=0)


def test_force_runs_all(plain):
    plain.mlmake("-B", "test")
    assert ran(plain) == ["gen", "test"]


def test_a_shared_dependency_runs_once(box):
    """Wrong in go-task (#53)."""
    box.write("mlmake.yaml", """\
version: 1
rules: []
targets:
  base: {run: "echo ran base >> ran"}
  a: {needs: [base], run: "echo ran a >> ran"}
  b: {needs: [base], run: "echo ran b >> ran"}
  c: {needs: [a, b], run: "echo ran c >> ran"}
""")
    box.mlmake("c", "a", "base", "-j4")
    got = ran(box)
    assert got[0] == "base" and got[3] == "c" and sorted(got) == ["a", "b", "base", "c"]


FAILING = """\
version: 1
rules: []
targets:
  bad: {run: "exit 1"}
  after_bad: {needs: [bad], run: "echo ran after_bad >> ran"}
  good: {run: "sleep 0.3; echo ran good >> ran"}
  late: {needs: [good], run: "echo ran late >> ran"}
"""


def test_keep_going(box):
    box.write("mlmake.yaml", FAILING)
    result = box.mlmake("-k", "-j2", "after_bad", "late", check=1)
    assert ran(box) == ["good", "late"]
    assert "after_bad ... skipped" in result.stderr
    box.mlmake("-j2", "after_bad", "late", check=1)
    assert ran(box) == ["good"], "what runs may end, nothing new starts"


def test_after_a_failure(box):
    """Order alone, but who says `push` after `test` does not want it where the test failed."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "test": {"run": "exit 1"}, "push": {"after": ["test"], "run": "echo ran push >> ran"}}}))
    assert "push ... skipped" in box.mlmake("-k", "push", "test", check=1).stderr
    assert ran(box) == []
    box.mlmake("push")
    assert ran(box) == ["push"]


def test_arguments_reach_the_last_target_and_its_key(box):
    box.write("mlmake.yaml", """\
version: 1
rules: []
targets:
  base: {inputs: [in], run: "echo ran base >> ran"}
  t: {needs: [base], inputs: [in], run: "printf '%s.' one"}
""")
    box.write("in", "")
    assert box.mlmake("t", "--", "a b", "$x;").stdout == "one.a b.$x;.\n"
    assert "nothing to do" in box.mlmake("t", "--", "a b", "$x;").stderr
    assert box.mlmake("t").stdout == "one.\n"
    assert ran(box) == ["base"]


def test_overrides_are_in_the_key(box):
    box.write("mlmake.yaml", "version: 1\nrules: []\nvars: {x: 1}\ntargets:\n  t: {inputs: [in], outputs: [out], run: 'echo ${x} > out'}\n")
    box.write("in", "")
    box.mlmake("t")
    box.mlmake("t", "vars.x=2")
    assert box.read("out") == b"2\n"


@pytest.mark.slow
def test_timeout_kills_the_whole_group(box):
    one(box, "sleep 600 & echo $! > pid; wait", timeout="300ms")
    start = time.monotonic()
    result = box.mlmake("t", check=1)
    assert time.monotonic() - start < PATIENCE
    assert "ran longer than" in result.stderr
    pid = int(box.read("pid"))
    assert not alive(pid)


@pytest.mark.slow
def test_a_command_that_ignores_sigterm_is_killed(box):
    one(box, "trap '' TERM; while :; do sleep 0.1; done", timeout="300ms")
    assert "ran longer than" in box.mlmake("t", check=1, timeout=30).stderr


@pytest.mark.slow
def test_retries(box):
    one(box, "echo ran t >> ran; test $(wc -l < ran) = 3", retries=2)
    result = box.mlmake("t")
    assert ran(box) == ["t"] * 3
    assert "attempt 3 of 3" in result.stderr


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


INTERRUPTED = """\
version: 1
rules: []
targets:
  first: {inputs: [in], outputs: [first.out], run: "echo ran first >> ran; echo 1 > first.out"}
  slow:
    needs: [first]
    inputs: [in]
    outputs: [slow.out]
    run: |
      echo ran slow >> ran
      echo half > slow.out
      sleep 30 & echo $! > pid
      touch started
      wait
      echo whole > slow.out
"""


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131)])
def test_interruption_leaves_nothing_half_done(box, number, code):
    box.write("mlmake.yaml", INTERRUPTED)
    box.write("in", "")
    process = box.popen(box.binary, "slow", stderr=subprocess.PIPE, text=True)
    wait_for((box.path / "started").exists)
    process.send_signal(number)
    _, errout = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "interrupted" in errout
    assert not (box.path / "slow.out").exists()
    assert box.read(".mlmake/interrupted/slow/slow.out") == b"half\n"
    wait_for(lambda: not alive(int(box.read("pid"))))
    assert ran(box) == ["first", "slow"]
    assert "slow: would run" in box.mlmake("-n", "slow").stdout
    assert "first" not in box.mlmake("-n", "slow").stdout.replace("run first", ""), "what had finished is remembered"


UNTIL_GO = "until test -e go; do sleep 0.02; done"


def second_waits(box, target):
    """Starts another mlmake, and lets the first go on once that waits; what it said."""
    with box.popen(box.binary, target, stderr=subprocess.PIPE, text=True) as second:
        said = wait_for_line(second.stderr, "waiting for ")
        box.write("go", "")
        said += second.communicate(timeout=PATIENCE)[1]
    assert second.returncode == 0, said
    return said


def test_two_at_once_run_a_target_once(box):
    box.write("in", "")
    one(box, f"echo ran t >> ran; {UNTIL_GO}; echo x > out", inputs=["in"], outputs=["out"])
    first = box.popen(box.binary, "t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    said = second_waits(box, "t")
    assert first.wait(PATIENCE) == 0
    assert ran(box) == ["t"]
    assert f"process {first.pid}" in said and "mlmake t" in said


@pytest.mark.slow
def test_who_waited_finds_the_record(box):
    """Also where nothing is kept to be restored, and the first run goes on."""
    box.write("in", "")
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "t": {"inputs": ["in"], "outputs": ["out"], "cache": False, "run": f"echo ran t >> ran; {UNTIL_GO}; echo x > out"},
        "after": {"needs": ["t"], "inputs": ["out"], "run": "sleep 0.4; cat out"}}}))
    first = box.popen(box.binary, "after", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    second_waits(box, "t")
    assert first.wait(PATIENCE) == 0
    assert ran(box) == ["t"]


@pytest.mark.slow
def test_who_waited_sees_the_files(box):
    """A directory that was listed before another process made something in it."""
    box.write("gen/given.x", "")
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "a": {"inputs": ["gen/given.x"], "outputs": ["gen/a.g"], "run": f"echo ran a >> ran; {UNTIL_GO}; echo a > gen/a.g"},
        "b": {"inputs": ["gen/*.g"], "outputs": ["out"], "run": "cat gen/*.g > out"}}}))
    first = box.popen(box.binary, "a", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    assert "waiting for 'a'" in second_waits(box, "b")
    assert first.wait(PATIENCE) == 0
    assert ran(box) == ["a"]
    assert "nothing to do" in box.mlmake("b", "--no-cache").stderr


@pytest.mark.slow
def test_the_second_sees_what_the_first_made(box):
    """Without the output cache, the record alone tells the second that there is nothing left to do; it must be there before the lock goes."""
    runs = 30
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n  all:\n    needs: [" + ", ".join(f"t{i}" for i in range(runs)) + "]\n"
              + "".join(f"  t{i}: {{cache: false, inputs: [in], outputs: [o{i}], run: 'echo x >> ran{i}; sleep 0.02; : > o{i}'}}\n" for i in range(runs)))
    box.write("in", "")
    processes = [box.popen(box.binary, "-j2", "all", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
    assert [p.wait(PATIENCE) for p in processes] == [0, 0, 0]
    assert [len(box.read(f"ran{i}")) for i in range(runs)] == [2] * runs, "each ran once"


def test_lines_of_parallel_targets_stay_whole(box):
    targets = "".join(f"  t{i}: {{run: 'for n in $(seq 200); do printf {chr(97 + i) * 20}; printf \"{chr(97 + i) * 20}\\n\"; done'}}\n"
                      for i in range(4))
    box.write("mlmake.yaml", "version: 1\nrules: []\ntargets:\n" + targets)
    result = box.mlmake("-j4", "t0", "t1", "t2", "t3")
    lines = result.stdout.splitlines()
    assert len(lines) == 800
    assert all(re.fullmatch(r"(.)\1{39}", line) for line in lines)
    assert box.read(".mlmake/logs/t0.log").count(b"\n") == 200


def test_an_input_that_changes_meanwhile_is_not_recorded(box):
    """Wrong in ninja (#1162) and Bazel (#3360)."""
    box.write("in", "old")
    one(box, "cp in out; printf new > in", inputs=["in"], outputs=["out"])
    result = box.mlmake("t")
    assert "'in' changed while 't' ran" in result.stderr
    assert box.read("out") == b"old"
    one(box, "cp in out; printf new > in ", inputs=["in"], outputs=["out"])
    assert "nothing to do" not in box.mlmake("t").stderr
    assert box.read("out") == b"new"


@pytest.mark.parametrize("kind", ["file", "link", "tracked file", "below a tracked directory"])
def test_an_input_that_changes_within_a_tick_of_the_clock_is_not_recorded(box, kind):
    """Stamps do not tell then, however often they are compared: in place and as long as before, on a file system with coarse times."""
    box.write("in/side" if "below" in kind else "in", "old")
    edit = "in/side" if "below" in kind else "in"
    if "tracked" in kind:
        box.mlmake("data", "init", "--no-scm")
        box.mlmake("data", "add", "in")
    if kind == "link":
        (box.path / "link").symlink_to("in")
    one(box, f"cp {edit} out; printf new > {edit}", inputs=["link" if kind == "link" else "in"], outputs=["out"])
    faulty = BUILD / "mlmake-fault"
    tick = {"MLMAKE_FAULT_TICK_MS": 10 ** 11}
    first = box.run(faulty, "t", check=0, **tick)
    assert "changed while 't' ran" in first.stderr and box.read("out") == b"old"
    box.write(edit, "old")
    box.run(faulty, "-q", "t", check=1, **tick)


def test_an_input_that_comes_back_meanwhile_is_not_recorded(box):
    """Another mlmake that cleans, or makes it anew, took it away after its target was looked at."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "gen": {"inputs": ["in"], "outputs": ["gen.out"], "run": "cp in gen.out"},
        "gone": {"needs": ["gen"], "run": "mv gen.out kept"},
        "t": {"inputs": ["gen.out"], "after": ["gone"], "outputs": ["out"], "run": "mv kept gen.out; cp gen.out out"}}}))
    box.write("in", "in")
    result = box.mlmake("t", "gone")
    assert "'gen.out' changed while 't' ran" in result.stderr
    assert "t: would run: no record of a success" in box.mlmake("-n", "t").stdout


@pytest.mark.slow
@pytest.mark.parametrize("seen_by_then", ["dropped", "listed again"])
def test_a_file_that_another_target_noticed_first_is_noticed(box, seen_by_then):
    """What has come since a directory was last listed is not what has come since a target's inputs were."""
    box.write("src/a.txt", "a\n")
    box.write("src/sub/b.txt", "b\n")
    for name in ("src", "src/sub"):
        os.utime(box.path / name, (1, 1))
    after = {"dropped": {"inputs": ["src/a.txt"], "run": "echo > done"},
             "listed again": {"inputs": ["src/sub"], "run": "echo > done"}}[seen_by_then]
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "t": {"inputs": ["src/sub"], "outputs": ["out"], "run": "echo > began; for i in $(seq 600); do [ -e done ] && break; sleep 0.1; done; ls src/sub > out"},
        "other": {"inputs": ["src/*.txt"], "run": "for i in $(seq 600); do [ -e began ] && break; sleep 0.1; done; echo > src/sub/new.txt"},
        "later": {"needs": ["other"], "run": "sleep 3.2" if seen_by_then == "listed again" else ":"},
        "after": {"needs": ["later"], **after}}}))
    result = box.mlmake("-j4", "t", "after")
    assert box.read("out") == b"b.txt\nnew.txt\n"
    assert "'src/sub/new.txt' changed while 't' ran" in result.stderr
    (box.path / "src/sub/new.txt").unlink()
    assert "t: would run" in box.mlmake("-n", "t").stdout


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a new file", "a new file in an old directory", "a parameter", "behind a link", "below a directory"])
def test_what_changes_meanwhile_and_back_is_not_remembered(box, what):
    """Else what was made of the change would be taken for what the target makes without it."""
    box.write("src/a.txt", "a\n")
    box.write("src/deep/b.txt", "b\n")
    box.write("behind", "1\n")
    box.write("params.yaml", "x: 1\n")
    (box.path / "link").symlink_to("behind")
    one(box, f"echo ran t >> ran; {UNTIL_GO}; cat params.yaml link src/*.txt $(find src/deep -type f) > out", inputs=["src/*.txt", "src/deep", "link"],
        outputs=["out"], params=["params.yaml:x"])
    for name in ("src", "src/deep") if "old" in what else ():
        os.utime(box.path / name, (1, 1))
    edits = {"a new file": ("src/b.txt", None), "a new file in an old directory": ("src/b.txt", None), "a parameter": ("params.yaml", "x: 1\n"), "behind a link": ("behind", "1\n"),
             "below a directory": ("src/deep/new/er", None)}
    box.write("go", "")
    box.mlmake("t", "--no-cache")
    whole = box.read("out")
    path, before = edits[what]
    box.mlmake("-B", "t", "--no-cache")
    ran(box)
    (box.path / "go").unlink()
    box.write("src/a.txt", "c\n")
    process = box.popen(box.binary, "t", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for((box.path / "ran").exists)
    box.write(path, "x: 2\n")
    box.write("go", "")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "changed while 't' ran" in said
    if before is None:
        (box.path / path).unlink()
    else:
        box.write(path, before)
    box.mlmake("t")
    assert box.read("out") == whole.replace(b"a\n", b"c\n")


@pytest.mark.slow
def test_other_parameters_may_change_meanwhile(box):
    box.write("params.yaml", "x: 1\ny: 1\n")
    one(box, "echo ran t >> ran; sleep 0.3", params=["params.yaml:x"])
    process = box.popen(box.binary, "t", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for((box.path / "ran").exists)
    box.write("params.yaml", "x: 1\ny: 2\n")
    assert process.wait(PATIENCE) == 0
    assert "nothing to do" in box.mlmake("t").stderr


def test_outputs_are_not_written_through_a_link(box):
    box.write("precious", "keep")
    box.write("in", "")
    os.link(box.path / "precious", box.path / "out")
    one(box, "echo new >> out", inputs=["in"], outputs=["out"])
    box.mlmake("t")
    assert box.read("precious") == b"keep"
    assert box.read("out") == b"new\n"


def test_persist_keeps_outputs_between_runs(box):
    one(box, "cat in >> out", inputs=["in"], outputs=["out"], persist=True)
    for text in ("1", "2"):
        box.write("in", text)
        box.mlmake("t")
    assert box.read("out") == b"12"


def test_directories_as_outputs_are_exact(box):
    box.write("in", "1")
    one(box, "mkdir -p out/sub; cp in out/sub/$(cat in); ln -s sub/$(cat in) out/link", inputs=["in"], outputs=["out"])
    box.mlmake("t")
    box.write("in", "2")
    box.mlmake("t")
    assert sorted(p.name for p in (box.path / "out/sub").iterdir()) == ["2"]
    box.write("in", "1")
    assert "restored" in box.mlmake("t").stderr
    assert sorted(p.name for p in (box.path / "out/sub").iterdir()) == ["1"]
    assert os.readlink(box.path / "out/link") == "sub/1"
    box.write("out/stray", "")
    box.mlmake("t")
    assert not (box.path / "out/stray").exists()


def test_clones_share_outputs(box, tmp_path):
    box.write("in", "x")
    one(box, "echo ran t >> ran; cp in out", inputs=["in"], outputs=["out"])
    box.mlmake("t")
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("in", "mlmake.yaml"):
        (clone / name).write_bytes(box.read(name))
    result = box.mlmake("t", cwd=clone)
    assert "restored from the cache" in result.stderr
    assert (clone / "out").read_bytes() == b"x" and not (clone / "ran").exists()


def test_success_codes_count_with_a_warning(box):
    """pytest ends with 5 where there are no tests."""
    one(box, "exit 5", success_codes=[5], inputs=["in"])
    box.write("in", "")
    assert "exit code 5" in box.mlmake("t").stderr
    assert "nothing to do" in box.mlmake("t").stderr


@pytest.mark.parametrize("code, said", [(1, "exit code 1: tests failed)"), (5, "exit code 5)"), (6, "exit code 6: errors, warnings)"),
                                        (70, "exit code 70)")])
def test_exit_codes_are_explained(box, code, said):
    meaning = {"exit_codes": {"1": "tests failed"}} if code in (1, 5) else {"exit_bits": {"2": "errors", "4": "warnings"}}
    one(box, f"exit {code}", **meaning)
    for _ in range(2): # the second time from what was kept of the graph
        assert said in box.mlmake("t", check=1).stderr


@pytest.mark.parametrize("key, value, said", [
    ("exit_codes", {"0": "x"}, "'0' is no exit code of a failure"), ("exit_codes", {"one": "x"}, "whole numbers from 1 to 255"),
    ("exit_bits", {"3": "x"}, "'3' is no bit of an exit code"), ("exit_bits", {"256": "x"}, "1, 2, 4, 8")])
def test_wrong_exit_codes(box, key, value, said):
    one(box, "true", **{key: value})
    result = box.mlmake("t", check=2)
    assert said in result.stderr and "mlmake.yaml:4:" in result.stderr


def test_json_events(box):
    one(box, "echo hello; echo oops >&2", inputs=["in"])
    box.write("in", "")
    events = [json.loads(line) for line in box.mlmake("t", "--json").stdout.splitlines()]
    assert all(event["version"] == 1 for event in events)
    assert [event["event"] for event in events] == ["planned", "started", "output", "output", "finished", "summary"]
    assert {event["stream"]: event["text"] for event in events if event["event"] == "output"} == {"stdout": "hello\n", "stderr": "oops\n"}
    assert events[4]["outcome"] == "succeeded" and events[5]["succeeded"] == 1


def test_a_last_line_without_end_gets_one(box):
    one(box, "printf 'no newline at the end'")
    assert box.mlmake("t").stdout == "no newline at the end\n"


def test_unknown_names(box):
    one(box, "true")
    result = box.mlmake("tt", check=2)
    assert "did you mean 't'" in result.stderr
    result = box.mlmake("lits", check=2)
    assert "mlmake list" in result.stderr


def test_without_targets_it_lists(box):
    one(box, "true", desc="does nothing")
    result = box.mlmake()
    assert "does nothing" in result.stdout


def test_a_missing_input_is_an_error_with_its_place(box):
    one(box, "true", inputs=["none.txt"])
    result = box.mlmake("t", check=2)
    assert re.match(r"mlmake\.yaml:\d+:\d+: error: .*none\.txt", result.stderr)


def test_only_the_work_directory_is_written(gitbox):
    one(gitbox, "true", inputs=["in"])
    gitbox.write("in", "")
    gitbox.mlmake("t")
    assert gitbox.git("status", "--porcelain").stdout.split() == ["??", "in", "??", "mlmake.yaml"]


def test_a_damaged_state_database_costs_time_only(plain):
    plain.write(".mlmake/state/data.mdb", b"\0" * 100000)
    result = plain.mlmake("all")
    assert "set aside" in result.stderr
    assert "nothing to do" in plain.mlmake("all").stderr


def test_state_and_cache_can_be_elsewhere(plain, tmp_path):
    plain.mlmake("all", MLMAKE_STATE_DIR=tmp_path / "state", MLMAKE_CACHE_DIR=tmp_path / "cache")
    assert list((tmp_path / "state").iterdir()) and (tmp_path / "cache" / "v1").is_dir()


def test_interactive_gets_the_terminal(box):
    one(box, "cat", interactive=True)
    result = subprocess.run([box.binary, "t"], cwd=box.path, env=box.env, input="typed\n", capture_output=True, text=True, check=True)
    assert result.stdout == "typed\n"


def test_nothing_is_left_running(box):
    one(box, "sleep 60 & echo $! > pid")
    box.mlmake("t")
    wait_for(lambda: not alive(int(box.read("pid"))))


@pytest.mark.slow
def test_data_that_dvc_tracks(gitbox):
    """Counts by its recorded hash, is fetched only when a target must run; a tracked output is versioned."""
    box = gitbox
    box.dvc("init", "-q")
    box.write("data/train.csv", "a,b\n")
    box.write("imgs/1", "one")
    box.write("imgs/sub/2", "two")
    box.dvc("add", "-q", "data/train.csv", "imgs")
    one(box, "cat data/train.csv imgs/1 imgs/sub/2 > model.bin", inputs=["data/train.csv", "imgs"],
        outputs=[{"path": "model.bin", "track": True}])
    box.mlmake("t")
    assert b"path: model.bin" in box.read("model.bin.dvc")
    (box.path / "data/train.csv").unlink()
    subprocess.run(["rm", "-r", str(box.path / "imgs")], check=True)
    assert "nothing to do" in box.mlmake("t").stderr
    assert not (box.path / "imgs").exists()
    (box.path / "model.bin").unlink()
    box.mlmake("t", "--no-cache")
    assert box.read("model.bin") == b"a,b\nonetwo" and box.read("imgs/sub/2") == b"two"
    assert box.dvc("status").stdout.strip().endswith("up to date.")
    box.write("imgs/sub/2", "other")
    assert "imgs changed" in box.mlmake("-n", "t").stdout


def test_a_tracked_output_that_could_not_be_versioned_is_found_first(gitbox):
    """Before the hours of training, not after them."""
    box = gitbox
    box.write("mlmake.yaml", json.dumps({"version": 1, "targets": {
        "prepare": {"run": "echo ran >> ran"},
        "train": {"needs": ["prepare"], "outputs": [{"path": "m.bin", "track": True}], "run": "echo ran >> ran; echo > m.bin"}}}))
    result = box.mlmake("train", check=2)
    assert "mlmake.yaml:1:" in result.stderr and "no data repository" in result.stderr and "mlmake data init" in result.stderr
    assert not (box.path / "ran").exists()
    box.mlmake("data", "init")
    box.write("m.bin", "in git")
    box.git("add", "m.bin")
    result = box.mlmake("train", check=1)
    assert "m.bin is tracked by git already" in result.stderr and "git rm" in result.stderr
    assert box.read("ran") == b"ran\n" and box.read("m.bin") == b"in git"
    box.git("rm", "-q", "--cached", "m.bin")
    assert "2 ran" in box.mlmake("train").stderr


@pytest.mark.slow
def test_one_at_a_time_goes_in_the_order_written(box):
    """Whatever took longest the last time."""
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "targets": {
        "quick": {"run": "echo ran quick >> ran"}, "slow": {"run": "sleep 0.2; echo ran slow >> ran"},
        "all": {"needs": ["quick", "slow"]}}}))
    for _ in range(2):
        box.mlmake("-j1", "all")
        assert ran(box) == ["quick", "slow"]


def test_a_place_that_cannot_be_written_to(box):
    one(box, "true")
    box.write(".mlmake", "a file")
    result = box.mlmake("t", check=1)
    assert "/.mlmake'" in result.stderr and "MLMAKE_STATE_DIR" in result.stderr


def test_a_glob_that_matches_nothing_is_told(box):
    box.write("a.txt", "")
    box.write("mlmake.yaml", "targets:\n  t: {inputs: ['*.txt', 'src/**/*.py'], run: 'true'}\n")
    assert "warning: mlmake.yaml:2:25: the input 'src/**/*.py' of 't' matches no file" in box.mlmake("t").stderr
    box.write("src/x/a.py", "")
    assert "matches no file" not in box.mlmake("t").stderr


def test_a_missing_directory_is_named(box):
    one(box, "true", dir="nowhere")
    assert "cannot run in directory" in (said := box.mlmake("t", check=1).stderr) and "nowhere': No such file" in said


def test_what_reads_a_tracked_output_runs_once(gitbox):
    """The output is versioned while the run goes on: its reader's key must be the one that the next run computes."""
    box = gitbox
    box.mlmake("data", "init")
    box.write("mlmake.yaml", json.dumps({"version": 1, "targets": {
        "train": {"inputs": ["a.txt"], "outputs": [{"path": "m.bin", "track": True}], "run": "cat a.txt > m.bin"},
        "evaluate": {"inputs": ["m.bin"], "run": "cat m.bin"}}}))
    box.write("a.txt", "a")
    assert "2 ran" in box.mlmake("evaluate").stderr
    assert "nothing to do (2 up to date)" in box.mlmake("evaluate").stderr
