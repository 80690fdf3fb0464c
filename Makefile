# What a person runs. Everything is set up in .venv; only Python 3.11 or newer and Rust are needed.
#   make serve   run the mail server          make test   all checks and tests
#   make lint    format, lints, types         make bench  benches, writes benches/RESULTS.md
#   make fuzz    the fuzz targets, 60 s each  make stress long crash and load runs
#   make wheel   the wheel and the sdist in dist/     make suites the outside suites, one line each

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
FUZZ_SECONDS ?= 60
SOURCES := Cargo.toml Cargo.lock pyproject.toml README.md $(shell find rust python -type f \
	\( -name '*.rs' -o -name '*.toml' -o -name '*.py' -o -name '*.pyi' -o -name '*.typed' \) \
	-not -path 'rust/fuzz/*')

.PHONY: suites serve test lint types rust-test py-test bench bench-smoke bench-tools fuzz stress wheel sdist-check install clean

serve: install
	$(BIN)/angarium serve

test: lint rust-test install types py-test

lint: $(VENV)/.tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python ci/floors.py

rust-test:
	cargo test --workspace --locked

types: install $(VENV)/.tools
	$(BIN)/mypy -p angarium
	$(BIN)/python -m mypy.stubtest angarium._core

py-test: install $(VENV)/.tools
	$(BIN)/python -m pytest -p no:cacheprovider

suites: install $(VENV)/.tools
	$(BIN)/python -m tests.suites

bench: bench-tools
	$(BIN)/python benches/run.py

bench-smoke: bench-tools
	$(BIN)/python benches/run.py --smoke

bench-tools: install $(VENV)/.tools
	cargo build --release --locked -p angarium-engine --example flood
	cargo build --release --locked -p angarium-message --example parse_speed
	cargo build --release --locked -p angarium-auth --example auth_speed
	$(PIP) install 'aiosmtpd>=1.4' 'dkimpy[ed25519]>=1.1.8'

fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) ci/fuzz

stress: install $(VENV)/.tools
	ANGARIUM_HISTORIES=5000 cargo test --release --locked -p angarium-spool -p angarium-ledger --test histories -- --nocapture
	$(BIN)/python -m pytest -p no:cacheprovider -m stress --timeout=3600 tests/stress

wheel: $(VENV)/.tools
	rm -rf dist
	$(BIN)/maturin build --release --locked --out dist
	$(BIN)/maturin sdist --out dist

# The sdist holds all that a build needs: a wheel is built from it alone. Its files are older than what an earlier one
# left in target, so our own crates are built anew.
sdist-check: $(VENV)/.tools
	rm -rf target/sdist && $(BIN)/maturin sdist --out target/sdist
	cd target/sdist && tar xzf *.tar.gz && cd */ && cargo metadata --locked --no-deps --format-version 1 >/dev/null
	rm -rf target/release/.fingerprint/angarium-*
	CARGO_TARGET_DIR=$(CURDIR)/target $(PIP) wheel --no-deps --wheel-dir target/sdist target/sdist/*.tar.gz

install: $(VENV)/.installed

$(VENV)/.installed: $(SOURCES) $(VENV)/.tools
	rm -rf target/wheels
	$(BIN)/maturin build --release --locked --out target/wheels
	$(PIP) install --force-reinstall --no-deps target/wheels/*.whl
	$(PIP) install "$$(ls target/wheels/*.whl)[test]"
	touch $@

$(VENV)/.tools: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install 'maturin>=1.16,<2' 'mypy>=2.4' 'ruff>=0.17'
	touch $@

clean:
	rm -rf target dist $(VENV)
