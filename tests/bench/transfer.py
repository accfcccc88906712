"""push, pull and a push of nothing against dvc, rclone, awscli and s5cmd, whichever are there: on loopback, and with 20 ms of latency.

The programs that version nothing copy the same files to a bucket and back, so they neither hash them nor keep a cache."""
import contextlib
import dataclasses
import shutil
import subprocess
import sys
import time

# A bench's own pieces are handed in by bench.py, which imports this.
PEERS = ("dvc", "rclone", "aws", "s5cmd")
DELAY_MS = 20
PACKS = "mlmake, packs"


@dataclasses.dataclass(frozen=True)
class Goals:
    """At most so many times the peer's; MiB."""
    wall: dict = dataclasses.field(default_factory=dict)
    cpu: dict = dataclasses.field(default_factory=dict)
    packs: dict = dataclasses.field(default_factory=dict)
    peak: int = 0


SMALL = Goals(wall={"dvc": 0.25, "rclone": 0.8, "s5cmd": 1.0}, cpu={"dvc": 0.1, "s5cmd": 0.4}, packs={"dvc": 0.05})
LARGE = Goals(wall={"dvc": 1.0, "rclone": 1.0, "aws": 1.0, "s5cmd": 1.0}, peak=64)
FAR = Goals(wall={"dvc": 0.1, "s5cmd": 1.0}, cpu=SMALL.cpu)


