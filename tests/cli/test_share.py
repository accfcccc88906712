"""Results shared through a remote: what one clone made, another restores; who may write; what is refused."""
import json
import os
import shutil
import stat

import pytest

from conftest import clean_env
from share_help import clone, dir_entry, file_entry, link_entry, project, ran, record, sha256, summary


@pytest.fixture
def remote(tmp_path):
    return tmp_path / "remote"


@pytest.fixture
def first(box, remote):
    """A clone that has made everything and shared it."""
    project(box, remote)
    box.mlmake("--cache-push", "train", "here", "never")
    return box


def stored(remote, kind):
    return sorted(path.name for path in (remote / "mlmake/v1" / kind).iterdir()) if (remote / "mlmake/v1" / kind).exists() else []


def state_of(top):
    found = {}
    for path in sorted(top.rglob("*")):
        st = path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        found[str(path.relative_to(top))] = (stat.S_IFMT(st.st_mode), st.st_mode & 0o100, content)
    return found


def test_a_second_clone_restores_instead_of_running(first, tmp_path):
    second = clone(first, tmp_path, "second")
    end, warnings = summary(second, "train")
    assert end["restored"] == 2 and end["succeeded"] == 0 and end["fetched"] == 2 and not warnings
    assert ran(second) == []
    assert state_of(second.path / "model") == state_of(first.path / "model")
    assert second.read("mid") == b"data\n"
    assert second.mlmake("log", "train").stdout == "trained\n"
    assert summary(second, "train")[0]["up_to_date"] == 2
    # It is in the local cache now: the remote is not needed any more.
    shutil.rmtree(tmp_path / "remote")
    second.mlmake("clean", "train", "prep")
    assert summary(second, "train")[0]["restored"] == 2


def test_a_target_that_takes_longer_than_a_collection_waits(box, remote, tmp_path):
    """What a run keeps in the cache for itself may be gone after a day: its results are kept, and shared, all the same."""
    project(box, remote)
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], "cache": {"remote": "storage"}, "targets": {
        "short": {"inputs": ["src"], "outputs": ["s"], "run": "head -c 300000 /dev/zero > s"},
        "long": {"inputs": ["s"], "outputs": ["l"], "run": f"until [ -n \"$(find {remote}/mlmake/v1/actions -type f -size +0)\" ]; do sleep 0.1; done; rm -rf $HOME/.cache/mlmake/v1/tmp; head -c 400000 /dev/zero > l; cat src >> l"}}}))
    end, warnings = summary(box, "--cache-push", "long")
    assert end["succeeded"] == end["shared"] == 2 and not warnings
    (box.path / "l").unlink()
    assert summary(box, "long")[0]["restored"] == 1
    assert summary(clone(box, tmp_path, "second"), "long")[0]["fetched"] == 2


def test_what_is_said(first, tmp_path):
    second = clone(first, tmp_path, "second")
    assert second.mlmake("-n", "train").stdout.count("(its outputs would come from the remote 'storage')") == 2
    dry = second.mlmake("-n", "prep")
    assert "(its outputs would come from the remote 'storage')" in dry.stdout and ran(second) == [] and not (second.path / "mid").exists()
    told = second.mlmake("-v", "train").stderr
    assert "results are read from the remote 'storage', and not written there: this is not a push to the default branch in CI" in told
    assert "train ... restored from the remote 'storage'" in told


def test_layout_and_what_is_kept_out(first, remote):
    """`cache: local` and `cache: false` stay here; each content lies there once; nothing is left of its way there."""
    assert len(stored(remote, "actions")) == 2
    contents = [b"data\n", b"\0" * 300000, b"x"]
    assert stored(remote, "objects") == sorted(sha256(c) for c in contents)
    for content in contents:
        assert (remote / "mlmake/v1/objects" / sha256(content)).read_bytes() == content
    assert sorted(p.name for p in remote.iterdir()) == ["mlmake"]
    assert not list((first.home / ".cache/mlmake/v1/tmp").iterdir())


