#!/bin/sh
# Prints a C file that holds the named files as a table (src/base/embed.h). Paths must need no quoting.
set -eu
LC_ALL=C
export LC_ALL
echo '#include "base/embed.h"'
i=0
for path in "$@"; do
    cat <<ASM
__asm__(".section .rodata\n.balign 16\nembedded_${i}_start:\n.incbin \"${path}\"\nembedded_${i}_end:\n.byte 0\n.previous\n");
extern const char embedded_${i}_start[], embedded_${i}_end[];
ASM
    i=$((i + 1))
done
echo 'const size_t embedded_file_count = '"$#"';'
# The lengths are link-time differences, which C does not take as constants: the assembler writes the table.
cat <<'ASM'
__asm__(".section .data.rel.ro.local,\"aw\"\n.balign 32\n.globl embedded_files\nembedded_files:\n"
ASM
i=0
for path in "$@"; do
    mode=420
    if [ -x "$path" ]; then mode=493; fi
    printf '\t".quad embedded_%d_path, embedded_%d_start, embedded_%d_end - embedded_%d_start, %d\\n"\n' "$i" "$i" "$i" "$i" "$mode"
    i=$((i + 1))
done
echo '	".previous\n.section .rodata\n"'
i=0
for path in "$@"; do
    printf '\t"embedded_%d_path: .asciz \\"%s\\"\\n"\n' "$i" "$path"
    i=$((i + 1))
done
echo '	".previous\n");'
