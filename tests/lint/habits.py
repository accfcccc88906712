#!/usr/bin/env python3
"""Habits of the code base that a compiler does not know: who prints, what is never called, where state lives, what a
command's help holds.

    tests/lint/habits.py [LIBRARY]      LIBRARY: build/libmlmake.a, to look for variables in
"""
import pathlib
import re
import subprocess
import sys

from layers import ROOT, strip_comments

# Results and diagnostics are src/cli's; all below it return them.
PRINTS = re.compile(r"(?<![\w.>])(v?f?printf|v?dprintf|puts|putchar|fputs|fputc|putc|fwrite|perror)\s*\(|\b(stdout|stderr)\b")
# No bounds, no errors, state between calls, or an end that no caller sees.
NEVER = re.compile(r"(?<![\w.>])(strcpy|strcat|strncpy|strncat|sprintf|vsprintf|gets|atoi|atol|atoll|atof|s?scanf|fscanf|strtok|alloca|"
                   r"system|popen|tmpnam|tmpfile|mktemp|asctime|ctime|gmtime|localtime|setenv|putenv|abort|exit|assert)\s*\(")
ALLOCATES = re.compile(r"(?<![\w.>])(malloc|calloc|realloc|strdup|strndup|asprintf)\s*\(")
MAX_FUNCTION = 60
# The variables there are, and why.
VARIABLES = {
    ("sys", "sys"): "the table of system calls",
    ("buf", "buf_empty"): "what an empty buffer points to",
    ("fs", "counter"): "names of temporaries are unlike each other, in every thread",
    ("digest", "algorithms"): "OpenSSL's, fetched once",
    ("state", "open_states"): "LMDB loses its locks when a file is opened twice in a process",
    ("outputs_index", "turn"): "the objects of a cache share the database that state.c has open once",
    ("proc", "started_with"): "the limit of descriptors of this process, of which there is one",
    ("git_lib", "git_lib"): "libgit2, loaded once",
    ("git_lib", "once"): "libgit2, loaded once",
    ("print", "live"): "the live line of the terminal, of which there is one",
}
SYMBOL = re.compile(r"^[0-9a-f]+ .{7} \.(?:data|bss|tdata|tbss)(?!\.rel\.ro)\S*\t[0-9a-f]+\s+(?:\.hidden )?(\w+)(?:\.\d+)?$")


def functions(lines):
    """The line number and the length of each function's body; bodies begin and end in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            yield start, number - start - 1
            start = None


def check_source(path):
    name, text = str(path.relative_to(ROOT)), path.read_text()
    plain = strip_comments(text).split("\n")
    for number, line in enumerate(plain, 1):
        if not name.startswith("src/cli/") and PRINTS.search(line):
            yield f"{name}:{number}: only src/cli prints; return an err or a result"
        for match in NEVER.finditer(line):
            yield f"{name}:{number}: {match.group(1)}() is not for this code base; see base/text.h, base/buf.h, base/proc.h, base/err.h"
        if name != "src/base/mem.c" and ALLOCATES.search(line):
            yield f"{name}:{number}: allocate with base/mem.h"
    for number, length in functions(text.split("\n")):
        if length > MAX_FUNCTION:
            yield f"{name}:{number}: {length} lines; over {MAX_FUNCTION} a function has two jobs"
    if path.suffix == ".h":
        guard = re.sub(r"\W", "_", str(path.relative_to(ROOT / "src"))).upper()
        if f"#ifndef {guard}\n#define {guard}\n" not in text:
            yield f"{name}: its guard is {guard}"


def check_commands(path):
    name, text = str(path.relative_to(ROOT)), path.read_text()
    commands = re.findall(r"^(?:static )?const struct command (\w+) = \{\n(.*?)\n\};", text, re.M | re.S)
    for command, body in commands:
        if ".run = " in body and not re.search(r"(?:\\n|\")  .*mlmake ", body):
            yield f"{name}: the help of {command} has no example: lines of \"  mlmake ...\""
    if commands and "cli->json" in text and not any(".has_json = true" in body for _, body in commands):
        yield f"{name}: it looks at cli->json, and none of its commands has_json"


def check_variables(library):
    table = subprocess.run(["objdump", "-t", library], stdout=subprocess.PIPE, check=True, text=True).stdout
    unit = ""
    for line in table.split("\n"):
        header = re.match(r"(\S+)\.o: +file format", line)
        unit = header.group(1) if header else unit
        match = SYMBOL.match(line)
        if match and not match.group(1).startswith("__") and (unit, match.group(1)) not in VARIABLES:
            yield f"{unit}.c: '{match.group(1)}' is a variable that outlives its function; make it const or part of what owns it"


def main():
    problems = []
    for path in sorted((ROOT / "src").rglob("*.[ch]")):
        problems += check_source(path)
    for path in sorted((ROOT / "src" / "cli").glob("*.c")):
        problems += check_commands(path)
    if len(sys.argv) > 1:
        problems += check_variables(sys.argv[1])
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
