"""The time-reversal control: pairs are exact, splits disjoint, symmetric features at chance, and time is enough."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets import reversal
from neuroemo.datasets.faces import GENERATOR_VERSION
from neuroemo.datasets.faces_clip import clip_frames
from neuroemo.datasets.reversal import (
    CLASSES,
    MIN_CHANGE,
    ReversalSettings,
    event_settings,
    pair_clips,
    pair_frames,
    plan_pairs,
    prepare_reversal,
    read_manifest,
    simulate_pair,
    valence_over_time,
)
from neuroemo.datasets.store import ClipStore
from neuroemo.events.framediff import FrameDiffSettings

TINY = {"subjects": 5, "clips_per_subject": 2, "size": 32}
KINDS = ("change", "order")


def refusal(call, *arguments, **named):
    with pytest.raises(InputError) as caught:
        call(*arguments, **named)
    return str(caught.value)


@pytest.fixture(scope="module", params=KINDS)
def pairs(request):
    settings = ReversalSettings(request.param, **TINY)
    return settings, [(pair, *pair_frames(settings, pair)) for pair in plan_pairs(settings)]


@pytest.fixture(scope="module", params=KINDS)
def medium(request):
    """Signed events int8 [pairs, side, T, H, W], labels and splits, enough of them to learn from."""
    settings = ReversalSettings(request.param, subjects=20, clips_per_subject=6, size=32)
    events = event_settings(settings)
    plan = plan_pairs(settings)
    spikes = np.array([[clip.spikes for clip in pair_clips(settings, pair, events)] for pair in plan], np.int8)
    labels = np.array([[pair.label(side) == "rises" for side in (False, True)] for pair in plan])
    return request.param, spikes, labels, np.array([pair.face.split for pair in plan])


def accuracy(feature, medium):
    """Fit logistic regression on the training subjects; return the accuracy on the test subjects."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    _, spikes, labels, splits = medium
    values = np.array([[np.ravel(feature(clip)) for clip in pair] for pair in spikes], float)
    chosen = {name: splits == name for name in ("train", "test")}
    flat = {name: (np.concatenate(values[rows]), np.concatenate(labels[rows])) for name, rows in chosen.items()}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300)).fit(*flat["train"])
    return float(model.score(*flat["test"]))


def pooled(pictures, side):
    width = pictures.shape[-1] // side
    return pictures.reshape(*pictures.shape[:-2], side, width, side, width).sum((-3, -1))


def net_events(clip):
    return clip[:, 0] - clip[:, 1]


def in_parts(pictures, count=4):
    return np.stack([part.sum(0) for part in np.array_split(pictures, count)])


def test_reversed_frames_are_the_forward_ones_backwards(pairs):
    settings, made = pairs
    for _, forward, backward in made:
        assert forward.shape == (settings.frame_count, 32, 32)
        assert all(np.array_equal(backward[-1 - n], frame) for n, frame in enumerate(forward))
        assert not np.array_equal(forward, backward)


def test_forward_change_is_the_clip_that_the_generator_renders():
    settings = ReversalSettings("change", **TINY)
    pair = plan_pairs(settings)[3]
    face = pair.face
    wanted = clip_frames(
        0, face.subject_index, face.clip_index, face.valence, face.arousal, size=32, frames=15, fps=15.0
    )
    assert np.array_equal(pair_frames(settings, pair)[0], wanted)


def test_order_shows_both_expressions_and_ends_where_it_began():
    settings = ReversalSettings("order", stride=2, **TINY)
    for pair in plan_pairs(settings):
        forward, backward = pair_frames(settings, pair)
        neutral = forward[0]
        assert all(np.array_equal(forward[n], neutral) for n in (14, 28))
        assert np.array_equal(backward[0], neutral)
        assert np.array_equal(forward[7], reversal._render(settings, pair.face, 1.0)[14])
        assert np.array_equal(backward[7], reversal._render(settings, pair.face, -1.0)[14])


def test_label_is_the_sign_of_the_change(pairs):
    settings, made = pairs
    for pair, _, _ in made:
        assert abs(pair.change) > MIN_CHANGE
        assert pair.label(False) == ("rises" if pair.face.valence > 0 else "falls")
        assert {pair.label(False), pair.label(True)} == set(CLASSES)
        valence = valence_over_time(settings, pair.face)
        assert valence[0] == 0
        assert valence[-1] == pytest.approx(pair.face.valence)


def test_clips_without_a_change_are_left_out():
    cut = ReversalSettings("change", subjects=20, clips_per_subject=4, frames=7)
    kept = {pair.name: pair.change for pair in plan_pairs(cut)}
    every = plan_pairs(replace(cut, frames=15))
    assert 0 < len(kept) < len(every) == 80
    for pair in every:
        end = valence_over_time(cut, pair.face)[-1]
        assert (abs(end) > 0.25) == (pair.name in kept)


