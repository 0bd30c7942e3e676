"""What must hold before a training starts: data that fit the network, labels that can be learnt, an engine that can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.models.emotion import EmotionSpec
from neuroemo.training.settings import TrainSettings

if TYPE_CHECKING:
    from neuroemo.datasets.store import ClipStore


def check_training(spec: EmotionSpec, store: ClipStore, settings: TrainSettings) -> None:
    """Raise InputError, with everything at once, unless ``settings`` can train ``spec`` on ``store``."""
    findings = [*_fit_findings(spec, store), *_label_findings(spec, store), *_setting_findings(spec, settings)]
    if findings:
        raise InputError(findings)


def check_fine_tuning(spec: EmotionSpec, store: ClipStore, settings: TrainSettings) -> None:
    """Raise InputError, with everything at once, unless a network of ``spec`` can be fine-tuned with ``settings``."""
    findings = [*_fit_findings(spec, store), *_label_findings(spec, store), *_setting_findings(spec, settings)]
    for name, able in (("engine", "spikingjelly"), ("precision", "float32"), ("operations_penalty", 0.0)):
        if getattr(settings, name) != able:
            fix = "train the float network with it first, and fine-tune that one"
            found = f"{getattr(settings, name)} in fine-tuning"
            findings.append(Finding("E901", "error", name, found, str(able), fix=fix))
    if findings:
        raise InputError(findings)


def check_fit(spec: EmotionSpec, store: ClipStore) -> None:
    """Raise InputError, with everything at once, unless the clips of ``store`` fit the network of ``spec``."""
    findings = list(_fit_findings(spec, store))
    if findings:
        raise InputError(findings)


def _fit_findings(spec: EmotionSpec, store: ClipStore) -> Iterator[Finding]:
    for name, wanted, found in (
        ("frame size", spec.size, store.settings.size),
        ("steps", spec.steps, store.settings.steps),
        ("first frame", spec.first_frame, store.settings.first_frame),
        ("classes", spec.classes, len(store.classes)),
    ):
        if wanted != found:
            yield Finding("E026", "error", spec.name, f"{name} of the data is {found}", f"{wanted} in the network")


def _label_findings(spec: EmotionSpec, store: ClipStore) -> Iterator[Finding]:
    """Yield what makes the labels useless: out of range, a split or a class without clips."""
    labels, splits = np.asarray(store.labels), np.asarray(store.splits)
    for place in np.flatnonzero((labels < 0) | (labels >= len(store.classes))):
        name, limit = str(store.names[place]), f"0 to {len(store.classes) - 1}"
        fix = "prepare the data set again"
        yield Finding("E902", "error", name, f"label {labels[place]}", limit, fix=fix)
    for split in ("train", "val"):
        if not np.any(splits == split):
            fix = "prepare the data with clips for training and for validation"
            yield Finding("E903", "error", "data", f"no clips in split {split!r}", "at least 1", fix=fix)
    if np.any(splits == "train"):
        counts = np.bincount(np.clip(labels[splits == "train"], 0, None), minlength=len(store.classes))
        for name, count in zip(store.classes, counts, strict=False):
            if not count:
                fix = "give it training clips, or leave the class out of the data"
                yield Finding("E903", "error", str(name), "a class without training clips", "at least 1", fix=fix)


def _setting_findings(spec: EmotionSpec, settings: TrainSettings) -> Iterator[Finding]:
    """Yield what the network and the settings cannot do together."""
    if settings.augment and settings.shift >= spec.size:
        found = f"{settings.shift} pixels on frames of {spec.size}x{spec.size}"
        yield Finding("E901", "error", "shift", found, f"{spec.size - 1}")
    most = spec.steps - (2 if spec.first_frame == "float" else 1)
    if settings.augment and settings.shift_steps > most:
        found = f"{settings.shift_steps} steps on clips of {spec.steps}"
        yield Finding("E901", "error", "shift_steps", found, str(most))
    if settings.engine == "fused" and spec.neuron == "relu":
        fix = "use engine spikingjelly: an ANN has no membrane to fuse"
        yield Finding("E901", "error", "engine", f"fused for {spec.name}, an ANN", "spiking networks", fix=fix)
    if settings.operations_penalty and spec.neuron == "relu":
        found = f"{settings.operations_penalty:g} for {spec.name}, an ANN, which has no spikes"
        yield Finding("E901", "error", "operations_penalty", found, "0")
