"""Labels travel to frames of events by the nearest time stamp."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

Times = npt.NDArray[np.int64] | npt.NDArray[np.float64]


def nearest_labels(
    frame_times_us: Times, label_times_us: Times, *, max_gap_us: float | None = None
) -> npt.NDArray[np.int64]:
    """Return, for every frame, the index of the label nearest in time, int64 [F]; of two equally near, the earlier.

    Both times in microseconds; those of the labels ascend. For frames of events take their ``mean_times_us``.
    ``max_gap_us`` refuses a frame whose nearest label is farther away; None accepts any.
    Raises ``InputError`` (E784) for times that are no numbers, labels out of order or none, and too wide a gap.

    >>> nearest_labels(np.array([0, 19, 20, 21, 99]), np.array([0, 40, 80])).tolist()
    [0, 0, 0, 1, 2]
    """
    frames, labels = _times("frame_times_us", frame_times_us), _times("label_times_us", label_times_us)
    if labels.size == 0 and frames.size:
        raise _error("label_times_us", "no label", "at least one", "")
    back = np.flatnonzero(np.diff(labels) <= 0)
    if back.size:
        first = int(back[0])
        found = f"label {first + 1} at {labels[first + 1]:.15g} us after {labels[first]:.15g} us"
        raise _error("label_times_us", found, "ascending", "sort the labels and keep one per time")
    if frames.size == 0:
        return np.zeros(0, np.int64)
    right = np.clip(np.searchsorted(labels, frames), 0, labels.size - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(labels[right] - frames) < np.abs(frames - labels[left]), right, left)
    _check_gaps(np.abs(labels[nearest] - frames), frames, max_gap_us)
    return nearest.astype(np.int64)


def _times(name: str, values: Times) -> npt.NDArray[np.float64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iuf"):
        raise _error(name, f"{array.dtype} {list(array.shape)}", "numbers [n]", "give times in microseconds")
    times = array.astype(np.float64)
    strange = np.flatnonzero(~np.isfinite(times))
    if strange.size:
        raise _error(name, f"{strange.size} value(s) not finite, the first at {int(strange[0])}", "finite", "")
    return times


def _check_gaps(gaps: npt.NDArray[np.float64], frames: npt.NDArray[np.float64], limit: float | None) -> None:
    if limit is None:
        return
    if not limit >= 0:
        raise _error("max_gap_us", repr(limit), "a number, at least 0", "")
    far = np.flatnonzero(gaps > limit)
    if far.size:
        worst = int(np.argmax(gaps))
        found = (
            f"{far.size} frame(s) too far from any label, the worst at {frames[worst]:.15g} us by {gaps[worst]:.15g} us"
        )
        over = f"{gaps[worst] - limit:.15g}"
        finding = Finding("E784", "error", "labels", found, f"{limit:g} us", over, "leave these frames out")
        raise InputError(finding)


def _error(node: str, found: str, limit: str, fix: str) -> InputError:
    return InputError(Finding("E784", "error", node, found, limit, fix=fix))
