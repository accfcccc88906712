# make            build/mlmake, optimised
# make check      unit tests, lint and the quick command-line tests (under a minute)
# make check-full everything, peers included; peers come from ./bootstrap.sh test
# make tidy      clang-tidy by .clang-tidy; make analyze: gcc -fanalyzer
# make bench      side by side with ninja, dvc and others that are installed
# make mutants    breaks mlmake on purpose, in copies, and asks whether tests/model notices: up to an hour
# make SAN=1 ...  the same with AddressSanitizer and UndefinedBehaviorSanitizer, in build/san; TSAN=1 in build/tsan
# make install    PREFIX=/usr/local

CC ?= gcc
PREFIX ?= /usr/local
DESTDIR ?=
VERSION := 0.1.0

MODE := $(if $(SAN),san,$(if $(TSAN),tsan,release))
B := $(if $(filter release,$(MODE)),build,build/$(MODE))

ANALYZER ?= gcc # its -fanalyzer, whatever compiles
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef $(WERROR)
CFLAGS_release := -O2 -g
CFLAGS_san := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
CFLAGS_tsan := -O1 -g -fsanitize=thread
CFLAGS ?= $(CFLAGS_$(MODE))
ALL_CFLAGS := -std=gnu17 $(WARNINGS) $(CFLAGS) -fno-strict-aliasing -fstack-protector-strong -pthread
ALL_CPPFLAGS := -D_GNU_SOURCE -Isrc -I$(B)/gen -DMLMAKE_VERSION='"$(VERSION)"' $(CPPFLAGS)

# Libraries that every start needs are linked statically where the archive exists: loading them costs more than
# all else at start-up. libgit2 and libcurl are loaded on first use (src/vcs, src/net) by the soname found here.
LIBDIR := $(shell $(CC) -print-file-name=libc.so | xargs dirname)
static = $(if $(wildcard $(LIBDIR)/lib$(1).a),-l:lib$(1).a,-l$(1))
soname = $(shell $(CC) -print-file-name=lib$(1).so | xargs readlink -f | xargs objdump -p 2>/dev/null | sed -n 's/^ *SONAME *//p')
LIBS := $(call static,yaml) $(call static,lmdb) $(call static,jansson) $(call static,pcre2-8) $(call static,crypto) -ldl -lm
# libgit2 finds src/vcs/git_certificates.c by this name.
ALL_LDFLAGS := -Wl,--undefined=mbedtls_x509_crt_parse_file,--export-dynamic-symbol=mbedtls_x509_crt_parse_file $(LDFLAGS)
LIBGIT2_SONAME := $(call soname,git2)
LIBCURL_SONAME := $(call soname,curl)
ifneq ($(filter-out clean uninstall,$(or $(MAKECMDGOALS),all)),)
$(foreach so,LIBGIT2 LIBCURL,$(if $($(so)_SONAME),,$(error no soname of $(so) found: its -dev package and binutils (objdump) must be installed: ./bootstrap.sh)))
endif
ALL_CPPFLAGS += -DLIBGIT2_SONAME='"$(LIBGIT2_SONAME)"' -DLIBCURL_SONAME='"$(LIBCURL_SONAME)"'

SOURCES := $(sort $(wildcard src/*/*.c src/features/*/*.c))
MAIN := src/cli/main.c
LIB_SOURCES := $(filter-out $(MAIN),$(SOURCES))
object = $(patsubst %.c,$(B)/obj/%.o,$(1))
LIB := $(B)/libmlmake.a
EMBEDDED := $(shell find rules templates -type f ! -name '*.pyc' 2>/dev/null | LC_ALL=C sort)

