#!/usr/bin/env python3
"""mlmake side by side with ninja, make, go-task, dvc and those that copy files to S3, in one run on one machine: make bench

    tests/bench/bench.py [--quick] [--only NAME,...] [--markdown] [--build DIR] [--dir DIR]

Each comparison does the same work with both programs, one after the other, in trees of their own, and prints wall
time, CPU time, peak memory of the largest process, and the ratio of the wall times. Goals are those of the design.
A peer that is not installed leaves its lines out and is named; ./bootstrap.sh test installs dvc and the S3 server
(versitygw, on loopback). A peer that would take minutes at a size is left out there, which is said as well. Ratios are to ninja
for targets, to dvc for data. --quick takes a tenth of the files. --markdown writes docs/benchmarks.md as well.
"""
import argparse
import contextlib
import dataclasses
import os
import pathlib
import platform
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import types

import transfer

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIMEOUT = 900  # seconds, each command
KEY, SECRET = "benchaccess", "benchsecretkey"
GOALS = {  # comparison -> (what is compared, the most that it may be)
    "start-up": ("difference", 0.002),
    "no-op": ("wall", 0.5),
    "no-op, first": ("wall", 1.0),
    "one changed": ("wall", 1.0),
    "from scratch": ("wall", 1.1),
    "add": ("wall", None),
    "add, unchanged": ("wall", 0.035),
    "status": ("wall", 0.035),
    "add, one changed": ("wall", None),
    "checkout": ("wall", 0.15),
    "push": ("wall", 0.25),
    "pull": ("wall", 0.25),
    "hash": ("faster", 6),  # at least
    "push, one file": ("wall", 1.0),
    "pull, one file": ("wall", 1.0),
}


class Failed(Exception):
    pass


@dataclasses.dataclass
class Sample:
    wall: float  # seconds
    cpu: float   # seconds
    peak: float  # MiB


@dataclasses.dataclass
class Row:
    comparison: str
    work: str
    tool: str
    sample: Sample
    ratio: str = ""
    goal: str = ""


