"""Damaged files: every reader either gives sorted events on the sensor or says what is wrong; nothing else."""

from __future__ import annotations

import io
import zipfile

import h5py
import numpy as np
import pytest
import readers_make as make

from hw_targets.finding import NeuroEmoError
from neuroemo.events.readers import child, open_events, write_events

EDGES = np.array([0, 1, 0x25, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)


def seeds(tmp_path):
    """One well-formed file per reader: name, bytes, and the sensor size where the format has none."""
    pytest.importorskip("faery")
    events = make.random_events(300)
    for name in ("w.h5", "w.aedat4", "w.npz"):
        write_events(tmp_path / name, events, make.SENSOR)
    table = np.stack([events[name].astype(np.uint32) for name in "txyp"], axis=1)
    with h5py.File(tmp_path / "v.h5", "w") as file:
        file.create_dataset("events", data=table, maxshape=(None, 4), chunks=(64, 4), compression="gzip")
    words = [0x0001]
    for t, x, y, p in events.tolist():
        words += [0x8000 | (t >> 12) & 0xFFF, 0x6000 | t & 0xFFF, y, 0x2000 | p << 11 | x]
    text = "t,x,y,p\n" + "".join(f"{t},{x},{y},{int(p)}\n" for t, x, y, p in events.tolist())
    pairs = [(make.davis(x, y, int(p)), t) for t, x, y, p in events.tolist()]
    sized = (346, 260)
    return {
        "evt2": ("m.raw", make.evt2(make.EVT2_WORDS * 1 + make.EVT2_WORDS[4:] * 40), None),
        "evt3": ("m.raw", make.evt3(words), None),
        "evt21": ("m.raw", make.evt21("legacy", make.EVT21_WORDS + make.EVT21_WORDS[3:] * 40), None),
        "dat": ("m.dat", make.dat(events), None),
        "aedat4": ("m.aedat4", (tmp_path / "w.aedat4").read_bytes(), None),
        "aedat2": ("m.aedat", make.aedat2(pairs), None),
        "hdf5": ("m.h5", (tmp_path / "w.h5").read_bytes(), None),
        "v2e": ("m.h5", (tmp_path / "v.h5").read_bytes(), sized),
        "npz": ("m.npz", stored(tmp_path / "w.npz"), None),
        "csv": ("m.csv", text.encode(), sized),
    }


def stored(path):
    """The same archive without compression, so that mutations reach the arrays and not only the CRC."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return buffer.getvalue()


def mutated(content, rng):
    """Return the bytes with one to four kinds of damage; half of it hits the first 512 bytes, the headers."""
    data = np.frombuffer(content, np.uint8).copy()
    for _ in range(int(rng.integers(1, 5))):
        if not data.size:
            break
        reach = data.size if rng.random() < 0.5 else min(512, data.size)
        place = int(rng.integers(reach))
        length = int(rng.integers(1, 33))
        kind = int(rng.integers(7))
        if kind == 0:
            data[place] ^= np.uint8(1 << int(rng.integers(8)))
        elif kind == 1:
            data[place] = rng.choice(EDGES)
        elif kind == 2:
            data = data[:place]
        elif kind == 3:
            data = np.delete(data, slice(place, place + length))
        elif kind == 4:
            data = np.insert(data, place, rng.integers(0, 256, length).astype(np.uint8))
        elif kind == 5:
            data = np.insert(data, place, data[place : place + length])
        else:
            data[place : place + 4] = rng.choice(EDGES)
    return data.tobytes()


def attempt(path, size):
    try:
        return open_events(path, sensor_size=size)
    except NeuroEmoError as error:
        return error


def check_all(tmp_path, name, count, seed):
    file_name, content, size = seeds(tmp_path)[name]
    path = tmp_path / file_name
    path.write_bytes(content)
    assert len(open_events(path, sensor_size=size).events) > 40
    rng = np.random.default_rng(seed)
    refusals = 0
    for _ in range(count):
        path.write_bytes(mutated(content, rng))
        result = attempt(path, size)
        if isinstance(result, NeuroEmoError):
            refusals += 1
            assert result.exit_code == 2
            assert all(finding.found and finding.node for finding in result.findings)
            continue
        events, (width, height, _) = result.events, result.sensor_size
        assert (np.diff(events["t"]) >= 0).all()
        assert len(events) < 100_000
        for column, side in (("x", width), ("y", height)):
            assert not len(events) or 0 <= events[column].min() <= events[column].max() < side
    assert 0 < refusals <= count


READERS = ["evt2", "evt3", "evt21", "dat", "aedat4", "aedat2", "hdf5", "v2e", "npz", "csv"]


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    monkeypatch.setattr(child, "PATIENCE_S", 10.0)


@pytest.mark.parametrize("name", READERS)
def test_damaged_files(tmp_path, name):
    check_all(tmp_path, name, 100, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_two_thousand_damaged_files(tmp_path, name):
    check_all(tmp_path, name, 2000, 2)
