"""mlmake data on its own: what is refused, what is never lost, what is said. The lines of "where DVC loses data" are here."""
import fcntl
import hashlib
import json
import os
import socket
import subprocess
import time

import pytest

from conftest import PATIENCE

EMPTY_DIR = "d751713988987e9331980363e24189ce.dir"


@pytest.fixture
def data(gitbox):
    gitbox.mlmake("data", "init")
    return gitbox


@pytest.fixture
def stored(data, tmp_path):
    """With a directory remote, and d/ of three files and one file pushed to it."""
    data.remote = tmp_path / "store"
    data.mlmake("data", "remote", "add", "-d", "store", data.remote)
    for name in ("d/a", "d/b", "d/s/c", "f"):
        data.write(name, f"content of {name}\n")
    data.mlmake("data", "add", "d", "f")
    data.mlmake("data", "push")
    return data


def md5(content):
    return hashlib.md5(content if isinstance(content, bytes) else content.encode()).hexdigest()


def cached(box, content):
    name = md5(content)
    return box.path / ".dvc/cache/files/md5" / name[:2] / name[2:]


def on_remote(box, content):
    name = md5(content)
    return box.remote / "files/md5" / name[:2] / name[2:]


def put_manifest(box, members, name="d"):
    """A .dvc and a manifest in the cache that say what we like; correctly hashed."""
    text = json.dumps([{"md5": h, "relpath": p} for h, p in members])
    return put_raw_manifest(box, text.encode(), len(members), name)


def put_raw_manifest(box, text, nfiles, name="d"):
    digest = md5(text)
    path = box.path / ".dvc/cache/files/md5" / digest[:2] / (digest[2:] + ".dir")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    path.chmod(0o444)
    box.write(f"{name}.dvc", f"outs:\n- md5: {digest}.dir\n  size: 1\n  nfiles: {nfiles}\n  hash: md5\n  path: {name}\n")


