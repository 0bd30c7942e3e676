"""Every format: the events of hand-built files, round trips, and independent readers beside ours."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import readers_make as make

from neuroemo.events.files import save_events
from neuroemo.events.readers import file_format, open_events, write_events


def put(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def faery_file(path, events, sensor=make.SENSOR, zero_t0=False, **options):
    faery = pytest.importorskip("faery")
    from faery.file_encoder import events_to_file

    theirs = np.zeros(len(events), faery.EVENTS_DTYPE)
    for ours, name in zip("txyp", ("t", "x", "y", "on"), strict=True):
        theirs[name] = events[ours]
    events_to_file([theirs], path, sensor[:2], zero_t0=zero_t0, **options)
    return path


def codes(recording):
    return [finding.code for finding in recording.findings]


@pytest.mark.parametrize(
    ("name", "content", "expected", "kind"),
    [
        ("a.raw", make.evt3(), make.EVT3_EVENTS, "EVT 3"),
        ("a.raw", make.evt2(), make.EVT2_EVENTS, "EVT 2"),
        ("a.raw", make.evt21("little"), make.EVT21_EVENTS, "EVT 2.1"),
        ("a.raw", make.evt21("legacy"), make.EVT21_EVENTS, "EVT 2.1"),
        ("a.dat", make.dat(), make.DAT_EVENTS, "DAT 2"),
        ("a.dat", make.dat(kind=0), make.DAT_EVENTS, "DAT 2"),
    ],
    ids=["evt3", "evt2", "evt21-little", "evt21-legacy", "dat-cd", "dat-2d"],
)
def test_files_built_word_by_word_give_the_events_written_beside_them(tmp_path, name, content, expected, kind):
    recording = open_events(put(tmp_path, name, content))
    assert np.array_equal(recording.events, expected)
    assert recording.events.dtype == expected.dtype
    assert recording.sensor_size == make.SENSOR
    assert recording.meta["format"] == kind
    assert recording.findings == ()


def test_the_24_bit_time_of_evt3_wraps_after_16_8_seconds(tmp_path):
    words = (0x0001, 0x8800, 0x2003, 0x8FFF, 0x6FFF, 0x2004, 0x8000, 0x2005)
    recording = open_events(put(tmp_path, "a.raw", make.evt3(words)))
    assert recording.events["t"].tolist() == [2048 * 4096, (1 << 24) - 1, 1 << 24]


def test_the_32_bit_time_of_dat_wraps(tmp_path):
    events = make.array((0xFFFFFFF0, 1, 1, 1), ((1 << 32) + 5, 2, 2, 0))
    assert np.array_equal(open_events(put(tmp_path, "a.dat", make.dat(events))).events, events)


def test_events_in_front_of_the_first_time_word_have_no_time_and_are_dropped_with_a_finding(tmp_path):
    early3 = (0x0004, 0x2805, 0x3158, 0x4FFF, *make.EVT3_WORDS)  # 1 event, then a vector from 344 on a 346 wide sensor
    recording = open_events(put(tmp_path, "a.raw", make.evt3(early3)))
    assert np.array_equal(recording.events, make.EVT3_EVENTS)
    assert "3 events" in recording.findings[0].found
    early2 = (make.evt2_event(1, 2, 3, 1), *make.EVT2_WORDS)
    recording = open_events(put(tmp_path, "b.raw", make.evt2(early2)))
    assert np.array_equal(recording.events, make.EVT2_EVENTS)
    assert codes(recording) == ["W773"]
    early21 = (make.evt21_event(1, 2, 3, 1, 0b11), *make.EVT21_WORDS)
    recording = open_events(put(tmp_path, "c.raw", make.evt21("little", early21)))
    assert np.array_equal(recording.events, make.EVT21_EVENTS)
    assert "2 events" in recording.findings[0].found


def test_undefined_words_and_held_times_are_counted(tmp_path):
    recording = open_events(put(tmp_path, "a.raw", make.evt3((*make.EVT3_WORDS, 0xB000, 0x9123))))
    assert codes(recording) == ["W769"]
    assert "2 words" in recording.findings[0].found
    words = (*make.EVT3_WORDS, 0x6009, 0x2006, 0x6004, 0x2007)
    recording = open_events(put(tmp_path, "b.raw", make.evt3(words)))
    assert recording.events["t"][-2:].tolist() == [8201, 8201]
    assert codes(recording) == ["W770"]
    words = (0x80000002, make.evt2_event(9, 0, 0, 1), make.evt2_event(4, 1, 1, 1))
    recording = open_events(put(tmp_path, "c.raw", make.evt2(words)))
    assert recording.events["t"].tolist() == [137, 137]
    assert codes(recording) == ["W770"]


@pytest.mark.parametrize("zero_t0", [False, True], ids=["absolute", "t0-in-header"])
@pytest.mark.parametrize("version", ["evt2", "evt3", "dat2"])
def test_faery_writes_what_we_read(tmp_path, version, zero_t0):
    events = make.random_events()
    path = tmp_path / ("a.dat" if version == "dat2" else "a.raw")
    faery_file(path, events, version=version, zero_t0=zero_t0)
    assert np.array_equal(open_events(path).events, events)


@pytest.mark.parametrize("suffix", [".npz", ".h5", ".hdf5", ".aedat4"])
@pytest.mark.parametrize("count", [0, 1, 70_000])
def test_what_is_written_is_read_back_exactly(tmp_path, suffix, count):
    events = make.random_events(count)
    path = tmp_path / f"a{suffix}"
    write_events(path, events, make.SENSOR)
    recording = open_events(path)
    assert np.array_equal(recording.events, events)
    assert recording.sensor_size == make.SENSOR
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_hdf5_of_the_same_events_is_the_same_file(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_events(tmp_path / name, make.random_events(), make.SENSOR)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_aedat_package_reads_what_we_write_and_we_agree(tmp_path):
    aedat = pytest.importorskip("aedat")
    events = make.random_events()
    write_events(tmp_path / "a.aedat4", events, make.SENSOR)
    theirs = np.concatenate([packet["events"] for packet in aedat.Decoder(tmp_path / "a.aedat4") if "events" in packet])
    for ours, name in zip("txyp", ("t", "x", "y", "on"), strict=True):
        assert np.array_equal(theirs[name], events[ours])


def test_aedat2_of_a_davis_turns_both_axes_and_leaves_other_samples_out(tmp_path):
    pairs = [(make.davis(5, 7, 1), 100), (1 << 31, 101), (make.davis(345, 259, 0), 102), (1 << 10, 103)]
    recording = open_events(put(tmp_path, "a.aedat", make.aedat2(pairs)))
    assert np.array_equal(recording.events, make.array((100, 5, 7, 1), (102, 345, 259, 0)))
    assert codes(recording) == ["W778"]
    assert "2 samples" in recording.findings[0].found


def test_aedat2_of_a_dvs128_counts_on_as_zero(tmp_path):
    pairs = [((127 - 9) << 8 | (127 - 3) << 1 | 0, 5), (0 | 1, 0x7FFFFFFF)]
    recording = open_events(put(tmp_path, "a.aedat", make.aedat2(pairs, chip="ch.unizh.ini.jaer.chip.retina.DVS128")))
    assert np.array_equal(recording.events, make.array((5, 3, 9, 1), (0x7FFFFFFF, 127, 127, 0)))
    assert recording.sensor_size == (128, 128, 2)


def test_aedat2_of_v2e_names_no_camera_so_the_size_is_asked_for(tmp_path):
    path = put(tmp_path, "a.aedat", make.aedat2([(make.davis(5, 7, 1, 240, 180), 1)], chip=""))
    assert np.array_equal(open_events(path, sensor_size=(240, 180)).events, make.array((1, 5, 7, 1)))


def test_hdf5_of_v2e(tmp_path):
    events = make.random_events(500)
    table = np.stack([events[name].astype(np.uint32) for name in "txyp"], axis=1)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("events", data=table, maxshape=(None, 4), compression="gzip")
    recording = open_events(tmp_path / "a.h5", sensor_size=(346, 260))
    assert np.array_equal(recording.events, events)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["frame"] = np.zeros((2, 260, 346), np.uint8)
    assert open_events(tmp_path / "a.h5").sensor_size == make.SENSOR


def test_hdf5_with_a_group_and_a_time_offset(tmp_path):
    events = make.random_events(500)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in "txyp":
            file[f"events/{name}"] = events[name].astype(np.uint32)
        file["t_offset"] = np.int64(1_000_000)
    recording = open_events(tmp_path / "a.h5", sensor_size=(346, 260))
    assert np.array_equal(recording.events["t"], events["t"] + 1_000_000)
    assert np.array_equal(recording.events[["x", "y", "p"]], events[["x", "y", "p"]])


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"1,2,3,1\n4,5,6,0\n", [(1, 2, 3, 1), (4, 5, 6, 0)]),
        (b"# v2e\n0.000001 2 3 1\n0.5 5 6 0\n", [(1, 2, 3, 1), (500000, 5, 6, 0)]),
        (b"x,y,polarity,timestamp\n2,3,-1,10\n5,6,1,20\n", [(10, 2, 3, 0), (20, 5, 6, 1)]),
        (b"t;x;y;p;label\n1;2;3;1;cat\n\n4;5;6;0;dog", [(1, 2, 3, 1), (4, 5, 6, 0)]),
    ],
    ids=["csv", "v2e", "named", "extra-column"],
)
def test_text(tmp_path, content, rows):
    recording = open_events(put(tmp_path, "a.txt", content), sensor_size=(10, 10))
    assert np.array_equal(recording.events, make.array(*rows))


def test_text_whose_integer_times_are_seconds_needs_to_be_told(tmp_path):
    path = put(tmp_path, "a.csv", b"1,2,3,1\n4,5,6,0\n")
    assert open_events(path, sensor_size=(10, 10)).meta["time_unit"] == "us"
    recording = open_events(path, sensor_size=(10, 10), time_unit="s")
    assert recording.events["t"].tolist() == [1_000_000, 4_000_000]


def test_csv_of_faery_states_the_sensor(tmp_path):
    events = make.random_events()
    path = faery_file(tmp_path / "a.csv", events)
    recording = open_events(path)
    assert np.array_equal(recording.events, events)
    assert recording.sensor_size == make.SENSOR


def test_npz(tmp_path):
    events = make.random_events()
    save_events(tmp_path / "a.npz", events, make.SENSOR)
    assert np.array_equal(open_events(tmp_path / "a.npz").events, events)


def test_sorting_is_done_only_on_request_and_keeps_the_order_of_equal_times(tmp_path):
    path = put(tmp_path, "a.csv", b"5,1,0,1\n2,2,0,1\n5,3,0,1\n2,4,0,1\n")
    recording = open_events(path, sensor_size=(10, 10), sort=True)
    assert recording.events["x"].tolist() == [2, 4, 1, 3]
    assert codes(recording) == ["W771"]


def test_the_content_tells_the_format_and_not_the_suffix(tmp_path):
    contents = {"raw": make.evt3(), "dat": make.dat(), "aedat2": make.aedat2([]), "text": b"1 2 3 1\n"}
    assert {file_format(put(tmp_path, kind, content)) for kind, content in contents.items()} == set(contents)
