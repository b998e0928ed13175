# SPDX-License-Identifier: GPL-2.0
# Makefile - the tool, the library, the tests, and the way to the module (Kbuild has its own file).
#
# "make help" lists the targets. Variables: CC, CFLAGS, LDFLAGS, PREFIX, DESTDIR, V=1 (show commands),
# WERROR=1 (warnings are errors), SAN=1 (AddressSanitizer and UBSan), O=folder (default build).

# Also a fragment of the kernel's build system lies here; recipes of the two never meet.
SHELL := /bin/bash
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PREFIX     ?= /usr/local
DESTDIR    ?=
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
O          ?= build
CFLAGS     ?= -O2 -g

# One version for all: that of the module.
VERSION := $(shell sed -n 's/^.define BITNET_MODULE_VERSION[^"]*"\(.*\)"/\1/p' kmod/bitnet.h 2>/dev/null)
SONAME  := libbitnet.so.0

Q := $(if $(V),,@)
say = @$(if $(V),:,printf '  %-7s %s\n' $(1) $(2))

# ---- flags -----------------------------------------------------------------------------------

warnings := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
warnings += $(if $(WERROR),-Werror)
ifdef SAN
sanitize := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif

libraries := libnl-3.0 libnl-genl-3.0 libpcre2-8 jansson
pkg_cflags := $(shell pkg-config --cflags $(libraries) 2>/dev/null)
pkg_libs   := $(shell pkg-config --libs $(libraries) 2>/dev/null) -lpthread -lm
# Of the tool alone, and linked only to what calls it.
tool_cflags_pkg := $(shell pkg-config --cflags ncursesw 2>/dev/null)
tool_libs := -Wl,--as-needed $(shell pkg-config --libs ncursesw 2>/dev/null)

base_cflags := -std=gnu11 -D_GNU_SOURCE $(warnings) $(CPPFLAGS) $(CFLAGS) $(sanitize) -fPIC -pthread -MMD -MP
core_cflags  = $(base_cflags) -Iuapi -Ikmod/core
lib_cflags   = $(base_cflags) -Iuapi -Ikmod/core -Iuserspace/lib $(pkg_cflags)
tool_cflags  = $(lib_cflags) $(tool_cflags_pkg) -Iuserspace -DBITNET_VERSION='"$(VERSION)"'
test_cflags  = $(tool_cflags) -Itests

# The engine's files and what each may be compiled with: bn-core-objs, bn-cflags-*.
-include kmod/core/flags.mk

# ---- what is built of what -------------------------------------------------------------------

core_objs := $(addprefix $O/,$(bn-core-objs) $(bn-user-objs))
lib_objs  := $(patsubst userspace/lib/%.c,$O/lib/%.o,$(wildcard userspace/lib/*.c))
# All of the tool but main(), so that tests can link parts of it.
tool_objs := $(patsubst userspace/%.c,$O/tool/%.o,$(filter-out userspace/bitnetctl.c,$(wildcard userspace/*.c)))
support_objs := $(patsubst tests/support/%.c,$O/tests/support/%.o,$(wildcard tests/support/*.c))

host_tests   := $(foreach kind,unit golden abi fuzz,$(patsubst %.c,$O/%,$(wildcard tests/$(kind)/*.c)))
host_tests   += $(if $(wildcard tests/checkasm/*.c),$O/tests/checkasm/checkasm $O/tests/checkasm/checkasm-emulated)
device_tests := $(foreach kind,device fault vm,$(patsubst %.c,$O/%,$(wildcard tests/$(kind)/*.c)))

.PHONY: all
all: $(if $(wildcard userspace/bitnetctl.c),$O/bitnetctl) $O/libbitnet.a $O/$(SONAME) ## the tool and the library, in build/

# A change of compiler or flags rebuilds all.
flags_now := $(CC) $(base_cflags) $(LDFLAGS) $(VERSION)
ifneq ($(file <$O/flags),$(flags_now))
$(shell mkdir -p $O)
$(file >$O/flags,$(flags_now))
endif


$O/core/%.o: kmod/core/%.c $O/flags kmod/core/flags.mk
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(core_cflags) $(bn-cflags-core) $(bn-cflags-$(basename $(@F))) -c -o $@ $<

$O/lib/%.o: userspace/lib/%.c $O/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(lib_cflags) -c -o $@ $<

$O/tool/%.o: userspace/%.c $O/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(tool_cflags) -c -o $@ $<

$O/tests/%.o: tests/%.c $O/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(test_cflags) -c -o $@ $<

# Archives are made anew: ar would keep members whose source is gone.
archive = $(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$O/libbitnet.a: $(core_objs) $(lib_objs)
	$(call say,AR,$@)
	$(archive)

$O/libctl.a: $(tool_objs) $(support_objs)
	$(call say,AR,$@)
	$(archive)

# Programs see the documented functions of the library, not the engine's insides.
$O/libbitnet.map: $O/flags
	$(Q)echo '{ global: bitnet_*; local: *; };' >$@

$O/$(SONAME): $(core_objs) $(lib_objs) $O/libbitnet.map
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$O/libbitnet.map -Wl,--no-undefined \
		$(CFLAGS) $(sanitize) $(LDFLAGS) -o $@ $(filter %.o,$^) $(pkg_libs)

link = $(Q)$(CC) $(CFLAGS) $(sanitize) -pthread $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(pkg_libs) $(tool_libs)

$O/bitnetctl: $O/tool/bitnetctl.o $O/libctl.a $O/libbitnet.a
	$(call say,LD,$@)
	$(link)

$O/tests/checkasm/checkasm: $(patsubst %.c,$O/%.o,$(wildcard tests/checkasm/*.c)) $O/libctl.a $O/libbitnet.a
	$(call say,LD,$@)
	$(link)

# The same checks of the variants that this CPU may lack: their files, compiled against an <immintrin.h>
# that emulates AVX-512 and VNNI on AVX2. These objects come before the archive that has the real ones.
# SIMDe adds bytes as signed numbers that overflow: they shall wrap. Sanitized, they would compile for
# minutes; the buffers' guard pages remain.
emulated_cflags := $(bn-cflags-bn_avx2) -Wno-psabi -fwrapv $(if $(SAN),-fno-sanitize=all)
emulated_objs := $(patsubst %,$O/emulated/%.o,bn_avxvnni bn_avx512vnni bn_avx512vbmi bn_amx bn_head_avxvnni bn_head_avx512vnni)
$(emulated_objs): $O/emulated/%.o: kmod/core/x86/%.c $O/flags kmod/core/flags.mk
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -Itests/checkasm/emulated $(core_cflags) $(bn-cflags-core) $(emulated_cflags) -c -o $@ $<

$O/emulated/checkasm.o: tests/checkasm/checkasm.c $O/flags
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(test_cflags) -DEMULATED -c -o $@ $<

$O/tests/checkasm/checkasm-emulated: $O/emulated/checkasm.o $(emulated_objs) \
		$(patsubst %.c,$O/%.o,$(filter-out %/checkasm.c,$(wildcard tests/checkasm/*.c))) $O/libctl.a $O/libbitnet.a
	$(call say,LD,$@)
	$(link)

$(filter-out %/checkasm %/checkasm-emulated,$(host_tests)) $(device_tests): $O/tests/%: $O/tests/%.o $O/libctl.a $O/libbitnet.a
	$(call say,LD,$@)
	$(link)

.PHONY: tests host-tests device-tests
host-tests: $(host_tests)
device-tests: $(device_tests)
tests: host-tests device-tests ## the test programs, without running them

.SECONDARY:
-include $(wildcard $(addprefix $O/,core/*.d core/x86/*.d emulated/*.d lib/*.d tool/*.d tests/*/*.d))

