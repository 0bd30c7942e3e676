"""The doctor: facts of made-up machines are judged as they should be, and this machine is looked at quickly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from neuroemo import machine
from neuroemo.doctor import diagnose, doctor_text, judge
from neuroemo.machine import PACKAGES, Facts, numba_cache

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = {"lava-nc": "0.10.0", "lava-dl": "0.6.0", "numpy": "1.26.4", "spikingjelly": "0.0.0.0.14"}


def facts(**changes):
    """Return the facts of a machine on which everything is there, but for the changes."""
    whole = Facts(
        python=(3, 10, 13),
        platform="Linux",
        versions={package.name: VERSIONS.get(package.name, "1.0") for package in PACKAGES},
        imports={package.name: None for package in PACKAGES},
        errors={},
        video={"decode": True, "encode": True},
        gpu="NVIDIA driver",
        torch_cuda="12.1",
        machine={
            "cores": 4,
            "memory_gib": 8.0,
            "dev_shm_mib": 4096.0,
            "dev_shm_free_mib": 4096.0,
            "temporary_free_gib": 10.0,
            "numba_cache": "/cache",
            "torch_threads": 4,
        },
    )
    inner = {name: getattr(whole, name) | value for name, value in changes.items() if isinstance(value, dict)}
    return replace(whole, **changes | inner)


def without(*names):
    return facts(versions=dict.fromkeys(names), imports=dict.fromkeys(names, False))


def codes(result):
    return [(finding["code"], finding["severity"], finding["node"]) for finding in result["findings"]]


def capability(result, name):
    return next(entry for entry in result["capabilities"] if entry["name"] == name)


def test_a_machine_with_everything_has_no_findings():
    result = judge(facts())
    assert (result["ok"], result["exit_code"], result["findings"]) == (True, 0, [])
    assert all(entry["available"] for entry in result["capabilities"])
    assert all(entry["fix"] == "" for entry in result["capabilities"])
    assert doctor_text(result).splitlines()[-1] == "everything required is here"


@pytest.mark.parametrize("name", [package.name for package in PACKAGES if package.required])
def test_each_required_package_is_an_error_with_exit_code_6(name):
    result = judge(without(name))
    assert (result["ok"], result["exit_code"]) == (False, 6)
    assert codes(result) == [("E610", "error", name)]
    assert result["findings"][0]["fix"] == f"pip install {name}"
    assert "something required is missing" in doctor_text(result)
    assert f"E610 {name}: is not installed" in doctor_text(result)


def test_required_packages_are_those_that_the_project_declares():
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    def names(lines):
        declared = {re.match(r"[\w-]+", line).group() for line in lines}
        return declared - ({"tomli"} if sys.version_info >= (3, 11) else set())

    optional = project["optional-dependencies"]
    assert {package.name for package in PACKAGES if package.required} == names(project["dependencies"])
    known = {package.name for package in PACKAGES if not package.required}
    assert known - {"torchvision"} == names(optional["norse"]) | names(optional["lava"])


def test_missing_optional_packages_are_notes():
    result = judge(without("norse"))
    assert (result["exit_code"], codes(result)) == (0, [("W610", "note", "norse")])
    assert not capability(result, "Norse front end")["available"]
    result = judge(without("lava-nc", "lava-dl", "torchvision"))
    assert (result["exit_code"], codes(result)) == (0, [("W611", "note", "lava")])
    assert "lava-dl is not installed" in capability(result, "judge (Lava)")["why"]
    assert "3.10" in capability(result, "judge (Lava)")["fix"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"python": (3, 11, 7)}, "Python 3.11, lava-nc 0.10.0 needs 3.10"),
        ({"versions": {"numpy": "2.4.6"}}, "numpy 2.4.6, lava-nc 0.10.0 needs numpy < 2"),
        ({"versions": {"lava-dl": "0.5.0"}}, "lava-dl 0.5.0, tested with 0.6.0"),
        ({"versions": {"lava-nc": "0.11.0"}}, "lava-nc 0.11.0, tested with 0.10.0"),
        ({"versions": {"torchvision": None}, "imports": {"torchvision": False}}, "torchvision is not installed"),
        ({"machine": {"dev_shm_free_mib": 0.9}}, "0.9 MiB free in /dev/shm"),
        ({"machine": {"dev_shm_free_mib": None, "dev_shm_mib": None}}, "0 MiB free in /dev/shm"),
    ],
)
def test_what_keeps_lava_from_judging(changes, text):
    result = judge(facts(**changes))
    judged = capability(result, "judge (Lava)")
    assert (judged["available"], judged["why"]) == (False, text)
    assert judged["fix"]
    assert codes(result) == [("W611", "warning", "lava")]
    assert result["exit_code"] == 0


def test_one_mebibyte_of_shared_memory_just_passes():
    assert capability(judge(facts(machine={"dev_shm_free_mib": 1.0})), "judge (Lava)")["available"]


@pytest.mark.parametrize(("size", "warned"), [(64.0, True), (64.1, False)])
def test_dockers_shared_memory_is_a_warning(size, warned):
    result = judge(facts(machine={"dev_shm_mib": size, "dev_shm_free_mib": size}))
    assert codes(result) == ([("W615", "warning", "/dev/shm")] if warned else [])
    assert ("--shm-size" in doctor_text(result)) is warned


@pytest.mark.parametrize(("python", "code"), [((3, 9, 19), 6), ((3, 10, 0), 0)])
def test_an_old_python_is_an_error(python, code):
    result = judge(facts(python=python))
    assert result["exit_code"] == code
    assert (("E611", "error", "python") in codes(result)) is (code == 6)


@pytest.mark.parametrize(
    ("number", "warned"),
    [("0.0.0.0.14", False), ("2.0.0", False), ("2.1.3", False), ("0.0.0.0.13", True), ("3.0", True)],
)
def test_versions_of_spikingjelly(number, warned):
    result = judge(facts(versions={"spikingjelly": number}))
    assert codes(result) == ([("W616", "warning", "spikingjelly")] if warned else [])


def test_codecs():
    result = judge(facts(video={"encode": False}))
    assert codes(result) == [("W617", "warning", "av")]
    assert capability(result, "video decoding")["available"]
    assert "libx264" in capability(result, "video encoding")["why"]
    result = judge(facts(video={"decode": False}))
    assert not capability(result, "video decoding")["available"]
    assert "videos cannot be read" in doctor_text(result)


@pytest.mark.parametrize(("threads", "warned"), [(4, False), (5, True), (None, False)])
def test_more_threads_than_cores(threads, warned):
    result = judge(facts(machine={"torch_threads": threads}))
    assert codes(result) == ([("W618", "warning", "torch")] if warned else [])
    if warned:
        assert (result["findings"][0]["limit"], result["findings"][0]["over"]) == ("4", "1")


def test_folders_that_cannot_be_written():
    result = judge(facts(machine={"numba_cache": None, "temporary_free_gib": None}))
    assert [code for code, *_ in codes(result)] == ["E613", "E614"]
    assert result["exit_code"] == 6
    assert not capability(result, "export and simulate")["available"]


def test_no_gpu_is_no_finding():
    result = judge(facts(gpu=""))
    assert result["findings"] == []
    assert capability(result, "GPU")["why"] == "no GPU driver"
    result = judge(facts(torch_cuda=None))
    assert capability(result, "GPU")["why"] == "torch is built for the processor only"


def test_packages_that_are_there_and_cannot_be_imported():
    broken = "ImportError: Numba needs NumPy 2.4 or less"
    result = judge(facts(imports={"numba": False}, errors={"numba": broken}))
    assert codes(result) == [("E612", "error", "numba")]
    assert broken in doctor_text(result)
    assert broken in capability(result, "export and simulate")["why"]
    result = judge(facts(imports={"norse": False}, errors={"norse": "OSError: no"}))
    assert codes(result) == [("W612", "warning", "norse")]
    assert result["exit_code"] == 0


def test_this_machine_in_less_than_two_seconds_and_without_heavy_imports():
    code = (
        "import json, sys, time\n"
        "started = time.perf_counter()\n"
        "from neuroemo.doctor import diagnose\n"
        "result = diagnose()\n"
        "heavy = [name for name in ('torch', 'lava', 'spikingjelly', 'av', 'numba', 'norse') if name in sys.modules]\n"
        "print(json.dumps([time.perf_counter() - started, heavy, result], allow_nan=False))\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    seconds, heavy, result = json.loads(answer.stdout)
    assert heavy == []
    assert seconds < 2.0
    versions = {entry["name"]: entry["version"] for entry in result["packages"]}
    import h5py
    import numpy
    import torch

    assert (versions["numpy"], versions["h5py"]) == (numpy.__version__, h5py.__version__)
    assert versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert result["python"] == ".".join(map(str, sys.version_info[:3]))
    assert result["machine"]["cores"] >= 1
    assert result["machine"]["memory_gib"] > 0.1


def test_cuda_of_torch_is_read_without_importing_it():
    import torch

    assert machine._torch_cuda() == torch.version.cuda


def test_numba_cache_is_where_numba_keeps_the_simulator(monkeypatch, tmp_path):
    from hw_targets.loihi2.simulation.lif import integrate_bounded

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert Path(numba_cache()) == Path(integrate_bounded._cache.cache_path)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new"))
    assert numba_cache() == str(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file"))
    assert Path(numba_cache()) == Path(integrate_bounded._cache.cache_path)


def module(folder, name, text):
    (folder / f"{name}.py").write_text(text)


def test_imports_are_tried_in_a_process_of_their_own(monkeypatch, tmp_path):
    module(tmp_path, "sound_module", "print('hello')")
    module(tmp_path, "broken_module", "raise RuntimeError('torn\\nsecond line')")
    module(tmp_path, "crashing_module", "import os\nos._exit(7)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = machine._import_all(["broken_module", "crashing_module", "sound_module"], 20.0)
    assert {name: answer["error"] for name, answer in said.items()} == {
        "broken_module": "RuntimeError: torn",
        "crashing_module": "its import ended the process with status 7",
        "sound_module": "",
    }
    assert "sound_module" not in sys.modules


def test_an_import_that_hangs_is_ended_with_its_children(monkeypatch, tmp_path):
    text = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    module(tmp_path, "hanging_module", text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    started = time.monotonic()
    said = machine._import_all(["hanging_module"], 1.0)
    assert time.monotonic() - started < 10
    assert "did not end within 1 s" in said["hanging_module"]["error"]
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and running(child):
        time.sleep(0.05)
    assert not running(child)


def running(process):
    """Whether a process runs; one that ended and waits for its parent to notice does not."""
    try:
        os.kill(process, 0)
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


@pytest.mark.slow
def test_deep_imports_everything_that_is_installed():
    result = diagnose(deep=True)
    tried = {entry["name"]: entry["imports"] for entry in result["packages"] if entry["version"]}
    assert set(tried.values()) == {True}
    assert result["ok"]
    assert result["machine"]["torch_threads"] >= 1
    assert "lava" not in sys.modules or not hasattr(sys.modules["lava"], "magma")
