# What is built, and how. `make` alone makes target/release/deploy, which carries the agents inside itself.

CARGO ?= cargo
HOST_ARCH := $(shell uname -m)
BUNDLE := target/agents
TRIPLE = $(1)-unknown-linux-gnu
# The agent runs on any Linux of its CPU type, whatever libc that has. It never unwinds, so it carries no tables for that.
STATIC := -C target-feature=+crt-static -C force-unwind-tables=no

# Another CPU type needs a linker and a Rust compiler whose standard library fits. Debian has both:
#   apt-get install rustc-web gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstd-rust-web-dev:arm64
# (with `dpkg --add-architecture arm64`). Where they are missing, `deploy` has no agent for aarch64 inside, and finds
# one through DEPLOY_AGENT_DIR.
CROSS_RUSTC ?= /usr/bin/rustc
CROSS_ARCHES := $(filter-out $(HOST_ARCH),$(if $(and $(wildcard $(CROSS_RUSTC)),$(wildcard \
  /usr/lib/rustlib/aarch64-unknown-linux-gnu),$(shell command -v aarch64-linux-gnu-gcc)),aarch64))

# lld can lay out functions so that they compress better (50 kB less); with another linker it is left out.
LAYOUT := -C link-arg=-Wl,--bp-compression-sort=function
COMPACT = $(shell mkdir -p target && echo 'fn main() {}' | rustc --crate-name probe $(LAYOUT) -o target/probe - \
  2>/dev/null && rm -f target/probe && echo '$(LAYOUT)')

AGENT_SOURCES := $(shell find src -name '*.rs') Cargo.toml Cargo.lock

.PHONY: build agents
build: agents
	DEPLOY_AGENT_BUNDLE=$(CURDIR)/$(BUNDLE) $(CARGO) build --release --bin deploy
	@ls -l target/release/deploy

agents: $(patsubst %,$(BUNDLE)/agent-%.gz,$(HOST_ARCH) $(CROSS_ARCHES))
	@for f in $^; do echo "$$f: $$(stat -c %s $$f) bytes, of $$(cat $${f%.gz}.size)"; done

# --target, so that build scripts and macros stay ordinary programs.
$(BUNDLE)/agent-$(HOST_ARCH).gz: $(AGENT_SOURCES)
	RUSTFLAGS='$(STATIC) $(COMPACT)' $(CARGO) build --profile agent --no-default-features --bin deploy-agent \
	  --target $(call TRIPLE,$(HOST_ARCH))
	tools/pack-agent target/$(call TRIPLE,$(HOST_ARCH))/agent/deploy-agent $@ objcopy

$(BUNDLE)/agent-aarch64.gz: $(AGENT_SOURCES)
	RUSTC=$(CROSS_RUSTC) CARGO_TARGET_DIR=target/cross RUSTFLAGS='$(STATIC)' \
	  CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	  $(CARGO) build --profile agent --no-default-features --bin deploy-agent --target $(call TRIPLE,aarch64)
	tools/pack-agent target/cross/$(call TRIPLE,aarch64)/agent/deploy-agent $@ aarch64-linux-gnu-objcopy

# Everything that is checked before a change lands; .ci/run calls exactly this.
.PHONY: test lab-test deny
test:
	tools/prepare test
	tools/test

# What we depend on, held against deny.toml; a part of `make test`.
deny:
	tools/deny

# Only the scenarios on real hosts whose name contains ONLY.
lab-test:
	DEPLOY_TEST_LAB=1 DEPLOY_TEST_ONLY="$(ONLY)" $(CARGO) test --test lab -- --nocapture

# What is made to go wrong, at many moments: takes long, leaves docs/results/DATE-faults.md. ONLY chooses scenarios,
# DEPLOY_TEST_CUTS says at how many moments a run is cut.
.PHONY: test-faults
test-faults:
	tools/prepare test
	DEPLOY_TEST_LAB=1 DEPLOY_TEST_FAULTS=1 DEPLOY_TEST_ONLY="$(ONLY)" $(CARGO) test --test lab -- --nocapture

# The report of 500 hosts in a headless browser, measured; leaves docs/results/DATE-report.md and target/report*.png. Without
# the times it is a part of `make test`. It wants a quiet machine.
.PHONY: browser
browser:
	tools/prepare test
	DEPLOY_TEST_MEASURE=1 $(CARGO) test --test browser -- --nocapture

# The same small playbooks by ansible-playbook and by deploy. ONLY chooses cases; DIR is a directory of roles of yours, which are run
# instead. Without either docs/compatibility.md is written.
.PHONY: differential
differential:
	tools/prepare test
	$(CARGO) build --bin deploy
	tools/differential $(if $(DIR),--roles "$(DIR)" )$(if $(ONLY),--only "$(ONLY)")$(if $(ONLY)$(DIR),,--page)

# How far a dry run can be trusted: cases are checked, then run, and compared; Ansible beside us. Leaves
# docs/results/DATE-accuracy.md and the table of docs/accuracy.md. RESUME=1 leaves out what was measured already of the same
# programs. ONLY chooses (`cases: apt`; `--page` in ACCURACY_ARGS makes the page of all parts), DIR is roles or playbooks of yours,
# ACCURACY_ARGS are further arguments of the script.
.PHONY: accuracy
accuracy:
	tools/prepare test
	$(CARGO) build
	tests/accuracy/accuracy.py $(if $(ONLY)$(DIR),,--write) $(if $(RESUME),--resume) $(if $(ONLY),--only "$(ONLY)") $(ACCURACY_ARGS) $(DIR)

# Every parser fed with changed inputs, FUZZ_INPUTS (10 million) in all, or, guided by coverage (nightly toolchain, C++ compiler), for
# FUZZ_SECONDS (60) each; a dated result goes to docs/results.
.PHONY: fuzz fuzz-coverage
fuzz fuzz-coverage:
	tools/$@ $(FUZZ_TARGETS)

# Three bare hosts become a cluster before your eyes: needs root on a Debian or Ubuntu machine with Rust. The lab installs
# what it needs.
.PHONY: demo
demo:
	tools/prepare build
	$(MAKE) build
	lab/demo

# Benchmarks, each with its peers; results go to docs/results. They want a quiet machine, and `bench-site` a cluster
# (`make demo`). BENCH_ARGS are the script's arguments, the number of rounds first.
BENCHES := second-run distance many-hosts large-copy site pki-status schedule drift language
.PHONY: bench bench-programs $(addprefix bench-,$(BENCHES))
bench: $(addprefix bench-,$(BENCHES))
$(addprefix bench-,$(BENCHES)): bench-%: bench-programs
	benches/$(subst -,_,$*).py $(BENCH_ARGS)
bench-programs: build
	$(CARGO) build --release --example connect --example expressions
