"""Writes dvc_made.json: .dvc files and .dir manifests that a real dvc made for names that are hard to write.

Run with the Python of an environment that holds dvc: python make_dvc_made.py > dvc_made.json
"""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

NAMES = ["plain.csv", "with space.csv", "a  b", " lead", "-dash", "- dash", "--- x", "it's", 'say "hi"', "both ' and \"", "a: b", "a:", ":a", "a #b", "#a",
         "1234", "1e5", "0x1f", "2020-01-02", "true", "null", "~", "no", "1:30", "[a]", "{b}", "a,b", "*.py", "&x", "!x", "%x", "@x", "`x", "x\\y", "tab\tx",
         "nl\nx", "cr\rx", "\u00e9t\u00e9", "e\u0301", "\u65e5\u672c", "\U0001f600", "\x7fdel", "\x01", "?", "? x", "=", "<<", "trailing ", "l" * 90,
         "word " * 15 + "end", "it's " * 15 + "end", "a, " * 20 + "x", "\u65e5" * 70, "nbsp\u00a0x", "bom\ufeffx"]


def dvc(*args, cwd):
    program = pathlib.Path(sys.executable).with_name("dvc")
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(cwd.parent / "site")}
    subprocess.run([program, *args], cwd=cwd, check=True, env=env, stdout=subprocess.DEVNULL)


def md5(data):
    return hashlib.md5(data).hexdigest()


def main():
    files, manifests = [], []
    with tempfile.TemporaryDirectory() as temp:
        root = pathlib.Path(temp) / "repo"
        root.mkdir()
        dvc("init", "--no-scm", "-q", cwd=root)
        for i, name in enumerate(NAMES):
            (root / name).write_bytes(b"x" * i)
            if i % 7 == 3:
                (root / name).chmod(0o755)
        (root / "dir" / "sub" / "a").mkdir(parents=True)
        members = [*NAMES, "sub/a/x", "sub/a.b", "sub/a-b", "sub/\u00e9", "a/b/c"]
        for name in members:
            path = root / "dir" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        (root / "empty").mkdir()
        dvc("add", "-q", "--", *NAMES, "dir", "empty", cwd=root)
        for i, name in enumerate(NAMES):
            files.append({"path": name, "md5": md5(b"x" * i), "size": i, "isexec": i % 7 == 3, "text": (root / (name + ".dvc")).read_bytes().decode()})
        for name, content in (("dir", members), ("empty", [])):
            text = (root / (name + ".dvc")).read_text()
            oid = text.split("md5: ")[1].split(".dir")[0]
            manifest = (root / ".dvc/cache/files/md5" / oid[:2] / (oid[2:] + ".dir")).read_text()
            manifests.append({"path": name, "md5": oid, "size": sum(len(m.encode()) for m in content), "text": text, "manifest": manifest,
                              "members": [[m, md5(m.encode())] for m in content]})
    print(json.dumps({"files": files, "directories": manifests}, indent=1))


if __name__ == "__main__":
    main()
