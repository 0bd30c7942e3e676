"""Augmentation: what happens to events and to a gray first frame, against pictures that are moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from neuroemo.training.augmentation import Augmentation, Change, apply, augment, draw
from neuroemo.training.settings import TrainSettings
from tests.training.fake_store import FakeStore

STILL = Change(mirrored=False, down=0, right=0, later=0, seed=0)


def changed(clips, change, augmentation=None, *, gray_first=True):
    return apply(clips, [change] * clips.shape[1], augmentation or Augmentation(), gray_first=gray_first)


def one_event(step, row, column, *, steps=5, size=6):
    clips = np.zeros((steps, 1, 2, size, size), np.float32)
    clips[step, 0, 1, row, column] = 1
    clips[0, 0] = np.linspace(0, 1, size * size).reshape(size, size)
    return clips


def by_hand(clips, change, *, gray_first):
    """The same as ``apply`` does without lost events, value by value."""
    steps, count, channels, height, width = clips.shape
    result = np.zeros_like(clips)
    for t, n, c, y, x in np.ndindex(steps, count, channels, height, width):
        later = 0 if gray_first and t == 0 else change.later
        to_t, to_y = t + later, y + change.down
        to_x = (width - 1 - x if change.mirrored else x) + change.right
        first = 1 if gray_first and t > 0 else 0
        if first <= to_t < steps and 0 <= to_y < height and 0 <= to_x < width:
            result[to_t, n, c, to_y, to_x] = clips[t, n, c, y, x]
    return result


@pytest.mark.parametrize("gray_first", [True, False])
def test_it_is_what_moving_every_value_by_hand_gives(gray_first):
    random = np.random.default_rng(0)
    clips = random.random((5, 2, 2, 5, 4)).astype(np.float32)
    for _ in range(60):
        change = Change(bool(random.random() < 0.5), *(int(v) for v in random.integers(-6, 7, size=3)), seed=0)
        result = changed(clips, change, gray_first=gray_first)
        np.testing.assert_array_equal(result, by_hand(clips, change, gray_first=gray_first), err_msg=str(change))


def test_a_mirrored_gray_frame_moves_with_its_events():
    result = changed(one_event(2, 3, 1), Change(mirrored=True, down=1, right=0, later=0, seed=0))
    assert np.argwhere(result[1:]).tolist() == [[1, 0, 1, 4, 4]]
    np.testing.assert_array_equal(result[0, 0, 0, 1:], np.linspace(0, 1, 36, dtype=np.float32).reshape(6, 6)[:-1, ::-1])
    assert not result[0, 0, 0, 0].any()


def test_a_shift_in_time_leaves_the_gray_frame_at_the_start_and_never_lets_events_into_it():
    clips = one_event(2, 3, 1)
    for later, places in ((1, [[3, 0, 1, 3, 1]]), (2, [[4, 0, 1, 3, 1]]), (3, []), (-1, [[1, 0, 1, 3, 1]]), (-2, [])):
        result = changed(clips, Change(mirrored=False, down=0, right=0, later=later, seed=0))
        np.testing.assert_array_equal(result[0], clips[0])
        assert [[step + 1, *rest] for step, *rest in np.argwhere(result[1:]).tolist()] == places


def test_without_a_gray_frame_events_move_into_the_first_step():
    clips = one_event(2, 3, 1)
    clips[0] = 0
    result = changed(clips, Change(mirrored=False, down=0, right=0, later=-2, seed=0), gray_first=False)
    assert np.argwhere(result).tolist() == [[0, 0, 1, 3, 1]]


def test_lost_events_are_the_share_asked_for_and_the_gray_frame_is_whole():
    clips = np.ones((9, 2, 2, 40, 40), np.float32)
    augmentation = Augmentation(mirror=False, shift=0, drop_events=0.3)
    result = augment(clips, np.random.default_rng(3), augmentation)
    np.testing.assert_array_equal(result[0], clips[0])
    lost = 1 - result[1:].mean()
    assert abs(lost - 0.3) < 4 * np.sqrt(0.3 * 0.7 / result[1:].size)
    assert set(np.unique(result)) == {0.0, 1.0}
    assert (result[1:, 0] != result[1:, 1]).any(), "every clip loses events of its own"
    whole = augment(clips, np.random.default_rng(3), augmentation, gray_first=False)
    assert (whole[0] == 0).any(), "step 0 is like any other where there is no gray frame"


def test_every_mirror_shift_and_delay_that_is_allowed_happens_and_no_other():
    augmentation = Augmentation(mirror=True, shift=1, shift_steps=2)
    seen = draw(4000, np.random.default_rng(0), augmentation)
    assert {(c.down, c.right) for c in seen} == {(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)}
    assert {c.later for c in seen} == {-2, -1, 0, 1, 2}
    assert abs(sum(c.mirrored for c in seen) / len(seen) - 0.5) < 0.04
    assert not any(c.mirrored for c in draw(100, np.random.default_rng(0), Augmentation(mirror=False)))


def test_spikes_stay_binary_polarities_together_and_the_input_as_it_was():
    clips = FakeStore().batch(np.arange(6))
    before = clips.copy()
    result = augment(clips, np.random.default_rng(0), Augmentation(drop_events=0.1, shift_steps=1))
    np.testing.assert_array_equal(clips, before)
    assert set(np.unique(result[1:])) <= {0.0, 1.0}
    np.testing.assert_array_equal(result[0, :, 0], result[0, :, 1])
    assert (result != before).any()


def test_two_processes_make_the_clips_that_one_makes():
    clips = FakeStore().batch(np.arange(7))
    augmentation = Augmentation(drop_events=0.2, shift_steps=2)
    whole = augment(clips, np.random.default_rng(5), augmentation)
    changes = draw(7, np.random.default_rng(5), augmentation)
    parts = [apply(clips[:, own], changes[own], augmentation, gray_first=True) for own in (slice(0, 4), slice(4, 7))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert apply(clips[:, :0], [], augmentation, gray_first=True).shape == (8, 0, 2, 32, 32)


def test_the_settings_say_what_happens():
    settings = TrainSettings(mirror=False, shift=3, drop_events=0.25, shift_steps=4)
    assert Augmentation.of(settings) == Augmentation(mirror=False, shift=3, drop_events=0.25, shift_steps=4)


def test_a_change_that_is_none_changes_nothing():
    clips = FakeStore().batch(np.arange(3))
    np.testing.assert_array_equal(changed(clips, STILL), clips)
