#!/usr/bin/env python3
"""The structure that docs/ARCHITECTURE.md promises, checked: layers include only what stands above them, features not
each other, each third-party header has one user, and file-system calls go through src/base/sys.c."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAYERS = ["base", "formats", "store", "net", "vcs", "graph", "engine", "features", "cli"]
THIRD_PARTY = ["yaml.h", "curl/", "archive.h", "archive_entry.h", "pcre2.h", "git2.h", "git2/", "lmdb.h", "jansson.h",
               "openssl/evp.h", "openssl/md5.h", "openssl/sha.h", "openssl/hmac.h", "zstd.h", "seccomp.h"]
FILE_CALLS = ["open", "openat", "fopen", "unlink", "unlinkat", "rename", "renameat", "link", "symlink", "mkdir", "rmdir", "chmod",
              "fchmod", "fsync", "fdatasync", "ftruncate", "truncate", "pread", "pwrite", "copy_file_range", "stat", "lstat", "fstat",
              "fstatat", "opendir", "fdopendir", "readdir"]
# Files with a reason to call the kernel themselves: the table, and descriptors that are not files of ours.
CALLS_ALLOWED = {"src/base/sys.c", "src/base/proc.c", "src/base/loop.c"}
# Rooms whose answers may be remembered: a witness (src/base/witness.h) must see what they ask of the environment.
WITNESSED = {"store", "vcs", "graph", "engine", "features"}
ASKS_ENVIRONMENT = re.compile(r"(?<![\w.>])(getenv|secure_getenv)\s*\(")
CALL = re.compile(r"(?<![\w.>])(" + "|".join(FILE_CALLS) + r")\s*\(")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
MAX_LINES = 700


def strip_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)


def room_of(path):
    return path.relative_to(ROOT / "src").parts


def check(path, third_party_users):
    problems = []
    raw = path.read_text()
    parts = room_of(path)
    layer = parts[0]
    name = str(path.relative_to(ROOT))
    for match in INCLUDE.finditer(raw):
        line = raw.count("\n", 0, match.start()) + 1
        kind, target = match.groups()
        if kind == '"':
            first = target.split("/")[0]
            if first not in LAYERS:
                problems.append(f"{name}:{line}: include \"{target}\" by its room, such as \"base/buf.h\"")
            elif LAYERS.index(first) > LAYERS.index(layer):
                problems.append(f"{name}:{line}: {layer} must not include from {first}, which stands below it")
            elif first == layer == "features" and target.split("/")[1] != parts[1]:
                problems.append(f"{name}:{line}: features do not include each other ({target})")
            elif not (ROOT / "src" / target).exists():
                problems.append(f"{name}:{line}: no such header: {target}")
        else:
            for header in THIRD_PARTY:
                if target == header or (header.endswith("/") and target.startswith(header)):
                    third_party_users.setdefault(header.rstrip("/"), set()).add(name.rsplit(".", 1)[0])
    if name not in CALLS_ALLOWED:
        for number, line in enumerate(strip_comments(raw).split("\n"), 1):
            for match in CALL.finditer(line):
                problems.append(f"{name}:{number}: {match.group(1)}() goes through the table in base/sys.h")
    if layer in WITNESSED:
        for number, line in enumerate(strip_comments(raw).split("\n"), 1):
            if ASKS_ENVIRONMENT.search(line):
                problems.append(f"{name}:{number}: getenv() goes through the table in base/sys.h")
    lines = raw.count("\n")
    if lines > MAX_LINES:
        problems.append(f"{name}: {lines} lines; over {MAX_LINES} a file has two jobs")
    return problems


def main():
    problems, users = [], {}
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        problems += check(path, users)
    for header, files in sorted(users.items()):
        if len(files) > 1:
            problems.append(f"<{header}> has {len(files)} users, must have one: {', '.join(sorted(files))}")
    names = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        other = names.setdefault(path.name, path)
        if other != path:
            problems.append(f"{path.relative_to(ROOT)}: pytest wants names of its own; {other.relative_to(ROOT)} has this one")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