def put_object(box, content):
    path = cached(box, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(0o444)
    return md5(content)


def wipe_cache(box):
    subprocess.run(["rm", "-rf", box.path / ".dvc/cache"], check=True)


# add

def make_fifo(path):
    os.mkfifo(path)


def make_socket(path):
    where = os.getcwd()
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(path.parent)
        s.bind(path.name)
        os.chdir(where)


def make_dir_link(path):
    (path.parent.parent / "elsewhere").mkdir()
    path.symlink_to("../elsewhere")


@pytest.mark.parametrize("make, words", [
    (make_fifo, "is a FIFO"),
    (make_socket, "is a socket"),
    (make_dir_link, "is a symbolic link to a directory"),
    (lambda p: p.symlink_to("nowhere"), "is a broken symbolic link"),
    (lambda p: p.with_name("odd.dvc").write_text("outs:\n"), "is a .dvc file inside of a tracked directory"),
    (lambda p: p.with_name(".dvcignore").write_text("x\n"), "ignore files must not be"),
    (lambda p: open(os.path.join(os.fsencode(p.parent), b"odd-\xff"), "w").close(), "not UTF-8"),
])
def test_what_cannot_be_versioned_is_named_and_nothing_recorded(data, make, words):
    data.write("d/good", "x")
    make(data.path / "d" / "odd")
    refused = data.mlmake("data", "add", "d", check=1, timeout=PATIENCE)
    assert words in refused.stderr and "d/" in refused.stderr
    assert not (data.path / "d.dvc").exists()
    assert not (data.path / ".gitignore").exists()


def test_links_to_files_count_as_files(data):
    data.write("real", "through a link")
    (data.path / "d").mkdir()
    (data.path / "d/link").symlink_to("../real")
    data.mlmake("data", "add", "d")
    assert cached(data, "through a link").read_text() == "through a link"
    data.mlmake("data", "status", "--exit-code")


@pytest.mark.parametrize("path, words", [
    (".", "whole repository"), (".dvc/config", "not data of yours"), ("missing", "does not exist"), ("../outside", "outside"),
    ("f.dvc", "is a .dvc file"), ("", "empty path"),
])
def test_paths_that_make_no_sense(data, path, words):
    data.write("f.dvc", "outs:\n")
    assert words in data.mlmake("data", "add", path, check=2).stderr


def test_overlapping_outputs(data):
    data.write("d/s/x", "1")
    data.mlmake("data", "add", "d/s")
    assert "d/s.dvc tracks already" in data.mlmake("data", "add", "d", check=2).stderr


def test_an_unchanged_path_is_not_written_again(data):
    data.write("d/a", "1")
    data.mlmake("data", "add", "d")
    before = (data.path / "d.dvc").stat().st_mtime_ns, cached(data, "1").stat().st_ino
    assert "unchanged: d" in data.mlmake("data", "add", "d").stderr
    assert before == ((data.path / "d.dvc").stat().st_mtime_ns, cached(data, "1").stat().st_ino)


def test_add_prints_what_it_removes(data):
    data.write("d/a", "1")
    data.write("d/b", "2")
    data.mlmake("data", "add", "d")
    (data.path / "d/a").unlink()
    assert "no longer in it: a" in data.mlmake("data", "add", "d").stderr


def test_add_mends_a_damaged_object(data):
    data.write("f", "precious")
    data.mlmake("data", "add", "f")
    cached(data, "precious").chmod(0o644)
    cached(data, "precious").write_text("rubbish!")
    cached(data, "precious").chmod(0o444)
    data.write("copy", "precious")
    data.mlmake("data", "add", "copy", "f")
    (data.path / "f").unlink()
    data.mlmake("data", "checkout")
    assert data.read("f") == b"precious"


def test_git_does_not_see_names_that_gitignore_makes_hard(data):
    for name in ("trailing ", "new\nline", "[a]", "!b"):
        data.write(name, name)
    data.mlmake("data", "add", "trailing ", "new\nline", "[a]", "!b")
    seen = data.git("ls-files", "-o", "--exclude-standard", "-z").stdout.split("\0")
    assert sorted(n for n in seen if n and not n.startswith(".")) == ["!b.dvc", "[a].dvc", "new\nline.dvc", "trailing .dvc"]
    for name in ("trailing ", "new\nline", "[a]", "!b"):
        (data.path / name).unlink()
    data.mlmake("data", "checkout")
    assert data.read("new\nline") == b"new\nline"


# .dvc files and manifests that are not to be trusted

@pytest.mark.parametrize("text", [
    "", "\n", "outs:\n- md5: 9dd4", "outs: 3\n", "<<<<<<< HEAD\nouts:\n=======\n>>>>>>> x\n", "- a\n", "outs:\n- path: x\n  md5: {}\n",
])
def test_a_broken_dvc_file_is_named_and_the_rest_goes_on(stored, text):
    stored.write("broken.dvc", text)
    stored.write("f", "changed")
    status = stored.mlmake("data", "status", check=3)
    assert "broken.dvc" in status.stderr and "modified: f" in status.stdout
    assert "broken.dvc" in stored.mlmake("data", "push", check=3).stderr
    assert "broken.dvc" in stored.mlmake("data", "checkout", "broken.dvc", check=None).stderr
    assert stored.mlmake("data", "checkout", "d").returncode == 0


@pytest.mark.parametrize("path", ["../evil", "/tmp/mlmake-evil", "a/../../evil", ".", "", "x/./y", "x//y", ".git/hooks/pre-commit\0"])
def test_manifests_do_not_lead_outside(data, path):
    put_manifest(data, [(put_object(data, "evil"), path)])
    assert data.mlmake("data", "checkout", check=3).stderr
    assert not (data.path / "d").exists() and not (data.path.parent / "evil").exists() and not os.path.exists("/tmp/mlmake-evil")


@pytest.mark.parametrize("path", ["../evil", "/tmp/mlmake-evil", ".git/config", ".dvc/config", "a/../../evil"])
def test_dvc_files_do_not_lead_outside(data, path):
    name = put_object(data, "evil")
    data.write("x.dvc", f"outs:\n- md5: {name}\n  size: 4\n  hash: md5\n  path: {path}\n")
    assert "x.dvc" in data.mlmake("data", "checkout", check=3).stderr
    assert b"evil" not in data.read(".git/config") and b"evil" not in data.read(".dvc/config")


def test_nothing_is_written_through_links(data):
    put_manifest(data, [(put_object(data, "one"), "s/x")])
    outside = data.path.parent / "outside"
    outside.mkdir()
    (data.path / "d").mkdir()
    (data.path / "d/s").symlink_to(outside)
    assert "symbolic link" in data.mlmake("data", "checkout", check=3).stderr
    (data.path / "d/s").unlink()
    (data.path / "d").rmdir()
    (data.path / "d").symlink_to(outside)
    data.mlmake("data", "checkout", check=1)
    assert not list(outside.iterdir())


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b"[1]", b'[{"md5": "xyz", "relpath": "a"}]', b"\xff" * 10,
                                  b"[" * 100000, b'[{"md5": "' + b"0" * 32 + b'"}]'])
