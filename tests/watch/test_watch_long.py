"""Memory does not grow with the video."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from tests.watch.material import boxes, make_video, rows_of

ROOT = Path(__file__).resolve().parents[2]

WATCH = """
import json, sys
from pathlib import Path
from tests.watch.material import SETTINGS, estimator
from neuroemo.watch.outputs import Outputs
from neuroemo.watch.run import watch
from neuroemo.watch.source import Span, VideoSource

marks, at = {}, [int(word) for word in sys.argv[2].split(",")]

def progress(done, total, note):
    if done in at:
        # Not getrusage: its peak is that of the parent until the child has a higher one.
        lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
        marks[done] = [int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]

video = Path(sys.argv[1])
outputs = Outputs(video.with_name("a.mp4"), video.with_name("a.csv"))
told = watch(VideoSource(video, SETTINGS, Span()), estimator(6), outputs, progress=progress)
print(json.dumps({"marks": marks, "told": told}))
"""


def watched(folder: Path, seconds: int, at: list[int]) -> dict:
    times = [Fraction(number, 25) for number in range(seconds * 25 + 1)]
    video = make_video(folder / "v.mp4", times, (48, 32))
    command = [sys.executable, "-c", WATCH, str(video), ",".join(map(str, at))]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["told"]["frames"] == seconds * 25 == len(rows_of(folder / "a.csv"))
    assert boxes(folder / "a.mp4")[:2] == ["ftyp", "moov"]
    return said


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_twenty_seconds_take_no_more_memory_than_ten(tmp_path):
    marks = watched(tmp_path, 20, [250, 500])["marks"]
    (early, _), (late, peak) = marks["250"], marks["500"]
    # A picture takes 2.8 MB: 250 of them that stayed would be 690 MB, 250 small ones of a video 38 MB.
    assert late - early < 12e6
    assert peak - late < 40e6


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_ten_minutes_take_no_more_memory_than_one(tmp_path):
    said = watched(tmp_path, 600, [1500, 8000, 15000])
    first, last = said["marks"]["1500"], said["marks"]["15000"]
    assert last[0] - first[0] < 12e6, said["marks"]
    assert last[1] - first[1] < 12e6, said["marks"]
