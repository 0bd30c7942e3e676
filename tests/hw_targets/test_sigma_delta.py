"""Sigma-delta neurons against Python integers, one neuron at a time, and against Lava's own models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hw_targets.loihi2.lava import lava_available
from hw_targets.loihi2.simulation.sigma_delta import (
    Overflow,
    SigmaDeltaNeurons,
    SigmaDeltaState,
    run_sigma_delta,
)
from tests.hw_targets.lava_in_process import import_lava

KINDS = ["delta", "sigma_delta", "sigma"]


def literal(kind: str, sums: list[int], threshold: int, bias: int, exponent: int) -> tuple[list[int], ...]:
    """One neuron in Python integers: messages, sigma and act of every step, and the residue at the end."""
    sigma = act = residue = 0
    messages, sigmas, acts = [], [], []
    for received in sums:
        if kind == "delta":
            new = received * 2**exponent * 64
        else:
            sigma += received
            new = max(0, sigma + bias * 2**exponent * 64)
        if kind == "sigma":
            messages.append(sigma)
        else:
            delta = new - act + residue
            sent = delta if abs(delta) >= threshold * 2**exponent * 64 else 0
            residue, act = delta - sent, new
            messages.append(sent // 64)
        sigmas.append(sigma)
        acts.append(act)
    return messages, sigmas, acts, [residue]


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("threshold", "exponent"), [(3, 0), (2, 6), (0, 3), (-1, 2), (40, 1)])
def test_every_neuron_equals_python_integers(kind, threshold, exponent, dtype):
    rng = np.random.default_rng([threshold + 1, exponent])
    steps, samples, size = 9, 2, 515  # one block of neurons and a bit
    sums = rng.integers(-6000, 6001, (steps, samples, size)) // (1 if kind != "delta" else 100)
    bias = rng.integers(-20, 21, size) if kind == "sigma_delta" else None
    neurons = SigmaDeltaNeurons(kind, size, threshold=threshold, bias=bias, spike_exponent=exponent)
    state = SigmaDeltaState.zeros(samples, size)
    current, membrane = (np.full(sums.shape, 77, dtype=np.int32) for _ in range(2))
    messages, overflow = run_sigma_delta(neurons, sums.astype(dtype), state, current=current, membrane=membrane)
    assert overflow is None
    assert messages.any()
    for n, m in np.ndindex(samples, size):
        wanted, sigma, act, residue = literal(
            kind, sums[:, n, m].tolist(), threshold, 0 if bias is None else int(bias[m]), exponent
        )
        assert messages[:, n, m].tolist() == wanted
        assert current[:, n, m].tolist() == sigma
        assert membrane[:, n, m].tolist() == act
        assert [state.sigma[n, m], state.act[n, m], state.residue[n, m]] == [sigma[-1], act[-1], *residue]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clip_may_be_cut_into_chunks(kind):
    rng = np.random.default_rng(3)
    sums = rng.integers(-900, 901, (11, 3, 40)).astype(np.float32)
    neurons = SigmaDeltaNeurons(kind, 40, threshold=4, bias=np.arange(40) - 20, spike_exponent=1)
    whole, _ = run_sigma_delta(neurons, sums, SigmaDeltaState.zeros(3, 40))
    state = SigmaDeltaState.zeros(3, 40)
    parts = [run_sigma_delta(neurons, sums[a:b], state)[0] for a, b in [(0, 1), (1, 7), (7, 7), (7, 11)]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert np.count_nonzero(whole) > 100


def first_overflow(kind: str, values: list[int], **changes) -> Overflow | None:
    neurons = replace(SigmaDeltaNeurons(kind, 1, threshold=1), **changes)
    sums = np.array(values, dtype=np.float64).reshape(-1, 1, 1)
    return run_sigma_delta(neurons, sums, SigmaDeltaState.zeros(1, 1))[1]


def test_an_input_that_leaves_32_bits_is_found_and_the_largest_that_fits_is_not():
    assert first_overflow("delta", [2**19 - 1, 0]) is None
    assert first_overflow("delta", [0, 2**19]) == Overflow("act", 1, 0, 0, 2**31)
    assert first_overflow("delta", [-(2**19)]) == Overflow("act", 0, 0, 0, -(2**31))
    # Each act fits, but not the change from one to the next: -2^31 has no magnitude in 32 bits.
    assert first_overflow("delta", [2**18, -(2**18) + 1]) is None
    assert first_overflow("delta", [2**18, -(2**18)]) == Overflow("delta", 1, 0, 0, -(2**31))


def test_a_sum_that_leaves_32_bits_is_found_and_the_largest_that_fits_is_not():
    assert first_overflow("sigma", [2**30, 2**30 - 1]) is None
    assert first_overflow("sigma", [2**30, 2**30]) == Overflow("sigma", 1, 0, 0, 2**31)
    assert first_overflow("sigma_delta", [-(2**30), -(2**30) + 1]) is None
    assert first_overflow("sigma_delta", [-(2**30), -(2**30)]) == Overflow("sigma", 1, 0, 0, -(2**31))
    assert first_overflow("sigma_delta", [2**31 - 4097], bias=np.array([1])) is None
    assert first_overflow("sigma_delta", [2**31 - 4096], bias=np.array([1])) == Overflow("act", 0, 0, 0, 2**31)


def test_a_constant_that_leaves_32_bits_is_found():
    assert first_overflow("sigma_delta", [0], bias=np.array([2**19 - 1])) is None
    assert first_overflow("sigma_delta", [0], bias=np.array([-(2**19)])) == Overflow("bias", -1, 0, 0, -(2**31))
    assert first_overflow("delta", [0], threshold=2**19 - 1) is None
    assert first_overflow("delta", [0], threshold=2**19) == Overflow("threshold", -1, 0, 0, 2**31)


def test_the_earliest_overflow_is_named_whatever_block_and_sample_it_is_in():
    sums = np.zeros((6, 3, 1400))
    sums[4, 0, 3] = sums[2, 1, 1300] = sums[2, 2, 5] = sums[3, 2, 4] = 2**31
    neurons = SigmaDeltaNeurons("sigma", 1400)
    assert run_sigma_delta(neurons, sums, SigmaDeltaState.zeros(3, 1400))[1] == Overflow("sigma", 2, 1, 1300, 2**31)


class LavaProcess:
    """One of Lava's own fixed-point models, its variables set up from its process as Lava's builder does it."""

    def __init__(self, process: object, model: type) -> None:
        self.model = model(process.proc_params)
        self.received: list[np.ndarray] = []
        self.sent: list[np.ndarray] = []
        for var in process.vars:
            kind = getattr(model, var.name)
            value = var.init
            if kind.cls is np.ndarray:
                value = np.ndarray(var.shape, kind.d_type)
                value[:] = var.init
            setattr(self.model, var.name, value)
        for port in [*process.in_ports, *process.out_ports]:
            setattr(self.model, port.name, self)

    def recv(self) -> np.ndarray:
        return self.received.pop(0)

    def send(self, data: np.ndarray) -> None:
        self.sent.append(np.array(data).astype(np.int32))  # the channel between two processes holds 32 bits

    def step(self, received: np.ndarray) -> np.ndarray:
        self.received.append(received.astype(np.int32))
        self.model.run_spk()
        return self.sent[-1]


def lava_neurons(kind: str, size: int, **constants) -> LavaProcess:
    import_lava()
    from lava.proc.sdn import models, process

    make, model = {
        "delta": (process.Delta, models.PyDeltaModelFixed),
        "sigma_delta": (process.SigmaDelta, models.PySigmaDeltaModelFixed),
        "sigma": (process.Sigma, models.PySigmaModelFixed),
    }[kind]
    return LavaProcess(make(shape=(size,), **constants), model)


@pytest.mark.lava
@pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(8))
def test_equals_lavas_models(kind, seed):
    rng = np.random.default_rng(seed)
    size, exponent, threshold = 30, int(rng.integers(0, 8)), int(rng.integers(0, 30))
    bias = rng.integers(-100, 101, size).astype(np.int32) if kind == "sigma_delta" else None
    scale = 60 if kind == "delta" else 60 << (exponent + 6)
    sums = rng.integers(-scale, scale + 1, (20, 1, size)) * (rng.random((20, 1, size)) < 0.5)
    neurons = SigmaDeltaNeurons(kind, size, threshold=threshold, bias=bias, spike_exponent=exponent)
    state = SigmaDeltaState.zeros(1, size)
    messages, overflow = run_sigma_delta(neurons, sums.astype(np.float64), state)
    constants = {} if kind == "sigma" else {"vth": threshold, "spike_exp": exponent, "state_exp": 6}
    judge = lava_neurons(kind, size, **constants, **({} if bias is None else {"bias": bias}))
    theirs = [judge.step(frame) for frame in sums[:, 0]]
    assert overflow is None
    assert messages.any()
    np.testing.assert_array_equal(messages[:, 0], theirs)
    np.testing.assert_array_equal(state.sigma[0], judge.model.sigma)
    if kind != "sigma":
        np.testing.assert_array_equal(state.act[0], judge.model.act)
        np.testing.assert_array_equal(state.residue[0], judge.model.residue)


@pytest.mark.lava
@pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
@pytest.mark.parametrize(
    ("kind", "fits", "too_large"),
    [
        ("delta", [2**19 - 1, 0], [2**19, 0]),
        ("delta", [2**18, 1 - 2**18], [2**18, -(2**18)]),
        ("sigma", [2**30, 2**30 - 1], [2**30, 2**30]),
        ("sigma_delta", [2**30, 2**30 - 1], [2**30, 2**30]),
    ],
)
def test_lava_wraps_from_exactly_there_on(kind, fits, too_large):
    constants = {} if kind == "sigma" else {"vth": 1, "spike_exp": 6, "state_exp": 6}
    for values, equal in ((fits, True), (too_large, False)):
        judge = lava_neurons(kind, 1, **constants)
        theirs = [int(judge.step(np.array([value]))[0]) for value in values]
        assert (theirs == literal(kind, values, 1, 0, 6)[0]) == equal
        assert (first_overflow(kind, values) is None) == equal


def sigma_delta_file(path, weights: list[np.ndarray], bias: np.ndarray, thresholds: list[int]) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        for index, size in enumerate([weights[0].shape[1], *(len(weight) for weight in weights)]):
            layer = file.create_group(f"layer/{index}")
            layer["type"] = np.bytes_("dense" if index else "input")
            layer["shape"] = np.array([size])
            layer["neuron/type"] = np.bytes_("SDNN")
            layer["neuron/vThMant"] = np.int64(thresholds[index])
            if index:
                layer["weight"] = weights[index - 1]
        file["layer/1/bias"] = bias
        file["layer/2/neuron/sigma_output"] = np.int64(1)


@pytest.mark.lava
@pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
def test_a_netx_file_of_three_layers_has_the_constants_and_messages_stated_here(tmp_path):
    import_lava()
    from lava.lib.dl import netx
    from lava.proc.dense.models import PyDenseModelBitAcc
    from lava.proc.sdn import models

    rng = np.random.default_rng(5)
    weights = [rng.integers(-100, 101, (6, 5)), rng.integers(-100, 101, (4, 6))]
    bias = rng.integers(-30, 31, 6)
    sigma_delta_file(tmp_path / "sdnn.net", weights, bias, [3, 20, 9])
    net = netx.hdf5.Network(net_config=str(tmp_path / "sdnn.net"))
    kinds = [models.PyDeltaModelFixed, models.PySigmaDeltaModelFixed, models.PySigmaModelFixed]
    judges = [LavaProcess(layer.neuron, kind) for layer, kind in zip(net.layers, kinds, strict=True)]
    synapses = [LavaProcess(layer.synapse, PyDenseModelBitAcc) for layer in net.layers[1:]]
    assert not judges[1].model.cum_error
    inputs = rng.integers(-40, 41, (25, 1, 5))
    for frame in inputs[:, 0]:
        message = judges[0].step(frame)
        for synapse, judge in zip(synapses, judges[1:], strict=True):
            message = judge.step(synapse.step(message))
    neurons = [
        SigmaDeltaNeurons("delta", 5, threshold=3),
        SigmaDeltaNeurons("sigma_delta", 6, threshold=20, bias=bias),
        SigmaDeltaNeurons("sigma", 4),
    ]
    value = inputs.astype(np.float64)
    for index, population in enumerate(neurons):
        if index:  # in Lava's clock a synapse hands its sum on one step later
            value = np.concatenate([np.zeros_like(value[:1]), value[:-1]]) @ weights[index - 1].T
        value, overflow = run_sigma_delta(population, value, SigmaDeltaState.zeros(1, population.neurons))
        assert overflow is None
        assert np.count_nonzero(value) > 10
        np.testing.assert_array_equal(value[:, 0], judges[index].sent)
    net.net_config.f.close()
