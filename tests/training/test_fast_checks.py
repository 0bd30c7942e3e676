"""What the fused engine refuses, by name, and what just passes."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from hw_targets.finding import InputError, UnsupportedError
from neuroemo.imports import import_quietly
from neuroemo.models.emotion import build_network, twin_of
from neuroemo.training.fast import fast_network
from tests.training.fast_support import SMALL, random_clips

layer = import_quietly("spikingjelly.activation_based.layer")
neuron = import_quietly("spikingjelly.activation_based.neuron")
surrogate = import_quietly("spikingjelly.activation_based.surrogate")


def refused(network, spec=SMALL):
    with pytest.raises(UnsupportedError) as caught:
        fast_network(network, spec)
    return [str(finding) for finding in caught.value.findings]


def test_an_ann_is_refused():
    twin = twin_of(SMALL)
    (said,) = refused(build_network(twin), twin)
    assert said.startswith("E915 small-ann: an ANN (neuron 'relu'); limit a spiking network")


def test_other_types_of_number_are_refused_and_every_tensor_is_named():
    network = build_network(SMALL)
    network.features[5].double()
    assert [line.splitlines()[0] for line in refused(network)] == [
        f"E916 features.5.{name}: float64; limit float32" for name in ("weight", "bias", "running_mean", "running_var")
    ]


def test_another_device_is_refused_with_what_to_do():
    network = build_network(SMALL)
    network.features[0].to("meta")
    (said,) = refused(network)
    assert said.startswith("E916 features.0.weight: on meta; limit the processor (cpu)")
    assert "cupy or triton backend" in said


def set_on(path, **settings):
    def change(network):
        for name, value in settings.items():
            setattr(network.get_submodule(path), name, value)

    return change


def put(path, module):
    def change(network):
        parent, _, own = path.rpartition(".")
        setattr(network.get_submodule(parent), own, module)

    return change


CHANGES = {
    "stride": (
        set_on("features.0", stride=(2, 2)),
        r"E917 features.0: Conv2d with stride \(2, 2\); limit stride \(1, 1\)",
    ),
    "groups": (set_on("features.4", groups=2), "E917 features.4: Conv2d with groups 2; limit groups 1"),
    "bias": (
        set_on("features.0", bias=nn.Parameter(torch.zeros(4))),
        "E917 features.0: Conv2d with bias Parameter; limit bias None",
    ),
    "circular padding": (
        set_on("features.0", padding_mode="circular"),
        "E917 features.0: Conv2d with padding_mode 'circular'; limit padding_mode 'zeros'",
    ),
    "single step": (set_on("features.1", step_mode="s"), "E917 features.1: BatchNorm2d with step_mode 's'"),
    "threshold": (
        set_on("features.2", v_threshold=0.7),
        "E917 features.2: ParametricLIFNode with v_threshold 0.7; limit v_threshold 0.4",
    ),
    "soft reset": (set_on("features.2", v_reset=None), "E917 features.2: ParametricLIFNode with v_reset None"),
    "reset gradient": (set_on("features.6", detach_reset=False), "E917 features.6: .* detach_reset False"),
    "undecayed input": (set_on("features.6", decay_input=False), "E917 features.6: .* decay_input False"),
    "stored potentials": (set_on("features.6", store_v_seq=True), "E917 features.6: .* store_v_seq True"),
    "another surrogate": (
        set_on("features.2", surrogate_function=surrogate.Sigmoid()),
        r"E917 features.2: .* surrogate_function Sigmoid",
    ),
    "smooth surrogate": (
        set_on("features.2", surrogate_function=surrogate.ATan(spiking=False)),
        r"E917 features.2.surrogate_function: ATan with spiking False; limit spiking True",
    ),
    "pool of three": (set_on("features.3", kernel_size=3), r"E917 features.3: AvgPool2d with kernel_size 3"),
    "ceil": (set_on("features.3", ceil_mode=True), "E917 features.3: AvgPool2d with ceil_mode True"),
    "another pool": (
        put("features.3", layer.MaxPool2d(2, step_mode="m")),
        "E917 features.3: MaxPool2d; limit AvgPool2d",
    ),
    "another neuron": (
        put("voting_neurons.1", neuron.IFNode(step_mode="m")),
        "E917 voting_neurons.1: IFNode; limit ParametricLIFNode",
    ),
    "a layer more": (
        lambda network: network.voting_neurons.append(nn.ReLU()),
        "E917 voting_neurons.2: ReLU; limit no layer",
    ),
    "a layer less": (
        lambda network: network.voting_neurons.pop(1),
        "E917 voting_neurons.1: no layer; limit ParametricLIFNode",
    ),
    "a hook": (
        lambda network: network.features[2].register_forward_hook(lambda *_: None),
        "E917 features.2: a hook, which the fused passes would not call",
    ),
}


@pytest.mark.parametrize(("change", "wanted"), CHANGES.values(), ids=CHANGES.keys())
def test_an_unknown_layer_is_refused_by_name(change, wanted):
    network = build_network(replace(SMALL, threshold=0.4))
    fast_network(network, SMALL)
    change(network)
    said = refused(network)
    assert len(said) == 1
    assert re.match(wanted, said[0]), said
    assert "engine spikingjelly" in said[0]


def test_all_that_is_wrong_is_said_at_once():
    network = build_network(SMALL)
    network.features[0].stride = (2, 2)
    network.features[2].v_threshold = 2.0
    network.features[1].double()
    assert len(refused(network)) == 6


@pytest.mark.parametrize(
    ("clips", "found"),
    [
        (torch.zeros(7, 1, 2, 20, 19), "float32 [7, 1, 2, 20, 19]"),
        (torch.zeros(7, 2, 20, 20), "float32 [7, 2, 20, 20]"),
        (torch.zeros(0, 1, 2, 20, 20), "float32 [0, 1, 2, 20, 20]"),
        (torch.zeros(7, 1, 2, 20, 20, dtype=torch.uint8), "uint8 [7, 1, 2, 20, 20]"),
    ],
)
def test_clips_of_another_shape_or_type_are_refused(clips, found):
    with pytest.raises(InputError, match=re.escape(f"E918 small: clips {found}; limit float32 [steps, clips, 2, 20,")):
        fast_network(build_network(SMALL), SMALL)(clips)


def test_gradients_of_the_clips_and_mixed_precision_are_refused():
    fast = fast_network(build_network(SMALL), SMALL)
    clips = random_clips(SMALL, 1).requires_grad_()
    with pytest.raises(UnsupportedError, match="E919 the clips: a gradient of the clips is wanted"):
        fast(clips)
    with torch.no_grad():
        fast(clips)
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(UnsupportedError, match=r"E919 .*mixed precision"):
        fast(clips.detach())


def test_another_number_of_steps_just_passes():
    assert fast_network(build_network(SMALL), SMALL)(random_clips(SMALL, 2)[:3]).shape == (3, 2, 2)
