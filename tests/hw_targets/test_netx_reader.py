"""The netx reader against Lava's own reader: every constant of every layer."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hw_targets.loihi2 import lava
from hw_targets.loihi2.netx.reader import MESSAGE_MAX, open_netx
from hw_targets.loihi2.netx.weights import effective_weights, shifted_back
from tests.hw_targets.netx_constants import assert_same, of_chip, of_lava
from tests.hw_targets.netx_reader_parts import READABLE, SDNN, codes, conv, dense, image_in, opened

needs_lava = [
    pytest.mark.lava,
    pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`"),
]


LAVAS_OWN = Path(pytest.__file__).parent.parent / "tests/lava/lib/dl/netx"


def lavas_weights(matrices: list[np.ndarray]) -> tuple[list[np.ndarray], int]:
    from lava.lib.dl.netx.utils import optimize_weight_bits
    from lava.utils.weightutils import clip_weights, determine_sign_mode, truncate_weights

    with np.errstate(divide="ignore"):
        shared, bits, exponent, _ = optimize_weight_bits(np.hstack(matrices))
    fields, start = [], 0
    for matrix in matrices:
        weight = shared[:, start : start + matrix.shape[1]]
        start += matrix.shape[1]
        mode = determine_sign_mode(weight)
        fields.append(truncate_weights(clip_weights(weight, mode, num_bits=8), mode, bits))
    return fields, -exponent


def assert_lavas_weights(matrices: list[np.ndarray]) -> None:
    ours, shift = effective_weights(matrices)
    theirs, their_shift = lavas_weights(matrices)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine, other, err_msg=str(matrices))
    assert shift == their_shift or not any(matrix.any() for matrix in ours), matrices


@pytest.mark.parametrize("name", READABLE)
def test_what_is_readable_is_read_with_the_right_warnings(tmp_path, name):
    entries, warnings = READABLE[name]
    assert codes(opened(tmp_path, *entries)) == warnings


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs_lava) for name in READABLE])
def test_every_constant_is_lavas(tmp_path, name):
    file = opened(tmp_path, *READABLE[name][0])
    wanted, inputs = of_lava(tmp_path / "model.net")
    assert_same(of_chip(file.chip), wanted)
    assert inputs == np.prod(file.chip.layers[0].input_shape)


def test_numbers_by_hand(tmp_path):
    chip = opened(tmp_path, image_in(), conv(bias=np.arange(30).reshape(2, 5, 3))).chip
    layer = chip.layers[0]
    assert (layer.name, layer.kind, layer.input_shape, layer.output_shape) == ("layer0", "conv", (2, 5, 6), (3, 5, 2))
    assert (layer.stride, layer.padding, layer.dilation) == ((1, 2), (1, 0), (1, 1))
    assert layer.bias[2, 4, 1] == np.arange(30).reshape(2, 5, 3)[1, 4, 2]
    assert (layer.threshold, layer.voltage_decay, layer.current_decay) == (80, 1024, 4096)


def test_names_count_populations_and_messages_keep_their_size(tmp_path):
    head = dense(weight=np.eye(3, 30, dtype=int) - 2 * np.eye(3, 30, 1, dtype=int))
    entries = [image_in(neuron=SDNN), conv(), {"type": "flatten"}, head]
    chip = opened(tmp_path, *entries, first_frame="integers", payload=255).chip
    assert [layer.name for layer in chip.layers] == ["layer0", "layer1", "layer2"]
    assert [layer.kind for layer in chip.layers] == ["input", "conv", "dense"]
    assert [layer.payload for layer in chip.layers] == [255, MESSAGE_MAX, 1]


@pytest.mark.parametrize("name", ["whole", "the first two entries"])
def test_an_average_at_the_end_is_a_readout(tmp_path, name):
    entries = [dense(), {"type": "average", "shape": [3, 1, 1]}] if name == "whole" else [dense(), {"type": "average"}]
    file = opened(tmp_path, *entries, layers=None if name == "whole" else 1)
    assert (file.readout, file.chip.voting, codes(file)) == ((3, 1, ["W246"]) if name == "whole" else (None, 1, []))


def test_consecutive_neurons_vote_together(tmp_path):
    weight = np.tile(dense()["weight"], (4, 1))
    file = opened(tmp_path, dense(shape=[12], weight=weight), {"type": "average", "shape": [3, 1, 1]})
    assert file.chip.voting == 4


@pytest.mark.parametrize(
    ("name", "layers", "neurons"),
    [
        ("mnist.net", None, 784 + 512 + 512 + 10),
        ("tiny.net", None, 3 * 256 + 24 * 36 + 36),
        ("gts/ntidigits/ntidigits.net", 5, 256 + 256 + 242),
        ("gts/pilotnet_lif/network.net", None, 39600 + 76032 + 26460 + 8064 + 5632 + 2560 + 161),
        ("gts/pilotnet_sdnn/network.net", None, 9900 + 18816 + 6048 + 5632 + 2560 + 161),
        ("gts/pilotnet_sdnn/square_network.net", None, 12455),
    ],
)
@pytest.mark.lava
def test_lava_dls_own_networks(name, layers, neurons):
    if not (LAVAS_OWN / name).exists():
        pytest.skip("lava-dl's tests are not installed")
    file = open_netx(LAVAS_OWN / name, steps=4, layers=layers)
    assert sum(layer.neurons for layer in file.chip.layers) == neurons
    assert_same(of_chip(file.chip), of_lava(LAVAS_OWN / name, layers)[0])


# -- dense weights ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "held"),  # measured in Lava
    [
        ([3, -5], [3, -5]),
        ([127, -128], [127, -128]),
        ([254, -256], [254, -256]),
        ([255, -3], [254, -3]),
        ([300, -300], [254, -256]),
        ([255, 0], [255, 0]),
        ([256, 1], [0, 0]),
        ([-255, -1], [-255, -1]),
        ([-128, -64], [-64, -64]),
        ([-128, -128], [0, 0]),
        ([0, -182], [0, -182]),
        ([0, -181], [0, 0]),
        ([0, -128], [0, -64]),
        ([0, -100], [0, -100]),
    ],
)
def test_effective_weights_by_measurement(file, held):
    matrices, exponent = shifted_back(*effective_weights([np.array([file])]))
    assert (matrices[0].tolist(), exponent) == ([held], 0)


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_effective_weights_of_pairs_are_lavas(capsys):
    edge = [-70000, -257, -256, -255, -200, -128, -127, -64, -3, -2, -1, 0, 1, 2, 3, 64, 127, 128, 254, 255, 256, 9999]
    for low, high in product(edge, edge):
        if low or high:
            assert_lavas_weights([np.array([[low, high]])])
            assert_lavas_weights([np.array([[low]]), np.array([[high]])])
    capsys.readouterr()


@pytest.mark.lava
@pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_effective_weights_of_random_matrices_are_lavas(capsys):
    random = np.random.default_rng(3)
    for _ in range(1500):
        low, high = np.sort(random.integers(-300, 301, 2) // random.choice([1, 2, 8, 40]))
        step = int(random.choice([1, 1, 2, 4, 32]))
        shapes = [(3, int(random.integers(1, 5))) for _ in range(random.integers(1, 3))]
        matrices = [random.integers(low, high + 1, shape) * step for shape in shapes]
        if len(matrices) > 1 and random.random() < 0.5:
            matrices[1] = -np.abs(matrices[1])
        if any(matrix.any() for matrix in matrices):
            assert_lavas_weights(matrices)
    capsys.readouterr()
