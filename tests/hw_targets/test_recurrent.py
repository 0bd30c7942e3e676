"""Recurrent layers against Python integers, and against Lava's own models wired as netx wires them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hw_targets.loihi2.lava import lava_available
from hw_targets.loihi2.simulation.delays import DelayedDense
from hw_targets.loihi2.simulation.recurrent import (
    LifConstants,
    Recurrence,
    Traces,
    run_recurrent_lif,
    run_recurrent_sigma_delta,
)
from hw_targets.loihi2.simulation.sigma_delta import (
    Overflow,
    SigmaDeltaNeurons,
    SigmaDeltaState,
    run_sigma_delta,
)
from tests.hw_targets.lava_in_process import import_lava
from tests.hw_targets.test_sigma_delta import LavaProcess

lava_only = pytest.mark.skipif(not lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")


def wrap32(value: int) -> int:
    return (value + 2**31) % 2**32 - 2**31


def toward_zero(value: int, keep: int) -> int:
    return (abs(value) * keep >> 12) * (1 if value >= 0 else -1)


def literal_lif(a: int, u: int, v: int, bias: int, du: int, dv: int, threshold: int) -> tuple[int, int, int]:
    """One step of one neuron: u, v before the reset, spike."""
    u = wrap32(toward_zero(u, 4096 - du) + wrap32(a << 6))
    u = u - 2**24 if u > 2**23 else u + 2**24 if u <= -(2**23) else u
    v = wrap32(toward_zero(v, 4096 - dv) + u + (bias << 6))
    v = max(-(2**23) + 1, min(2**23 - 1, v))
    return u, v, int(v > threshold << 6)


def late_sum(weight: np.ndarray, delay: np.ndarray, sent: list[list[int]], i: int, exponent: int) -> int:
    """What neuron i gets at the step after the last one of ``sent``."""
    total = 0
    for j in range(len(weight)):
        step = len(sent) - 1 - int(delay[i, j])
        if step >= 0:
            total += int(weight[i, j]) * sent[step][j]
    return total << exponent if exponent >= 0 else total >> -exponent


def lif_case(rng: np.random.Generator, size: int, spread: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    weight = rng.integers(-90, 91, (size, size))
    constants = {
        "bias": rng.integers(-20, 21, size),
        "current_decay": rng.choice([0, 1000, 4095, 4096], size),
        "voltage_decay": rng.choice([0, 300, 2048, 4096], size),
        "threshold": rng.integers(1, 300, size),
    }
    return weight, constants, rng.integers(-spread, spread + 1, (14, 2, size))


@pytest.mark.parametrize("spread", [200, 2**20, 2**26])
@pytest.mark.parametrize("kind", ["plain", "delayed", "shifted", "raised", "wide"])
def test_lif_neurons_equal_python_integers(kind, spread):
    rng = np.random.default_rng(spread)
    size = 12
    weight, constants, sums = lif_case(rng, size, spread)
    delay = rng.integers(0, 5, (size, size)) if kind == "delayed" else np.zeros((size, size), int)
    exponent = {"shifted": -2, "raised": 1}.get(kind, 0)
    recurrence = Recurrence(
        weight,
        delay=delay if kind == "delayed" else None,
        weight_exponent=exponent,
        payload=None if kind == "wide" else 1,
    )
    assert recurrence.dtype == (np.int64 if kind == "wide" else np.int32)
    u, v = np.zeros((2, 2, size), dtype=np.int32)
    pending, traces = recurrence.pending(2), Traces.of(sums.shape)
    counts = np.zeros(sums.shape[:2], dtype=np.int64)
    spikes, largest = run_recurrent_lif(
        sums, recurrence, LifConstants.spread(size, **constants), u, v, pending, counts=counts, traces=traces
    )
    sent: list[list[list[int]]] = [[], []]
    currents, potentials, drives = ([[0] * size for _ in range(2)] for _ in range(3))
    for t, n in np.ndindex(*sums.shape[:2]):
        fired = []
        for i in range(size):
            a = int(sums[t, n, i]) + late_sum(weight, delay, sent[n], i, exponent)
            each = (int(value[i]) for value in constants.values())
            currents[n][i], before, spike = literal_lif(a, currents[n][i], potentials[n][i], *each)
            potentials[n][i] = 0 if spike else before
            fired.append(spike)
            drives[n][i] = max(drives[n][i], abs(a))
            assert [a, currents[n][i], before] == [
                traces.drive[t, n, i],
                traces.current[t, n, i],
                traces.membrane[t, n, i],
            ]
        assert spikes[t, n].tolist() == fired
        assert counts[t, n] == sum(fired)
        sent[n].append(fired)
    assert u.tolist() == currents
    assert v.tolist() == potentials
    assert largest == max(map(max, drives))
    assert 0.05 < spikes.mean() < 0.95


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("memory", [False, True])
def test_the_faster_kernel_and_chunks_give_the_same(delayed, memory):
    rng = np.random.default_rng(7)
    weight, values, sums = lif_case(rng, 20, 300)
    values["current_decay"] = np.where(memory, values["current_decay"], 4096)
    constants = LifConstants.spread(20, **values)
    recurrence = Recurrence(weight, delay=rng.integers(0, 63, weight.shape) if delayed else None, payload=1)
    results = []
    for bounded, cuts in ((False, [0, 14]), (True, [0, 14]), (True, [0, 1, 1, 9, 14]), (False, [0, 5, 14])):
        u, v = np.zeros((2, 2, 20), dtype=np.int32)
        pending, counts = recurrence.pending(2), np.zeros((14, 2), dtype=np.int64)
        parts = [
            run_recurrent_lif(
                sums[a:b].astype(np.float32), recurrence, constants, u, v, pending, counts=counts[a:b], bounded=bounded
            )[0]
            for a, b in pairwise(cuts)
        ]
        results.append([np.concatenate(parts), u, v, pending, counts])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)
    assert 0.05 < results[0][0].mean() < 0.95


@pytest.mark.parametrize("kind", ["sigma_delta", "sigma"])
@pytest.mark.parametrize("case", ["plain", "delayed", "shifted", "binary"])
def test_sigma_delta_neurons_equal_python_integers(kind, case):
    rng = np.random.default_rng(4)
    size, threshold = 7, 3
    # Sums that recur whole grow without bound; changes, which are sent in units of 64, die away.
    weight = rng.integers(-1, 2, (size, size)) if kind == "sigma" else rng.integers(-30, 31, (size, size))
    weight *= 40 if (case, kind) == ("binary", "sigma_delta") else 1
    delay = rng.integers(0, 4, (size, size)) if case == "delayed" else np.zeros((size, size), int)
    exponent = -3 if case == "shifted" else 0
    bias = rng.integers(-4, 5, size) if kind == "sigma_delta" else np.zeros(size, int)
    spread = 900 if kind == "sigma" else 4000
    sums = rng.integers(-spread, spread + 1, (12, 2, size)) * (rng.random((12, 2, size)) < 0.3)
    recurrence = Recurrence(
        weight,
        delay=delay if case == "delayed" else None,
        weight_exponent=exponent,
        binary=case == "binary",
    )
    neurons = SigmaDeltaNeurons(kind, size, threshold=threshold, bias=bias, spike_exponent=0)
    state, pending, traces = SigmaDeltaState.zeros(2, size), recurrence.pending(2), Traces.of(sums.shape)
    parts = []
    for window in (slice(0, 5), slice(5, 12)):
        cut = Traces(traces.drive[window], traces.current[window], traces.membrane[window])
        sent, overflow = run_recurrent_sigma_delta(sums[window], recurrence, neurons, state, pending, traces=cut)
        assert overflow is None
        parts.append(sent)
    messages = np.concatenate(parts)
    assert np.count_nonzero(messages) > 30
    for n in range(2):
        heard: list[list[int]] = []
        sigma, act, residue = ([0] * size for _ in range(3))
        for t in range(12):
            sent = []
            for i in range(size):
                a = int(sums[t, n, i]) + late_sum(weight, delay, heard, i, exponent)
                sigma[i] += a
                new = max(0, sigma[i] + int(bias[i]) * 64)
                delta = new - act[i] + residue[i]
                out = delta if abs(delta) >= threshold * 64 else 0
                if kind == "sigma_delta":
                    residue[i], act[i] = delta - out, new
                sent.append(sigma[i] if kind == "sigma" else out >> 6)
                assert [a, sigma[i], act[i]] == [
                    traces.drive[t, n, i],
                    traces.current[t, n, i],
                    traces.membrane[t, n, i],
                ]
            assert messages[t, n].tolist() == sent
            heard.append([int(m != 0) for m in sent] if case == "binary" else sent)


def test_a_recurrent_sum_that_leaves_32_bits_is_found_and_the_largest_that_fits_is_not():
    def overflow(weight: int, *received: int) -> Overflow | None:
        sums = np.array([received, [0] * len(received)]).reshape(2, -1, 1)
        recurrence, neurons = Recurrence(np.array([[weight]])), SigmaDeltaNeurons("sigma", 1)
        state, pending = SigmaDeltaState.zeros(len(received), 1), recurrence.pending(len(received))
        return run_recurrent_sigma_delta(sums, recurrence, neurons, state, pending)[1]

    assert overflow(2, 2**30 - 1) == Overflow("sigma", 1, 0, 0, 3 * (2**30 - 1))
    assert overflow(-2, 2**30 - 1, 5) is None
    assert overflow(-2, 0, 2**30, 2**30) == Overflow("recurrent sum", 1, 1, 0, -(2**31))
    neurons = SigmaDeltaNeurons("sigma_delta", 1, bias=np.array([2**19]))
    recurrence = Recurrence(np.array([[1]]))
    found = run_recurrent_sigma_delta(
        np.zeros((1, 1, 1)), recurrence, neurons, SigmaDeltaState.zeros(1, 1), recurrence.pending(1)
    )
    assert found[1] == Overflow("bias", -1, 0, 0, 2**31)


def test_what_cannot_be_is_said():
    square = np.eye(3, dtype=int)
    with pytest.raises(ValueError, match=r"recurrent weights \(2, 3\) are not one row and one column per neuron"):
        Recurrence(square[:2])
    with pytest.raises(ValueError, match=r"recurrent weights \(3, 3\) with delays \(3, 2\)"):
        Recurrence(square, delay=square[:, :2])
    with pytest.raises(ValueError, match="delays of 0 to 63 steps; 0 to 62 are possible"):
        Recurrence(square, delay=square * 63)
    assert Recurrence(square, delay=square * 62).span == 63
    with pytest.raises(ValueError, match="delays with a weight exponent"):
        Recurrence(square, delay=square, weight_exponent=-1)


# Lava


def recurrent_file(path: Path, kind: str, weight: np.ndarray, recurrent: np.ndarray, **more: np.ndarray) -> None:
    """A netx file of one recurrent layer."""
    import h5py

    with h5py.File(path, "w") as file:
        layer = file.create_group("layer/0")
        layer["type"], layer["shape"] = np.bytes_("dense_rec"), np.array([len(weight)])
        layer["weight"], layer["weight_rec"] = weight, recurrent
        for key, value in more.items():
            layer["delay" if key == "delay" else "bias" if key == "bias" else f"neuron/{key}"] = value
        layer["neuron/type"] = np.bytes_(kind)


class LavaLayer:
    """The layer of such a file as netx builds it, stepped in Lava's clock."""

    def __init__(self, path: Path, bits: int) -> None:
        import_lava()
        from lava.lib.dl import netx
        from lava.proc.dense import models as dense
        from lava.proc.lif.models import PyLifModelBitAcc
        from lava.proc.sdn import models as sdn

        net = netx.hdf5.Network(net_config=str(path), input_message_bits=bits)
        net.net_config.f.close()
        (block,) = net.layers
        names = {
            "Dense": dense.PyDenseModelBitAcc,
            "DelayDense": dense.PyDelayDenseModelBitAcc,
            "LIF": PyLifModelBitAcc,
            "SigmaDelta": sdn.PySigmaDeltaModelFixed,
            "Sigma": sdn.PySigmaModelFixed,
        }
        self.synapse, self.recurrent, self.neuron = (
            LavaProcess(each, names[type(each).__name__]) for each in (block.synapse, block.synapse_rec, block.neuron)
        )
        # A synapse sends before it listens; the neuron hears both, then the recurrent synapse hears the neuron.
        self.recurrent.recv = self._neuron_message
        assert block.neuron.a_in.get_src_ports() == [block.synapse.a_out, block.synapse_rec.a_out]
        assert block.synapse_rec.s_in.get_src_ports() == [block.neuron.s_out]

    def run(self, frames: np.ndarray) -> np.ndarray:
        """Return the messages [T, M] for frames [T, M_in]."""
        for frame in frames:
            self.synapse.step(frame)
            self.recurrent.model.run_spk()
        return np.array(self.neuron.sent)

    def _neuron_message(self) -> np.ndarray:
        return self.neuron.step(self.synapse.sent[-1] + self.recurrent.sent[-1])


