"""The comparison finds what is planted, and blames the right layer and the right stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from export.exporter import model_spikes
from export.reference import ReferenceRun
from export.verify import LayerAgreement, Tolerance, Verification, _findings, verify
from hw_targets.graph import Conv2d


def compared(exported, *, captured=None, folded=None, chip=None, lossy=frozenset()):
    network, _, clips, compiled = exported
    spikes = model_spikes(network, clips, 1.0)
    deployment = replace(compiled.deployment, chip=chip or compiled.chip)
    changed = replace(
        compiled,
        captured=captured or compiled.captured,
        folded=folded or compiled.folded,
        deployment=deployment,
        lossy=lossy,
    )
    runs = [
        (clips[:, :4], {k: v[:, :4] for k, v in spikes.items()}, np.array([0, 1, 0, 1])),
        (clips[:, 4:], {k: v[:, 4:] for k, v in spikes.items()}, np.array([1, 1, 0, 0])),
    ]
    return verify(changed, runs, Tolerance(label_agreement=0.5))


def scaled(graph, name, factor):
    nodes = [
        replace(node, weight=node.weight * factor) if isinstance(node, Conv2d) and node.name == name else node
        for node in graph.nodes
    ]
    return graph.replace_nodes(tuple(nodes))


def test_a_right_export_has_no_findings_and_counts_every_clip(exported):
    result = compared(exported)
    assert result.findings == []
    assert len(result.rates_float) == 8
    assert [layer.captured_mismatches for layer in result.layers] == [0, 0, 0, 0]


@pytest.mark.parametrize(("stage", "code"), [("captured", "E411"), ("folded", "E412")])
def test_a_wrong_weight_blames_its_layer_and_stage(exported, stage, code):
    graph = scaled(getattr(exported[3], stage), "features.4", 1.02)
    found = compared(exported, **{stage: graph}).findings
    assert [(finding.code, finding.node) for finding in found] == [(code, "features.6")]


def test_an_allowed_loss_is_measured_and_not_an_error(exported):
    graph = scaled(exported[3].folded, "features.4", 1.02)
    found = compared(exported, folded=graph, lossy=frozenset({"features.6"})).findings
    assert [(finding.code, finding.severity, finding.node) for finding in found] == [("W412", "warning", "features.6")]


def test_accuracy_is_counted_by_hand_from_the_labels(exported):
    result = compared(exported)
    truth = np.array([0, 1, 0, 1, 1, 1, 0, 0])
    right = sum(int(rates[1] > rates[0]) == label for rates, label in zip(result.rates_chip, truth, strict=True))
    assert result.to_dict()["accuracy"]["chip"] == right / 8


def test_a_ruined_chip_layer_is_found(exported):
    chip = exported[3].chip
    layers = (chip.layers[0], replace(chip.layers[1], threshold=chip.layers[1].threshold // 2), *chip.layers[2:])
    codes = {(finding.code, finding.node) for finding in compared(exported, chip=replace(chip, layers=layers)).findings}
    assert ("E413", "features.6") in codes
    assert not {node for code, node in codes if code == "E413"} - {"features.6"}


def test_teacher_forcing_stops_errors_from_spreading(exported):
    graph = scaled(exported[3].folded, "features.0", 1.5)
    result = compared(exported, folded=graph)
    assert result.layers[0].folded_mismatches > 0
    assert [layer.folded_mismatches for layer in result.layers[1:]] == [0, 0, 0]


def test_rates_are_those_of_the_spikes(exported):
    network, _, clips, _ = exported
    last = list(model_spikes(network, clips, 1.0).values())[-1]
    by_hand = np.stack([last[:, :, :10].mean(axis=(0, 2)), last[:, :, 10:].mean(axis=(0, 2))], axis=1)
    np.testing.assert_allclose(compared(exported).rates_float, by_hand)


def few_or_many(agreeing: int, clips: int):
    rates = np.tile([[0.6, 0.4]], (clips, 1))
    flipped = rates.copy()
    flipped[agreeing:] = [0.4, 0.6]
    result = Verification([], rates, rates, flipped)
    return [(finding.code, finding.severity) for finding in _findings(result, Tolerance(label_agreement=0.97))]


def test_labels_lost_on_few_clips_warn_and_on_many_fail():
    assert few_or_many(33, 36) == [("W414", "warning")]
    assert few_or_many(330, 360) == [("E414", "error")]
    assert few_or_many(36, 36) == []


def test_a_model_that_is_tied_agrees_with_either_label():
    tied, decided = np.array([[0.5, 0.5], [0.6, 0.4]]), np.array([[0.4, 0.6], [0.4, 0.6]])
    assert Verification([], tied, tied, decided).label_agreement == 0.5
    assert Verification([], decided, decided, tied).label_agreement == 0.0


def test_shares_of_a_layer_by_hand():
    layer = LayerAgreement("n")
    model = np.array([[[1, 1, 0]], [[1, 0, 0]]], dtype=np.uint8)  # two steps, one clip, three neurons
    forced = np.array([[[1, 0, 0]], [[1, 0, 1]]], dtype=np.uint8)
    same = ReferenceRun({"n": model}, {"n": np.zeros(model.shape, bool)})
    layer.count(model, same, same, forced, forced)
    shown = layer.to_dict()
    assert shown["agreement"] == pytest.approx(4 / 6)
    assert shown["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert shown["rate_error"] == pytest.approx((0 + 0.5 + 0.5) / 3)
