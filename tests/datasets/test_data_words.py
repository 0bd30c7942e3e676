"""`neuroemo data` is half of a verb: alone or with another word it says which two there are."""

from __future__ import annotations

import pytest

from neuroemo.cli import run


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("data",), "E010 neuroemo data: needs a second word; limit data prepare or data frames or data check"),
        (("data", "--json", "-q"), "needs a second word"),
        (("data", "--help"), "needs a second word"),
        (
            ("data", "nonsense"),
            "E010 neuroemo data: has no word 'nonsense'; limit data prepare or data frames or data check",
        ),
        (("data", "-q", "nonsense", "--root", "x"), "has no word 'nonsense'"),
        (("data", "prepare"), "E010 neuroemo data prepare: the following arguments are required"),
        (("data", "-q", "check"), "E010 neuroemo data check: the following arguments are required"),
        (("energy",), "E010 neuroemo energy: the following arguments are required"),
    ],
)
def test_half_a_verb_names_its_other_halves(words, found, capsys):
    assert run(list(words)) == 2
    said = capsys.readouterr()
    assert found in said.err + said.out
    assert "choose from" not in said.err + said.out
