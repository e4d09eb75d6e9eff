# What there is to do here. `make demo` and `make test` need nothing but git, rustup and a C
# compiler; `make test` installs the Debian packages of the lab by itself.

CARGO  ?= cargo
TARGET := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
PROGRAMS = -p coordinator -p probe-agent -p cli

# What order and pauses of a chain of faults are drawn from.
SEED ?= 1
# Hard faults of several kinds, that the test's chain lives through; `make chains` has all the others.
AT_L7  = resolver-dead edge-500 edge-expired balancer-503 balancer-expired backend-500 \
         backend-truncates backend-other-body
# Of balancers that do not end TLS: what is at them, before them, behind them, and on the ways back.
AT_L4  = balancer-dead edge-cut-off backend-500 backend-closed backend-drops-syns path-loses-syns \
         return-answers-lost return-route-balancer
AT_TCP = balancer-dead edges-reset backend-500-some backend-closed backend-truncates \
         balancer-stale-address path-loses-syns return-route-dc1
AT_DSR = balancer-dead home-lossy backends-500 backend-closed backend-drops-syns path-loses-syns \
         return-answers-lost return-black-hole

.PHONY: help build release dist demo test packages check format lint docs rules no-std unit installed lab chain chains verify bench load deny clean

help:
	@echo "make build    the programs, into $(TARGET)/debug"
	@echo "make release  the same, optimised"
	@echo "make dist     tarball, Debian packages and checksums of them, into $(TARGET)/dist; needs debhelper"
	@echo "make demo     [FAULT=name|list] [PAGE=1] a mesh on loopback addresses, broken and localised;"
	@echo "              PAGE=1 keeps it and its page open until Ctrl-C"
	@echo "make test     every test; the lab as root or by sudo"
	@echo "make check    the tests that need neither root nor minutes"
	@echo "make lab      [FAULTS='name ...'] the delivery path in network namespaces, fault by fault"
	@echo "make chain    [FAULTS='name ...'] [SEED=n] the same, one mesh through a shuffled chain of them"
	@echo "make bench    the speed of what is measured"
	@echo "make load     [AGENTS='number ...'] so many agents on real streams beside one coordinator, and what an"
	@echo "              observation costs it; a quarter of an hour for all three sizes"
	@echo "make deny     licences and advisories of the dependencies (needs cargo-deny)"

build:
	$(CARGO) build $(PROGRAMS)

release:
	$(CARGO) build --release $(PROGRAMS)

dist: release
	deploy/dist.sh $(TARGET)/release $(TARGET)/dist

demo: build
	$(TARGET)/debug/meshctl demo $(if $(FAULT),--fault $(FAULT)) $(if $(PAGE),--keep)

test: packages check
	@$(CARGO) build -p lab
	$(TARGET)/debug/lab kill
	tests/lab.sh $(TARGET)/debug "chain --seed $(SEED) --healthy 3 $(AT_L7)" "skew --rounds 100"

# Every fault of the lab, and every way of balancing: longer than a test may take, and not yet always right.
chains: build
	@$(CARGO) build -p lab
	tests/lab.sh $(TARGET)/debug "chain --seed $(SEED) --mesh both" \
		"chain --seed $(SEED) --balancer l4 --healthy 3 $(AT_L4)" \
		"chain --seed $(SEED) --balancer tcp --healthy 3 $(AT_TCP)" \
		"chain --seed $(SEED) --balancer dsr --healthy 3 $(AT_DSR)"

# Some of cargo's tests are run on real packets, and need what the lab needs.
packages:
	@tests/packages.sh || echo "the tests that need these packages are left out"

check: format lint docs rules no-std unit

format:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --workspace --all-targets -- -D warnings

docs:
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --no-deps --workspace --quiet

# What Prometheus' own tool says of the rules, and what they say of series that are made up.
rules:
	@if command -v promtool >/dev/null; then \
		promtool check rules deploy/prometheus/mesh.rules.yml && \
		promtool check config --syntax-only deploy/prometheus/prometheus.example.yml && \
		promtool test rules deploy/prometheus/mesh.rules.test.yml; \
	else \
		echo "promtool is not installed (Debian's package prometheus has it): the rules are not tested"; \
	fi

# The heart must build where there is no standard library; where that target cannot be fetched, the
# build of the crate alone still proves that it asks for none.
BARE = thumbv7em-none-eabi
no-std:
	@rustup target list --installed 2>/dev/null | grep -qx $(BARE) || rustup target add $(BARE) || true
	@if rustup target list --installed 2>/dev/null | grep -qx $(BARE); then \
		$(CARGO) build -p localize --target $(BARE); \
	else \
		$(CARGO) build -p localize --no-default-features; \
	fi

unit: build
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		$(CARGO) nextest run --workspace; \
	else \
		$(CARGO) test --workspace --quiet; \
	fi

installed: build
	tests/installed.sh $(TARGET)/debug

lab: build
	@$(CARGO) build -p lab
	tests/lab.sh $(TARGET)/debug "run $(FAULTS)"

chain: build
	@$(CARGO) build -p lab
	tests/lab.sh $(TARGET)/debug "chain --seed $(SEED) $(FAULTS)"

verify:
	@$(CARGO) build -p lab
	tests/lab.sh $(TARGET)/debug "verify $(FAULTS)"

bench:
	$(CARGO) bench --workspace

load:
	$(CARGO) build --release $(PROGRAMS) -p load
	$(TARGET)/release/load $(AGENTS)

deny:
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
		$(CARGO) deny check; \
	else \
		echo "cargo-deny is not installed: cargo install --locked cargo-deny"; exit 1; \
	fi

clean:
	$(CARGO) clean
