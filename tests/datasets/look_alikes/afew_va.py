"""A tiny AFEW-VA, laid out as the real one: folders NNN (or DD/NNN) with numbered frames and NNN.json."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

ACTORS = ("Anna Karenina", "Bob Roberts", "Cyrano", "Doctor No", "Emma", "anna  karenina", "Bob Roberts")
SIZE = (24, 32)


def picture(clip: int, frame: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Return a colour picture uint8 [H, W, 3] (BGR) that no other clip and frame has."""
    return np.random.default_rng([clip, frame]).integers(0, 256, (*size, 3), dtype=np.uint8)


def annotation(actor: str, numbers: Iterable[int], landmarks: bool = True) -> dict:
    frames = {}
    for number in numbers:
        frame = {"valence": number % 21 - 10, "arousal": 10 - number % 21}
        if landmarks:
            frame["landmarks"] = [[number + 0.5, float(point)] for point in range(68)]
        frames[f"{number:05d}"] = frame
    return {"actor": actor, "video_id": "0001.avi", "frames": frames}


def write_clip(folder: Path, actor: str, numbers: Iterable[int], suffix: str = ".png", landmarks: bool = True) -> None:
    folder.mkdir(parents=True)
    numbers = list(numbers)
    for number in numbers:
        assert cv2.imwrite(str(folder / f"{number:05d}{suffix}"), picture(int(folder.name), number))
    (folder / f"{folder.name}.json").write_text(json.dumps(annotation(actor, numbers, landmarks)))


def make_afew_va(
    root: Path, *, actors=ACTORS, frames: int = 4, grouped: bool = False, suffix=".png", landmarks: bool = True
) -> Path:
    """Write one clip per actor, 001 and up, with ``frames`` frames, and a cropped copy that is to be ignored."""
    for index, actor in enumerate(actors):
        name = f"{index + 1:03d}"
        folder = root / f"{index // 3 + 1:02d}" / name if grouped else root / name
        write_clip(folder, actor, range(frames), suffix, landmarks)
    (root / "001_cropped").mkdir()
    (root / "001_cropped" / "00000.png").write_bytes(b"not a picture")
    return root
