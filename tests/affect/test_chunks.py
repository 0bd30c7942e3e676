from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.affect.chunks import chunks_of, windows_of


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.integers(1, 7),
    st.randoms(use_true_random=False),
    st.floats(0, 1),
)
def test_every_frame_is_answered_once_by_consecutive_frames_of_its_clip(lengths, length, random, share):
    clip = np.repeat(np.arange(len(lengths)), lengths)
    asked = np.array([frame for frame in range(len(clip)) if random.random() < share], dtype=np.int64)
    shuffled = asked.copy()
    random.shuffle(shuffled)
    chunks = chunks_of(clip, shuffled, length)
    assert sorted(chunks.index[chunks.fresh].tolist()) == asked.tolist()
    for index in chunks.index.tolist():
        assert set(index) <= set(asked.tolist())
        assert len(set(clip[index])) == 1
        for before, after in pairwise(index):
            # consecutive, or the last frame of a run that is too short, again
            assert after == before + 1 or (after == before and before + 1 not in asked[clip[asked] == clip[before]])


def test_as_few_chunks_as_can_be():
    clip = np.zeros(14, int)
    assert len(chunks_of(clip, np.arange(14), 6)) == 3
    assert len(chunks_of(clip, np.arange(12), 6)) == 2
    assert chunks_of(clip, np.arange(14), 6).index[-1].tolist() == [8, 9, 10, 11, 12, 13]
    assert chunks_of(clip, np.array([], int), 6).index.shape == (0, 6)


def test_a_gap_ends_a_run():
    chunks = chunks_of(np.zeros(6, int), np.array([0, 1, 3, 4, 5]), 3)
    assert chunks.index.tolist() == [[0, 1, 1], [3, 4, 5]]


def test_windows_cover_all_places():
    clip = np.array([0, 0, 0, 0, 0, 1])
    assert windows_of(clip, np.arange(6), 3, 2).tolist() == [[0, 1, 2], [2, 3, 4], [5, 5, 5]]
    assert windows_of(clip, np.arange(5), 3, 3).tolist() == [[0, 1, 2], [2, 3, 4]]
    assert windows_of(clip, np.arange(6), 1, 1).tolist() == [[k] for k in range(6)]


@pytest.mark.parametrize("indices", [[-1, 0], [0, 3]])
def test_a_frame_that_is_not_there(indices):
    with pytest.raises(InputError, match=r"E950.*0\.\.2"):
        chunks_of(np.zeros(3, int), np.array(indices), 2)


def test_lengths_below_one():
    with pytest.raises(InputError, match="E950 chunk length: 0"):
        chunks_of(np.zeros(3, int), np.arange(3), 0)
    with pytest.raises(InputError, match="E950 stride: 0"):
        windows_of(np.zeros(3, int), np.arange(3), 2, 0)
