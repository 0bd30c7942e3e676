"""Event files: round trip, determinism, and every way to be refused."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.events.clip import EVENT_DTYPE
from neuroemo.events.files import load_events, save_events


def some_events(count, seed=0, width=20, height=10):
    rng = np.random.default_rng(seed)
    events = np.empty(count, EVENT_DTYPE)
    events["t"] = np.sort(rng.integers(0, 10**12, count))
    events["x"] = rng.integers(0, width, count)
    events["y"] = rng.integers(0, height, count)
    events["p"] = rng.random(count) < 0.5
    return events


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 200), seed=st.integers(0, 1000))
def test_round_trip(tmp_path_factory, count, seed):
    path = tmp_path_factory.mktemp("e") / "a.npz"
    events = some_events(count, seed)
    save_events(path, events, (20, 10, 2))
    loaded, size = load_events(path)
    assert size == (20, 10, 2)
    assert loaded.dtype == EVENT_DTYPE
    assert np.array_equal(loaded, events)


def test_same_events_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_events(tmp_path / f"{name}.npz", some_events(50), (20, 10, 2))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_numpy_can_read_it(tmp_path):
    save_events(tmp_path / "a.npz", some_events(5), (20, 10, 2))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert sorted(archive) == ["p", "sensor_size", "t", "x", "y"]
        assert np.array_equal(archive["t"], some_events(5)["t"])


def columns(**changes):
    events = some_events(4)
    arrays = {name: np.array(events[name]) for name in ("t", "x", "y", "p")}
    return {**arrays, "sensor_size": np.array([20, 10, 2]), **changes}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"t": None}, "array 't' missing"),
        ({"t": np.array([3, 2, 1, 0])}, "not sorted"),
        ({"t": np.array([-1, 2, 3, 4])}, "negative"),
        ({"t": np.array([0, 2**63 - 1, -(2**63), 5])}, "not sorted"),
        ({"t": np.arange(4.0)}, "t: float64"),
        ({"x": np.full(4, 20, np.int16)}, "x in 20..20; limit 0..19"),
        ({"y": np.full(4, -1, np.int16)}, "y in -1..-1"),
        ({"x": np.zeros(3, np.int16)}, "x: int16 [3]"),
        ({"p": np.zeros(4, np.uint8)}, "p: uint8"),
        ({"p": np.zeros((2, 2), bool)}, "array 'p': bool [2, 2]"),
        ({"sensor_size": np.array([20, 10])}, "sensor_size int64 [2]"),
        ({"sensor_size": np.array([20, 10, 3])}, "sensor_size (20, 10, 3)"),
        ({"sensor_size": np.array([0, 10, 2])}, "sensor_size (0, 10, 2)"),
        ({"t": np.array([None] * 4, object)}, "array 't': object"),
    ],
)
def test_refused(tmp_path, changes, found):
    arrays = {name: values for name, values in columns(**changes).items() if values is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match="E720") as error:
        load_events(tmp_path / "a.npz")
    assert found in str(error.value)


def test_header_that_promises_too_much(tmp_path):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("t.npy", buffer.getvalue())
    with pytest.raises(InputError, match="1000000000000000"):
        load_events(tmp_path / "a.npz")


def test_missing_file_and_wrong_kinds(tmp_path):
    with pytest.raises(InputError, match="E721"):
        load_events(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InputError, match="not a readable event file"):
        load_events(tmp_path / "text.npz")
    with pytest.raises(InputError, match="structured t, x, y, p"):
        save_events(tmp_path / "b.npz", np.zeros(3), (2, 2, 2))
    with pytest.raises(InputError, match="sensor_size"):
        save_events(tmp_path / "b.npz", some_events(2), (2, 2))
    with pytest.raises(InputError, match="cannot be written"):
        save_events(tmp_path / "no" / "b.npz", some_events(2), (20, 10, 2))
    assert not (tmp_path / "b.npz").exists()


def test_mutated_bytes_never_crash(tmp_path):
    save_events(tmp_path / "a.npz", some_events(60), (20, 10, 2))
    data = (tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(300):
        broken = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            broken[position] = rng.integers(0, 256)
        (tmp_path / "b.npz").write_bytes(broken[: rng.integers(1, len(data) + 1)] if rng.random() < 0.2 else broken)
        try:
            load_events(tmp_path / "b.npz")
        except InputError:
            refused += 1
    assert refused > 150
