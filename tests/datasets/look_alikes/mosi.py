"""A tiny CMU-MOSI: published video ids in published layouts, both label forms, clips of a few pixels."""

from pathlib import Path

import h5py
import numpy as np

HEADER = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"

CLIPS = {
    "03bSnISJMiM": ("train", (2.4, -0.8, 0.0)),
    "2iD-tVS8NPw": ("train", (-1.6, 3.0)),
    "_dI--eQ6qVU": ("valid", (-3.0, 1.2)),
    "c7UH_rxdZv4": ("test", (0.4, -2.2, 0.0)),
}
"""Video: (mode, the sentiments of its clips 1, 2, ..); 5 train, 2 valid, 3 test clips, two of them rated 0."""


def label_rows():
    """Return the lines of label.csv, header first."""
    rows = [HEADER]
    for video, (mode, sentiments) in CLIPS.items():
        for clip, value in enumerate(sentiments, start=1):
            annotation = "Positive" if value > 0 else "Negative" if value < 0 else "Neutral"
            rows.append(f'{video},{clip},"WELL, THAT WAS ""IT""",{value},,,,{annotation},{mode}')
    return rows


def write_csv(path, rows=None):
    """Write MMSA's label.csv."""
    Path(path).write_text("\n".join(label_rows() if rows is None else rows) + "\n", encoding="utf-8")


def write_csd(path, videos=None, root="Opinion Segment Labels"):
    """Write the label sequence as the CMU-MultimodalSDK does: <root>/data/<video>/{features, intervals}."""
    if videos is None:
        videos = {video: sentiments for video, (_, sentiments) in CLIPS.items()}
    with h5py.File(path, "w") as file:
        group = file.create_group(root)
        data = group.create_group("data")
        for video, sentiments in videos.items():
            start = 4.0 * np.arange(len(sentiments))
            columns = data.create_group(video)
            packed = {"compression": "gzip", "compression_opts": 9}
            columns.create_dataset("features", data=np.array(sentiments, np.float32)[:, None], **packed)
            columns.create_dataset("intervals", data=np.stack([start, start + 3.5], 1).astype(np.float32), **packed)
        meta = group.create_group("metadata")
        for name, text in (("root name", f'"{root}"'), ("dataset name", '"CMU-MOSI"')):
            meta.create_dataset(name, (1,), dtype=h5py.string_dtype())[0] = text


def clip_paths(root, layout="mmsa"):
    """Return {(video, clip): path} of every clip in one of the two layouts."""
    raw = Path(root) / "Raw"
    return {
        (video, str(clip)): raw / video / f"{clip}.mp4"
        if layout == "mmsa"
        else raw / "Video" / "Segmented" / f"{video}_{clip}.mp4"
        for video, (_, sentiments) in CLIPS.items()
        for clip in range(1, len(sentiments) + 1)
    }


def make_mosi(root, *, layout="mmsa", labels="csv", video=None):
    """Make the folder; ``video(path)`` writes one clip, by default a few bytes that are no video."""
    for index, path in enumerate(clip_paths(root, layout).values()):
        path.parent.mkdir(parents=True, exist_ok=True)
        if video is None:
            path.write_bytes(b"clip %d" % index)
        else:
            video(path)
    if labels == "csv":
        write_csv(Path(root) / "label.csv")
    else:
        write_csd(Path(root) / "CMU_MOSI_Opinion_Labels.csd")
    return Path(root)