def test_manifests_that_are_none(data, text):
    put_raw_manifest(data, text, 1)
    assert data.mlmake("data", "checkout", check=3).stderr
    assert not (data.path / "d").exists()


def test_a_manifest_must_have_the_count_of_its_dvc_file(data):
    put_manifest(data, [(put_object(data, "one"), "a")])
    text = data.read("d.dvc").decode().replace("nfiles: 1", "nfiles: 2")
    data.write("d.dvc", text)
    assert "lists 1" in data.mlmake("data", "checkout", check=3).stderr


# checkout

def test_unsaved_bytes_are_listed_and_kept(stored):
    stored.write("d/a", "edited, in no cache")
    stored.write("d/mine", "untracked, in no cache")
    stored.write("f", "edited, too")
    (stored.path / "d/b").unlink()
    refused = stored.mlmake("data", "checkout", check=1)
    for name in ("d/a", "d/mine", "f"):
        assert f"  {name}\n" in refused.stderr
    assert stored.read("d/a") == b"edited, in no cache" and not (stored.path / "d/b").exists()
    stored.mlmake("data", "checkout", "--force")
    assert stored.read("d/a") == b"content of d/a\n" and stored.read("f") == b"content of f\n"
    assert stored.read("d/mine") == b"untracked, in no cache"


def test_stale_members_that_are_cached_go(stored):
    old = stored.read("d.dvc")
    stored.write("d/deep/er/new", "more")
    stored.mlmake("data", "add", "d")
    stored.write("d.dvc", old)
    assert "M       d/" in stored.mlmake("data", "checkout").stdout
    assert not (stored.path / "d/deep").exists() and stored.read("d/a")


def test_files_become_directories_and_back(data):
    data.write("d/x", "a file")
    data.mlmake("data", "add", "d")
    first = data.read("d.dvc")
    (data.path / "d/x").unlink()
    data.write("d/x/y", "in a directory")
    data.mlmake("data", "add", "d")
    second = data.read("d.dvc")
    data.write("d.dvc", first)
    data.mlmake("data", "checkout")
    assert data.read("d/x") == b"a file"
    data.write("d.dvc", second)
    data.mlmake("data", "checkout")
    assert data.read("d/x/y") == b"in a directory"


def test_a_damaged_object_is_not_checked_out(stored):
    cached(stored, "content of d/a\n").chmod(0o644)
    cached(stored, "content of d/a\n").write_text("content of d/!\n")
    cached(stored, "content of d/a\n").chmod(0o444)
    subprocess.run(["rm", "-rf", stored.path / "d"], check=True)
    refused = stored.mlmake("data", "checkout", check=3)
    assert "d/a" in refused.stderr and not (stored.path / "d").exists()
    # pull fetches a sound copy, and keeps the damaged one aside.
    pulled = stored.mlmake("data", "pull")
    assert stored.read("d/a") == b"content of d/a\n" and ".mlmake-tmp/damaged" in pulled.stderr


