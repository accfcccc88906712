"""The model: what targets are, which bytes their outputs have, and what a run must do. Nothing in it asks mlmake.

A tree maps paths to nodes: ("f", bytes, executable), ("l", text of the link), ("d",). A target is a dict:

    index, kind     what it makes: see KINDS
    inputs          patterns: a path, one of PATTERNS, ("out", index, part), "gen/*.g"
    exclude         a path or directory that is left out, or None
    needs, after    indexes
    params, passes  keys of params.yaml; names of variables
    env, salt, var, tool, cache, always, dir, shell, gen, both
"""
import fnmatch
import functools
import json

KINDS = ("file", "file", "file", "empty", "dir", "dir", "exec", "link", "cut", "cut", "pair", "none", "void", "alias")
SAYS = ("file", "dir", "exec", "link", "pair")  # whose outputs hold all that the command reads
# What mlmake.yaml says -> what the shell says.
PATTERNS = {
    "src/*.txt": ["src/*.txt"],
    "src/**/*.txt": ["src/*.txt", "src/*/*.txt", "src/*/*/*.txt"],
    "src/**": ["src/*", "src/*/*", "src/*/*/*"],
    "src/sub": ["src/sub/*", "src/sub/*/*"],
    "data": ["data/*", "data/*/*"],
    "gen/*.g": ["gen/*.g"],
}


def name_of(index):
    return f"t{index}"


def outputs_of(target):
    """Paths, as declared."""
    base = f"gen/{name_of(target['index'])}.g" if target["gen"] else f"out/{name_of(target['index'])}"
    kind = target["kind"]
    if kind in ("none", "void", "alias"):
        return []
    if kind == "dir":
        return [base + ".d"]
    if kind == "link":
        return [base, base + ".lnk"]
    if kind == "pair":
        return [base, base + ".2"] if target["both"] else [base]
    return [base]


def tool_of(target):
    """A tool of the project is found from where the command begins, so that one which goes elsewhere has none."""
    return "path" if target["tool"] and target["dir"] else target["tool"]


def is_below(directory, path):
    return path == directory or path.startswith(directory + "/")


def glob(word, tree):
    """As a shell does it, files and links alone: sorted, `*` does not cross a `/`, a word without magic is itself."""
    if "*" not in word:
        return [word] if word in tree and tree[word][0] != "d" else []
    parts = word.split("/")
    found = []
    for path, node in tree.items():
        names = path.split("/")
        if node[0] != "d" and len(names) == len(parts) and all(map(fnmatch.fnmatchcase, names, parts)):
            found.append(path)
    return sorted(found)


def once(method):
    """A graph does not change: what follows from it alone is found once a target."""
    @functools.wraps(method)
    def remembered(self, target):
        key = (method.__name__, target["index"])
        if key not in self.known:
            self.known[key] = method(self, target)
        return self.known[key]
    return remembered


class Failed(Exception):
    """The command fails; partial: what it leaves behind."""

    def __init__(self, partial):
        super().__init__("the command fails")
        self.partial = partial


class Missing(Exception):
    """A named input that is not there."""


