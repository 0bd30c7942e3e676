"""Facts about this machine: packages, versions, codecs, shared memory and caches, found without heavy imports.

Versions are read from the packages' metadata. Only ``deep`` imports packages, in a process group of its own that
is ended with all its children: an import may hang, crash, or (Lava) leave processes behind.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VIDEO_PROBE = """
import json, sys
sys.path[:] = [p for p in sys.path if p]
import av
def has(name, mode):
    try:
        return bool(av.Codec(name, mode))
    except Exception:
        return False
open(sys.argv[1], "w").write(json.dumps({"decode": has("h264", "r"), "encode": has("libx264", "w")}))
"""
IMPORT_PROBE = """
import importlib, json, sys
sys.path[:] = [p for p in sys.path if p]
for module in sys.argv[2:]:
    said = {"module": module, "error": ""}
    try:
        found = importlib.import_module(module)
        if module == "torch":
            said["threads"] = found.get_num_threads()
            said["gpu"] = found.cuda.get_device_name(0) if found.cuda.is_available() else ""
    except BaseException as error:
        said["error"] = (type(error).__name__ + ": " + (str(error).strip() or "no text").splitlines()[0])[:300]
    with open(sys.argv[1], "a") as out:
        out.write(json.dumps(said) + chr(10))
"""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution, the module that proves it, and what it is for."""

    name: str
    module: str
    needed_for: str
    required: bool = True


