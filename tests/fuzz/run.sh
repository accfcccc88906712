#!/bin/sh
# usage: tests/fuzz/run.sh NAME [SECONDS]   (see README.md)
set -eu
name=$1
seconds=${2:-60}
out=build/fuzz
mkdir -p "$out/corpus/$name"
sanitize=-fsanitize=fuzzer,address,undefined
make -s build/obj/gen/embedded.o
sources="$(find src/base src/formats src/graph src/vcs -name '*.c') build/obj/gen/embedded.o"
soname=$(readlink -f "$(clang -print-file-name=libgit2.so)" | xargs basename)
# shellcheck disable=SC2086
clang -std=gnu17 -D_GNU_SOURCE "-DLIBGIT2_SONAME=\"$soname\"" -Isrc -g -O1 -fno-sanitize-recover=undefined -fno-strict-aliasing $sanitize -pthread \
	"tests/fuzz/fuzz_$name.c" $sources -o "$out/fuzz_$name" -l:libyaml.a -l:libjansson.a -l:libpcre2-8.a -lcrypto -ldl -lm
dict=tests/fuzz/$name.dict
[ -f "$dict" ] && set -- "-dict=$dict" || set --
exec "$out/fuzz_$name" "$@" -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/" \
	-verbosity=0 -print_final_stats=1 "$out/corpus/$name" "tests/fuzz/corpus/$name"
