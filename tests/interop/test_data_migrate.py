"""Data that DVC 2 recorded, made by its rules, and migrated: by mlmake and by the real dvc's `cache migrate --dvc-files`, byte for byte."""
import hashlib
import json
import os
import shutil

import pytest

from conftest import Sandbox, need_peer

FILES = {"crlf.txt": b"a\r\nb\r\n", "lf.txt": b"a\nb\n", "bin": bytes(range(256)) * 20, "empty": b"", "big.txt": b"0123456\r\n" * 150_000,
         "sub/d\u00e9ep": b"x\r\n"}


def legacy_md5(content):
    """dvc 2: chunks of 1 MiB, each text or not by its first 512 bytes, CRLF as LF in text."""
    digest = hashlib.md5()
    for at in range(0, len(content), 1 << 20):
        chunk = content[at:at + (1 << 20)]
        head = chunk[:512]
        odd = sum(b not in b"\n\r\t\f\b" and not 32 <= b <= 126 for b in head)
        digest.update(chunk if b"\0" in head or odd / len(head) > 0.3 else chunk.replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def keep(box, content, suffix=""):
    md5 = legacy_md5(content)
    path = box.path / ".dvc/cache" / md5[:2] / (md5[2:] + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
        path.chmod(0o444)
    return md5 + suffix


def make_legacy(box):
    """A directory d and a file crlf.txt as dvc 2 left them, data present, committed."""
    box.git("init", "-q", "-b", "main")
    box.mlmake("data", "init")
    members = []
    for name, content in FILES.items():
        box.write(f"d/{name}", content)
        members.append({"md5": keep(box, content), "relpath": name})
    members.sort(key=lambda m: m["relpath"])
    manifest = keep(box, json.dumps(members, sort_keys=True).encode(), ".dir")
    box.write("d.dvc", f"# raw data\nouts:\n- md5: {manifest}\n  size: {sum(map(len, FILES.values()))}\n  nfiles: {len(FILES)}\n  path: d\n")
    box.write("crlf.txt", FILES["crlf.txt"])
    box.write("crlf.txt.dvc", f"outs:\n- md5: {keep(box, FILES['crlf.txt'])}\n  size: 6\n  path: crlf.txt\n")
    box.write(".gitignore", "/d\n/crlf.txt\n")
    box.git("add", "-A")
    box.git("commit", "-qm", "by dvc 2")


@pytest.fixture
def legacy(box):
    make_legacy(box)
    return box


def store(box):
    root = box.path / ".dvc/cache/files/md5"
    return {str(p.relative_to(root)): (p.read_bytes(), p.stat().st_mode & 0o777) for p in root.rglob("*") if p.is_file()}


def test_it_is_used_as_it_is(legacy, tmp_path):
    old = sorted(p.relative_to(legacy.path / ".dvc/cache") for p in (legacy.path / ".dvc/cache").rglob("*") if p.is_file())
    legacy.mlmake("data", "status", "-q")
    legacy.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    legacy.mlmake("data", "push")
    assert sorted(p.relative_to(tmp_path / "store") for p in (tmp_path / "store").rglob("*") if p.is_file()) == old
    for path in "d", ".dvc/cache":
        shutil.rmtree(legacy.path / path)
    legacy.mlmake("data", "pull")
    assert {n: legacy.read(f"d/{n}") for n in FILES} == {**FILES, "lf.txt": FILES["crlf.txt"]} and not store(legacy)
    legacy.mlmake("data", "verify", "-r", "store")


def test_it_works_on_after_migration(legacy):
    dry = json.loads(legacy.mlmake("data", "migrate", "--dry", "--json").stdout)
    assert dry["migrated"] == ["crlf.txt.dvc", "d.dvc"] and not store(legacy)
    before = legacy.read("d.dvc")
    shutil.rmtree(legacy.path / "d")
    os.unlink(legacy.path / "crlf.txt")
    assert json.loads(legacy.mlmake("data", "migrate", "--json").stdout)["objects"] == len({legacy_md5(c) for c in FILES.values()})
    assert legacy.read("d.dvc").startswith(b"# raw data\n") and legacy.read("d.dvc").endswith(b"hash: md5\n") != before
    legacy.mlmake("data", "checkout")
    # dvc 2 kept one object for the two that differ in line ends alone, and it was the first's.
    assert {n: legacy.read(f"d/{n}") for n in FILES} == {**FILES, "lf.txt": FILES["crlf.txt"]}
    legacy.mlmake("data", "status", "-q")
    assert "nothing here" in legacy.mlmake("data", "migrate").stderr
    assert (legacy.path / ".dvc/cache" / legacy_md5(FILES["bin"])[:2]).is_dir()


@pytest.mark.parametrize("harm", ["missing", "damaged"])
def test_an_output_with_a_bad_object_stays_as_it_is(legacy, harm):
    md5 = legacy_md5(FILES["bin"])
    path = legacy.path / ".dvc/cache" / md5[:2] / md5[2:]
    before = legacy.read("d.dvc")
    (legacy.path / "d/bin").unlink()  # what is in the work tree would do
    if harm == "missing":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(b"junk")
    result = legacy.mlmake("data", "migrate", check=3)
    assert f"d/bin (md5-dos2unix {md5})" in result.stderr
    assert legacy.read("d.dvc") == before and b"hash: md5" in legacy.read("crlf.txt.dvc")


@pytest.mark.slow
def test_as_dvc_migrates(legacy, tmp_path):
    need_peer("dvc")
    assert "up to date" in legacy.dvc("status").stdout
    twin = Sandbox(tmp_path / "twin")
    shutil.copytree(legacy.path, twin.path, symlinks=True, dirs_exist_ok=True)
    twin.dvc("cache", "migrate", "--dvc-files")
    legacy.mlmake("data", "migrate")
    assert {n: legacy.read(f"d/{n}") for n in FILES} == FILES
    for name in ("d.dvc", "crlf.txt.dvc"):
        assert legacy.read(name) == twin.read(name)
    ours, theirs = store(legacy), store(twin)
    # dvc's first half gives the old manifest a new name as well, which nothing records.
    assert set(theirs) - set(ours) == {f"{m[:2]}/{m[2:]}.dir" for m in
                                       [hashlib.md5(p.read_bytes()).hexdigest() for p in (twin.path / ".dvc/cache").glob("??/*.dir")]}
    assert ours == {k: v for k, v in theirs.items() if k in ours}
    assert "up to date" in legacy.dvc("status").stdout
