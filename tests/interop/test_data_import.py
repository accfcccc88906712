"""mlmake data import, update and pull of imports beside the real dvc: the same .dvc bytes, and each goes on where the other began."""
import contextlib
import json
import os
import shutil

import pytest

from conftest import Sandbox, free_port, need_peer, server

FILES = {"data/a": "1\n", "data/sub/b": "2\n", "f": "f\n", "tool": "#!/bin/sh\n", "mix/tracked": "m1\n", "mix/git.txt": "m2\n",
         "code/x.py": "x\n", "code/deep/y.py": "y\n", "odd/it's \"q\" é": "odd\n"}
TRACKED = ["data", "f", "tool", "mix/tracked", "odd"]


def make_source(path, remote=None):
    """A data repository with two revisions, v1 and main."""
    box = Sandbox(path)
    box.git("init", "-q", "-b", "main")
    box.mlmake("data", "init")
    for name, text in FILES.items():
        box.write(name, text, mode=0o755 if name in ("tool", "code/x.py") else None)
    (box.path / "code/link").symlink_to("x.py")
    if remote:
        box.mlmake("data", "remote", "add", "-d", "store", remote)
    box.mlmake("data", "add", *TRACKED)
    if remote:
        box.mlmake("data", "push")
    box.git("add", "-A")
    box.git("commit", "-qm", "one")
    box.git("tag", "v1")
    box.write("data/c", "3\n")
    box.mlmake("data", "add", "data")
    if remote:
        box.mlmake("data", "push")
    box.git("add", "-A")
    box.git("commit", "-qm", "two")
    return box


@pytest.fixture
def source(tmp_path):
    return make_source(tmp_path / "source")


def make_repo(path, source):
    box = Sandbox(path)
    box.git("init", "-q", "-b", "main")
    box.mlmake("data", "init")
    box.url = os.path.relpath(source.path, box.path)
    return box


@pytest.fixture
def pair(tmp_path, source):
    """Two repositories at the same depth, so that the same relative path leads to the source."""
    need_peer("dvc")
    boxes = [make_repo(tmp_path / name, source) for name in ("by-dvc", "by-mlmake")]
    boxes[0].run_import = lambda *args, **kw: boxes[0].dvc("import", "-q", *args, **kw)
    boxes[0].run_update = lambda *args, **kw: boxes[0].dvc("update", "-q", *args, **kw)
    boxes[1].run_import = lambda *args, **kw: boxes[1].mlmake("data", "import", *args, **kw)
    boxes[1].run_update = lambda *args, **kw: boxes[1].mlmake("data", "update", *args, **kw)
    return boxes


def records(box):
    names = [p for p in box.path.rglob("*") if p.is_file() and (p.name.endswith(".dvc") or p.name == ".gitignore")]
    return {str(p.relative_to(box.path)): p.read_text() for p in names if p.relative_to(box.path).parts[0] not in (".dvc", ".mlmake")}


def files(box):
    found = {}
    for path in box.path.rglob("*"):
        rel = path.relative_to(box.path)
        if path.is_file() and rel.parts[0] not in (".git", ".dvc", ".mlmake"):
            found[str(rel)] = (path.read_bytes(), path.stat().st_mode & 0o777)
    return found


@pytest.mark.slow
def test_the_same_records_and_files(pair):
    imports = [["data"], ["data/sub", "-o", "sub", "--rev", "v1"], ["data/a", "-o", "one"], ["tool"], ["mix"], ["code/x.py"], ["code"],
               ["f", "--no-download"], ["f", "--no-exec", "-o", "f2"], ["f", "-o", "there"], ["odd"], ["odd/it's \"q\" é"],
               ["data/", "-o", "slash"], ["./f", "-o", "dotted"]]
    for box in pair:
        (box.path / "there").mkdir()
        for args in imports:
            box.run_import(box.url, *args)
    theirs, ours = records(pair[0]), records(pair[1])
    for name, text in theirs.items():
        assert ours.get(name) == text, name
    assert set(ours) == set(theirs)
    assert files(pair[1]) == files(pair[0])
    status = pair[1].dvc("status", "--json").stdout
    assert json.loads(status) == json.loads(pair[0].dvc("status", "--json").stdout)


