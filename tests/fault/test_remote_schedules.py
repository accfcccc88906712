"""1,000 random schedules of faults: push and pull end with everything there and verified, or with an exit code other than 0 and a list of
what is missing; no wrong byte is kept anywhere; the same command completes when the faults are over; memory stays bounded.

MLMAKE_FAULT_SEED and MLMAKE_FAULT_SCHEDULES choose others, or more."""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile

import conftest
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from schedule import Schedule, Scheduled  # noqa: E402

pytestmark = pytest.mark.slow
SEED = os.environ.get("MLMAKE_FAULT_SEED", "1")
COUNT = int(os.environ.get("MLMAKE_FAULT_SCHEDULES", "1000"))
CHUNKS = 10
AT_ONCE = 16
PEAK_MIB = 64
LISTS = ("missing", "damaged", "failed", "unreadable")


@pytest.fixture(scope="module")
def proxy(s3_server):
    with Scheduled(int(s3_server.endpoint.rsplit(":", 1)[1])) as running:
        running.hits = set()
        yield running


def few_files(box, rng, number):
    for i in range(rng.choice([2, 3, 5])):
        box.write(f"d/{i}", rng.randbytes(rng.choice([0, 1, 3000, 40_000])) + str(i).encode())
    # The last ones' goes up in two parts, and comes back in many; parts of uploads have 5 MiB at least.
    box.write("f", rng.randbytes((5 << 20) + 70_000 if number >= 4 else rng.choice([10, 400_000])))


def many_files(box, rng, number):
    """In packs, of which some are worth a range; f goes by itself."""
    for i in range(40):
        box.write(f"d/{i}", rng.randbytes(rng.choice([0, 1, 3000, 60_000])) + str(i).encode())
    box.write("f", rng.randbytes((1 << 20) + 1 if number % 2 else 3))
    box.write("mlmake.yaml", "version: 1\ndata:\n  remotes:\n    packs: {url: \"remote://r\", packed: true}\n")


