"""formats/ignore against `git check-ignore`, on random trees and patterns."""
import os
import random
import shlex
import subprocess

import pytest

from conftest import BUILD, ROOT

NAMES = ["a", "b", "ab", "abc", "foo", "foo.o", "bar.c", "x", "X", "[x]", "a b", "#c", "!d", "tail ", "é", "back\\slash", ".hid", "-"]
PARTS = ["a", "b", "x", "foo", ".o", ".c", "*", "*", "?", "**", "[a-c]", "[!a]", "[^b]", "[]x]", "[[:alpha:]]", "[[:nope:]]", "[x", "\\*",
         "\\", " ", "\\ ", "#", "!", "é", "{a,b}", "[a-]", "[\\]]", "bar", "abc", "***", "[z-a]", "."]


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    program = tmp_path_factory.mktemp("driver") / "ignore_driver"
    flags = ["-fsanitize=address,undefined"] if BUILD.name == "san" else []
    subprocess.run([*shlex.split(os.environ.get("CC", "cc")), "-std=gnu17", "-D_GNU_SOURCE", f"-I{ROOT}/src", *flags, "-pthread", "-o", program,
                    ROOT / "tests/interop/ignore_driver.c", BUILD / "libmlmake.a"], check=True)
    return program


def random_pattern(rng):
    count = rng.choice([1, 1, 1, 2, 2, 3])
    parts = []
    for _ in range(count):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(NAMES))
        elif kind < 0.5:
            parts.append(rng.choice(["*", "**"]))
        else:
            parts.append("".join(rng.choice(PARTS) for _ in range(rng.randint(1, 4))))
    pattern = "/".join(parts)
    if rng.random() < 0.2:
        pattern = "/" + pattern
    if rng.random() < 0.25:
        pattern += "/"
    if rng.random() < 0.25:
        pattern = "!" + pattern
    return pattern + rng.choice(["", "", "", " ", "  ", "\r"])


def make_tree(rng, root, rel, depth, paths):
    for name in rng.sample(NAMES, rng.randint(2, 5)):
        path = f"{rel}{name}"
        if depth < 3 and rng.random() < 0.5:
            (root / path).mkdir()
            paths.append(("D", path))
            make_tree(rng, root, path + "/", depth + 1, paths)
        else:
            (root / path).write_bytes(b"")
            paths.append(("F", path))


@pytest.mark.parametrize("seed", range(60))
def test_random_trees(box, driver, seed):
    rng = random.Random(seed)
    box.git("init", "-q")
    paths = []
    make_tree(rng, box.path, "", 0, paths)
    bases = ["", ""] + [p for kind, p in paths if kind == "D"]
    script = []
    for base in sorted(set(rng.sample(bases, min(len(bases), 3)))):
        lines = [random_pattern(rng) for _ in range(rng.randint(1, 6))]
        (box.path / base / ".gitignore").write_text("".join(f"{line}\n" for line in lines), newline="")
        script += [f"B{base}"] + [f"L{line}" for line in lines]
    script += [kind + path for kind, path in paths]
    asked = "".join(f"{path}\0" for _, path in paths)
    git = subprocess.run(["git", "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"], cwd=box.path, env=box.env,
                         input=asked.encode(), capture_output=True, check=False)
    fields = git.stdout.decode().split("\0")[:-1]
    want = {path: pattern != "" and not pattern.startswith("!")
            for _, _, pattern, path in zip(fields[0::4], fields[1::4], fields[2::4], fields[3::4])}
    assert len(want) == len(paths), git.stderr
    got = subprocess.run([driver], input="".join(f"{line}\n" for line in script).encode(), capture_output=True, check=True)
    answers = dict(zip((path for _, path in paths), got.stdout.decode().split()))
    wrong = [f"{path!r}: git {want[path]}, here {answers[path]}" for _, path in paths if want[path] != (answers[path] == "1")]
    assert not wrong, "\n".join(wrong + script)
