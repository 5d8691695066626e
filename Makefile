# The targets of this repository. For everything else use cargo.

CARGO ?= cargo

.PHONY: test test-docs test-e2e test-prometheus3 lint bench demo fuzz soak-planner

# Formatting, lints and all tests but those of `test-docs`. Needs prometheus, victoria-metrics and kubectl, and installs them on
# Debian when run by root.
test: lint
	scripts/install-test-tools
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --all-features; \
	else \
		set -x; $(CARGO) test --locked --all-features --lib --bins --tests; \
	fi
	$(CARGO) test --locked --all-features --doc
	@if [ -n "$$KUBEBUILDER_ASSETS" ]; then \
		$(MAKE) test-e2e; \
	else \
		echo "Not run: the tests on a real control plane, because KUBEBUILDER_ASSETS is not set (CONTRIBUTING.md says how)."; \
	fi
	@if [ -n "$$PROMETHEUS3" ]; then \
		$(MAKE) test-prometheus3; \
	else \
		echo "Not run: the tests with Prometheus 3, because PROMETHEUS3 is not set (CONTRIBUTING.md says how)."; \
	fi

# The commands of the README and of docs/ against real programs.
test-docs:
	scripts/install-test-tools
	$(CARGO) test --locked --all-features --test integration docs::sessions:: -- --ignored

# Tests on a real control plane, whose programs are in the folder KUBEBUILDER_ASSETS. They run one at a time.
test-e2e:
	@: "$${KUBEBUILDER_ASSETS:?must name a folder with kube-apiserver and etcd, see CONTRIBUTING.md}"
	scripts/install-test-tools
	$(CARGO) test --locked --all-features --test integration control_plane:: -- --ignored --test-threads=1 --nocapture

# Tests with Prometheus 3, whose programs are in the folder PROMETHEUS3.
test-prometheus3:
	@: "$${PROMETHEUS3:?must name a folder with prometheus and promtool, see CONTRIBUTING.md}"
	$(CARGO) test --locked --all-features --test integration prometheus3 -- --ignored

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-features --all-targets -- -D warnings

# All benchmarks. ARGS filters the first one: make bench ARGS=plan. Those of discovery and of queries need prometheus and
# 4 GB of memory.
bench:
	$(CARGO) bench --locked --bench hot_path -- $(ARGS)
	$(CARGO) bench --locked --bench idle_connections
	$(CARGO) bench --locked --bench served_reads
	$(CARGO) bench --locked --bench watched_pods
	$(CARGO) bench --locked --bench discovery
	$(CARGO) bench --locked --bench query_cost
	$(CARGO) bench --locked --bench autoscalers
	$(CARGO) bench --locked --bench loaded_reads

demo:
	$(CARGO) run --locked -- demo

# Fuzzing: each target for SECONDS, one after another. make fuzz TARGETS=rules SECONDS=3600. What is found is written to
# fuzz/artifacts, new inputs to fuzz/corpus. Needs cargo-fuzz and a nightly toolchain.
TARGETS ?= answer delegate enforce explanation front_proxy kubeconfig manifests migrate path plan rules selector template words
SECONDS ?= 600
fuzz:
	@set -e; for target in $(TARGETS); do \
		(set -x; $(CARGO) +nightly fuzz run -O --sanitizer none "$$target" -- \
			-max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1); \
	done

# What the planner takes for shareable, tried on a real Prometheus with queries at random, for SECONDS: every reader must get the same
# from the shared query as from its own. The seeds are those from the present time on; a failure prints its seed.
soak-planner: SECONDS = 3600
soak-planner:
	scripts/install-test-tools
	POINTWISE_SECONDS=$(SECONDS) $(CARGO) test --locked --all-features --test integration pointwise:: -- --nocapture
