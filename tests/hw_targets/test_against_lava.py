"""All that netx holds, against Lava: random files through Lava's models, its real runtime, and a literal twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import CapacityError, Finding
from hw_targets.loihi2 import lava
from hw_targets.loihi2.netx.reader import open_netx
from hw_targets.loihi2.simulate import simulate
from tests.hw_targets import brute_force, lava_in_process
from tests.hw_targets.lava_runtime import run_runtime
from tests.hw_targets.netx_networks import FAMILIES, NetxNetwork, make

needs_lava = pytest.mark.skipif(not lava.lava_available(), reason="Lava needs Python 3.10 and the extra `lava`")
pytestmark = pytest.mark.lava

Populations = list[dict[str, np.ndarray]]


def networks(folder: Path, seed: int, count: int, family: str | None = None) -> Iterator[NetxNetwork]:
    """Random networks, each deleted after use; an AssertionError in the loop's body names the seed by the file."""
    for number in range(count):
        network = make(np.random.default_rng([seed, number]), folder / f"{seed}.{number}.net", family)
        yield network
        network.path.unlink()


def ours(network: NetxNetwork, mode: str = "pipeline") -> Populations:
    """Our simulator: "drive", "messages" and the states of Lava's names, population by population."""
    first_frame = "integers" if network.integers else "spikes"
    chip = open_netx(
        network.path,
        steps=len(network.clips),
        first_frame=first_frame,
        payload=network.payload if network.integers else 1,
    ).chip
    names = [layer.name for layer in chip.layers]
    run = simulate(chip, network.clips, mode=mode, overflow="wrap", probe=names)
    found = []
    for layer in chip.layers:
        messages, held = run.spikes[layer.name], run.membrane[layer.name]
        if layer.neuron == "lif":
            state = {"u": run.current[layer.name], "v": np.where(messages == 1, 0, held)}
        else:
            state = {} if layer.neuron == "delta" else {"sigma": run.current[layer.name]}
            state |= {} if layer.neuron == "sigma" else {"act": held}
        np.testing.assert_array_equal(
            run.counts[layer.name], np.count_nonzero(messages.reshape(*messages.shape[:2], -1), axis=2)
        )
        found.append({"drive": run.drive[layer.name], "messages": messages, **state})
    return found


def lavas(network: NetxNetwork) -> Populations:
    traces = lava_in_process.pipeline(network.path, network.clips, graded=network.graded)
    return [{"drive": trace.drive, "messages": trace.messages, **trace.state} for trace in traces]


def literal(network: NetxNetwork, *, aligned: bool = False) -> Populations:
    traces = brute_force.run(network.path, network.clips, graded=network.graded, aligned=aligned)
    return [brute_force.arrays(traces, index) for index in range(len(network.layers))]


def assert_same(network: NetxNetwork, actual: Populations, expected: Populations) -> None:
    """Every value that ``actual`` has, of every population, step, clip and neuron."""
    assert len(actual) == len(expected) == len(network.layers)
    for index, (one, other) in enumerate(zip(actual, expected, strict=True)):
        assert {"drive", "messages"} <= set(one) <= set(other)
        for key, values in one.items():
            where = f"{key} of {index} ({network.layers[index]}) in {network.path.name}, {network.family}"
            np.testing.assert_array_equal(values, other[key], err_msg=where)


def fires(populations: Populations) -> list[bool]:
    return [bool(population["messages"].any()) for population in populations]


# -- the twin and Lava --------------------------------------------------------------------------------------------


def compare_twin_with_lava(tmp_path: Path, seed: int, count: int) -> None:
    lively: list[bool] = []
    features: set[str] = set()
    families: set[str] = set()
    for network in networks(tmp_path, seed, count):
        expected = lavas(network)
        assert_same(network, expected, literal(network))
        lively += fires(expected)
        features |= network.features
        families.add(network.family)
    assert np.mean(lively) > 0.8
    assert families == set(FAMILIES)
    assert {"recurrent", "delay", "sigma", "delta", "groups", "constants per channel", "bias per neuron"} <= features


@needs_lava
def test_the_literal_twin_equals_lava(tmp_path):
    compare_twin_with_lava(tmp_path, seed=31, count=40)


@needs_lava
@pytest.mark.slow
def test_the_literal_twin_equals_lava_on_600_networks(tmp_path):
    compare_twin_with_lava(tmp_path, seed=32, count=600)


