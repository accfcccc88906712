"""--since: what a change affects, by the graph."""
import json

import pytest

from conftest import need_peer

TARGETS = {
    "prepare": {"inputs": ["src/prepare.py", "data/raw.csv"], "outputs": ["build/clean.csv"], "run": "echo prepare >> ran; cat data/raw.csv src/prepare.py > build/clean.csv"},
    "train": {"inputs": ["src/train.py", "build/clean.csv"], "params": ["params.yaml:train"], "outputs": ["model"],
              "run": "echo train >> ran; cat build/clean.csv src/train.py > model"},
    "lint": {"inputs": ["src/**/*.py", "!src/generated/**"], "run": "echo lint >> ran"},
    "docs": {"inputs": ["docs/*.md"], "run": "echo docs >> ran"},
    "report": {"needs": ["train"], "inputs": ["docs/report.md"], "run": "echo report >> ran"},
    "later": {"after": ["train"], "inputs": ["docs/report.md"], "run": "echo later >> ran"},
    "all": {"needs": ["lint", "docs", "report"]},
}


def config(box, targets, **top):
    box.write("mlmake.yaml", json.dumps({"version": 1, "rules": [], **top, "targets": targets}, indent=1))


def commit(box, message="x"):
    box.git("add", "-A")
    box.git("commit", "-qm", message)


@pytest.fixture
def repo(gitbox):
    config(gitbox, TARGETS)
    gitbox.write(".gitignore", "build/\nmodel\nran\n")
    for name in ("src/prepare.py", "src/train.py", "src/generated/x.py", "data/raw.csv", "docs/a.md", "docs/report.md"):
        gitbox.write(name, name)
    gitbox.write("params.yaml", "train: {lr: 0.1}\nother: 1\n")
    commit(gitbox)
    return gitbox


def affected(box, *args, since="HEAD"):
    found = json.loads(box.mlmake("list", "--json", "--since", since, *args).stdout)["targets"]
    return {target["name"]: target["affected_by"] for target in found}


def ran(box):
    path = box.path / "ran"
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return names


def test_nothing_changed(repo):
    assert affected(repo) == {}
    assert "nothing is affected" in repo.mlmake("list", "--since", "HEAD").stderr
    assert "nothing of it is affected by what changed since HEAD" in repo.mlmake("--since", "HEAD", "all").stderr
    assert ran(repo) == []


def test_inputs_and_all_that_depend_on_them(repo):
    repo.write("src/train.py", "changed")
    assert affected(repo) == {"train": "src/train.py", "lint": "src/train.py", "report": "train is affected", "all": "lint is affected"}
    repo.git("checkout", "-q", "src/train.py")
    repo.write("src/generated/x.py", "changed")
    assert affected(repo) == {}, "an input with !"
    repo.write("docs/new.md", "untracked files are in the work tree, too")
    assert affected(repo) == {"docs": "docs/new.md", "all": "docs is affected"}
    (repo.path / "docs/new.md").unlink()
    (repo.path / "docs/report.md").unlink()
    assert set(affected(repo)) == {"docs", "report", "later", "all"}


def test_order_alone_is_no_dependency(repo):
    repo.write("data/raw.csv", "changed")
    assert set(affected(repo)) == {"prepare", "train", "report", "all"}


def test_parameters_count_by_key(repo):
    repo.write("params.yaml", "other: 2\ntrain:\n  lr: 0.1 # the same\n")
    assert affected(repo) == {}
    repo.write("params.yaml", "other: 2\ntrain: {lr: 0.2}\n")
    assert affected(repo)["train"] == "params.yaml:train"
    (repo.path / "params.yaml").unlink()
    assert affected(repo)["train"] == "params.yaml:train"


def test_definitions_count_target_by_target(repo):
    targets = json.loads(json.dumps(TARGETS))
    targets["docs"]["desc"] = "says more, does the same"
    config(repo, targets, env={})
    assert affected(repo) == {}, "formatting and descriptions"
    targets["docs"]["run"] += "; true"
    targets["new"] = {"inputs": ["docs/a.md"], "run": "true"}
    config(repo, targets)
    assert affected(repo) == {"docs": "its definition in mlmake.yaml", "new": "its definition in mlmake.yaml", "all": "docs is affected"}
    config(repo, TARGETS, vars={"x": "unused"})
    assert affected(repo) == {}
    config(repo, TARGETS, env={"SEED": "1"})
    assert set(affected(repo)) == set(TARGETS), "in the key of each"


def test_a_configuration_that_cannot_be_read_then(repo):
    repo.write("mlmake.yaml", "version: [")
    commit(repo, "broken")
    config(repo, TARGETS)
    assert affected(repo)["docs"] == "mlmake.yaml, as a whole"
    repo.git("rm", "-q", "--cached", "mlmake.yaml")
    repo.git("commit", "-qm", "none")
    assert set(affected(repo)) == set(TARGETS)


