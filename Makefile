# Everything runs in .venv, made from requirements.lock by a Python 3.10 found here:
# pyenv through .python-version, python3.10 on the PATH, or uv.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

NEWER := .venv-3.11
PEERS := .venv-peers

.PHONY: demo demo-small test test-slow test-3.11 lint install bench bench-simulate bench-events bench-profile bench-train clean clean-kernels

demo: install
	$(BIN)/neuroemo demo

demo-small: install
	$(BIN)/neuroemo demo --small -o runs/demo-small

test: install
	$(BIN)/python -m pytest

test-slow: install
	$(BIN)/python -m pytest -m "slow or not slow"

# The same suite, Lava aside, on Python 3.11 with current torch and SpikingJelly 2.x.
test-3.11: $(NEWER)/installed
	$(NEWER)/bin/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy neuroemo export hw_targets

bench: install
	$(BIN)/python benchmarks/seeds.py

# About a quarter of an hour on an idle machine; the picture is drawn from the results.
bench-simulate: install
	$(BIN)/python benchmarks/simulate.py
	$(BIN)/python benchmarks/simulate_figures.py

# About ten minutes on an idle machine; V2E=FOLDER is a checkout of SensorsINI/v2e to compare with.
bench-events: install
	$(BIN)/python benchmarks/events.py $(if $(V2E),--v2e $(V2E))
	$(BIN)/python benchmarks/events_figures.py
	$(BIN)/python benchmarks/events_tables.py

# Both engines at the paper's size: SpikingJelly needs about 16 GiB and several minutes. One entry per environment.
bench-train: install $(NEWER)/installed
	$(BIN)/python benchmarks/train.py
	$(NEWER)/bin/python benchmarks/train.py

# Our counter beside those that others publish, in an environment that has them; about five minutes on an idle machine.
bench-profile: $(PEERS)/installed
	$(PEERS)/bin/python benchmarks/profile.py
	$(PEERS)/bin/python benchmarks/profile_tables.py
	$(PEERS)/bin/python -m pytest -m slow tests/profiling/test_peers.py

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@./tools/make-venv $(VENV) 3.10
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Everything is in the lock, so nothing is resolved: SpikingJelly 2 asks for torchvision, which it does not need.
$(NEWER)/installed: requirements-3.11.lock pyproject.toml
	@./tools/make-venv $(NEWER) 3.11
	$(NEWER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement requirements-3.11.lock
	$(NEWER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PEERS)/installed: benchmarks/requirements-profile.txt pyproject.toml
	@./tools/make-venv $(PEERS) 3.11
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement benchmarks/requirements-profile.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# numba notices changes in the file of a kernel, not in the files it is compiled from.
clean-kernels:
	find hw_targets neuroemo -name '*.nb[ic]' -delete

clean:
	rm -rf $(VENV) $(NEWER) $(PEERS) runs build *.egg-info
