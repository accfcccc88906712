"""What the tests of shared results have in common: projects that are clones of one another, and records as a remote holds them."""
import hashlib
import json
import shutil
import struct

from conftest import Sandbox

PROJECT = """\
version: 1
rules: []
cache: {remote: storage%s}
targets:
  prep: {inputs: [src], outputs: [mid], run: "cat src > mid; echo prepared; echo prep >> ran"}
  train:
    inputs: [mid]
    outputs: [model/]
    run: |
      mkdir model; cat mid > model/a; cat mid > model/b; head -c 300000 /dev/zero > model/big; ln -s a model/link; mkdir model/empty
      printf 'x' > model/tool; chmod 755 model/tool; echo trained; echo train >> ran
  here: {inputs: [src], outputs: [x], cache: local, run: "cp src x; echo here >> ran"}
  never: {inputs: [src], outputs: [y], cache: false, run: "cp src y; echo never >> ran"}
"""


def project(box, url, settings="", env=None, **options):
    """A project that shares its results on the remote at url."""
    box.env.update(env or {})
    box.mlmake("data", "init", "--no-scm")
    box.mlmake("data", "remote", "add", "-d", "storage", str(url))
    for name, value in options.items():
        box.mlmake("data", "remote", "modify", "storage", name, str(value))
    box.write("mlmake.yaml", PROJECT % settings)
    box.write("src", "data\n")
    return box


def clone(box, tmp_path, name, env=None):
    """The same project in another directory, of a user who has made nothing yet."""
    other = Sandbox(tmp_path / name)
    other.env.update({key: value for key, value in box.env.items() if key.startswith("AWS_")})
    other.env.update(env or {})
    for path in ("mlmake.yaml", "src"):
        shutil.copy(box.path / path, other.path / path)
    shutil.copytree(box.path / ".dvc", other.path / ".dvc")
    return other


def ran(box):
    """The targets whose commands ran here, in order."""
    return (box.path / "ran").read_text().split() if (box.path / "ran").exists() else []


def summary(box, *args, **kw):
    """The last event of a run, and all that it wrote to stderr."""
    result = box.mlmake("--json", *args, **kw)
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return events[-1], [e for e in events if e["event"] == "warning"]


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def blob(data):
    return struct.pack("<I", len(data)) + data + b"\0"


def digest(hexa):
    return b"\2" + bytes.fromhex(hexa)


def file_entry(path, data, mode=0o644, size=None, hexa=None):
    return b"f" + struct.pack("<IQ", mode, len(data) if size is None else size) + digest(hexa or sha256(data)) + blob(path.encode())


def dir_entry(path, mode=0o755):
    return b"d" + struct.pack("<I", mode) + blob(path.encode())


def link_entry(path, target):
    return b"l" + blob(path.encode()) + blob(target.encode())


def record(key, entries, log=b"", duration=5, version=1, good_sum=True, count=None):
    body = digest(key) + struct.pack("<QI", duration, len(entries) if count is None else count) + b"".join(entries) + blob(log)
    total = hashlib.sha256(body if good_sum else b"other").hexdigest()
    return b"MLS1" + struct.pack("<I", version) + digest(total) + body