class Graph:
    """The targets of one mlmake.yaml, with what the file says besides."""

    def __init__(self, targets, var="0", env=None):
        self.targets = {t["index"]: t for t in targets}
        self.var, self.env = var, env or {}
        self.known = {}
        for index, target in list(self.targets.items()):
            if target["kind"] == "alias" and not self.needs_of(target):
                self.targets[index] = {**target, "kind": "void"}

    # --- what depends on what ---

    def needs_of(self, target):
        return [i for i in target["needs"] if i in self.targets and i < target["index"]]

    def input_path(self, target, pattern):
        """A pattern as mlmake.yaml has it; None if what it means is gone."""
        if not isinstance(pattern, tuple):
            return pattern
        _, index, part = pattern
        maker = self.targets.get(index)
        if maker is None or index >= target["index"] or not outputs_of(maker):
            return None
        first = outputs_of(maker)[0]
        if part == "below" and maker["kind"] == "dir":
            return first + "/all"
        if part == "below" and maker["kind"] == "link":
            return outputs_of(maker)[1]
        return first

    @once
    def inputs_of(self, target):
        if target["kind"] in ("void", "alias"):
            return []
        paths = [self.input_path(target, pattern) for pattern in target["inputs"]]
        return list(dict.fromkeys(p for p in paths if p))

    @once
    def words_of(self, target):
        """The inputs as the command's shell names them."""
        words = []
        for path in self.inputs_of(target):
            makers = [t for t in self.targets.values() if t["kind"] == "dir" and outputs_of(t)[0] == path]
            words += PATTERNS.get(path) or ([path + "/*", path + "/*/*"] if makers else [path])
        return words

    @once
    def makers_of(self, target):
        found = []
        for other in self.targets.values():
            if other["index"] < target["index"] and any(
                    is_below(out, path) or is_below(path, out) or ("*" in path and fnmatch.fnmatchcase(out, path))
                    for path in self.inputs_of(target) for out in outputs_of(other)):
                found.append(other["index"])
        return found

    def closure(self, names):
        found, todo = set(), [i for i in self.targets if name_of(i) in names]
        while todo:
            index = todo.pop()
            if index not in found:
                found.add(index)
                todo += self.needs_of(self.targets[index]) + self.makers_of(self.targets[index])
        return sorted(found)

    # --- mlmake.yaml ---

    def config(self):
        targets = {}
        for target in self.targets.values():
            body = {"needs": [name_of(i) for i in self.needs_of(target)],
                    "after": [name_of(i) for i in target["after"] if i in self.targets and i < target["index"]]}
            if target["kind"] == "alias":
                targets[name_of(target["index"])] = {"alias": True, **body}
                continue
            if target["kind"] != "void":
                body["inputs"] = self.inputs_of(target) + (["!" + target["exclude"]] if target["exclude"] else [])
                body["outputs"] = outputs_of(target)
                body["params"] = [f"params.yaml:{key}" for key in target["params"]]
            body.update(env=target["env"], pass_env=target["passes"], run=[": first", self.script(target)])
            if target["cache"] is not True:
                body["cache"] = target["cache"]
            if target["always"]:
                body["always"] = True
            if target["dir"]:
                body["dir"] = "sub"
            if target["shell"]:
                body["shell"] = ["sh", "-e", "-c"]
            targets[name_of(target["index"])] = {k: v for k, v in body.items() if v or k == "run" or v is False}
        return json.dumps({"version": 1, "rules": [], "vars": {"v": self.var}, "env": self.env, "targets": targets}, indent=1)

    @once
    def script(self, target):
        void = target["kind"] == "void"
        words, outs = self.words_of(target), outputs_of(target)
        # The same text wherever it runs, so that the directory itself must be in the key.
        lines = ["m() {", "w=${PWD##*/}; case $w in sub) cd ..;; esac", f'echo {name_of(target["index"])} >> "$TMPDIR/ran"', "a=; h=; l=; n=0; case $- in *u*) s=eu;; *) s=e;; esac",
                 'for x; do a="${a}arg $x\n"; done']
        exclude = target["exclude"]
        if words:
            lines.append(f"for f in {' '.join(words)}; do")
            if exclude:
                lines.append(f"case $f in {exclude}|{exclude}/*) continue;; esac")
            lines += ["case $f in *.ign) continue;; esac", 'if [ -d "$f" ]; then continue; fi',
                      'if [ -L "$f" ]; then k=L; elif [ -e "$f" ]; then k=F; else continue; fi', "n=$((n+1))",
                      'if [ -x "$f" ]; then k=${k}x; fi', 'if [ -e "$f" ]; then l="$l $f"; else k=${k}b; fi', 'h="$h$k $f\n"', "done"]
        if target["kind"] == "dir":
            lines.append(f"mkdir -p {outs[0]}/k; printf partial > {outs[0]}/all")
        elif outs:
            lines.append(f"printf partial > {outs[0]}")
        lines += ['for f in $l; do read -r r < "$f" || :; case $r in FAIL*) exit 3;; esac; done']
        text = ["{", f"printf '%s\\n' \"T {name_of(target['index'])} {target['salt']} $w $s\"", 'printf %s "$a"']
        text += [f"printf '%s\\n' \"env {name} ${{{name}-unset}}\"" for name in self.variables_of(target)]
        if target["var"]:
            text.append("echo 'var @V@'")
        for key in [] if void else target["params"]:
            text.append(f'while read -r k v; do case $k in {key.split(".")[0]}:) echo "param $v";; esac; done < params.yaml')
        if tool_of(target):
            text.append({"local": "bin/tool", "path": "ptool"}[tool_of(target)])
        text += ['printf %s "$h"', '[ -z "$l" ] || cat $l', "}"]
        lines += self.making(target, outs, " \n".join(text))
        return "\n".join(lines + ["}", "m"]).replace("${", "$${").replace("@V@", "${vars.v}")

    def making(self, target, outs, text):
        kind = target["kind"]
        if kind in ("none", "void"):
            return []
        if kind == "empty":
            return [f"if [ $((n%2)) = 0 ]; then : > {outs[0]}; else echo $n > {outs[0]}; fi"]
        if kind == "cut":
            return [f"echo $n > {outs[0]}"]
        if kind == "dir":
            return [f"{text} > {outs[0]}/all", f'for f in $l; do : > "{outs[0]}/k/${{f##*/}}"; done']
        lines = [f"{text} > {outs[0]}"]
        if kind == "exec":
            lines.append(f"if [ $((n%2)) = 1 ]; then chmod +x {outs[0]}; fi")
        if kind == "link":
            lines.append(f"ln -s {outs[0].split('/')[-1]} {outs[1]}")
        if kind == "pair":
            lines.append(f"echo $n > {outs[0]}.2")
        return lines

    def variables_of(self, target):
        return sorted(self.env) + sorted(target["env"]) + sorted(target["passes"])

    # --- what a command makes ---

    def listing(self, target, tree):
        """(path, node, what is behind it) of each input file, in the shell's order."""
        found = []
        exclude = target["exclude"]
        for word in self.words_of(target):
            for path in glob(word, tree):
                if (exclude and is_below(exclude, path)) or path.endswith(".ign"):
                    continue
                node = tree[path]
                behind = node
                if node[0] == "l":
                    behind = tree.get((path.rsplit("/", 1)[0] + "/" if "/" in path else "") + node[1])
                found.append((path, node, behind))
        return found

    def missing_input(self, target, tree):
        """A named input that is neither there nor made by anybody."""
        made = [out for i in self.makers_of(target) for out in outputs_of(self.targets[i])]
        for path in self.inputs_of(target):
            if "*" not in path and path not in PATTERNS and path not in tree and \
                    not any(is_below(out, path) or is_below(path, out) for out in made):
                return path
        return None

    def make(self, target, tree, facts, args):
        """The nodes that the command leaves at its outputs (also at undeclared ones)."""
        listing = self.listing(target, tree)
        outs = outputs_of(target)
        count = str(len(listing))
        partial = {}
        if target["kind"] == "dir":
            partial = {outs[0]: ("d",), outs[0] + "/k": ("d",), outs[0] + "/all": ("f", b"partial", False)}
        elif outs:
            partial = {outs[0]: ("f", b"partial", False)}
        if any(behind and behind[1].startswith(b"FAIL") for _, _, behind in listing):
            raise Failed(partial)
        flags = "e" if target["shell"] else "eu"
        lines = [f"T {name_of(target['index'])} {target['salt']} {'sub' if target['dir'] else 'project'} {flags}"]
        lines += [f"arg {arg}" for arg in args]
        values = {**{k: facts["variables"].get(k, "unset") for k in target["passes"]}, **self.env, **target["env"]}
        lines += [f"env {name} {values[name]}" for name in self.variables_of(target)]
        if target["var"]:
            lines.append(f"var {facts['var'] if facts['var'] is not None else self.var}")
        lines += [f"param {facts['params'][key]}" for key in ([] if target["kind"] == "void" else target["params"])]
        if tool_of(target):
            lines.append(facts["tools"][tool_of(target)])
        content = b""
        for path, node, behind in listing:
            mark = ("L" if node[0] == "l" else "F") + ("x" if behind and behind[2] else "") + ("" if behind else "b")
            lines.append(f"{mark} {path}")
            content += behind[1] if behind else b""
        text = ("\n".join(lines) + "\n").encode() + content
        return self.nodes(target, outs, text, count, [path for path, _, behind in listing if behind])

    @staticmethod
    def nodes(target, outs, text, count, files):
        kind = target["kind"]
        line = (count + "\n").encode()
        if kind in ("none", "void"):
            return {}
        if kind == "empty":
            return {outs[0]: ("f", line if int(count) % 2 else b"", False)}
        if kind == "cut":
            return {outs[0]: ("f", line, False)}
        if kind == "dir":
            made = {outs[0]: ("d",), outs[0] + "/k": ("d",), outs[0] + "/all": ("f", text, False)}
            made.update({f"{outs[0]}/k/{path.split('/')[-1]}": ("f", b"", False) for path in files})
            return made
        made = {outs[0]: ("f", text, kind == "exec" and int(count) % 2 == 1)}
        if kind == "link":
            made[outs[1]] = ("l", outs[0].split("/")[-1])
        if kind == "pair":
            made[outs[0] + ".2"] = ("f", line, False)
        return made

    def key(self, target, tree, facts, args, results):
        """Everything that mlmake's key holds, as a value to compare."""
        inputs = {path: (node, behind) for path, node, behind in self.listing(target, tree)}
        void = target["kind"] == "void"
        var = self.var if facts["var"] is None else facts["var"]
        says = target["kind"] in SAYS
        return (self.script(target), var if target["var"] and says else None,
                tuple(args), target["shell"], target["dir"],
                tuple(sorted({**self.env, **target["env"]}.items())), tuple((k, facts["variables"].get(k)) for k in target["passes"]),
                tuple(outputs_of(target)), tuple((i, results[i]) for i in self.needs_of(target)),
                facts["tools"][tool_of(target)] if tool_of(target) and says else None,
                tuple((k, facts["params"][k]) for k in ([] if void else target["params"])), tuple(sorted(inputs.items())))


def manifest(target, tree):
    """What is at a target's outputs: (path, node) sorted, as a value to compare."""
    outs = outputs_of(target)
    return tuple(sorted((path, node) for path, node in tree.items() if any(is_below(out, path) for out in outs)))
