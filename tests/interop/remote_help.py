"""What the tests of src/net share: the driver, and objects with their digests."""
import dataclasses
import hashlib
import os
import subprocess
import time

import conftest


@dataclasses.dataclass
class Answer:
    state: str
    key: str
    size: int
    message: str
    hint: str


@dataclasses.dataclass
class Item:
    key: str
    path: object = "-"
    size: object = "-"
    md5: str = "-"
    start: int = None

    def line(self):
        return f"{self.key}\t{self.path}\t{self.size}\t{self.md5}" + ("\n" if self.start is None else f"\t{self.start}\n")

    def at(self, path):
        return dataclasses.replace(self, path=path)


def make_object(directory, data):
    """A file named by its md5, as an item to put."""
    md5 = hashlib.md5(data).hexdigest()
    path = directory / md5
    path.write_bytes(data)
    return Item(f"files/md5/{md5[:2]}/{md5[2:]}", path, len(data), md5)


def check_parts(remote, directory, size=400_000):
    """Parts of an object come, and nothing else does: not what lies behind its end, nor wrong bytes."""
    data = os.urandom(size)
    whole = make_object(directory, data)
    assert remote.states("put", [whole]) == ["done"]

    def part(number, start, length, md5=None):
        return Item(whole.key, directory / f"part{number}", length, md5 or hashlib.md5(data[start:start + length]).hexdigest(), start)
    places = [(0, 1), (0, size), (1, size - 1), (size - 1, 1), (1234, 100_000), (size // 2, 3)]
    parts = [part(number, *place) for number, place in enumerate(places)]
    assert remote.states("get", parts) == ["done"] * len(parts)
    assert [p.path.read_bytes() for p in parts] == [data[start:start + length] for start, length in places]
    bad = [part(10, size - 10, 11), part(11, size, 1), part(12, size + 5, 1), part(13, 5, 5, "0" * 32)]
    assert remote.states("get", bad) == ["damaged"] * 4
    gone = [Item("files/md5/00/" + "0" * 30, directory / "part14", 1, "-", 0)]
    assert remote.states("get", gone) == ["missing"]
    assert not [p for p in [*bad, *gone] if p.path.exists()]


def check_stale_temporaries(remote, root, directory):
    """What a killed put left goes with a later one, once it is a day old by the other machine's clock; what is younger may be in use."""
    temp = root / ".mlmake-tmp"
    assert remote.states("put", [make_object(directory, b"first")]) == ["done"]
    big = make_object(directory, os.urandom(3_000_000))
    argv = [conftest.BUILD / "tests" / "remote_driver", "put", remote.url, *[f"{k}={v}" for k, v in remote.options.items()], "limit_rate=300000"]
    killed = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=remote.env, text=True)
    killed.stdin.write(big.line())
    killed.stdin.close()
    conftest.wait_for(lambda: list(temp.iterdir()))
    killed.kill()
    killed.wait()
    left = list(temp.iterdir())
    if not left:  # the server may have noticed
        (temp / "put-1-0").write_bytes(b"part")
    (temp / "put-2-0").write_bytes(b"of somebody who goes on with it")
    left = [path for path in temp.iterdir() if path.name != "put-2-0"]
    assert remote.states("put", [big]) == ["done"]
    assert all(path.exists() for path in left), "they may be in use"
    for path in left:
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    assert remote.states("put", [make_object(directory, b"second")]) == ["done"]
    assert [path.name for path in temp.iterdir()] == ["put-2-0"]
    (temp / "put-3-0").write_bytes(b"part")
    assert remote.sweep() == 0
    os.utime(temp / "put-3-0", (time.time() - 25 * 3600,) * 2)
    assert remote.sweep() == 1 and [path.name for path in temp.iterdir()] == ["put-2-0"]
    (temp / "put-2-0").unlink()


class Remote:
    """remote_driver on one url."""

    def __init__(self, url, env, **options):
        self.url, self.env, self.options = url, env, options
        self.code = None

    def run(self, verb, *args, text="", timeout=60, **options):
        program = conftest.BUILD / "tests" / "remote_driver"
        argv = [program, verb, *args, *[f"{k}={v}" for k, v in {**self.options, **options}.items()]]
        result = subprocess.run([str(a) for a in argv], input=text, capture_output=True, text=True, timeout=timeout, env=self.env)
        assert result.returncode >= 0 and "Sanitizer" not in result.stderr, result.stderr
        self.code = result.returncode
        answers = []
        for line in result.stdout.splitlines():
            state, key, size, message, hint = line.split("\t")
            answers.append(Answer(state, key, int(size), message, hint))
        return answers

    def move(self, verb, items, **options):
        """The answers in the order of the items; an error of the whole call stands last."""
        return self.run(verb, self.url, text="".join(i.line() for i in items), **options)

    def states(self, verb, items, **options):
        return [a.state for a in self.move(verb, items, **options)]

    def sweep(self):
        """How many leftovers of killed puts it removed."""
        answer, = self.run("sweep", self.url)
        return answer.size

    def list(self, prefix, **options):
        return {a.key: a.size for a in self.run("list", self.url, prefix, **options)}


def clean(home):
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and not k.lower().endswith("_proxy")}
    return {**env, "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}
