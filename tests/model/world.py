"""One project on disk, the model of it, and the steps that change and run it.

A step is data, so that it can be printed, repeated and left out: {"edits": [...], "how": HOW, "names": [...], ...}.
"""
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from graph import KINDS, PATTERNS, Failed, Graph, is_below, manifest, name_of, outputs_of

UNSURE = object()  # whether a target has a record, and which, is not known: a run was killed
SOURCES = [f"src/s{i}.txt" for i in range(4)] + ["src/sub/u0.txt", "src/sub/u1.txt", "src/sub/deep/v0.txt", "data/d0", "data/d1", "src/x.ign"]
KEEP = {"src/sub/keep.txt": b"keep\n", "data/keep": b"keep\n", "sub/keep": b"", "src/k.txt": b"k\n"}
LINKS = ["src/l0.txt", "src/l1.txt"]
HOWS = ("kill", "fault", "together", "during", "twice", "twice")
ERRORS = ("KILL", "KILL", "ENOSPC", "EIO")
TIMEOUT = 300 # seconds: of a run that hangs


class Wrong(AssertionError):
    """mlmake did something else than the model says."""


def tokens(rng):
    """Contents of equal length as a rule, and few of them, so that what was comes back."""
    return rng.choice(["", "FAIL\n"]) if rng.random() < 0.06 else f"{rng.randrange(4)}{rng.choice('abc')}\n"