# ---- the module ------------------------------------------------------------------------------

.PHONY: module
module: ## bitnet.ko for the running kernel, or for KERNEL=6.12-cloud and so on, in build/kmod-*
	@scripts/build-module.sh $(or $(KERNEL),running)

# ---- using it --------------------------------------------------------------------------------

# Exported as they are, not pasted into a command line, so that any text arrives unharmed.
override PROMPT := $(value PROMPT)
export PROMPT N TEMP SEED
.PHONY: demo
demo: ## runs a prompt through the module, in a virtual machine if need be: make demo PROMPT="..." N=64 TEMP=0
	@scripts/demo.sh

# The synthetic model is made once, and again when what makes it changes.
.PHONY: bench
bench: all ## how fast this machine is beside its own limits, with a small and a large model: make bench BENCH="--runs 3"
	@. scripts/lib.sh; \
	options='--preset 2b-4t --gate-sparsity 0.25'; \
	key=$$( (cat scripts/make_synthetic.py; echo "$$options") | sha256sum | cut -c 1-12); \
	model=$$cache/2b-4t-$$key.gguf; \
	if [ ! -e "$$model" ]; then \
		say "making a model of b1.58-2B-4T's shape, as sparse as trained ones: $$model, 1.2 GB"; \
		mkdir -p "$$cache" && rm -f "$$cache"/2b-4t-*.gguf && \
			scripts/make_synthetic.py $$options "$$model" || exit; \
	fi; \
	$O/bitnetctl bench $(BENCH) && echo && $O/bitnetctl bench "$$model" $(BENCH)

# ---- checking --------------------------------------------------------------------------------

.PHONY: check check-vm check-release lint setup
setup: ## installs the Debian packages that all of this needs
	@scripts/setup.sh

check: ## all tests that fit into 25 minutes; SUITES="unit cli" for some of them
	@scripts/setup.sh build demo kernels uml lint test
	@tests/run.sh $(SUITES)

check-vm: ## only the tests inside kernels
	@scripts/setup.sh build demo kernels uml
	@tests/run.sh modules vm

check-release: ## the same tests with the sizes and kernels of a release; takes hours
	@scripts/setup.sh
	@BITNET_TEST_SIZE=release tests/run.sh $(SUITES)

lint: ## static checks: sparse, checkpatch, clang, shellcheck, vector registers
	@scripts/setup.sh build demo kernels lint
	@tests/run.sh lint

# ---- installing ------------------------------------------------------------------------------

.PHONY: install uninstall
install: all ## installs all, the module through DKMS; honours DESTDIR and PREFIX
	@DESTDIR='$(DESTDIR)' BINDIR='$(BINDIR)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' \
		MANDIR='$(MANDIR)' SYSCONFDIR='$(SYSCONFDIR)' PREFIX='$(PREFIX)' VERSION='$(VERSION)' \
		SONAME=$(SONAME) O='$O' scripts/install.sh install

uninstall: ## removes what install put there
	@DESTDIR='$(DESTDIR)' BINDIR='$(BINDIR)' LIBDIR='$(LIBDIR)' INCLUDEDIR='$(INCLUDEDIR)' \
		MANDIR='$(MANDIR)' SYSCONFDIR='$(SYSCONFDIR)' PREFIX='$(PREFIX)' VERSION='$(VERSION)' \
		SONAME=$(SONAME) O='$O' scripts/install.sh uninstall

.PHONY: clean help
clean: ## removes build/; kernels stay in the cache
	rm -rf build

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile
