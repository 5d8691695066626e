# The verbs of this repository. Everything else is cargo.

CARGO ?= cargo

.PHONY: test lint bench demo

# Formatting, lints and all tests. Needs prometheus, victoria-metrics and kubectl; installs them on Debian when run by root.
test: lint
	scripts/install-test-tools
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
		set -x; $(CARGO) nextest run --locked --all-features; \
	else \
		set -x; $(CARGO) test --locked --all-features --lib --bins --tests; \
	fi
	$(CARGO) test --locked --all-features --doc

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-features --all-targets -- -D warnings

# One benchmark: make bench ARGS=plan
bench:
	$(CARGO) bench --locked --bench hot_path -- $(ARGS)
	$(CARGO) bench --locked --bench idle_connections

demo:
	$(CARGO) run --locked --release -- demo
