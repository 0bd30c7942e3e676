"""AFEW-VA: a mutated annotation file is refused by name, or read as what it says; nothing in between."""

import json

import numpy as np
import pytest
from look_alikes.afew_va import annotation, make_afew_va

from hw_targets.finding import InputError
from neuroemo.datasets.afew_va import scan_afew_va


@pytest.fixture
def root(tmp_path):
    return make_afew_va(tmp_path / "set")


def mutate(data, rng):
    """Return mutated bytes: flips, cuts, doubled or moved parts, and values that break naive readers."""
    data = bytearray(data)
    kind, at = rng.integers(6), int(rng.integers(len(data)))
    words = [b"NaN", b"1e999", b"-0", b"9" * 5000, b"null", b"{}", b"[[[[", b"\x00", b"\xff", b"true", b'"', b"\\ud800"]
    if kind == 0:
        places = [place for place, byte in enumerate(data) if chr(byte).isalnum()] or [at]
        data[places[rng.integers(len(places))]] = b"0123456789-.e"[rng.integers(13)]
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = words[rng.integers(len(words))]
    elif kind == 3:
        end = at + int(rng.integers(1, 40))
        data[at:end] = words[rng.integers(len(words))]
    elif kind == 4:
        other = int(rng.integers(len(data)))
        data[at : at + 30] = data[other : other + 30]
    else:
        del data[at : at + int(rng.integers(1, 30))]
    return bytes(data)


def number_of(key):
    return int(key.removeprefix("frame_"))


def check_mutants(root, count):
    file = root / "001" / "001.json"
    clean = json.dumps(annotation("Anna Karenina", range(4), landmarks=False)).encode()
    rng = np.random.default_rng(count)
    refusals = []
    for _ in range(count):
        data = clean
        for _ in range(int(rng.integers(1, 3))):
            data = mutate(data or b" ", rng)
        file.write_bytes(data)
        try:
            entry = scan_afew_va(root).entries[0]
        except InputError as error:
            refusals.append(str(error))
            continue
        document = json.loads(data)
        assert entry.subject == " ".join(str(document["actor"]).casefold().split())
        for name in ("valence", "arousal"):
            by_hand = [document["frames"][key][name] / 10 for key in sorted(document["frames"], key=number_of)]
            np.testing.assert_array_equal(entry.values[name], np.float32(by_hand))
            assert len(by_hand) == 4
    assert count // 2 < len(refusals) < count
    assert all(str(root / "001") in text for text in refusals)
    assert "\n".join(refusals).encode()


def test_mutated_json(root):
    check_mutants(root, 100)


@pytest.mark.slow
def test_many_mutated_json(root):
    check_mutants(root, 2000)
