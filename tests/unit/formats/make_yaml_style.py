"""Writes yaml_style.json: strings, what dvc's YAML dumper makes of them as `path:` of an output, and whether dvc reads
the same string back.

Run with the Python of an environment that holds dvc: python make_yaml_style.py [seed [count]] > yaml_style.json
"""
import json
import random
import sys

from dvc.utils.serialize import dumps_yaml, loads_yaml

PREFIX = "outs:\n- md5: x\n  path: "
PARTS = list("abxeE019_-+.:#   '\"\\,[]{}&*!|>%@`=<~?TZ\t\n\r/o") + [
    "\x01", "\x7f", "\x85", "\xa0", "\xe9", "\u65e5", "\u2028", "\ufeff", "\ufffe", "\U0001f600", "inf", "true", "null"]
KNOWN = """1234567890123456789012345678901 1234567e901234 017 1_000 0x1f 0o17 0b1 1e3 .5 1. .inf -.INF .nan +.nan 2020-01-02
2020-1-2 2020-01-02T03:04:05Z 1:30 true True yes no on off y n null ~ NULL = << - -a --- ---a ... ? ?a : :a a: a:b # a#b
@a `a %a &a *a !a |a >a 'a "a [a {a ,a a,b""".split() + [
    "- a", "? a", ": a", "a: b", "a #b", "a: ", " a", "a ", "a  b", "2020-01-02 03:04:05.5 +1:30", "a\tb", "it's", "a\nb", "x" * 100,
    "dir/" + "y" * 90 + "/file name.csv", "word " * 30 + "end", "it's " * 30 + "end", "a, " * 60, "\u65e5" * 100, "data/'" + "z" * 100 + " q"]


def random_text(rng):
    kind = rng.random()
    if kind < 0.3:
        return "".join(rng.choice("0123456789eE+-._:TZ xob") for _ in range(rng.randint(1, 12)))
    if kind < 0.6:
        return "".join(rng.choice(PARTS) for _ in range(rng.randint(1, 20)))
    if kind < 0.75:
        return "".join(rng.choice(PARTS) for _ in range(rng.randint(60, 200)))
    letters = "abcdefgh" if rng.random() < 0.5 else "abcdefgh'\"\\\xe9,\n\t"
    words = ("".join(rng.choice(letters) for _ in range(rng.choice([1, 3, 5, 8, 20, 90]))) for _ in range(rng.randint(2, 20)))
    return rng.choice([" ", "  "]).join(words)


def main():
    rng = random.Random(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 700
    rows = []
    for text in KNOWN + [random_text(rng) for _ in range(count)]:
        out = dumps_yaml({"outs": [{"md5": "x", "path": text}]})
        assert out.startswith(PREFIX) and out.endswith("\n"), out
        faithful = loads_yaml(out)["outs"][0]["path"] == text
        rows.append(json.dumps([text, out[len(PREFIX):-1], faithful]))
    print("[" + ",\n".join(rows) + "]")


if __name__ == "__main__":
    main()
