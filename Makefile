# kevo: `make quickstart` builds it and shows it at work, `make check` tests it.
#
#   make                build the tools and both libraries in $(O)
#   make check          all quick tests; installs what they need if it may
#   make check-long     the same with KEVO_LONG=1, for KEVO_LONG_SECONDS
#   make check-model    explore the model of the protocol with spin
#   make lint           compilers' warnings as errors, and the other linters
#   make install        DESTDIR, prefix, bindir, libdir ... as elsewhere
#   make uninstall      remove exactly what install put there
#   make clean
#
# SAN=address,undefined (or SAN=thread) before any of these builds apart, in
# $(O)-san-address-undefined.  V=1 shows the commands.

O = build
CFLAGS = -O2 -g
PKG_CONFIG = pkg-config
INSTALL = install
OBJCOPY = objcopy
BATS = bats

prefix = /usr/local
exec_prefix = $(prefix)
bindir = $(exec_prefix)/bin
libdir = $(exec_prefix)/lib
includedir = $(prefix)/include
datadir = $(prefix)/share
mandir = $(datadir)/man
bashcompdir = $(datadir)/bash-completion/completions
zshcompdir = $(datadir)/zsh/site-functions
fishcompdir = $(datadir)/fish/vendor_completions.d

all:

.PHONY: all quickstart check check-build check-run check-long check-model
.PHONY: lint install uninstall clean FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
ifneq ($(filter clean,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif

comma = ,
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $1' '$(patsubst $(B)/%,%,$@)')

VERSION := $(shell sed -n 's/^.define KEVO_VERSION "\(.*\)"/\1/p' lib/kevo.h)
SOVERSION := $(firstword $(subst ., ,$(VERSION)))
so_defs = $(if $(SAN),,-Wl$(comma)-z$(comma)defs)
soname = libkevo-core.so.$(SOVERSION)
solib = libkevo-core.so.$(VERSION)

B := $(O)$(if $(SAN),-san-$(subst $(comma),-,$(SAN)))

# ---- sources --------------------------------------------------------------

tool_src := $(sort $(wildcard bin/kevo-*.c bin/kevo.c))
tools := $(tool_src:bin/%.c=%)
shell_src := $(sort $(wildcard bin/shell_*.c))
bench_src := $(sort $(wildcard bin/bench_*.c))
walship_src := $(sort $(wildcard bin/walship_*.c))
backup_src := $(sort $(wildcard bin/backup_*.c))
cli_src := $(filter-out $(tool_src) $(shell_src) $(bench_src) \
	$(walship_src) $(backup_src),$(sort $(wildcard bin/*.c)))
lib_src := $(sort $(wildcard lib/*.c))
ship_src := $(sort $(wildcard lib/ship/*.c))
unit_src := $(sort $(wildcard tests/unit/*_test.c))
unit_help_src := $(filter-out $(unit_src),$(sort $(wildcard tests/unit/*.c)))
prog_src := $(sort $(wildcard tests/cli/*.c tests/crash/*.c))
history_src := $(sort $(wildcard tests/history/*.c))
fault_src := $(sort $(wildcard tests/fault/*.c))
pages := $(sort $(wildcard man/*.[1-8]))

# ---- compilers ------------------------------------------------------------
#
# A one-shot tool mostly costs what the kernel and libc need to start it, so
# the tools are linked statically, with musl if it is there: a program that
# does nothing takes 0.12 ms then, 0.39 with a static glibc, and 0.52 with a
# shared one.  What works is tried once and kept in toolchain.mk; TOOL_CC
# says otherwise.  The codecs are linked in from their static archives, into
# the libraries too, for the same reason.  Goals that run make again once the compiler is installed
# must not look for it now.

no_toolchain = quickstart check check-long check-model lint clean uninstall
ifneq ($(filter-out $(no_toolchain),$(or $(MAKECMDGOALS),all)),)
-include $(B)/toolchain.mk
endif

ifneq ($(SAN),)
san_flags = -fsanitize=$(SAN) -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
TOOL_CC = $(CC)
endif

works = printf '\#include <stdio.h>\nint main(void){return puts("")<0;}\n' | \
	$1 -x c - -x none $$codecs -o $(B)/try && $(B)/try >$(B)/try.out

$(B)/toolchain.mk: Makefile
	@mkdir -p $(B)
	@flags=$$($(PKG_CONFIG) --cflags libxxhash liblz4 libzstd 2>/dev/null); \
	headers=; \
	for h in xxhash.h lz4.h zstd.h; do \
		path=$$(echo "#include <$$h>" | \
		    $(CC) $(CPPFLAGS) $$flags -M -x c - 2>/dev/null | \
		    tr ' ' '\n' | grep "/$$h\$$"); \
		if [ -z "$$path" ]; then \
			echo "make: cannot compile a program that includes" \
			    "<$$h>: contrib/deps.sh build" >&2; exit 1; \
		fi; \
		headers="$$headers $$path"; \
	done; \
	codecs=$$(echo $$($(CC) -print-file-name=liblz4.a) \
	    $$($(CC) -print-file-name=libzstd.a)); \
	echo '{ local: *; };' >$(B)/try.map; \
	if ! $(CC) -shared -Wl,--version-script,$(B)/try.map \
	    -Wl,-u,LZ4_compress_default,-u,ZSTD_compressCCtx \
	    -Wl,-u,LZ4_decompress_safe,-u,ZSTD_decompressDCtx \
	    $$codecs -o $(B)/try; then \
		echo "make: cannot link liblz4.a and libzstd.a:" \
		    "contrib/deps.sh build" >&2; exit 1; \
	fi; \
	cc=; \
	machine() { "$$@" -dumpmachine 2>/dev/null | sed 's/-[a-z]*-linux/-linux/'; }; \
	if [ "$$(machine musl-gcc)" = "$$(machine $(CC))" ] && \
	    ( $(call works,musl-gcc -static) ) 2>/dev/null; then \
		cc='musl-gcc -static'; \
	elif ( $(call works,$(CC) -static) ) 2>/dev/null; then \
		cc='$$(CC) -static'; \
	else \
		cc='$$(CC)'; \
	fi; \
	edit=$$($(PKG_CONFIG) --cflags libedit 2>/dev/null); \
	libs=$$($(PKG_CONFIG) --libs libedit 2>/dev/null || echo -ledit); \
	if printf '#include <histedit.h>\nint main(void){return !el_init;}\n' | \
	    $(CC) $(CPPFLAGS) $$edit -x c - -o $(B)/try $(LDFLAGS) $$libs \
	    2>/dev/null; then \
		edit="-DKEVO_EDIT $$edit"; \
	else \
		edit=; libs=; \
	fi; \
	pax=$$($(PKG_CONFIG) --cflags libarchive 2>/dev/null); \
	paxlibs=$$($(PKG_CONFIG) --libs libarchive 2>/dev/null || \
	    echo -larchive); \
	if printf '#include <archive.h>\nint main(void){return !archive_read_new();}\n' | \
	    $(CC) $(CPPFLAGS) $$pax -x c - -o $(B)/try $(LDFLAGS) $$paxlibs \
	    2>/dev/null; then \
		pax="-DKEVO_ARCHIVE $$pax"; \
	else \
		pax=; paxlibs=; \
	fi; \
	rm -f $(B)/try $(B)/try.out $(B)/try.map; \
	printf '%s\n' "SYS_HEADERS = $$headers" "SYS_CFLAGS = $$flags" \
	    "CODEC_LIBS = $$codecs" "TOOL_CC = $$cc" \
	    "EDIT_CFLAGS = $$edit" "EDIT_LIBS = $$libs" \
	    "PAX_CFLAGS = $$pax" "PAX_LIBS = $$paxlibs" >$@

# ---- flags ----------------------------------------------------------------

warnings = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wpointer-arith -Wcast-qual -Wwrite-strings
c_std = -std=c11 -D_GNU_SOURCE
depend = -MMD -MP
user_flags = $(san_flags) $(CPPFLAGS) $(CFLAGS)

# Only what kevo.h declares leaves the library; see export.h below.
lib_flags = $(c_std) $(warnings) -fPIC -fvisibility=hidden \
	-include $(B)/export.h -Ilib $(SYS_CFLAGS) $(user_flags)
dyn_flags = $(c_std) $(warnings) -fPIE -I$(B)/include -Ibin $(user_flags)
test_flags = $(c_std) $(warnings) -Ilib -Ibin -Itests/unit $(SYS_CFLAGS) \
	$(user_flags)

# For the tools, code that is not position independent: nothing is relocated
# at the start.  Few segments and no unused functions mean few page faults.
ifneq ($(filter -static,$(TOOL_CC)),)
tool_code = -fno-pie -ffunction-sections -fdata-sections
TOOL_LDFLAGS = -no-pie -Wl,-z,norelro -Wl,-z,noseparate-code -Wl,--gc-sections \
	$(wrap:%=-Wl,--wrap=%)
wrap = malloc calloc realloc free
endif
tool_flags = $(c_std) $(warnings) $(tool_code) $(user_flags)

cc_lib = $(CC) $(lib_flags)
cc_dyn = $(CC) $(dyn_flags)
cc_shell = $(CC) $(dyn_flags) $(EDIT_CFLAGS)
cc_ship = $(cc_lib) $(PAX_CFLAGS)
cc_shiptool = $(CC) $(dyn_flags) -Ilib $(PAX_CFLAGS)
cc_test = $(CC) $(test_flags)
cc_tool = $(TOOL_CC) -I$(B)/include $(if $(SAN),$(SYS_CFLAGS),-I$(B)/sys) \
	$(tool_flags)
ld_lib = $(CC) $(san_flags) $(CFLAGS) $(LDFLAGS) $(CODEC_LIBS) $(LIBS)
ld_shell = $(ld_lib) $(EDIT_LIBS)
ld_ship = $(ld_lib) $(PAX_LIBS)
ld_tool = $(TOOL_CC) $(TOOL_LDFLAGS) $(san_flags) $(CFLAGS) $(LDFLAGS) \
	$(CODEC_LIBS) $(LIBS)

# Objects depend on the command line that made them, kept in a file.
recorded = cc_lib cc_dyn cc_shell cc_ship cc_shiptool cc_test cc_tool \
	ld_lib ld_shell ld_ship ld_tool
define record
ifneq ($$(strip $$(file <$(B)/$1.cmd)),$$(strip $$($1)))
$(B)/$1.cmd: FORCE
endif
$(B)/$1.cmd: $(B)/toolchain.mk
	$$(shell mkdir -p $(B))$$(file >$$@,$$(strip $$($1)))
endef
ifneq ($(TOOL_CC),)
$(foreach r,$(recorded),$(eval $(call record,$r)))
endif

# ---- library --------------------------------------------------------------

lib_obj := $(lib_src:%.c=$(B)/%.o)
libs = $(B)/libkevo-core.a $(B)/$(solib) $(B)/$(soname) $(B)/libkevo-core.so

# kevo.h stays free of attributes: its declarations are made visible from
# outside, and they are also the list of what the shared library exports.
$(B)/export.h: Makefile
	@mkdir -p $(@D)
	@printf '%s\n' '#pragma GCC visibility push(default)' \
	    '#include <kevo.h>' '#pragma GCC visibility pop' >$@

$(B)/exports: lib/kevo.h $(B)/cc_lib.cmd
	$(Q)$(CC) -E -P -x c lib/kevo.h | grep -o 'kevo_[a-z0-9_]* *(' | \
	    tr -d ' (' | LC_ALL=C sort -u >$@

$(B)/libkevo-core.map: $(B)/exports
	@(echo 'KEVO_$(SOVERSION) {'; echo 'global:'; sed 's/$$/;/' $<; \
	    echo 'local:'; echo '*;'; echo '};') >$@

$(lib_obj): $(B)/%.o: %.c $(B)/export.h $(B)/cc_lib.cmd
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_lib) $(depend) -c -o $@ $<

# Unit tests reach into the modules: they link this one.
$(B)/internal.a: $(lib_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The archive for others holds one object, with the codecs, and all names in
# it are local but those of kevo.h.
lto_code = $(if $(findstring -flto,$(CFLAGS)),$(CFLAGS) -flinker-output=nolto-rel)
$(B)/libkevo-core.a: $(lib_obj) $(B)/exports $(B)/ld_lib.cmd
	$(call say,AR     )
	$(Q)$(CC) $(lto_code) -r -nostdlib -o $(B)/kevo-core.o $(lib_obj) \
	    $(CODEC_LIBS)
	$(Q)$(OBJCOPY) --keep-global-symbols=$(B)/exports $(B)/kevo-core.o
	$(Q)rm -f $@ && $(AR) rcs $@ $(B)/kevo-core.o

$(B)/$(solib): $(lib_obj) $(B)/libkevo-core.map $(B)/ld_lib.cmd
	$(call say,LINK   )
	$(Q)$(CC) -shared -Wl,-soname,$(soname) $(so_defs) \
	    -Wl,--version-script,$(B)/libkevo-core.map $(san_flags) $(CFLAGS) \
	    $(LDFLAGS) -o $@ $(lib_obj) $(CODEC_LIBS) $(LIBS)

$(B)/$(soname) $(B)/libkevo-core.so: $(B)/$(solib)
	@ln -sf $(solib) $@

# ---- tools ----------------------------------------------------------------

# What tools may include of the library, and what musl does not see because
# it looks at no other system header.
$(B)/include/kevo.h: lib/kevo.h
	@mkdir -p $(@D)
	@cp $< $@

$(B)/sys/stamp: $(SYS_HEADERS) | $(B)/toolchain.mk
	@mkdir -p $(@D)
	@cp $(SYS_HEADERS) $(@D) && touch $@

tool_lib_obj := $(lib_src:%.c=$(B)/tool/%.o)
tool_cli_obj := $(cli_src:%.c=$(B)/tool/%.o)
tool_bench_obj := $(bench_src:%.c=$(B)/tool/%.o)
shiptool_src := $(filter bin/kevo-walship.c bin/kevo-backup.c \
	bin/kevo-restore.c,$(tool_src))
static_src := $(filter-out bin/kevo-shell.c $(shiptool_src),$(tool_src))
tool_obj := $(static_src:%.c=$(B)/tool/%.o)
static_bin := $(static_src:bin/%.c=$(B)/bin/%)
shell_bin := $(if $(shell_src),$(B)/bin/kevo-shell)
shiptool_bin := $(shiptool_src:bin/%.c=$(B)/bin/%)
tool_bin := $(static_bin) $(shell_bin) $(shiptool_bin)

$(tool_lib_obj) $(tool_cli_obj) $(tool_bench_obj) $(tool_obj): \
    $(B)/tool/%.o: %.c \
    $(B)/cc_tool.cmd | $(B)/include/kevo.h $(B)/sys/stamp
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_tool) -I$(firstword $(subst /, ,$<)) $(depend) -c -o $@ $<

$(B)/tool/tool.a: $(tool_cli_obj) $(tool_lib_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/tool/bench.a: $(tool_bench_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(static_bin): $(B)/bin/%: $(B)/tool/bin/%.o $(B)/tool/tool.a $(B)/ld_tool.cmd
	$(call say,LINK   )
	@mkdir -p $(@D)
	$(Q)$(TOOL_CC) $(TOOL_LDFLAGS) $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ \
	    $< $(own_libs) $(B)/tool/tool.a $(CODEC_LIBS) $(LIBS)

# kevo-bench consists of many files, and computes logarithms.
$(B)/bin/kevo-bench: private own_libs = $(B)/tool/bench.a -lm
$(B)/bin/kevo-bench: $(B)/tool/bench.a

all: $(tool_bin) $(libs)

# One file for each shell, made from the tools' own tables of options.
completion_src := $(wildcard contrib/completion/*)
completions := $(if $(completion_src),$(B)/completion/kevo.bash)

$(completions): $(completion_src) $(tool_bin)
	$(call say,GEN    )
	$(Q)contrib/completion/generate.sh $(B)/bin $(@D)
	@touch $@

all: $(completions)

# The same tools linked to a shared libc, for the tests that preload faults.
dyn_cli_obj := $(cli_src:%.c=$(B)/dyn/%.o)
dyn_bench_obj := $(bench_src:%.c=$(B)/dyn/%.o)
dyn_obj := $(static_src:%.c=$(B)/dyn/%.o)
dyn_bin := $(static_src:bin/%.c=$(B)/dyn/bin/%)

$(dyn_cli_obj) $(dyn_bench_obj) $(dyn_obj): $(B)/dyn/%.o: %.c $(B)/cc_dyn.cmd \
    | $(B)/include/kevo.h
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_dyn) $(depend) -c -o $@ $<

$(B)/dyn/cli.a: $(dyn_cli_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/dyn/bench.a: $(dyn_bench_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(dyn_bin): $(B)/dyn/bin/%: $(B)/dyn/bin/%.o $(B)/dyn/cli.a $(B)/internal.a \
    $(B)/ld_lib.cmd
	$(call say,LINK   )
	$(Q)$(CC) -pie $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ $< \
	    $(own_libs) $(B)/dyn/cli.a $(B)/internal.a $(CODEC_LIBS) $(LIBS)

$(B)/dyn/bin/kevo-bench: private own_libs = $(B)/dyn/bench.a -lm
$(B)/dyn/bin/kevo-bench: $(B)/dyn/bench.a

# The shell is interactive and may take its time to start: it alone is linked
# to libedit, which is shared.  Without libedit it reads plain lines.
shell_obj := $(if $(shell_src),$(B)/shell/bin/kevo-shell.o \
	$(shell_src:%.c=$(B)/shell/%.o))

$(shell_obj): $(B)/shell/%.o: %.c $(B)/cc_shell.cmd | $(B)/include/kevo.h
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_shell) $(depend) -c -o $@ $<

$(shell_bin): $(shell_obj) $(B)/dyn/cli.a $(B)/internal.a $(B)/ld_shell.cmd
	$(call say,LINK   )
	@mkdir -p $(@D)
	$(Q)$(CC) -pie $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ $(shell_obj) \
	    $(B)/dyn/cli.a $(B)/internal.a $(EDIT_LIBS) $(CODEC_LIBS) $(LIBS)

# ---- shipping -------------------------------------------------------------
#
# lib/ship is a storey above the engine, and no part of libkevo-core.  The
# tools that link it may need libarchive, which is shared: they take their
# time to start, too.

ship_obj := $(ship_src:%.c=$(B)/%.o)
shiptool_obj := $(patsubst %.c,$(B)/shiptool/%.o,$(shiptool_src) \
	$(walship_src) $(backup_src))

$(ship_obj): $(B)/%.o: %.c $(B)/export.h $(B)/cc_ship.cmd
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_ship) $(depend) -c -o $@ $<

$(B)/libkevo-ship.a: $(ship_obj)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(shiptool_obj): $(B)/shiptool/%.o: %.c $(B)/cc_shiptool.cmd \
    | $(B)/include/kevo.h
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_shiptool) $(depend) -c -o $@ $<

$(B)/shiptool/walship.a: $(walship_src:%.c=$(B)/shiptool/%.o)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(B)/shiptool/backup.a: $(backup_src:%.c=$(B)/shiptool/%.o)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(shiptool_bin): $(B)/bin/%: $(B)/shiptool/bin/%.o $(B)/shiptool/walship.a \
    $(B)/shiptool/backup.a $(B)/dyn/cli.a $(B)/libkevo-ship.a \
    $(B)/internal.a $(B)/ld_ship.cmd
	$(call say,LINK   )
	@mkdir -p $(@D)
	$(Q)$(CC) -pie $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ $< \
	    $(B)/shiptool/walship.a $(B)/shiptool/backup.a $(B)/dyn/cli.a \
	    $(B)/libkevo-ship.a $(B)/internal.a -Wl,--as-needed $(PAX_LIBS) \
	    -Wl,--no-as-needed $(CODEC_LIBS) $(LIBS)

# Faults can be preloaded into these as they are.
shiptool_dyn := $(shiptool_src:bin/%.c=$(B)/dyn/bin/%)
$(shiptool_dyn): $(B)/dyn/bin/%: $(B)/bin/%
	@mkdir -p $(@D)
	@ln -sf ../../bin/$(@F) $@

# ---- tests ----------------------------------------------------------------

test_obj := $(patsubst %.c,$(B)/%.o,$(unit_src) $(unit_help_src) $(prog_src) \
	$(history_src))
unit_bin := $(unit_src:%.c=$(B)/%)
prog_bin := $(prog_src:%.c=$(B)/%)
fault_lib := $(fault_src:tests/fault/%.c=$(B)/tests/lib%.so)

$(test_obj): $(B)/%.o: %.c $(B)/cc_test.cmd
	$(call say,CC     )
	@mkdir -p $(@D)
	$(Q)$(cc_test) $(depend) -c -o $@ $<

$(B)/tests/help.a: $(unit_help_src:%.c=$(B)/%.o)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(unit_bin) $(prog_bin): $(B)/%: $(B)/%.o $(B)/tests/help.a $(B)/dyn/cli.a \
    $(B)/libkevo-ship.a $(B)/internal.a $(B)/ld_ship.cmd
	$(call say,LINK   )
	$(Q)$(CC) $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ $< $(own_libs) \
	    $(B)/tests/help.a $(B)/dyn/cli.a $(B)/libkevo-ship.a \
	    $(B)/internal.a -pthread -Wl,--as-needed $(PAX_LIBS) \
	    -Wl,--no-as-needed $(CODEC_LIBS) $(LIBS)

$(B)/tests/unit/bench_test: private own_libs = $(B)/dyn/bench.a -lm
$(B)/tests/unit/bench_test: $(B)/dyn/bench.a

# One program of several files.
history_bin := $(if $(history_src),$(B)/tests/history/history)

$(history_bin): $(history_src:%.c=$(B)/%.o) $(B)/internal.a $(B)/ld_lib.cmd
	$(call say,LINK   )
	$(Q)$(CC) $(san_flags) $(CFLAGS) $(LDFLAGS) -o $@ \
	    $(filter %.o,$^) $(B)/internal.a $(CODEC_LIBS) $(LIBS)

$(fault_lib): $(B)/tests/lib%.so: tests/fault/%.c $(B)/cc_test.cmd
	$(call say,LINK   )
	@mkdir -p $(@D)
	$(Q)$(CC) $(c_std) $(warnings) -shared -fPIC $(CPPFLAGS) $(CFLAGS) \
	    $(depend) -MF $(@:.so=.d) -o $@ $< -ldl

# These goals run make again, once what it needs is there.
again = $(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))

# What check runs; each may be set on the command line to run less.
UNIT = $(unit_bin)
CLI = $(sort $(wildcard tests/build/*.bats tests/cli/*.bats \
	tests/walship/*.bats))
CRASH = $(sort $(filter-out %/frame.sh,$(wildcard tests/crash/*.sh \
	tests/history/*.sh)))
JOBS = $(shell nproc 2>/dev/null || echo 2)
KEVO_LONG_SECONDS = 600
TESTS = $(CRASH) $(CLI) $(UNIT)

# contrib/deps.sh installs or names missing packages; DEPS=: does neither.
DEPS = contrib/deps.sh

check-build: all $(dyn_bin) $(shiptool_dyn) $(unit_bin) $(prog_bin) \
	$(history_bin) $(fault_lib)

test_env = KEVO_BUILD='$(abspath $(B))' KEVO_SAN='$(SAN)' BATS='$(BATS)' \
	CC='$(CC)'

check-run: check-build
	@$(test_env) tests/run.sh -j $(JOBS) $(TESTS)

check:
	@$(DEPS) check
	+@$(again) check-build
	+@KEVO_QUICK=1 $(again) check-run

check-long:
	@$(DEPS) check
	+@$(again) check-build
	+@KEVO_LONG=1 KEVO_LONG_SECONDS=$(KEVO_LONG_SECONDS) KEVO_TEST_TIMEOUT=0 \
	    $(again) check-run

check-model:
	@$(DEPS) model
	@KEVO_BUILD='$(abspath $(B))' tests/model/run.sh

quickstart:
	@$(DEPS) build
	+@$(again) all
	@KEVO_BUILD='$(abspath $(B))' tests/quickstart.sh

# ---- lint -----------------------------------------------------------------

lint_src = $(lib_src) $(ship_src) $(cli_src) $(shell_src) $(bench_src) \
	$(walship_src) $(backup_src) $(tool_src) $(unit_src) \
	$(unit_help_src) $(prog_src) $(history_src) \
	$(fault_src)
lint_sh = $(sort $(wildcard .ci/run contrib/*.sh contrib/check_kevo \
	contrib/ship/*.sh \
	contrib/completion/*.sh \
	tests/*.sh tests/*/*.sh))
lint_bats = $(sort $(wildcard tests/*/*.bash tests/*/*.bats))
lint_flags = $(c_std) $(warnings) -Werror -Ilib -Ibin -Itests/unit \
	$(SYS_CFLAGS) $(EDIT_CFLAGS) $(PAX_CFLAGS)
lint_gcc = $(lint_src:%.c=$(B)/lint/gcc/%.ok)
lint_clang = $(lint_src:%.c=$(B)/lint/clang/%.ok)

.PHONY: lint-run lint-cppcheck lint-sh lint-man lint-width
lint:
	@$(DEPS) lint
	+@$(again) -k lint-run
	@echo lint: clean

lint-run: $(lint_gcc) $(lint_clang) lint-cppcheck lint-sh lint-man lint-width

$(lint_gcc): $(B)/lint/gcc/%.ok: %.c
	@mkdir -p $(@D)
	$(Q)gcc $(lint_flags) -O2 $(depend) -MF $@.d -MT $@ -c -o /dev/null $<
	@touch $@

$(lint_clang): $(B)/lint/clang/%.ok: %.c
	@mkdir -p $(@D)
	$(Q)clang $(lint_flags) $(depend) -MF $@.d -MT $@ -fsyntax-only $<
	@touch $@

lint-cppcheck:
	$(Q)cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 \
	    --enable=warning,portability --suppress=va_end_missing \
	    -D_GNU_SOURCE -UXXH_INLINE_ALL -Ilib -Ibin lib bin

# In bats, run sets variables, load uses them, each test is a subshell, and a
# directory holds what the test itself put there.
lint-sh:
	$(Q)shellcheck $(lint_sh)
	$(Q)shellcheck -S warning \
	    -e SC2010,SC2030,SC2031,SC2034,SC2120,SC2154 $(lint_bats)

lint-man:
	$(Q)$(if $(pages),mandoc -Tlint -Wwarning $(pages))

lint-width:
	$(Q)bad=$$(for f in $(wildcard lib/*.[ch] lib/*/*.[ch] bin/*.[ch] \
	    tests/*/*.[ch]); do \
	    expand "$$f" | awk -v f="$$f" \
		'length($$0) > 80 { print f ":" NR ": over 80 columns" }'; \
	done); [ -z "$$bad" ] || { echo "$$bad"; exit 1; }

# ---- install --------------------------------------------------------------

man_installed = $(foreach p,$(pages),$(mandir)/man$(subst .,,$(suffix $p))/$(notdir $p))
# Shells look for completions by the command's name: all but one are links.
ifneq ($(completions),)
subtools = $(filter-out kevo,$(tools))
bash_links = $(subtools:%=$(bashcompdir)/%)
fish_links = $(subtools:%=$(fishcompdir)/%.fish)
completions_installed = $(bashcompdir)/kevo $(bash_links) \
	$(zshcompdir)/_kevo $(fishcompdir)/kevo.fish $(fish_links)
endif

installed = $(tools:%=$(bindir)/%) $(includedir)/kevo.h \
	$(libdir)/libkevo-core.a $(libdir)/$(solib) $(libdir)/$(soname) \
	$(libdir)/libkevo-core.so $(libdir)/pkgconfig/kevo-core.pc \
	$(man_installed) $(completions_installed)

define pc
prefix=$(prefix)
exec_prefix=$(exec_prefix)
libdir=$(libdir)
includedir=$(includedir)

Name: kevo-core
Description: Ordered key-value store shared by processes without a server
Version: $(VERSION)
Libs: -L$${libdir} -lkevo-core
Cflags: -I$${includedir}
endef

install: all
	$(INSTALL) -d $(addprefix $(DESTDIR),$(sort $(dir $(installed))))
	$(if $(tool_bin),$(INSTALL) -m 755 $(tool_bin) $(DESTDIR)$(bindir))
	$(INSTALL) -m 644 lib/kevo.h $(DESTDIR)$(includedir)
	$(INSTALL) -m 644 $(B)/libkevo-core.a $(DESTDIR)$(libdir)
	$(INSTALL) -m 755 $(B)/$(solib) $(DESTDIR)$(libdir)
	ln -sf $(solib) $(DESTDIR)$(libdir)/$(soname)
	ln -sf $(solib) $(DESTDIR)$(libdir)/libkevo-core.so
	$(file >$(B)/kevo-core.pc,$(pc))
	$(INSTALL) -m 644 $(B)/kevo-core.pc $(DESTDIR)$(libdir)/pkgconfig
ifneq ($(completions),)
	$(INSTALL) -m 644 $(B)/completion/kevo.bash $(DESTDIR)$(bashcompdir)/kevo
	$(INSTALL) -m 644 $(B)/completion/_kevo $(DESTDIR)$(zshcompdir)
	$(INSTALL) -m 644 $(B)/completion/kevo.fish $(DESTDIR)$(fishcompdir)
	@for f in $(bash_links); do ln -sf kevo "$(DESTDIR)$$f"; done
	@for f in $(fish_links); do ln -sf kevo.fish "$(DESTDIR)$$f"; done
endif
	@$(foreach p,$(pages),$(INSTALL) -m 644 $p \
	    $(DESTDIR)$(mandir)/man$(subst .,,$(suffix $p)) && ):

uninstall:
	rm -f $(addprefix $(DESTDIR),$(installed))

clean:
	rm -rf $(O) $(O)-san-*

-include $(patsubst %.o,%.d,$(lib_obj) $(tool_lib_obj) $(tool_cli_obj) \
	$(tool_bench_obj) $(tool_obj) $(dyn_cli_obj) $(dyn_bench_obj) \
	$(dyn_obj) $(shell_obj) $(ship_obj) $(shiptool_obj) $(test_obj))
-include $(fault_lib:.so=.d) $(addsuffix .d,$(lint_gcc) $(lint_clang))