def weights_of(layer: LavaLayer) -> tuple[np.ndarray, np.ndarray, int]:
    """The weights as Lava has them after its own clipping, and the exponent that it applies to both sums."""
    exponent = layer.synapse.model.weight_exp
    assert layer.recurrent.model.weight_exp == exponent
    return layer.synapse.model.weights, layer.recurrent.model.weights, exponent


def in_lavas_clock(weight: np.ndarray, frames: np.ndarray, exponent: int, delay: np.ndarray | None) -> np.ndarray:
    delay = np.zeros_like(weight) if delay is None else delay
    sums, _ = DelayedDense(weight, delay, weight_exponent=exponent).sums(frames[:, None])
    return np.concatenate([np.zeros_like(sums[:1]), sums[:-1]])


# The second pair of weights has one sign each, where Lava's clipping leaves odd weights before the shift to the right.
WEIGHTS = [((-100, 101), (-100, 101)), ((-127, 1), (-3, 1)), ((0, 100), (-128, 0)), ((-20, 21), (-15, 16))]


@pytest.mark.lava
@lava_only
@pytest.mark.parametrize("ranges", WEIGHTS)
@pytest.mark.parametrize("bits", [0, 8])
@pytest.mark.parametrize("delayed", [False, True])
def test_recurrent_lif_equals_lavas_models(tmp_path, ranges, bits, delayed):
    rng = np.random.default_rng(bits)
    size = 8
    inputs = size if delayed else 5
    weight, recurrent = rng.integers(*ranges[0], (size, inputs)), rng.integers(*ranges[1], (size, size))
    constants = {"bias": rng.integers(50, 400, size), "current_decay": 3000, "voltage_decay": 700, "threshold": 400}
    delay = rng.integers(0, 4, (size, size)) if delayed else None
    more = {"iDecay": np.int64(3000), "vDecay": np.int64(700), "vThMant": np.int64(400), "bias": constants["bias"]}
    recurrent_file(tmp_path / "m.net", "CUBA", weight, recurrent, **more, **({"delay": delay} if delayed else {}))
    judge = LavaLayer(tmp_path / "m.net", bits)
    frames = rng.integers(-9, 10, (40, inputs)) * (rng.random((40, inputs)) < 0.4)
    theirs = judge.run(frames)
    held, fed_back, exponent = weights_of(judge)
    if delayed:  # netx scales the weights up, and passes on no exponent that would scale the sums down
        assert exponent == 0
    u, v = np.zeros((2, 1, size), dtype=np.int32)
    recurrence = Recurrence(fed_back, delay=delay, weight_exponent=exponent, payload=1)
    sums = in_lavas_clock(held, frames if bits else (frames != 0).astype(np.int64), exponent, delay)
    ours, largest = run_recurrent_lif(
        sums, recurrence, LifConstants.spread(size, **constants), u, v, recurrence.pending(1)
    )
    np.testing.assert_array_equal(ours[:, 0], theirs)
    np.testing.assert_array_equal(u[0], judge.neuron.model.u)
    np.testing.assert_array_equal(v[0], judge.neuron.model.v)
    assert 0.02 < ours.mean() < 0.98
    assert largest > 0


