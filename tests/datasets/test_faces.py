"""The procedural faces: labels, splits, determinism, resuming, and what frame 0 must not tell."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hw_targets.finding import InputError
from neuroemo.datasets.faces import MIN_VALENCE, FacesSettings, plan_faces, render_faces
from neuroemo.datasets.faces_clip import clip_affect, clip_frames, expression_at, plan_clip
from neuroemo.datasets.folder import scan_folder
from neuroemo.events.video import read_gray


def frames_of(valence, arousal=0.0, subject=0, index=0, frames=14):
    return clip_frames(0, subject, index, valence, arousal, size=48, frames=frames, fps=15.0)


def test_plan_is_balanced_disjoint_and_bounded():
    clips = plan_faces(FacesSettings(subjects=20, clips_per_subject=10))
    assert len({clip.file for clip in clips}) == len(clips) == 200
    splits = {}
    for clip in clips:
        splits.setdefault(clip.subject, set()).add(clip.split)
        assert MIN_VALENCE <= abs(clip.valence) <= 1
        assert abs(clip.arousal) <= 1
        assert clip.label == ("positive" if clip.valence > 0 else "negative")
    assert Counter(next(iter(s)) for s in splits.values()) == {"train": 12, "val": 4, "test": 4}
    assert all(len(s) == 1 for s in splits.values())
    assert set(Counter((clip.subject, clip.label) for clip in clips).values()) == {5}


def test_arousal_and_order_say_nothing_about_the_class():
    clips = plan_faces(FacesSettings(subjects=100, clips_per_subject=20))
    signs = np.sign([clip.valence for clip in clips])
    assert abs(np.corrcoef(signs, [clip.arousal for clip in clips])[0, 1]) < 0.05
    assert abs(np.corrcoef(signs, [clip.clip_index for clip in clips])[0, 1]) < 0.05


def test_frame_zero_is_the_same_for_every_label():
    for index in range(6):
        versions = [frames_of(v, a, index, index, frames=2)[0] for v, a in ((-1, -1), (1, 1), (0.5, 0))]
        assert np.array_equal(versions[0], versions[1])
        assert np.array_equal(versions[0], versions[2])


def test_label_shows_later():
    sad, glad = frames_of(-0.7), frames_of(0.7)
    assert np.array_equal(sad[:2], glad[:2])
    assert (sad[13] != glad[13]).mean() > 0.02


def test_expression_is_there_within_thirteen_frames():
    for seed in range(50):
        plan = plan_clip(np.random.default_rng(seed), 0.8, -0.4)
        assert expression_at(plan, 2, 15.0).valence == 0.0
        assert expression_at(plan, 13, 15.0).valence == pytest.approx(0.8)


def test_rendering_is_deterministic():
    assert np.array_equal(frames_of(0.5), frames_of(0.5))
    assert not np.array_equal(frames_of(0.5), frames_of(0.5, index=1))
    assert not np.array_equal(frames_of(0.5), frames_of(0.5, subject=1))


def test_first_frames_of_a_set_carry_no_label():
    settings = FacesSettings(subjects=40, clips_per_subject=10, seed=5)
    clips = plan_faces(settings)
    labels, statistics = [], []
    for clip in clips:
        first = clip_frames(
            5, clip.subject_index, clip.clip_index, clip.valence, clip.arousal, size=32, frames=1, fps=15.0
        )[0].astype(float)
        labels.append(clip.valence > 0)
        statistics.append([first.mean(), first.std(), first[20:28, 10:22].mean(), first[10:16].std()])
    for column in np.array(statistics).T:
        assert 0.42 < roc_auc_score(labels, column) < 0.58


def test_files_and_table(faces):
    scan = scan_folder(faces)
    assert scan.classes == ("negative", "positive")
    assert scan.findings == ()
    assert len(scan.entries) == 20
    video = read_gray(scan.entries[0].path, size=48)
    assert video.frames.shape == (7, 48, 48)
    assert (video.fps, video.source_size) == (15.0, (48, 48))
    with (faces / "labels.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["file", "label", "subject", "split", "valence", "arousal"]
    assert not list(faces.glob("**/.*"))


def test_resume_gives_the_same_bytes_and_keeps_finished_files(faces, tiny, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(faces, copy)
    files = sorted(copy.glob("*/*.mp4"))
    wanted = {file: file.read_bytes() for file in files}
    for file in files[::3]:
        file.unlink()
    stamps = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    calls = []
    render_faces(copy, tiny, workers=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 20) for n in range(14, 21)]
    assert {file: file.read_bytes() for file in sorted(copy.glob("*/*.mp4"))} == wanted
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in stamps.items())


def test_other_settings_are_refused(faces):
    with pytest.raises(InputError, match="E752") as error:
        render_faces(faces, FacesSettings(subjects=5, clips_per_subject=6, size=48, frames=7, seed=3))
    assert "made with clips_per_subject=4; limit clips_per_subject=6" in str(error.value)


def test_other_generator_version_is_refused(faces, tiny, tmp_path):
    record = json.loads((faces / "faces.json").read_text())
    (tmp_path / "faces.json").write_text(json.dumps({**record, "version": 0}))
    with pytest.raises(InputError, match="made with version=0"):
        render_faces(tmp_path, tiny)


@pytest.mark.parametrize("text", ["[]", "{", "\xff"])
def test_damaged_record_is_refused(tiny, tmp_path, text):
    (tmp_path / "faces.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="not a settings file"):
        render_faces(tmp_path, tiny)


def test_foreign_folder_and_file_are_refused(tiny, tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="folder holds other files"):
        render_faces(tmp_path, tiny)
    with pytest.raises(InputError, match="E753"):
        render_faces(tmp_path / "a.txt" / "b", tiny)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"subjects": 4}, "E750"),
        ({"clips_per_subject": 3}, "E751"),
        ({"size": 33}, "E751"),
        ({"size": 16}, "E750"),
        ({"frames": 1}, "E750"),
        ({"seed": -1}, "E750"),
        ({"fps": float("nan")}, "E750"),
        ({"fps": None}, "E750"),
    ],
)
def test_settings_out_of_range(changes, code):
    with pytest.raises(InputError, match=code):
        FacesSettings(**changes)


def test_settings_just_inside():
    FacesSettings(subjects=5, clips_per_subject=2, size=32, frames=2, fps=1.0)


def test_truth_of_every_frame_is_the_smooth_rise_of_its_clip(tiny):
    clip = plan_faces(tiny)[5]
    truth = clip_affect(3, clip.subject_index, clip.clip_index, clip.valence, clip.arousal, frames=20, fps=15.0)
    plan = plan_clip(np.random.default_rng([3, 2, clip.subject_index, clip.clip_index]), clip.valence, clip.arousal)
    for frame in range(20):
        x = min(1.0, max(0.0, (frame - plan.rest) / plan.rise))
        share = 3 * x**2 - 2 * x**3
        assert truth["valence"][frame] == pytest.approx(clip.valence * share, abs=1e-7)
        assert truth["arousal"][frame] == pytest.approx(clip.arousal * share, abs=1e-7)
    assert truth["valence"][19] == np.float32(clip.valence)
    assert not np.signbit(truth["valence"][0])
