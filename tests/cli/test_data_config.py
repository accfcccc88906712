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


def test_an_option_that_nobody_knows_is_warned_of(gitbox, tmp_path):
    gitbox.mlmake("data", "init")
    gitbox.write("x", "1")
    gitbox.mlmake("data", "add", "x")
    gitbox.mlmake("data", "remote", "add", "-d", "store", tmp_path / "store")
    config = gitbox.path / ".dvc" / "config"
    config.write_text(config.read_text() + "    endpoint_url = http://x\n    acl = private\n")
    said = gitbox.mlmake("data", "push").stderr
    assert "'endpoint_url'" in said and "did you mean 'endpointurl'" in said and ".dvc/config:" in said
    assert "'acl'" not in said


def test_options_of_a_remote_reach_its_requests(gitbox, s3_server, bucket):
    gitbox.env.update(s3_server.env)
    gitbox.mlmake("data", "init")
    gitbox.write("x", "1")
    gitbox.mlmake("data", "add", "x")
    for name, value in {"url": f"s3://{bucket}/p", "endpointurl": s3_server.endpoint}.items():
        gitbox.mlmake("data", "config", f"remote.base.{name}", value)
    gitbox.mlmake("data", "config", "remote.top.url", "remote://base/sub")
    gitbox.mlmake("data", "config", "core.remote", "top")
    gitbox.mlmake("data", "remote", "modify", "base", "acl", "private")
    gitbox.mlmake("data", "remote", "modify", "top", "grant_read", "id=a")
    assert "exclude each other" in gitbox.mlmake("data", "push", check=2).stderr
    gitbox.mlmake("data", "remote", "modify", "--unset", "top", "grant_read")
    gitbox.mlmake("data", "push")
    assert list((s3_server.root / bucket / "p" / "sub" / "files").rglob("*"))


WRONG = [("jobs", "x"), ("jobs", "0"), ("read_timeout", "abc"), ("connect_timeout", "inf"), ("use_ssl", "maybe"), ("verify", "7"), ("checksum_jobs", "z"),
         ("version_aware", "perhaps"), ("allow_anonymous_login", "ja"), ("listobjects", "no"), ("region", "eu west"), ("endpointurl", "127.0.0.1:9000"), ("port", "ssh")]


@pytest.mark.parametrize("option, value", WRONG)
def test_wrong_values_of_remotes(data, option, value):  # noqa: F811
    """Refused where they are set; and, where somebody has written them, with the place."""
    data.mlmake("data", "remote", "add", "-d", "storage", "s3://bucket/x")
    before = data.read(".dvc/config")
    for args in (("remote", "modify", "storage", option, value), ("config", f"remote.storage.{option}", value)):
        said = data.mlmake("data", *args, check=2).stderr
        assert f"'{option}' of the remote 'storage' must be" in said and f"not '{value}'" in said and "hint: for example" in said
    assert data.read(".dvc/config") == before
    data.write(".dvc/config", before.decode() + f"    {option} = {value}\n")
    said = data.mlmake("data", "push", check=2).stderr
    assert said.startswith(f".dvc/config:5:5: error: '{option}' of the remote 'storage' must be") and "hint: for example" in said
