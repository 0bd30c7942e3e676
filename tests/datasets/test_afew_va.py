"""AFEW-VA: ratings and folds against hand-made values and scikit-learn; every damage by name; mutated JSON."""

import json
import pickle
import shutil

import cv2
import numpy as np
import pytest
from look_alikes.afew_va import ACTORS, SIZE, make_afew_va, picture, write_clip
from sklearn.model_selection import GroupKFold

from hw_targets.finding import InputError
from neuroemo.datasets.afew_va import read_landmarks, save_folds, scan_afew_va, stream_clip, subject_folds


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_afew_va(tmp_path_factory.mktemp("afew") / "set")


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "set")


def edit(root, name, change):
    file = root / name / f"{name}.json"
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def refusal(root, **options):
    with pytest.raises(InputError) as caught:
        scan_afew_va(root, **options)
    assert caught.value.exit_code == 2
    return caught.value


def test_entries(root):
    data = scan_afew_va(root)
    assert [entry.name for entry in data.entries] == [f"{index + 1:03d}" for index in range(len(ACTORS))]
    assert data.classes == ()
    first = data.entries[0]
    assert first.path == root / "001"
    assert (first.label, first.split, first.span_s) == (None, None, None)
    assert first.values["valence"].dtype == np.float32
    np.testing.assert_array_equal(first.values["valence"], np.float32([-1.0, -0.9, -0.8, -0.7]))
    np.testing.assert_array_equal(first.values["arousal"], np.float32([1.0, 0.9, 0.8, 0.7]))
    assert pickle.loads(pickle.dumps(first)).name == "001"


def test_one_person_is_in_one_fold(root):
    data = scan_afew_va(root)
    assert data.entries[0].subject == data.entries[5].subject == "anna karenina"
    assert data.entries[0].fold == data.entries[5].fold
    tested = []
    for index in range(5):
        parts = data.fold(index, with_val=True)
        people = [{entry.subject for entry in parts[split]} for split in ("train", "val", "test")]
        assert all(people)
        assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]  # noqa: PT018
        assert sum(map(len, parts.values())) == len(ACTORS)
        assert data.fold(index)["val"] == ()
        tested += [entry.name for entry in parts["test"]]
    assert sorted(tested) == [entry.name for entry in data.entries]
    found = [(finding.code, finding.found) for finding in data.findings]
    assert ("W793", "'Anna Karenina' and 'anna  karenina' taken as one subject, 'anna karenina'") in found


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_those_of_scikit_learn(seed):
    # Numbers of clips that differ leave no tie among the people, so the assignment is unique while folds differ too.
    rng = np.random.default_rng(seed)
    counts = rng.choice(np.arange(1, 60), 12, replace=False)
    clips = [f"person{index:02d}" for index, count in enumerate(counts) for _ in range(count)]
    rng.shuffle(clips)
    splitter = GroupKFold(5).split(np.zeros(len(clips)), groups=clips)
    golden = {clips[i]: fold for fold, (_, test) in enumerate(splitter) for i in test}
    assert subject_folds(clips) == golden


def test_folds_by_hand():
    # 3, 2, 2, 1, 1, 1 clips into two folds: c|b, then d to 1 (2 < 3), e to 0 (3 < 4), f on the tie 4 = 4 to 0.
    clips = ["c", "c", "c", "d", "d", "b", "b", "g", "f", "e"]
    assert subject_folds(clips, 2) == {"c": 0, "b": 1, "d": 1, "e": 0, "f": 0, "g": 1}


def test_both_layouts_give_the_same_entries(root, tmp_path):
    grouped = scan_afew_va(make_afew_va(tmp_path / "zips", grouped=True))
    plain = scan_afew_va(root)
    assert grouped.entries[3].path == tmp_path / "zips" / "02" / "004"
    assert [(e.name, e.subject, e.fold) for e in grouped.entries] == [
        (e.name, e.subject, e.fold) for e in plain.entries
    ]


def test_other_names_of_frames_and_no_landmarks(tmp_path):
    root = make_afew_va(tmp_path / "set", suffix=".jpg", landmarks=False)
    for path in (root / "002").glob("*.jpg"):
        path.rename(path.with_name(f"frame_{path.name}"))
    data = scan_afew_va(root)
    assert read_landmarks(data.entries[0]) is None
    assert sum(len(piece.frames) for piece in stream_clip(data.entries[1])) == 4