class Bench:
    def __init__(self, options):
        self.build = options.build.resolve()
        self.mlmake = str(self.build / "mlmake")
        self.peers = pathlib.Path(os.environ.get("MLMAKE_PEERS", ROOT / "build" / "peers")).resolve()
        self.work = (options.dir or self.build / "bench").resolve() / f"run-{os.getpid()}"
        self.targets = self.files = 1_000 if options.quick else 10_000 # huge: ten times the targets
        self.big = (64 if options.quick else 1024) << 20
        self.rows, self.notes, self.problems = [], [], 0
        self.work.mkdir(parents=True)
        home = self.work / "home"
        home.mkdir()
        self.env = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        self.env.update(HOME=str(home), XDG_CACHE_HOME=str(home / ".cache"), GIT_CONFIG_NOSYSTEM="1", DVC_NO_ANALYTICS="1",
                        DVC_SITE_CACHE_DIR=str(home / "dvc-site"), AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET,
                        AWS_DEFAULT_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true")
        self.measure = self.work / "measure"
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", self.measure, ROOT / "tests" / "bench" / "measure.c"], check=True)

    def peer(self, name, path=None, how=None):
        """The path of a peer's program; None, and a note once, where there is none. how: what installs it."""
        candidate = self.peers / path if path else None
        found = str(candidate) if candidate and candidate.exists() else shutil.which(name)
        note = f"{name} is not installed: the comparisons with it are left out" + (f"; {how}" if how else "")
        if not found and note not in self.notes:
            self.notes.append(note)
        return found

    def time(self, argv, cwd, repeats=1, limit=TIMEOUT):
        """Samples of repeats runs. A command that fails, or takes longer than limit seconds, is an error with what it said."""
        result, log = self.work / "result", self.work / "log"
        with open(log, "wb") as out:
            subprocess.run([self.measure, str(repeats), str(limit), result, *map(str, argv)], cwd=cwd, env=self.env,
                           stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=True)
        samples = []
        for line in result.read_text().splitlines():
            wall, cpu, peak, code = map(int, line.split())
            if code != 0:
                tail = log.read_text(errors="replace").strip()[-600:]
                raise Failed(f"{' '.join(map(str, argv))} gave {code} after {wall / 1e9:.0f} s\n{tail}")
            samples.append(Sample(wall / 1e9, cpu / 1e6, peak / 1024))
        return samples

    def once(self, argv, cwd, limit=TIMEOUT):
        return self.time(argv, cwd, limit=limit)[0]

    def interleaved(self, commands, rounds, repeats=1, seconds=TIMEOUT):
        """commands: {tool: (argv, cwd)}. The median of each over rounds in which they take turns; one that has taken so many seconds is
        not run again."""
        samples = {tool: [] for tool in commands}
        for _ in range(rounds):
            for tool, (argv, cwd) in commands.items():
                if sum(sample.wall for sample in samples[tool]) < seconds:
                    samples[tool] += self.time(argv, cwd, repeats)
        return {tool: median(found) for tool, found in samples.items()}

    def report(self, comparison, work, samples, has_goal=True):
        """samples: {tool: Sample}, the peer first. mlmake's line carries the ratio and the goal."""
        peer = next((tool for tool in samples if tool != "mlmake"), None)
        kind, most = GOALS[comparison]
        most = most if has_goal else None
        for tool, sample in samples.items():
            row = Row(comparison, work, tool, sample)
            if tool == "mlmake" and peer:
                row.ratio, row.goal = judge(sample, samples[peer], kind, most)
            if tool == "mlmake" and peer == "ninja" and has_goal:
                memory, cpu = sample.peak / samples[peer].peak, sample.cpu / samples[peer].cpu
                self.notes.append(f"{comparison}, {work}: {memory:.1f}x ninja's peak memory (goal: <= 2x at 100,000 targets), {cpu:.2f}x its CPU"
                                  + (" (goal: <= 1.05x)" if comparison == "from scratch" else ""))
            self.rows.append(row)
            print(format_row(row), flush=True)


def median(samples):
    return Sample(*(statistics.median(getattr(s, field) for s in samples) for field in ("wall", "cpu", "peak")))


def judge(ours, theirs, kind, most):
    if kind == "difference":
        value = ours.wall - theirs.wall
        return f"{value * 1000:+.2f} ms", f"<= +{most * 1000:.0f} ms: {'met' if value <= most else 'missed'}"
    if kind == "faster":
        value = theirs.wall / ours.wall
        return f"{value:.1f}x", f">= {most}x as fast: {'met' if value >= most else 'missed'}"
    value = ours.wall / theirs.wall
    text = f"{value:.3f}x" if value < 0.1 else f"{value:.2f}x"
    return text, "-" if most is None else f"<= {most}x: {'met' if value <= most else 'missed'}"


def seconds(value):
    return f"{value * 1000:.2f} ms" if value < 0.1 else f"{value:.2f} s"


COLUMNS = "{:<17} {:<30} {:<13} {:>10} {:>10} {:>10}  {:<9} {}"


def format_row(row):
    return COLUMNS.format(row.comparison, row.work, row.tool, seconds(row.sample.wall), seconds(row.sample.cpu),
                          f"{row.sample.peak:.0f} MiB", row.ratio, row.goal).rstrip()


# --- what is compared -------------------------------------------------------------------------------------------------

def bench_start(bench):
    commands = {"true": (["true"], bench.work), "mlmake": ([bench.mlmake, "--version"], bench.work)}
    bench.report("start-up", "--version", bench.interleaved(commands, rounds=10, repeats=20))


# Targets: commands of one shell built-in, each with an input of its own.

SIZES = (100, 1_000, 10_000, 100_000)
# Above that a peer takes longer than all the rest; and what finding nothing to do took it, once measured.
MOST = {"make": (10_000, "2.6 s at 10,000, and more than in proportion after that"), "go-task": (1_000, "17 s at 10,000"), "dvc repro": (100, "1 s at 100")}
PEER_SECONDS = 90  # from scratch
ROUNDS = {100: 15, 1_000: 15, 10_000: 9, 100_000: 5}
COMMAND = ": > out/{}"


def fill_ninja(tree, count):
    lines = ["rule touch\n  command = : > $out\n"] + [f"build out/{i}: touch in/{i}\n" for i in range(count)]
    (tree / "build.ninja").write_text("".join(lines))


def fill_make(tree, count):
    lines = ["all:" + "".join(f" out/{i}" for i in range(count)) + "\n"] + [f"out/{i}: in/{i}\n\t@: > $@\n" for i in range(count)]
    (tree / "Makefile").write_text("".join(lines))


def fill_task(tree, count):
    lines = ["version: '3'\ntasks:\n"]
    lines += [f"  t{i}: {{sources: [in/{i}], generates: [out/{i}], cmds: ['{COMMAND.format(i)}']}}\n" for i in range(count)]
    (tree / "Taskfile.yml").write_text("".join(lines) + "  all:\n    deps: [" + ", ".join(f"t{i}" for i in range(count)) + "]\n")


def fill_dvc(tree, count):
    lines = [f"  t{i}: {{cmd: '{COMMAND.format(i)}', deps: [in/{i}], outs: [out/{i}]}}\n" for i in range(count)]
    (tree / "dvc.yaml").write_text("stages:\n" + "".join(lines))


def fill_mlmake(tree, count):
    lines = ["version: 1\nrules: []\ntargets:\n"]
    lines += [f"  t{i}: {{inputs: [in/{i}], outputs: [out/{i}], run: '{COMMAND.format(i)}'}}\n" for i in range(count)]
    lines += ["  all:\n    needs:\n"] + [f"      - t{i}\n" for i in range(count)]
    (tree / "mlmake.yaml").write_text("".join(lines))


def runners(bench):
    """{tool: (argv, what writes its file)} of what is installed, the one to compare with first. ninja and make run one command a processor, which on
    two is faster than more, ninja's own default included (docs/benchmarks.md); mlmake is left to itself: one more."""
    jobs = f"-j{os.cpu_count()}"
    asked = {
        "ninja": (bench.peer("ninja"), ["--quiet", jobs], fill_ninja),
        "make": (bench.peer("make"), ["-s", jobs, "all"], fill_make),
        "go-task": (bench.peer("task", "bin/task", "GOBIN=$PWD/build/peers/bin go install github.com/go-task/task/v3/cmd/task@v3.54.0"),
                    ["--silent", "all"], fill_task),
        "dvc repro": (bench.peer("dvc", "dvc/bin/dvc"), ["repro", "--quiet"], fill_dvc),
        "mlmake": (bench.mlmake, ["--quiet", "all"], fill_mlmake),
    }
    return {tool: ([program, *options], fill) for tool, (program, options, fill) in asked.items() if program}


def make_tree(bench, tool, fill, count):
    tree = bench.work / f"graph-{count}-{tool.replace(' ', '-')}"
    (tree / "in").mkdir(parents=True)
    (tree / "out").mkdir()
    if tool == "dvc repro":
        bench.time([bench.peer("dvc", "dvc/bin/dvc"), "init", "--quiet", "--no-scm"], tree)
    else:
        subprocess.run(["git", "init", "-q", tree], env=bench.env, check=True)
    for i in range(count):
        (tree / "in" / f"{i}").write_text(f"{i}\n")
    fill(tree, count)
    return tree


def measure_graph(bench, count):
    commands = {}
    for tool, (argv, fill) in runners(bench).items():
        most, why = MOST.get(tool, (count, ""))
        if count <= most:
            commands[tool] = (argv, make_tree(bench, tool, fill, count))
        else:
            note = f"{tool} is left out above {most:,} targets: finding nothing to do takes it {why}"
            bench.notes += [] if note in bench.notes else [note]
    work = f"{count:,} targets"
    scratch = {}
    for tool, command in list(commands.items()):
        try:
            scratch[tool] = bench.once(*command, limit=TIMEOUT if tool in ("ninja", "mlmake") else PEER_SECONDS)
        except Failed as problem:
            bench.notes.append(f"{tool} is left out at {work}: {str(problem).split(chr(10), maxsplit=1)[0]}")
            del commands[tool]
    if "mlmake" not in commands:
        raise Failed(bench.notes[-1])
    has_goal = count >= 10_000 # below that, starting is what is measured
    bench.report("from scratch", work, scratch, has_goal)
    # After a build of few targets the first no-op looks at all the long way; after one of many the build has done that.
    bench.report("no-op, first", work, {tool: bench.once(*command) for tool, command in commands.items()}, has_goal)
    # What takes seconds is measured less often, so that the whole takes minutes.
    bench.report("no-op", work, bench.interleaved(commands, rounds=ROUNDS[count], seconds=4), has_goal)
    changed = {tool: [] for tool in commands}
    for i in range(5):
        for tool, (argv, tree) in commands.items():
            if i == 0 or changed[tool][0].wall < 1:
                (tree / "in" / f"{i}").write_text(f"changed {i}\n")
                changed[tool].append(bench.once(argv, tree))
    bench.report("one changed", work, {tool: median(samples) for tool, samples in changed.items()}, has_goal)
    for _, tree in commands.values():
        shutil.rmtree(tree)


def bench_graph(bench):
    for count in SIZES:
        if count <= bench.targets:
            measure_graph(bench, count)


def bench_huge(bench):
    """The largest size alone: minutes, nearly all of it for starting shells."""
    measure_graph(bench, 10 * bench.targets)


def write_config(project, bucket, port):
    (project / ".dvc" / "config").write_text(
        f"[core]\n    remote = bench\n['remote \"bench\"']\n    url = s3://{bucket}/data\n    endpointurl = http://127.0.0.1:{port}\n")


def write_files(directory, count, size):
    directory.mkdir(parents=True)
    source = random.Random(1)
    for i in range(count):
        (directory / f"{i:06}.bin").write_bytes(source.randbytes(size))


def write_big(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    source = random.Random(path.name)
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            file.write(source.randbytes(1 << 20))


@contextlib.contextmanager
def s3_server(bench):
    """The port of a versitygw whose buckets are the directories of bench.work/s3, or None."""
    program = bench.peer("versitygw", "bin/versitygw")
    if not program:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    root = bench.work / "s3"
    root.mkdir(exist_ok=True)
    env = {**bench.env, "ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with subprocess.Popen([program, "--port", f"127.0.0.1:{port}", "posix", str(root)], env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def data_tools(bench):
    """{tool: argv prefix} of what versions data, the peer first."""
    tools = {}
    dvc = bench.peer("dvc", "dvc/bin/dvc")
    if dvc:
        tools["dvc"] = [dvc]
    tools["mlmake"] = [bench.mlmake, "data"]
    return tools


def make_projects(bench, tools, name, fill):
    """{tool: directory}: a git repository each, initialised by its tool, with equal data."""
    projects = {}
    for tool, prefix in tools.items():
        project = bench.work / f"{name}-{tool}"
        project.mkdir()
        subprocess.run(["git", "init", "-q", project], env=bench.env, check=True)
        bench.time([*prefix, "init"], project)
        fill(project)
        projects[tool] = project
    return projects


def each(bench, tools, projects, *args, before=None):
    """{tool: Sample} of the tool's subcommand in its project."""
    samples = {}
    for tool, prefix in tools.items():
        if before:
            before(projects[tool])
        samples[tool] = bench.once([*prefix, *args], projects[tool])
    return samples


def lose(project, *names):
    for name in (".dvc/cache", ".dvc/tmp", *names):
        path = project / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def bench_data(bench):
    """Many small files: add, status, checkout, push, pull."""
    tools, count = data_tools(bench), bench.files
    work = f"{count:,} x 8 KiB"
    projects = make_projects(bench, tools, "small", lambda p: write_files(p / "files", count, 8192))
    bench.report("add", work, each(bench, tools, projects, "add", "files"))
    bench.report("add, unchanged", work, each(bench, tools, projects, "add", "files"))
    commands = {tool: ([*prefix, "status"], projects[tool]) for tool, prefix in tools.items()}
    bench.report("status", work, bench.interleaved(commands, rounds=3))
    bench.report("checkout", work, each(bench, tools, projects, "checkout", before=lambda p: shutil.rmtree(p / "files")))
    with s3_server(bench) as port:
        if not port:
            return
        for tool, project in projects.items():
            (bench.work / "s3" / f"small-{tool}").mkdir()
            write_config(project, f"small-{tool}", port)
        bench.report("push", f"{work}, S3", each(bench, tools, projects, "push"))
        bench.report("pull", f"{work}, S3", each(bench, tools, projects, "pull", before=lambda p: lose(p, "files")))
    for project in projects.values():
        if len(list((project / "files").iterdir())) != count:
            raise Failed(f"{project.name}: files are missing after the pull")


def bench_big(bench):
    """One large file to S3 and back."""
    free = shutil.disk_usage(bench.work).free
    if free < 8 * bench.big:
        bench.notes.append(f"one large file: left out, it needs {8 * bench.big >> 30} GiB of disk and {free >> 30} are free")
        return
    tools = data_tools(bench)
    work = f"{bench.big >> 20:,} MiB, S3"
    projects = make_projects(bench, tools, "big", lambda p: write_big(p / "data" / "big.bin", bench.big))
    with s3_server(bench) as port:
        if not port:
            return
        for tool, project in projects.items():
            (bench.work / "s3" / f"big-{tool}").mkdir()
            bench.time([*tools[tool], "add", "data/big.bin"], project)
            write_config(project, f"big-{tool}", port)
        bench.report("push, one file", work, each(bench, tools, projects, "push"))
        bench.report("pull, one file", work, each(bench, tools, projects, "pull", before=lambda p: lose(p, "data/big.bin")))


def bench_hash(bench):
    """md5 of 32 files in the page cache: md5sum, data add --no-commit on all processors, and each way to hash on one."""
    size = bench.big >> 5
    work = f"32 x {size >> 20} MiB"
    if not has_room(bench, 32 * size, work):
        return
    tools = {"mlmake": data_tools(bench)["mlmake"]}
    project = make_projects(bench, tools, "hash", lambda p: [write_big(p / "data" / f"{i:02}", size) for i in range(32)])["mlmake"]
    files = [f"data/{i:02}" for i in range(32)]
    bench.once(["md5sum", *files], project)
    samples = {"md5sum": [], "mlmake": []}
    for _ in range(5):
        samples["md5sum"] += bench.time(["md5sum", *files], project)
        lose(project, ".mlmake", "data.dvc")
        samples["mlmake"] += bench.time([*tools["mlmake"], "add", "--no-commit", "data"], project)
    found = {tool: median(some) for tool, some in samples.items()}
    bench.report("hash", work, found)
    bench.notes.append(f"hash: {found['md5sum'].cpu / found['mlmake'].cpu:.1f}x by CPU, reading and start-up included")
    helper = bench.build / "tests" / "hash_lanes"
    if not helper.exists():
        bench.notes.append("hash: the ways to hash are left out; make bench builds their driver")
        return
    ways = dict(line.split() for line in subprocess.run([helper], capture_output=True, text=True, check=True).stdout.splitlines())
    for name, speed in ways.items():
        if name in ("openssl", "plain"):
            continue
        sample = median([bench.once([helper, name, *files], project) for _ in range(3)])
        row = Row("hash", f"{work}, one thread", name, sample, f"{found['md5sum'].cpu / sample.cpu:.1f}x CPU")
        bench.rows.append(row)
        print(format_row(row), flush=True)
        bench.notes.append(f"hash: {name} in memory, one thread: {float(speed) / 1024:.1f} GiB/s, "
                           f"{float(speed) / float(ways['openssl']):.1f}x OpenSSL's md5")


# Sizes of data: files of 1 KiB, 1,000 to a directory.

DATA_SIZES = (1_000, 10_000, 100_000)
MOST_MEMORY = 400  # MiB at 1,000,000 files


def write_many(directory, count):
    source = random.Random(1)
    for start in range(0, count, 1_000):
        below = directory / f"{start // 1_000:04}"
        below.mkdir(parents=True)
        for i in range(start, min(start + 1_000, count)):
            (below / f"{i:07}.bin").write_bytes(source.randbytes(1024))


def change_one(project, number):
    (project / "files" / "0000" / "0000007.bin").write_text(f"changed {number}\n")


def measure_files(bench, count, tools):
    work = f"{count:,} x 1 KiB"
    projects = make_projects(bench, tools, f"files-{count}", lambda p: write_many(p / "files", count))

    def report(comparison, samples):
        bench.report(comparison, work, samples, has_goal=count >= 10_000)
        if count >= 1_000_000:
            peak = samples["mlmake"].peak
            bench.rows[-1].goal = f"<= {MOST_MEMORY} MiB: {'met' if peak <= MOST_MEMORY else 'missed'}"
            print(f"{comparison}: peak memory {bench.rows[-1].goal}", flush=True)

    def again(*args):
        return bench.interleaved({tool: ([*prefix, *args], projects[tool]) for tool, prefix in tools.items()}, rounds=5, seconds=4)

    md5sum = bench.once(["find", "files", "-type", "f", "-exec", "md5sum", "{}", "+"], projects["mlmake"])
    added = each(bench, tools, projects, "add", "files")
    report("add", {**{tool: sample for tool, sample in added.items() if tool != "mlmake"}, "md5sum": md5sum, "mlmake": added["mlmake"]})
    time.sleep(2)  # what was just written is not believed yet
    report("add, unchanged", again("add", "files"))
    report("status", again("status"))
    report("add, one changed", each(bench, tools, projects, "add", "files", before=lambda p: change_one(p, count)))
    report("checkout", each(bench, tools, projects, "checkout", before=lambda p: shutil.rmtree(p / "files")))
    if "dvc" in tools and projects["dvc"].joinpath("files.dvc").read_bytes() != projects["mlmake"].joinpath("files.dvc").read_bytes():
        raise Failed(f"{work}: the two recorded different data")
    for project in projects.values():
        if sum(len(names) for _, _, names in os.walk(project / "files")) != count:
            raise Failed(f"{project.name}: files are missing after the checkout")
        shutil.rmtree(project)


def bench_sizes(bench):
    """add, status and checkout from 1,000 files on."""
    for count in DATA_SIZES:
        if has_room(bench, 5 * 8192 * count, f"{count:,} files"):
            measure_files(bench, count if bench.files == 10_000 else count // 10, data_tools(bench))


def bench_million(bench, peer=False):
    """The largest size, beside md5sum alone: minutes, and with dvc (million-dvc) half an hour."""
    tools = data_tools(bench)
    if not peer:
        tools = {"mlmake": tools["mlmake"]}
    count = 1_000_000 if bench.files == 10_000 else 100_000
    if has_room(bench, (3 if peer else 2) * 2 * 4096 * count, f"{count:,} files"):
        measure_files(bench, count, tools)


def transfer_kit():
    return types.SimpleNamespace(data_tools=data_tools, make_projects=make_projects, s3_server=s3_server, write_config=write_config,
                                 Row=Row, format_row=format_row, Failed=Failed, delay=ROOT / "tests" / "bench" / "delay.py")


def has_room(bench, size, what):
    free = shutil.disk_usage(bench.work).free
    if free < size:
        bench.notes.append(f"{what}: left out, it needs {size >> 30} GiB of disk and {free >> 30} are free")
    return free >= size


def bench_transfer(bench):
    """Small files and large ones to S3 and back, against all that move files."""
    count = bench.files
    transfer.measure(bench, transfer_kit(), "t-small", f"{count:,} x 8 KiB, S3", lambda p: write_files(p / "files", count, 8192), count,
                     transfer.SMALL)
    if has_room(bench, 8 * bench.big, "one large file"):
        transfer.measure(bench, transfer_kit(), "t-big", f"{bench.big >> 20:,} MiB, S3", lambda p: write_big(p / "files" / "0", bench.big), 1,
                         transfer.LARGE)

        def four(project):
            for i in range(4):
                write_big(project / "files" / f"{i}", bench.big // 4)
        transfer.measure(bench, transfer_kit(), "t-four", f"4 x {bench.big >> 22:,} MiB, S3", four, 4, transfer.LARGE)


def bench_latency(bench):
    """The same small files over 20 ms."""
    count = bench.files
    transfer.measure(bench, transfer_kit(), "t-far", f"{count:,} x 8 KiB, S3, {transfer.DELAY_MS} ms",
                     lambda p: write_files(p / "files", count, 8192), count, transfer.FAR, latency=True)


def bench_many(bench, also=()):
    """Ten times as many small files; minutes with some of the peers, a quarter of an hour with dvc (many-dvc)."""
    count = 10 * bench.files
    transfer.measure(bench, transfer_kit(), "t-many", f"{count:,} x 1 KiB, S3", lambda p: write_files(p / "files", count, 1024), count,
                     transfer.SMALL, tools=("rclone", "s5cmd", *also))


BENCHES = {"start": bench_start, "graph": bench_graph, "huge": bench_huge, "data": bench_data, "hash": bench_hash, "big": bench_big,
           "transfer": bench_transfer, "latency": bench_latency, "many": bench_many, "many-dvc": lambda bench: bench_many(bench, also=("dvc",)),
           "sizes": bench_sizes, "million": bench_million,
           "million-dvc": lambda bench: bench_million(bench, peer=True)}
SLOW = ("transfer", "latency", "many", "many-dvc", "sizes", "million", "million-dvc")  # only when named


# --- the report -------------------------------------------------------------------------------------------------------

def versions(bench):
    asked = {"mlmake": [bench.mlmake, "--version"], "ninja": [bench.peer("ninja"), "--version"], "make": [bench.peer("make"), "--version"],
             "go-task": [bench.peer("task", "bin/task"), "--version"],
             "dvc": [bench.peer("dvc", "dvc/bin/dvc"), "--version"], "versitygw": [bench.peer("versitygw", "bin/versitygw"), "--version"],
             "rclone": [bench.peer("rclone"), "version"], "aws": [bench.peer("aws", "aws/bin/aws"), "--version"],
             "s5cmd": [bench.peer("s5cmd", "bin/s5cmd"), "version"]}
    found = []
    for name, argv in asked.items():
        if argv[0]:
            said = subprocess.run(argv, env=bench.env, capture_output=True, text=True, check=False).stdout.split()
            number = next((word for word in said if word.lstrip("v")[:1].isdigit()), None)
            found.append(f"{name} {number}" if number else name)
    return ", ".join(found)


def write_markdown(bench, command):
    lines = ["# Benchmarks", "",
             f"What `{command}` printed last: {os.cpu_count()} cores, {platform.system()} {platform.machine()}; {versions(bench)}.",
             "Both programs of a comparison ran in the same run, one after the other; the ratio is of the wall times. Only ratios",
             "mean something on another machine. CPU is of the program and of all that it ran, memory of its largest process.",
             "For targets, all run as many commands at once as there are processors (`-j`).", "",
             "| comparison | work | program | wall | CPU | peak memory | ratio | goal |", "|---|---|---|--:|--:|--:|--:|---|"]
    for row in bench.rows:
        lines.append(f"| {row.comparison} | {row.work} | {row.tool} | {seconds(row.sample.wall)} | {seconds(row.sample.cpu)} "
                     f"| {row.sample.peak:.0f} MiB | {row.ratio} | {row.goal} |")
    lines += [""] + [f"- {note}" for note in bench.notes]
    path = ROOT / "docs" / "benchmarks.md"
    path.parent.mkdir(exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if "\n## " in old:  # what was written below by hand
        lines += ["", old[old.index("\n## ") + 1:]]
    path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the files and targets")
    parser.add_argument("--only", default=",".join(name for name in BENCHES if name not in SLOW), metavar="NAME,...",
                        help=f"of {', '.join(BENCHES)}; {', '.join(SLOW)} are left out unless they are named")
    parser.add_argument("--markdown", action="store_true", help="write docs/benchmarks.md, too")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR", help="where make put mlmake")
    parser.add_argument("--dir", type=pathlib.Path, metavar="DIR", help="where to work (default: in the build directory)")
    options = parser.parse_args()
    names = options.only.split(",")
    for name in names:
        if name not in BENCHES:
            parser.error(f"there is no comparison '{name}': {', '.join(BENCHES)}")
    bench = Bench(options)
    print(COLUMNS.format("comparison", "work", "program", "wall", "CPU", "peak", "ratio", "goal"))
    try:
        for name in names:
            try:
                BENCHES[name](bench)
            except Failed as problem:
                bench.problems += 1
                print(f"{name}: {problem}", flush=True)
        for note in bench.notes:
            print(f"note: {note}")
        if options.markdown and not bench.problems:
            write_markdown(bench, "make bench" + (" (--quick)" if options.quick else ""))
    finally:
        shutil.rmtree(bench.work, ignore_errors=True)
    return 1 if bench.problems else 0


if __name__ == "__main__":
    sys.exit(main())
