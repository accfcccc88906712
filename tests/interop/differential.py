"""Two repositories that begin alike. At each step one is worked on by dvc, the other by mlmake, and which does which
changes at random; then both must hold the same files, records and objects, and both tools must say the same of them.

    python tests/interop/differential.py --seed 7 --count 100     sequences 7..106
    python tests/interop/differential.py --seed 42 --verbose      one sequence, each step shown

Where mlmake differs on purpose the difference has a name here (DIFFERENCES), which is the beginning of a row in
docs/dvc-compat.md. Any other is a failure. After a difference the repository that dvc worked on is made like the other.
"""
import argparse
import collections
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from conftest import BUILD, clean_env, find_peer  # noqa: E402  pylint: disable=wrong-import-position

# Not here, because dvc itself gets them wrong (docs/dvc-compat.md): [ ] in directories, U+2028, a lone ~.
NAMES = [
    "plain.csv", "two words", "q'uote", 'double"quote', "both'\"", "uni\u00e7\u00f8d\u00e9", "nfd-e\u0301", "astral-\U0001f600", "-dash", "--long",
    "12345", "017", "1e3", "0x1f", "1_000", "2024-01-01", "true", "null", "~", "no", "a: b", "colon:", "#hash", "sp #hash", "[x]", "{x}",
    "!bang", "*star", "?mark", "&amp", "%pct", "@at", "`tick", "|pipe", ">gt", "a,b", "= x", "<<", "back\\slash", ".hidden", "1:30",
    "word " * 12 + "end", "x" * 120, "tab\there", "new\nline", "trail ", " lead", "ends.", "a", "a.b", "A", "CON", "\x7f",
]
DIRS = ["", "", "", "sub", "deep/er dir", "sub/it's: &new"]
CONTENTS = ["", "x", "same\n", "a\r\nb\r\n", "0123456789" * 30, "\0\1\2"]

# Beginnings of rows of docs/dvc-compat.md.
DIFFERENCES = {
    "mode": "the executable bit of tracked files",
    "gitignore": "`.gitignore` line for a name that ends in a space or holds a line break",
    "stale-line": "`remove`, `move`: escaped lines in `.gitignore`",
    "refused": "`checkout` over changed or untracked files",
    "untracked": "`checkout` over changed or untracked files",
    "empty": "`checkout` of a directory with empty directories in it",
    "left": "`checkout` where no record names the data any more",
    "link": "`add` of a symbolic link to a file",
    "unknown": "`status --granular` of a directory whose manifest is nowhere",
    "nowhere": "data that is nowhere",
    "moved": "`move` of changed data",
    "refusal": "`gc` and a record or manifest that cannot be read",
    "index": "`gc -w` (and other narrow scopes)",
    "ignored": "a rule of `.dvcignore` that matches an output",
    "dangling": "`checkout` where `cache.type` is `symlink` and an object is not in the cache",
    "was-exec": "`checkout` of a file that was recorded as executable before",
    "lost-link": "`remove` of an output that is a link to a lost object",
    "anew": "`move` of an output whose `.dvc` was edited",
}
# So rare that a thousand sequences may not meet them.
RARE = {"ignored", "dangling", "was-exec", "lost-link", "anew"}


class Failure(Exception):
    pass


class Over(Exception):
    """dvc does nothing in this repository any more."""


def nameable(out):
    """Whether dvc takes it for a path: a backslash is a slash to it, @ and : belong to stages, a line break to nothing."""
    return not set(out) & set("\\@:\n")


