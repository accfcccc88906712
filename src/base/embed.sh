#!/bin/sh
# Prints an assembly file that holds the named files as the table of src/base/embed.h, sorted as given.
set -eu
number=0
printf '\t.section .rodata\n'
for path in "$@"; do
    case $path in *[!A-Za-z0-9_./-]*) printf 'cannot embed a name like this: %s\n' "$path" >&2; exit 1 ;; esac
    printf 'path_%d:\t.asciz "%s"\nstart_%d:\t.incbin "%s"\nend_%d:\t.byte 0\n' \
        "$number" "$path" "$number" "$path" "$number"
    number=$((number + 1))
done
printf '\t.balign 8\n\t.globl embedded_file_count\nembedded_file_count:\t.quad %d\n' "$#"
printf '\t.section .data.rel.ro,"aw"\n\t.balign 16\n\t.globl embedded_files\nembedded_files:\n'
number=0
for path in "$@"; do
    if [ -x "$path" ]; then mode=0755; else mode=0644; fi
    printf '\t.quad path_%d, start_%d, end_%d - start_%d, %s\n' "$number" "$number" "$number" "$number" "$mode"
    number=$((number + 1))
done
printf '\t.section .note.GNU-stack,"",@progbits\n'