def test_other_inputs_are_other_results(first, tmp_path):
    second = clone(first, tmp_path, "second")
    second.write("src", "other\n")
    end, warnings = summary(second, "train")
    assert end["succeeded"] == 2 and end["fetched"] == 0 and not warnings and second.read("model/a") == b"other\n"


def test_no_cache_asks_and_writes_nothing(first, tmp_path, remote):
    second = clone(first, tmp_path, "second")
    second.mlmake("--no-cache", "train")
    assert ran(second) == ["prep", "train"]
    second.write("src", "other\n")
    second.mlmake("--no-cache", "--cache-push", "train")
    assert len(stored(remote, "actions")) == 2


def test_force_runs_and_shares(first, tmp_path):
    second = clone(first, tmp_path, "second")
    assert summary(second, "-B", "train")[0]["succeeded"] == 2
    assert ran(second) == ["prep", "train"]


def test_cache_push_shares_what_is_up_to_date(box, remote):
    project(box, remote)
    box.mlmake("train")
    assert not remote.exists()
    told = box.mlmake("--cache-push", "train").stderr
    assert "shared 2 results" in told and len(stored(remote, "actions")) == 2 and ran(box) == ["prep", "train"]
    assert "shared" not in box.mlmake("--cache-push", "train").stderr


def test_the_environment_names_another_remote_or_none(first, tmp_path):
    second = clone(first, tmp_path, "second")
    assert summary(second, "prep", MLMAKE_CACHE_REMOTE="none")[0]["succeeded"] == 1
    third = clone(first, tmp_path, "third")
    third.write("mlmake.yaml", third.read("mlmake.yaml").replace(b"remote: storage", b"remote: ''"))
    assert summary(third, "prep", MLMAKE_CACHE_REMOTE="storage")[0]["restored"] == 1


def test_a_remote_that_does_not_exist_is_a_warning(box, remote):
    project(box, remote)
    box.write("mlmake.yaml", box.read("mlmake.yaml").replace(b"remote: storage", b"remote: elsewhere"))
    end, warnings = summary(box, "train")
    assert end["succeeded"] == 2 and len(warnings) == 1
    assert "results are not shared: there is no remote 'elsewhere'" in warnings[0]["message"]


def test_a_remote_that_cannot_be_read_is_one_warning(first, tmp_path, remote):
    if os.geteuid() == 0:
        shutil.rmtree(remote)
        remote.write_text("not a directory")
    else:
        (remote / "mlmake").chmod(0)
    second = clone(first, tmp_path, "second")
    end, warnings = summary(second, "-j1", "--cache-push", "train")
    assert end["succeeded"] == 2 and end["failed"] == 0 and end["not_shared"] == 2
    assert sum("not shared on the remote 'storage'" in w["message"] for w in warnings) == 1
    assert len(warnings) <= 2


# Who may write

