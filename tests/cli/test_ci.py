"""mlmake ci generate and check: the workflow is what the linters of workflows accept, and stays what the project says."""
import json
import re
import resource
import subprocess

import pytest

from conftest import ROOT, need_peer

WORKFLOW = ".github/workflows/mlmake.yml"

SMALL = """\
version: 1
targets:
  lint: {inputs: [src/*.py], run: echo lint}
  test: {needs: [lint], run: echo test, timeout: 90m}
  build: {needs: [lint, test], run: echo build}
"""

EVERYTHING = """\
version: 1
ci:
  schedule: 17 4 * * 1
  branches: [main, 'release/1.x']
  targets: [check, train, publish]
  install: |
    curl --fail --silent --show-error --output "$RUNNER_TEMP/mlmake.tar" "$MLMAKE_URL"
    tar -C "$RUNNER_TEMP" -xf "$RUNNER_TEMP/mlmake.tar"
    echo "$RUNNER_TEMP/mlmake/bin" >> "$GITHUB_PATH"
targets:
  check: {run: echo check}
  train: {needs: [check], run: echo train}
  publish:
    needs: [train]
    run: echo publish
    ci: {environment: production, permissions: {id-token: write, packages: write}}
"""


def generate(box, yaml=SMALL, *args, **kw):
    box.write("mlmake.yaml", yaml)
    box.write("src/a.py", "")
    return box.mlmake("ci", "generate", *args, **kw)


def lint_workflows(box):
    """Every rule of actionlint (shellcheck's among them), and of zizmor as its auditor."""
    actionlint = box.run(need_peer("actionlint"), "-no-color")
    assert actionlint.returncode == 0, actionlint.stdout
    zizmor = box.run(need_peer("zizmor"), "--offline", "--persona=auditor", "--strict-collection", "--no-progress", ".")
    assert zizmor.returncode == 0, zizmor.stdout + zizmor.stderr
    assert "No findings" in zizmor.stdout


@pytest.mark.slow
def test_linters_have_nothing_to_say(gitbox):
    generate(gitbox)
    lint_workflows(gitbox)


@pytest.mark.slow
def test_linters_have_nothing_to_say_of_all_options(gitbox):
    generate(gitbox, EVERYTHING)
    lint_workflows(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    assert "cron: '17 4 * * 1'" in text
    assert "branches: [main, release/1.x]" in text
    assert "id-token: write # ci.permissions of publish" in text
    assert "environment: production" in text
    assert "MLMAKE_REPOSITORY" not in text
    assert "needs: [train]" in text


@pytest.mark.slow
def test_linters_have_nothing_to_say_of_an_inferred_project(gitbox):
    gitbox.write("requirements.txt", "numpy\n")
    gitbox.write("test_a.py", "def test_a(): pass\n")
    gitbox.write("Dockerfile", "FROM scratch\n")
    gitbox.mlmake("ci", "generate")
    lint_workflows(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    assert re.findall(r"^  (\w+):$", text.split("\njobs:\n")[1], re.M) == ["lint", "test", "build", "mlmake"]
    assert "actions/setup-python@" in text
    assert "hashFiles('requirements*.txt', '*.lock', 'pyproject.toml')" in text
    assert "change the files of the project, then run" in text


@pytest.mark.slow
def test_linters_have_nothing_to_say_of_a_project_in_a_subdirectory(gitbox):
    gitbox.write("services/api v2/mlmake.yaml", SMALL)
    gitbox.write("services/api v2/requirements.txt", "")
    gitbox.write("services/api v2/src/a.py", "")
    gitbox.write("services/api v2/.python-version", "3.11\n")
    sub = gitbox.path / "services/api v2"
    gitbox.mlmake("ci", "generate", cwd=sub)
    generate(gitbox)
    lint_workflows(gitbox)
    text = gitbox.read(".github/workflows/mlmake-services-api-v2.yml").decode()
    assert "working-directory: 'services/api v2'" in text
    assert "python-version-file: 'services/api v2/.python-version'" in text
    gitbox.mlmake("ci", "check", cwd=sub)
    gitbox.mlmake("ci", "check")


@pytest.mark.slow
@pytest.mark.parametrize("url, secrets", [("s3://bucket/prefix", True), ("/srv/store", False)])
def test_data_is_fetched_where_it_is_read(gitbox, url, secrets):
    gitbox.write(".dvc/config", f"[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n")
    gitbox.write("data/raw.csv.dvc", "outs:\n- md5: 0cc175b9c0f1b6a831c399e269772661\n  size: 1\n  hash: md5\n  path: raw.csv\n")
    gitbox.write("data/.gitignore", "/raw.csv\n")
    done = generate(gitbox, "version: 1\ntargets:\n  lint: {inputs: [src/*.py], run: echo lint}\n"
                     "  prepare: {inputs: [data/raw.csv], run: echo prepare}\n"
                     "  test: {needs: [prepare], inputs: [src/*.py], run: echo test}\n")
    assert ("secrets of the environment mlmake-data" if secrets else "hosted runners do not have it") in done.stderr
    lint_workflows(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    lint, test = text.split("\n  test:\n")
    assert "mlmake data pull" not in lint
    assert "mlmake data pull" in test
    assert ("AWS_SECRET_ACCESS_KEY" in test) == secrets
    assert ("name: mlmake-data" in test) == secrets


def test_no_expression_reaches_a_shell(gitbox):
    generate(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    for script in re.findall(r"\n( +)run: \|\n((?:\1  .*\n|\n)+)", text):
        assert "${{" not in script[1]
    assert text.count("run: |") >= 7


def test_gate_demands_every_job(gitbox):
    """The gate's own script, run with the results that GitHub would put in."""
    generate(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    gate = text[text.index("\n  mlmake:\n"):]
    assert "if: always()" in gate and "needs: [lint, test, build]" in gate
    script = "\n".join(line[10:] for line in gate[gate.index("run: |\n") + 7:].splitlines())
    for results, code in [("lint success\ntest success\nbuild success\n", 0), ("lint success\ntest skipped\nbuild success\n", 1),
                          ("lint failure\ntest skipped\nbuild skipped\n", 1), ("lint success\ntest success\nbuild cancelled\n", 1),
                          ("lint success\ntest success\nbuild \n", 1)]:
        summary = gitbox.path / "summary"
        done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], capture_output=True, text=True,
                              env={**gitbox.env, "RESULTS": results, "GITHUB_STEP_SUMMARY": str(summary)})
        assert done.returncode == code, (results, done.stdout, done.stderr)
        assert ("::error" in done.stdout) == (code == 1)


def test_install_step_says_what_is_missing(gitbox):
    generate(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    start = text.index("run: |\n", text.index("Install mlmake")) + 7
    script = "\n".join(line[10:] for line in text[start:text.index("- name: Restore")].splitlines()[:-1])
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], capture_output=True, text=True,
                          env={**gitbox.env, "MLMAKE_REPOSITORY": "", "MLMAKE_REF": ""})
    assert done.returncode == 1
    assert "::error" in done.stdout and "MLMAKE_REPOSITORY" in done.stdout


def test_install_step_builds_what_the_variables_name(gitbox):
    source = gitbox.path / "mlmake source"
    source.mkdir()
    gitbox.git("init", "-q", "-b", "main", cwd=source)
    (source / "bootstrap.sh").write_text("#!/bin/sh\nmkdir build && echo built >build/mlmake\n")
    (source / "bootstrap.sh").chmod(0o755)
    gitbox.git("add", ".", cwd=source)
    gitbox.git("commit", "-qm", "one", cwd=source)
    gitbox.git("tag", "v1", cwd=source)
    generate(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    start = text.index("run: |\n", text.index("Install mlmake")) + 7
    script = "\n".join(line[10:] for line in text[start:text.index("- name: Restore")].splitlines()[:-1])
    temp = gitbox.path / "temp"
    temp.mkdir()
    env = {**gitbox.env, "MLMAKE_REPOSITORY": source.as_uri(), "MLMAKE_REF": "v1", "RUNNER_TEMP": str(temp),
           "GITHUB_PATH": str(temp / "path"), "GITHUB_SERVER_URL": "https://example.invalid"}
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert (temp / "path").read_text() == f"{temp}/mlmake/build\n"
    assert (temp / "mlmake/build/mlmake").exists()


def test_needs_are_the_direct_ones(gitbox):
    generate(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    assert re.findall(r"^    needs: (.*)$", text, re.M) == ["[lint]", "[test]", "[lint, test, build]"]
    assert "timeout-minutes: 105" in text


def test_every_job_has_the_basics(gitbox):
    generate(gitbox)
    jobs = gitbox.read(WORKFLOW).decode().split("\njobs:\n")[1]
    assert jobs.count("runs-on: ubuntu-24.04") == jobs.count("timeout-minutes:") == 4
    assert jobs.count("persist-credentials: false") == jobs.count("actions/checkout@") == 3
    for uses in re.findall(r"uses: (.*)", jobs):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", uses), uses


def test_twice_is_the_same_and_writes_nothing(gitbox):
    first = generate(gitbox)
    assert first.stdout == WORKFLOW + "\n"
    before = (gitbox.path / WORKFLOW).stat()
    second = gitbox.mlmake("ci", "generate")
    assert second.stdout == "" and "up to date" in second.stderr
    assert (gitbox.path / WORKFLOW).stat().st_ino == before.st_ino


def test_same_bytes_elsewhere(gitbox, tmp_path_factory):
    generate(gitbox)
    text = gitbox.read(WORKFLOW)
    other = tmp_path_factory.mktemp("elsewhere")
    gitbox.run("cp", "-r", str(gitbox.path) + "/.", other)
    gitbox.mlmake("ci", "check", cwd=other)
    assert str(gitbox.path).encode() not in text


def test_check_prints_the_difference(gitbox):
    generate(gitbox)
    gitbox.mlmake("ci", "check")
    gitbox.write("mlmake.yaml", SMALL.replace("90m", "2h"))
    stale = gitbox.mlmake("ci", "check", check=1)
    assert "-    timeout-minutes: 105\n+    timeout-minutes: 135\n" in stale.stdout
    assert "out of date: the project has changed" in stale.stderr
    assert "mlmake ci generate" in stale.stderr
    patched = subprocess.run(["patch", "-p1"], cwd=gitbox.path, input=stale.stdout, text=True, capture_output=True)
    assert patched.returncode == 0
    gitbox.mlmake("ci", "check")


def test_what_does_not_concern_ci_leaves_it_current(gitbox):
    generate(gitbox)
    gitbox.write("mlmake.yaml", "# a comment\n" + SMALL.replace("echo lint", "echo other"))
    gitbox.mlmake("ci", "check")


def test_check_without_a_workflow(gitbox):
    gitbox.write("mlmake.yaml", SMALL)
    gitbox.write("src/a.py", "")
    missing = gitbox.mlmake("ci", "check", check=1)
    assert "does not exist" in missing.stderr
    assert not (gitbox.path / ".github").exists()


def test_json(gitbox):
    report = json.loads(generate(gitbox, SMALL, "--json").stdout)
    assert report["path"] == WORKFLOW and report["state"] == "missing" and report["written"]
    assert json.loads(gitbox.mlmake("ci", "check", "--json").stdout)["state"] == "current"


def test_edited_by_hand_is_not_overwritten(gitbox):
    generate(gitbox)
    path = gitbox.path / WORKFLOW
    original = path.read_text()
    path.write_text(original.replace("timeout-minutes: 60", "timeout-minutes: 61"))
    refused = gitbox.mlmake("ci", "generate", check=1)
    assert "changed by hand" in refused.stderr and "--force" in refused.stderr
    assert "61" in path.read_text()
    assert "changed by hand" in gitbox.mlmake("ci", "check", check=1).stderr
    gitbox.mlmake("ci", "generate", "--force")
    assert path.read_text() == original


def test_foreign_file_is_not_overwritten(gitbox):
    gitbox.write(WORKFLOW, "name: mine\n")
    refused = generate(gitbox, check=1)
    assert "was not generated by mlmake" in refused.stderr
    assert gitbox.read(WORKFLOW) == b"name: mine\n"


def test_moved_workflow_leaves_no_orphan(gitbox):
    generate(gitbox)
    gitbox.write(".github/workflows/own.yml", "name: own\n")
    moved = generate(gitbox, "version: 1\nci: {path: .github/workflows/ci.yml}\n" + SMALL.split("\n", 1)[1])
    assert moved.stdout == ".github/workflows/ci.yml\n" and "removed " + WORKFLOW in moved.stderr
    assert sorted(p.name for p in (gitbox.path / ".github/workflows").iterdir()) == ["ci.yml", "own.yml"]


@pytest.mark.parametrize("yaml, says", [
    ("ci: {path: ../x.yml}", "GitHub would not look"),
    ("ci: {path: .github/workflows/a/b.yml}", "GitHub would not look"),
    ("ci: {install: 'echo $${{ github.token }}'}", "has a ${{ }}"),
    ("ci: {targets: [tset]}", "tset"),
    ("ci: {targets: []}\ntargets: {x: {run: echo}}", "no target of this project can become a CI job"),
    ("targets: {test: {run: echo, ci: {permissions: {contents: write}}}}", "contents is read"),
    ("targets: {test: {run: echo, ci: {permissions: {id-token: admin}}}}", "id-token"),
])
def test_bad_settings(gitbox, yaml, says):
    targets = "" if "targets: {" in yaml else "targets: {test: {run: echo}}\n"
    gitbox.write("mlmake.yaml", f"version: 1\n{yaml}\n{targets}")
    refused = gitbox.mlmake("ci", "generate", check=2)
    assert says in refused.stderr
    assert "hint:" in refused.stderr
    assert not (gitbox.path / ".github").exists()


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_check_is_quick(gitbox):
    generate(gitbox)
    best = 1.0
    for _ in range(5):
        start = cpu_of_children()
        gitbox.mlmake("ci", "check")
        best = min(best, cpu_of_children() - start)
    assert best < 0.1


def test_pins_are_commits():
    text = (ROOT / "templates/ci/pins.yaml").read_text()
    pins = re.findall(r"^  (\S+):\n    version: (\S+)\n    commit: (\S+)\n", text, re.M)
    assert {name for name, _, _ in pins} == {"actions/cache", "actions/checkout", "actions/setup-python"}
    for _, version, commit in pins:
        assert re.fullmatch(r"v\d+\.\d+\.\d+", version) and re.fullmatch(r"[0-9a-f]{40}", commit)


RESULTS = """\
version: 1
cache: {remote: store%s}
targets:
  lint: {inputs: [src/*.py], run: echo lint}
  test: {needs: [lint], run: echo test}
  build: {needs: [test], run: echo build, ci: {environment: release}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("push", ["", ", push: never", ", push: always"])
def test_shared_results(gitbox, push):
    """Keys that write reach pushes to the default branch alone; nothing else changes, and the linters have nothing to say."""
    gitbox.write(".dvc/config", "['remote \"store\"']\n    url = s3://bucket/x\n")
    generate(gitbox, RESULTS % push)
    lint_workflows(gitbox)
    text = gitbox.read(WORKFLOW).decode()
    jobs = dict(re.findall(r"^  (\w+):\n((?:    .*\n|\n)+)", text.split("\njobs:\n")[1], re.M))
    for name in ("lint", "test", "build"):
        run = jobs[name].split(f"- name: Run {name}\n")[1].split("    - name:")[0]
        assert "AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}" in run and jobs[name].count("secrets.AWS_SECRET") == 1
    choice = "github.event_name == 'push' && github.ref_name == github.event.repository.default_branch && 'mlmake-results' || 'mlmake-data'"
    assert (choice in " ".join(jobs["test"].split())) == (push != ", push: never") and "mlmake-data" in jobs["test"]
    assert "environment: release" in jobs["build"] and "mlmake-" not in jobs["build"].split("steps:")[0]
    assert "mlmake-results" not in jobs["mlmake"] and "secrets" not in jobs["mlmake"]
    gitbox.mlmake("ci", "check")


def test_results_that_jobs_cannot_share(gitbox, tmp_path):
    done = generate(gitbox, RESULTS % "")
    assert "cache.remote names 'store', and the committed .dvc/config has no such remote" in done.stderr
    assert "secrets" not in gitbox.read(WORKFLOW).decode()
    gitbox.write(".dvc/config", f"['remote \"store\"']\n    url = {tmp_path}/store\n")
    done = generate(gitbox, RESULTS % "")
    assert "results are shared on the remote 'store', which is a directory" in done.stderr
    assert "secrets" not in gitbox.read(WORKFLOW).decode()
