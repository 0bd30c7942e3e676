from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hw_targets.finding import InputError
from neuroemo.affect.augmentation import change
from neuroemo.affect.inputs import FrameInput, unpack
from neuroemo.affect.predict import predict, predict_array
from neuroemo.models.affect.spec import AffectSpec
from neuroemo.models.affect.table import spec_by_name
from tests.affect.memory_frames import squares

VIDEO = AffectSpec("video", "ic3d", size=32, frames=6, width=8)
FRAME = spec_by_name("vit@32")


class Corner(nn.Module):
    """Says the code in the corner of a frame, and the number of frames that it sees together."""

    def forward(self, x):
        assert x.ndim == 5
        corner = x[:, :, 0, 0, 0]
        return torch.stack([corner, torch.full_like(corner, x.shape[1] / 10)], dim=-1)


class Place(nn.Module):
    """Says at which place of its chunk a frame is."""

    def forward(self, x):
        places = torch.arange(x.shape[1], dtype=torch.float32).expand(x.shape[:2])
        return torch.stack([places, places], dim=-1)


def numbered(clips=3, frames=8):
    data = squares(clips=clips, frames=frames)
    data._codes[:] = np.arange(len(data), dtype=np.uint8)[:, None, None]
    return data


@pytest.mark.parametrize("batch", [None, 1, 2, 100])
@pytest.mark.parametrize("spec", [VIDEO, FRAME])
def test_answers_come_in_the_order_of_the_question(spec, batch):
    data = numbered()
    asked = np.array([23, 0, 5, 5, 11, 1, 2, 3, 17, 18])
    said = predict(Corner(), spec, data, asked, batch=batch)
    assert said.dtype == np.float32
    assert (said[:, 0] * 256).tolist() == asked.tolist()
    assert said[:, 1] == pytest.approx(spec.frames / 10)


def test_the_tail_of_a_clip_is_answered_at_the_end_of_a_chunk():
    said = predict(Place(), VIDEO, numbered(), np.arange(16))
    assert said[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 4, 5] * 2


def test_a_plain_sequence_is_answered_as_the_same_frames_of_a_store():
    data = numbered(clips=1)
    whole = predict(Corner(), VIDEO, data, np.arange(8))
    assert np.array_equal(predict_array(Corner(), VIDEO, data.codes(np.arange(8)), 8), whole)
    assert predict_array(Corner(), VIDEO, data.codes(np.arange(2)), 8).shape == (2, 2)
    assert predict_array(Corner(), VIDEO, data.codes(np.arange(0)), 8).shape == (0, 2)


def test_progress_counts_chunks():
    seen = []
    predict(Place(), VIDEO, numbered(), np.arange(24), batch=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(2, 6), (4, 6), (6, 6)]


@pytest.mark.parametrize("n_bits", [8, 16])
@pytest.mark.parametrize("msb", ["newest", "oldest"])
def test_bits_are_the_slices_oldest_first(msb, n_bits):
    from neuroemo.events.representations import codes_to_steps

    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2**n_bits, (2, 3, 64, 64)).astype(np.uint8 if n_bits == 8 else np.uint16)
    spec = spec_by_name("spiking-plif@64", n_bits=n_bits)
    bits = unpack(codes, spec, msb)
    assert bits.shape == (2, 3, n_bits, 1, 64, 64)
    slices = codes_to_steps(codes.reshape(6, 1, 64, 64), n_bits, msb)
    assert np.array_equal(bits.reshape(-1), np.asarray(slices, np.float32).reshape(-1))
    assert bits[0, 0, 0 if msb == "oldest" else -1, 0, 0, 0] == int(codes[0, 0, 0, 0]) >> (n_bits - 1)


def test_pictures_are_codes_over_two_to_the_bits():
    codes = np.full((1, 1, 32, 32), 40000, np.uint16)
    assert unpack(codes, spec_by_name("vit@32", n_bits=16), "newest").max() == np.float32(40000 / 65536)


def test_frames_of_another_size_or_number_of_bits():
    data = squares(clips=2)
    with pytest.raises(InputError, match=r"E954 memory.h5: event frames of size 32; limit size 48"):
        predict(Corner(), spec_by_name("vit@48"), data, np.arange(2))
    with pytest.raises(InputError, match="event frames of n_bits 8; limit n_bits 16"):
        predict(Corner(), spec_by_name("vit@32", n_bits=16), data, np.arange(2))
    with pytest.raises(InputError, match="E954 vit@32: uint8 codes of shape"):
        predict_array(Corner(), FRAME, np.zeros((3, 16, 16), np.uint8), 8)
    with pytest.raises(InputError, match="16 bits"):
        predict_array(Corner(), FRAME, np.zeros((3, 32, 32), np.uint8), 16)
    with pytest.raises(InputError, match="batch: 0"):
        predict(Corner(), FRAME, data, np.arange(2), batch=0)


def test_answers_that_are_no_numbers():
    class Broken(nn.Module):
        def forward(self, x):
            return torch.full((*x.shape[:2], 2), float("nan"))

    with pytest.raises(InputError, match="E954 vit@32: 4 of 4 answers are NaN or infinite"):
        predict(Broken(), FRAME, squares(clips=2), np.arange(4))


def test_kept_codes_are_read_once(monkeypatch):
    data = squares(clips=2)
    index = np.array([[0, 1], [1, 1], [13, 12]])
    kept, anew = FrameInput(FRAME, data, np.arange(14)), FrameInput(FRAME, data)
    assert data.read == 14
    assert np.array_equal(kept(index), anew(index))
    assert data.read == 14 + 4  # each of the four frames once
    assert np.array_equal(kept.codes(index), data._codes[index])
    monkeypatch.setattr("neuroemo.affect.inputs.KEPT_BYTES", 100)
    assert np.array_equal(FrameInput(FRAME, data, np.arange(14))(index), anew(index))


def test_augmentation_moves_all_frames_of_a_chunk_alike():
    codes = np.zeros((40, 2, 9, 9), np.uint8)
    codes[:, :, 4, 3] = 7
    changed = change(codes, np.random.default_rng(0), mirror=True, shift=2)
    assert np.array_equal(changed[:, 0], changed[:, 1])
    places = [tuple(np.argwhere(picture)[0]) for picture in changed[:, 0]]
    assert {row - 4 for row, _ in places} == {-2, -1, 0, 1, 2}
    # a mirrored column 3 of 9 is column 5
    assert {column for _, column in places} == set(range(1, 8))
    assert codes.sum() == changed.sum()


def test_a_shift_loses_what_leaves_the_picture():
    codes = np.ones((30, 1, 4, 4), np.uint8)
    sums = change(codes, np.random.default_rng(1), mirror=False, shift=6).sum(axis=(1, 2, 3))
    assert {0, 16} <= set(sums.tolist()) | {16}
    assert all(total in {a * b for a in range(5) for b in range(5)} for total in sums.tolist())
