#!/usr/bin/env bash
# The main job on a small real project, from nothing to a checked commit: ./bootstrap.sh demo
#
#   tests/demo.sh [DIR]     DIR: where to work; must not exist. Without it a temporary directory, which stays for a look.
#
# Every command is printed before it runs. Anything that is not as it should be ends the demo with a message and exit
# code 1. Only DIR is written: git's identity is set in the project, and mlmake's cache of outputs is kept in DIR, too.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
binary=${MLMAKE:-$repository/build/mlmake}
[ -x "$binary" ] || { echo "demo: there is no $binary; ./bootstrap.sh builds it" >&2; exit 1; }

if [ $# -gt 0 ]; then
    mkdir -p "$(dirname "$1")" && mkdir "$1" && work=$(cd "$1" && pwd)
else
    work=$(mktemp -d "${TMPDIR:-/tmp}/mlmake-demo-XXXXXX")
fi
export MLMAKE_CACHE_DIR=$work/cache
unset MLMAKE_STATE_DIR
for variable in $(git rev-parse --local-env-vars); do unset "$variable"; done # GIT_DIR and the like, inside a hook
mkdir "$work/bin"
ln -s "$binary" "$work/bin/mlmake"
PATH=$work/bin:$PATH

output=$work/last-output
step=start
trap '[ $? -eq 0 ] || printf "\ndemo: failed at: %s; what there is so far is in %s\n" "$step" "$work" >&2' EXIT

heading() { printf '\n--- %s\n' "$*"; }

run() { # COMMAND...: prints it, runs it, shows and keeps what it said
    local word
    step=
    for word in "$@"; do
        case $word in *[!A-Za-z0-9_./:=-]*) word="'$word'" ;; esac
        step="$step $word"
    done
    printf '$%s\n' "$step"
    "$@" 2>&1 </dev/null | tee "$output"
}

surprise() { step="$step: $*"; printf 'demo: %s\n' "$*" >&2; exit 1; }
must_say() { grep -qE -- "$1" "$output" || surprise "expected it to say '$1'"; }
must_exist() { local path; for path in "$@"; do [ -e "$path" ] || surprise "$path is not there"; done; }

must_be_up_to_date() {
    step="mlmake $1 -n -q (nothing to do)"
    mlmake -n -q "$1" >"$output" 2>&1 </dev/null || surprise "$1 would run again: $(cat "$output")"
}

heading "a new project from a template"
cd "$work"
run mlmake new tabular tumours
must_exist tumours/mlmake.yaml
cd tumours
run git init -q -b main
git config user.name "Demo"
git config user.email "demo@example.com"
git config commit.gpgsign false
git config core.hooksPath .git/hooks

heading "what there is to run"
run mlmake list
for target in install lint test prepare train evaluate; do must_say "^ *$target\b"; done

heading "version the data, with a directory as the remote"
run mlmake data init
run mlmake data remote add -d storage "$work/storage"
run mlmake data add data/raw
must_exist data/raw.dvc data/.gitignore
run cat data/raw.dvc

heading "test: installs what the project needs into .venv, then tests it"
run mlmake test
must_say "passed"
must_be_up_to_date test

heading "train and evaluate; the model is versioned as data"
run mlmake train
must_exist models/model.joblib models/model.joblib.dvc
run mlmake evaluate
run cat metrics.json

heading "push data and model"
run mlmake data push
run mlmake data status
find "$work/storage" -type f | grep -q . || surprise "the remote is empty"

heading "lose the data, the model and the cache, and pull them back"
before=$(find data/raw models -type f ! -name '*.dvc' ! -name .gitignore -exec sha256sum {} + | sort -k 2)
run rm -rf data/raw models/model.joblib .dvc/cache
run mlmake data pull
after=$(find data/raw models -type f ! -name '*.dvc' ! -name .gitignore -exec sha256sum {} + | sort -k 2)
[ "$before" = "$after" ] || surprise "the files that came back are not those that were pushed"

heading "test again: nothing to do"
run mlmake test
must_be_up_to_date test
must_be_up_to_date train

heading "change one parameter: only what reads it would run"
run sed -i 's/C: 1.0/C: 0.5/' params.yaml
run mlmake why train
must_say "train\.C"
run sed -i 's/C: 0.5/C: 1.0/' params.yaml

heading "a workflow for GitHub Actions from the same targets"
run mlmake ci generate
run mlmake ci check
must_exist .github/workflows

heading "a hook that checks what is staged, and a commit"
run mlmake hook install
run git add .
run git commit -q -m "Start with data, model and workflow"
run git log --stat --format='%h %s'
[ -z "$(git status --porcelain)" ] || surprise "git sees changes after the commit: $(git status --porcelain)"
if git ls-files | grep -qE '^(data/raw/|models/model.joblib$|\.venv|\.mlmake)'; then surprise "git holds what it must not"; fi

trap - EXIT
rm -f "$output"
cat <<EOF

--- done

In $work/tumours, a repository with one commit:
  - the data set and the model are versioned: git holds data/raw.dvc and models/model.joblib.dvc, the bytes are in
    $work/storage (any directory, or s3://bucket/path)
  - lint, test, prepare, train and evaluate run only when something they depend on has changed
  - the workflow in .github/workflows and the pre-commit hook come from the same mlmake.yaml

Try next:
    cd $work/tumours && PATH=$work/bin:\$PATH
    echo "# note" >> src/train.py; mlmake why test; mlmake test
    mlmake -n evaluate                  what would run
    echo "import os, nothing" >> src/train.py; git commit -am broken      the hook refuses
    mlmake serve                        the model behind HTTP, on http://127.0.0.1:8080/docs

rm -rf $work removes everything.
EOF
