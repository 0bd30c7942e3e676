"""Preparing a data set: the same bytes however it was run, and nothing lost or doubled however it was stopped."""

import multiprocessing
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hw_targets.finding import InputError
from neuroemo.datasets import parts, prepare
from neuroemo.datasets.catalogue import list_dataset
from neuroemo.datasets.clip_source import ClipSource
from neuroemo.datasets.parts import PartFolder, part_folder, part_key, parts_path
from neuroemo.datasets.prepare import prepare_clips
from neuroemo.datasets.prepared_store import check_store, manifest_path
from neuroemo.datasets.runner import DIED, run_jobs
from neuroemo.datasets.store import ClipStore
from neuroemo.events.clip import network_input
from neuroemo.events.framediff import FrameDiffSettings, video_to_clip

SMALL = FrameDiffSettings(size=16, steps=6)
FORK = multiprocessing.get_context("fork")


def listed(root):
    return list_dataset("folder", Path(root), SMALL)


def run(root, out, **options):
    return prepare_clips(listed(root), out, SMALL, **({"workers": 1} | options))


@pytest.fixture(scope="module")
def whole(faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "clips.h5"
    run(faces, path)
    return path


@pytest.fixture
def copy(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "faces")
    return tmp_path / "faces"


def files_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_read_is_what_was_simulated(faces, whole):
    with ClipStore.open(whole) as store:
        assert len(store) == 20
        batch = store.batch(range(20))
        for index in range(20):
            clip = video_to_clip(faces / store.names[index], SMALL)
            assert np.array_equal(batch[:, index], network_input(clip))
            assert np.array_equal(store.clip(index).spikes, clip.spikes)
    assert check_store(whole).clips == 20
    assert files_in(whole.parent) == ["clips.h5", "clips.manifest.json"]


def test_bytes_do_not_depend_on_workers(faces, whole, tmp_path):
    made = run(faces, tmp_path / "b.h5", workers=2)
    assert (made.resumed, made.reused) == (0, False)
    assert (tmp_path / "b.h5").read_bytes() == whole.read_bytes()
    assert manifest_path(tmp_path / "b.h5").read_bytes() == manifest_path(whole).read_bytes()


def killing(moment):
    """Kill this process with SIGKILL before (even) or halfway through (odd) a write, counted by ``moment``."""
    count = iter(range(1000))
    move, write = os.replace, Path.write_bytes

    def replace_or_die(*args):
        if next(count) == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        move(*args)

    def write_or_die(self, data):
        if next(count) == moment:
            write(self, data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, data)

    os.replace, Path.write_bytes = replace_or_die, write_or_die


def few(root, out):
    data = listed(root)
    return prepare_clips(replace(data, entries=data.entries[::5]), out, SMALL, workers=1)


def killed_run(make, root, out, moment):
    killing(moment)
    make(root, out)


def kill(make, root, out, moment):
    process = FORK.Process(target=killed_run, args=(make, root, out, moment))
    process.start()
    process.join()
    return process.exitcode


def test_killed_at_every_write_loses_and_doubles_nothing(faces, tmp_path):
    few(faces, tmp_path / "whole.h5")
    whole, manifest = (tmp_path / "whole.h5").read_bytes(), (tmp_path / "whole.manifest.json").read_bytes()
    outcomes = []
    for moment in range(60):
        out = tmp_path / f"{moment}.h5"
        code = kill(few, faces, out, moment)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if out.exists():  # it is either not there, or whole
            assert out.read_bytes() == whole
        kept = len(list(parts_path(out).glob("*.part")))
        assert few(faces, out).resumed == kept
        outcomes.append(kept)
        assert out.read_bytes() == whole
        assert manifest_path(out).read_bytes() == manifest
        assert not parts_path(out).exists()
    assert len(outcomes) == 2 * 4 + 3  # 4 parts, the store (HDF5 writes it itself), and the manifest
    assert outcomes == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_killed_with_its_workers_at_work(faces, whole, tmp_path):
    out = tmp_path / "a.h5"
    process = FORK.Process(target=run, args=(faces, out), kwargs={"workers": 2})
    process.start()
    while process.is_alive() and len(list(parts_path(out).glob("*.part"))) < 4:
        time.sleep(0.002)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    made = run(faces, out, workers=2)
    assert made.reused or made.resumed >= 4
    assert out.read_bytes() == whole.read_bytes()
    deadline = time.monotonic() + 20
    while any(alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "the workers of a killed run go on"
        time.sleep(0.05)


@pytest.mark.parametrize(
    "damage", [lambda d: d[:-1], lambda d: d[:40] + b"\0" + d[41:], lambda d: b"", lambda d: d * 2]
)
def test_damaged_part_is_made_again(faces, whole, tmp_path, damage):
    out = tmp_path / "a.h5"
    assert kill(run, faces, out, 20) == -signal.SIGKILL
    kept = sorted(parts_path(out).glob("*.part"))
    assert len(kept) == 10
    kept[3].write_bytes(damage(kept[3].read_bytes()))
    shutil.copy(kept[5], kept[6])  # a whole part, of another clip
    assert run(faces, out).resumed == 8
    assert out.read_bytes() == whole.read_bytes()


def test_part_key_follows_source_settings_and_libraries(tmp_path):
    video = tmp_path / "a.mp4"
    video.write_bytes(b"1")
    source, versions = ClipSource("a", str(video)), {"numpy": "1"}
    keys = [part_key(source, SMALL, versions), part_key(source, SMALL, versions)]
    assert keys[0] == keys[1]
    keys.append(part_key(source, FrameDiffSettings(size=16, steps=5), versions))
    keys.append(part_key(source, SMALL, {"numpy": "2"}))
    keys.append(part_key(ClipSource("a", str(video), (0.0, 1.0)), SMALL, versions))
    os.utime(video, (1, 1))
    keys.append(part_key(source, SMALL, versions))
    assert len(set(keys)) == 5


def hold(out, holding, done):
    with part_folder(out):
        holding.set()
        done.wait()


def test_two_runs_into_one_store_are_refused(faces, tmp_path):
    out = tmp_path / "a.h5"
    holding, done = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=hold, args=(out, holding, done))
    holder.start()
    holding.wait()
    with pytest.raises(InputError, match=r"E797 .*another process is preparing it"):
        run(faces, out)
    assert not out.exists()
    done.set()
    holder.join()
    run(faces, out)


def test_finished_store_is_left_alone_and_another_refused(copy, tmp_path):
    out = tmp_path / "a.h5"
    run(copy, out)
    stamp = out.stat().st_mtime_ns
    os.utime(next(copy.glob("*/*.mp4")), (1, 1))  # a copy of the data set is the same data set
    manifest_path(out).unlink()
    assert run(copy, out).reused
    assert out.stat().st_mtime_ns == stamp
    assert manifest_path(out).exists()
    with pytest.raises(InputError, match=r"E744 .*made of other data, settings or libraries"):
        prepare_clips(listed(copy), out, FrameDiffSettings(size=16, steps=5), workers=1)
    first, second = sorted(copy.glob("positive/*.mp4"))[:2]
    shutil.copy(first, second)
    with pytest.raises(InputError, match="E744"):
        run(copy, out)
    assert not run(copy, out, force=True).reused
    out.write_bytes(b"something else")
    with pytest.raises(InputError, match="E744"):
        run(copy, out)


def test_every_broken_clip_is_named_and_nothing_written(copy, tmp_path):
    out = tmp_path / "a.h5"
    broken = sorted(copy.glob("*/*.mp4"))[4:17:6]
    sound = broken[1].read_bytes()
    for file in broken:
        file.write_bytes(b"broken")
    with pytest.raises(InputError) as error:
        run(copy, out, workers=2)
    names = [file.relative_to(copy).as_posix() for file in broken]
    *clips, last = error.value.findings
    assert [finding.node for finding in clips] == names
    assert {finding.code for finding in clips} == {"E703"}
    assert (last.code, last.found) == ("E868", "3 of 20 clips are broken; no store was written")
    assert not out.exists()
    assert not manifest_path(out).exists()
    made = run(copy, out, skip_broken=True)
    assert (made.resumed, len(made.manifest.clips)) == (17, 17)
    assert [row.name for row in made.manifest.skipped] == names
    assert all(row.findings[0].startswith("E703 ") for row in made.manifest.skipped)
    assert str(tmp_path) not in manifest_path(out).read_text()
    assert check_store(out).clips == 17
    assert run(copy, out, skip_broken=True).reused
    with pytest.raises(InputError, match=r"E744 .*without its broken clips"):
        run(copy, out)
    broken[1].write_bytes(sound)
    assert len(run(copy, out, skip_broken=True, force=True).manifest.clips) == 18


def test_all_clips_broken(copy, tmp_path):
    for file in copy.glob("*/*.mp4"):
        file.write_bytes(b"broken")
    with pytest.raises(InputError, match=r"E868 .*20 of 20 clips are broken"):
        run(copy, tmp_path / "a.h5", skip_broken=True)


def test_mended_clip_alone_is_made(copy, whole, tmp_path):
    out = tmp_path / "a.h5"
    victim = sorted(copy.glob("*/*.mp4"))[7]
    sound = victim.read_bytes()
    victim.write_bytes(b"broken")
    with pytest.raises(InputError, match="E703"):
        run(copy, out)
    victim.write_bytes(sound)
    assert run(copy, out).resumed == 19
    assert out.read_bytes() == whole.read_bytes()


def die_on_seven(value):
    if value in (7, 11):
        os._exit(3)
    return -value


def test_worker_that_dies_costs_its_own_job_alone():
    found = dict(run_jobs(die_on_seven, list(range(40)), workers=2))
    assert len(found) == 40
    assert {key for key, value in found.items() if value is DIED} == {7, 11}
    assert all(found[n] == -n for n in range(40) if n not in (7, 11))


def crash(job):
    if job.source.name.endswith("s01_002.mp4"):
        os._exit(3)
    return parts.make_part(job)


def test_clip_that_crashes_its_worker_is_a_broken_clip(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "make_part", crash)
    with pytest.raises(InputError) as error:
        run(faces, tmp_path / "a.h5", workers=2)
    assert [finding.code for finding in error.value.findings] == ["E799", "E868"]
    assert error.value.findings[0].node.endswith("s01_002.mp4")
    assert len(run(faces, tmp_path / "a.h5", workers=2, skip_broken=True).manifest.clips) == 19


def test_worker_with_other_libraries_is_refused(faces, tmp_path, monkeypatch):
    real = parts.library_versions
    monkeypatch.setattr(prepare, "library_versions", lambda s: real(s) | {"opencv": "9.9"})
    with pytest.raises(InputError, match=r"E863 --scheduler: a worker has opencv [^9]\S*; limit opencv 9\.9"):
        run(faces, tmp_path / "a.h5")
    assert not list(parts_path(tmp_path / "a.h5").glob("*.part"))


def test_disk_that_is_full_is_said_and_resumed(faces, whole, tmp_path, monkeypatch):
    out, save = tmp_path / "a.h5", PartFolder.save

    def full(self, key, data):
        if len(list(self.path.glob("*.part"))) == 5:
            raise OSError(28, "No space left on device")
        save(self, key, data)

    monkeypatch.setattr(PartFolder, "save", full)
    with pytest.raises(InputError, match=r"E745 .*No space left on device"):
        run(faces, out)
    monkeypatch.undo()
    assert run(faces, out).resumed == 5
    assert out.read_bytes() == whole.read_bytes()


def test_progress_counts_every_clip_once(faces, tmp_path):
    calls = []
    run(faces, tmp_path / "a.h5", workers=2, progress=lambda *c: calls.append(c))
    assert calls == [(n, 20) for n in range(1, 21)]


@pytest.mark.parametrize("name", ["a.npz", "a"])
def test_suffix(faces, tmp_path, name):
    with pytest.raises(InputError, match=r"E860 .*suffix .*\.h5"):
        run(faces, tmp_path / name)


def test_place_that_cannot_be_written(faces, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="E745"):
        run(faces, tmp_path / "file" / "a.h5")
