"""Manifests, records and configs as an attacker, or a disk, would write them: refused by name, and nothing leaves the repository."""
import hashlib
import json
import os

import pytest

MD5 = hashlib.md5(b"x").hexdigest()


def put(box, content):
    """An object of the cache; its md5."""
    md5 = hashlib.md5(content).hexdigest()
    suffix = ".dir" if content[:1] == b"[" else ""
    path = box.path / ".dvc/cache/files/md5" / md5[:2] / (md5[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o444)
    return md5 + suffix


def track(box, manifest):
    put(box, b"x")
    box.write("d.dvc", f"outs:\n- md5: {put(box, manifest)}\n  hash: md5\n  path: d\n")


@pytest.fixture
def repo(gitbox):
    gitbox.mlmake("data", "init")
    return gitbox


def entries(*paths):
    return json.dumps([{"md5": MD5, "relpath": p} for p in paths], sort_keys=True).encode()


MANIFESTS = {
    "parent": (entries("../out"), "not safe"),
    "parent below": (entries("a/../../out"), "not safe"),
    "absolute": (entries("/tmp/out"), "not safe"),
    "dot": (entries("./a"), "not safe"),
    "empty name": (entries(""), "not safe"),
    "empty component": (entries("a//b"), "not safe"),
    "twice": (entries("a", "a"), "listed twice"),
    "file and directory": (entries("a", "a/b"), "a file and a directory"),
    "too deep": (entries("/".join(["d"] * 2000 + ["d" * 100] * 30)), "too long"),
    "component too long": (entries("a/" + "n" * 256), "not safe"),
    "too long": (entries("n" * 300), "not safe"),
    "huge string": (b'[{"md5": "' + MD5.encode() + b'", "relpath": "' + b"a" * 100_000 + b'"}]', "too long"),
    "not UTF-8": (b'[{"md5": "' + MD5.encode() + b'", "relpath": "\xff\xfe"}]', "not UTF-8"),
    "half a surrogate": (b'[{"md5": "' + MD5.encode() + b'", "relpath": "\\ud800"}]', "surrogate"),
    "zero byte": (b'[{"md5": "' + MD5.encode() + b'", "relpath": "a\\u0000b"}]', "zero byte"),
    "bad md5": (b'[{"md5": "../../../../etc/passwd", "relpath": "a"}]', "bad md5"),
    "unknown key": (b'[{"md5": "' + MD5.encode() + b'", "relpath": "a", "mode": 1}]', "unknown key"),
    "nested": (b"[" * 100_000, "unexpected"),
    "cut": (entries("a")[:-1], "too early"),
    "trailing": (entries("a") + b"x", "unexpected"),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(repo, name):
    manifest, why = MANIFESTS[name]
    track(repo, manifest)
    before = sorted(p.name for p in repo.path.parent.iterdir())
    refused = repo.mlmake("data", "checkout", check=3)
    assert why in refused.stderr
    assert not (repo.path / "d").exists() and sorted(p.name for p in repo.path.parent.iterdir()) == before
    # Another output, behind it in the order, is not held up.
    repo.write("other", "1")
    repo.mlmake("data", "add", "other")
    (repo.path / "other").unlink()
    repo.mlmake("data", "checkout", check=3)
    assert repo.read("other") == b"1"


def put_manifest(box, count, pad):
    """A manifest of count entries, written as it is made; its md5."""
    digest, temp = hashlib.md5(), box.path / "manifest"
    with open(temp, "wb") as f:
        for start in range(0, count, 100_000):
            text = "".join(f'{", " if i else "["}{{"md5": "{MD5}", "relpath": "{i:08}{pad}"}}' for i in range(start, min(start + 100_000, count)))
            text += "]" if start + 100_000 >= count else ""
            digest.update(text.encode())
            f.write(text.encode())
    md5 = digest.hexdigest()
    path = box.path / ".dvc/cache/files/md5" / md5[:2] / f"{md5[2:]}.dir"
    path.parent.mkdir(parents=True, exist_ok=True)
    temp.rename(path)
    path.chmod(0o444)
    return f"{md5}.dir"


@pytest.mark.slow
@pytest.mark.parametrize("count, pad, why", [
    (10_000_000, "", "lists more than 4,000,000 files"),
    (4_000_000, "n" * 220, "bytes; up to 1073741824 are read"),
    (1_000_000, "", None),
], ids=["ten million entries", "more than 1 GiB", "a million is nothing special"])
def test_a_huge_manifest(repo, count, pad, why):
    repo.write("d.dvc", f"outs:\n- md5: {put_manifest(repo, count, pad)}\n  hash: md5\n  path: d\n")
    for command in ["checkout"], ["ls", "-R", "d"], ["status"], ["status", "--granular"]:
        if not why and command[0] == "ls":
            continue  # a million lines
        code, err, peak = run_measured(repo, *command)
        assert peak < 400, f"{command} took {peak:.0f} MiB"
        if why and command[0] != "status":
            assert code == 3 and why in err and "d" in err
        assert code == (0 if command[0] == "status" else 3)


def run_measured(box, *command):
    """Its exit code, what it said, and its peak memory in MiB."""
    with open(box.home / "out", "w+", encoding="utf-8") as out, open(box.home / "err", "w+", encoding="utf-8") as err:
        process = box.popen(box.binary, "data", *command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        err.seek(0)
        return process.returncode, err.read(), usage.ru_maxrss / 1024


def test_a_link_in_the_way_is_not_followed(repo):
    outside = repo.path.parent / "outside"
    outside.mkdir()
    track(repo, entries("a/b"))
    (repo.path / "d").mkdir()
    (repo.path / "d/a").symlink_to(outside)
    refused = repo.mlmake("data", "checkout", "-f", check=None)
    assert refused.returncode in (1, 3) and not list(outside.iterdir())
    (repo.path / "d/a").unlink()
    (repo.path / "d").rmdir()
    (repo.path / "d").symlink_to(outside)
    refused = repo.mlmake("data", "checkout", "-f", check=None)
    assert refused.returncode in (1, 3) and not list(outside.iterdir())


RECORDS = {
    "parent": (f"outs:\n- md5: {MD5}\n  hash: md5\n  path: ../out\n", 3),
    "absolute": (f"outs:\n- md5: {MD5}\n  hash: md5\n  path: /tmp/out\n", 3),
    "wdir above": (f"wdir: ..\nouts:\n- md5: {MD5}\n  hash: md5\n  path: out\n", 3),
    "git": (f"outs:\n- md5: {MD5}\n  hash: md5\n  path: .git/hooks/pre-commit\n", 3),
    "dvc": (f"outs:\n- md5: {MD5}\n  hash: md5\n  path: .dvc/config\n", 3),
    "md5": ("outs:\n- md5: ../../x\n  hash: md5\n  path: out\n", 3),
    "not UTF-8": (f"outs:\n- md5: {MD5}\n  hash: md5\n  path: ".encode() + b"\xff\n", 3),
    "anchors": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 3),
    "deep": ("[" * 10_000, 3),
    "empty": ("", 3),
}


@pytest.mark.parametrize("name", RECORDS)
def test_record(repo, name):
    text, code = RECORDS[name]
    put(repo, b"x")
    repo.write("bad.dvc", text)
    repo.write("good", "1")
    repo.mlmake("data", "add", "good")
    (repo.path / "good").unlink()
    refused = repo.mlmake("data", "checkout", check=code)
    assert "bad.dvc" in refused.stderr and repo.read("good") == b"1"
    assert not (repo.path.parent / "out").exists()


CONFIGS = {
    "open section": "[core\n",
    "deep": "[" * 200 + "a" + "]" * 200 + "\n",
    "binary": b"\0\1\2",
    "long line": "[core]\n    remote = " + "x" * 2_000_000 + "\n",
}


@pytest.mark.parametrize("name", CONFIGS)
def test_config(repo, name):
    repo.write(".dvc/config", CONFIGS[name])
    refused = repo.mlmake("data", "push", check=None)
    assert refused.returncode in (1, 2) and ".dvc/config" in refused.stderr
