"""Damaged event files: every reader either gives sorted events on the sensor or says what is wrong; nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import survive

CASES = Path(__file__).with_name("event_mutants.py")
READERS = ["evt2", "evt3", "evt21", "dat", "aedat4", "aedat2", "hdf5", "v2e", "npz", "csv"]


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_damaged_event_files(tmp_path, name, count):
    pytest.importorskip("faery")
    outcomes = survive(CASES, name, count, 1 if count == 100 else 2, tmp_path)
    assert 0 < outcomes["read"] < count