PACKAGES = (
    Package("numpy", "numpy", "arrays"),
    Package("h5py", "h5py", "chip files (netx) and prepared events"),
    Package("safetensors", "safetensors", "weights that cannot run code"),
    Package("torch", "torch", "training, and reading your model"),
    Package("spikingjelly", "spikingjelly.activation_based.neuron", "training, and reading your model"),
    Package("numba", "numba", "the bit-exact simulator"),
    Package("llvmlite", "llvmlite", "the bit-exact simulator"),
    Package("av", "av", "reading and writing videos"),
    Package("opencv-python-headless", "cv2", "resizing frames, drawing synthetic faces"),
    Package("scikit-learn", "sklearn", "the baselines beside the network"),
    Package("jinja2", "jinja2", "the report page"),
    Package("rich", "rich", "progress bars"),
    Package("nir", "nir", "NIR files"),
    Package("matplotlib", "matplotlib", "figures of the paper and of an evaluation"),
    Package("torchmetrics", "torchmetrics", "scores of valence and arousal"),
    *((Package("tomli", "tomli", "price tables"),) if sys.version_info < (3, 11) else ()),
    Package("norse", "norse", "Norse models", required=False),
    Package("nirtorch", "nirtorch", "Norse models", required=False),
    Package("torchvision", "torchvision", "Lava, which imports it", required=False),
    Package("lava-nc", "lava.magma.core.process.process", "the judge (Lava)", required=False),
    Package("lava-dl", "lava.lib.dl.netx", "the judge (Lava)", required=False),
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found. ``imports`` by package: True or False, None when nobody tried; ``errors`` says why not."""

    python: tuple[int, int, int]
    platform: str
    versions: dict[str, str | None]
    imports: dict[str, bool | None]
    errors: dict[str, str]
    video: dict[str, bool]
    gpu: str
    torch_cuda: str | None
    machine: dict[str, Any]


def look(*, deep: bool = False, timeout_s: float = 120.0) -> Facts:
    """Gather the facts; without ``deep`` in well under two seconds."""
    versions = {package.name: installed_version(package.name) for package in PACKAGES}
    imports: dict[str, bool | None] = {package.name: _present(package, versions[package.name]) for package in PACKAGES}
    errors: dict[str, str] = {}
    threads = os.environ.get("OMP_NUM_THREADS", "")
    torch = {"gpu": _driver(), "threads": int(threads) if threads.isdecimal() else None}
    if deep:
        there = [package for package in PACKAGES if imports[package.name] is None]
        said = _import_all([package.module for package in there], timeout_s)
        for package in there:
            answer = said[package.module]
            imports[package.name], errors[package.name] = not answer["error"], answer["error"]
        torch |= said.get("torch", {})
    return Facts(
        python=sys.version_info[:3],
        platform=platform.platform(),
        versions=versions,
        imports=imports,
        errors=errors,
        video=_codecs() if imports["av"] is not False else {},
        gpu=str(torch["gpu"]),
        torch_cuda=_torch_cuda(),
        machine=_machine() | {"torch_threads": torch["threads"]},
    )


def installed_version(name: str) -> str | None:
    """Return the version of a distribution from its metadata, None if there is no such distribution."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _present(package: Package, found: str | None) -> bool | None:
    """Return False for a package that is not there, None for one that nobody has tried to import."""
    if found is None and package.module.startswith("lava."):
        return False  # both distributions share the folder `lava`
    try:
        return None if find_spec(package.module.partition(".")[0]) is not None else False
    except (ImportError, ValueError):
        return False


def _import_all(modules: Sequence[str], timeout_s: float) -> dict[str, dict[str, Any]]:
    """Import modules in a process of their own; Lava apart, and again after a crash with those not yet tried."""
    said: dict[str, dict[str, Any]] = {}
    lava = [module for module in modules if module.startswith("lava.")]
    deadline = time.monotonic() + timeout_s
    for batch in ([module for module in modules if module not in lava], lava):
        waiting = list(batch)
        while waiting:
            lines, ended = _probe(IMPORT_PROBE, waiting, max(deadline - time.monotonic(), 0.1))
            answers = [json.loads(line) for line in lines.splitlines() if line.endswith("}")]
            said |= {answer["module"]: answer for answer in answers}
            waiting = waiting[len(answers) :]
            if waiting:
                module = waiting.pop(0)
                said[module] = {"module": module, "error": f"its import {ended}"}
    return said


def _probe(code: str, arguments: Sequence[str], timeout_s: float) -> tuple[str, str]:
    """Run Python code in its own process group; return what it wrote to its first argument, and how it ended."""
    with tempfile.TemporaryDirectory(prefix="neuroemo-doctor-") as name:
        result = Path(name) / "result"
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(result), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ended = f"did not end within {timeout_s:.0f} s"
        try:
            status = process.wait(timeout_s)
            ended = f"ended the process with status {status}"
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_group(process)
        return (result.read_text() if result.is_file() else ""), ended


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and whatever it started: SIGTERM first, which lets Lava free its shared memory."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _codecs() -> dict[str, bool]:
    try:
        text, _ = _probe(VIDEO_PROBE, (), 20.0)
        return {str(key): bool(value) for key, value in json.loads(text).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _driver() -> str:
    """Return the name of a GPU driver that is loaded, or an empty text."""
    return "NVIDIA driver" if Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") else ""


def _torch_cuda() -> str | None:
    """Return the CUDA version that torch was built for, read from its version file."""
    spec = find_spec("torch")
    if spec is None or not spec.origin:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text()
    except OSError:
        return None
    match = re.search(r"^cuda\b[^=\n]*= *['\"]([\d.]+)['\"]", text, re.MULTILINE)
    return match.group(1) if match else None


def _machine() -> dict[str, Any]:
    """Return cores, memory (both as far as a container lets us), shared memory and folders that can be written."""
    quota = _read("/sys/fs/cgroup/cpu.max").split()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(quota) == 2 and quota[0].isdigit() and int(quota[1]):
        cores = max(1, min(cores, -(-int(quota[0]) // int(quota[1]))))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    if memory and limit.isdigit():
        memory = min(memory, int(limit))
    shared = _disk(Path("/dev/shm"))
    try:
        temporary = _disk(Path(tempfile.gettempdir()))
    except FileNotFoundError:
        temporary = None
    return {
        "cores": cores,
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "dev_shm_mib": round(shared[0] / 2**20, 1) if shared else None,
        "dev_shm_free_mib": round(shared[1] / 2**20, 1) if shared else None,
        "temporary_free_gib": round(temporary[1] / 2**30, 1) if temporary else None,
        "numba_cache": numba_cache(),
    }


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, ValueError):
        return ""


def _disk(path: Path) -> tuple[int, int] | None:
    """Return (total, free) bytes of a folder that can be written, else None."""
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return None
    return (usage.total, usage.free) if os.access(path, os.W_OK | os.X_OK) else None


def numba_cache() -> str | None:
    """Return the folder where numba will keep the compiled simulator: the first of its choices that can be written.

    In numba's order: NUMBA_CACHE_DIR, ``__pycache__`` beside the source, the user's cache folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    spec = find_spec("hw_targets")
    places = (spec.submodule_search_locations or ()) if spec else ()
    beside = [Path(place) / "loihi2" / "simulation" / "__pycache__" for place in places]
    named = os.environ.get("NUMBA_CACHE_DIR")
    for folder in ([Path(named)] if named else []) + beside + [Path(home) / "numba"]:
        there = next((place for place in (folder, *folder.parents) if place.exists()), None)
        if there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK):
            return str(folder)
    return None
