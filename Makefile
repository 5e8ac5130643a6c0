# Everything a developer types. `make test` and `make demo` install what is missing and say so.

.DEFAULT_GOAL := help
.PHONY: help test lint fmt demo deny fuzz order together bench attack chaos instructions image test-docker test-debian13
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## install what is missing, build, run every test against real name servers, and name all that fail
	@scripts/install-deps.sh servers tests
	@scripts/install-clients.sh || true # their tests say that they are skipped
	cargo build --workspace --locked
	@run() { echo "$$*"; "$$@" || failed=1; }; failed=0; \
	if cargo nextest --version >/dev/null 2>&1; then \
	    run cargo nextest run --workspace --locked --no-fail-fast; \
	else \
	    run cargo test --workspace --locked --lib --bins --tests --no-fail-fast; \
	fi; \
	run cargo test --workspace --doc --locked --no-fail-fast; \
	exit $$failed

lint: ## formatting and clippy; warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

fmt: ## format all code
	cargo fmt --all

demo: ## install a name server, build, show one update from curl to dig
	@scripts/install-deps.sh servers build
	cargo build --locked
	@cargo run --quiet --locked -- demo --once

deny: ## licences, duplicates and sources of the dependencies
	@if cargo deny --version >/dev/null 2>&1; then \
	    cargo deny --locked check licenses bans sources; \
	else \
	    echo "cargo-deny is not installed: cargo install --locked cargo-deny" >&2; exit 1; \
	fi

TARGET ?=
SECONDS ?= 60
fuzz: ## TARGET=name SECONDS=60: look for inputs that break a parser; finds go to fuzz/artifacts
	@if ! cargo fuzz --version >/dev/null 2>&1; then \
	    echo "cargo-fuzz is not installed: cargo install --locked cargo-fuzz (libFuzzer comes with it; g++ is needed)" >&2; exit 1; \
	fi
	@if [ ! -f "fuzz/fuzz_targets/$(TARGET).rs" ]; then \
	    echo "TARGET=name is one of:" $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs))) >&2; exit 1; \
	fi
	@mkdir -p fuzz/target/found/$(TARGET)
	@# The stable compiler has the fuzzer's flags too. What is found new stays in fuzz/target; the corpus is only read.
	RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $(TARGET) fuzz/target/found/$(TARGET) fuzz/corpus/$(TARGET) -- \
	    -max_total_time=$(SECONDS) -max_len=4096 -timeout=10 -print_final_stats=1

CASES := 10000
FIRST := $(shell date +%s)00000
order: ## CASES=10000: as many runs of the engine over a simulated network, eight times; FIRST is the first seed
	@echo "seeds from $(FIRST)"
	ORDER_CASES=$(CASES) ORDER_FIRST=$(FIRST) cargo test --release --locked --test order

TIMES := 40
together: ## TIMES=40: so many rounds of each test of two gateways on one store, a quarter of an hour; FIRST is the first seed
	@echo "seeds from $(FIRST)"
	TOGETHER_ROUNDS=$(TIMES) TOGETHER_SEED=$(FIRST) cargo test --locked --test together -- --nocapture

# Each of them may be given: make bench ROWS=storm,hosts-known ROUNDS=3 HOSTS=5000 KNOWN=1000,10000000
ROWS := all
ROUNDS := 5
HOSTS := 20000
bench: ## measure against real name servers, all within half an hour; ROWS=storm ROUNDS=3 for less, WRITE=docs
	@scripts/install-deps.sh servers build
	cargo bench --locked --bench rows -- rows=$(ROWS) rounds=$(ROUNDS) hosts=$(HOSTS) $(if $(KNOWN),known=$(KNOWN)) $(if $(WRITE),write=$(WRITE)) $(if $(LOG),log=$(LOG))

# Each of them may be given: make attack ONLY=password SOURCES=10000000
ATTACK_SECONDS := 8
SOURCES := 300000
attack: ## what attackers get and what others feel of it, in minutes; ONLY=password for some, SOURCES=10000000 for all forged sources
	@scripts/install-deps.sh servers build
	cargo bench --locked --bench attacks -- seconds=$(ATTACK_SECONDS) sources=$(SOURCES) $(if $(ONLY),"only=$(ONLY)")

chaos: ## break things in the middle of a storm, within ten minutes; ROWS=kill-bind,disk-store for less, WRITE=docs
	@scripts/install-deps.sh servers tests
	cargo bench --locked --bench faults -- rows=$(ROWS) $(if $(WRITE),write=$(WRITE))

instructions: ## count the instructions of four pure parts with callgrind; builds the release, for minutes
	@command -v valgrind >/dev/null || scripts/install-deps.sh reports || true # it says then that it is skipped
	@if command -v valgrind >/dev/null; then cargo bench --locked --bench pure -- instructions; \
	else echo "SKIPPED: no instruction was counted, for valgrind is not installed (apt-get install valgrind)"; fi

image: ## the container image dyngate:latest, also where nothing can be pulled, and its SBOM; builds the distribution binary
	@scripts/image.sh

# Some of it: make test-docker ONLY="paused killed"; on an image that is there: IMAGE=dyngate:latest
test-docker: ## what only several hosts can show, in containers of its own, within minutes; ONLY=name for some
	@IMAGE="$(IMAGE)" tests/docker/run.sh $(ONLY)

test-debian13: ## the suite against BIND, Knot and PowerDNS of Debian 13, in a container; ONLY=name for some
	@tests/docker/debian13.sh $(ONLY)
