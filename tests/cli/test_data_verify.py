"""mlmake data verify: what is read, what is named, what is repaired from where."""
import json
import os

import pytest

from test_data import cached, data, md5, on_remote, stored, wipe_cache  # noqa: F401 (fixtures)


def damage(path, content):
    path.chmod(0o644)
    path.write_text(content)
    path.chmod(0o444)


def manifest_path(root):
    return next(root.glob("*/*.dir"))


def verify(box, *args, check):
    return json.loads(box.mlmake("data", "verify", "--json", *args, check=check).stdout)


def test_sound_data_is_sound(stored):
    report = verify(stored, "-r", "store", check=0)
    assert report["cache_objects"] == report["remote_objects"] == 5
    assert report["cache_bytes"] == report["remote_bytes"] > 60
    assert verify(stored, "d/s", check=0)["cache_objects"] == 2, "the manifest and that member"
    assert verify(stored, "-r", "store", "--quick", check=0)["remote_bytes"] == 0


@pytest.mark.parametrize("junk", ["junk", "content of d/A\n"])
def test_damage_in_the_cache_is_named_and_repaired(stored, junk):
    damage(cached(stored, "content of d/a\n"), junk)
    cached(stored, "content of f\n").unlink()
    report = verify(stored, check=3)
    assert "d/a (md5 " in report["damaged_in_cache"][0] and md5(junk) in report["damaged_in_cache"][0]
    assert report["missing_in_cache"] == [f"f (md5 {md5('content of f' + chr(10))})"]
    repaired = verify(stored, "--repair", check=0)
    assert len(repaired["repaired"]) == 2 and "damaged_in_cache" not in repaired
    assert cached(stored, "content of d/a\n").read_text() == "content of d/a\n"
    aside = list((stored.path / ".dvc/cache/.mlmake-tmp/damaged").iterdir())
    assert [p.read_text() for p in aside] == [junk]
    verify(stored, check=0)
    assert not [p for p in (stored.path / ".dvc/cache/.mlmake-tmp").iterdir() if p.name != "damaged"]


def test_damage_on_the_remote_is_named_and_repaired(stored):
    damage(on_remote(stored, "content of d/a\n"), "content of d/A\n")
    on_remote(stored, "content of d/b\n").unlink()
    quick = verify(stored, "-r", "store", "--quick", check=3)
    assert "damaged_on_remote" not in quick and len(quick["missing_on_remote"]) == 1
    report = verify(stored, "-c", check=3)
    assert "d/a (md5" in report["damaged_on_remote"][0] and "d/b (md5" in report["missing_on_remote"][0]
    assert "damaged_in_cache" not in report
    assert len(verify(stored, "-c", "--repair", check=0)["repaired"]) == 2
    assert on_remote(stored, "content of d/a\n").read_text() == "content of d/a\n"
    verify(stored, "-r", "store", check=0)


@pytest.mark.parametrize("side", ["cache", "remote"])
def test_a_manifest_is_repaired_first(stored, side):
    root = (stored.path / ".dvc/cache" if side == "cache" else stored.remote) / "files/md5"
    damage(manifest_path(root), "[]")
    report = verify(stored, "-r", "store", check=3)
    assert "d/ (md5" in report[f"damaged_{'in_cache' if side == 'cache' else 'on_remote'}"][0]
    wiped = cached(stored, "content of d/a\n") if side == "cache" else on_remote(stored, "content of d/a\n")
    wiped.unlink()
    verify(stored, "-r", "store", "--repair", check=0)
    assert wiped.read_text() == "content of d/a\n"
    assert verify(stored, "-r", "store", check=0)["cache_objects"] == 5


def test_what_is_bad_on_both_sides_stays_named(stored):
    damage(cached(stored, "content of f\n"), "junk")
    damage(on_remote(stored, "content of f\n"), "junk")
    report = verify(stored, "-r", "store", "--repair", check=3)
    assert "f (md5" in report["damaged_in_cache"][0] and "f (md5" in report["damaged_on_remote"][0]
    assert cached(stored, "content of f\n").read_text() == "junk", "nothing is moved away without a replacement"


def test_all_looks_at_objects_that_nothing_here_records(stored):
    stored.mlmake("data", "verify", "--all", "d", check=2)
    (stored.path / "f.dvc").unlink()
    damage(cached(stored, "content of f\n"), "junk")
    assert verify(stored, check=0)["cache_objects"] == 4
    assert md5("content of f\n") in verify(stored, "--all", check=3)["damaged_in_cache"][0]
    damage(on_remote(stored, "content of d/a\n"), "junk")
    report = verify(stored, "--all", "-r", "store", "--repair", check=0)
    assert len(report["repaired"]) == 2
    assert cached(stored, "content of f\n").read_text() == "content of f\n"


def test_an_empty_cache_comes_back_whole(stored):
    wipe_cache(stored)
    assert len(verify(stored, check=3)["missing_in_cache"]) == 2, "the manifest stands for its members"
    verify(stored, "--repair", check=0)
    assert verify(stored, check=0)["cache_objects"] == 5


def test_a_record_that_contradicts_its_object(stored):
    text = stored.read("f.dvc").decode()
    stored.write("f.dvc", text.replace("size: 13", "size: 14"))
    assert "records 14 bytes for f, the objects have 13" in verify(stored, check=3)["unreadable"][0]


def test_refusals(stored, data):
    assert "--quick is about a remote" in stored.mlmake("data", "verify", "--quick", check=2).stderr
    assert "no remote 'nope'" in stored.mlmake("data", "verify", "-r", "nope", check=2).stderr
    stored.write("f.dvc", "")
    assert "f.dvc" in stored.mlmake("data", "verify", check=3).stderr


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_an_object_that_cannot_be_read_is_named(stored):
    cached(stored, "content of f\n").chmod(0)
    assert "f (md5" in verify(stored, check=3)["damaged_in_cache"][0]


def test_s3(data, s3_server, bucket):
    for name in ("d/a", "d/b"):
        data.write(name, f"content of {name}\n")
    data.mlmake("data", "add", "d")
    data.mlmake("data", "remote", "add", "-d", "s3", f"s3://{bucket}/x")
    data.mlmake("data", "remote", "modify", "s3", "endpointurl", s3_server.endpoint)
    data.env.update(s3_server.env)
    data.mlmake("data", "push")
    assert verify(data, "-r", "s3", check=0)["remote_objects"] == 3
    name = md5("content of d/a\n")
    (s3_server.root / bucket / "x/files/md5" / name[:2] / name[2:]).write_text("content of d/A\n")
    assert "d/a (md5" in verify(data, "-r", "s3", check=3)["damaged_on_remote"][0]
    verify(data, "-r", "s3", "--repair", check=0)
    verify(data, "-r", "s3", check=0)
