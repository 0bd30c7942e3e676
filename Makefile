# Everything runs in .venv, made from requirements.lock by a Python 3.10 found here:
# pyenv through .python-version, python3.10 on the PATH, or uv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.PHONY: demo demo-small test test-slow lint install bench clean

demo: install
	$(BIN)/neuroemo demo

demo-small: install
	$(BIN)/neuroemo demo --small -o runs/demo-small

test: install
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m "slow or not slow"

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy neuroemo export hw_targets

bench: install
	$(BIN)/python benchmarks/seeds.py

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@./tools/make-venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf $(VENV) runs build *.egg-info