def event(tmp_path, name="push", ref="refs/heads/main", payload=None):
    path = tmp_path / "event.json"
    full = {"repository": {"default_branch": "main", "fork": False}}
    full.update(payload or {})
    path.write_text(json.dumps(full))
    return {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": name, "GITHUB_REF": ref, "GITHUB_EVENT_PATH": str(path)}


FORK = {"repository": {"default_branch": "main", "fork": True}}
NEW_MAIN = {"repository": {"default_branch": "trunk", "fork": False}}
PULL = {"pull_request": {"number": 1}}

# setting, arguments, event or None outside of CI, what it says, whether it writes, whether it warns
POLICY = [
    ("", [], None, "this is not a push to the default branch in CI", False, False),
    (", push: never", [], None, "cache.push is never", False, False),
    (", push: always", [], None, "cache.push is always", True, False),
    ("", ["--cache-push"], None, "--cache-push asks for it", True, False),
    (", push: never", ["--cache-push"], None, "--cache-push asks for it", True, False),
    ("", [], {}, "this is a push to the default branch in CI", True, False),
    ("", [], {"payload": NEW_MAIN, "ref": "refs/heads/trunk"}, "this is a push to the default branch in CI", True, False),
    ("", [], {"payload": NEW_MAIN}, "this is not a push to the default branch in CI", False, False),
    ("", [], {"ref": "refs/heads/feature"}, "this is not a push to the default branch in CI", False, False),
    ("", [], {"ref": "refs/tags/main"}, "this is not a push to the default branch in CI", False, False),
    ("", [], {"name": "schedule"}, "this is not a push to the default branch in CI", False, False),
    (", push: never", [], {}, "cache.push is never", False, False),
    (", push: always", [], {"name": "schedule"}, "cache.push is always", True, False),
    (", push: always", [], {"ref": "refs/heads/feature"}, "cache.push is always", True, False),
    ("", [], {"name": "pull_request", "payload": PULL}, "the event of this run is 'pull_request'", False, False),
    (", push: always", [], {"name": "pull_request", "payload": PULL}, "the event of this run is 'pull_request'", False, True),
    (", push: always", ["--cache-push"], {"name": "pull_request_target", "payload": PULL}, "'pull_request_target'", False, True),
    ("", ["--cache-push"], {"name": "workflow_run"}, "the event of this run is 'workflow_run'", False, True),
    ("", ["--cache-push"], {"name": "merge_group"}, "the event of this run is 'merge_group'", False, True),
    ("", ["--cache-push"], {"payload": PULL}, "this run is for a pull request", False, True),
    ("", [], {"payload": FORK}, "this repository is a fork", False, False),
    (", push: always", ["--cache-push"], {"payload": FORK}, "this repository is a fork", False, True),
    ("", [], {"payload": {"repository": {"fork": False}}}, "does not say what repository it is of", False, False),
    ("", [], {"payload": {"repository": {"default_branch": "main"}}}, "does not say what repository it is of", False, False),
    ("", ["--cache-push"], {"payload": {"repository": None}}, "does not say what repository it is of", False, True),
]


@pytest.mark.parametrize("setting,args,what,says,writes,warns", POLICY)
def test_policy(box, remote, tmp_path, setting, args, what, says, writes, warns):
    project(box, remote, setting)
    env = {} if what is None else event(tmp_path, **what)
    told = box.mlmake("-v", *args, "prep", **env).stderr
    assert says in told
    assert len(stored(remote, "actions")) == writes
    assert ("warning: results are not shared on the remote 'storage'" in told) == warns


def test_an_event_that_cannot_be_read_writes_nothing(box, remote, tmp_path):
    project(box, remote, ", push: always")
    for content in (None, "", "{", "[]"):
        env = event(tmp_path)
        path = tmp_path / "event.json"
        path.unlink()
        if content is not None:
            path.write_text(content)
        box.mlmake("-B", "prep", **env)
        assert not remote.exists(), content
    env.pop("GITHUB_EVENT_PATH")
    box.mlmake("-B", "prep", **env)
    assert not remote.exists()


def test_a_pull_request_reads(first, tmp_path, remote):
    before = state_of(remote)
    second = clone(first, tmp_path, "second")
    end, _ = summary(second, "train", **event(tmp_path, "pull_request", "refs/pull/1/merge", PULL))
    assert end["restored"] == 2
    second.write("src", "hostile\n")
    summary(second, "train", **event(tmp_path, "pull_request", "refs/pull/1/merge", PULL))
    assert state_of(remote) == before


# What is refused

def plant(remote, entries, objects=(), **kw):
    """Replaces the records of prep's key by one with these entries."""
    key = key_of_prep(remote)
    path = remote / "mlmake/v1/actions" / key
    path.unlink()
    path.write_bytes(record(kw.pop("key", key), entries, **kw))
    for data in objects:
        (remote / "mlmake/v1/objects" / sha256(data)).write_bytes(data)


def key_of_prep(remote):
    for path in (remote / "mlmake/v1/actions").iterdir():
        if b"mid\0" in path.read_bytes():
            return path.name
    raise AssertionError("prep was not shared")


def refused(first, tmp_path, says):
    second = clone(first, tmp_path, "second")
    outside = state_of(tmp_path / "second")
    end, warnings = summary(second, "prep")
    assert end["succeeded"] == 1 and end["restored"] == 0 and ran(second) == ["prep"] and second.read("mid") == b"data\n"
    assert len(warnings) == 1 and "a result on the remote 'storage' is not used" in warnings[0]["message"]
    assert says in warnings[0]["message"]
    shutil.rmtree(second.path / ".mlmake")
    new = set(state_of(tmp_path / "second")) - set(outside)
    assert {n for n in new if not n.startswith("home/.cache")} == {"project/mid", "project/ran"}


EVIL = b"evil\n"
HOSTILE = [
    ([file_entry("mid", EVIL), file_entry("/tmp/evil", EVIL)], "does not list"),
    ([file_entry("/etc/evil", EVIL), file_entry("mid", EVIL)], "leaves the project"),
    ([file_entry("../evil", EVIL), file_entry("mid", EVIL)], "leaves the project"),
    ([file_entry("mid", EVIL), file_entry("mid/../../evil", EVIL)], "leaves the project"),
    ([file_entry(".git/hooks/pre-commit", EVIL, 0o755), file_entry("mid", EVIL)], "does not declare"),
    ([file_entry("mid", EVIL), file_entry("src", EVIL)], "does not declare"),
    ([link_entry("mid", "/etc/passwd")], "leads out of the project"),
    ([link_entry("mid", "../../secret")], "leads out of the project"),
    ([link_entry("mid", "."), file_entry("mid/evil", EVIL)], "does not declare"),
    ([file_entry("mid", EVIL, 0o4755)], "has the mode 4755"),
    ([file_entry("mid", EVIL, 0o2755)], "has the mode 2755"),
    ([file_entry("mid", EVIL, 0o20644)], "has the mode 20644"),
    ([file_entry("mid", EVIL, size=1 << 62)], "more bytes than the output cache may hold"),
    ([dir_entry("mid"), file_entry("mid/a", EVIL, size=9 << 30), file_entry("mid/b", EVIL, size=9 << 30)], "more bytes than"),
    ([file_entry("mid", EVIL, size=(1 << 64) - 1)], "more bytes than the output cache may hold"),
    ([file_entry("mid", EVIL), file_entry("mid", EVIL)], "does not list"),
    ([b"c" + file_entry("mid", EVIL)[1:]], "is damaged"),
    ([b"b" + file_entry("mid", EVIL)[1:]], "is damaged"),
    ([], "lacks the output 'mid'"),
]


@pytest.mark.slow
@pytest.mark.parametrize("entries,says", HOSTILE)
def test_hostile_records_are_refused(first, tmp_path, remote, entries, says):
    plant(remote, entries, [EVIL])
    refused(first, tmp_path, says)


@pytest.mark.slow
@pytest.mark.parametrize("kw,says", [
    ({"good_sum": False}, "is damaged"),
    ({"version": 2}, "of another version"),
    ({"count": 1 << 31}, "is damaged"),
    ({"count": 0}, "is damaged"),
    ({"key": "0" * 64}, "it is another key's"),
])
def test_damaged_records_are_refused(first, tmp_path, remote, kw, says):
    plant(remote, [file_entry("mid", EVIL)], [EVIL], **kw)
    refused(first, tmp_path, says)


@pytest.mark.slow
def test_a_record_cut_anywhere_is_refused(first, tmp_path, remote):
    path = remote / "mlmake/v1/actions" / key_of_prep(remote)
    whole = path.read_bytes()
    path.unlink()
    for length in (0, 3, 8, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(first, tmp_path, "is damaged")
        shutil.rmtree(tmp_path / "second")


def test_a_huge_record_is_not_read(first, tmp_path, remote):
    path = remote / "mlmake/v1/actions" / key_of_prep(remote)
    path.unlink()
    with open(path, "wb") as file:
        file.truncate((64 << 20) + 1)
    refused(first, tmp_path, "more than the")


@pytest.mark.parametrize("how", ["other", "cut", "longer", "gone", "directory", "link"])
def test_objects_are_verified(first, tmp_path, remote, how):
    path = remote / "mlmake/v1/objects" / sha256(b"data\n")
    path.unlink()
    if how == "directory":
        path.mkdir()
    elif how == "link":
        path.symlink_to("/etc/passwd")
    elif how != "gone":
        path.write_bytes({"other": b"DATA\n", "cut": b"dat", "longer": b"data\n!"}[how])
    second = clone(first, tmp_path, "second")
    end, warnings = summary(second, "prep")
    assert end["succeeded"] == 1 and second.read("mid") == b"data\n" and ran(second) == ["prep"] and len(warnings) == 1


@pytest.mark.parametrize("kind", ["actions", "objects"])
def test_a_fifo_does_not_hang(first, tmp_path, remote, kind):
    name = key_of_prep(remote) if kind == "actions" else sha256(b"data\n")
    path = remote / "mlmake/v1" / kind / name
    path.unlink()
    os.mkfifo(path)
    second = clone(first, tmp_path, "second")
    end, warnings = summary(second, "prep", timeout=30)
    assert end["succeeded"] == 1 and len(warnings) == 1


def test_what_is_no_good_is_replaced(first, tmp_path, remote):
    """A record whose objects are gone would be in the way for ever."""
    (remote / "mlmake/v1/objects" / sha256(b"data\n")).unlink()
    second = clone(first, tmp_path, "second")
    assert summary(second, "--cache-push", "prep")[0]["shared"] == 1
    third = clone(first, tmp_path, "third")
    assert summary(third, "prep")[0]["restored"] == 1


def test_outputs_that_change_on_their_way_are_not_shared(box, remote):
    project(box, remote)
    box.write("mlmake.yaml", box.read("mlmake.yaml") + b"""\
  big: {inputs: [src], outputs: [big], run: "head -c 3000000 src /dev/zero > big"}
  spoil: {needs: [big], always: true, run: "echo spoilt > big"}
""")
    end, _ = summary(box, "--cache-push", "spoil")
    actions = [(remote / "mlmake/v1/actions" / name).read_bytes() for name in stored(remote, "actions")]
    objects = set(stored(remote, "objects"))
    assert end["succeeded"] == 2
    assert all(sha256((remote / "mlmake/v1/objects" / name).read_bytes()) == name for name in objects)
    assert all(any(bytes.fromhex(name) in action for name in objects) for action in actions)


def test_clean_env_leaks_no_ci(tmp_path):
    """The table above means something only where this machine's own CI does not show."""
    assert not [name for name in clean_env(tmp_path) if name.startswith("GITHUB_")]


# mlmake cache push, pull, status --remote, gc --remote

def test_push_and_pull(box, remote, tmp_path):
    project(box, remote)
    box.mlmake("prep", "here")
    report = json.loads(box.mlmake("cache", "push", "--json").stdout)
    assert report["pushed"] == 1 and report["failed"] == 0 and report["not_made"] == ["train"]
    assert "not up to date: train" in box.mlmake("cache", "push", "train", check=1).stderr
    box.mlmake("train")
    told = box.mlmake("cache", "push", "train")
    assert told.stdout.startswith("pushed 1 result (") and "1 there already" in told.stdout
    second = clone(box, tmp_path, "second")
    second.mlmake("cache", "pull", "train")
    assert ran(second) == [] and (second.path / "model/a").read_text() == "data\n"
    second.write("src", "other\n")
    told = second.mlmake("cache", "pull", "train", check=1).stderr
    assert "prep ... skipped: nobody has shared its result" in told and ran(second) == []


def test_push_where_it_is_not_allowed(box, remote, tmp_path):
    project(box, remote)
    box.mlmake("prep")
    told = box.mlmake("cache", "push", "prep", check=1, **event(tmp_path, "pull_request", payload=PULL)).stderr
    assert "not shared on the remote 'storage': the event of this run is 'pull_request'" in told and not remote.exists()


def test_push_without_a_remote(box):
    box.write("mlmake.yaml", "version: 1\n")
    for command in (["push"], ["pull"], ["status", "--remote"], ["gc", "--remote"]):
        told = box.mlmake("cache", *command, check=2).stderr
        assert "mlmake.yaml names no remote" in told and "write 'cache: {remote: NAME}'" in told


def test_status_tells_of_the_remote(first, remote):
    report = json.loads(first.mlmake("cache", "status", "--json", "--remote").stdout)["remote"]
    size = sum(p.stat().st_size for p in remote.rglob("*") if p.is_file())
    assert report["results"] == 2 and report["objects"] == 3 and report["bytes"] == size
    assert report["name"] == "storage" and report["push"] is False
    text = first.mlmake("cache", "status").stdout
    assert "shared on the remote 'storage'" in text and "on the remote 'storage' (" in text


def age(paths, days):
    for path in paths:
        os.utime(path, (path.stat().st_mtime - days * 86400,) * 2)


def gc(box, *args):
    return json.loads(box.mlmake("cache", "gc", "--remote", "--json", *args).stdout)


def test_gc_by_age(first, remote, tmp_path):
    """What is older goes, with the objects that nothing younger names; what another result shares stays."""
    age((remote / "mlmake/v1").rglob("*"), 40)
    first.write("mlmake.yaml", first.read("mlmake.yaml") + b"  copy: {inputs: [src], outputs: [copy], run: cp src copy}\n")
    first.mlmake("--cache-push", "copy")
    kept = sha256(b"data\n")
    assert gc(first, "--older-than=50d")["removed_results"] == 0
    before = state_of(remote)
    dry = gc(first, "-n")
    assert state_of(remote) == before and dry["dry_run"]
    done = gc(first)
    assert {**done, "dry_run": True} == dry
    assert done["removed_results"] == 2 and done["removed_objects"] == 2 and done["results"] == 1 and done["objects"] == 1
    assert stored(remote, "objects") == [kept] and len(stored(remote, "actions")) == 1
    second = clone(first, tmp_path, "second")
    assert summary(second, "copy", "prep")[0]["restored"] == 1


def test_gc_leaves_what_is_on_its_way_and_what_is_not_ours(first, remote):
    young, foreign = remote / "mlmake/v1/objects" / ("0" * 64), [remote / "files/md5/ab/cdef", remote / "mlmake/v1/README", remote / "mlmake/v2/x"]
    for path in (young, *foreign):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    age(foreign, 99)
    assert gc(first, "--older-than=1d")["removed_objects"] == 0 and young.exists()
    age([young], 2)
    assert gc(first, "--older-than=1d")["removed_objects"] == 1 and not young.exists()
    assert all(path.exists() for path in foreign) and len(stored(remote, "actions")) == 2


def test_gc_removes_damaged_records(first, remote):
    for path in (remote / "mlmake/v1/actions").iterdir():
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-3])
    assert gc(first)["removed_results"] == 2


def test_gc_options_that_do_not_fit(first):
    assert "--max-size bounds the cache of this machine" in first.mlmake("cache", "gc", "--remote", "--max-size=1G", check=2).stderr
    assert "--older-than needs --remote" in first.mlmake("cache", "gc", "--older-than=1d", check=2).stderr
    assert "is no duration" in first.mlmake("cache", "gc", "--remote", "--older-than=old", check=2).stderr