@pytest.mark.slow
def test_the_same_updates(pair, source):
    for box in pair:
        box.run_import(box.url, "data", "--rev", "v1")
        box.run_import(box.url, "data", "-o", "head")
        box.run_import(box.url, "f", "--no-download")
        box.run_import(box.url, "f", "-o", "bare", "--no-exec")
        box.run_import(box.url, "mix")
        box.write("head.dvc", "# ours\n" + box.read("head.dvc").decode() + "meta:\n  who: we\n")
    source.write("data/d", "4\n")
    source.write("f", "changed\n")
    source.mlmake("data", "add", "data", "f")
    source.git("commit", "-qam", "three")
    for box in pair:
        box.run_update("head.dvc", "f.dvc", "bare.dvc")
        box.run_update("data.dvc", "--rev", "main")
        box.run_update("mix.dvc", "--no-download")
    ours, theirs = records(pair[1]), records(pair[0])
    del ours["mix/.gitignore"]
    assert ours == theirs
    shutil.rmtree(pair[1].path / "mix")  # dvc has removed it
    shutil.rmtree(pair[0].path / "mix", ignore_errors=True)
    assert files(pair[1]) == files(pair[0])
    assert pair[1].read("head/d") == b"4\n"
    assert pair[1].run_update("head.dvc").stderr.startswith("unchanged")


@pytest.mark.slow
@pytest.mark.parametrize("importer,puller", [("dvc", "mlmake"), ("mlmake", "dvc")])
def test_pull_in_another_clone(tmp_path, source, importer, puller):
    """What was imported is on no remote of its own: it comes from the source again."""
    need_peer("dvc")
    first = make_repo(tmp_path / "first", source)
    for args in (["data"], ["mix"], ["f", "--no-download"], ["code/x.py"]):
        first.dvc("import", "-q", first.url, *args) if importer == "dvc" else first.mlmake("data", "import", first.url, *args)
    first.git("add", "-A")
    first.git("commit", "-qm", "imports")
    source.write("data/later", "later\n")
    source.mlmake("data", "add", "data")
    source.git("commit", "-qam", "three")
    second = Sandbox(tmp_path / "other")
    second.git("clone", "-q", first.path, ".")
    second.dvc("pull", "-q") if puller == "dvc" else second.mlmake("data", "pull")
    assert second.read("data/c") == b"3\n" and not (second.path / "data/later").exists()
    assert second.read("mix/tracked") == b"m1\n" and second.read("mix/git.txt") == b"m2\n" and second.read("x.py") == b"x\n"
    assert second.read("f") == b"f\n"
    assert second.git("status", "--porcelain").stdout == ""
    if puller == "mlmake":
        assert "uncommitted" not in json.loads(second.mlmake("data", "status", "--json", "data", "mix", "x.py").stdout)


def test_from_a_remote_of_the_source(tmp_path, source):
    """Without the cache of the source, its default remote has the data."""
    source.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    source.mlmake("data", "push")
    source.git("commit", "-qam", "remote")
    shutil.rmtree(source.path / ".dvc/cache")
    box = make_repo(tmp_path / "box", source)
    box.mlmake("data", "import", box.url, "data")
    assert box.read("data/sub/b") == b"2\n"
    shutil.rmtree(tmp_path / "store")
    box.mlmake("data", "import", box.url, "data/a")
    missing = box.mlmake("data", "import", box.url, "f", check=3)
    assert "(md5 " in missing.stderr and "data push" in missing.stderr
    assert not (box.path / "f.dvc").exists() and not (box.path / "f").exists()


