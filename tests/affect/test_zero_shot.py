"""Emotions from the nearest prototype: every step against cases computed by hand, and every refusal."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw_targets.finding import InputError
from neuroemo.affect.zero_shot import (
    Prototypes,
    Videos,
    nearest_prototype,
    prototypes_of,
    representative_frame,
    zero_shot,
    zero_shot_on,
)


def table(*pairs):
    return np.array(pairs, np.float32)


TRAIN = Videos(
    ("t1", "t2", "t3", "t4"),
    ("joy", "joy", "fear", "None"),
    (
        table((0.8, 0.2)),
        table((0.2, 0.2), (0.2, 0.2), (0.0, 0.6)),
        table((-0.5, 0.75), (-0.25, 0.25)),
        table((-1.0, -1.0)),
    ),
)
"""By hand: joy is the mean of 4 frames, (1.2/4, 1.2/4) = (0.3, 0.3); fear of 2, (-0.375, 0.5)."""


def test_the_prototype_is_the_mean_over_frames_and_not_over_videos():
    made = prototypes_of(TRAIN)
    assert made.names == ("None", "fear", "joy")
    assert made.videos == (1, 1, 2)
    assert made.frames == (1, 2, 4)
    np.testing.assert_allclose(made.points, [[-1, -1], [-0.375, 0.5], [0.3, 0.3]], atol=1e-7)
    means_of_videos = (0.8 + 0.4 / 3) / 2
    assert abs(made.points[2, 0] - means_of_videos) > 0.1


def test_the_representative_frame_is_farthest_from_the_mean_and_not_from_zero():
    # Mean (0.6, 0): the frame at 0 lies 0.6 away, those at 0.75 lie 0.15 away although they are farther from zero.
    assert representative_frame(table((0.75, 0), (0.75, 0), (0.0, 0.0), (0.75, 0), (0.75, 0))) == 2
    # Both coordinates count: |(0.3, 0.4)| = 0.5 beats |(0.45, 0)|.
    assert representative_frame(table((0.45, 0), (-0.45, 0), (0.3, 0.4), (-0.3, -0.4))) == 2


@pytest.mark.parametrize(
    ("pairs", "frame"),
    [
        ([(0.1, 0.2)], 0),
        ([(0.1, 0.7)] * 9, 0),
        ([(0.1, 0.3), (0.7, -0.2)], 0),
        ([(0.0, 0.0), (0.3, 0.0), (-0.3, 0.0)], 1),
        ([(0.0, 0.0), (0.0, -0.1), (0.1, 0.0), (0.0, 0.1), (-0.1, 0.0)], 1),
    ],
)
def test_of_frames_equally_far_the_earliest_is_taken(pairs, frame):
    assert representative_frame(table(*pairs)) == frame


def test_of_prototypes_equally_near_the_first_by_name_is_the_answer():
    corners = Prototypes(("a", "b", "c"), np.array([[0.1, 0.1], [0.1, -0.1], [-0.1, 0.1]]), (1, 1, 1), (1, 1, 1))
    assert nearest_prototype(np.array([0.0, 0.0]), corners) == 0
    assert nearest_prototype(np.array([0.0, -0.3]), corners) == 1
    assert nearest_prototype(np.array([-0.3, 0.3]), corners) == 2


def test_the_whole_by_hand():
    test = Videos(
        ("v1", "v2", "v3", "v4"),
        ("joy", "fear", "fear", "None"),
        (
            # mean (0.125, 0.15); the second frame is farthest, and (0.5, 0.3) is nearest to joy
            table((0, 0.1), (0.5, 0.3), (0, 0.1), (0, 0.1)),
            # one frame, 0.237 from fear (-0.375, 0.5) and 0.502 from joy: fear
            table((-0.2, 0.34)),
            # mean (0.1, 0); farthest is (0.3, 0): |(0.3, 0) - joy| = 0.3, |... - fear| = 0.84: joy, which is wrong
            table((0, 0), (0.3, 0.0), (0, 0)),
            table((9, 9)),
        ),
    )
    found = zero_shot(TRAIN, test)
    told = found.to_dict()
    assert [row["answer"] for row in told["answers"]] == ["joy", "fear", "joy"]
    assert [row["frame"] for row in told["answers"]] == [1, 0, 1]
    assert told["answers"][0]["valence"] == pytest.approx(0.5)
    assert told["emotions"] == ["fear", "joy"]
    assert told["confusion"] == [[1, 1], [0, 1]]
    assert (told["correct"], told["clips"], told["left_out"]) == (2, 3, 1)
    assert told["chance"] == 0.5
    assert told["largest_class"] == {"emotion": "fear", "share": pytest.approx(2 / 3)}
    assert [(row["emotion"], row["correct"], row["clips"]) for row in told["per_class"]] == [
        ("fear", 1, 2),
        ("joy", 1, 1),
    ]
    # Wilson 1927 for 2 of 3, z = 1.959964, by hand: centre (2/3 + z²/6)/(1 + z²/3), and so on.
    z2 = 1.959964**2
    centre, spread = 2 / 3 + z2 / 6, 1.959964 * math.sqrt((2 / 3) * (1 / 3) / 3 + z2 / 36)
    assert told["interval_95"] == pytest.approx([(centre - spread) / (1 + z2 / 3), (centre + spread) / (1 + z2 / 3)])


def test_the_published_accuracies_of_nefer_do_not_exclude_chance():
    # 24 and 26 of 125, as published; (0.1461, 0.2873) for 26 of 125 from the table of the Wilson interval.
    from neuroemo.training.metrics import Score

    assert Score(26, 125).interval == pytest.approx((0.1461, 0.2873), abs=1e-4)
    assert Score(24, 125).interval[0] < 1 / 7


def test_refusals_name_what_is_wrong():
    with pytest.raises(InputError, match=r"E961 b, d: has no frames; limit at least 1"):
        Videos(("a", "b", "d"), ("x",) * 3, (table((0, 0)), np.zeros((0, 2)), np.zeros(0)))
    with pytest.raises(InputError, match=r"E962 b: has estimates that are no finite pairs"):
        Videos(("a", "b"), ("x",) * 2, (table((0, 0)), table((math.nan, 0))))
    with pytest.raises(InputError, match="E962 a"):
        Videos(("a",), ("x",), (np.zeros((2, 3)),))
    with pytest.raises(InputError, match=r"E960 videos: 1 names, 2 labels, 1 tables"):
        Videos(("a",), ("x", "y"), (table((0, 0)),))
    with pytest.raises(InputError, match="E961"):
        representative_frame(np.zeros((0, 2)))
    one = Videos(("a",), ("joy",), (table((0, 0)),))
    nobody = Videos(("a",), ("None",), (table((0, 0)),))
    with pytest.raises(InputError, match=r"E963 training videos: no video is labelled"):
        zero_shot(nobody, one)
    with pytest.raises(InputError, match=r"E963 test videos"):
        zero_shot(one, nobody)
    other = Videos(("a",), ("fear",), (table((0, 0)),))
    with pytest.raises(InputError, match=r"E964 fear: has test videos and no training video"):
        zero_shot(one, other)
    both = zero_shot(Videos(("a", "b"), ("joy", "fear"), (table((0, 0)), table((1, 1)))), one)
    assert both.score.correct == 1, "an emotion without test videos is only another prototype"


@given(
    st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 2), min_size=1, max_size=12),
    st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 2), min_size=1, max_size=5),
)
def test_against_plain_loops(frames, points):
    count = len(frames)
    mean = [math.fsum(pair[axis] for pair in frames) / count for axis in (0, 1)]
    away = [math.dist(pair, mean) for pair in frames]
    assert away[representative_frame(np.array(frames))] >= max(away) * (1 - 1e-8) - 1e-12
    names = tuple(f"{at}" for at in range(len(points)))
    made = Prototypes(names, np.array(points), (1,) * len(points), (1,) * len(points))
    distances = [math.dist(frames[0], point) for point in points]
    nearest = nearest_prototype(np.array(frames[0]), made)
    assert distances[nearest] <= min(distances) * (1 + 1e-8)
    assert all(distance > distances[nearest] * (1 - 1e-8) for distance in distances[:nearest])


class Store:
    """Two training clips and two test clips; frames lie clip by clip, and one clip may have none."""

    clip_names = ("a", "b", "c", "d")
    splits = ("train", "train", "val", "val")
    classes = ("fear", "joy")
    labels = np.array([0, 1, 1, 0])

    def __init__(self, clip):
        self.clip = np.array(clip)

    def indices(self, split):
        return np.flatnonzero(np.array([self.splits[clip] == split for clip in self.clip]))


def test_a_store_is_read_clip_by_clip():
    values = table((-0.5, 0.5), (-0.7, 0.5), (0.5, 0.5), (0, 0), (0.4, 0.4), (0, 0), (0.6, 0.2))
    asked = []

    def estimate(indices):
        asked.append(indices.tolist())
        return values[indices]

    found = zero_shot_on(Store([0, 0, 1, 2, 2, 2, 3]), estimate)
    assert asked == [[0, 1, 2], [3, 4, 5, 6]]
    np.testing.assert_allclose(found.prototypes.points, [[-0.6, 0.5], [0.5, 0.5]], atol=1e-7)
    assert found.names == ("c", "d")
    assert found.frames.tolist() == [1, 0]
    assert found.answers.tolist() == [1, 1]
    assert found.truth.tolist() == [1, 0]


def test_a_clip_of_a_store_without_frames_is_refused_by_name():
    with pytest.raises(InputError, match=r"E961 d: has no frames"):
        zero_shot_on(Store([0, 1, 2]), lambda indices: np.zeros((len(indices), 2)))


def test_clips_without_a_class_are_left_out():
    store = Store([0, 1, 2, 3])
    store.labels = np.array([0, 1, 1, -1])
    found = zero_shot_on(store, lambda indices: np.ones((len(indices), 2)) * indices[:, None])
    assert (found.left_out, len(found.truth)) == (1, 1)
    assert SimpleNamespace(**found.to_dict()).chance == 0.5
