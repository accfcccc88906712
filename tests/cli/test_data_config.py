"""mlmake data config: levels, minimal edits, and the file that dvc reads afterwards."""
import json

import pytest

from test_data import data  # noqa: F401 (fixture)

CONFIG = """\
# ours
[core]
    remote = storage   # the usual one
    autostage = false
# kept
['remote "storage"']
    url = ../store
"""


@pytest.fixture
def configured(data):  # noqa: F811
    data.write(".dvc/config", CONFIG)
    return data


def config(box, *args, check=0):
    return box.mlmake("data", "config", *args, check=check)


def test_get_and_list(configured):
    assert config(configured, "core.remote").stdout == "storage\n"
    assert config(configured, "CORE.Autostage").stdout == "false\n"
    assert config(configured, "remote.storage.url").stdout == f"{configured.path}/store\n"
    assert config(configured, "--list").stdout.splitlines() == [
        "core.remote=storage", "core.autostage=false", f"remote.storage.url={configured.path}/store"]
    assert "not set" in config(configured, "cache.type", check=1).stderr
    found = json.loads(config(configured, "--list", "--json").stdout)
    assert found[0] == {"name": "core.remote", "value": "storage", "file": f"{configured.path}/.dvc/config"}


def test_levels(configured):
    config(configured, "--local", "core.autostage", "true")
    config(configured, "--global", "core.checksum_jobs", "2")
    assert config(configured, "core.autostage").stdout == "true\n"
    assert config(configured, "--project", "core.autostage").stdout == "false\n"
    origin = config(configured, "core.autostage", "--show-origin").stdout
    assert origin == f"{configured.path}/.dvc/config.local\ttrue\n"
    assert (configured.home / ".config/dvc/config").read_text().split() == ["[core]", "checksum_jobs", "=", "2"]
    config(configured, "--local", "--unset", "core.autostage")
    assert config(configured, "core.autostage").stdout == "false\n"
    assert configured.read(".dvc/config").decode() == CONFIG
    config(configured, "--local", "--global", "core.remote", check=2)


def test_writes_change_one_line(configured):
    config(configured, "core.autostage", "true")
    assert configured.read(".dvc/config").decode() == CONFIG.replace("autostage = false", "autostage = true")
    config(configured, "core.autostage", "false")
    config(configured, "cache.dir", "../../shared", check=0)
    text = configured.read(".dvc/config").decode()
    assert text.startswith(CONFIG) and "dir = ../../../shared\n" in text
    config(configured, "--unset", "cache.dir")
    assert configured.read(".dvc/config").decode().startswith(CONFIG)


@pytest.mark.parametrize("args, words", [
    (["core.remot", "x"], "did you mean 'core.remote'"), (["core"], "no name of an option"), (["core.autostage", "maybe"], "true or false"),
    (["cache.type", "hardlink,softlink"], "a list of reflink"), (["cache.shared", "all"], "must be group"),
    (["core.checksum_jobs", "0"], "above 0"), (["--unset", "cache.type"], "not set in"), (["remote.storage.nope", "1"], "no option 'nope'"),
    ([], "wants"), (["--list", "core.remote"], "wants"), (["remote.other.region", "x"], "no remote 'other'"),
])
def test_refusals(configured, args, words):
    refused = config(configured, *args, check=2)
    assert words in refused.stderr
    assert configured.read(".dvc/config").decode() == CONFIG


@pytest.mark.slow
def test_dvc_reads_what_we_write(data):  # noqa: F811
    for name, value in (("cache.type", "hardlink,copy"), ("cache.dir", "../c"), ("remote.x.url", "../r"), ("core.remote", "x"),
                        ("remote.x.jobs", "3"), ("hydra.enabled", "true"), ("studio.token", "a#b,c")):
        config(data, name, value)
        theirs = data.dvc("config", name).stdout.strip()
        assert theirs in (config(data, name).stdout.strip(), str([v for v in value.split(",")])), name
