"""The sample report, fresh for every test that changes it."""

from __future__ import annotations

import pytest
from report_sample import build_report


@pytest.fixture
def report():
    return build_report()
