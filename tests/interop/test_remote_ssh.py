"""ssh remotes: a real sshd of the tests' own, reached through the ssh program, and the real dvc on the same directory."""
import contextlib
import getpass
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import PATIENCE, Sandbox, free_port, need_peer, server
from remote_help import Item, Remote, check_parts, check_stale_temporaries, clean, make_object


CUT = """# Runs ssh and ends it after so many bytes of what it prints, once: as many as the file named by SSH_CUT says.
import os, select, subprocess, sys
name = os.environ["SSH_CUT"]
left = int(open(name).read())
os.remove(name)
ssh = subprocess.Popen(sys.argv[1:], stdin=0, stdout=subprocess.PIPE, bufsize=0)
while left and (data := ssh.stdout.read(left)):
    left -= len(data)
    while data:
        try:
            data = data[os.write(1, data):]
        except BlockingIOError:
            select.select([], [1], [])
ssh.kill()
ssh.wait()
sys.exit(255)
"""


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """With keys, a config and known hosts of its own; it.bin has an ssh program that uses them and no others."""
    program, ssh, keygen = need_peer("sshd"), need_peer("ssh"), need_peer("ssh-keygen")
    root = tmp_path_factory.mktemp("ssh")
    port = free_port()
    for name in ("host", "user", "stranger"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", root / name], check=True)
    (root / "authorized").write_text((root / "user.pub").read_text())
    (root / "known").write_text(f"[127.0.0.1]:{port} {(root / 'host.pub').read_text()}")
    (root / "sshd_config").write_text(f"""Port {port}
ListenAddress 127.0.0.1
HostKey {root}/host
PidFile none
AuthorizedKeysFile {root}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
""")
    (root / "config").write_text(f"Host *\n  UserKnownHostsFile {root}/known\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n"
                                 f"  IdentitiesOnly yes\n  IdentityFile {root}/user\n  IdentityAgent none\n")
    (root / "bin").mkdir()
    (root / "bin/ssh").write_text(f"""#!/bin/sh
[ -e "$SSH_CUT" ] && exec {sys.executable} {root}/cut.py {ssh} -F "${{SSH_CONFIG:-{root}/config}}" "$@"
exec {ssh} -F "${{SSH_CONFIG:-{root}/config}}" "$@"
""")
    (root / "cut.py").write_text(CUT)
    (root / "bin/ssh").chmod(0o755)
    made = False
    if os.getuid() == 0 and not os.path.isdir("/run/sshd"):
        os.mkdir("/run/sshd", 0o755)
        made = True
    try:
        with server([program, "-D", "-e", "-f", str(root / "sshd_config")], port) as it:
            it.root, it.port, it.url = root, port, f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
            it.path = f"{root}/bin:{os.environ['PATH']}"
            yield it
    finally:
        if made:
            with contextlib.suppress(OSError):
                os.rmdir("/run/sshd")


@pytest.fixture
def remote(sshd, tmp_path):
    it = Remote(f"{sshd.url}{tmp_path}/new/some dir", {**clean(tmp_path), "PATH": sshd.path})
    it.root = tmp_path / "new/some dir"
    return it


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.mkdir()
    return path


def to(tmp_path, item, name="got"):
    (tmp_path / name).mkdir(exist_ok=True)
    return item.at(tmp_path / name / item.path.name)


@pytest.mark.slow
def test_round_trip(remote, source, tmp_path):
    items = [make_object(source, data) for data in (b"", b"a", os.urandom(8192), os.urandom(3_000_001))]
    items.append(Item("odd name/é ' \"$x", items[2].path, items[2].size, items[2].md5))
    assert remote.states("check", items) == ["missing"] * 5
    assert remote.states("put", items) == ["done"] * 5
    assert [(a.state, a.size) for a in remote.move("check", items)] == [("done", i.size) for i in items]
    names = [to(tmp_path, i, str(n)) for n, i in enumerate(items)]
    assert remote.states("get", names) == ["done"] * 5
    assert [n.path.read_bytes() for n in names] == [i.path.read_bytes() for i in items]
    assert remote.states("get", [Item(i.key, tmp_path / f"unknown{n}", "-", i.md5) for n, i in enumerate(items)]) == ["done"] * 5
    assert remote.list("files/md5/") == {i.key: i.size for i in items[:4]}
    assert remote.list(items[0].key[:12]) == {items[0].key: 0}
    assert remote.list("nothing/") == {}
    assert remote.states("put", items) == ["done"] * 5, "what is there is replaced"
    assert not list((remote.root / ".mlmake-tmp").iterdir())


@pytest.mark.slow
def test_what_a_killed_put_left_is_removed(remote, source):
    check_stale_temporaries(remote, remote.root, source)


@pytest.mark.slow
def test_parts(remote, source):
    check_parts(remote, source)


@pytest.mark.slow
def test_wrong_bytes_go_nowhere(remote, source, tmp_path):
    item = make_object(source, os.urandom(300_000))
    wrong = Item("files/md5/00/11", item.path, item.size, "0" * 32)
    gone = Item("files/md5/00/22", tmp_path / "gone", 1, item.md5)
    assert remote.states("put", [item, wrong, gone]) == ["done", "damaged", "missing"]
    assert remote.states("check", [item, wrong]) == ["done", "missing"]
    assert not list((remote.root / ".mlmake-tmp").iterdir())
    stored, got = remote.root / item.key, to(tmp_path, item)
    stored.write_bytes(b"x" * item.size)
    assert remote.states("get", [got]) == ["damaged"] and not got.path.exists()
    stored.write_bytes(b"x" * (item.size + 1))
    assert remote.states("get", [got]) == ["damaged"] == remote.states("check", [item])
    assert remote.states("get", [Item("files/md5/no/thing", tmp_path / "n", 1, item.md5)]) == ["missing"]
    got.path.write_bytes(b"old")
    stored.write_bytes(item.path.read_bytes())
    assert remote.states("get", [got]) == ["failed"] and got.path.read_bytes() == b"old"


@pytest.mark.slow
def test_a_connection_that_breaks(remote, source, tmp_path):
    """It is opened again, and all arrives; but not if the server has never spoken."""
    items = [make_object(source, os.urandom(40_000)) for _ in range(40)]
    cut = tmp_path / "cut"
    remote.env["SSH_CUT"] = str(cut)
    for after in (800, 3000):
        cut.write_text(str(after))
        answers = remote.move("put", items)
        assert {a.state for a in answers} == {"done"} and not cut.exists(), answers[-1]
    cut.write_text("90000")
    got = [to(tmp_path, i) for i in items]
    answers = remote.move("get", got)
    assert {a.state for a in answers} == {"done"} and not cut.exists(), answers[-1]
    assert [i.path.read_bytes() for i in got] == [i.path.read_bytes() for i in items]
    cut.write_text("20")
    assert remote.move("check", items)[-1].state == "error" and remote.code == 4


@pytest.mark.slow
def test_a_server_that_falls_silent(remote, source, tmp_path):
    stuck = tmp_path / "bin/ssh"
    stuck.parent.mkdir()
    ssh = remote.env["PATH"].split(":", maxsplit=1)[0] + "/ssh"
    stuck.write_text(f'#!/bin/sh\n{{ head -c 9; exec sleep 600; }} | {ssh} "$@"\n')
    stuck.chmod(0o755)
    remote.env["PATH"] = f"{stuck.parent}:{remote.env['PATH']}"
    answer = remote.move("check", [make_object(source, b"a")], read_timeout_s=1, timeout=PATIENCE)[-1]
    assert answer.state == "error" and "nothing came for 1 s" in answer.message


@pytest.mark.slow
def test_refusals_say_what_to_do(sshd, remote, source, tmp_path):
    item = make_object(source, b"a")
    answer = remote.move("put", [item], keyfile=sshd.root / "stranger")[-1]
    # The config's own key counts as well, so that one is taken away.
    config = (sshd.root / "config").read_text()
    other = tmp_path / "config"
    remote.env["SSH_CONFIG"] = str(other)
    other.write_text(config.replace(f"IdentityFile {sshd.root}/user", "IdentityFile none"))
    answer = remote.move("put", [item], keyfile=sshd.root / "stranger")[-1]
    assert answer.state == "error" and "Permission denied" in answer.message and "keyfile" in answer.hint and remote.code == 4
    assert remote.states("put", [item], keyfile=sshd.root / "user") == ["done"]
    other.write_text(config.replace("/known", "/nothing"))
    answer = remote.move("put", [item])[-1]
    assert "Host key verification failed" in answer.message and "connect once by hand" in answer.hint
    other.write_text(config)
    answer = Remote(f"ssh://127.0.0.1:{free_port()}/x", remote.env).move("check", [item])[-1]
    assert "refused" in answer.message and answer.hint
    for url, word in (("ssh://-oProxyCommand=x/y", "no host"), ("ssh://h:x/y", "no host"), ("ssh:///y", "names no host"), ("ssh://h", "names no directory"),
                      ("ssh://h/", "names no directory")):
        bad = Remote(url, remote.env)
        assert word in bad.move("check", [item])[-1].message and bad.code == 2
    assert "a password" in remote.move("check", [item], password="x")[-1].message and remote.code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "openssh-client" in Remote(remote.url, {**remote.env, "PATH": str(empty)}).move("check", [item])[-1].hint


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_directory_that_is_not_ours(remote, source):
    remote.root.mkdir(parents=True)
    remote.root.chmod(0o555)
    answer, = remote.move("put", [make_object(source, b"a")])
    assert answer.state == "failed" and "cannot create" in answer.message


@pytest.mark.slow
def test_the_rate_is_kept(remote, source, tmp_path):
    item = make_object(source, os.urandom(600_000))
    started = os.times().elapsed
    assert remote.states("put", [item], limit_rate=400_000) == ["done"]
    assert remote.states("get", [to(tmp_path, item)], limit_rate=400_000) == ["done"]
    assert os.times().elapsed - started > 2


@pytest.mark.slow
def test_dvc_on_the_same_directory(sshd, tmp_path):
    need_peer("dvc")
    one, two = Sandbox(tmp_path / "one"), Sandbox(tmp_path / "two")
    for box in (one, two):
        box.env["PATH"] = sshd.path
        (box.home / ".ssh").mkdir(mode=0o700)
        shutil.copy(sshd.root / "known", box.home / ".ssh/known_hosts")
    one.git("init", "-q", "-b", "main")
    one.mlmake("data", "init")
    one.mlmake("data", "remote", "add", "-d", "store", f"ssh://127.0.0.1{tmp_path}/store")
    for name, value in (("user", getpass.getuser()), ("port", sshd.port), ("keyfile", sshd.root / "user")):
        one.mlmake("data", "remote", "modify", "store", name, value)
    one.write("d/a", "one")
    one.write("d/s/b é", "two")
    one.write("f", os.urandom(300_000))
    one.mlmake("data", "add", "d", "f")
    one.mlmake("data", "push")
    one.git("add", "-A")
    one.git("commit", "-qm", "data")
    two.git("clone", "-q", one.path, ".")
    two.dvc("pull", "-q")
    assert two.read("d/s/b é") == b"two" and two.read("f") == one.read("f")
    two.write("d/c", "by dvc")
    two.dvc("add", "-q", "d")
    two.dvc("push", "-q")
    two.git("commit", "-qam", "more")
    one.git("pull", "-q", two.path, "main")
    one.mlmake("data", "pull")
    assert one.read("d/c") == b"by dvc"
    one.mlmake("data", "verify", "-r", "store")
    stored = [p for p in pathlib.Path(tmp_path / "store/files").rglob("*") if p.is_file()]
    assert len(stored) == 6
    one.mlmake("data", "gc", "-w", "-c", "-f")
    assert len([p for p in pathlib.Path(tmp_path / "store/files").rglob("*") if p.is_file()]) == 5