UNIT_SOURCES := $(sort $(wildcard tests/unit/*/test_*.c tests/unit/test_*.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(UNIT_SOURCES))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_REPLAYS := $(patsubst tests/fuzz/%.c,$(B)/tests/fuzz/%,$(FUZZ_SOURCES))

.PHONY: all check check-full bench mutants install uninstall clean units lint fault format tidy analyze
all: $(B)/mlmake

$(B)/mlmake: $(call object,$(MAIN)) $(LIB)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(LIB): $(call object,$(LIB_SOURCES)) $(B)/obj/gen/embedded.o
	@rm -f $@
	ar rcs $@ $^

$(B)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# rules/ and templates/ as data in the binary: a table of path, start and size (src/base/embed.h).
$(B)/gen/embedded.s: src/base/embed.sh $(EMBEDDED) Makefile
	@mkdir -p $(@D)
	LC_ALL=C sh src/base/embed.sh $(EMBEDDED) > $@.tmp && mv $@.tmp $@

$(B)/obj/gen/embedded.o: $(B)/gen/embedded.s
	@mkdir -p $(@D)
	$(CC) -c -o $@ $<

$(B)/tests/unit/%: tests/unit/%.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) -Itests $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIB) $(LIBS) -lcmocka

# The same sources replay a corpus here and are driven by libFuzzer with FUZZ=1 (tests/fuzz/README.md).
$(B)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< tests/fuzz/replay.c $(LIB) $(LIBS)

# mlmake with a table of system calls that fails where MLMAKE_FAULT says: for tests alone.
fault: $(B)/mlmake-fault $(B)/tests/preload.so
$(B)/mlmake-fault: tests/fault/fault.c $(call object,$(MAIN)) $(LIB)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# What strikes LMDB's own writes; never linked to anything.
$(B)/tests/preload.so: tests/fault/preload.c Makefile
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu17 $(WARNINGS) -O2 -fPIC -shared -o $@ $< -ldl

# src/net driven without the commands above it (tests/interop/test_remote*.py, tests/bench).
$(B)/tests/remote_driver: tests/interop/remote_driver.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIB) $(LIBS)

$(B)/tests/hash_lanes: tests/bench/hash_lanes.c $(LIB)
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -o $@ $< $(LIB) $(LIBS)

units: $(UNIT_TESTS) $(FUZZ_REPLAYS) $(B)/tests/remote_driver

check: all units fault
	python3 tests/run.py --quick --build $(B)

check-full: all units fault
	python3 tests/run.py --build $(B)

lint: $(LIB)
	python3 tests/lint/layers.py
	python3 tests/lint/habits.py $(LIB)

mutants: all fault
	python3 tests/model/mutants.py --build $(B)

bench: all $(B)/tests/hash_lanes
	python3 tests/bench/bench.py --build $(B)

format:
	clang-format -i $(SOURCES) $(wildcard src/*/*.h src/features/*/*.h)

# Each source is looked at again when it or a header of its has changed, all at once: these two take minutes.
ifneq ($(filter tidy analyze,$(MAKECMDGOALS)),)
MAKEFLAGS += -j$(shell nproc)
endif

tidy: $(patsubst %.c,$(B)/tidy/%.ok,$(SOURCES))
$(B)/tidy/%.ok: %.c $(B)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	@clang-tidy --quiet $< -- $(ALL_CPPFLAGS) -std=gnu17 2>$@.log || { cat $@.log; exit 1; }
	@touch $@

analyze: $(patsubst %.c,$(B)/analyze/%.ok,$(SOURCES))
$(B)/analyze/%.ok: %.c $(B)/obj/%.o
	@mkdir -p $(@D)
	@$(ANALYZER) $(ALL_CPPFLAGS) -std=gnu17 -O1 -fanalyzer -Werror -c -o /dev/null $<
	@touch $@

install: all
	install -D -m 0755 $(B)/mlmake $(DESTDIR)$(PREFIX)/bin/mlmake

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/mlmake

clean:
	rm -rf build/obj build/san build/tsan build/gen build/tests build/tidy build/analyze build/mlmake build/mlmake-fault build/libmlmake.a

-include $(shell find $(B)/obj $(B)/tests -name '*.d' 2>/dev/null)
