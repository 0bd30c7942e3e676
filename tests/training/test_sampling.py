"""The order of an epoch loses no clip, balances classes when asked, and is the same on any number of processes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuroemo.training.sampling import batches_of_epoch, epoch_order, global_batches, repeated, share
from neuroemo.training.settings import TrainSettings


def order_of(labels, *, balanced, seed=0):
    indices = np.arange(len(labels)) * 3 + 1
    order = epoch_order(indices, np.asarray(labels), np.random.default_rng(seed), balanced=balanced)
    return indices, order


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_a_plain_epoch_shows_every_clip_once(labels, seed):
    indices, order = order_of(labels, balanced=False, seed=seed)
    assert sorted(order.tolist()) == indices.tolist()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_a_balanced_epoch_shows_every_class_equally_often_and_no_clip_never(labels, seed):
    indices, order = order_of(labels, balanced=True, seed=seed)
    label_of = dict(zip(indices.tolist(), labels, strict=True))
    most = max(Counter(labels).values())
    assert Counter(label_of[index] for index in order.tolist()) == dict.fromkeys(labels, most)
    times = Counter(order.tolist())
    for label in set(labels):
        own = [times[index] for index in label_of if label_of[index] == label]
        assert min(own) >= 1
        assert max(own) - min(own) <= 1


@pytest.mark.parametrize("balanced", [False, True])
def test_the_order_follows_the_seed_and_changes_from_epoch_to_epoch(balanced):
    labels, random = np.arange(30) % 3 // 2, np.random.default_rng(7)
    first, second = (epoch_order(np.arange(30), labels, random, balanced=balanced) for _ in range(2))
    again = epoch_order(np.arange(30), labels, np.random.default_rng(7), balanced=balanced)
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != second.tolist()


def test_which_clips_of_a_small_class_come_once_more_changes():
    extra = {
        Counter(repeated(np.arange(3), 4, np.random.default_rng(seed)).tolist()).most_common(1)[0][0]
        for seed in range(40)
    }
    assert extra == {0, 1, 2}


@given(st.integers(1, 50), st.integers(1, 9), st.booleans())
def test_batches_hold_all_clips_and_are_as_many_as_foretold(clips, size, balanced):
    labels = np.arange(clips) % 3 // 2
    settings = TrainSettings(batch=size, balanced=balanced)
    order = epoch_order(np.arange(clips), labels, np.random.default_rng(0), balanced=balanced)
    batches = global_batches(order, size)
    assert np.concatenate(batches).tolist() == order.tolist()
    assert {len(batch) for batch in batches[:-1]} <= {size}
    assert len(batches) == batches_of_epoch(labels, settings)


@given(st.integers(0, 40), st.integers(1, 9))
def test_the_shares_of_all_processes_make_up_the_batch(clips, world):
    batch = np.arange(clips) + 5
    parts = [share(batch, rank, world) for rank in range(world)]
    assert np.concatenate(parts).tolist() == batch.tolist()
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_seven_clips_on_two_processes_and_one_on_two():
    assert [len(share(np.arange(7), rank, 2)) for rank in (0, 1)] == [4, 3]
    assert [len(share(np.arange(1), rank, 2)) for rank in (0, 1)] == [1, 0]
