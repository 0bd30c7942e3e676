"""Names, protocols and descriptions of the targets, and the page that is made of them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest

from hw_targets.finding import InputError
from hw_targets.registry import (
    DeployTarget,
    deploy_target,
    describe_targets,
    get_target,
    target_names,
    targets_table,
)
from hw_targets.rule import Rule

DOCS = Path(__file__).resolve().parents[2] / "docs" / "targets.md"
NAMES = target_names()


def public(protocol):
    return {name for name, value in inspect.getmembers(protocol, inspect.isfunction) if not name.startswith("_")}


def test_unknown_target_names_those_there_are():
    with pytest.raises(InputError, match="no such target; limit one of loihi1, loihi2, speck, xylo"):
        get_target("loihi9")


@pytest.mark.parametrize("name", ["speck", "xylo"])
def test_a_check_only_target_cannot_be_exported_to(name):
    with pytest.raises(InputError, match="checked against this target, not exported") as error:
        deploy_target(name)
    assert "one of loihi1, loihi2" in str(error.value)
    assert f"neuroemo check --target {name}" in str(error.value)


@pytest.mark.parametrize("name", ["loihi1", "loihi2"])
def test_a_deploy_target_has_every_method_with_the_arguments_of_the_protocol(name):
    target = deploy_target(name)
    assert public(DeployTarget) >= {"check", "quantize", "check_chip", "place", "summarise", "write", "read", "judge"}
    for method in public(DeployTarget):
        wanted = list(inspect.signature(getattr(DeployTarget, method)).parameters)[1:]
        assert list(inspect.signature(getattr(target, method)).parameters) == wanted


@pytest.mark.parametrize("name", NAMES)
def test_every_target_is_complete(name):
    target = get_target(name)
    assert target.name == name
    assert target.kind in ("deploy", "check")
    assert "\n" not in target.description
    assert target.description.endswith(".")
    assert set(target.folds) <= {"batchnorm", "max_pool", "average_pool", "decay"}
    assert all(limit.source and limit.unit and limit.value > 0 for limit in target.limits)
    assert len({limit.name for limit in target.limits}) == len(target.limits)
    assert all(isinstance(rule, Rule) for rule in target.rules)
    assert len({rule.code for rule in target.rules}) == len(target.rules)
    assert len({rule.name for rule in target.rules}) == len(target.rules)


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_says_what_it_means(name):
    for rule in get_target(name).rules:
        assert re.fullmatch(r"[EW]\d{3}", rule.code)
        assert len(rule.text) > 20
        assert rule.text.endswith(".")
        assert (rule.function.__doc__ or "").strip().startswith(rule.text.rstrip(".")[:40])


def test_the_two_loihis_want_every_pass_in_order():
    wanted = ("batchnorm", "max_pool", "average_pool", "decay")
    assert get_target("loihi1").folds == get_target("loihi2").folds == wanted


def test_descriptions_are_json():
    described = json.loads(json.dumps(describe_targets()))
    assert [each["name"] for each in described] == list(NAMES)
    by_name = {each["name"]: each for each in described}
    keys = {"name", "kind", "description", "limits", "rules", "simulator", "judge"}
    assert all(set(each) == keys for each in described)
    assert by_name["loihi2"]["simulator"] is True
    assert "Lava" in by_name["loihi1"]["judge"]
    assert (by_name["xylo"]["simulator"], by_name["xylo"]["judge"]) == (False, None)
    assert {"code": "E201", "name": "hard_reset"}.items() <= by_name["loihi2"]["rules"][3].items()
    assert set(by_name["speck"]["limits"][0]) == {"name", "value", "unit", "source", "secondary"}


def test_the_page_of_targets_is_what_the_rules_say():
    """To renew it: put what ``hw_targets.registry.targets_table()`` returns between the two markers."""
    text = DOCS.read_text()
    begin, end = "<!-- targets_table: begin -->\n", "<!-- targets_table: end -->"
    assert text.count(begin) == text.count(end) == 1
    generated = text[text.index(begin) + len(begin) : text.index(end)]
    assert generated.strip() == targets_table().strip()