def test_the_stress_family_does_wrap(tmp_path):
    sums = currents = 0
    for network in networks(tmp_path, 33, 30, "wrapping"):
        for traces in brute_force.run(network.path, network.clips, graded=True):
            sums += any(trace.sum_wraps for trace in traces)
            currents += any(trace.current_wraps for trace in traces)
    assert sums > 10, "clips in which a convolution leaves 24 bits"
    assert currents > 25, "clips in which a current wraps"


@needs_lava
def test_putting_the_state_back_is_as_good_as_building_anew(tmp_path):
    for family in FAMILIES:
        for network in networks(tmp_path, 34, 3, family):
            together = lavas(network)
            for sample in range(network.clips.shape[1]):
                alone = lava_in_process.pipeline(
                    network.path, network.clips[:, sample : sample + 1], graded=network.graded
                )
                for one, other in zip(alone, together, strict=True):
                    np.testing.assert_array_equal(one.messages[:, 0], other["messages"][:, sample])
                    for key, values in one.state.items():
                        np.testing.assert_array_equal(values[:, 0], other[key][:, sample])


# -- our simulator and Lava ---------------------------------------------------------------------------------------


def compare_ours_with_lava(tmp_path: Path, seed: int, count: int, family: str | None = None) -> None:
    lively: list[bool] = []
    for network in networks(tmp_path, seed, count, family):
        expected = lavas(network)
        assert_same(network, ours(network), expected)
        lively += fires(expected)
    assert np.mean(lively) > 0.8


@needs_lava
def test_100_random_networks_equal_lava(tmp_path):
    compare_ours_with_lava(tmp_path, seed=41, count=100)


@needs_lava
@pytest.mark.slow
def test_1200_random_networks_equal_lava(tmp_path):
    compare_ours_with_lava(tmp_path, seed=42, count=1200)


@needs_lava
@pytest.mark.slow
def test_wrapping_networks_equal_lava(tmp_path):
    compare_ours_with_lava(tmp_path, seed=43, count=300, family="wrapping")


def test_random_networks_equal_the_literal_twin_in_both_modes(tmp_path):
    for network in networks(tmp_path, 44, 25):
        assert_same(network, ours(network), literal(network))
        assert_same(network, ours(network, "aligned"), literal(network, aligned=True))


def compare_aligned_with_streamed(tmp_path: Path, seed: int, count: int) -> None:
    compared = 0
    for network in networks(tmp_path, seed, count):
        if not network.restartable:
            continue
        steps, samples = network.clips.shape[:2]
        stream = network.clips.swapaxes(0, 1).reshape(-1, *network.clips.shape[2:])
        traces = lava_in_process.run(
            network.path, stream, steps=steps, samples=samples, graded=network.graded, direct=network.direct
        )
        expected = [{"drive": trace.drive, "messages": trace.messages, **trace.state} for trace in traces]
        assert_same(network, ours(network, "aligned"), expected)
        compared += 1
    assert compared > count // 3


@needs_lava
def test_aligned_mode_equals_lavas_reset_shifted_back(tmp_path):
    compare_aligned_with_streamed(tmp_path, 45, 40)


@needs_lava
@pytest.mark.slow
def test_aligned_mode_equals_lavas_reset_shifted_back_on_more_networks(tmp_path):
    compare_aligned_with_streamed(tmp_path, 46, 500)


@needs_lava
def test_the_comparison_notices_one_wrong_unit(tmp_path):
    network = make(np.random.default_rng([47, 0]), tmp_path / "one.net", "spiking")
    expected = lavas(network)
    expected[0]["drive"] = expected[0]["drive"].copy()
    expected[0]["drive"].flat[-1] += 1
    with pytest.raises(AssertionError, match="drive of 0"):
        assert_same(network, ours(network), expected)


