# The two commands of the README are `make demo` and `make test`; the rest serves whoever works on adit.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug
BENCHES := $(TARGET)/bench-count/adit-benches

.PHONY: demo test build check peers bench bench-count benches bench-peers loadtest loadtest-plane measure fuzz-smoke release clean help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: build ## gateway, agent and two backends with fresh keys; shows an allowed and a denied request
	$(BIN)/adit demo $(DEMO)

build: ## the two programs, `aditd` and `adit`
	$(CARGO) build -p aditd -p adit-cli

# The count goes first, so that the last words are those of the tests; 77 is "cannot be counted here".
test: peers check build benches ## everything: lints, instructions, unit, property, journey, interop, hostile, house rules
	@over=0; $(BENCHES) count || [ $$? -eq 77 ] || over=1; \
	echo "$(CARGO) test --workspace --no-fail-fast"; \
	$(CARGO) test --workspace --no-fail-fast || exit 1; \
	[ $$over -eq 0 ] || { echo "the count of instructions has failed, see above the tests" >&2; exit 1; }

check: ## formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

peers: ## the real peers that the tests speak to (Debian packages; installs what is missing)
	@tests/peers.sh

loadtest: release ## adit beside every peer found here, some 15 minutes with four: a table, and a page in target/loadtest
	$(CARGO) build --release -p adit-loadtest
	PATH="$(CURDIR)/target/peers/bin:$$PATH" $(if $(PACED),,loadtest/unpaced.sh) $(TARGET)/release/adit-loadtest compare --rounds 3 --seconds 1 --push-seconds 20 --brief-peers $(LOADTEST)

loadtest-plane: release ## the control plane: 1,000 nodes, 1,000,000 resources, 1,000 pushes, what audit costs; some nine minutes
	$(CARGO) build --release -p adit-loadtest -p adit-fleet
	$(if $(PACED),,loadtest/unpaced.sh) $(TARGET)/release/adit-loadtest run plane --rounds 1 $(LOADTEST)

bench: ## what each quiet room takes, by criterion, beside the yamux crate and rustls; some six minutes
	$(CARGO) bench -p adit-benches $(BENCH)

bench-count: benches ## instructions of each case against benches/budgets.toml; needs valgrind
	$(BENCHES) count $(BENCH)

benches:
	$(CARGO) build --profile bench-count -p adit-benches --bin adit-benches

bench-peers: ## the peers of make loadtest: Debian packages, and what cargo can build; what cannot be had is told
	@loadtest/peers/install.sh

measure: release peers ## throughput, CPU and memory on this machine, beside nginx alone
	@tests/measure.sh

fuzz-smoke: ## every decoder's fuzz target for 10 seconds
	@fuzz/smoke.sh

release: ## optimised programs in target/release
	$(CARGO) build --release -p aditd -p adit-cli

clean: ## everything that was built
	$(CARGO) clean
