"""The real dvc, kept warm: run by dvc's own Python, it imports dvc once and forks for each command.

A request is a line of JSON on stdin, {"argv": [...], "cwd": "...", "env": {...}}; the answer one on stdout,
{"code": 0, "out": "...", "err": "..."}. Each command has a process of its own, as from a shell; what is saved is the import.
"""
import gc
import importlib
import json
import os
import sys
import tempfile
import traceback


def run_child(request, out, err):
    """In the forked child: never returns."""
    code = 70
    try:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        devnull = os.open(os.devnull, os.O_RDONLY)
        os.dup2(devnull, 0)
        os.environ.update(request.get("env", {}))
        os.chdir(request["cwd"])
        sys.argv = ["dvc", *request["argv"]]
        from dvc.cli import main
        code = main(request["argv"])
        if request.get("modules"):
            print("\n" + json.dumps(sorted(sys.modules)))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code or 0)


def run(request):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            run_child(request, out, err)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        err.seek(0)
        return {"code": os.waitstatus_to_exitcode(status), "out": out.read().decode(errors="surrogateescape"),
                "err": err.read().decode(errors="surrogateescape")}


def warm(scratch, env):
    """Imports what the commands import, without running any of them in this process."""
    os.makedirs(scratch, exist_ok=True)
    modules = set()
    with open(os.path.join(scratch, "f"), "w", encoding="utf-8") as f:
        f.write("x")
    os.makedirs(os.path.join(scratch, "d"))
    with open(os.path.join(scratch, "d", "g"), "w", encoding="utf-8") as f:
        f.write("x")
    os.system(f"git init -q {scratch}")
    store = os.path.join(scratch, "..", "store")
    for argv in (["init"], ["remote", "add", "-d", "s", store], ["add", "f", "d"], ["commit", "-f"], ["data", "status", "--json"], ["diff", "--json"],
                 ["push"], ["fetch"], ["checkout"], ["move", "f", "h"], ["unprotect", "h"], ["gc", "-w", "-f"], ["remove", "h.dvc"]):
        answer = run({"argv": argv, "cwd": scratch, "env": env, "modules": True})
        try:
            modules.update(json.loads(answer["out"].splitlines()[-1]))
        except (ValueError, IndexError):
            print(f"dvc {argv}: {answer}", file=sys.stderr)
    for name in sorted(modules):
        if name.startswith(("dvc", "scmrepo", "dulwich", "pygit2", "git", "fsspec", "ruamel", "diskcache", "sqltrie", "funcy", "voluptuous",
                            "pathspec", "tqdm", "rich", "networkx", "shortuuid", "flufl", "zc", "configobj", "dictdiffer", "shtab",
                            "concurrent", "json", "sqlite3", "asyncio", "attr", "pygtrie", "flatten_dict", "hydra", "omegaconf",
                            "multiprocessing", "importlib", "email", "urllib", "http", "logging", "unittest", "xml", "packaging")):
            try:
                importlib.import_module(name)
            except Exception:  # pylint: disable=broad-except
                pass
    # Building the parser of all commands takes longer than most commands.
    from dvc.cli import parser
    built = parser.get_main_parser()
    parser.get_main_parser = lambda: built
    gc.collect()
    gc.freeze()


def main():
    scratch = sys.argv[1]
    env = json.loads(sys.argv[2])
    os.environ.update(env)
    warm(scratch, env)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