def test_missing_objects_are_named(stored):
    cached(stored, "content of d/s/c\n").unlink()
    subprocess.run(["rm", "-rf", stored.path / "d"], check=True)
    refused = stored.mlmake("data", "checkout", check=3)
    assert "d/s/c" in refused.stderr and not (stored.path / "d").exists()


def test_part_of_a_directory(stored):
    subprocess.run(["rm", "-rf", stored.path / "d"], check=True)
    stored.mlmake("data", "checkout", "d/s")
    assert sorted(os.listdir(stored.path / "d")) == ["s"]
    wipe_cache(stored)
    stored.mlmake("data", "pull", "d/a")
    assert sorted(os.listdir(stored.path / "d")) == ["a", "s"]
    assert not cached(stored, "content of d/b\n").exists()


# push and pull

def test_junk_on_the_remote_is_seen(stored):
    victim = on_remote(stored, "content of d/a\n")
    victim.chmod(0o644)
    victim.write_text("junk of d/a...\n")
    wipe_cache(stored)
    subprocess.run(["rm", "-rf", stored.path / "d"], check=True)
    refused = stored.mlmake("data", "pull", check=3)
    assert "d/a" in refused.stderr and not (stored.path / "d").exists()
    assert not cached(stored, "content of d/a\n").exists()
    assert cached(stored, "content of d/b\n").exists()


def test_a_member_that_the_remote_lost_is_healed(stored):
    on_remote(stored, "content of d/b\n").unlink()
    assert json.loads(stored.mlmake("data", "status", "-c", "--json", "--granular").stdout)["not_in_remote"] == ["d/", "d/b"]
    assert json.loads(stored.mlmake("data", "push", "--json").stdout)["pushed"] == 1
    assert on_remote(stored, "content of d/b\n").read_text() == "content of d/b\n"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 300], ids=["asked one by one", "listed"])
def test_a_truncated_object_in_s3_is_healed(data, s3_server, bucket, count):
    for i in range(count):
        data.write(f"f{i}", f"content of {i:03}\n")
    data.mlmake("data", "add", *[f"f{i}" for i in range(count)])
    data.mlmake("data", "remote", "add", "-d", "s3", f"s3://{bucket}/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", s3_server.endpoint)
    data.env.update(s3_server.env)
    data.mlmake("data", "push")
    name = md5("content of 000\n")
    victim = s3_server.root / bucket / "x/files/md5" / name[:2] / name[2:]
    victim.write_text("con")
    assert json.loads(data.mlmake("data", "push", "--json").stdout)["pushed"] == 1
    assert victim.read_text() == "content of 000\n"


def test_a_truncated_remote_object_is_healed(stored):
    victim = on_remote(stored, "content of f\n")
    victim.chmod(0o644)
    victim.write_text("con")
    stored.mlmake("data", "push")
    assert victim.read_text() == "content of f\n"


def test_data_that_is_nowhere_never_exits_0(stored):
    cached(stored, "content of d/b\n").unlink()
    on_remote(stored, "content of d/b\n").unlink()
    manifest = next(stored.remote.rglob("*.dir"))
    manifest.unlink()
    refused = stored.mlmake("data", "push", check=3)
    assert "d/b" in refused.stderr and not manifest.exists(), "a manifest went up whose members are missing"
    assert "d/b" in stored.mlmake("data", "fetch", check=3).stderr
    wipe_cache(stored)
    assert "d/" in stored.mlmake("data", "push", check=3).stderr


def test_a_damaged_object_is_not_pushed(stored):
    stored.write("g", "to be damaged")
    stored.mlmake("data", "add", "g")
    victim = cached(stored, "to be damaged")
    victim.chmod(0o644)
    victim.write_text("to be DAMAGED")
    victim.chmod(0o444)
    assert "g" in stored.mlmake("data", "push", check=3).stderr
    assert not on_remote(stored, "to be damaged").exists()


