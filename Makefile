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

.PHONY: help deps build run test compat bench soak lint fmt clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | column -t -s '|'

deps: ## install what building needs besides Rust (Debian; libclang, for SQLite's bindings)
	@tools/deps build

build: deps ## build switchyard-router, switchyard-cell and switchyard-bridge
	cargo build $(CARGO_FLAGS)

run: build $(PACKAGES) ## build, and serve examples/projects on http://127.0.0.1:8000
	target/release/switchyard-router --projects examples/projects --state target/run-state $(RUN_FLAGS)

examples/projects/%/node_modules: examples/projects/%/package-lock.json
	@if command -v npm >/dev/null; then cd $(@D) && npm ci --no-audit --no-fund && touch node_modules; \
	else echo "npm is not installed: $(@D) will not build"; fi

test: build $(PACKAGES) ## run every test (installs nginx, Caddy and Chromium: Debian packages)
	@tools/deps test
	cargo test $(CARGO_FLAGS) --no-fail-fast

compat: build ## run well-known packages of npm as projects, and write docs/compatibility.md (needs the network)
	@tools/deps compat
	node --experimental-websocket tools/compat/main.mjs $(ONLY)

bench: build $(PACKAGES) ## measure against deno serve and nginx (installs them: npm, Debian packages)
	@tools/deps bench
	cargo bench --workspace --locked --bench all

soak: build ## faults of all kinds for SOAK_SECONDS (120), then nothing may be left of them
	cargo bench --workspace --locked --bench all -- soak

lint: deps ## formatting, clippy with the lint table, licences, bans and sources, the manifests in examples/deploy
	cargo fmt --all --check
	tools/clippy $(CARGO_FLAGS) --all-targets
	@tools/deps lint
	cargo deny --log-level error check bans licenses sources
	tools/manifests

fmt: ## format all code
	cargo fmt --all

clean: ## remove what was built
	cargo clean