@pytest.mark.lava
@lava_only
@pytest.mark.parametrize("ranges", WEIGHTS)
@pytest.mark.parametrize("kind", ["sigma_delta", "sigma"])
@pytest.mark.parametrize("bits", [0, 16])
@pytest.mark.parametrize("delayed", [False, True])
def test_recurrent_sigma_delta_equals_lavas_models(tmp_path, ranges, kind, bits, delayed):
    rng = np.random.default_rng(bits + delayed)
    size = 6
    inputs = size if delayed else 5
    weight, recurrent = rng.integers(*ranges[0], (size, inputs)), rng.integers(*ranges[1], (size, size))
    recurrent = recurrent // 40
    recurrent.flat[0] = 1
    recurrent.flat[1] = -1
    delay = rng.integers(0, 4, (size, size)) if delayed else None
    more: dict[str, np.ndarray] = {"vThMant": np.int64(1)}
    if kind == "sigma":
        more["sigma_output"] = np.int64(1)
    else:
        more["bias"] = rng.integers(-9, 10, size)
    recurrent_file(tmp_path / "m.net", "SDNN", weight, recurrent, **more, **({"delay": delay} if delayed else {}))
    judge = LavaLayer(tmp_path / "m.net", bits)
    frames = rng.integers(-99, 100, (9, inputs)) * (rng.random((9, inputs)) < 0.4)
    theirs = judge.run(frames)
    held, fed_back, exponent = weights_of(judge)
    recurrence = Recurrence(fed_back, delay=delay, weight_exponent=exponent, binary=bits == 0)
    sums = in_lavas_clock(held, frames if bits else (frames != 0).astype(np.int64), exponent, delay)
    neurons = SigmaDeltaNeurons(kind, size, threshold=1, bias=more.get("bias"))
    state = SigmaDeltaState.zeros(1, size)
    ours, overflow = run_recurrent_sigma_delta(sums, recurrence, neurons, state, recurrence.pending(1))
    if overflow is not None:  # unstable: sums grow without bound, and from there on Lava wraps
        ours, theirs = ours[: overflow.step], theirs[: overflow.step]
    else:
        np.testing.assert_array_equal(state.sigma[0], judge.neuron.model.sigma)
    np.testing.assert_array_equal(ours[:, 0], theirs)
    assert len(ours) > 4
    assert ours.any()


