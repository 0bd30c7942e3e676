"""The eight networks of the paper's Table I, their small presets, our own small family and the demo's, by name.

A row of Table I says what it changes in another row ("change the voltage threshold of PLIF SNN"), so that
two rows differ in one field: baseline -> plif (cell type) -> 0.8snn -> 0.4snn (threshold) -> mpsnn
(pooling) or puresnn (first frame). ``plif-fang`` is the DVS128 Gesture network of Fang et al. 2021,
{128C3 padded, BN, PLIF, max pool 2} x 5, dropout, FC 512, PLIF, dropout, voting neurons, PLIF, with this
paper's two classes. What the paper does not print is listed in docs/paper.md.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.models.spec import EmotionSpec

TABLE_I: tuple[EmotionSpec, ...] = (
    EmotionSpec(
        "plif-fang", neuron="plif", threshold=1.0, pool="max", channels=(128,) * 5, hidden=512, padding=1, dropout=0.5
    ),
    EmotionSpec("ann", neuron="relu", pool="average"),
    EmotionSpec("baseline", neuron="lif", threshold=1.0, pool="average", first_frame="float"),
    EmotionSpec("plif", neuron="plif", threshold=1.0, pool="average", first_frame="float"),
    EmotionSpec("0.8snn", neuron="plif", threshold=0.8, pool="average", first_frame="float"),
    EmotionSpec("0.4snn", neuron="plif", threshold=0.4, pool="average", first_frame="float"),
    EmotionSpec("mpsnn", neuron="plif", threshold=0.4, pool="max", first_frame="float"),
    EmotionSpec("puresnn", neuron="plif", threshold=0.4, pool="average", first_frame="spikes"),
)
"""The networks in the order of Table I; each differs from the row that its explanation names in one field."""

NEUROEMO_S: tuple[EmotionSpec, ...] = tuple(
    EmotionSpec(
        name,
        size=48,
        steps=16,
        channels=channels,
        hidden=hidden,
        tau=4.0,
        pool="none",
        stride=2,
        first_frame="spikes",
    )
    for name, channels, hidden in (
        ("neuroemo-s", (12, 16, 16), 64),
        ("neuroemo-xs", (8, 12, 16), 32),
    )
)
"""Networks made for few operations: strided convolutions instead of pools, so that every layer sees plain spikes; no
gray frame, so that nothing is multiplied. Trained with a price on operations (docs/neuroemo-s.md)."""

SPECS: dict[str, EmotionSpec] = {
    spec.name: spec
    for spec in (
        *TABLE_I,
        EmotionSpec("demo", size=48, steps=16, channels=(12, 16, 16), hidden=64),
        EmotionSpec("demo-ann", size=48, steps=16, channels=(12, 16, 16), hidden=64, neuron="relu"),
        EmotionSpec("demo-small", size=32, steps=14, channels=(8, 16), hidden=32),
        EmotionSpec("demo-small-ann", size=32, steps=14, channels=(8, 16), hidden=32, neuron="relu"),
        *NEUROEMO_S,
        EmotionSpec("tiny", size=32, steps=8, channels=(4, 8), hidden=16),
        EmotionSpec("tiny-ann", size=32, steps=8, channels=(4, 8), hidden=16, neuron="relu"),
    )
}

_DEMO_OF_SIZE = {48: "demo", 32: "demo-small"}


def spec_by_name(name: str, **changes: Any) -> EmotionSpec:
    """Return a named spec with some of its fields changed.

    ``NAME@48`` and ``NAME@32`` are the networks of Table I on the demo's frames, with the demo's steps and
    widths; a trailing ``-ann`` names the ANN twin of what stands before it.

    >>> spec_by_name("0.4snn").feature_size, spec_by_name("plif-fang").feature_size
    (14, 4)
    >>> spec_by_name("baseline@48").channels, spec_by_name("plif-fang@48").channels
    ((12, 16, 16), (16, 16, 16, 16, 16))
    >>> spec_by_name("mpsnn@32-ann").neuron
    'relu'

    Raises:
        InputError: no such name, a change that contradicts it, or fields that no network can be built from.
    """
    spec = _named(name)
    if spec is None:
        raise InputError(
            Finding(
                "E022",
                "error",
                name,
                "no network of that name",
                f"one of {', '.join(SPECS)}",
                fix="add @48 or @32 to a network of Table I for small frames, -ann for an ANN twin",
            )
        )
    if name.startswith("puresnn") and changes.get("first_frame", "spikes") != "spikes":
        raise InputError(
            Finding(
                "E028",
                "error",
                name,
                f"first frame {changes['first_frame']!r}",
                "'spikes': pureSNN omits the gray first frame, with it the network is 0.4snn",
                fix="prepare the events with --first-frame spikes, or train 0.4snn",
            )
        )
    if name.startswith("0.4snn") and changes.get("first_frame") == "spikes":
        found = "events without the gray first frame: without it the network is puresnn"
        fix = "prepare the events with --first-frame float, or train puresnn"
        raise InputError(Finding("E028", "error", name, found, "a float first frame", fix=fix))
    return replace(spec, **changes)


def twin_of(spec: EmotionSpec) -> EmotionSpec:
    """Return the ANN twin: the same layers with ReLU, one pass over the frames stacked as channels."""
    return replace(spec, name=f"{spec.name}-ann", neuron="relu")


def _named(name: str) -> EmotionSpec | None:
    """Return the spec that a name stands for: listed, a small preset, or the twin of one of these."""
    if name in SPECS:
        return SPECS[name]
    if name.endswith("-ann"):
        spec = _named(name.removesuffix("-ann"))
        return None if spec is None or spec.neuron == "relu" else twin_of(spec)
    for size, demo in _DEMO_OF_SIZE.items():
        row = SPECS.get(name.removesuffix(f"@{size}"))
        if row in TABLE_I and name.endswith(f"@{size}"):
            return _small(row, SPECS[demo], name)
    return None


def _small(row: EmotionSpec, demo: EmotionSpec, name: str) -> EmotionSpec:
    """Return a row of Table I with the size, the steps and the widths of the demo; five stages stay five."""
    channels = demo.channels if len(row.channels) == 3 else (demo.channels[-1],) * len(row.channels)
    return replace(row, name=name, size=demo.size, steps=demo.steps, channels=channels, hidden=demo.hidden)
