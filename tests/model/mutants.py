#!/usr/bin/env python3
"""Whether the model would notice: mlmake broken on purpose, one line at a time.

    tests/model/mutants.py [--only NAME,...] [--sample N] [--steps N] [--build DIR] [--dir DIR] [--markdown]

Each mutation is made in a copy of the sources with the objects that are built, compiled, and given to run.py, which
must find it within a number of steps, however long these take here. One that lives is an error, and so is one whose line is no longer in the source. --sample takes N of
them, others each day. --markdown prints the table of docs/testing.md.
"""
import argparse
import datetime
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SEEDS = 3  # a mutation that lives gets so many chances

# name: (what is broken, file, text, text in its place)
MUTATIONS = {
    "racy": ("no file is racy", "src/store/hashes.c",
             "return stamp->mtime_ns >= clock || stamp->ctime_ns >= clock;", "return stamp->mtime_ns > clock + 1000000000000;"),
    "racy-tick": ("a file of the clock's own tick is remembered", "src/store/hashes.c",
                  "return stamp->mtime_ns >= clock || stamp->ctime_ns >= clock;", "return stamp->mtime_ns > clock || stamp->ctime_ns > clock;"),
    "racy-finish": ("inputs are compared by their stamps alone after the command", "src/engine/fingerprint.c",
                    "\tif (item->racy)\n", "\tif (item->racy && false)\n"),
    "stamp-ctime": ("ctime is not compared", "src/base/fs.c", "(linked || a->ctime_ns == b->ctime_ns)", "(linked || true)"),
    "snapshot-files": ("a snapshot does not look at files", "src/store/snapshot_ask.c", "return codec_done(in) && !asking.differs;",
                       "if (changes)\n\t\tchanges->files.len = 0;\n\treturn codec_done(in);"),
    "snapshot-vars": ("a snapshot does not look at variables", "src/store/snapshot_ask.c", "!vars_hold(&parts.rest) || ",
                      "(!vars_hold(&parts.rest) && false) || "),
    "doubts-inputs": ("a target is believed though an input that it names changed", "src/engine/doubts.c", ": touches(input->glob, path))", ": false)"),
    "doubts-globs": ("a target is believed though a file that a glob matches changed", "src/engine/doubts.c",
                     "if (glob_takes(input->glob, path) ||", "if ((glob_takes(input->glob, path) && false) ||"),
    "doubts-outputs": ("a target is believed though its outputs changed", "src/engine/doubts.c", ": touches(output, path))", ": false)"),
    "doubts-users": ("a target is believed though one that it needs is not", "src/engine/doubts.c", "\t\tfollow_users(&doubting);\n", "\t\t(void)follow_users;\n"),
    "doubts-config": ("what is believed outlives the configuration", "src/store/snapshot.c",
                      "\t\tif (map_has(&changed, files->at[i].path))\n\t\t\treturn true;\n\treturn witness_fault",
                      "\t\tif (map_has(&changed, files->at[i].path))\n\t\t\tbreak;\n\treturn witness_fault"),
    "witness-open": ("the witness does not see what is opened and not looked at before", "src/base/witness.c",
                     "const char *full = record(w, dir, path, follow, &st, false);", "const char *full = resolve(w, dir, path);"),
    "key-command": ("key without the command", "src/engine/fingerprint.c", "add_numbered(list, COMPONENT_COMMAND, &target->run);", ""),
    "key-args": ("key without ARGS", "src/engine/fingerprint.c", "add_numbered(list, COMPONENT_ARGUMENT, args);", ";"),
    "key-shell": ("key without the shell", "src/engine/fingerprint.c", "add_numbered(list, COMPONENT_SHELL, &target->settings->shell);", ""),
    "key-dir": ("key without the directory", "src/engine/fingerprint.c", 'components_add_text(list, COMPONENT_DIR, "", target->dir);', ""),
    "key-env": ("key without env", "src/engine/fingerprint.c",
                "components_add_text(list, COMPONENT_ENV, target->settings->env.at[i].name, target->settings->env.at[i].value);", ";"),
    "key-pass-env": ("key without pass_env", "src/engine/fingerprint.c",
                     "components_add_digest(list, COMPONENT_ENV, name, 'd', &digest);", ""),
    "key-outputs": ("key without the declared outputs", "src/engine/fingerprint.c",
                    'components_add_text(list, COMPONENT_OUTPUT, target->outputs.at[i].path, "");', ";"),
    "key-needs": ("key without the results of needs", "src/engine/fingerprint.c",
                  "components_add_digest(list, COMPONENT_NEED, ctx->project->targets[id].name, 'd', &results[id]);", "(void)results, (void)id;"),
    "key-params": ("key without the parameters", "src/engine/params.c", "components_add_text(list, COMPONENT_PARAM, name->data, value.data);", ""),
    "key-tools": ("key without the tools", "src/engine/tools.c", "components_add_digest(list, COMPONENT_TOOL, name, 'x', &tool->digest);", ";"),
    "key-mode": ("key without the executable bit", "src/engine/fingerprint.c", "item->executable ? 'x' : 'f'", "'f'"),
    "key-link": ("a link's target is not read through", "src/engine/fingerprint.c", "codec_add_digest(&both, &behind.digest);", ""),
    "outputs-unchecked": ("outputs are not looked at", "src/engine/check.c", "*ret = manifest_same(&record->outputs, &now);", "*ret = true;"),
    "outputs-mode": ("the executable bit of outputs is not looked at", "src/store/manifest.c",
                     "is_executable(x) != is_executable(y) || ", ""),
    "cutoff-none": ("no early cutoff: what needs a target that ran, runs", "src/engine/finish.c",
                    "check_result(run, target, &outputs, &run->results[target->id]);\n\tconst char *changed",
                    "check_result(run, target, &outputs, &run->results[target->id]);\n\trun->results[target->id].bytes[0] ^= (unsigned char)loop_now_ms();\n\tconst char *changed"),
    "cutoff-wrong": ("the result of a target is its number of outputs", "src/store/manifest.c",
                     "\t\tcodec_add_digest(&framed, &entry->digest);\n\t}\n\tdigest_bytes(", "\t}\n\tdigest_bytes("),
    "record-early": ("the record is written before the command runs", "src/engine/exec.c",
                     "\trun_emit(job->run, &event);\n\tstart_attempt(job);",
                     "\trun_emit(job->run, &event);\n\tstruct manifest early = { 0 };\n\tif (!finish_record(job, &early, 1, &err))\n\t\tstart_attempt(job);"),
    "record-failure": ("a failure counts as a success", "src/engine/exec.c", "return job->exit_code == 0;", "return true;"),
    "lock-none": ("the lock of a target is not taken", "src/store/lock.c",
                  "if (range_op(fd, F_OFD_SETLK, type, at, len) < 0) {", "if (type = F_UNLCK, range_op(fd, F_OFD_SETLK, type, at, len) < 0) {"),
    "lock-unchecked": ("the state is not looked at again under the lock", "src/engine/exec.c", "\tcase VERDICT_CURRENT: {\n\t\tstruct run_event event",
                       "\tcase VERDICT_CURRENT: {\n\t\tstart_running(job);\n\t\treturn;\n\t\tstruct run_event event"),
    "lock-early": ("a lock is released before the record can be found", "src/engine/sched.c",
                   "vec_push(&run->held, job->lock);", "lock_release(job->lock);"),
    "watch-none": ("an input that changed during the run is remembered", "src/engine/finish.c",
                   "return path && !is_own_output(job->node->target, path) ? path : NULL;", "return path && is_own_output(job->node->target, path) ? path : NULL;"),
    "watch-added": ("a file that came during the run, and that a glob matches, goes unnoticed", "src/engine/fingerprint.c",
                    "return param ? param : added_since(ctx, target, fp);", "(void)added_since;\n\treturn param;"),
    "outputs-kept": ("outputs are not removed before a run", "src/engine/exec.c", "(!target->persist && fs_remove_tree(path, err) < 0) || ", ""),
    "tree-stale": ("directories are not listed again after a target has written", "src/graph/files.c",
                   "if (tree_refresh(files->tree, path, &err) < 0)", "if (false)"),
    "ignore-none": ("what git ignores is an input", "src/graph/files.c", "if (child->ignored && !c->with_ignored)", "if (false)"),
    "exclude-none": ("`!` excludes nothing", "src/graph/files.c", "if (!target_excludes(c->target, path))", "if (c->target)"),
    "edges-none": ("who makes an input does not run before", "src/graph/plan.c", "\t\t\treach(p, target->makes_inputs.at[i]);", "\t\t\t;"),
    "dry-short": ("-n does not name what waits for what would run", "src/engine/decide.c",
                  "const struct target *unknown = run->options->dry_run ? unknown_before(run, node->target) : NULL;",
                  "const struct target *unknown = unknown_before(run, node->target) ? NULL : NULL;"),
}