class Server:
    """The real dvc, warm (dvc_server.py)."""

    def __init__(self, scratch, env):
        python = pathlib.Path(find_peer("dvc")).parent / "python"
        self.process = subprocess.Popen([python, HERE / "dvc_server.py", str(scratch), json.dumps(env)], env=env, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, errors="surrogateescape")
        if not self.process.stdout.readline():
            raise RuntimeError("dvc did not start")

    def run(self, cwd, argv):
        self.process.stdin.write(json.dumps({"argv": argv, "cwd": str(cwd)}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def read_tree(root, skip=()):
    """rel -> what is there: ("dir",), ("link", target) or ("file", executable, bytes)."""
    found = {}

    def visit(directory, prefix):
        with os.scandir(directory) as entries:
            for entry in entries:
                rel = prefix + entry.name
                if rel in skip:
                    continue
                if entry.is_symlink():
                    found[rel] = ("link", os.readlink(entry.path))
                elif entry.is_dir(follow_symlinks=False):
                    found[rel] = ("dir",)
                    visit(entry.path, rel + "/")
                else:
                    with open(entry.path, "rb") as f:
                        found[rel] = ("file", bool(entry.stat().st_mode & stat.S_IXUSR), f.read())
    visit(root, "")
    return found


class Twin:
    def __init__(self, path, env):
        self.path, self.env = path, env

    def tree(self):
        found = read_tree(self.path, (".git", ".mlmake", ".dvc/tmp", ".dvc/cache", ".dvc/config.local"))
        for rel, entry in found.items():
            if entry[0] == "link" and entry[1].startswith(f"{self.path}/"):
                found[rel] = ("link", "ROOT/" + os.path.relpath(entry[1], self.path))
        return found

    def cache(self):
        return self.store(self.path / ".dvc/cache/files/md5")

    def store(self, root):
        if not root.exists():
            return {}
        return {rel: (oct(os.stat(root / rel).st_mode & 0o666), hashlib.md5(entry[2]).hexdigest())
                for rel, entry in read_tree(root).items() if entry[0] == "file"}

    def group_modes(self):
        """Modes of the cache's directories, for shared = group."""
        root = self.path / ".dvc/cache/files/md5"
        return {rel: oct(os.stat(root / rel).st_mode) for rel, entry in read_tree(root).items() if entry[0] == "dir"} if root.exists() else {}

    def git(self, *argv):
        done = subprocess.run(["git", *argv], cwd=self.path, env=self.env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"git {argv}: {done.stderr}")
        return done.stdout


class Sequence:
    """One seed's steps."""

    def __init__(self, seed, base, server, env, template, verbose=False):
        self.seed, self.server, self.env, self.verbose = seed, server, env, verbose
        self.rng = random.Random(seed)
        self.base = base / f"seq-{seed}"
        self.twins = []
        self.log = []
        self.seen = collections.Counter()
        self.commits = 0
        self.excused = None  # why dvc failed in this step, and so all that it left undone
        # What dvc reads from git's trees it takes for URLs: outputs with these names stay uncommitted.
        self.odd_names = self.rng.random() < 0.3
        self.links = self.rng.choice(["copy"] * 6 + ["hardlink", "symlink"])
        self.shared = self.rng.random() < 0.2
        for name in ("a", "b"):
            path = self.base / name / "work"
            shutil.copytree(template, path, symlinks=True)
            self.twins.append(Twin(path, env))
            config = "[core]\n    remote = store\n"
            config += f"[cache]\n    type = {self.links}\n" + ("    shared = group\n" if self.shared else "")
            config += "['remote \"store\"']\n    url = ../../store\n"
            (path / ".dvc/config").write_text(config)
            os.makedirs(self.base / name / "store", exist_ok=True)

    # ---- what is there, by twin a (both are alike between steps)

    def root(self):
        return self.twins[0].path

    def outs(self):
        found = []
        for rel, entry in sorted(self.twins[0].tree().items()):
            if entry[0] == "file" and rel.endswith(".dvc") and not rel.startswith(".dvc/") and os.path.basename(rel) != ".dvc":
                found.append(rel[:-4])
        return found

    def files(self, below):
        root = self.root() / below
        if root.is_file() or root.is_symlink():
            return [below]
        return sorted(f"{below}/{rel}" for rel, e in read_tree(root).items() if e[0] != "dir") if root.is_dir() else []

    # ---- changes to both, by hand

    def write(self, rel, content, mode=None):
        self.log.append(f"write {rel!r} {content[:20]!r}{f' {mode:o}' if mode else ''}")
        for twin in self.twins:
            path = twin.path / rel
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink() or path.exists():
                path.unlink()  # never through a link into the cache
            path.write_bytes(content.encode())
            if mode:
                path.chmod(mode)

    def each(self, what, action):
        self.log.append(what)
        for twin in self.twins:
            action(twin.path)

    def content(self):
        return self.rng.choice(CONTENTS) if self.rng.random() < 0.5 else f"{self.rng.random()}\n" * self.rng.randrange(1, 20)

    def new_name(self):
        for _ in range(50):
            rel = "/".join(filter(None, (self.rng.choice(DIRS), self.rng.choice(NAMES))))
            if rel == "~" or (not self.odd_names and set(rel) & set("#?[\n\t")):
                continue
            if not os.path.lexists(self.root() / rel) and not os.path.lexists(self.root() / (rel + ".dvc")):
                return rel
        return f"fresh{self.rng.random()}"

    def make_dir(self, rel):
        count = self.rng.choice([0, 1, 3, 6])
        if not count:
            self.each(f"mkdir {rel!r}", lambda root: (root / rel).mkdir(parents=True, exist_ok=True))
        for _ in range(count):
            self.write(self.member_of(rel), self.content(), self.rng.choice([None, None, None, 0o755]))
        if self.rng.random() < 0.2:
            self.each(f"mkdir {rel + '/void'!r}", lambda root: (root / rel / "void").mkdir(parents=True, exist_ok=True))
        if self.rng.random() < 0.1:
            self.write(f"{rel}/.gitignore", "*.pyc\n")

    def member_of(self, rel):
        for _ in range(20):
            member = "/".join([rel, *self.rng.choice([[], [], ["s"], ["s", "t u"]]), self.rng.choice(NAMES)])
            if not any(os.path.lexists(self.root() / p) and not os.path.isdir(self.root() / p)
                       for p in [str(p) for p in pathlib.PurePosixPath(member).parents]) and not os.path.isdir(self.root() / member):
                return member
        return f"{rel}/m{self.rng.random()}"

    def edit(self):
        outs = self.outs()
        if not outs or self.rng.random() < 0.15:
            rel = self.new_name()
            if self.rng.random() < 0.5:
                self.write(rel, self.content(), self.rng.choice([None, None, 0o755]))
            else:
                self.make_dir(rel)
            return rel
        out = self.rng.choice(outs)
        path = self.root() / out
        files = self.files(out)
        choice = self.rng.random()
        if path.is_dir() and choice < 0.35:
            self.write(self.member_of(out), self.content())
        elif files and choice < 0.6:
            self.write(self.rng.choice(files), self.content())
        elif files and choice < 0.75:
            victim = self.rng.choice(files)
            self.each(f"rm {victim!r}", lambda root: (root / victim).unlink())
        elif files and choice < 0.85 and path.is_dir():
            victim, to = self.rng.choice(files), self.member_of(out)
            if not os.path.lexists(self.root() / to):
                def rename(root):
                    (root / to).parent.mkdir(parents=True, exist_ok=True)
                    (root / victim).rename(root / to)
                self.each(f"mv {victim!r} {to!r}", rename)
        elif choice < 0.88 and path.is_dir():
            to, target = self.member_of(out), f"{self.rng.random()}"
            self.write(f"outside/{target}", self.content())
            if not os.path.lexists(self.root() / to):
                def link(root):
                    (root / to).parent.mkdir(parents=True, exist_ok=True)
                    (root / to).symlink_to(os.path.relpath(root / "outside" / target, (root / to).parent))
                self.each(f"ln -s outside/{target} {to!r}", link)
        elif choice < 0.95:
            self.each(f"rm -r {out!r}", lambda root: shutil.rmtree(root / out) if (root / out).is_dir() and not (root / out).is_symlink()
                      else (root / out).unlink(missing_ok=True))
        else:
            rel = self.rng.choice(["", "sub/", "deep/"]) + ".dvcignore"
            self.write(rel, self.rng.choice(["*.tmp\n", "# none\n", "ends.\n", "/s\n!s/keep\n", "  *.b  \n"]))
        return None

    # ---- commands

    def run(self, tool, twin, argv):
        """argv: of both tools alike, or {tool: argv}."""
        argv = argv[tool] if isinstance(argv, dict) else argv
        if tool == "dvc":
            return self.server.run(twin.path, argv)
        done = subprocess.run([os.environ.get("MLMAKE", str(BUILD / "mlmake")), "data", *argv], cwd=twin.path, env=self.env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, errors="surrogateescape")
        if done.returncode > 5 or done.returncode < 0:
            raise Failure(f"mlmake data {argv} gave {done.returncode}: {done.stderr}")
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr}

    def step(self):
        outs = self.outs()
        choice = self.rng.random()
        if not outs or choice < 0.22:
            rel = self.edit() or (self.rng.choice(outs) if outs else self.edit())
            if rel and os.path.lexists(self.root() / rel):
                self.both("add", {"dvc": ["add", "--", rel], "mlmake": ["add", "--", rel]})
        elif choice < 0.40:
            self.edit()
            out = self.rng.choice(outs)
            files = self.files(out)
            rel = self.rng.choice(files) if files and self.rng.random() < 0.3 else out
            if os.path.lexists(self.root() / rel):
                self.both("add", {"dvc": ["add", "--", rel], "mlmake": ["add", "--", rel]})
        elif choice < 0.48:
            self.edit()
            if all(os.path.lexists(self.root() / out) for out in outs):
                self.both("commit", {"dvc": ["commit", "-f"], "mlmake": ["commit"]})
        elif choice < 0.64:
            if self.rng.random() < 0.7:
                self.edit()
            some = [out for out in [self.rng.choice(outs)] if nameable(out) and self.rng.random() < 0.5]
            force = ["-f"] if self.rng.random() < 0.4 else []
            self.both("checkout", {"dvc": ["checkout", *force, "--", *some], "mlmake": ["checkout", *force, "--", *some]})
        elif choice < 0.70:
            out = self.rng.choice(outs)
            if nameable(out):
                self.both("remove", ["remove", "--", out + ".dvc"])
        elif choice < 0.76:
            out, to = self.rng.choice(outs), self.new_name()
            links = any((self.root() / f).is_symlink() for f in self.files(out))  # dvc breaks relative ones
            if os.path.lexists(self.root() / out) and (self.root() / to).parent.is_dir() and nameable(out) and not links:
                self.both("move", {"dvc": ["move", "--", out, to], "mlmake": ["move", "--", out, to]})
        elif choice < 0.81:
            self.forget()
            self.both("gc", {"dvc": ["gc", "-w", "-f"], "mlmake": ["gc", "-w", "--strict", "-f"]})
        elif choice < 0.85:
            out = self.rng.choice(outs)
            if os.path.lexists(self.root() / out):
                self.both("unprotect", ["unprotect", "--", out])
        elif choice < 0.90:
            self.both("push", {"dvc": ["push"], "mlmake": ["push"]})
        elif choice < 0.94:
            if self.rng.random() < 0.5:
                self.lose_objects()
            self.both("fetch", {"dvc": ["fetch"], "mlmake": ["fetch"]})
        else:
            self.git_commit()
            if self.commits > 1 and self.rng.random() < 0.6:
                back = self.rng.randrange(1, self.commits)
                self.log.append(f"git checkout -B main main~{back}")
                self.commits -= back
                for twin in self.twins:
                    twin.git("checkout", "-q", "-B", "main", f"main~{back}")
                self.both("checkout", {"dvc": ["checkout"], "mlmake": ["checkout"]})
        self.compare_reports()

    def forget(self):
        """What dvc keeps to itself, beside the repository: it remembers manifests that are gone."""
        shutil.rmtree(self.env["DVC_SITE_CACHE_DIR"], ignore_errors=True)

    def lose_objects(self):
        self.log.append("rm -r .dvc/cache")
        self.forget()
        for twin in self.twins:
            shutil.rmtree(twin.path / ".dvc/cache/files", ignore_errors=True)

    def git_commit(self):
        if self.odd_names:
            return
        self.log.append("git commit")
        self.commits += 1
        for twin in self.twins:
            # git does not see what is written in place twice within a second, and as long as before: without its index it reads all.
            (twin.path / ".git/index").unlink(missing_ok=True)
            twin.git("add", "-A")
            twin.git("commit", "-q", "--allow-empty", "-m", "step")

    def both(self, what, argv):
        tools = ["dvc", "mlmake"]
        self.rng.shuffle(tools)
        self.log.append(f"{what} {argv} a: {tools[0]}")
        before = self.twins[0].tree()
        done = {tool: self.run(tool, twin, argv) for tool, twin in zip(tools, self.twins)}
        if self.verbose:
            print(self.log[-1], {t: (d["code"], d["err"][-300:]) for t, d in done.items()})
        by = dict(zip(tools, self.twins))
        self.excused = None
        self.end_if_ignored(done["dvc"], done["mlmake"])
        if bool(done["dvc"]["code"]) != bool(done["mlmake"]["code"]):
            name = self.explain_exit(what, done)
            if name:
                self.seen[DIFFERENCES[name]] += 1
                self.excused = name if name in ("lost-link", "link") else None
                return self.settle_all(what, by, before, done)
            raise Failure(f"{what}: dvc exit {done['dvc']['code']}: {done['dvc']['err'][-800:]}\n"
                          f"mlmake exit {done['mlmake']['code']}: {done['mlmake']['err'][-800:]}")
        return self.settle_all(what, by, before, done)

    def end_if_ignored(self, theirs, ours):
        if theirs["code"] and not ours["code"] and "is ignored by" in theirs["err"]:
            self.seen[DIFFERENCES["ignored"]] += 1
            raise Over

    def settle_all(self, what, by, before, done):
        self.settle(what, by["dvc"], by["mlmake"], before, done)
        self.settle_stores(what, by, done["mlmake"]["code"] == 3)

    def explain_exit(self, what, done):
        if what in ("fetch", "push") and done["mlmake"]["code"] == 3 and "do not exist neither locally nor on remote" in done["dvc"]["err"]:
            return "nowhere"
        if what == "gc" and done["mlmake"]["code"] == 3 and "cannot be read" in done["mlmake"]["err"]:
            return "refusal"
        if what == "checkout" and self.links == "symlink" and done["mlmake"]["code"] == 3 and "not in the cache" in done["mlmake"]["err"]:
            return "dangling"
        if what == "remove" and "can't unprotect non-existing data" in done["dvc"]["err"]:
            return "lost-link"
        gone = re.search(r"unexpected error - \[Errno 2\] No such file or directory: ['\"](.*)['\"]\n", done["dvc"]["err"])
        if what == "checkout" and gone and done["mlmake"]["code"] == 0 and os.path.islink(gone.group(1)):
            return "link"
        return None

    def settle(self, what, theirs, ours, before, done):
        """Compares the trees; differences that have a name are counted and taken back."""
        left, right = theirs.tree(), ours.tree()
        for rel in sorted(set(left) | set(right)):
            a, b = left.get(rel), right.get(rel)
            if a == b:
                continue
            name = self.explain(what, rel, a, b, before, done)
            if not name and what == "checkout" and a and b == before.get(rel):
                name = self.explain_checkout(theirs, rel, a, b)
            if not name:
                raise Failure(f"{what}: {rel!r}: by dvc {a!r:.400}, by mlmake {b!r:.400}\n"
                              f"dvc: {done['dvc']}\nmlmake: {done['mlmake']}")
            self.seen[DIFFERENCES[name]] += 1
            self.take_over(theirs, ours, rel, b)

    @staticmethod
    def take_over(theirs, ours, rel, entry):
        to, source = theirs.path / rel, ours.path / rel
        if os.path.lexists(to):
            shutil.rmtree(to) if to.is_dir() and not to.is_symlink() else to.unlink()
        if entry is None:
            return
        if entry[0] == "dir":
            shutil.copytree(source, to, symlinks=True)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        if entry[0] == "link":
            # Into the cache of its own, as the other one is.
            to.symlink_to(os.readlink(source).replace(f"{ours.path}/", f"{theirs.path}/"))
            return
        shutil.copy(source, to)

    def explain(self, what, rel, a, b, before, done):
        base = os.path.basename(rel)
        if self.excused:
            return self.excused
        if what == "move" and a and b and rel.endswith(".dvc") and a[0] == b[0] == "file" and sorted(a[2].split()) == sorted(b[2].split()):
            return "anew"
        if base == ".gitignore" and what in ("add", "commit", "move", "remove"):
            text = (b[2] if b else b"") + (a[2] if a else b"")
            if what in ("remove", "move") and set((b[2] if b else b"").splitlines()) <= set((a[2] if a else b"").splitlines()):
                return "stale-line"
            if b"\\ \n" in text or b"?" in text:
                return "gitignore"
        if a and b and a[0] == b[0] == "file" and a[2] == b[2] and b[1] and not a[1] and (
                before.get(rel) == b or (what in ("unprotect", "remove") and before.get(rel, ("",))[0] == "link")):
            return "mode"
        if a and b and a[0] == "file" and b[0] == "link" and before.get(rel) == b and not b[1].startswith("ROOT/.dvc/cache"):
            return "link"
        if what == "checkout" and b and b[0] == "link" and before.get(rel) == b and not (self.root() / rel).exists():
            return "link"
        if what == "move" and a and b and (a[0], b[0]) == ("link", "file"):
            md5 = hashlib.md5(b[2]).hexdigest()
            return "moved" if a[1] == f"ROOT/.dvc/cache/files/md5/{md5[:2]}/{md5[2:]}" else None
        if what == "checkout":
            if a is None and b == before.get(rel) and not any(rel == out or rel.startswith(out + "/") for out in self.outs()):
                return "left"
            if b == ("dir",) and a is None and before.get(rel) == b:
                return "empty"
            if done["dvc"]["code"] and (a == before.get(rel) or (a is None and b == before.get(rel))):
                return "refused"
            if not done["dvc"]["code"] and a is None and b == before.get(rel) and "-f" in self.log[-1]:
                return "untracked"
        return None

    @staticmethod
    def explain_checkout(theirs, rel, a, b):
        path = theirs.path / rel
        if a[0] == "link" and not path.exists():
            return "dangling"
        record = path.with_name(path.name + ".dvc")
        if b and a[0] == b[0] == "file" and a[1:] == (True, b[2]) and record.exists() and "isexec" not in record.read_text():
            return "was-exec"
        return None

    def settle_stores(self, what, by, refused):
        theirs, ours = by["dvc"].cache(), by["mlmake"].cache()
        names, only_dvc, only_mlmake = set(), set(theirs) - set(ours), set(ours) - set(theirs)
        if only_dvc and what == "move":
            names.add("moved")
            for rel in only_dvc:
                os.unlink(by["dvc"].path / ".dvc/cache/files/md5" / rel)
                theirs.pop(rel)
        if only_mlmake and what == "gc" and (refused or only_mlmake <= self.in_index(by["mlmake"])):
            names.add("refusal" if refused else "index")
            for rel in only_mlmake:
                os.unlink(by["mlmake"].path / ".dvc/cache/files/md5" / rel)
                ours.pop(rel)
        for name in names:
            self.seen[DIFFERENCES[name]] += 1
        if theirs != ours:
            raise Failure(f"{what}: the caches differ: only dvc {sorted(set(theirs.items()) - set(ours.items()))}, "
                          f"only mlmake {sorted(set(ours.items()) - set(theirs.items()))}")
        modes = [twin.group_modes() for twin in self.twins]
        if any(modes[0][rel] != modes[1][rel] for rel in set(modes[0]) & set(modes[1])):
            raise Failure(f"{what}: modes of directories in the cache differ: {modes}")
        stores = [twin.store(twin.path.parent / "store/files/md5") for twin in self.twins]
        if {k: v[1] for k, v in stores[0].items()} != {k: v[1] for k, v in stores[1].items()}:
            raise Failure(f"{what}: the remotes differ: {stores}")

    def in_index(self, twin):
        """Names of the objects that the .dvc files in git's index record."""
        found = set()
        for name in twin.git("ls-files", "-z", "*.dvc").split("\0"):
            text = twin.git("show", f":{name}") if name else ""
            for md5 in re.findall(r"md5: '?([0-9a-f]{32}(?:\.dir)?)", text):
                found.add(f"{md5[:2]}/{md5[2:]}")
                manifest = twin.path / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
                if md5.endswith(".dir") and manifest.exists():
                    found |= {f"{m['md5'][:2]}/{m['md5'][2:]}" for m in json.loads(manifest.read_text())}
        return found

    # ---- what both say

    def compare_reports(self):
        twin = self.twins[self.rng.randrange(2)]
        if not self.commits or self.rng.random() < 0.6:
            self.compare_json(twin, ["data", "status", "--json", "--granular"], ["status", "--json", "--granular"])
        else:
            self.compare_json(twin, ["diff", "--json"], ["diff", "--json"])

    def compare_json(self, twin, theirs, ours):
        a, b = self.run("dvc", twin, theirs), self.run("mlmake", twin, ours)
        self.end_if_ignored(a, b)
        try:
            left, right = normal(json.loads(a["out"])), normal(json.loads(b["out"]))
        except ValueError as e:
            raise Failure(f"{ours}: {a} {b}") from e
        if left != right:
            self.drop_unknown(left, right)
        if left != right:
            raise Failure(f"{ours} differ: dvc {json.dumps(left, indent=1)}\nmlmake {json.dumps(right, indent=1)}\n{a['err']}{b['err']}")

    def drop_unknown(self, theirs, ours):
        """Takes from theirs what dvc lists as unknown and mlmake knows: directories, and members of a directory that is as recorded."""
        for part in ("committed", "uncommitted"):
            unknown = theirs.get(part, {}).get("unknown", [])
            known = set(ours.get(part, {}).get("unknown", []))
            excused = [name for name in unknown if name not in known and (name.endswith("/") or self.is_as_recorded(name, ours))]
            if not excused:
                continue
            self.seen[DIFFERENCES["unknown"]] += 1
            theirs[part]["unknown"] = [name for name in unknown if name not in excused]
            if not theirs[part]["unknown"]:
                del theirs[part]["unknown"]
            if not theirs[part]:
                del theirs[part]

    @staticmethod
    def is_as_recorded(member, status):
        missing = [name for name in status.get("not_in_cache", []) if name.endswith("/") and member.startswith(name)]
        return bool(missing) and missing[0] not in status.get("uncommitted", {}).get("modified", [])

    def play(self):
        for _ in range(self.rng.randrange(1, 3)):
            rel = self.edit()
            if rel:
                self.both("add", {"dvc": ["add", "--", rel], "mlmake": ["add", "--", rel]})
        if self.rng.random() < 0.7:
            self.git_commit()
        for _ in range(self.rng.randrange(2, 6)):
            self.step()


def normal(status):
    if isinstance(status, dict):
        return {k: normal(v) for k, v in status.items()}
    return sorted((normal(s) for s in status), key=json.dumps) if isinstance(status, list) else status


def make_template(base, env, server):
    template = base / "template"
    template.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main", "--template="], cwd=template, env=env, check=True)
    answer = server.run(template, ["init", "-q"])
    if answer["code"]:
        raise RuntimeError(answer["err"])
    return template


@contextlib.contextmanager
def workshop():
    """A warm dvc and a place to work in: (base, server, env, template)."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mlmake-differential-", dir=where) as name:
        base = pathlib.Path(name)
        home = base / "home"
        home.mkdir()
        env = clean_env(home)
        (home / ".gitconfig").write_text("[core]\n\tfsync = none\n[gc]\n\tauto = 0\n")
        server = Server(base / "scratch", env)
        try:
            yield base, server, env, make_template(base, env, server)
        finally:
            server.close()


def play(seeds, verbose=False, keep_going=True):
    """Plays sequences; ([(seed, message)], Counter of the differences on purpose)."""
    failures, seen = [], collections.Counter()
    with workshop() as (base, server, env, template):
        for seed in seeds:
            sequence = Sequence(seed, base, server, env, template, verbose)
            try:
                sequence.play()
            except Over:
                pass
            except Failure as e:
                failures.append((seed, "\n".join(sequence.log) + f"\n{e}"))
                if not keep_going:
                    break
            finally:
                seen.update(sequence.seen)
                shutil.rmtree(sequence.base, ignore_errors=True)
    return failures, seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    failures, seen = play(range(args.seed, args.seed + args.count), args.verbose, args.keep_going)
    for seed, message in failures:
        print(f"seed {seed}:\n{message}\n")
    print(f"{len(failures)} of {args.count} failed; differences on purpose: {dict(seen)}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