def test_no_subject_is_in_two_splits():
    splits = {}
    for pair in plan_pairs(ReversalSettings(subjects=20, clips_per_subject=4)):
        splits.setdefault(pair.face.subject, set()).add(pair.face.split)
    assert len(splits) == 20
    assert all(len(found) == 1 for found in splits.values())


def test_frame_differences_of_a_reversal_swap_polarity_and_order(pairs):
    settings, made = pairs
    for pair, forward, _ in made[:4]:
        first, second = pair_clips(settings, pair, event_settings(settings))
        assert np.array_equal(second.spikes, first.spikes[::-1, ::-1])
        # By brute force, in whole gray levels: 0.02 x 255 lies between 5 and 6.
        steps = np.diff(forward.astype(int), axis=0)
        assert np.array_equal(first.spikes[:, 0], steps > 5)
        assert first.spikes.any()


def test_symmetric_features_are_identical_within_a_pair(pairs):
    settings, made = pairs
    for pair, forward, backward in made:
        assert np.array_equal(forward.sum(0, dtype=int), backward.sum(0, dtype=int))
        assert np.array_equal(np.sort(forward, axis=0), np.sort(backward, axis=0))
        first, second = (clip.spikes.astype(int) for clip in pair_clips(settings, pair, event_settings(settings)))
        assert np.array_equal(first.sum((0, 1)), second.sum((0, 1)))
        if settings.kind == "order":
            assert np.array_equal(first.sum(0), second.sum(0))
            as_rows = [sorted(row.tobytes() for row in clip) for clip in (first, second)]
            assert as_rows[0] == as_rows[1], "the same steps, in another order"


def test_symmetric_features_are_at_chance_and_time_or_polarity_is_not(medium):
    kind = medium[0]
    symmetric = [lambda clip: pooled(clip.sum((0, 1)), 16), lambda clip: clip.sum()]
    if kind == "order":
        symmetric += [lambda clip: pooled(clip.sum(0), 16), lambda clip: pooled(net_events(clip).sum(0), 16)]
    assert [accuracy(feature, medium) for feature in symmetric] == [0.5] * len(symmetric)
    # Four parts of the recording, each with its polarity: time and polarity, as little as there can be.
    assert accuracy(lambda clip: pooled(in_parts(net_events(clip)), 8), medium) > 0.7


def test_what_each_kind_does_not_ask_for(medium):
    """The limits that the module's docstring states: polarity alone solves ``change``, time alone ``order``."""
    if medium[0] == "change":
        assert accuracy(lambda clip: pooled(net_events(clip).sum(0), 16), medium) > 0.7
    else:
        assert accuracy(lambda clip: pooled(in_parts(clip.sum(1)), 16), medium) > 0.7


def test_damage_on_purpose():
    settings = ReversalSettings("change", **TINY)
    pair, events = plan_pairs(settings)[0], event_settings(settings)
    whole = pair_clips(settings, pair, events)[0].spikes
    merged = pair_clips(replace(settings, keep="no-polarity"), pair, events)[0].spikes
    assert np.array_equal(merged[:, 0], whole[:, 0] | whole[:, 1])
    assert np.array_equal(merged[:, 0], merged[:, 1])
    shuffled = [clip.spikes for clip in pair_clips(replace(settings, keep="no-order"), pair, events)]
    assert not np.array_equal(shuffled[0], whole)
    assert sorted(step.tobytes() for step in shuffled[0]) == sorted(step.tobytes() for step in whole)


def test_shuffling_leaves_the_first_frame_alone():
    settings = ReversalSettings("order", keep="no-order", **TINY)
    pair, events = plan_pairs(settings)[0], event_settings(settings, first_frame="float")
    clip = pair_clips(settings, pair, events)[0]
    assert events.steps == 9
    assert not clip.spikes[0].any()
    assert clip.first_frame is not None


def test_any_simulator_starts_anew_for_each_side():
    from neuroemo.events.pixel.settings import preset
    from neuroemo.events.pixel.simulator import simulate_pixels

    settings = ReversalSettings("change", **TINY)
    pair = plan_pairs(settings)[0]
    times = [round(n * 1e6 / 15) for n in range(settings.frame_count)]

    def simulate(frames):
        return simulate_pixels(frames, times, preset("clean"))[0]

    forward, backward = simulate_pair(settings, pair, simulate)
    assert np.array_equal(forward, simulate(pair_frames(settings, pair)[0]))
    assert np.array_equal(backward, simulate(pair_frames(settings, pair)[0][::-1]))
    assert forward.size > 0


