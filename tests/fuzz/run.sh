#!/bin/sh
# usage: tests/fuzz/run.sh NAME [SECONDS]   (see README.md)
set -eu
name=$1
seconds=${2:-60}
out=build/fuzz
mkdir -p "$out/corpus/$name"
sanitize=address,undefined
make -s -j"$(nproc)" B="$out" CC=clang CFLAGS="-O1 -g -fsanitize=fuzzer-no-link,$sanitize -fno-sanitize-recover=undefined" "$out/libmlmake.a"
clang -std=gnu17 -D_GNU_SOURCE -Isrc -O1 -g "-fsanitize=fuzzer,$sanitize" -fno-sanitize-recover=undefined -fno-strict-aliasing -pthread \
	"tests/fuzz/fuzz_$name.c" "$out/libmlmake.a" -o "$out/fuzz_$name" -l:libyaml.a -l:liblmdb.a -l:libjansson.a -l:libpcre2-8.a -lcrypto -ldl -lm
dict=tests/fuzz/$name.dict
if [ -f "$dict" ]; then set -- "-dict=$dict"; else set --; fi
exec "$out/fuzz_$name" "$@" -max_total_time="$seconds" -max_len=2048 -timeout=10 -rss_limit_mb=2048 -artifact_prefix="$out/" \
	-verbosity=0 -print_final_stats=1 "$out/corpus/$name" "tests/fuzz/corpus/$name"