class World:
    def __init__(self, seed, build, directory):
        rng = random.Random(seed)
        self.top = pathlib.Path(directory)
        shutil.rmtree(self.top, ignore_errors=True)
        self.root = self.top / "project"
        for name in ("project", "home", "tmp", "bin", "earlier"):
            (self.top / name).mkdir(parents=True)
        self.build = pathlib.Path(build)
        self.tick = rng.choice([0, 0, 0, 8, 40, 200, 2000])  # ms: how coarse the file system's times seem
        self.size = rng.choice([3, 5, 8, 11])
        self.next_fault = 1
        self.env = {"PATH": f"{self.top}/earlier:{self.top}/bin:/usr/bin:/bin", "HOME": str(self.top / "home"), "TMPDIR": str(self.top / "tmp"), "LC_ALL": "C",
                    "GIT_CONFIG_NOSYSTEM": "1"}
        for who in ("AUTHOR", "COMMITTER"):
            self.env.update({f"GIT_{who}_NAME": "A U Thor", f"GIT_{who}_EMAIL": "author@example.com"})
        self.facts = {"variables": {}, "var": None, "params": {"a": "0", "b": "0", "c.d": "{d: 0}"}, "tools": {}}
        self.comment = 0
        self.sources = {}
        self.records, self.cached, self.maybe_cached = {}, set(), set()
        self.branch, self.branches = "main", {}
        self.others = set()  # outputs of targets that no longer are
        self.log, self.last = [], None
        for path, content in KEEP.items():
            self.put(path, ("f", content, False))
        for path in SOURCES:
            self.put(path, ("f", tokens(rng).replace("FAIL", "fine").encode(), False))
        self.put("src/l0.txt", ("l", "s0.txt"))
        self.put("bin/.keep", ("f", b"", False))
        for which in ("local", "path"):
            self.set_tool(which, 0)
        self.write(".gitignore", "out/\ngen/\n*.ign\n" if rng.random() < 0.7 else "out/\n*.ign\n")
        self.graph = Graph([self.random_target(rng, i) for i in range(self.size)])
        self.write_config()
        self.write_params()
        if rng.random() < 0.4:
            self.git("init", "-q", "-b", "main")
            self.branches["main"] = None

    # --- the project on disk ---

    def write(self, path, text):
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(text)

    def put(self, path, node):
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        if full.is_symlink() or (full.exists() and node[0] == "l"):
            full.unlink()
        if node[0] == "l":
            full.symlink_to(node[1])
        else:
            full.write_bytes(node[1])
            full.chmod(0o755 if node[2] else 0o644)
        self.sources[path] = node

    def set_tool(self, which, number):
        """"earlier" is a program of the same name before it in PATH; number None: gone."""
        path = {"local": self.root / "bin/tool", "path": self.top / "bin/ptool", "earlier": self.top / "earlier/ptool"}[which]
        if number is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\necho tool {which} {number}\n")
            path.chmod(0o755)
        if which == "local":
            self.facts["tools"]["local"] = f"tool {which} {number}"
        else:
            first = self.top / "earlier/ptool"
            self.facts["tools"]["path"] = (first if first.exists() else self.top / "bin/ptool").read_text().split("echo ")[1].strip()

    def write_config(self):
        self.write("mlmake.yaml", self.graph.config())

    def write_params(self):
        values = self.facts["params"]
        self.write("params.yaml", "".join(f"{k.split('.')[0]}: {values[k]}\n" for k in ("a", "b", "c.d")) + f"# {self.comment}\n")

    def git(self, *args):
        subprocess.run(["git", *args], cwd=self.root, env=self.env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def scan(self, *tops):
        """The nodes below some directories of the project."""
        found = {}
        todo = [top for top in tops if os.path.lexists(self.root / top)]
        while todo:
            directory = todo.pop()
            with os.scandir(self.root / directory) as entries:
                for entry in entries:
                    path = f"{directory}/{entry.name}"
                    if entry.is_symlink():
                        found[path] = ("l", os.readlink(entry.path))
                    elif entry.is_dir():
                        found[path] = ("d",)
                        todo.append(path)
                    else:
                        with open(entry.path, "rb") as file:
                            found[path] = ("f", file.read(), bool(entry.stat().st_mode & 0o100))
        return found

    # --- random graphs and steps ---

    def random_target(self, rng, index):
        collector = index >= 3
        inputs = [rng.choice(SOURCES[:9] + list(PATTERNS)[:5] * 2 + LINKS[:1]) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
        if index and rng.random() < 0.75:
            inputs += [("out", rng.randrange(index), rng.choice(["main", "below"])) for _ in range(rng.choice([1, 1, 2]))]
        if collector and rng.random() < 0.3:
            inputs.append("gen/*.g")
        below = list(range(index))
        return {
            "index": index, "kind": rng.choice(KINDS if index else KINDS[:-1]), "inputs": list(dict.fromkeys(inputs)),
            "exclude": rng.choice(["src/s1.txt", "src/sub"]) if rng.random() < 0.2 else None,
            "needs": rng.sample(below, min(index, rng.choice([0, 0, 1, 2]))), "after": rng.sample(below, min(index, rng.choice([0, 0, 0, 1]))),
            "params": [k for k in ("a", "b", "c.d") if rng.random() < 0.15], "passes": [k for k in ("V1", "V2") if rng.random() < 0.15],
            "env": {k: str(rng.randrange(2)) for k in ("E0", "E1") if rng.random() < 0.15}, "salt": str(rng.randrange(3)),
            "var": rng.random() < 0.2, "tool": rng.choice(["local", "path"]) if rng.random() < 0.15 else None,
            "cache": rng.choice([True, True, True, False, "local"]), "always": rng.random() < 0.05, "dir": rng.random() < 0.15,
            "shell": rng.random() < 0.1, "gen": not collector and rng.random() < 0.5, "both": rng.random() < 0.5,
        }

    def random_edit(self, rng):
        declared = [out for t in self.graph.targets.values() for out in outputs_of(t)]
        outs = [path for path, node in self.scan("out", "gen").items() if node[0] != "d" and any(is_below(out, path) for out in declared)]
        fields = ["salt", "salt", "kind", "inputs", "needs", "env", "passes", "params", "cache", "always", "dir", "shell", "both", "exclude", "var"]
        index = rng.randrange(self.size)
        choices = [
            (30, lambda: ("write", rng.choice(SOURCES), tokens(rng), rng.choice(["new", "inplace", "inplace", "rename", "old"]))),
            (5, lambda: ("touch", rng.choice(SOURCES))),
            (4, lambda: ("back", rng.choice(SOURCES))),
            (6, lambda: ("chmod", rng.choice(SOURCES))),
            (4, lambda: ("delete", rng.choice(SOURCES[:9]))),
            (4, lambda: ("link", rng.choice(LINKS), f"s{rng.randrange(5)}.txt")),
            (8, lambda: ("target", index, rng.choice(fields), self.random_target(rng, index))),
            (3, lambda: ("flip", index, rng.choice(["dir", "shell"]))),
            (2, lambda: ("target", index, None, self.random_target(rng, index))),
            (1, lambda: ("drop", index)),
            (3, lambda: ("var", str(rng.randrange(3)))),
            (2, lambda: ("global", {"E0": str(rng.randrange(3))} if rng.random() < 0.7 else {})),
            (5, lambda: ("param", rng.choice(["a", "b", "c.d"]), rng.randrange(3))),
            (2, lambda: ("comment", rng.randrange(100))),
            (4, lambda: ("variable", rng.choice(["V1", "V2"]), rng.choice([None, "0", "1"]))),
            (3, lambda: ("tool", rng.choice(["local", "path"]), rng.randrange(3))),
            (3, lambda: ("tool", "earlier", rng.choice([None, 0, 1]))),
            (1, lambda: ("forget", rng.choice(["state", "state", "cache", "snapshots"]))),
            (4, lambda: ("damage", rng.randrange(1000))),
        ]
        if outs:
            choices.append((10, lambda: ("output", rng.choice(outs), rng.choice(["edit", "same", "delete", "chmod", "link", "dir", "touch"]))))
        pairs = [t["index"] for t in self.graph.targets.values() if t["kind"] == "pair"]
        if pairs:
            choices.append((4, lambda: ("declare", rng.choice(pairs))))
        if self.branches:
            choices.append((7, lambda: ("branch", rng.choice(["main", "a", "b"]))))
        weights = [weight for weight, _ in choices]
        return rng.choices(choices, weights)[0][1]()

    def random_step(self, rng):
        indexes = sorted(self.graph.targets)
        names = [name_of(i) for i in rng.sample(indexes, min(len(indexes), rng.choice([1, 1, 2, 3])))]
        again = [n for n in self.last["names"] if int(n[1:]) in self.graph.targets] if self.last and rng.random() < 0.4 else []
        if again:
            names = again
        elif rng.random() < 0.35:
            names = [name_of(i) for i in indexes]
        how = rng.choice(HOWS) if rng.random() < 0.28 else "run"
        step = {"edits": [self.random_edit(rng) for _ in range(rng.choice([0, 1, 1, 1, 2, 3]))], "how": how, "names": names, "flags": [], "args": []}
        if how == "kill":
            step["after"] = rng.random() ** 2 * 0.03
        elif how == "fault":
            step["fault"] = f"any:{rng.choice(ERRORS)}:{rng.randrange(1, 160)}"
        elif how == "during":
            step.update(after=rng.random() * 0.012, edit=("comment", 0))
            while step["edit"][0] not in ("write", "chmod", "delete", "link", "touch"):
                step["edit"] = self.random_edit(rng)
            if rng.random() < 0.3:
                step["edit"] = ("write", rng.choice(["src/n.txt", "src/sub/n.txt", "data/n"]), tokens(rng), "new")
            step["undo"] = rng.random() < 0.6
            if rng.random() < 0.4:
                # What is younger than the clock's tick may change without a trace.
                path, letters = rng.choice(SOURCES[:9]), rng.sample("abc", 2)
                step["edits"].append(("write", path, f"{rng.randrange(4)}{letters[0]}\n", "inplace"))
                step.update(edit=("write", path, f"{rng.randrange(4)}{letters[1]}\n", "inplace"), undo=rng.random() < 0.8, names=[name_of(i) for i in indexes])
        elif how == "twice":
            step["edit"] = ("write", rng.choice(SOURCES[:9]), f"{rng.randrange(4)}{rng.choice('abc')}\n", "inplace")
        elif how == "together":
            step["more"] = [[name_of(i) for i in rng.sample(indexes, rng.randrange(1, len(indexes) + 1))] for _ in range(rng.choice([1, 1, 2]))]
        else:
            flags = ["-k"] if rng.random() < 0.5 else []
            flags += rng.choices([[], ["-j1"], ["-j4"], ["--no-cache"], ["-B"], ["vars.v=9"], ["-v"]], [20, 4, 4, 2, 1, 3, 2])[0]
            step["flags"] = flags
            if rng.random() < (0.25 if again else 0.1):
                step["args"] = [rng.choice(["x", "a b", "$y;"]) for _ in range(rng.choice([1, 2]))]
        step["ask"] = rng.choice(["", "", "", "-n", "-n", "-q"])
        step["again"] = rng.choice(["run", "run", "-n", "-q"])
        step["clean"] = rng.random() < 0.012
        if how == "run" and rng.random() < 0.2:
            step.update(settle=True, ask="", then=[self.random_edit(rng) for _ in range(rng.choice([0, 1, 1]))])
            passed = sorted({name for t in self.graph.targets.values() for name in t["passes"]})
            if passed and rng.random() < 0.3:
                step["edits"] = [("variable", rng.choice(passed), rng.choice([None, "0", "1"]))]
        if again and how == "run" and rng.random() < 0.5:
            step["flags"], step["args"] = self.last["flags"], self.last["args"]
        self.last = step
        return step

    # --- edits ---

    def edit(self, edit):
        getattr(self, "edit_" + edit[0])(*edit[1:])

    def edit_write(self, path, text, way):
        old = self.sources.get(path)
        full, content = self.root / path, text.encode()
        executable = bool(old and old[2]) and way in ("new", "inplace", "old")
        full.parent.mkdir(parents=True, exist_ok=True)
        if way == "inplace" and old and len(old[1]) == len(content):
            with open(full, "r+b") as file:
                file.write(content)
        elif way == "rename":
            temporary = full.with_name("tmp.ign")
            temporary.write_bytes(content)
            temporary.rename(full)
        else:
            full.write_bytes(content)
            if way == "old":
                os.utime(full, (1, 1))
        self.sources[path] = ("f", content, executable)

    def edit_touch(self, path):
        if path in self.sources:
            os.utime(self.root / path)

    def edit_back(self, path):
        if path in self.sources:
            os.utime(self.root / path, (1000, 1000))

    def edit_chmod(self, path):
        node = self.sources.get(path)
        if node:
            (self.root / path).chmod(0o644 if node[2] else 0o755)
            self.sources[path] = ("f", node[1], not node[2])

    def edit_delete(self, path):
        if self.sources.pop(path, None):
            (self.root / path).unlink()

    def edit_link(self, path, text):
        self.put(path, ("l", text))

    def change(self, targets, **kw):
        """Another graph; what targets made that no longer make it goes."""
        before = {out for t in self.graph.targets.values() for out in outputs_of(t)}
        values = {"var": self.graph.var, "env": self.graph.env, **kw}
        self.graph = Graph(sorted(targets, key=lambda t: t["index"]), **values)
        for out in before - {out for t in self.graph.targets.values() for out in outputs_of(t)}:
            self.remove(out)
        self.write_config()

    def remove(self, path):
        full = self.root / path
        if full.is_dir() and not full.is_symlink():
            shutil.rmtree(full)
        else:
            full.unlink(missing_ok=True)

    def edit_target(self, index, field, new):
        targets = dict(self.graph.targets)
        old = targets.get(index)
        targets[index] = new if old is None or field is None else {**old, field: new[field]}
        self.change(targets.values())

    def edit_flip(self, index, field):
        target = self.graph.targets.get(index)
        if target:
            self.edit_target(index, field, {field: not target[field]})

    def edit_declare(self, index):
        """Declares the second file that the command makes all the time, or no longer does."""
        target = self.graph.targets.get(index)
        if target:
            self.change([t for t in self.graph.targets.values() if t["index"] != index] + [{**target, "both": not target["both"]}])

    def edit_drop(self, index):
        if len(self.graph.targets) > 2:
            self.change([t for t in self.graph.targets.values() if t["index"] != index])

    def edit_var(self, value):
        self.change(self.graph.targets.values(), var=value)

    def edit_global(self, env):
        self.change(self.graph.targets.values(), env=env)

    def edit_param(self, key, value):
        self.facts["params"][key] = f"{{d: {value}}}" if "." in key else str(value)
        self.write_params()

    def edit_comment(self, number):
        self.comment = number
        self.write_params()

    def edit_variable(self, name, value):
        for where in (self.facts["variables"], self.env):
            where.pop(name, None)
            if value is not None:
                where[name] = value

    def edit_tool(self, which, number):
        self.set_tool(which, number)

    def edit_forget(self, what):
        if what == "cache":
            shutil.rmtree(self.top / "home/.cache", ignore_errors=True)
            self.cached, self.maybe_cached = set(), set()
        else:
            shutil.rmtree(self.root / (".mlmake" if what == "state" else ".mlmake/snapshots"), ignore_errors=True)
            self.records = {} if what == "state" else self.records

    def edit_damage(self, number):
        """One file of the output cache holds something else, or all objects do."""
        files = sorted(p for p in (self.top / "home/.cache").rglob("*") if p.is_file() and p.stat().st_size)
        for path in [p for p in files if "/objects/" in str(p)] if number % 2 else files[number % len(files):][:1] if files else []:
            content = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        self.maybe_cached |= self.cached
        self.cached = set()

    def edit_output(self, path, way):
        full = self.root / path
        if not os.path.lexists(full) or full.is_dir():
            return
        if way == "touch" and not full.is_symlink():
            os.utime(full)
        elif way == "chmod" and not full.is_symlink():
            full.chmod(full.stat().st_mode ^ 0o100)
        elif way == "same" and not full.is_symlink():
            with open(full, "r+b") as file:
                content = file.read()
                file.seek(0)
                file.write(content[::-1])
        elif way in ("edit", "delete", "link", "dir"):
            full.unlink()
            if way == "edit":
                full.write_text("edited\n")
            elif way == "link":
                full.symlink_to("elsewhere")
            elif way == "dir":
                full.mkdir()

    def edit_branch(self, name):
        """Commits what is there and checks another branch out; what git ignores stays."""
        if not self.branches or name == self.branch:
            return
        # git does not see a second change to an old time within a second: without its index it reads all.
        (self.root / ".git/index").unlink(missing_ok=True)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "a step")
        self.branches[self.branch] = (dict(self.sources), self.graph, dict(self.facts["params"]), self.comment, self.facts["tools"]["local"])
        new = name not in self.branches
        self.git("checkout", "-q", *(["-b"] if new else []), name)
        self.branch = name
        if new:
            return
        ignored = {path: node for path, node in self.sources.items() if path.endswith(".ign")}
        sources, graph, params, comment, tool = self.branches[name]
        self.sources = {**{p: n for p, n in sources.items() if not p.endswith(".ign")}, **ignored}
        self.graph, self.comment = graph, comment
        self.facts["params"], self.facts["tools"]["local"] = dict(params), tool

    # --- what a run must do ---

    def tree(self):
        return {**self.sources, **self.scan("out", "gen")}

    def predict(self, names, args=(), flags=(), ask=False):
        """What a run of names would do from here, and the world after it."""
        plan = {"acts": {}, "failed": set(), "skipped": set(), "missing": None, "tree": self.tree(), "records": dict(self.records),
                "cached": set(self.cached), "maybe": set(self.maybe_cached), "direct": set(), "always": set(), "upstream": {}}
        facts = {**self.facts, "var": next((f.split("=")[1] for f in flags if f.startswith("vars.v=")), None)}
        results, acting = {}, set()
        for index in self.graph.closure(names):
            target = self.graph.targets[index]
            before = set(self.graph.needs_of(target)) | set(self.graph.makers_of(target))
            plan["upstream"][index] = before
            if (before | set(target["after"])) & (plan["failed"] | plan["skipped"]):
                plan["skipped"].add(index)
                continue
            if target["kind"] == "alias":
                below = [results[i] for i in self.graph.needs_of(target)]
                results[index] = ("alias", tuple(below)) if any(r is not None for r in below) else None
                if before & acting:
                    acting.add(index)
                continue
            missing = self.graph.missing_input(target, plan["tree"])
            if missing:
                # The others may run all the same, and what they make is in the cache then.
                plan["missing"] = missing
                plan["skipped"].add(index)
                continue
            own = args if names and name_of(index) == names[-1] else ()
            if self.decide(plan, target, facts, own, results, flags):
                if not before & acting:
                    plan["direct"].add(index)
                acting.add(index)
        return plan

    def has_inputs(self, target):
        return target["kind"] != "void" and bool(self.graph.inputs_of(target) or target["params"] or target["exclude"])

    def always(self, target, results):
        if target["always"]:
            return True
        return not (self.has_inputs(target) or outputs_of(target) or any(results[i] is not None for i in self.graph.needs_of(target)))

    def decide(self, plan, target, facts, args, results, flags):
        """Whether the target acts (for sure or perhaps); plan becomes what is so after it."""
        index, tree = target["index"], plan["tree"]
        key = self.graph.key(target, tree, facts, args, results)
        always = self.always(target, results)
        if always:
            plan["always"].add(index)
        force = "-B" in flags
        record = plan["records"].get(index)
        uses_cache = target["cache"] is not False and not target["always"] and "--no-cache" not in flags
        results[index] = None
        if record and record is not UNSURE and not always and not force and record == (key, manifest(target, tree)):
            results[index] = record[1] or None
            return False
        sure = record is not UNSURE or always or force
        how = "run"
        if uses_cache and not always and not force and key in plan["maybe"] | plan["cached"]:
            how = "restore" if key in plan["cached"] else "either"
        plan["acts"][index] = how if sure else "perhaps"
        try:
            made = self.graph.make(target, tree, facts, args)
        except Failed as failure:
            made = failure.partial
            plan["failed"].add(index)
        for path in [p for p in tree if any(is_below(out, p) for out in outputs_of(target))]:
            del tree[path]
        tree.update(made)
        if index in plan["failed"]:
            return True
        made = manifest(target, tree)
        results[index] = made or None
        plan["records"][index] = (key, made)
        if uses_cache and (self.has_inputs(target) or outputs_of(target)):
            plan["cached" if sure else "maybe"].add(key)
        return True

    def accept(self, plan, sure):
        """The run took place. Not sure: it may have ended anywhere."""
        if sure:
            self.records, self.cached, self.maybe_cached = plan["records"], plan["cached"], plan["maybe"]
            return
        for index in plan["upstream"]:
            if self.graph.targets[index]["kind"] != "alias":
                self.records[index] = UNSURE
        self.maybe_cached |= plan["cached"] | plan["maybe"]

    # --- running ---

    def argv(self, step, names, *more, fault=False):
        program = self.build / ("mlmake-fault" if self.tick or fault else "mlmake")
        return [str(program), *more, *step["flags"], *names, *(["--", *step["args"]] if step["args"] else [])]

    def environment(self, **more):
        return {**self.env, **({"MLMAKE_FAULT_TICK_MS": str(self.tick)} if self.tick else {}), **more}

    def start(self, argv, **env):
        return subprocess.Popen(argv, cwd=self.root, env=self.environment(**env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def finish(self, process):
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Wrong(f"{process.args} is still running after {TIMEOUT} s\n{err.decode()}") from None
        said = Said(process.args, process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
        self.log.append(said)
        return said

    def call(self, argv, **env):
        return self.finish(self.start(argv, **env))

    def ran(self):
        """The targets whose commands began since the last call."""
        path = self.top / "tmp/ran"
        lines = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return [int(line[1:]) for line in lines]

    # --- steps ---

    def step(self, step):
        self.log = []
        if "settle" in step and all(int(n[1:]) in self.graph.targets for n in step["names"]):
            self.settle(step)
        for edit in step["edits"]:
            self.edit(edit)
        step = {**step, "names": [n for n in step["names"] if int(n[1:]) in self.graph.targets]}
        if not step["names"]:
            return
        if step["how"] != "run":
            getattr(self, "step_" + step["how"])(step)
        elif step["ask"]:
            self.check_asked(step, step["ask"])
        self.check_run(step)
        if step.get("then"):
            for edit in step["then"]:
                self.edit(edit)
            if all(int(n[1:]) in self.graph.targets for n in step["names"]):
                self.check_run(step)
        if step["clean"]:
            self.check_clean(step)

    def settle(self, step):
        """Asks until there is nothing to do and all files are old enough for the answer to be kept, so that the next run goes on from that."""
        for _ in range(3):
            self.check_run({**step, "again": "none", "flags": [f for f in step["flags"] if f != "-B"]})
            time.sleep(0.006)

    def check_run(self, step):
        plan = self.predict(step["names"], step["args"], step["flags"])
        said = self.call(self.argv(step, step["names"]))
        self.check_outcome(plan, step, said)
        if said.code == 0 and step["again"] != "none":
            self.check_again(step)

    def check_outcome(self, plan, step, said):
        ran = self.ran()
        if plan["missing"] or plan["failed"]:
            codes = {1, 2} if plan["missing"] else {1}
            self.expect(said.code in codes, f"exit code {said.code}, not {codes}: {plan['failed']} fail, {plan['missing']} is missing")
            sure = not plan["missing"] and "-k" in step["flags"]
            if sure:
                self.check_acts(plan, ran, said)
                self.check_tree(plan)
            self.accept(plan, sure)
            return
        self.expect(said.code == 0, f"exit code {said.code}")
        self.check_acts(plan, ran, said)
        self.check_tree(plan)
        self.accept(plan, True)

    def check_acts(self, plan, ran, said):
        restored = said.restored()
        for index in plan["upstream"]:
            how = plan["acts"].get(index)
            times = ran.count(index), restored.count(index)
            fits = {None: [(0, 0)], "run": [(1, 0)], "restore": [(0, 1)], "either": [(1, 0), (0, 1)], "perhaps": [(0, 0), (1, 0), (0, 1)]}[how]
            self.expect(times in fits, f"{name_of(index)} ran {times[0]} times and was restored {times[1]} times; the model says: {how or 'up to date'}")
        self.expect(set(ran + restored) <= set(plan["upstream"]), f"something ran that nobody asked for: {ran} {restored}")

    def check_tree(self, plan):
        actual = self.scan("out", "gen")
        for index in plan["upstream"]:
            for out in outputs_of(self.graph.targets[index]):
                want = {p: n for p, n in plan["tree"].items() if is_below(out, p)}
                have = {p: n for p, n in actual.items() if is_below(out, p)}
                self.expect(want == have, f"{out} of {name_of(index)} is\n  {have}\nand should be\n  {want}")

    def check_asked(self, step, option):
        """-n and -q say what would run, and run nothing."""
        plan = self.predict(step["names"], step["args"], step["flags"])
        said = self.call(self.argv(step, step["names"], option))
        self.expect(not self.ran(), f"{option} ran something")
        if plan["missing"] or (plan["failed"] and said.code == 2):
            # Behind what would run first, it is not looked at yet.
            self.expect(said.code in (0, 1, 2), f"{option} gives {said.code} where {plan['missing']} is missing")
            return
        acts = plan["acts"]
        sure = {i for i, how in acts.items() if how != "perhaps"}
        if option == "-q":
            self.expect(said.code in (({1} if acts else {0}) if sure == set(acts) else {0, 1}), f"-q gives {said.code}; the model: {acts}")
            return
        told = said.would_run()
        direct = plan["direct"] & sure
        self.expect(said.code == 0, f"-n gives {said.code}")
        self.expect(direct <= told, f"-n does not name {direct - told}, which will act")
        if not plan["failed"]:
            self.expect(sure <= told, f"-n does not name {sure - told}, which will act")
        for index in told - set(acts) - plan["skipped"]:
            self.expect(self.reaches(plan, index, set(acts)), f"-n names {name_of(index)}, which neither acts nor waits for what does; the model: {acts}")

    @staticmethod
    def reaches(plan, index, goal):
        todo, seen = [index], set()
        while todo:
            for above in plan["upstream"][todo.pop()] - seen:
                if above in goal:
                    return True
                seen.add(above)
                todo.append(above)
        return False

    def check_again(self, step):
        """The same again does nothing, but for what always runs."""
        if "-B" in step["flags"]:
            step = {**step, "flags": [f for f in step["flags"] if f != "-B"]}
        if step["again"] in ("-n", "-q"):
            self.check_asked(step, step["again"])
            return
        for _ in range(2):
            plan = self.predict(step["names"], step["args"], step["flags"])
            said = self.call(self.argv(step, step["names"]))
            self.expect(said.code == 0, f"the second run gives {said.code}")
            acts = set(plan["acts"]) - plan["always"]
            self.expect(not acts, f"the model itself would run {acts} again")
            self.check_acts(plan, self.ran(), said)
            self.accept(plan, True)
            if plan["acts"]:
                break

    def step_kill(self, step):
        plan = self.predict(step["names"])
        process = self.start(self.argv(step, step["names"]))
        time.sleep(step["after"])
        process.send_signal(signal.SIGKILL)
        self.finish_unsure(process, plan)

    def step_fault(self, step):
        plan = self.predict(step["names"])
        process = self.start(self.argv(step, step["names"], fault=True), MLMAKE_FAULT=step["fault"])
        said = self.finish_unsure(process, plan)
        # What could not be read or copied may have been taken for damaged, and dropped.
        self.maybe_cached |= self.cached
        self.cached = set()
        self.expect(said.code in (0, 1, 2, 3, -9), f"with {step['fault']} the exit code is {said.code}")
        if said.code == 0:
            self.expect(not plan["failed"] and not plan["missing"], f"with {step['fault']} it says that all is well, and {plan['failed']} fail")
            self.check_tree(plan)

    def finish_unsure(self, process, plan):
        """Not reading to the end of its output: what a killed run left running may hold it open."""
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Wrong(f"{process.args} is still running after {TIMEOUT} s") from None
        os.set_blocking(process.stderr.fileno(), False)
        said = Said(process.args, process.returncode, "", (process.stderr.read() or b"").decode(errors="replace"))
        process.stdout.close()
        process.stderr.close()
        self.log.append(said)
        self.accept(plan, False)
        self.ran()
        return said

    def step_during(self, step):
        plan = self.predict(step["names"])
        path = step["edit"][1]
        old = self.sources.get(path)
        process = self.start(self.argv(step, step["names"]))
        time.sleep(step["after"])
        self.edit(step["edit"])
        said = self.finish(process)
        self.expect(said.code in (0, 1, 2), f"with an edit meanwhile the exit code is {said.code}")
        meanwhile = self.predict(step["names"])  # what it may have made if it began after the edit
        self.maybe_cached |= meanwhile["cached"] | meanwhile["maybe"]
        if step["undo"] and old:
            self.put(path, old)
        elif step["undo"]:
            self.edit_delete(path)
        after = self.predict(step["names"])
        self.accept(plan, False)
        self.maybe_cached |= after["cached"]
        self.ran()

    def step_twice(self, step):
        """The same file again right after the run that read it, as long as before: within a tick nothing tells."""
        _, path, text, way = step["edit"]
        self.edit(("write", path, text[::-1].strip() + "\n", way))
        self.check_run({**step, "again": "run" if step["again"] == "run" else "none"})
        self.edit(step["edit"])

    def step_together(self, step):
        groups = [[n for n in names if int(n[1:]) in self.graph.targets] for names in [step["names"], *step["more"]]]
        groups = [names for names in groups if names]
        plan = self.predict([name for names in groups for name in names])
        processes = [self.start(self.argv(step, names)) for names in groups]
        said = [self.finish(process) for process in processes]
        ran = self.ran()
        if plan["missing"] or plan["failed"]:
            self.accept(plan, False)
            return
        self.expect(all(s.code == 0 for s in said), f"together they give {[s.code for s in said]}")
        self.check_tree(plan)
        restored = [index for s in said for index in s.restored()]
        for index in plan["upstream"]:
            if index in plan["always"] or plan["acts"].get(index) == "perhaps":
                continue
            times = ran.count(index) + restored.count(index)
            self.expect(times == (index in plan["acts"]), f"together they made {name_of(index)} {times} times; the model: {plan['acts'].get(index)}")
        self.accept(plan, True)

    def check_clean(self, step):
        """A copy without outputs, state and cache comes to the same bytes."""
        other = self.top / "clean"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(self.root, other / "project", symlinks=True, ignore=shutil.ignore_patterns(".mlmake", ".git"))
        (other / "tmp").mkdir()
        indexes = [i for i in self.graph.closure(step["names"])]
        outs = [out for t in self.graph.targets.values() for out in outputs_of(t)]
        for out in outs:
            path = other / "project" / out
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        plan = self.predict(step["names"], step["args"], step["flags"])
        if plan["missing"] or plan["failed"]:
            return
        argv = [str(self.build / "mlmake"), "--no-cache", *[f for f in step["flags"] if f.startswith("vars.")], *step["names"]]
        argv += ["--", *step["args"]] if step["args"] else []
        result = subprocess.run(argv, cwd=other / "project", env={**self.env, "TMPDIR": str(other / "tmp")}, stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=TIMEOUT, check=False)
        self.expect(result.returncode == 0, f"a clean rebuild gives {result.returncode}: {result.stderr.decode(errors='replace')}")
        here, self.root = self.root, other / "project"
        fresh = self.scan("out", "gen")
        self.root = here
        have = self.scan("out", "gen")
        for index in indexes:
            target = self.graph.targets[index]
            self.expect(manifest(target, fresh) == manifest(target, have), f"a clean rebuild makes {name_of(index)} otherwise:\n"
                        f"  {manifest(target, fresh)}\nnot\n  {manifest(target, have)}")

    def expect(self, holds, message):
        if not holds:
            raise Wrong(message)


class Said:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def restored(self):
        return [int(line.split(" ... ")[0].rsplit("t", 1)[1]) for line in self.err.split("\n") if line.endswith("... restored from the cache")]

    def would_run(self):
        return {int(line.split(":")[0][1:]) for line in self.out.split("\n") if ": would run: " in line}

    def __str__(self):
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}exit code {self.code}"
