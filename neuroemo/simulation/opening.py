"""From what a user names, a network and clips, to both opened and fitting each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw_targets.finding import Finding, InputError
from neuroemo.deployment.array_file import check_shape
from neuroemo.deployment.clips import ClipSet, StoredClips
from neuroemo.pipeline import Progress, chosen_clips, labels_of, open_data
from neuroemo.simulation.clips import holds_arrays, open_arrays
from neuroemo.simulation.network import SimulatedNetwork, open_bundle, open_netx
from neuroemo.simulation.settings import SimulationSettings
from neuroemo.simulation.values import Values, look_at_values

GRADED_BITS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A network and clips for it; ``message_bits`` 0 means that the input is spikes."""

    network: SimulatedNetwork
    clips: ClipSet
    message_bits: int
    remarks: tuple[str, ...] = ()


def open_both(source: Path, data: Path, settings: SimulationSettings, progress: Progress) -> Opened:
    """Open a bundle folder or a netx file, and clips for it.

    Raises:
        InputError: one of them cannot be read, they do not fit each other, or an option means nothing for them.
    """
    is_file = source.is_file() or (not source.exists() and source.suffix in (".net", ".h5", ".hdf5"))
    arrays = holds_arrays(data)
    _refuse_options(is_file, arrays, data, settings)
    if not is_file:
        return _for_bundle(open_bundle(source), data, settings, progress)
    return _for_netx(source, data, settings, progress) if arrays else _store_for_netx(source, data, settings)


def _refuse_options(is_file: bool, arrays: bool, data: Path, settings: SimulationSettings) -> None:
    findings = []
    if settings.split is not None and arrays:
        found = f"means nothing for {data.name}, which has no splits"
        findings.append(Finding("E687", "error", "--split", found, "prepared events or videos", fix="leave it out"))
    if settings.layers is not None and not is_file:
        found, fix = "means nothing for a bundle, which runs as a whole", "give its file: BUNDLE/target/model.net"
        findings.append(Finding("E687", "error", "--layers", found, "a netx file", fix=fix))
    if settings.input_message_bits is not None and not is_file:
        found, fix = "means nothing for a bundle, which says itself how its input is encoded", "leave it out"
        findings.append(Finding("E687", "error", "--input-message-bits", found, "a netx file", fix=fix))
    if settings.reset is not None and settings.mode == "aligned":
        found, fix = "means nothing in aligned mode, where every clip begins at rest", "--mode pipeline"
        findings.append(Finding("E687", "error", "--reset-interval", found, "pipeline mode", fix=fix))
    if findings:
        raise InputError(findings)


def _for_bundle(network: SimulatedNetwork, data: Path, settings: SimulationSettings, progress: Progress) -> Opened:
    bits = GRADED_BITS if network.chip.payload > 1 else 0
    if holds_arrays(data):
        files = open_arrays(data)
        check_shape(data, files.rows.shape, network.input_shape, network.steps, as_vector=network.takes_vectors)
        values = look_at_values(data, files.rows, gray_first=network.gray_first, progress=progress)
        if not values.spikes:
            raise InputError(_no_spikes(data, values, "the bundle's network takes spikes", network.gray_first))
        return Opened(network, files.clips(network.input_shape, np.float32, network.classes), bits)
    if network.affect is not None:
        from neuroemo.deployment.affect import open_chunks

        return Opened(network, open_chunks(*network.affect, data, settings.split), bits)
    if network.description is None:
        found = "the bundle was not made from a checkpoint of ours and does not say how its events were made"
        raise InputError(
            Finding("E688", "error", str(data), found, fix="give clips as an array: CLIPS.npy [N, T, ...]")
        )
    store = open_data(data, network.description.events, progress)
    indices = chosen_clips(store, data, settings.split)
    labels = labels_of(store, indices, network.description.classes)
    return Opened(network, StoredClips(store, indices, labels, data.name), bits)


def _no_spikes(data: Path, values: Values, why: str, gray_first: bool) -> Finding:
    behind = " behind the gray first frame" if gray_first else ""
    found = f"values from {values.lowest} to {values.highest}{behind}: {why}"
    return Finding("E689", "error", str(data), found, "0 and 1", fix="binarise them: clips > 0")


def _for_netx(source: Path, data: Path, settings: SimulationSettings, progress: Progress) -> Opened:
    files = open_arrays(data)
    steps = files.rows.shape[1]
    network = open_netx(source, steps=steps, layers=settings.layers, magnitude=None)
    check_shape(data, files.rows.shape, network.input_shape, None, as_vector=network.takes_vectors)
    values = look_at_values(data, files.rows, gray_first=False, progress=progress)
    bits, remarks = _message_bits(data, values, settings.input_message_bits, network)
    if not values.spikes:
        network = open_netx(source, steps=steps, layers=settings.layers, magnitude=values.magnitude)
    return Opened(network, files.clips(network.input_shape, None, None), bits, remarks)


def _message_bits(
    data: Path, values: Values, asked: int | None, network: SimulatedNetwork
) -> tuple[int, tuple[str, ...]]:
    """Return how many bits an input message has, and what is worth saying about it."""
    if values.spikes:
        return asked or 0, ()
    if asked == 0 and network.chip.layers[0].kind != "input":
        why = "--input-message-bits 0 would make each of them 1"
        finding = _no_spikes(data, values, why, gray_first=False)
        raise InputError(
            Finding(finding.code, "error", str(data), finding.found, "0 and 1", fix="leave the option out")
        )
    span = f"values from {values.lowest} to {values.highest}"
    if asked and values.magnitude >= 2**asked:
        limit, fix = 2**asked - 1, "more --input-message-bits, or leave the option out"
        over = str(values.magnitude - limit)
        raise InputError(Finding("E690", "error", str(data), f"{span} in {asked} bits", str(limit), over, fix))
    if asked is not None:
        return asked, ()
    return GRADED_BITS, (f"{data.name} has {span}: the input is graded (--input-message-bits {GRADED_BITS})",)


def _store_for_netx(source: Path, data: Path, settings: SimulationSettings) -> Opened:
    from neuroemo.datasets.folder_content import is_visible_video
    from neuroemo.datasets.store import ClipStore

    if data.is_dir() or is_visible_video(data):
        what = "a folder of videos" if data.is_dir() else "a video"
        found, fix = f"{what}; a netx file does not say how to make events of it", "give the bundle's folder"
        raise InputError(
            Finding("E688", "error", str(data), found, "CLIPS.npy [N, T, ...] or prepared events", fix=fix)
        )
    store = ClipStore.open(data)
    made = store.settings
    network = open_netx(source, steps=made.steps, layers=settings.layers, magnitude=None)
    frame, findings = (2, made.size, made.size), []
    if network.input_shape != frame:
        findings.append(Finding("E691", "error", str(data), f"frames {frame}", str(network.input_shape)))
    if made.first_frame != "spikes":
        found, fix = "a gray first frame, whose payload a netx file does not say", "simulate the bundle folder instead"
        findings.append(Finding("E692", "error", str(data), found, "pure spikes", fix=fix))
    if findings:
        raise InputError(findings)
    return Opened(network, StoredClips(store, chosen_clips(store, data, settings.split), None, data.name), 0)