def test_what_of_an_import_is_not_here_is_had_from_its_source(tmp_path, source):
    """The remote of this repository never has it, so that is neither asked nor named."""
    box = make_repo(tmp_path / "box", source)
    box.mlmake("data", "remote", "add", "-d", "own", tmp_path / "own")
    box.mlmake("data", "import", box.url, "data")
    shutil.rmtree(box.path / ".dvc/cache")
    for command in (["ls", "-R", "data"], ["get", "data/a", "-o", "got"], ["gc", "-w", "-f"]):
        said = box.mlmake("data", *command, check=3).stderr
        assert "mlmake data fetch data brings it" in said and "remote" not in said
    box.mlmake("data", "fetch", "data")
    box.mlmake("data", "get", "data/a", "-o", "got")
    box.mlmake("data", "gc", "-w", "-f")


def test_a_remote_that_the_source_does_not_have(tmp_path, source):
    """Whatever its cache has: in another clone nothing could be had by that record."""
    box = make_repo(tmp_path / "box", source)
    for command in (["import", box.url, "data"], ["get", box.url, "data"], ["ls", box.url]):
        refused = box.mlmake("data", *command, "--remote", "nope", check=2)
        assert "has no remote 'nope'" in refused.stderr and "--remote" in refused.stderr
    assert not (box.path / "data.dvc").exists() and not (box.path / "data").exists()
    source.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    source.git("commit", "-qam", "remote")
    box.mlmake("data", "import", box.url, "data", "--remote", "store")
    source.mlmake("data", "remote", "rename", "store", "other")
    source.git("commit", "-qam", "renamed")
    shutil.rmtree(box.path / ".dvc/cache")
    box.mlmake("data", "pull")
    assert box.read("data/a") == b"1\n"


def test_plain_git_and_no_repository(tmp_path, gitbox):
    gitbox.write("src/x.py", "x")
    gitbox.git("add", "-A")
    gitbox.git("commit", "-qm", "one")
    box = make_repo(tmp_path / "box", gitbox)
    box.mlmake("data", "import", box.url, "src")
    assert box.read("src/x.py") == b"x"
    (tmp_path / "nothing").mkdir()
    assert "neither" in box.mlmake("data", "import", tmp_path / "nothing", "x", check=2).stderr
    assert "no repository at" in box.mlmake("data", "import", tmp_path / "absent", "x", check=2).stderr
    assert "there is no nope in" in box.mlmake("data", "import", box.url, "nope", check=2).stderr
    assert "nope" in box.mlmake("data", "import", box.url, "src", "-o", "y", "--rev", "nope", check=2).stderr


@pytest.mark.slow
def test_what_is_there_is_not_lost(tmp_path, source):
    box = make_repo(tmp_path / "box", source)
    box.write("data/mine", "precious")
    box.write("f", "precious")
    for name in ("data", "f"):
        assert "exists already" in box.mlmake("data", "import", box.url, name, check=1).stderr
    box.mlmake("data", "import", box.url, "f", "--force")
    assert box.read("f") == b"f\n" and box.read("data/mine") == b"precious"
    assert "data update" in box.mlmake("data", "import", box.url, "f", check=1).stderr
    box.write("f", "edited")
    source.write("f", "new")
    source.mlmake("data", "add", "f")
    source.git("commit", "-qam", "three")
    before = box.read("f.dvc")
    assert "would be lost" in box.mlmake("data", "update", "f", check=1).stderr
    assert box.read("f") == b"edited" and box.read("f.dvc") == before
    box.mlmake("data", "update", "--force", "f")
    assert box.read("f") == b"new"
    box.write("own", "1")
    box.mlmake("data", "add", "own")
    assert "no import" in box.mlmake("data", "update", "own", check=2).stderr
    assert "own.dvc already" in box.mlmake("data", "import", box.url, "f", "-o", "own/x", check=2).stderr


@contextlib.contextmanager
def git_daemon(base):
    """Serves the repositories below base with git's own protocol."""
    port = free_port()
    with server(["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={base}", "--listen=127.0.0.1", f"--port={port}", str(base)],
                port):
        yield f"git://127.0.0.1:{port}"


