"""What a failed run of Lava must not leave behind."""

from __future__ import annotations

import pytest

from tests.hw_targets.lava_faults_parts import Leftovers


@pytest.fixture
def leftovers(tmp_path, monkeypatch):
    """The run's folder is below ``tmp_path``; so all its processes have that in their command line."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Leftovers(tmp_path)