def test_without_a_remote(data):
    data.write("f", "x")
    data.mlmake("data", "add", "f")
    for command in ("push", "pull", "fetch"):
        assert "mlmake data remote add" in data.mlmake("data", command, check=2).stderr
    data.write(".dvc/config", "[core]\n    remote = s\n['remote \"s\"']\n    url = gs://bucket\n")
    assert "not supported" in data.mlmake("data", "push", check=2).stderr
    assert "no remote 'x'" in data.mlmake("data", "push", "-r", "x", check=2).stderr


def test_commit_is_named_only_where_it_records_nothing_new(data):
    for name in ("d/a", "d/b"):
        data.write(name, name)
    data.mlmake("data", "add", "--no-commit", "d")
    assert "mlmake data commit takes it" in data.mlmake("data", "status").stdout
    (data.path / "d/a").unlink()
    assert "data commit" not in data.mlmake("data", "status").stdout, "it would forget d/a"


def test_status_of_a_named_remote_asks_it(stored, tmp_path):
    stored.mlmake("data", "remote", "add", "empty", tmp_path / "empty")
    assert json.loads(stored.mlmake("data", "status", "-r", "empty", "--json").stdout)["not_in_remote"] == ["d/", "f"]
    assert "no remote 'nope'" in stored.mlmake("data", "status", "-r", "nope", check=2).stderr


def test_a_pinned_remote(stored, tmp_path):
    stored.mlmake("data", "remote", "add", "second", tmp_path / "second")
    stored.write("g", "only there")
    stored.mlmake("data", "add", "g")
    stored.write("g.dvc", stored.read("g.dvc").decode() + "  remote: second\n")
    stored.mlmake("data", "push")
    assert len([p for p in (tmp_path / "second").rglob("*") if p.is_file()]) == 1
    assert not on_remote(stored, "only there").exists()


# remote, locks, the rest

@pytest.mark.parametrize("url, words", [
    ("gs://bucket/x", "https://storage.googleapis.com"),
    ("azure://container/x", "versitygw azure"),
    ("hdfs://host/x", "S3 gateway"),
    ("webhdfs://host/x", "S3 gateway"),
    ("oss://bucket/x", "https://oss-REGION.aliyuncs.com"),
    ("gdrive://id/x", "rclone serve webdav"),
    ("ftp://host/x", "supported are"),
    ("https:///x", "write it as https://host/path"),
    ("webdav://", "write it as webdav://host/path"),
    ("s3://", "write it as s3://bucket/prefix"),
    ("s3:/bucket/x", "write it as s3://bucket/prefix"),
])
def test_a_remote_that_could_not_be_used_is_not_added(data, url, words):
    before = data.read(".dvc/config")
    assert words in data.mlmake("data", "remote", "add", "-d", "r", url, check=2).stderr
    assert data.read(".dvc/config") == before


def test_a_remote_directory_that_is_none(data):
    """The remote's fault: exit code 4, as of a server that refuses."""
    data.write("f", "x")
    data.write("afile", "x")
    data.mlmake("data", "add", "f")
    data.mlmake("data", "remote", "add", "-d", "r", "afile")
    result = data.mlmake("data", "push", check=4)
    assert "in the remote directory" in result.stderr and "hint: is it mounted" in result.stderr


def test_init_wants_git(box):
    """As dvc does: else the .gitignore is not written, and git takes the data."""
    result = box.mlmake("data", "init", check=2)
    assert "is in no git repository" in result.stderr and "git init" in result.stderr and "--no-scm" in result.stderr
    assert not (box.path / ".dvc").exists()
    box.mlmake("data", "init", "--no-scm")