@pytest.mark.slow
def test_a_repository_elsewhere(tmp_path):
    """Over git's protocol, with its data on a remote: the copy is kept, and brought up to date."""
    source = make_source(tmp_path / "source", tmp_path / "store")
    boxes = [make_repo(tmp_path / name, source) for name in ("ours", "theirs")]
    with git_daemon(source.path.parent) as address:
        url = f"{address}/project"
        boxes[0].mlmake("data", "import", url, "data", "--rev", "v1")
        boxes[0].mlmake("data", "import", url, "code/x.py")
        need_peer("dvc")
        boxes[1].dvc("import", "-q", url, "data", "--rev", "v1")
        boxes[1].dvc("import", "-q", url, "code/x.py")
        assert records(boxes[0]) == records(boxes[1]) and files(boxes[0]) == files(boxes[1])
        source.write("code/x.py", "newer")
        source.git("commit", "-qam", "newer")
        boxes[0].mlmake("data", "update", "x.py")
        assert boxes[0].read("x.py") == b"newer"
        copies = list((boxes[0].home / ".cache/mlmake/repos").iterdir())
        assert len(copies) == 1
    shutil.rmtree(boxes[0].path / ".dvc/cache")
    (boxes[0].path / "x.py").unlink()
    boxes[0].mlmake("data", "pull", "x.py")  # the copy has the commit: nobody is asked
    assert boxes[0].read("x.py") == b"newer"
    gone = boxes[0].mlmake("data", "update", "x.py", check=4)
    assert "cannot read the git repository git://" in gone.stderr


@pytest.mark.parametrize("url", ["ext::sh -c 'touch pwned'", "ext://x", "--upload-pack=touch pwned", "fd::3", "-x:y", "https+x://h/r"])
def test_addresses_that_run_something(tmp_path, source, url):
    box = make_repo(tmp_path / "box", source)
    refused = box.mlmake("data", "import", "--", url, "x", check=2)
    assert "pwned" not in os.listdir(box.path) and refused.stderr


@pytest.mark.slow
def test_a_hostile_repository(tmp_path, source, bucket, s3_server):
    """Hooks, filters, config and links of another repository do nothing here."""
    evil = make_source(tmp_path / "evil")
    marker = tmp_path / "pwned"
    evil.write(".dvc/config", f"""[core]
    remote = s
[cache]
    dir = {tmp_path}/nowhere
['remote "s"']
    url = s3://{bucket}
    endpointurl = {s3_server.endpoint}
    configpath = {tmp_path}/aws-config
    credentialpath = {tmp_path}/aws-credentials
    profile = evil
""")
    (tmp_path / "aws-config").write_text(f"[profile evil]\ncredential_process = touch {marker}\n")
    (tmp_path / "aws-credentials").write_text("[evil]\naws_access_key_id = stolen\naws_secret_access_key = stolen\n")
    evil.write(".gitattributes", "* filter=evil\n")
    evil.git("config", "filter.evil.smudge", f"touch {marker}")
    evil.git("config", "core.fsmonitor", f"touch {marker}")
    evil.write(".git/hooks/post-upload-pack", f"#!/bin/sh\ntouch {marker}\n", mode=0o755)
    (evil.path / "secret").symlink_to("/etc/passwd")
    evil.git("add", "-A", "-f", "secret", ".dvc/config")
    evil.git("-c", "core.fsmonitor=false", "-c", "filter.evil.smudge=cat", "commit", "-qm", "evil")
    shutil.rmtree(evil.path / ".dvc/cache")
    box = make_repo(tmp_path / "box", evil)
    secrets = {"AWS_ACCESS_KEY_ID": s3_server.access, "AWS_SECRET_ACCESS_KEY": s3_server.secret, "AWS_DEFAULT_REGION": "us-east-1"}
    marker.unlink(missing_ok=True)
    with git_daemon(evil.path.parent) as address:
        url = f"{address}/project"
        refused = box.mlmake("data", "import", url, "f", check=None, **secrets)
        assert refused.returncode in (3, 4) and "without credentials" in refused.stderr
        assert "there is no secret" in box.mlmake("data", "import", url, "secret", check=2, **secrets).stderr
        for path in ("../x", "..", "/../../etc/passwd"):
            assert box.mlmake("data", "import", url, path, "-o", "x", check=2, **secrets).stderr
        # The same server, named by a remote of ours, may see them.
        box.mlmake("data", "remote", "add", "mine", f"s3://{bucket}")
        box.mlmake("data", "remote", "modify", "mine", "endpointurl", s3_server.endpoint)
        known = box.mlmake("data", "import", url, "f", check=None, **secrets)
        assert "without credentials" not in known.stderr and known.returncode == 3
    assert not marker.exists()


