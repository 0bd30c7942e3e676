"""The networks of Table I: as specs, as SpikingJelly modules, and through the whole way to the chip."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron, surrogate

from export.exporter import compile_model, model_spikes
from export.reference import run_graph
from hw_targets.finding import InputError
from hw_targets.loihi2.lava import lava_available
from hw_targets.registry import get_target
from neuroemo.datasets.store import ClipStore
from neuroemo.deployment.model import ModelOptions, load_model_argument
from neuroemo.models.emotion import SPECS, TABLE_I, EmotionSpec, build_network, spec_by_name, stacked_frames, twin_of
from neuroemo.training import loop
from neuroemo.training.checkpoint import load_model
from neuroemo.training.engine import default_engine
from neuroemo.training.evaluation import evaluate
from neuroemo.training.settings import TrainSettings
from tests.conftest import random_clips
from tests.reproduce.small_store import small_store

TARGET = get_target("loihi2")
SPIKING = ("plif-fang", "baseline", "plif", "0.8snn", "0.4snn", "mpsnn", "puresnn")
SMALL = {"size": 32, "steps": 7, "channels": (4, 6), "hidden": 16}
FIVE_STAGES = {"size": 40, "steps": 7, "channels": (5, 5, 6, 6, 6), "hidden": 16}


def small(name):
    """A row of Table I at a size for tests; PLIF-Fang keeps its five stages (40, 20, 10, 5, 2, 1)."""
    return spec_by_name(name, **(FIVE_STAGES if name == "plif-fang" else SMALL))


def firing(spec, seed=0, count=6, network=None):
    """The network of ``spec``, made to fire in every layer: scaled one layer after the other, input side first.

    Each normalisation gets the statistics of its own input and a spread of two thresholds, so that about a
    third of the currents would fire on their own; each linear layer is scaled to the same spread.
    """
    torch.manual_seed(seed)
    network, clips = (network or build_network(spec)).eval(), torch.from_numpy(random_clips(spec, count, seed))
    names = [name for name, m in network.named_modules() if type(m).__name__ in ("BatchNorm2d", "Linear")]
    modules = dict(network.named_modules())
    for name in names:
        seen = []
        handle = modules[name].register_forward_hook(lambda _m, args, out: seen.extend([args[0], out]))  # noqa: B023
        with torch.no_grad():
            network(clips)
        functional.reset_net(network)
        handle.remove()
        with torch.no_grad():
            if type(modules[name]).__name__ == "Linear":
                modules[name].weight.mul_(3 * spec.threshold / seen[1].std())
            else:
                frames = seen[0].flatten(0, 1)
                modules[name].running_mean.copy_(frames.mean((0, 2, 3)))
                modules[name].running_var.copy_(frames.var((0, 2, 3)))
                modules[name].weight.fill_(2 * spec.threshold)
                modules[name].bias.uniform_(-0.2, 0.4)
    return network


def shown(spikes):
    for name, values in spikes.items():
        assert 0.01 < values.mean() < 0.9, f"{name} is silent or saturated: nothing is shown"


def compiled(name, trained=None):
    spec = small(name)
    network, clips = firing(spec, network=trained), random_clips(spec, 3, 1)
    return network, clips, compile_model(network, clips, TARGET, dt_us=33333.0, first_frame=spec.first_frame)


# --- the specs ------------------------------------------------------------------------------------------------


def test_table_one_has_the_rows_of_the_paper_in_its_order():
    names = [spec.name for spec in TABLE_I]
    assert names == ["plif-fang", "ann", "baseline", "plif", "0.8snn", "0.4snn", "mpsnn", "puresnn"]
    assert all(SPECS[spec.name] is spec and (spec.size, spec.steps, spec.classes) == (128, 68, 2) for spec in TABLE_I)


# Table I's explanation of each row: which field it changes, in which other row, to what.
EXPLANATIONS = [
    ("ann", "baseline", {"neuron": "relu"}),
    ("baseline", "plif", {"neuron": "lif"}),
    ("0.8snn", "plif", {"threshold": 0.8}),
    ("0.4snn", "plif", {"threshold": 0.4}),
    ("mpsnn", "0.4snn", {"pool": "max"}),
    ("puresnn", "0.4snn", {"first_frame": "spikes"}),
]


@pytest.mark.parametrize(("name", "other", "change"), EXPLANATIONS)
def test_each_row_changes_what_its_explanation_says_and_nothing_else(name, other, change):
    ours, theirs = SPECS[name], SPECS[other]
    ignored = {"name"} | ({"threshold"} if name == "ann" else set())  # a ReLU has no threshold
    different = {
        f.name: getattr(ours, f.name)
        for f in fields(EmotionSpec)
        if f.name not in ignored and getattr(ours, f.name) != getattr(theirs, f.name)
    }
    assert different == change


def test_default_threshold_is_one():
    assert SPECS["baseline"].threshold == SPECS["plif"].threshold == SPECS["plif-fang"].threshold == 1.0


# By hand, layer by layer: weights, two numbers per normalised channel, one time constant per PLIF layer.
BY_HAND = {
    "plif-fang": 9 * 128 * (2 + 4 * 128) + 5 * 2 * 128 + 128 * 4 * 4 * 512 + 512 * 20 + 7,
    "ann": 9 * 32 * (68 + 2 * 32) + 3 * 2 * 32 + 6272 * 1024 + 1024 * 2 + 2,
    "baseline": 6_462_208,  # 576 + 2 * 9,216 + 192 + 6,422,528 + 20,480; no time constants to learn
} | dict.fromkeys(("plif", "0.8snn", "0.4snn", "mpsnn", "puresnn"), 6_462_208 + 5)


@pytest.mark.parametrize("name", BY_HAND)
def test_parameters_of_the_paper_size_networks(name):
    network = build_network(SPECS[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == BY_HAND[name]


def test_plif_fang_is_the_network_that_spikingjelly_ships_for_dvs128_gesture():
    from spikingjelly.activation_based.model.parametric_lif_net import DVSGestureNet

    spec = spec_by_name("plif-fang", classes=11, channels=(8,) * 5, steps=4)
    ours = firing(spec, count=2)
    theirs = DVSGestureNet(
        channels=8, spiking_neuron=neuron.ParametricLIFNode, surrogate_function=surrogate.ATan(), detach_reset=True
    )
    functional.set_step_mode(theirs, "m")
    kinds = lambda net: [type(m).__name__ for m in net.modules() if not list(m.children()) or hasattr(m, "v_reset")]  # noqa: E731
    assert kinds(ours) == kinds(theirs)
    wanted = theirs.state_dict()
    biases = {key for key in wanted if key in ("conv_fc.22.bias", "conv_fc.25.bias")}  # the paper's own code: none
    values = list(ours.state_dict().values())
    for key, value in zip([key for key in wanted if key not in biases], values, strict=True):
        wanted[key] = value
    theirs.load_state_dict(wanted | {key: torch.zeros_like(wanted[key]) for key in biases})
    clips = torch.from_numpy(random_clips(spec, 2, 3))
    with torch.no_grad():
        ours_votes, their_votes = ours(clips), theirs.eval()(clips)
    assert 0.01 < float(ours_votes.mean()) < 0.9
    assert torch.equal(ours_votes, their_votes)


@pytest.mark.parametrize("name", SPIKING)
def test_spiking_network_votes_per_step(name):
    spec = small(name)
    votes = build_network(spec)(torch.from_numpy(random_clips(spec, 2)))
    assert votes.shape == (spec.steps, 2, spec.classes)


@pytest.mark.parametrize("name", ["ann", "plif-fang@48-ann", "mpsnn@32-ann"])
def test_ann_counterpart_has_the_stages_of_its_network(name):
    spec = spec_by_name(name, steps=6) if "@" in name else spec_by_name(name, **SMALL)
    network = build_network(spec)
    assert network(stacked_frames(torch.from_numpy(random_clips(spec, 2)), "float")).shape == (2, 2)
    spiking = build_network(replace(spec, neuron="plif"))
    rename = {"ParametricLIFNode": "ReLU"}
    kinds = [rename.get(type(m).__name__, type(m).__name__) for m in spiking.features]
    assert [type(m).__name__ for m in network.features] == kinds


def test_dropout_is_off_at_inference_and_keeps_its_mask_over_time():
    spec = replace(small("plif-fang"), dropout=0.5)
    network = firing(spec)
    clips = torch.from_numpy(random_clips(spec, 2, 2))
    runs = []
    for _ in range(2):
        functional.reset_net(network)
        with torch.no_grad():
            runs.append(network(clips))
    assert torch.equal(*runs)
    drop = next(m for m in network.modules() if type(m).__name__ == "Dropout").train()
    dropped = drop(torch.ones(spec.steps, 2, 50)) == 0
    assert 0.2 < dropped.double().mean() < 0.8
    assert torch.equal(dropped, dropped[:1].expand_as(dropped))


@pytest.mark.parametrize(("size", "demo"), [(48, "demo"), (32, "demo-small")])
def test_small_presets_are_the_demo_with_the_row_s_own_difference(size, demo):
    assert replace(spec_by_name(f"0.4snn@{size}"), name=demo) == SPECS[demo]
    assert replace(spec_by_name(f"0.4snn@{size}-ann"), name=f"{demo}-ann") == SPECS[f"{demo}-ann"]
    for row in TABLE_I:
        spec = spec_by_name(f"{row.name}@{size}")
        assert (spec.size, spec.steps, spec.hidden) == (size, SPECS[demo].steps, SPECS[demo].hidden)
        kept = ("neuron", "threshold", "pool", "first_frame", "padding", "dropout", "voting")
        assert all(getattr(spec, field) == getattr(row, field) for field in kept)
        assert spec.feature_size >= 1
    assert len(spec_by_name(f"plif-fang@{size}").channels) == 5


@pytest.mark.parametrize("name", ["0.4snn-ann", "baseline@48-ann", "puresnn@32-ann"])
def test_a_twin_is_named_by_its_suffix(name):
    assert spec_by_name(name) == twin_of(spec_by_name(name.removesuffix("-ann")))


@pytest.mark.parametrize("name", ["fang", "0.4snn@64", "demo@48", "ann-ann", "tiny-ann-ann", "", "@48", "-ann"])
def test_a_name_that_stands_for_nothing_is_refused_with_the_list(name):
    with pytest.raises(InputError, match=r"E022.*plif-fang, ann, baseline") as caught:
        spec_by_name(name)
    assert caught.value.findings[0].fix


def test_puresnn_cannot_be_given_the_frame_that_it_omits():
    with pytest.raises(InputError, match=r"E028 puresnn: first frame 'float'.*\n.*--first-frame spikes"):
        spec_by_name("puresnn", first_frame="float")
    assert spec_by_name("puresnn", first_frame="spikes").first_frame == "spikes"
    with pytest.raises(InputError, match=r"E028 0\.4snn: events without the gray first frame"):
        spec_by_name("0.4snn", first_frame="spikes")


# --- specs from files -------------------------------------------------------------------------------------------

OLD = {  # written before padding and dropout existed
    "name": "demo",
    "size": 48,
    "steps": 16,
    "channels": [12, 16, 16],
    "hidden": 64,
    "classes": 2,
    "voting": 10,
    "neuron": "plif",
    "threshold": 0.4,
    "tau": 2.0,
    "pool": "average",
    "first_frame": "float",
}


def test_an_old_description_is_still_the_same_network():
    assert EmotionSpec.from_dict(OLD) == SPECS["demo"]
    assert [(key, tuple(value.shape)) for key, value in build_network(SPECS["demo"]).state_dict().items()][:8] == [
        ("features.0.weight", (12, 2, 3, 3)),
        ("features.1.weight", (12,)),
        ("features.1.bias", (12,)),
        ("features.1.running_mean", (12,)),
        ("features.1.running_var", (12,)),
        ("features.1.num_batches_tracked", ()),
        ("features.2.w", ()),
        ("features.4.weight", (16, 12, 3, 3)),
    ]


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_survives_its_file(name):
    assert EmotionSpec.from_dict(SPECS[name].to_dict()) == SPECS[name]


@pytest.mark.parametrize(
    ("entry", "code", "text"),
    [
        ({"size": "48"}, "E024", "size '48'"),
        ({"size": 0}, "E024", "a whole number from 1"),
        ({"steps": 2.5}, "E024", "steps 2.5"),
        ({"hidden": True}, "E024", "hidden True"),
        ({"channels": [0]}, "E024", "channels"),
        ({"channels": 3}, "E021", "not a network description"),
        ({"padding": -1}, "E024", "0, 1 or 2 pixels"),
        ({"padding": 3}, "E024", "0, 1 or 2 pixels"),
        ({"neuron": "izhikevich"}, "E024", "plif, lif, relu"),
        ({"pool": None}, "E024", "average, max"),
        ({"pool": []}, "E024", "average, max"),
        ({"first_frame": "gray"}, "E024", "float, spikes"),
        ({"threshold": 0.0}, "E024", "above 0"),
        ({"threshold": float("nan")}, "E024", "threshold nan"),
        ({"tau": 1.0}, "E024", "above 1"),
        ({"dropout": 1.0}, "E024", "from 0 to below 1"),
        ({"hidden": 10**12}, "E024", "weights"),
        ({"size": 10}, "E020", "limit 2 stages"),
        ({"colour": 1}, "E021", "colour"),
    ],
)
def test_a_damaged_description_is_an_input_error(entry, code, text):
    with pytest.raises(InputError, match=f"{code}.*{text}"):
        EmotionSpec.from_dict(OLD | entry)


def test_the_edges_of_every_field_are_accepted():
    edges = {"padding": 2, "dropout": 0.0, "threshold": 1e-3, "tau": 1.001, "hidden": 1, "voting": 1, "classes": 1}
    assert EmotionSpec.from_dict(OLD | edges | {"size": 8, "channels": [1, 1, 1], "steps": 1}).feature_size == 2
    assert EmotionSpec.from_dict(OLD | {"size": 22}).feature_size == 1


def test_all_wrong_fields_are_named_at_once():
    with pytest.raises(InputError) as caught:
        EmotionSpec.from_dict(OLD | {"padding": -1, "tau": 0, "pool": "median"})
    assert len(caught.value.findings) == 3


# --- training -----------------------------------------------------------------------------------------------------


def trained_run(name, folder):
    """Train a row of Table I for two epochs of two batches; return its folder, its history and its clips."""
    spec = small(name)
    path = small_store(folder / "clips.h5", spec.first_frame, clips=16, size=spec.size, steps=spec.steps)
    store = ClipStore.open(path)
    settings = TrainSettings(epochs=2, batch=4, engine=default_engine(spec))
    return folder / "run", loop.train(spec, store, folder / "run", settings), store


@pytest.mark.parametrize("name", [spec.name for spec in TABLE_I])
def test_each_network_trains_in_every_layer_and_is_scored(name, tmp_path):
    run, history, store = trained_run(name, tmp_path)
    network, description = load_model(run)
    spec = small(name)
    assert description.spec == spec
    assert [entry["step"] for entry in history] == [2, 4]
    torch.manual_seed(TrainSettings().seed)
    start, weights = build_network(spec).state_dict(), dict(network.named_parameters())
    untouched = [name for name, weight in weights.items() if torch.equal(weight, start[name])]
    # While the hidden layer is still silent, its spikes teach the voting neurons nothing.
    assert all(name.startswith("voting_neurons.") for name in untouched)
    found = evaluate(network, spec, store, store.indices("test"))
    assert found.votes.shape == (1 if name == "ann" else spec.steps, 4, 2)
    assert found.score.accuracy == (found.predicted == np.array([0, 1, 0, 1])).mean()


def test_the_trained_ann_is_refused_by_the_export(tmp_path):
    run, _, _ = trained_run("ann", tmp_path)
    with pytest.raises(InputError, match=r"E649.*an ANN: it has no spikes to export"):
        load_model_argument(str(run), ModelOptions())


# --- to the chip --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPIKING)
def test_network_reaches_the_chip_without_a_changed_spike(name):
    network, clips, result = compiled(name)
    model = model_spikes(network, clips, 33333.0)
    shown(model)
    stages = len(small(name).channels)
    assert len(model) == stages + 2
    ors = stages if small(name).pool == "max" else 0
    assert len(result.chip.layers) == stages + 2 + ors

    replay = run_graph(result.captured, clips, teacher=model)
    folded = run_graph(result.folded, clips)  # the OR layers have no counterpart in the model: run them once, free
    teacher = model | {name: spikes for name, spikes in folded.spikes.items() if name not in model}
    forced = run_graph(result.folded, clips, teacher=teacher)
    for run in (replay, forced):
        for layer, wanted in model.items():
            assert not ((run.spikes[layer] != wanted) & ~run.ties[layer]).any()

    chip = TARGET.simulate(result.chip, clips)
    shown(chip.spikes)
    assert list(chip.spikes) == list(folded.spikes)
    assert result.chip.first_frame == ("spikes" if name == "puresnn" else "float")
    assert (result.chip.payload == 1) == (name == "puresnn")


needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


@needs_lava
@pytest.mark.lava
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "plif-fang" else pytest.mark.slow) for name in SPIKING],
)
def test_lava_agrees_with_the_simulator_on_every_spike_of_a_trained_network(name, tmp_path):
    run, _, _ = trained_run(name, tmp_path)
    _, clips, result = compiled(name, load_model(run)[0])
    TARGET.write(result.chip, tmp_path / "model.net")
    judged = TARGET.judge(result.chip, tmp_path / "model.net", clips, timeout_s=300)
    ours = TARGET.simulate(result.chip, clips)
    shown(ours.spikes)
    assert list(judged.run.spikes) == list(ours.spikes)
    for layer, spikes in ours.spikes.items():
        np.testing.assert_array_equal(judged.run.spikes[layer], spikes)