def test_ranges(repo):
    repo.git("switch", "-qc", "topic")
    repo.write("docs/a.md", "on the topic")
    commit(repo, "topic")
    repo.git("switch", "-q", "main")
    repo.write("src/train.py", "on main")
    commit(repo, "main")
    assert set(affected(repo, since="topic")) == {"docs", "train", "lint", "report", "all"}
    assert set(affected(repo, since="topic...")) == {"train", "lint", "report", "all"}, "from where HEAD left it"
    assert set(affected(repo, since="main~1..topic")) == {"docs", "all"}
    assert set(affected(repo, since="main...topic")) == {"docs", "all"}
    assert set(affected(repo, since="main..")) == set()
    repo.write("mlmake.yaml", "version: 1\nrules: []\ntargets: {}\n")
    commit(repo, "no targets")
    config(repo, TARGETS)
    assert set(affected(repo, since="main~2..main~1")) == {"train", "lint", "report", "all"}, "definitions of then, too"


def test_what_is_affected_runs(repo):
    repo.mlmake("all")
    ran(repo)
    repo.write("docs/a.md", "changed")
    result = repo.mlmake("-n", "--since", "HEAD", "all")
    assert "docs: would run: docs/a.md changed" in result.stdout and "docs is affected: docs/a.md" in result.stderr
    repo.mlmake("--since", "HEAD", "all")
    assert ran(repo) == ["docs"]
    repo.mlmake("-B", "--since", "HEAD", "lint", "docs")
    assert ran(repo) == ["docs"], "restricted to what was named"
    shown = repo.mlmake("--since", "HEAD").stdout
    assert "docs  (docs/a.md)" in shown and "lint" not in shown, "without names: a list"
    events = [json.loads(line) for line in repo.mlmake("--json", "--since", "HEAD", "lint", "docs").stdout.splitlines()]
    assert events[0] == {"version": 1, "event": "planned", "total": 1}


def test_what_is_not_affected_is_needed_all_the_same(repo):
    """A fresh clone has made nothing yet."""
    repo.write("src/train.py", "changed")
    repo.mlmake("--since", "HEAD", "report")
    assert ran(repo) == ["prepare", "train", "report"]


def test_a_project_below_the_top(repo):
    for path in ("mlmake.yaml", "docs/a.md", "docs/report.md"):
        repo.write(f"sub/{path}", (repo.path / path).read_text())
    commit(repo, "sub")
    repo.write("sub/docs/a.md", "changed")
    repo.write("docs/report.md", "changed")
    found = json.loads(repo.mlmake("-C", "sub", "list", "--json", "--since", "HEAD").stdout)["targets"]
    assert [target["name"] for target in found] == ["docs", "all"]


def test_rules_of_the_repository(gitbox):
    rule = "mlmake_rule: 1\nname: mine\ndesc: mine\ndetect: {file: x.txt}\ntargets:\n  mine: {inputs: [x.txt], run: echo 1}\n"
    gitbox.write("rules/mine.yaml", rule)
    gitbox.write("x.txt", "")
    commit(gitbox)
    gitbox.write("rules/mine.yaml", rule.replace("echo 1", "echo 2"))
    assert affected(gitbox) == {"mine": "rules/mine.yaml"}


@pytest.mark.slow
def test_data_counts_by_its_record(repo):
    need_peer("dvc")
    repo.mlmake("data", "init")
    repo.git("rm", "-q", "--cached", "data/raw.csv")
    repo.write("data/images/a", "a")
    repo.write("data/images/b", "b")
    repo.dvc("add", "-q", "data/raw.csv", "data/images")
    config(repo, {**TARGETS, "look": {"inputs": ["data/images/a"], "run": "true"}})
    commit(repo, "data")
    assert affected(repo) == {}
    repo.write("data/raw.csv.dvc", repo.read("data/raw.csv.dvc") + b"desc: the same data\n")
    assert affected(repo) == {}
    repo.write("data/raw.csv", "changed")
    repo.write("data/images/b", "changed")
    repo.dvc("add", "-q", "data/raw.csv", "data/images")
    found = affected(repo)
    assert found["prepare"] == "data/raw.csv" and found["look"] == "data/images" and "lint" not in found
    commit(repo, "new data")
    repo.write("data/raw.csv.dvc", repo.git("show", "HEAD~1:data/raw.csv.dvc").stdout)
    assert set(affected(repo)) == {"prepare", "train", "report", "all"}


@pytest.mark.parametrize("range_, said", [("nowhere", "git knows no revision 'nowhere'"), ("HEAD..nowhere", "nowhere"), ("", "nothing is affected"),
                                          ("HEAD", "")])
def test_wrong_ranges(repo, range_, said):
    result = repo.mlmake("list", "--since", range_, check=2 if "nowhere" in range_ else 0)
    assert said in result.stderr
    assert "nowhere" not in range_ or "REV, REV..., A..B or A...B" in result.stderr


def test_without_git(box):
    config(box, TARGETS)
    assert "is not in a git work tree" in box.mlmake("list", "--since", "HEAD", check=2).stderr