def one_by_one(path: Path, weights: list[int], frames: list[list[int]]) -> NetxNetwork:
    """A convolution of 1 x 1 over as many channels as there are weights."""
    import h5py

    constants = {"type": "CUBA", "iDecay": 4096, "vDecay": 4096, "vThMant": 100}
    with h5py.File(path, "w") as file:
        source = file.create_group("layer/0")
        source["type"], source["shape"] = "input", [len(weights), 1, 1]
        entry = file.create_group("layer/1")
        entry["type"], entry["shape"] = "conv", [1, 1, 1]
        entry["weight"] = np.array(weights).reshape(1, -1, 1, 1)
        entry["stride"] = entry["dilation"] = entry["groups"] = 1
        entry["padding"] = 0
        for key, value in constants.items():
            entry.create_group("neuron") if "neuron" not in entry else None
            entry["neuron"][key] = value
    clips = np.array(frames).reshape(len(frames), 1, len(weights), 1, 1)
    return NetxNetwork(path, clips, True, False, "by hand", frozenset(), ("conv lif",))


@needs_lava
@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_of_2_31_is_refused_and_one_below_equals_lava(tmp_path, sign):
    weights = [sign * 2**20, sign * (2**20 - 1), sign]
    below = one_by_one(tmp_path / "below.net", weights, [[2047, 1, 0], [0, 3, 0], [1, 0, 1]])  # 2^31 - 1 first
    assert_same(below, ours(below), lavas(below))
    assert_same(below, lavas(below), literal(below))
    beyond = one_by_one(tmp_path / "beyond.net", weights, [[0, 3, 0], [2047, 1, 1], [0, 0, 0]])
    with pytest.raises(CapacityError, match="2147483648") as error:
        ours(beyond)
    assert [finding.code for finding in error.value.findings] == ["E231"]
    with pytest.raises(OverflowError, match="undefined in Lava"):
        literal(beyond)


def one_dense(path: Path, weights: list[list[int]], frames: list[list[int]]) -> NetxNetwork:
    import h5py

    with h5py.File(path, "w") as file:
        source, entry = (file.create_group(f"layer/{index}") for index in range(2))
        source["type"], source["shape"] = "input", [len(weights[0])]
        entry["type"], entry["shape"], entry["weight"] = "dense", [len(weights)], np.array(weights)
        neuron = entry.create_group("neuron")
        for key, value in {"type": "CUBA", "iDecay": 4096, "vDecay": 4096, "vThMant": 100}.items():
            neuron[key] = value
    clips = np.array(frames).reshape(len(frames), 1, -1)
    return NetxNetwork(path, clips, True, False, "by hand", frozenset(), ("dense lif",))


@needs_lava
@pytest.mark.parametrize("size", [2**16, 2**20, 2**22, 2**23, 2**24, 2**25])
def test_graded_dense_sums_that_lava_wraps_to_32_bits_are_equal_or_refused(tmp_path, size):
    """Lava multiplies the weights by 2^s first (s = 7 for weights of 1), so its 32 bits end at sums of 2^24."""
    network = one_dense(tmp_path / "dense.net", [[1, -1, 1], [1, 1, -1]], [[size, 5, size], [1, size, 0], [0, 0, 9]])
    expected = lavas(network)
    assert_same(network, expected, literal(network))
    wraps = bool((expected[0]["drive"][1] != [2 * size - 5, 5]).any())
    assert wraps == (size >= 2**24)
    if refused := [finding.code for finding in refusal(network)]:
        assert wraps, "refused although Lava does not wrap"
        assert refused == ["E231"]
    else:
        assert_same(network, ours(network), expected)


def refusal(network: NetxNetwork) -> tuple[Finding, ...]:
    try:
        ours(network)
    except CapacityError as error:
        return error.findings
    return ()


# -- the real runtime ---------------------------------------------------------------------------------------------


def compare_with_runtime(tmp_path: Path, seed: int, count: int, timeout_s: float) -> None:
    made = [make(np.random.default_rng([seed, n]), tmp_path / f"{n}.net") for n in range(count)]
    results = run_runtime(made, tmp_path, timeout_s=timeout_s)
    lively: list[bool] = []
    for network, result in zip(made, results, strict=True):
        expected = [{key: values[:, None] for key, values in population.items()} for population in result]
        first = [{key: values[:, :1] for key, values in population.items()} for population in ours(network)]
        assert_same(network, first, expected)
        lively += fires(expected)
    assert np.mean(lively) > 0.7


@needs_lava
def test_two_random_networks_equal_the_real_runtime(tmp_path):
    compare_with_runtime(tmp_path, seed=51, count=2, timeout_s=120)


@needs_lava
@pytest.mark.slow
def test_64_random_networks_equal_the_real_runtime(tmp_path):
    compare_with_runtime(tmp_path, seed=52, count=64, timeout_s=600)