TEMPLATES = [few_files] * 5 + [many_files] * 2


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Repositories with data, to be copied: making them is what takes time."""
    made = []
    for number in range(len(TEMPLATES)):
        box = conftest.Sandbox(tmp_path_factory.mktemp("template"))
        rng = random.Random(number)
        box.git("init", "-q")
        if number % 2 == 0: # one request an object, or parts
            (box.home / ".aws").mkdir()
            (box.home / ".aws/config").write_text(f"[default]\ns3 =\n    multipart_threshold = 100KB\n    multipart_chunksize = {1024 if number == 4 else 64}KB\n")
        box.mlmake("data", "init")
        TEMPLATES[number](box, rng, number)
        box.mlmake("data", "add", "d", "f")
        made.append(box)
    return made


class Case:
    target = ()
    wanted = ()
    paths = ("",)

    def __init__(self, number, box, proxy, server, bucket, work):
        self.number, self.proxy, self.home = number, proxy, box.home
        self.prefix = f"s{number}"
        self.path = work / self.prefix
        shutil.copytree(box.path, self.path, symlinks=True)
        shutil.rmtree(self.path / ".mlmake", ignore_errors=True)
        self.files = {str(p.relative_to(box.path)): p.read_bytes() for p in [*sorted((box.path / "d").iterdir()), box.path / "f"]}
        self.remote = server.root / bucket / self.prefix / "files/md5"
        self.config = (
            f"[core]\n    remote = r\n['remote \"r\"']\n    url = s3://{bucket}/{self.prefix}\n    endpointurl = http://127.0.0.1:{proxy.port}\n"
            f"    jobs = 4\n    read_timeout = ")
        self.env = {**box.env, **server.env, "AWS_MAX_ATTEMPTS": "3", "MLMAKE_STATE_DIR": str(work / "state")}
        self.schedule = None

    def run(self, *args):
        """(exit code, report, stderr, peak in MiB)"""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen([conftest.BUILD / "mlmake", "data", *args, "--json"], cwd=self.path, env=self.env, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            text = out.read().decode()
            report = json.loads(text) if text.strip() else {}
            said = err.read().decode(errors="replace")
        assert process.returncode in (0, 1, 3, 4), (process.returncode, said)
        # The kernel counts in what this process had when it started the other one.
        most = max(PEAK_MIB * 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 1024)
        assert usage.ru_maxrss <= most or conftest.BUILD.name == "san", usage.ru_maxrss
        return process.returncode, report, said

    def with_faults(self, what, *args):
        (self.path / ".dvc/config").write_text(self.config + "1\n")
        self.schedule = self.proxy.schedules[self.prefix] = Schedule(f"{SEED}-{self.number}-{what}", self.paths)
        try:
            return self.run(*args)
        finally:
            self.schedule.on = False
            self.proxy.hits |= self.schedule.hit
            (self.path / ".dvc/config").write_text(self.config + "60\n")  # a loaded machine is no fault

    def named(self, report, said):
        """The paths that a run calls not moved."""
        text = "\n".join(line for name in LISTS for line in report.get(name, [])) + "\n" + json.dumps(report.get("checkout", {})) + said
        return {path for path in [*self.files, "d/"] if any(mark in text for mark in (f"{path}:", f"{path} (", f"\"{path}\""))}

    def objects(self):
        """path -> where its object has to be on the remote"""
        found = {}
        for path, data in self.files.items():
            md5 = hashlib.md5(data).hexdigest()
            found[path] = self.remote / md5[:2] / md5[2:]
        record = (self.path / "d.dvc").read_text()
        md5 = record.split("md5: ")[1].split(".dir")[0]
        found["d/"] = self.remote / md5[:2] / (md5[2:] + ".dir")
        return found

    def missing_on_remote(self):
        """And nothing there has other bytes than its name says."""
        if self.remote.exists():
            for path in self.remote.rglob("*"):
                if path.is_file():
                    assert hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name.removesuffix(".dir"), path
        missing = {name for name, path in self.objects().items() if not path.exists()}
        assert "d/" in missing or not [m for m in missing if m.startswith("d/")], "a manifest lies there without all that it lists"
        return missing

    def missing_here(self, or_cached=False):
        cache = self.path / ".dvc/cache/files/md5"
        for path in cache.rglob("*") if cache.exists() else []:
            if path.is_file():
                assert hashlib.md5(path.read_bytes()).hexdigest() == path.parent.name + path.name.removesuffix(".dir"), path
        missing = set()
        for name, data in self.files.items():
            path, md5 = self.path / name, hashlib.md5(data).hexdigest()
            if path.exists():
                assert path.read_bytes() == data, name
            elif not or_cached or not (cache / md5[:2] / md5[2:]).exists():
                missing.add(name)
        return missing

    def push(self):
        code, report, said = self.with_faults("push", "push", *self.target)
        missing = self.missing_on_remote()
        if code == 0:
            assert not missing, f"exit 0, and missing: {missing}"
        named = self.named(report, said)
        assert missing <= named or not missing, f"missing and not named: {missing - named}\n{report}\n{said}"
        # What is named and there all the same: its answer was lost, or that of one that it waits for.
        assert named <= missing or self.schedule.hit, f"named without a fault: {named - missing}"
        code, report, said = self.run("push", *self.target)
        assert code == 0 and not self.missing_on_remote(), (code, report, said)

    def pull(self):
        for path in (self.path / ".dvc/cache", self.path / "d"):
            shutil.rmtree(path)
        (self.path / "f").unlink()
        code, report, said = self.with_faults("pull", "pull", *self.target, *self.wanted)
        missing = self.missing_here()
        if code == 0:
            assert not missing, f"exit 0, and missing: {missing}"
        else:
            missing = self.missing_here(or_cached=True)  # the work tree may have been left as it was
        if missing:
            named = self.named(report, said)
            assert named, f"nothing is named: {report}\n{said}"
            # Of a directory that was not made because of one member, that member or the directory is named.
            assert not [m for m in missing if m not in named and not (m.startswith("d/") and [n for n in named if n.startswith("d/")])], \
                (missing, named, report, said)
        code, report, said = self.run("pull", *self.target, *self.wanted)
        assert code == 0 and not self.missing_here(), (code, report, said)


class Packed(Case):
    """The same through packs; of every other pull only a few files are wanted."""
    target = ("-r", "packs")
    paths = ("", ".pack", ".index", "mlmake%2Fpacks")

    def __init__(self, number, box, proxy, server, bucket, work):
        super().__init__(f"p{number}", box, proxy, server, bucket, work)
        self.all = dict(self.files)
        self.packs = server.root / bucket / self.prefix / "mlmake/packs/1"
        self.wanted = [f"d/{i}" for i in random.Random(number).sample(range(40), 3)] if number % 2 else []

    def objects(self):
        found = super().objects()
        found["d/"] = self.packs.parent.parent / "manifests/1" / found["d/"].parent.name / found["d/"].name
        return found

    def missing_on_remote(self):
        packs = {path.stem: path.stat().st_size for path in self.packs.glob("*.pack")}
        there = set()
        for path in self.packs.glob("*"):
            content = path.read_bytes()
            assert hashlib.md5(content).hexdigest() == path.stem, path
            if path.suffix != ".index":
                continue
            count, entries = struct.unpack_from("<II", content, 24)
            refs = [struct.unpack_from("<16sI", content, 32 + 20 * i) for i in range(count)]
            for i in range(entries):
                md5, pack, _, _ = struct.unpack_from("<16sIII", content, 32 + 20 * count + 28 * i)
                if packs.get(refs[pack][0].hex()) == refs[pack][1]:
                    there.add(md5.hex())
        missing = {name for name, path in self.objects().items() if not path.exists() and
                   (name == "d/" or hashlib.md5(self.all[name]).hexdigest() not in there)}
        assert "d/" in missing or not [m for m in missing if m.startswith("d/")], "a manifest lies there without all that it lists"
        return missing

    def pull(self):
        if self.wanted:
            self.files = {name: self.all[name] for name in self.wanted}
        super().pull()


def one(kind, number, templates, proxy, server, bucket, work):
    template = 5 + number % 2 if kind is Packed else 4 if number % 10 == 9 else number % 4
    case = kind(number, templates[template], proxy, server, bucket, work)
    try:
        case.push()
        case.pull()
    except Exception as error:  # the schedule belongs to the message
        return f"schedule {number} (seed {SEED}): {case.schedule}\n{type(error).__name__}: {error}"
    finally:
        proxy.schedules.pop(case.prefix, None)
        shutil.rmtree(case.path, ignore_errors=True)
    return None


def run_chunk(kind, numbers, template, proxy, server, bucket, work):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [f for f in pool.map(lambda n: one(kind, n, template, proxy, server, bucket, work), numbers) if f]
    assert not failures, f"{len(failures)} of {len(numbers)}\n\n" + "\n\n".join(failures[:5])


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_schedules(chunk, template, proxy, s3_server, bucket, tmp_path):
    run_chunk(Case, range(chunk * COUNT // CHUNKS, (chunk + 1) * COUNT // CHUNKS), template, proxy, s3_server, bucket, tmp_path)


@pytest.mark.parametrize("chunk", range(CHUNKS // 2))
def test_schedules_with_packs(chunk, template, proxy, s3_server, bucket, tmp_path):
    run_chunk(Packed, range(chunk * COUNT // CHUNKS, (chunk + 1) * COUNT // CHUNKS), template, proxy, s3_server, bucket, tmp_path)


def test_uploads_in_parts_were_hit(proxy):
    """At their beginning, in a part, at the end."""
    if COUNT < 100:
        pytest.skip("too few schedules to tell")
    for what in ("uploads=", "partNumber=2", "uploadId=", ".pack", ".index", "mlmake/manifests"):
        assert any(what in path for path in proxy.hits), what