@contextlib.contextmanager
def delayed(bench, port, script):
    """The port of a relay that adds the latency."""
    with subprocess.Popen([sys.executable, script, str(port), str(DELAY_MS)], stdout=subprocess.PIPE, env=bench.env, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def copiers(bench, port):
    """{tool: (argv of a copy up, argv of a copy down)}; SOURCE, BUCKET and TARGET are filled in."""
    found = {}
    endpoint = f"http://127.0.0.1:{port}"
    rclone = bench.peer("rclone")
    if rclone:
        base = [rclone, "--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", endpoint, "--s3-force-path-style", "--config", "/dev/null",
                "--transfers", "32", "--checkers", "32", "copy"]
        found["rclone"] = ([*base, "SOURCE", ":s3:BUCKET/data"], [*base, ":s3:BUCKET/data", "TARGET"])
    aws = bench.peer("aws", "aws/bin/aws")
    if aws:
        base = [aws, "--endpoint-url", endpoint, "s3", "sync", "--only-show-errors"]
        found["aws"] = ([*base, "SOURCE", "s3://BUCKET/data"], [*base, "s3://BUCKET/data", "TARGET"])
    s5cmd = bench.peer("s5cmd", "bin/s5cmd")
    if s5cmd:
        base = [s5cmd, "--log", "error", "--numworkers", "256", "--endpoint-url", endpoint, "sync"]
        found["s5cmd"] = ([*base, "SOURCE/", "s3://BUCKET/data/"], [*base, "s3://BUCKET/data/*", "TARGET/"])
    return found


def fill_in(argv, **what):
    filled = []
    for word in argv:
        for name, value in what.items():
            word = word.replace(name.upper(), str(value))
        filled.append(word)
    return filled


def put_away(bench, path):
    """Deleted when all is measured: ext4 looks for free inodes for minutes after many files were deleted."""
    if path.exists() and sum(1 for _ in path.rglob("*")) < 1000:
        shutil.rmtree(path)
    elif path.exists():
        (bench.work / "away").mkdir(exist_ok=True)
        path.rename(bench.work / "away" / str(time.monotonic_ns()))


def run_copier(bench, argvs, bucket, source):
    """Samples of push, no-op push, pull."""
    up, down = argvs
    target = bench.work / f"{bucket}-back"
    target.mkdir()
    push = bench.once(fill_in(up, source=source, bucket=bucket), bench.work)
    again = bench.once(fill_in(up, source=source, bucket=bucket), bench.work)
    pull = bench.once(fill_in(down, target=target, bucket=bucket), bench.work)
    count = sum(1 for p in target.rglob("*") if p.is_file())
    put_away(bench, target)
    return {"push": push, "push, nothing new": again, "pull": pull}, count


def run_versioner(bench, prefix, project, *more):
    push = bench.once([*prefix, "push", *more], project)
    again = bench.once([*prefix, "push", *more], project)
    for name in (".dvc/cache", ".dvc/tmp", "files"):
        put_away(bench, project / name)
    pull = bench.once([*prefix, "pull", *more], project)
    return {"push": push, "push, nothing new": again, "pull": pull}, sum(1 for _ in (project / "files").iterdir())


def judge(row, found, comparison, goals):
    """Fills in the ratios to each peer, and which goals they meet."""
    ratios, verdicts = [], []

    def compare(what, most, unit):
        for peer in (p for p in PEERS if p in found):
            ratio = getattr(row.sample, what) / getattr(found[peer][comparison], what)
            ratios.append(f"{unit}{ratio:.2g}x {peer}" if ratio < 0.1 else f"{unit}{ratio:.2f}x {peer}")
            if peer in most:
                verdicts.append(f"{unit}<= {most[peer]}x {peer}: {'met' if ratio <= most[peer] else 'missed'}")
    of_packs = {} if comparison == "push, nothing new" else goals.packs  # nothing is packed then
    compare("wall", of_packs if row.tool == PACKS else goals.wall, "")
    if goals.cpu and row.tool != PACKS:
        compare("cpu", goals.cpu, "CPU ")
    if goals.peak:
        verdicts.append(f"<= {goals.peak} MiB: {'met' if row.sample.peak <= goals.peak else 'missed'}")
    row.ratio, row.goal = ", ".join(ratios), ", ".join(verdicts)


def report(bench, kit, work, found, goals):
    for comparison in ("push", "push, nothing new", "pull"):
        for tool in [p for p in (*PEERS, "mlmake", PACKS) if p in found]:
            row = kit.Row(comparison, work, tool, found[tool][comparison])
            if tool in ("mlmake", PACKS):
                judge(row, found, comparison, goals)
            bench.rows.append(row)
            print(kit.format_row(row), flush=True)


def measure_packs(bench, kit, name, fill, port):
    """Small files in packs, beside a bucket of their own."""
    prefix = kit.data_tools(bench)["mlmake"]
    project = kit.make_projects(bench, {"packs": prefix}, name, fill)["packs"]
    (bench.work / "s3" / f"{name}-packs").mkdir()
    bench.time([*prefix, "add", "files"], project)
    kit.write_config(project, f"{name}-packs", port)
    (project / "mlmake.yaml").write_text("version: 1\ndata:\n  remotes:\n    packs: {url: \"remote://bench\", packed: true}\n")
    found = run_versioner(bench, prefix, project, "-r", "packs")
    put_away(bench, project)
    put_away(bench, bench.work / "s3" / f"{name}-packs")
    return found


def measure_copier(bench, argvs, name, source):
    (bench.work / "s3" / name).mkdir()
    found = run_copier(bench, argvs, name, source)
    put_away(bench, bench.work / "s3" / name)
    return found


def measure_versioner(bench, kit, tool, name, fill, port):
    prefix = kit.data_tools(bench)[tool]
    project = kit.make_projects(bench, {tool: prefix}, name, fill)[tool]
    (bench.work / "s3" / f"{name}-{tool}").mkdir()
    bench.time([*prefix, "add", "files"], project)
    kit.write_config(project, f"{name}-{tool}", port)
    found = run_versioner(bench, prefix, project)
    put_away(bench, project)
    put_away(bench, bench.work / "s3" / f"{name}-{tool}")
    return found


def measure(bench, kit, name, work, fill, count, goals, latency=False, tools=PEERS):
    """kit: what bench.py has: data_tools, make_projects, s3_server, write_config, Row, format_row, Failed."""
    found = {}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(kit.s3_server(bench))
        if not port:
            return
        if latency:
            port = stack.enter_context(delayed(bench, port, kit.delay))
        runs = {}
        source = bench.work / f"{name}-source"
        fill(source)
        for tool, argvs in copiers(bench, port).items():
            if tool in tools:
                runs[tool] = lambda tool=tool, argvs=argvs: measure_copier(bench, argvs, f"{name}-{tool}", source / "files")
        for tool in kit.data_tools(bench):
            if tool == "mlmake" or tool in tools:
                runs[tool] = lambda tool=tool: measure_versioner(bench, kit, tool, name, fill, port)
        if goals.packs:
            runs[PACKS] = lambda: measure_packs(bench, kit, name, fill, port)
        for tool, run in runs.items():
            found[tool], back = run()
            if back != count:
                raise kit.Failed(f"{tool}: {back} of {count} files came back")
        shutil.rmtree(source)
    shutil.rmtree(bench.work / "away", ignore_errors=True)
    report(bench, kit, work, found, goals)
