# Ringfort's front door. `make help` lists what there is.
# Everything here is one command that also works by itself; CARGO_TARGET_DIR is respected.

SHELL := bash
.DEFAULT_GOAL := help

CARGO ?= cargo
# Where rustup and Debian put programs that a fresh shell may not look for.
export PATH := $(PATH):$(HOME)/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin
# `make run RELEASE=1` and `make deb` build with optimisation; the default builds faster.
PROFILE_FLAG := $(if $(RELEASE),--release,)
NEXTEST_PROFILE ?= $(if $(CI),ci,default)
NEXTEST := $(CARGO) nextest run --profile $(NEXTEST_PROFILE) --no-tests fail
# `make run DATA=/srv/phones CONFIG=ringfort.toml`
DATA ?= data
CONFIG ?=

SIM_SEED ?= 1
SIM_RUNS ?= 4000
SIM_CALLS ?= 250

.PHONY: help run test bench lint sim conformance fuzz-replay setup deb

help: ## what can be done here
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start the server, test it by two built-in phones, keep it in the foreground until Ctrl-C
	@scripts/setup.sh build
	@$(CARGO) build $(PROFILE_FLAG) -p ringfort --bin ringfort
	@exec $(CARGO) run --quiet $(PROFILE_FLAG) -p ringfort --bin ringfort -- run --selftest --data "$(DATA)" $(if $(CONFIG),--config "$(CONFIG)",)

test: ## every test, with the real programs (SIPp, baresip, linphone, …): what is missing is installed
	@scripts/setup.sh
	$(CARGO) build --workspace --bins
	RINGFORT_BIN="$$(scripts/binary-path.sh)" RINGFORT_TEST_PROGRAMS=required $(NEXTEST) --workspace

bench: ## figures: micro-benchmarks, then load with the scenarios that other servers were measured with (BENCH=--quick)
	scripts/bench.sh $(BENCH)

lint: ## format, clippy, licences, house rules
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings
	python3 scripts/check-licences.py
	scripts/check-repo.sh

sim: ## a long run of simulated telephone systems: a million calls; `make sim SIM_SEED=7 SIM_RUNS=1` replays one
	$(CARGO) run --release -p ringfort-sim -- --seed $(SIM_SEED) --runs $(SIM_RUNS) --calls $(SIM_CALLS)

conformance: ## tests against published messages and vectors (RFC 4475, 5118, 3711, 6188, 7714, …) and other scanners' verdicts
	$(NEXTEST) --workspace -E 'test(/rfc_?\d{4}/) or binary(/torture/) or test(/conformance/)'

fuzz-replay: ## run the fuzz targets over the committed corpus
	$(NEXTEST) --workspace -E 'binary(/corpus/)'

setup: ## install what building and testing need (Debian, Ubuntu)
	scripts/setup.sh

deb: ## a Debian package in target/debian
	@command -v cargo-deb >/dev/null || { echo "cargo-deb is missing: cargo install cargo-deb --locked" >&2; exit 1; }
	$(CARGO) deb -p ringfort
