"""push, pull and a push of nothing against dvc, rclone, awscli and s5cmd, whichever are there: on loopback, and with 20 ms of latency.

The programs that version nothing copy the same files to a bucket and back, so they neither hash them nor keep a cache."""
import contextlib
import shutil
import subprocess
import sys

# A bench's own pieces are handed in by bench.py, which imports this.
PEERS = ("dvc", "rclone", "aws", "s5cmd")
MOST = {"dvc": 0.25, "rclone": 0.8, "s5cmd": 1.0}  # times the peer's wall time
DELAY_MS = 20


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
        base = [s5cmd, "--log", "error", "--endpoint-url", endpoint, "sync"]
        found["s5cmd"] = ([*base, "SOURCE/", "s3://BUCKET/data/"], [*base, "s3://BUCKET/data/*", "TARGET/"])
    return found


def fill_in(argv, **what):
    filled = []
    for word in argv:
        for name, value in what.items():
            word = word.replace(name.upper(), str(value))
        filled.append(word)
    return filled


def run_copier(bench, argvs, bucket, source):
    """Samples of push, no-op push, pull."""
    up, down = argvs
    target = bench.work / f"{bucket}-back"
    target.mkdir()
    push = bench.once(fill_in(up, source=source, bucket=bucket), bench.work)
    again = bench.once(fill_in(up, source=source, bucket=bucket), bench.work)
    pull = bench.once(fill_in(down, target=target, bucket=bucket), bench.work)
    count = sum(1 for p in target.rglob("*") if p.is_file())
    shutil.rmtree(target)
    return {"push": push, "push, nothing new": again, "pull": pull}, count


def run_versioner(bench, prefix, project, lose):
    push = bench.once([*prefix, "push"], project)
    again = bench.once([*prefix, "push"], project)
    lose(project, "files")
    pull = bench.once([*prefix, "pull"], project)
    return {"push": push, "push, nothing new": again, "pull": pull}, sum(1 for _ in (project / "files").iterdir())


def report(bench, row_class, format_row, work, found):
    """mlmake's line carries the ratio to each peer, and which goals that meets."""
    for comparison in ("push", "push, nothing new", "pull"):
        for tool in [*[p for p in PEERS if p in found], "mlmake"]:
            row = row_class(comparison, work, tool, found[tool][comparison])
            if tool == "mlmake":
                ratios, goals = [], []
                for peer in (p for p in PEERS if p in found):
                    ratio = row.sample.wall / found[peer][comparison].wall
                    ratios.append(f"{ratio:.2f}x {peer}")
                    if peer in MOST:
                        goals.append(f"<= {MOST[peer]}x {peer}: {'met' if ratio <= MOST[peer] else 'missed'}")
                row.ratio, row.goal = ", ".join(ratios), ", ".join(goals)
            bench.rows.append(row)
            print(format_row(row), flush=True)


def measure(bench, kit, name, work, fill, count, latency=False, tools=PEERS):
    """kit: what bench.py has: data_tools, make_projects, s3_server, write_config, lose, Row, format_row, Failed."""
    versioners = {tool: prefix for tool, prefix in kit.data_tools(bench).items() if tool == "mlmake" or tool in tools}
    projects = kit.make_projects(bench, versioners, name, fill)
    for tool, prefix in versioners.items():
        bench.time([*prefix, "add", "files"], projects[tool])
    found = {}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(kit.s3_server(bench))
        if not port:
            return
        if latency:
            port = stack.enter_context(delayed(bench, port, kit.delay))
        plain = {tool: argvs for tool, argvs in copiers(bench, port).items() if tool in tools}
        source = projects["mlmake"] / "files"
        for tool in [*plain, *versioners]:
            (bench.work / "s3" / f"{name}-{tool}").mkdir()
            if tool in plain:
                found[tool], back = run_copier(bench, plain[tool], f"{name}-{tool}", source)
            else:
                kit.write_config(projects[tool], f"{name}-{tool}", port)
                found[tool], back = run_versioner(bench, versioners[tool], projects[tool], kit.lose)
            if back != count:
                raise kit.Failed(f"{tool}: {back} of {count} files came back")
            shutil.rmtree(bench.work / "s3" / f"{name}-{tool}")
    for project in projects.values():
        shutil.rmtree(project)
    report(bench, kit.Row, kit.format_row, work, found)