LISTINGS = [[], ["mix"], ["data"], ["-R"], ["code/x.py"], ["f"]]


def listed(text):
    """What ls --json says; sizes of directories that are git's are dvc's own idea, a link's is that of its text."""
    found = {entry["path"]: entry for entry in json.loads(text)}
    for name, entry in found.items():
        if (entry["isdir"] and not entry["isout"]) or name.endswith("link"):
            entry["size"] = entry["isexec"] = None
    return found


@pytest.mark.slow
@pytest.mark.parametrize("rev", [[], ["--rev", "v1"]])
def test_ls_of_another_repository(tmp_path, source, rev):
    box = Sandbox(tmp_path / "anywhere")
    for args in LISTINGS:
        for only in ([], ["--dvc-only"]) if args in ([], ["-R"]) else ([],):
            theirs = box.dvc("ls", source.path, *args, *rev, *only, "--json")
            ours = listed(box.mlmake("data", "ls", source.path, *args, *rev, *only, "--json").stdout)
            expected = listed(theirs.stdout)
            for name in set(expected) & set(ours):  # dvc has modes and sizes of what is checked out, or none; here the record counts
                for key in ("size", "isexec") if not rev else ("isexec",):
                    if expected[name]["isout"]:
                        expected[name][key] = ours[name][key]
            assert ours == expected, (args, only)


@pytest.mark.slow
def test_get_from_another_repository(tmp_path, source):
    """What dvc get writes, without a repository here."""
    need_peer("dvc")
    source.write("f", "not committed\n")
    source.mlmake("data", "add", "f")
    boxes = [Sandbox(tmp_path / name) for name in ("theirs", "ours")]
    for args in (["data"], ["data/sub/b", "-o", "b"], ["mix", "-o", "m"], ["code/x.py"], ["f"], ["data", "--rev", "v1", "-o", "old"],
                 ["odd/it's \"q\" é", "-o", "odd"], ["f", "--rev", "v1", "-o", "f1"]):
        boxes[0].dvc("get", "-q", source.path, *args)
        boxes[1].mlmake("data", "get", source.path, *args)
    theirs, ours = ({name: bytes_ for name, (bytes_, _) in files(box).items()} for box in boxes)
    assert ours == theirs
    assert ours["f"] == b"not committed\n" and ours["f1"] == b"f\n"
    for args in (["data"], ["data/a", "--rev", "v1"], ["mix/tracked"]):
        assert (boxes[1].mlmake("data", "get", source.path, *args, "--show-url").stdout
                == boxes[0].dvc("get", source.path, *args, "--show-url").stdout)
    assert not [name for name in os.listdir(boxes[1].path) if name.startswith(".mlmake-get")]
    assert "exists already" in boxes[1].mlmake("data", "get", source.path, "f", check=1).stderr
    assert "is a .dvc file" in boxes[1].mlmake("data", "get", source.path, "f.dvc", check=2).stderr