def copy(build, directory):
    """The sources and what is built of them, times kept, so that make compiles what the mutation touches alone."""
    for name in ("Makefile", "src", "rules", "templates", "tests/fault"):
        source, target = ROOT / name, directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (directory / "build").mkdir()
    for name in ("obj", "gen", "libmlmake.a", "mlmake", "mlmake-fault"):
        source = build / name
        if source.is_dir():
            shutil.copytree(source, directory / "build" / name, copy_function=shutil.copy2)
        else:
            shutil.copy2(source, directory / "build" / name)


def make(directory):
    result = subprocess.run(["make", "-s", "-C", directory, "all", "fault", "WERROR="], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"mutants.py: a copy does not build\n{result.stdout[-3000:]}")


def try_one(name, directory, options):
    """(how it was found or None, seconds)"""
    _, file, text, instead = MUTATIONS[name]
    path = directory / file
    original = path.read_text()
    if original.count(text) != 1:
        return f"STALE: {file} holds its line {original.count(text)} times", 0
    started = time.monotonic()
    path.write_text(original.replace(text, instead))
    try:
        make(directory)
        for seed in range(1, SEEDS + 1):
            argv = [sys.executable, ROOT / "tests/model/run.py", "--build", directory / "build", "--no-shrink",
                    "--seed", str(seed * 77_000_001), "--steps", str(options.steps), *(["--dir", options.dir] if options.dir else [])]
            result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if result.returncode not in (0, 1) or result.stderr:
                return f"STALE: the model fails\n{result.stderr}", 0
            if result.returncode:
                return next(line for line in result.stdout.split("\n")[2:] if line.strip()), time.monotonic() - started
        return None, time.monotonic() - started
    finally:
        path.write_text(original)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,...", help=", ".join(MUTATIONS))
    parser.add_argument("--sample", type=int, metavar="N")
    parser.add_argument("--steps", type=int, default=2500, help="for each, three times over (default: 2500)")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--dir", help="where to work (default: the directory for temporary files)")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(MUTATIONS)
    if options.sample:
        names = random.Random(str(datetime.date.today())).sample(names, options.sample)
    bad = 0
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=options.dir) as place:
        directory = pathlib.Path(place) / "copy"
        copy(options.build.resolve(), directory)
        make(directory)
        for name in names:
            found, seconds = try_one(name, directory, options)
            bad += found is None or found.startswith("STALE")
            if options.markdown:
                print(f"| {MUTATIONS[name][0]} | {'**lives**' if found is None else found} |", flush=True)
            else:
                print(f"{name:<20} {seconds:4.0f} s  {'LIVES' if found is None else found}", flush=True)
    print(f"{len(names)} mutations, {bad} not found")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
