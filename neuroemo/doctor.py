"""What this machine can do, what is missing, and how to get it.

``machine.look`` gathers facts; ``judge`` turns them into capabilities and findings, so that every machine can be
tested on any machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hw_targets.finding import Finding
from neuroemo.machine import PACKAGES, Facts, installed_version, look

OLDEST_PYTHON = (3, 10)
LAVA_VERSIONS = {"lava-nc": "0.10.0", "lava-dl": "0.6.0"}
TESTED_SPIKINGJELLY = ("0.0.0.0.14", "2.")
SHARED_MIB, LEAST_SHARED_MIB = 64.0, 1.0
"""Docker's default size of /dev/shm, and the least in which the judge was seen to run networks of 8 x 8 frames. It
keeps one tensor per connection there: 5 MiB, measured, for four layers on 128 x 128 frames."""


def diagnose(*, deep: bool = False, timeout_s: float = 120.0) -> dict[str, Any]:
    """Return what this machine can do, what is missing and how to get it, as a JSON-ready dictionary.

    ``exit_code`` is 6 when something required is missing. ``deep`` also imports every package, in a process of
    its own that is ended after ``timeout_s`` seconds.
    """
    return judge(look(deep=deep, timeout_s=timeout_s))


Lack = tuple[str, str]
"""Why something is not possible here, and what to do about it."""

INSTALL = "pip install {}"
LAVA_FIX = "use a Python 3.10 environment with the extra `lava`; without Lava, the bit-exact simulator does the rest"


def judge(facts: Facts) -> dict[str, Any]:
    """Return packages, capabilities and findings that follow from the facts."""
    findings = [*_required(facts), *_optional(facts), *_surroundings(facts)]
    failed = any(finding.severity == "error" for finding in findings)
    return {
        "ok": not failed,
        "exit_code": 6 if failed else 0,
        "neuroemo": installed_version("neuroemo"),
        "python": ".".join(map(str, facts.python)),
        "platform": facts.platform,
        "packages": [
            {
                "name": package.name,
                "version": facts.versions[package.name],
                "needed_for": package.needed_for,
                "required": package.required,
                "imports": facts.imports[package.name],
            }
            for package in PACKAGES
        ],
        "capabilities": list(_capabilities(facts)),
        "machine": facts.machine,
        "findings": [finding.to_dict() for finding in findings],
    }


def _capabilities(facts: Facts) -> Iterator[dict[str, Any]]:
    def shown(*names: str) -> str:
        return ", ".join(f"{name} {facts.versions[name] or '(no version)'}" for name in names)

    def capability(name: str, lacks: list[Lack], good: str) -> dict[str, Any]:
        why = "; ".join(why for why, _ in lacks) or good
        fix = "; ".join(dict.fromkeys(fix for _, fix in lacks if fix))
        return {"name": name, "available": not lacks, "why": why, "fix": fix}

    training, chip = ("spikingjelly", "torch", "safetensors", "scikit-learn"), ("torch", "numpy", "h5py", "numba")
    cache: list[Lack] = [] if facts.machine["numba_cache"] else [("no folder for numba's cache", "set NUMBA_CACHE_DIR")]
    coding = "av", "opencv-python-headless"
    gpu: list[Lack] = [] if facts.gpu else [("no GPU driver", "none needed: everything runs on the processor")]
    if facts.gpu and facts.torch_cuda is None:
        gpu.append(("torch is built for the processor only", "none needed: everything runs on the processor"))
    yield capability("train (SpikingJelly)", _lacking(facts, *training), shown("spikingjelly", "torch"))
    yield capability("export and simulate", _lacking(facts, *chip) + cache, shown(*chip))
    yield capability("judge (Lava)", _lava(facts), shown(*LAVA_VERSIONS))
    yield capability("Norse front end", _lacking(facts, "norse", "nirtorch", "torch"), shown("norse"))
    yield capability("NIR files", _lacking(facts, "nir", "h5py"), shown("nir"))
    for name, key in (("video decoding", "decode"), ("video encoding", "encode")):
        yield capability(name, _lacking(facts, *coding) or _codec(facts, key), f"H.264, {shown('av')}")
    yield capability("GPU", gpu, f"{facts.gpu}, torch for CUDA {facts.torch_cuda}")


def _lacking(facts: Facts, *names: str) -> list[Lack]:
    """Return what is wrong with the packages of these names."""
    return [
        (f"{name} {facts.errors.get(name) or 'is not installed'}", INSTALL.format(name))
        for name in names
        if facts.imports[name] is False
    ]


def _codec(facts: Facts, key: str) -> list[Lack]:
    what = {"decode": "h264", "encode": "libx264"}[key]
    return [] if facts.video.get(key) else [(f"av has no codec {what}", "pip install --only-binary av av")]


def _lava(facts: Facts) -> list[Lack]:
    """Return why Lava cannot judge here: the last releases are pinned to Python 3.10 and numpy 1."""
    if facts.python[:2] != (3, 10):
        return [(f"Python {facts.python[0]}.{facts.python[1]}, lava-nc 0.10.0 needs 3.10", LAVA_FIX)]
    lacks = [(why, LAVA_FIX) for why, _ in _lacking(facts, *LAVA_VERSIONS, "torchvision")]
    for name, wanted in LAVA_VERSIONS.items():
        if facts.versions[name] not in (None, wanted):
            lacks.append((f"{name} {facts.versions[name]}, tested with {wanted}", f"pip install {name}=={wanted}"))
    if not str(facts.versions["numpy"] or "1.").startswith("1."):
        lacks.append((f"numpy {facts.versions['numpy']}, lava-nc 0.10.0 needs numpy < 2", "pip install 'numpy<2'"))
    shared = facts.machine["dev_shm_free_mib"]
    if shared is None or shared < LEAST_SHARED_MIB:
        lacks.append((f"{shared or 0:g} MiB free in /dev/shm", "give the container more: --shm-size=1g"))
    return lacks


def _required(facts: Facts) -> Iterator[Finding]:
    if facts.python < OLDEST_PYTHON:
        found = f"Python {'.'.join(map(str, facts.python))}"
        yield Finding("E611", "error", "python", found, "3.10 or newer", fix="install a newer Python")
    for package in PACKAGES:
        if package.required and facts.imports[package.name] is False:
            code, found = ("E610", "is not installed")
            if facts.errors.get(package.name):
                code, found = "E612", f"cannot be imported: {facts.errors[package.name]}"
            fix = INSTALL.format(package.name)
            yield Finding(code, "error", package.name, f"{found} (needed for {package.needed_for})", fix=fix)
    if facts.machine["numba_cache"] is None:
        found = "no folder can be written where numba may keep the compiled simulator"
        yield Finding("E613", "error", "numba", found, fix="set NUMBA_CACHE_DIR to a folder that can be written")
    if facts.machine["temporary_free_gib"] is None:
        yield Finding("E614", "error", "temporary files", "no folder for them can be written", fix="set TMPDIR")


def _optional(facts: Facts) -> Iterator[Finding]:
    for package in PACKAGES:
        if package.required or facts.imports[package.name] is not False:
            continue
        if facts.errors.get(package.name):
            found = f"cannot be imported: {facts.errors[package.name]}"
            yield Finding("W612", "warning", package.name, found, fix=INSTALL.format(package.name))
        elif package.needed_for == "Norse models":
            found = f"is not installed (optional: {package.needed_for})"
            yield Finding("W610", "note", package.name, found, fix="install the extra `norse`")
    lacks = _lava(facts)
    if lacks:
        installed = facts.versions["lava-dl"] is not None
        fixes = "; ".join(dict.fromkeys(fix for _, fix in lacks))
        found = "cannot run here: " + "; ".join(why for why, _ in lacks)
        yield Finding("W611", "warning" if installed else "note", "lava", found, fix=fixes)


def _surroundings(facts: Facts) -> Iterator[Finding]:
    shared = facts.machine["dev_shm_mib"]
    if not _lava(facts) and shared is not None and shared <= SHARED_MIB:
        found, fix = f"{shared:g} MiB, Docker's default", "start the container with --shm-size=1g"
        yield Finding("W615", "warning", "/dev/shm", found, f"more than {SHARED_MIB:g} MiB for large networks", fix=fix)
    jelly = facts.versions["spikingjelly"]
    if jelly is not None and not jelly.startswith(TESTED_SPIKINGJELLY):
        fix = "every export is verified spike by spike, so a difference would be found, not hidden"
        yield Finding("W616", "warning", "spikingjelly", f"version {jelly}", "tested: 0.0.0.0.14 and 2.x", fix=fix)
    for key, cost in (("decode", "videos cannot be read"), ("encode", "the demo cannot write its videos")):
        for why, fix in _codec(facts, key) if facts.imports["av"] is not False else []:
            yield Finding("W617", "warning", "av", f"{why}: {cost}", fix=fix)
    threads, cores = facts.machine["torch_threads"], facts.machine["cores"]
    if threads is not None and threads > cores:
        found = f"{threads} threads on {cores} cores wait for each other"
        yield Finding("W618", "warning", "torch", found, str(cores), str(threads - cores), f"OMP_NUM_THREADS={cores}")


def doctor_text(result: dict[str, Any]) -> str:
    """Return a diagnosis as lines for people: what is possible, then what was found, then everything else."""
    machine = result["machine"]
    lines = [f"NeuroEmo {result['neuroemo'] or '(not installed)'}, Python {result['python']}, {result['platform']}"]
    lines.append(
        f"{machine['cores']} cores, {machine['memory_gib']} GiB memory, {machine['dev_shm_mib']} MiB in /dev/shm, "
        f"{machine['temporary_free_gib']} GiB free for temporary files"
    )
    for entry in result["capabilities"]:
        lines.append(f"{'yes' if entry['available'] else 'no':<4}{entry['name']:<22}{entry['why']}")
        lines += [f"{'':<26}{entry['fix']}"] if entry["fix"] else []
    there = [
        f"{entry['name']} {entry['version'] or '(version unknown)'}"
        for entry in result["packages"]
        if entry["imports"] is not False
    ]
    lines.append("packages: " + ", ".join(there))
    lines += [f"{finding['severity']} {Finding(**finding)}" for finding in result["findings"]]
    return "\n".join([*lines, "everything required is here" if result["ok"] else "something required is missing"])