def test_landmarks(root):
    entries = scan_afew_va(root).entries
    points = read_landmarks(entries[0])
    assert points.shape == (4, 68, 2)
    assert points[3, 7].tolist() == [3.5, 7.0]
    edit(root, "001", lambda d: d["frames"]["00002"].pop("landmarks"))
    scan_afew_va(root)
    with pytest.raises(InputError, match=r"E791 .*001\.json: no landmarks in the frames 00002; limit all frames"):
        read_landmarks(entries[0])


def test_count_is_reported(root):
    data = scan_afew_va(root)
    counts = [finding for finding in data.findings if finding.code == "W790"]
    assert [f.found for f in counts] == ["7 clips; not there: 008, 009, 010, 011, 012 and 588 more"]
    (root / "readme.txt").write_text("x")
    assert "'readme.txt'" in str(scan_afew_va(root).findings[1])


def test_folds_are_saved(root, tmp_path):
    data = scan_afew_va(root)
    save_folds(data, tmp_path / "folds.json")
    saved = json.loads((tmp_path / "folds.json").read_text())
    assert saved["clips"] == {entry.name: entry.fold for entry in data.entries}
    assert saved["subjects"]["cyrano"] == next(e.fold for e in data.entries if e.name == "003")
    with pytest.raises(InputError, match="E793"):
        save_folds(data, tmp_path / "nowhere" / "folds.json")


def gray_by_hand(colour):
    blue, green, red = (colour[..., index].astype(float) for index in range(3))
    return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize("chunk", [1, 3, 64])
def test_stream_is_the_pictures(root, chunk):
    pieces = list(stream_clip(scan_afew_va(root).entries[1], chunk=chunk))
    assert [len(piece.frames) for piece in pieces] == {1: [1] * 4, 3: [3, 1], 64: [4]}[chunk]
    frames = np.concatenate([piece.frames for piece in pieces])
    assert frames.dtype == np.uint8
    assert np.concatenate([piece.times_us for piece in pieces]).tolist() == [0, 40000, 80000, 120000]
    assert {piece.source_size for piece in pieces} == {(32, 24)}
    for number, frame in enumerate(frames):
        assert np.abs(frame - gray_by_hand(picture(2, number))).max() <= 0.51


def test_stream_options(root):
    entry = scan_afew_va(root).entries[0]
    (piece,) = stream_clip(entry, fps=50, size=(6, 8), max_frames=3)
    assert piece.frames.shape == (3, 6, 8)
    assert piece.fps == 50.0
    assert piece.times_us.tolist() == [0, 20000, 40000]
    # A quarter of each side: the mean of 4 x 4 pixels of the gray picture.
    (whole,) = stream_clip(entry)
    means = whole.frames[0].reshape(6, 4, 8, 4).mean(axis=(1, 3))
    assert np.abs(piece.frames[0] - means).max() <= 0.51
    for options in (
        {"fps": 0},
        {"fps": float("nan")},
        {"size": 0},
        {"size": (1, 2, 3)},
        {"chunk": 0},
        {"max_frames": 1},
    ):
        with pytest.raises(InputError, match=f"E793 {next(iter(options))}"):
            stream_clip(entry, **options)


def test_gray_picture_is_kept_bit_for_bit(root):
    gray = np.random.default_rng(0).integers(0, 256, SIZE, dtype=np.uint8)
    for number in range(4):
        cv2.imwrite(str(root / "001" / f"{number:05d}.png"), gray)
    (piece,) = stream_clip(scan_afew_va(root).entries[0])
    assert (piece.frames == gray).all()


def test_gap_in_the_numbers_is_a_gap_in_time(root):
    (root / "001" / "00001.png").unlink()
    edit(root, "001", lambda d: d["frames"].pop("00001"))
    data = scan_afew_va(root)
    assert "W791" in {finding.code for finding in data.findings}
    assert data.entries[0].values["valence"].tolist() == np.float32([-1.0, -0.8, -0.7]).tolist()
    (piece,) = stream_clip(data.entries[0])
    assert piece.times_us.tolist() == [0, 80000, 120000]