@pytest.mark.lava
@lava_only
def test_lava_has_no_recurrent_delays_where_inputs_and_neurons_differ_in_number(tmp_path):
    weight, recurrent = np.array([[1, -2, 3]] * 2), np.array([[1, -1], [2, 3]])
    constants = {"iDecay": np.int64(4096), "vDecay": np.int64(0), "vThMant": np.int64(5)}
    recurrent_file(tmp_path / "m.net", "CUBA", weight, recurrent, **constants, delay=np.array([[1, 2, 0]] * 2))
    with pytest.raises(ValueError, match="expects same shape"):
        LavaLayer(tmp_path / "m.net", 0)


@pytest.mark.lava
@lava_only
def test_recurrent_delays_make_every_sum_larger_by_netx_own_scaling(tmp_path):
    weight, recurrent = np.array([[20, -2], [3, 1]]), np.array([[1, -1], [2, 3]])
    constants = {"iDecay": np.int64(4096), "vDecay": np.int64(0), "vThMant": np.int64(5)}
    recurrent_file(tmp_path / "m.net", "CUBA", weight, recurrent, **constants, delay=np.array([[1, 2], [0, 0]]))
    layer = LavaLayer(tmp_path / "m.net", 0)
    layer.run(np.zeros((1, 2)))
    held, fed_back, exponent = weights_of(layer)
    assert exponent == 0
    np.testing.assert_array_equal(held, 8 * weight)  # 2^floor(log2(127 / 20)) for the magnitude, 2 for the sign
    np.testing.assert_array_equal(fed_back, 8 * recurrent)


def test_without_recurrence_sigma_delta_neurons_are_the_plain_ones():
    rng = np.random.default_rng(0)
    sums = rng.integers(-5000, 5001, (30, 2, 9)).astype(np.float64)
    neurons = SigmaDeltaNeurons("sigma_delta", 9, threshold=4, bias=np.arange(9), spike_exponent=2)
    recurrence = Recurrence(np.zeros((9, 9), dtype=int))
    ours, _ = run_recurrent_sigma_delta(sums, recurrence, neurons, SigmaDeltaState.zeros(2, 9), recurrence.pending(2))
    plain, _ = run_sigma_delta(neurons, sums, SigmaDeltaState.zeros(2, 9))
    np.testing.assert_array_equal(ours, plain)
    assert plain.any()
