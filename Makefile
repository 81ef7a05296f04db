# The entry point for people and for CI. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Always the whole workspace in release mode: any other selection has other features, for which Cargo would
# compile deno_runtime again.
CARGO_FLAGS := --release --workspace --locked
RUN_FLAGS ?=

# The npm packages of the examples.
PACKAGES := $(patsubst %/package-lock.json,%/node_modules,$(wildcard examples/projects/*/package-lock.json))

# Tools that a target needs are checked and installed before anything is built for it.
CARGO := tools/cargo
DEPS := deps-build deps-client deps-test deps-lint deps-bench deps-compat deps-pack deps-pack-test deps-image

.PHONY: help deps $(DEPS) build client native docs doc run test pictures compat compat-ci bench bench-quick bench-docs soak \
	attack lint advisories fmt fresh fresh-native clean

help: ## list all targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

deps: deps-build ## check that everything can be built, and install missing tools (libclang, for SQLite's bindings)

$(DEPS): deps-%:
	@tools/deps $*

build: deps-build ## build switchyard and switchyard-cell
	$(CARGO) build $(CARGO_FLAGS)

# Crates that the client must not contain: they need Linux, or are the servers themselves.
SERVER_CRATES := switchyard-router|switchyard-bridge|switchyard-cell|v8|deno_core|landlock|tracing-appender

# In a target folder of its own, since its features are not those of the whole workspace.
client: deps-client ## build the client commands alone (deploy, status, ...): without servers, V8 and libclang
	$(CARGO) tree --locked -p switchyard --no-default-features -e normal --prefix none | \
		{ ! grep -E '^($(SERVER_CRATES)) ' || { echo "the client contains crates of the servers" >&2; exit 1; }; }
	$(CARGO) build --release --locked --target-dir target/client -p switchyard --no-default-features

docs: build ## write what is generated in docs/reference: flags, schemas, OpenAPI documents and types
	target/release/switchyard reference --dir docs/reference

# The documentation of our own crates; private items too, since most of them are.
doc: deps-build ## build the documentation of our crates (target/doc)
	$(CARGO) doc $(CARGO_FLAGS) --no-deps --document-private-items

# Crates with C code or generated bindings.
NATIVE := aws-lc-sys@0.40.0 aws-lc-sys@0.47.0 libffi-sys libsqlite3-sys zstd-sys v8

# In a target folder of its own, since its features are not those of the whole workspace.
native: deps-build ## build the crates that need a C compiler or libclang: the first to fail if a tool is missing
	$(CARGO) build --release --locked --target-dir target/native $(NATIVE:%=-p %)

run: build $(PACKAGES) ## build everything, and serve examples/projects on http://127.0.0.1:8000 (RUN_FLAGS: of switchyard dev)
	target/release/switchyard dev examples/projects $(RUN_FLAGS)

examples/projects/%/node_modules: examples/projects/%/package-lock.json
	@if command -v npm >/dev/null; then cd $(@D) && npm ci --no-audit --no-fund && touch node_modules; \
	else echo "npm is not installed: $(@D) will not build"; fi

# Unit tests run as `lint` compiles them; the others run against the programs.
test: deps-test build $(PACKAGES) ## run all tests (installs the Debian packages of nginx, Caddy, Chromium, valgrind and npm)
	@failed=0; \
	tools/clippy test $(CARGO_FLAGS) --no-fail-fast --lib --bins || failed=1; \
	$(CARGO) test $(CARGO_FLAGS) --no-fail-fast --test '*' || failed=1; \
	exit $$failed

pictures: deps-test build ## draw the pictures of the page again (docs/images), with Chromium
	$(CARGO) test $(CARGO_FLAGS) --test all -- page_pictures
	cp target/screenshots/page-overview.png target/screenshots/page-versions.png docs/images/

# Node 20 has WebSocket behind a flag.
COMPAT = node $$(node -p 'typeof WebSocket == "function" ? "" : "--experimental-websocket"') tools/compat/main.mjs

compat: deps-compat build ## compare public projects with Node, Deno and wrangler, and write docs/compatibility.md (20 minutes; ONLY='"a group" a-case')
	$(COMPAT) $(ONLY)

compat-ci: deps-compat build ## compare the groups that need few packages; fails on an unexpected difference (2 minutes)
	$(COMPAT) --check "Entries of Node projects" "Deno projects" "Static sites" "Cloudflare Workers" "Supabase Edge Functions"

BENCH = $(CARGO) bench --workspace --locked --bench all --

bench: deps-bench build $(PACKAGES) ## measure all, beside deno serve, nginx, bun, workerd and wrangler (installs them; ONLY="throughput idle": some of it)
	$(BENCH) $(ONLY)

bench-quick: deps-bench build $(PACKAGES) ## the essentials of bench in two minutes (ONLY="streams": another part, with short rounds)
	$(BENCH) quick $(ONLY)

bench-docs: build ## write docs/benchmarks.md and docs/charts from the results of the last bench
	$(BENCH) docs

soak: build ## inject faults of all kinds for SOAK_SECONDS (120); fails if anything is left of them
	$(BENCH) soak

attack: build ## try to break each promise of SECURITY.md, and print a table (ONLY="6 10": some attempts; as root: three users)
	$(CARGO) bench --workspace --locked --bench attack -- $(ONLY)

lint: deps-lint ## check formatting, lints (the cell's JavaScript too), licenses and sources of dependencies, and the manifests in examples/deploy
	cargo fmt --all --check
	tools/clippy build $(CARGO_FLAGS) --all-targets
	tools/lint-js
	cargo deny --log-level error check bans licenses sources
	tools/manifests

# Not part of `lint`: it fetches the advisory database from github.com, which not every machine can reach.
advisories: deps-lint ## check dependencies against the RustSec advisory database
	cargo deny --log-level error check advisories

fmt: ## format all code
	cargo fmt --all

# What the packages are made of: the programs of `make build`, or those in BIN_DIR as they are.
export BIN_DIR
PACKED := $(if $(BIN_DIR),,build)

.PHONY: deb deb-test dist dist-test image image-test

deb: deps-pack $(PACKED) ## make a Debian package in target/packages (BIN_DIR=FOLDER: of the programs there, without a build)
	tools/pack deb

deb-test: deps-pack-test deb ## check the package with lintian; install, use, upgrade and purge it in a bare Debian (as root)
	tools/deb-test

dist: deps-pack $(PACKED) ## make an archive of the programs and SHA256SUMS in target/packages
	tools/pack dist

dist-test: deps-pack $(PACKED) ## make the archive twice, compare, and run the programs from another folder
	tools/dist-test

image: deps-image $(PACKED) ## make an OCI image in target/packages (as root; by buildah)
	tools/image

image-test: image ## run the image (as root; by podman and crun, or in a chroot)
	tools/image-test

FRESH ?= make build test
fresh: ## build and test a fresh clone in a bare Debian (as root; WITH="PACKAGES" adds some, FRESH="…" runs another command)
	tools/fresh $(FRESH)

# With libclang-cpp, which must not be mistaken for libclang.
fresh-native: ## the fast part of fresh: tools, and the crates that fail first if one is missing
	WITH=$$(apt-cache pkgnames libclang-cpp | grep -xE 'libclang-cpp[0-9]+' | sort -V | head -1) tools/fresh make native

clean: ## remove everything that was built
	cargo clean
