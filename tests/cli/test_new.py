"""mlmake new and mlmake init."""
import pytest

from conftest import ROOT

TABULAR = ROOT / "templates" / "tabular"


def tree(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def test_lists_templates(box):
    lines = box.mlmake("new").stdout.splitlines()
    assert any(line.split()[0] == "tabular" and "classifier" in line for line in lines)
    assert not any(line.startswith("init") for line in lines)


def test_writes_the_template(box):
    result = box.mlmake("new", "tabular", "work/tumours")
    made = box.path / "work" / "tumours"
    expected = [f for f in tree(TABULAR) if "__pycache__" not in f]
    assert tree(made) == expected
    assert result.stdout.splitlines() == sorted(f"work/tumours/{f}" for f in expected)
    assert "cd work/tumours" in result.stderr
    for name in expected:
        assert (made / name).read_bytes() == (TABULAR / name).read_bytes().replace(b"@project@", b"tumours"), name
    assert (made / "README.md").read_text().startswith("# tumours\n")


def test_into_an_empty_directory(box):
    (box.path / "empty").mkdir()
    box.mlmake("new", "tabular", ".", cwd=box.path / "empty")
    assert 'title="empty"' in (box.path / "empty" / "src" / "service.py").read_text()


def test_data_is_not_ignored_before_it_is_added(box):
    box.mlmake("new", "tabular", "p")
    box.git("init", "-q", cwd=box.path / "p")
    assert "data/raw/breast_cancer.csv" in box.git("ls-files", "-o", "--exclude-standard", cwd=box.path / "p").stdout


def test_refuses_a_directory_with_something_in_it(box):
    box.write("full/notes.txt", "mine")
    result = box.mlmake("new", "tabular", "full", check=2)
    assert "'full' is not empty" in result.stderr and "notes.txt" in result.stderr and "hint: " in result.stderr
    assert tree(box.path) == ["full/notes.txt"]


@pytest.mark.parametrize("args, message", [
    (["tabluar", "p"], "did you mean 'tabular'?"),
    (["init", "p"], "there is no template 'init'"),
    (["tabular/src", "p"], "there is no template"),
    (["tabular"], "takes a template and a directory"),
    (["tabular", "p", "q"], "takes a template and a directory"),
    (["tabular", "a b"], "cannot be the name of a project"),
    (["tabular", "/"], "has no name"),
])
def test_usage_errors(box, args, message):
    result = box.mlmake("new", *args, check=2)
    assert message in result.stderr and "hint: " in result.stderr
    assert tree(box.path) == []


def test_a_file_in_the_way(box):
    box.write("p", "mine")
    assert "'p' is not a directory" in box.mlmake("new", "tabular", "p", check=2).stderr
    assert box.read("p") == b"mine"


def test_a_full_disk_leaves_nothing(box):
    """The size limit stands in for the disk: the data file is larger, what comes before it fits."""
    command = f"ulimit -f 32; trap '' XFSZ; exec '{box.binary}' new tabular made/p"
    result = box.run("bash", "-c", command, check=1)
    assert "breast_cancer.csv" in result.stderr
    assert not (box.path / "made" / "p").exists()


def test_in_a_clone_of_an_empty_repository(gitbox):
    gitbox.mlmake("new", "tabular", ".")
    assert (gitbox.path / "mlmake.yaml").exists() and (gitbox.path / ".git/HEAD").exists()
    assert "is not empty" in gitbox.mlmake("new", "tabular", ".", check=2).stderr


def test_a_name_that_would_be_an_option(box):
    assert "cannot be the name" in box.mlmake("new", "tabular", "--", "-odd", check=2).stderr
    assert not list(box.path.iterdir())


def test_what_it_says_next_works(box):
    """Up to the training, whose output is tracked as data."""
    said = box.mlmake("new", "tabular", "p").stderr
    assert "cd p && git init" in said and "mlmake data init" in said
    box.git("init", "-q", cwd=box.path / "p")
    box.mlmake("data", "init", cwd=box.path / "p")
    box.mlmake("-n", "train", cwd=box.path / "p")


def test_init(box):
    result = box.mlmake("init")
    assert result.stdout == "mlmake.yaml\n"
    assert b"version: 1" in box.read("mlmake.yaml")
    before = box.read("mlmake.yaml")
    again = box.mlmake("init", check=2)
    assert "exists already" in again.stderr and "hint: " in again.stderr
    assert box.read("mlmake.yaml") == before
