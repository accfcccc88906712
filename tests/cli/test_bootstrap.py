"""bootstrap.sh without touching this machine: a copy of it in a directory whose PATH holds stand-ins."""
import shutil

import pytest

from conftest import ROOT, need_peer

TOOLS = ["bash", "cat", "dirname", "env", "mktemp", "rm", "sed", "sort", "nproc"]
SCRIPTS = ["bootstrap.sh", ".ci/run", "tests/demo.sh", "tests/rootfs/prove.sh"]


class Machine:
    """installed: what dpkg-query knows. calls(): what apt-get and make were called with."""

    def __init__(self, box, installed=(), uid=0, apt=True):
        self.box = box
        self.bin = box.path / "bin"
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        shutil.copy(ROOT / "bootstrap.sh", box.path)
        self.script("id", f"echo {uid}")
        self.script("make", 'echo "make $*" >> calls')
        box.write("build/mlmake", "#!/bin/sh\necho mlmake 0\n", mode=0o755)
        if apt:
            (box.path / "installed").write_text("".join(f"{name}\n" for name in installed))
            self.script("dpkg-query", 'while read -r name; do [ "$name" != "$3" ] || printf installed; done < installed')
            self.script("apt-get", 'echo "apt-get $*" >> calls; [ "$1" != update ] || exit ${APT_UPDATE:-0}; exit ${APT_INSTALL:-0}')

    def script(self, name, body):
        self.box.write(f"bin/{name}", f"#!{shutil.which('bash')}\n{body}\n", mode=0o755)

    def run(self, *args, check=0, **env):
        return self.box.run(self.bin / "bash", "./bootstrap.sh", *args, check=check, PATH=self.bin, **env)

    def calls(self):
        path = self.box.path / "calls"
        return path.read_text().splitlines() if path.exists() else []


EVERYTHING = ["gcc", "make", "binutils", "libc6-dev", "libyaml-dev", "liblmdb-dev", "libjansson-dev", "libpcre2-dev",
              "libssl-dev", "libgit2-dev", "libcurl4-openssl-dev", "ca-certificates"]


def test_installs_only_what_is_missing(box):
    machine = Machine(box, [p for p in EVERYTHING if p not in ("liblmdb-dev", "libyaml-dev")])
    result = machine.run()
    assert "installing 2 packages: liblmdb-dev libyaml-dev" in result.stdout
    update, install, make = machine.calls()
    assert update.startswith("apt-get update")
    assert install.split()[-2:] == ["liblmdb-dev", "libyaml-dev"] and "--no-install-recommends" in install
    assert make.endswith(" all")


def test_a_second_call_installs_nothing(box):
    machine = Machine(box, EVERYTHING)
    machine.run()
    assert [call.split()[0] for call in machine.calls()] == ["make"]


def test_another_flavour_of_curl_will_do(box):
    machine = Machine(box, [p.replace("openssl", "gnutls") for p in EVERYTHING])
    machine.run()
    assert not any(call.startswith("apt-get") for call in machine.calls())


def test_without_root_or_sudo_it_says_what_to_run(box):
    machine = Machine(box, [p for p in EVERYTHING if p != "gcc"], uid=1000)
    result = machine.run(check=1)
    assert "apt-get install --no-install-recommends gcc" in result.stderr
    assert machine.calls() == []


def test_sudo_is_used_when_it_asks_nothing(box):
    machine = Machine(box, [p for p in EVERYTHING if p != "gcc"], uid=1000)
    machine.script("sudo", 'echo "sudo $*" >> calls; [ "$1" = -n ] && shift; [ "$1" = true ] || "$@"')
    machine.run()
    assert any(call.startswith("sudo -n env") for call in machine.calls())


@pytest.mark.slow
def test_a_failed_update_is_survived_and_a_failed_install_is_not(box):
    machine = Machine(box, EVERYTHING[1:])
    assert "going on" in machine.run(APT_UPDATE=100).stdout
    result = machine.run(check=1, APT_INSTALL=100)
    assert "apt-get could not install: gcc" in result.stderr


def test_without_apt_it_names_what_is_missing(box):
    machine = Machine(box, apt=False)
    machine.script("dnf", "exit 0")
    result = machine.run(check=1)
    assert "there is no apt-get here" in result.stderr and "objdump" in result.stderr
    assert "dnf install gcc make" in result.stderr
    assert machine.calls() == []


def test_usage(box):
    machine = Machine(box, EVERYTHING)
    assert "./bootstrap.sh demo" in machine.run("--help").stdout
    result = machine.run("tset", check=2)
    assert "unknown argument: tset" in result.stderr and "./bootstrap.sh test" in result.stderr
    assert machine.calls() == []


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_clean(box, script):
    assert box.run(need_peer("shellcheck"), ROOT / script).stdout == ""
