#!/usr/bin/env bash
# Proves the README's two commands on a machine that has nothing: makes a minimal Debian root with mmdebstrap, gives it
# what this host needs to reach the network, clones this repository into it and calls bootstrap.sh there.
#
#   tests/rootfs/prove.sh [--keep] [--suite SUITE] [--mirror URL] build|demo|test...
#
# What is committed is what is proven: HEAD is cloned. Each word gets a fresh root (15 s). Needs root, mmdebstrap, git.
# --keep leaves the root for a look. MLMAKE_REQUIRE_PEERS is passed on.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=bookworm
mirror=()
keep=
words=()

usage() { sed -n '2,/^set -e/p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'; }
say() { printf '==> %s\n' "$*"; }
die() { printf 'prove.sh: %s\n' "$*" >&2; exit 2; }

while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=yes ;;
    --suite) suite=${2?"--suite needs a name"}; shift ;;
    --mirror) mirror=("${2?"--mirror needs a URL"}"); shift ;;
    build | demo | test) words+=("$1") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; die "unknown argument: $1" ;;
    esac
    shift
done
[ "${#words[@]}" -gt 0 ] || { usage >&2; die "say what to prove: build, demo or test"; }
[ "$(id -u)" = 0 ] || die "making a root and entering it needs root"
for tool in mmdebstrap git chroot; do
    command -v "$tool" >/dev/null || die "$tool is not installed (apt-get install mmdebstrap git)"
done

work=$(mktemp -d /var/tmp/mlmake-rootfs-XXXXXX)
chmod 0755 "$work" # apt's own user reads in it
root=$work/root
unmount_root() {
    local place
    for place in "$root/dev/pts" "$root/proc" "$root"; do
        ! mountpoint -q "$place" || umount "$place" || { echo "prove.sh: $place stays mounted" >&2; return 1; }
    done
}
clean_up() {
    unmount_root || return
    if [ -n "$keep" ]; then say "kept $root"; else rm -rf --one-file-system "$work"; fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Copies a file or directory of the host to the same place in the root, through links, if the host has it. Links in the
# root are replaced, never followed: an absolute one would lead back to the host.
copy_setting() {
    [ -e "$1" ] || return 0
    mkdir -p "$root$(dirname "$1")"
    if [ -d "$1" ]; then mkdir -p "$root$1" && cp -RL --remove-destination "$1/." "$root$1/"; else cp -L --remove-destination "$1" "$root$1"; fi
}

# What the host has set for reaching package registries goes along; nothing else of its environment does.
network_environment() {
    env -0 | grep -zE '^(PIP_|GOPROXY=|GOSUMDB=|GONOSUMDB=|GONOPROXY=|GOPRIVATE=|GOINSECURE=|SSL_CERT_|REQUESTS_CA_BUNDLE=|CURL_CA_BUNDLE=|GIT_SSL_CAINFO=|[A-Za-z]+_(proxy|PROXY)=)' || true
}

make_root() {
    say "making a minimal Debian ($suite) in $root"
    mmdebstrap --quiet --variant=minbase --include=git,ca-certificates "$suite" "$root" "${mirror[@]}"
    local setting variable
    for setting in /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates /etc/ssl/certs /etc/apt/apt.conf.d \
        /etc/apt/auth.conf /etc/apt/auth.conf.d /etc/pip.conf; do
        copy_setting "$setting"
    done
    for setting in pip/pip.conf go/env; do
        [ ! -e "${XDG_CONFIG_HOME:-$HOME/.config}/$setting" ] ||
            install -D -m 0600 "${XDG_CONFIG_HOME:-$HOME/.config}/$setting" "$root/root/.config/$setting"
    done
    for setting in ${PIP_FIND_LINKS-}; do
        [ "${setting#/}" = "$setting" ] || copy_setting "$setting"
    done
    for variable in SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE PIP_CERT PIP_CONFIG_FILE GIT_SSL_CAINFO; do
        [ -z "${!variable-}" ] || copy_setting "${!variable}"
    done
    # A mount of its own, as the root of a machine is one: buildah remounts it.
    mount --bind "$root" "$root" && mount --make-private "$root"
    mount -t proc proc "$root/proc" 2>/dev/null || say "proc cannot be mounted here; going on without"
    # Its own terminals: tests of questions and live lines open them.
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts" 2>/dev/null ||
        say "devpts cannot be mounted here; going on without"
}

prove() { # WORD
    local argument=$1 variables=()
    [ "$argument" != build ] || argument=
    make_root
    mapfile -d '' variables < <(network_environment)
    git clone --quiet --bare --no-local "$repository" "$root/srv/mlmake.git"
    say "in it: git clone, ./bootstrap.sh $argument"
    chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ${MLMAKE_REQUIRE_PEERS:+"MLMAKE_REQUIRE_PEERS=$MLMAKE_REQUIRE_PEERS"} "${variables[@]}" \
        bash -euc "cd /root && git clone --quiet /srv/mlmake.git && cd mlmake && exec ./bootstrap.sh $argument" </dev/null
}

for word in "${words[@]}"; do
    started=$SECONDS
    set +e # an `if` would switch it off inside, too
    (set -e; prove "$word")
    code=$?
    set -e
    if [ "$code" != 0 ]; then
        say "FAILED: ./bootstrap.sh ${word#build}"
        exit 1
    fi
    say "proven in $((SECONDS - started)) s: ./bootstrap.sh ${word#build}"
    if [ "$word" != "${words[-1]}" ]; then
        unmount_root
        rm -rf --one-file-system "$root"
    fi
done