@pytest.mark.slow
def test_get_and_ls_elsewhere(tmp_path):
    source = make_source(tmp_path / "source", tmp_path / "store")
    box = Sandbox(tmp_path / "box")
    with git_daemon(source.path.parent) as address:
        box.mlmake("data", "get", f"{address}/project", "data/c")
        assert box.read("c") == b"3\n"
        names = box.mlmake("data", "ls", f"{address}/project", "-R", "--rev", "v1", "--dvc-only").stdout.split("\n")
        assert "data/a" in names and "data/c" not in names and "code/x.py" not in names
        assert f"{tmp_path}/store/files/md5/" in box.mlmake("data", "get", f"{address}/project", "f", "--show-url").stdout
        shutil.rmtree(tmp_path / "store")
        missing = box.mlmake("data", "get", f"{address}/project", "data/a", check=3)
        assert "not on the remote" in missing.stderr and os.listdir(box.path) == ["c"]


def test_ls_tells_repositories_from_paths(tmp_path, source):
    box = make_repo(tmp_path / "box", source)
    box.write("d/x", "1")
    box.mlmake("data", "add", "d")
    assert box.mlmake("data", "ls", ".").stdout == "d\n" and box.mlmake("data", "ls", "d").stdout == "x\n"
    assert "code" in box.mlmake("data", "ls", box.url).stdout
    assert "code" not in box.mlmake("data", "ls", box.url, "--dvc-only").stdout


UNREACHED = """md5: 8cc1b9a20ee7de307f852caead291303
frozen: true
deps:
- checksum: '278833174525647434280656702281044112315'
  size: 6
  hash: md5
  path: http://127.0.0.1:9/f
outs:
- hash: md5
  path: by-http
"""


def sorted_status(result):
    def normal(value):
        return {k: normal(v) for k, v in value.items()} if isinstance(value, dict) else sorted(value, key=json.dumps)
    return normal(json.loads(result.stdout))


@pytest.mark.slow
def test_status_of_imports(tmp_path, source):
    """Frozen stages with deps, with and without recorded content: the same state, said the same way."""
    need_peer("dvc")
    box = make_repo(tmp_path / "repo", source)

    def compare():
        for flags in ([], ["--granular"], ["--unchanged"], ["--unchanged", "--granular"]):
            theirs, ours = box.dvc("data", "status", "--json", *flags), box.mlmake("data", "status", "--json", *flags)
            assert sorted_status(ours) == sorted_status(theirs), flags
            assert "cannot be tracked" not in ours.stderr
        return sorted_status(box.mlmake("data", "status", "--json"))

    for name in ("local", "part/x", "ldir/y"):
        box.write("../" + name, name)
    for args in (["data"], ["tool"], ["code"], ["f", "--no-download"], ["data", "-o", "nd", "--no-download"], ["f", "-o", "nx", "--no-exec"]):
        box.mlmake("data", "import", box.url, *args)
    for args in (["../local"], ["../local", "lx", "--no-exec"], ["../part", "--no-download"], ["../ldir"]):
        box.mlmake("data", "import-url", *args)
    box.write("by-http.dvc", UNREACHED)
    assert compare()["uncommitted"] == {"deleted": ["by-http", "part/"]}
    box.git("add", "-A")
    box.git("commit", "-qm", "imports")
    compare()
    box.write("data/a", "changed")
    box.write("data/new", "new")
    (box.path / "tool").unlink()
    box.write("local", "changed")
    box.write("f", "came")
    box.write("nd/x", "came, too")
    box.write("by-http", "bytes")
    now = compare()["uncommitted"]
    assert now["added"] == ["f", "nd/"] and "by-http" in now["modified"] and "data/" in now["modified"]
    box.run("rm", "-rf", ".dvc/cache", box.home / "dvc-site", "data")
    # With its manifest gone dvc calls the members of a directory that changed unknown, and mlmake, too; both without --granular here.
    assert "tool" in sorted_status(box.mlmake("data", "status", "--json"))["not_in_cache"]
    theirs, ours = (sorted_status(run("data", "status", "--json")) for run in (box.dvc, lambda *a: box.mlmake(*a)))
    assert ours == theirs