def test_remote_edits_change_one_line(data):
    text = "# ours\n[core]\n    remote = a ; not a comment\n\n['remote \"a\"']\n    url = s3://x/y   # keep\n    # the slow one\n    jobs = 3\n"
    text = text.replace(" ; not a comment", "")
    data.write(".dvc/config", text)
    data.mlmake("data", "remote", "modify", "a", "jobs", "5")
    assert data.read(".dvc/config").decode() == text.replace("jobs = 3", "jobs = 5")
    data.mlmake("data", "remote", "modify", "--local", "a", "secret_access_key", "hush")
    assert data.read(".dvc/config").decode() == text.replace("jobs = 3", "jobs = 5")
    assert b"hush" in data.read(".dvc/config.local")
    assert "did you mean 'jobs'" in data.mlmake("data", "remote", "modify", "a", "job", "1", check=2).stderr
    assert data.mlmake("data", "remote", "default").stdout == "a\n"


@pytest.mark.slow
def test_the_lock_is_waited_for(data):
    data.write("f", "x")
    with open(data.path / ".dvc/tmp/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f" {os.getpid()}\n")
        lock.flush()
        start = time.monotonic()
        refused = data.mlmake("data", "add", "--lock-timeout", "300ms", "f", check=5)
        assert time.monotonic() - start < 30 and f"process {os.getpid()}" in refused.stderr
        waiting = data.popen(data.binary, "data", "add", "f", stderr=subprocess.PIPE, text=True)
        assert "waiting for" in waiting.stderr.readline()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert waiting.wait(PATIENCE) == 0
        waiting.stderr.close()


LOCKING = [("add", "g"), ("commit",), ("checkout",), ("pull",), ("gc", "-w", "-f"), ("remove", "f.dvc"), ("move", "f", "h"), ("unprotect", "f"),
           ("migrate",), ("update", "f"), ("import-url", "g", "h"), ("config", "cache.type", "copy"), ("remote", "add", "s", "../t"),
           ("remote", "modify", "r", "jobs", "3"), ("remote", "rename", "r", "s"), ("remote", "default", "r"), ("remote", "remove", "r")]


@pytest.mark.parametrize("args", LOCKING, ids=[" ".join(args[:2]) for args in LOCKING])
def test_how_long_the_lock_is_waited_for(data, args):
    data.write("f", "x")
    data.write("g", "y")
    data.mlmake("data", "add", "f")
    data.mlmake("data", "remote", "add", "-d", "r", "../r")
    refused = data.mlmake("data", *args, "--lock-timeout", "soon", check=2)
    assert "'soon' is no time" in refused.stderr and "30s" in refused.stderr
    with open(data.path / ".dvc/tmp/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = data.mlmake("data", *args, "--lock-timeout=0s", check=5)
        assert ".dvc/tmp/lock is held by another process; waited 0.00s" in refused.stderr and "--lock-timeout 10m" in refused.stderr


def test_outside_of_a_data_repository(box):
    assert "mlmake data init" in box.mlmake("data", "status", check=2).stderr


def test_status_exit_codes(stored):
    assert stored.mlmake("data", "status").returncode == 0
    stored.mlmake("data", "status", "-q")
    stored.write("f", "changed")
    assert "modified: f" in stored.mlmake("data", "status").stdout
    assert stored.mlmake("data", "status", "-q", check=1).stdout == ""
    stored.mlmake("data", "status", "--exit-code", check=1)
    (stored.path / "f").unlink()
    assert "deleted: f" in stored.mlmake("data", "status", check=0).stdout


def test_from_a_subdirectory(stored):
    stored.write("sub/x", "1")
    sub = stored.path / "sub"
    stored.mlmake("data", "add", "x", cwd=sub)
    assert (sub / "x.dvc").exists()
    assert stored.mlmake("data", "root", cwd=sub).stdout.strip() == str(stored.path)
    (stored.path / "f").unlink()
    stored.mlmake("data", "checkout", "../f", cwd=sub)
    assert stored.read("f") == b"content of f\n"


def test_an_empty_directory(data):
    (data.path / "void").mkdir()
    data.mlmake("data", "add", "void")
    assert EMPTY_DIR in data.read("void.dvc").decode()
    (data.path / "void").rmdir()
    data.mlmake("data", "checkout")
    assert (data.path / "void").is_dir()
