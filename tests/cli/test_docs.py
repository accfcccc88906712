"""The examples in README.md and docs/ are run: every ```console block, in order, one shell a file.

A line that begins with "$ " is a command, what follows is what it must print (stdout and stderr together). In expected output
"..." alone on a line stands for any lines, and inside a line for any text. `<!-- example: none -->` before a block leaves it
out, `<!-- example: slow -->` anywhere in a file leaves that file to the full run.
"""
import re
import subprocess

import pytest

from conftest import BUILD, PEERS, ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(<!-- example: none -->\s*)?^```console\n(.*?)^```", re.M | re.S)
MARK = "@@example"
INSTALLING = 1500 # seconds: packages come over a network, on a machine that does other things as well


def commands_of(text):
    """[(command, [expected lines])]"""
    found = []
    for skipped, body in BLOCK.findall(text):
        if skipped:
            continue
        for line in body.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif line.startswith("> ") and found and not found[-1][1]:
                found[-1] = (found[-1][0] + "\n" + line[2:], [])
            else:
                assert found, f"output before a command: {line}"
                found[-1][1].append(line)
    return found


def matches(expected, got):
    parts = []
    for line in expected:
        if line.strip() == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*?".join(re.escape(part) for part in line.rstrip().split("...")) + r"[ \t]*\n")
    return re.fullmatch("".join(parts), got) is not None


def params():
    for path in DOCS:
        text = path.read_text()
        if commands_of(text):
            marks = [pytest.mark.slow, pytest.mark.timeout(2 * INSTALLING)] if "<!-- example: slow -->" in text else []
            yield pytest.param(path, marks=marks, id=str(path.relative_to(ROOT)))


@pytest.mark.parametrize("path", list(params()) or [pytest.param(None, marks=pytest.mark.skip("no examples"))])
def test_examples(path, box):
    examples = commands_of(path.read_text())
    script = ["exec 2>&1"]
    for number, (command, _) in enumerate(examples):
        script += [f"echo '{MARK} {number}'", command]
    script += [f"echo '{MARK} end'"]
    box.env["PATH"] = f"{BUILD}:{box.env['PATH']}:{PEERS / 'tools' / 'bin'}"
    box.env["TERM"] = "dumb"
    result = subprocess.run(["bash", "-c", "\n".join(script)], cwd=box.path, env=box.env, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, timeout=INSTALLING)
    outputs = re.split(rf"^{MARK} (?:\d+|end)\n", result.stdout, flags=re.M)[1:]
    assert len(outputs) == len(examples) + 1, result.stdout
    wrong = [f"$ {command}\n--- expected\n" + "\n".join(expected) + f"\n--- got\n{got}"
             for (command, expected), got in zip(examples, outputs) if not matches(expected, got)]
    assert not wrong, f"{path.name}:\n" + "\n".join(wrong)


def test_the_matcher_can_fail():
    assert matches(["a ... c", "...", "d"], "a b c\nx\ny\nd\n")
    assert not matches(["a"], "b\n")
    assert not matches(["a"], "a\nb\n")
    assert not matches([], "a\n")
