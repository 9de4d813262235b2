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

FUZZ_TARGET ?= dialogs
FUZZ_SECONDS ?= 60

.PHONY: help run test bench lint sim conformance fuzz fuzz-replay setup deb

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

# libFuzzer wants a switch of the compiler that a stable one only has with this variable. What it finds goes to fuzz/found;
# the committed corpus stays as it is.
fuzz: ## look for what breaks a target: `make fuzz FUZZ_TARGET=dialogs FUZZ_SECONDS=600`
	@command -v cargo-fuzz >/dev/null || $(CARGO) install cargo-fuzz --version 0.13.2 --locked
	@mkdir -p fuzz/found/$(FUZZ_TARGET)
	RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run -s none $(FUZZ_TARGET) fuzz/found/$(FUZZ_TARGET) fuzz/corpus/$(FUZZ_TARGET) -- -max_len=1500 -timeout=20 -max_total_time=$(FUZZ_SECONDS)

setup: ## install what building and testing need (Debian, Ubuntu)
	scripts/setup.sh

deb: ## a Debian package; the last line says where it is
	@scripts/setup.sh deb
	$(CARGO) build --release --locked -p ringfort --bin ringfort
	@built="$$(scripts/binary-path.sh --release)" && made="$$(dirname "$$built")/packaging" && mkdir -p "$$made" && \
	  "$$built" man >"$$made/ringfort.1" && "$$built" completion bash >"$$made/ringfort.bash"
	$(CARGO) deb -p ringfort --no-build --strip
