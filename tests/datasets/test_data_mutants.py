"""Damaged labels, annotations, lists, pictures and stores: refused by name, or what they say; nothing in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import survive

CASES = Path(__file__).with_name("data_mutants.py")
FILES = ["mosi-csv", "mosi-csd", "afew-json", "nefer-csv", "png", "jpg", "store", "manifest"]


@pytest.mark.parametrize("count", [100, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_damaged_files_of_data_sets(tmp_path, name, count):
    outcomes = survive(CASES, name, count, 1 if count == 100 else 2, tmp_path)
    assert outcomes["read"] < count
    assert outcomes["read"] or name == "png"  # whose checksums leave no byte out