def test_prepared_store_and_manifest(tmp_path):
    settings = ReversalSettings("order", **TINY)
    seen = []
    with prepare_reversal(tmp_path / "a", settings, progress=lambda *count: seen.append(count)) as store:
        assert (len(store), store.classes) == (20, CLASSES)
        assert seen == [(n, 10) for n in range(1, 11)]
        plan = plan_pairs(settings)
        for index in (0, 1, 19):
            pair, side = plan[index // 2], bool(index % 2)
            wanted = pair_clips(settings, pair, event_settings(settings))[side]
            assert np.array_equal(store.clip(index).spikes, wanted.spikes)
            assert store.classes[store.labels[index]] == pair.label(side)
            assert store.splits[index] == pair.face.split
    manifest = read_manifest(tmp_path / "a")
    assert manifest["versions"]["faces"] == GENERATOR_VERSION
    assert (manifest["pairs"], manifest["left_out"], manifest["settings"]["kind"]) == (10, 0, "order")
    prepare_reversal(tmp_path / "b", settings, workers=2).close()
    assert read_manifest(tmp_path / "b") == manifest
    prepare_reversal(tmp_path / "c", replace(settings, seed=1)).close()
    assert read_manifest(tmp_path / "c")["sha256"] != manifest["sha256"]


def test_refused_folders(tmp_path):
    settings = ReversalSettings("change", **TINY)
    (tmp_path / "mine.txt").write_text("x")
    text = refusal(prepare_reversal, tmp_path, settings)
    assert text.startswith(f"E796 {tmp_path}: exists and is not an empty folder")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert "cannot be written" in refusal(prepare_reversal, "/proc/nowhere", settings)


def test_interrupt_leaves_no_store(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_reversal(tmp_path / "a", ReversalSettings("change", **TINY), progress=interrupt)
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.parametrize("text", ["", "[1]", '{"versions": 3}', "[" * 100_000])
def test_refused_manifests(tmp_path, text):
    (tmp_path / "reversal.json").write_text(text)
    assert "E796" in refusal(read_manifest, tmp_path)
    assert "no readable manifest" in refusal(read_manifest, tmp_path / "none")


def test_other_versions_are_not_comparable(tmp_path, monkeypatch):
    prepare_reversal(tmp_path / "a", ReversalSettings("change", **TINY)).close()
    path = tmp_path / "a" / "reversal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"versions": {"faces": 0, "control": 1}}))
    assert "version 0 of faces" in refusal(read_manifest, tmp_path / "a")


def test_refused_settings():
    text = refusal(ReversalSettings, "sideways", keep="none", frames=1)
    assert "E795 kind: 'sideways'; limit one of change, order" in text
    assert "E795 keep: 'none'" in text
    assert "E750 frames: 1" in text
    assert "E795 frames: 14; limit 1 more than a multiple of stride 7" in refusal(ReversalSettings, "order", frames=14)
    assert "E795 stride: 0; limit an integer from 1" in refusal(ReversalSettings, "change", stride=0)
    assert ReversalSettings("change", frames=14).frame_count == 14
    assert "no pair changes by more than 0.25" in refusal(plan_pairs, ReversalSettings("change", frames=3, **TINY))


def test_refused_events():
    settings = ReversalSettings("change", **TINY)
    pair = plan_pairs(settings)[0]
    text = refusal(event_settings, settings, first_frame="float")
    assert "E795 first_frame: 'float' with kind 'change'" in text
    text = refusal(pair_clips, settings, pair, FrameDiffSettings(size=32, steps=13, first_frame="spikes"))
    assert "14 frames of 32 pixels; limit 15 frames of 32 pixels" in text


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_spiking_network_learns_it(tmp_path, kind):
    from neuroemo.models.table1 import spec_by_name
    from neuroemo.training.checkpoint import load_model
    from neuroemo.training.evaluation import evaluate
    from neuroemo.training.loop import TrainSettings, train

    settings = ReversalSettings(kind, subjects=40 if kind == "change" else 20)
    name, first = {"change": ("puresnn@32", "spikes"), "order": ("0.4snn@32", "float")}[kind]
    prepare_reversal(tmp_path / "set", settings, event_settings(settings, first_frame=first), workers=2).close()
    with ClipStore.open(tmp_path / "set" / "clips.h5") as store:
        spec = spec_by_name(name, steps=store.settings.steps)
        train(spec, store, tmp_path / "run", TrainSettings(epochs=16, shift=1))
        network, _ = load_model(tmp_path / "run")
        assert evaluate(network, spec, store, store.indices("test")).score.accuracy > 0.8