def set_rating(value):
    return lambda d: d["frames"]["00001"].update(valence=value)


DAMAGE = {
    "no json": (lambda r: (r / "002/002.json").unlink(), "E791 ROOT/002/002.json: no annotation file"),
    "empty json": (lambda r: (r / "002/002.json").write_text(""), "E791 ROOT/002/002.json: not a readable JSON file"),
    "cut json": (lambda r: (r / "002/002.json").write_text('{"actor": "a"'), "not a readable JSON file: Expecting"),
    "binary json": (lambda r: (r / "002/002.json").write_bytes(b"\xff\xfe\x00"), "not a readable JSON file: 'utf-8'"),
    "nested json": (lambda r: (r / "002/002.json").write_text("[" * 10**6), "nested too deeply"),
    "list": (lambda r: (r / "002/002.json").write_text("[1]"), "002.json: a list; limit an object with actor"),
    "json is a folder": (
        lambda r: [(r / "002/002.json").unlink(), (r / "002/002.json").mkdir()],
        "002.json: not a regular file",
    ),
    "key twice": (
        lambda r: (r / "002/002.json").write_text('{"actor": "a", "actor": "b", "frames": {}}'),
        "'actor' given twice in one object",
    ),
    "NaN": (lambda r: edit(r, "002", set_rating(float("nan"))), "NaN is no number in JSON"),
    "huge": (lambda r: edit(r, "002", set_rating(10**400)), "valence out of order in frame '00001' a number"),
    "above 10": (lambda r: edit(r, "002", set_rating(11)), "'00001' 11; limit a whole number of -10..10"),
    "below -10": (lambda r: edit(r, "002", set_rating(-11)), "'00001' -11; limit a whole number of -10..10"),
    "rescaled": (lambda r: edit(r, "002", set_rating(0.3)), "valence out of order in frame '00001' 0.3"),
    "text": (lambda r: edit(r, "002", set_rating("3")), "valence out of order in frame '00001' '3'"),
    "true": (lambda r: edit(r, "002", set_rating(True)), "valence out of order in frame '00001' true or false"),
    "no arousal": (lambda r: edit(r, "002", lambda d: d["frames"]["00002"].pop("arousal")), "'00002' is missing"),
    "no actor": (lambda r: edit(r, "002", lambda d: d.pop("actor")), "002.json: actor is missing"),
    "blank actor": (lambda r: edit(r, "002", lambda d: d.update(actor="  ")), "actor '  '; limit a name of"),
    "unprintable actor": (lambda r: edit(r, "002", lambda d: d.update(actor="a\ud800")), "actor 'a\\ud800'"),
    "no frames": (lambda r: edit(r, "002", lambda d: d.update(frames={})), "002.json: frames an object; limit"),
    "odd frame number": (lambda r: edit(r, "002", lambda d: d["frames"].update(x={})), "no frame number in frame 'x'"),
    "number twice": (
        lambda r: edit(r, "002", lambda d: d["frames"].update({"1": {"valence": 0, "arousal": 0}})),
        "a frame number given twice in frame '1'",
    ),
    "landmarks": (
        lambda r: edit(r, "002", lambda d: d["frames"]["00000"]["landmarks"].pop()),
        "landmarks out of order in frame '00000'; limit 68 pairs",
    ),
    "landmark of text": (
        lambda r: edit(r, "002", lambda d: d["frames"]["00000"]["landmarks"][5].__setitem__(0, True)),
        "landmarks out of order in frame '00000'",
    ),
    "landmark far away": (
        lambda r: edit(r, "002", lambda d: d["frames"]["00000"]["landmarks"][5].__setitem__(0, -(10**30))),
        "landmarks out of order in frame '00000'",
    ),
    "frame lost": (
        lambda r: (r / "002/00002.png").unlink(),
        "E792 ROOT/002: 1 rated frame(s) without a picture: 00002",
    ),
    "rating lost": (
        lambda r: edit(r, "002", lambda d: d["frames"].pop("00003")),
        "E791 ROOT/002/002.json: 1 picture(s) without a rating: 00003.png",
    ),
    "frame empty": (lambda r: (r / "002/00002.png").write_bytes(b""), "E792 ROOT/002/00002.png: empty file (0 bytes)"),
    "frame dangles": (
        lambda r: [(r / "002/00002.png").unlink(), (r / "002/00002.png").symlink_to("nowhere")],
        "E792 ROOT/002/00002.png: not a regular file",
    ),
    "two pictures": (
        lambda r: shutil.copy(r / "002/00002.png", r / "002/00002.jpg"),
        "E792 ROOT/002: two pictures of frame 2: 00002.jpg and 00002.png",
    ),
    "clip twice": (
        lambda r: shutil.copytree(r / "002", r / "01/002"),
        "E790 ROOT: clip 002 is there twice: ROOT/002 and ROOT/01/002",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(root, damage):
    inflict, text = DAMAGE[damage]
    assert len(scan_afew_va(root).entries) == len(ACTORS)
    inflict(root) if damage != "clip twice" else [(root / "01").mkdir(), inflict(root)]
    error = refusal(root)
    first = [str(finding) for finding in error.findings if text.replace("ROOT", str(root)) in str(finding)]
    assert first, str(error)
    assert str(root) in first[0]


def test_limits_that_just_pass(root):
    edit(root, "002", set_rating(10))
    edit(root, "003", set_rating(-10.0))
    edit(root, "004", lambda d: d.update(actor=12))
    values = {entry.name: entry for entry in scan_afew_va(root).entries}
    assert values["002"].values["valence"][1] == 1.0
    assert values["003"].values["valence"][1] == -1.0
    assert values["004"].subject == "12"


def test_one_frame_is_too_few(root):
    write_clip(root / "009", "Nobody", [0])
    assert "009.json: 1 rated frame(s); limit at least 2 frames" in str(refusal(root))


def test_everything_wrong_at_once_or_left_out(root):
    (root / "001/001.json").unlink()
    (root / "003/00001.png").unlink()
    edit(root, "004", lambda d: [d.pop("actor"), d["frames"]["00000"].update(valence=99)])
    error = refusal(root)
    assert [finding.node.rsplit("/", 1)[1] for finding in error.findings] == ["001.json", "003", "004.json", "004.json"]
    # Four clips are left, of three people.
    few = str(refusal(root, skip_broken=True))
    assert "E793 folds: 3 subjects; limit at least 5" in few
    assert "W792 " + str(root / "003") + ": clip left out: 1 rated frame(s) without a picture: 00001" in few
    data = scan_afew_va(root, skip_broken=True, folds=3)
    assert [entry.name for entry in data.entries] == ["002", "005", "006", "007"]
    assert sum(finding.code == "W792" for finding in data.findings) == 4


def test_root_is_refused(tmp_path):
    assert "not a folder" in str(refusal(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("x")
    assert "E790" in str(refusal(tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    assert "no clip folders found; limit 001 to 600" in str(refusal(tmp_path / "empty"))
    make_afew_va(tmp_path / "above" / "AFEW-VA")
    assert f"did you mean {tmp_path / 'above' / 'AFEW-VA'}?" in str(refusal(tmp_path / "above"))


def test_names_that_are_nearly_one_are_a_warning(root):
    edit(root, "003", lambda d: d.update(actor="Émma"))
    near = [finding.found for finding in scan_afew_va(root, folds=2).findings if "differ only" in finding.found]
    assert near == ["subjects 'emma' and 'émma' differ only in accents or punctuation"]


def test_arguments_are_refused(root):
    for folds in (0, 1, True, 2.5, 601):
        assert "E793 folds" in str(refusal(root, folds=folds))
    assert "E793 skip_broken" in refusal(root, skip_broken="no").args[0]
    data = scan_afew_va(root, folds=2)
    for index in (-1, 2, True, "0"):
        with pytest.raises(InputError, match=r"E793 fold: .*; limit 0\.\.1"):
            data.fold(index)
    with pytest.raises(InputError, match="E793 with_val: 2 folds; limit at least 3"):
        data.fold(0, with_val=True)
    assert data.fold(1)["train"]


def test_folder_that_changed_is_refused(root):
    entry = scan_afew_va(root).entries[0]
    (root / "001/00003.png").unlink()
    with pytest.raises(InputError, match=r"E792 .*001: 3 frames; limit 4 ratings"):
        stream_clip(entry)
