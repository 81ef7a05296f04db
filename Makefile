# The one door, for people and for CI. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Always the whole workspace in release mode: other selections have other feature sets, and Cargo
# would compile deno_runtime once more for each.
CARGO_FLAGS := --release --workspace --locked
RUN_FLAGS ?= --dev

# What the examples have of npm.
PACKAGES := $(patsubst %/package-lock.json,%/node_modules,$(wildcard examples/projects/*/package-lock.json))

# Each target's needs are checked and installed before anything is built for it.
CARGO := tools/cargo
DEPS := deps-build deps-client deps-test deps-lint deps-bench deps-compat

.PHONY: help deps $(DEPS) build client native run test compat compat-ci bench soak attack lint fmt fresh fresh-native clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

deps: deps-build ## check that building can work, and install what is missing (libclang, for SQLite's bindings)

$(DEPS): deps-%:
	@tools/deps $*

build: deps-build ## build switchyard and switchyard-cell
	$(CARGO) build $(CARGO_FLAGS)

# In a target folder of its own, since its features are not those of the whole workspace.
client: deps-client ## build the client commands alone (deploy, status, ...): without router, Deno, V8 and libclang
	$(CARGO) build --release --locked --target-dir target/client -p switchyard --no-default-features

# The crates with C code or bindings that are generated.
NATIVE := aws-lc-sys@0.40.0 aws-lc-sys@0.47.0 libffi-sys libsqlite3-sys zstd-sys v8

# Other features than in the whole workspace, so a target folder of its own.
native: deps-build ## build the crates that need a C compiler or libclang, which fail first where something is missing
	$(CARGO) build --release --locked --target-dir target/native $(NATIVE:%=-p %)

run: build $(PACKAGES) ## build, and serve examples/projects on http://127.0.0.1:8000
	target/release/switchyard router --projects examples/projects --state target/run-state $(RUN_FLAGS)

examples/projects/%/node_modules: examples/projects/%/package-lock.json
	@if command -v npm >/dev/null; then cd $(@D) && npm ci --no-audit --no-fund && touch node_modules; \
	else echo "npm is not installed: $(@D) will not build"; fi

test: deps-test build $(PACKAGES) ## run every test (installs nginx, Caddy, Chromium, npm: Debian packages)
	$(CARGO) test $(CARGO_FLAGS) --no-fail-fast

# Node 20 has WebSocket behind a flag.
COMPAT = node $$(node -p 'typeof WebSocket == "function" ? "" : "--experimental-websocket"') tools/compat/main.mjs

compat: deps-compat build ## run public projects beside Node, Deno and wrangler, and write docs/compatibility.md (npm, 20 minutes; ONLY='"a group" a-case')
	$(COMPAT) $(ONLY)

compat-ci: deps-compat build ## the groups of it that need few packages: fails when one differs that is not expected to (two minutes)
	$(COMPAT) --check "Entries of Node projects" "Deno projects" "Static sites" "Cloudflare Workers" "Supabase Edge Functions"

bench: deps-bench build $(PACKAGES) ## measure against deno serve and nginx (installs them: npm, Debian packages)
	$(CARGO) bench --workspace --locked --bench all

soak: build ## faults of all kinds for SOAK_SECONDS (120), then nothing may be left of them
	$(CARGO) bench --workspace --locked --bench all -- soak

attack: build ## attempts against what SECURITY.md promises, beside a bystander, in a table (ONLY="6 10": some of them; as root with three users)
	$(CARGO) bench --workspace --locked --bench attack -- $(ONLY)

lint: deps-lint ## formatting, clippy with the lint table, the cell's JavaScript, licences, bans and sources, the manifests in examples/deploy
	cargo fmt --all --check
	tools/clippy $(CARGO_FLAGS) --all-targets
	tools/lint-js
	cargo deny --log-level error check bans licenses sources
	tools/manifests

fmt: ## format all code
	cargo fmt --all

FRESH ?= make build test
fresh: ## build and test a fresh clone in a bare Debian root (as root; WITH="PACKAGES" adds some, FRESH="…" runs something else)
	tools/fresh $(FRESH)

# libclang-cpp looks like libclang and is not it.
fresh-native: ## the cheap half of it: the dependencies, and the crates that fail first where one is missing
	WITH=$$(apt-cache pkgnames libclang-cpp | grep -xE 'libclang-cpp[0-9]+' | sort -V | head -1) tools/fresh make native

clean: ## remove what was built
	cargo clean
