# Everything a developer types. `make test` and `make demo` install what is missing and say so.

.DEFAULT_GOAL := help
.PHONY: help test lint fmt demo
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## install what is missing, build, run every test against real name servers
	@scripts/install-deps.sh servers tests
	@scripts/install-clients.sh || true # their tests say that they are skipped
	cargo build --workspace --locked
	@if cargo nextest --version >/dev/null 2>&1; then \
	    echo "cargo nextest run --workspace --locked"; cargo nextest run --workspace --locked; \
	else \
	    echo "cargo test --workspace --locked --lib --bins --tests"; cargo test --workspace --locked --lib --bins --tests; \
	fi
	cargo test --workspace --doc --locked

lint: ## formatting and clippy; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format all code
	cargo fmt --all

demo: ## install a name server, build, show one update from curl to dig
	@scripts/install-deps.sh servers build
	cargo build --locked
	@cargo run --quiet --locked -- demo --once
