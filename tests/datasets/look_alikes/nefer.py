"""A tiny NEFER, laid out as the real one: lists without a header, raw recordings, frames by user and video."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

EXPECTED = ("Happiness", "Fear", "Anger")
REPORTED = ("Surprise", "None", "Anger")
USERS = {"train": ("user_01", "user_02"), "validation": ("user_03",)}
FRAMES = 51
OLD_FOLDERS = {"event": "../event_frame_NEW", "train_gopro": "rgb_frames", "validation_gopro": "../gopro_frame"}


def video_name(user: str, index: int, camera: str = "event") -> str:
    number = user.removeprefix("user_")
    return f"user{number}_2022-06-08_12-20-0{index}_cd" if camera == "event" else f"GOPR0{number}{index}"


def rows(split: str, camera: str, labels: tuple[str, ...], frames: int) -> str:
    old = OLD_FOLDERS.get(f"{split}_{camera}") or OLD_FOLDERS[camera]
    lines = []
    for user in USERS[split]:
        for index, label in enumerate(labels):
            video = video_name(user, index, camera)
            lines += [f"{user},{video},{old}/{user}/{video}/frame_{k:02d}.png,{label}" for k in range(frames)]
    return "\n".join(lines) + "\n"


def make_nefer(root: Path, *, frames: int = FRAMES, pictures: bool = False, suffix=".raw", flat: bool = False) -> Path:
    """Write the eight lists, a raw file per video and, with ``pictures``, the frames of both cameras."""
    for split in USERS:
        for camera in ("event", "gopro"):
            for kind, labels, ending in (("expected", EXPECTED, ""), ("reported", REPORTED, "_subjective")):
                folder = root / "annotations" / f"{kind}_emotions"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{split}_{camera}{ending}.csv").write_text(rows(split, camera, labels, frames))
    (root / "annotations" / ".~lock.train_event.csv#").write_text(",someone,somewhere;")
    for user in [user for users in USERS.values() for user in users]:
        for index in range(len(EXPECTED)):
            folder = root / "event_raw" if flat else root / "event_raw" / user
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{video_name(user, index)}{suffix}").write_bytes(b"% evt 3.0\n")
            if pictures:
                write_frames(root / "event_frames" / user / video_name(user, index), frames)
                write_frames(root / "rgb_frames" / user / video_name(user, index, "gopro"), frames)
    return root


def write_frames(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        assert cv2.imwrite(str(folder / f"frame_{number:02d}.png"), np.full((16, 16), number, np.uint8))
