"""The share of synaptic operations: equal to the operation counter's, and going down when it is in the loss."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.models.emotion import build_network, spec_by_name
from neuroemo.profiling.counting.counter import count_operations
from neuroemo.training.checkpoint import load_model
from neuroemo.training.engine import default_engine
from neuroemo.training.evaluation import forward
from neuroemo.training.loop import TrainSettings, train
from neuroemo.training.penalty import OperationsPenalty
from tests.training.fake_store import FakeStore

torch.set_num_threads(1)


def network_of(**changes):
    """A small network that spikes in every layer, normalising with its running statistics."""
    torch.manual_seed(3)
    spec = replace(spec_by_name("tiny"), threshold=0.2, first_frame="spikes", **changes)
    network = build_network(spec).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
            torch.nn.init.uniform_(module.weight, 1.0, 3.0)
    return spec, network


def clips_of(spec, clips=3):
    rng = np.random.default_rng(5)
    return torch.from_numpy((rng.random((spec.steps, clips, 2, spec.size, spec.size)) < 0.2).astype(np.float32))


@pytest.mark.parametrize("layers", [{"stride": 2, "pool": "none"}, {"pool": "max"}, {"pool_place": "before neuron"}])
def test_it_is_the_share_that_the_operation_counter_counts(layers):
    spec, network = network_of(**layers)
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    forward(network, spec, clips)
    share = float(penalty.share())
    penalty.close()
    later = list(count_operations(network, [clips]).layers.values())[1:]
    assert all(layer.macs == 0 for layer in later)
    caused, dense = sum(layer.acs for layer in later), sum(layer.dense_macs for layer in later)
    assert 0.001 < share < 1
    assert share == pytest.approx(caused / dense, rel=1e-5)


def test_a_spike_behind_an_average_pool_is_charged_as_deployed():
    spec, network = network_of(channels=(3,), hidden=5, size=9, steps=4)
    seen = []
    neuron = next(module for module in network.modules() if hasattr(module, "v_threshold"))
    neuron.register_forward_hook(lambda module, inputs, spikes: seen.append(spikes.detach().clone()))
    hidden = []
    list(network.features)[-1].register_forward_hook(lambda module, inputs, spikes: hidden.append(spikes.detach()))
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    forward(network, spec, clips)
    spikes = seen[0][..., :6, :6]  # 7x7 neurons, of which the pool reads 6x6, each in one window
    caused = float(spikes.sum()) * 5 + float(hidden[0].sum()) * 20
    dense = clips.shape[0] * clips.shape[1] * (3 * 6 * 6 * 5 + 5 * 20)
    assert caused > 0
    assert float(penalty.share()) == pytest.approx(caused / dense, rel=1e-5)


def test_its_gradient_lowers_the_firing_rate():
    spec, network = network_of(stride=2, pool="none")
    clips = clips_of(spec)
    penalty = OperationsPenalty(network)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    shares = []
    for _ in range(8):
        forward(network, spec, clips)
        share = penalty.share()
        optimiser.zero_grad()
        share.backward()
        optimiser.step()
        shares.append(float(share.detach()))
    assert shares[-1] < 0.7 * shares[0]


def test_clips_that_are_only_looked_at_do_not_count():
    spec, network = network_of(stride=2, pool="none")
    penalty = OperationsPenalty(network)
    network.eval()
    with torch.no_grad():
        network(clips_of(spec))
    with pytest.raises(RuntimeError, match="no clip"):
        penalty.share()


def test_dropout_is_refused_by_name():
    _, network = network_of(dropout=0.5)
    with pytest.raises(UnsupportedError) as caught:
        OperationsPenalty(network)
    assert [finding.code for finding in caught.value.findings] == ["E909", "E909"]
    assert not any(module._forward_pre_hooks for module in network.modules())


def shares_of(network, spec, clips):
    layers = list(count_operations(network, [torch.from_numpy(clips)]).layers.values())[1:]
    return sum(layer.acs for layer in layers) / sum(layer.dense_macs for layer in layers)


def test_a_run_that_pays_for_operations_needs_fewer(tmp_path):
    store = FakeStore()
    spec = replace(spec_by_name("tiny"), stride=2, pool="none")
    found = []
    for weight in (0.0, 3.0):
        train(spec, store, tmp_path / str(weight), TrainSettings(epochs=6, operations_penalty=weight))
        network, _ = load_model(tmp_path / str(weight))
        found.append(shares_of(network, spec, store.batch(store.indices("test"))))
    assert 0 < found[1] < 0.8 * found[0]


def test_the_loss_is_the_error_plus_the_price_of_the_share(tmp_path):
    store = FakeStore()
    spec = replace(spec_by_name("tiny"), stride=2, pool="none")
    once = {"epochs": 1, "batch": 99, "augment": False}
    free = train(spec, store, tmp_path / "free", TrainSettings(**once))[0]["loss"]
    paid = train(spec, store, tmp_path / "paid", TrainSettings(**once, operations_penalty=2.0))[0]["loss"]
    torch.manual_seed(0)
    network = build_network(spec).train()
    penalty = OperationsPenalty(network)
    order = np.random.default_rng(0).permutation(store.indices("train"))
    forward(network, spec, torch.from_numpy(store.batch(order)))
    assert paid - free == pytest.approx(2 * float(penalty.share()), rel=1e-4)


def test_the_warm_up_is_free_and_the_epoch_after_it_pays(tmp_path):
    store = FakeStore()
    spec = replace(spec_by_name("tiny"), stride=2, pool="none")
    both = {"epochs": 2, "batch": 99, "augment": False, "schedule": "constant"}
    free = train(spec, store, tmp_path / "free", TrainSettings(**both))
    paid = TrainSettings(**both, operations_penalty=2.0, penalty_warmup=1)
    late = train(spec, store, tmp_path / "late", paid)
    assert late[0]["loss"] == free[0]["loss"]
    assert late[0]["gradient_norm"] == free[0]["gradient_norm"]
    assert late[1]["loss"] > 1.05 * free[1]["loss"]
    assert late[1]["gradient_norm"] != free[1]["gradient_norm"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"penalty_warmup": 3}, "E901"),
        ({"penalty_warmup": 12, "operations_penalty": 0.1}, "E901"),
        ({"penalty_warmup": -1, "operations_penalty": 0.1}, "E900"),
        ({"penalty_warmup": 1.5, "operations_penalty": 0.1}, "E900"),
    ],
)
def test_a_warm_up_that_means_nothing_is_refused(changes, code):
    with pytest.raises(InputError) as caught:
        TrainSettings(**changes)
    assert [(finding.code, finding.node) for finding in caught.value.findings] == [(code, "penalty_warmup")]
    assert TrainSettings(penalty_warmup=11, operations_penalty=0.1).penalty_warmup == 11


@pytest.mark.parametrize(
    ("weight", "engine", "code"),
    [(0.5, "fused", "E901"), (-0.1, "spikingjelly", "E900"), (math.nan, "spikingjelly", "E900")],
)
def test_settings_that_mean_nothing_are_refused(weight, engine, code):
    with pytest.raises(InputError) as caught:
        TrainSettings(operations_penalty=weight, engine=engine)
    assert [(finding.code, finding.node) for finding in caught.value.findings] == [(code, "operations_penalty")]


def test_an_ann_has_no_spikes_to_pay_for(tmp_path):
    with pytest.raises(InputError, match="which has no spikes"):
        train(spec_by_name("tiny-ann"), FakeStore(), tmp_path, TrainSettings(operations_penalty=0.5))


def test_the_default_engine_shows_its_spikes():
    spec = spec_by_name("0.4snn@32")
    assert default_engine(spec) == "fused"
    assert default_engine(spec, operations_penalty=0.1) == "spikingjelly"
    assert default_engine(replace(spec, stride=2, pool="none")) == "spikingjelly"
