"""The ImageNet weights of ResNet18, where the user has them: a file, or the cache of torch's hub.

Nothing is downloaded. A ``.pth`` of torchvision is read without executing anything in it (torch_archive.py); a
``.safetensors`` with torchvision's names fits as well. The last layer of the file, the classes of ImageNet, is left
out; all other tensors must be there, have the shape of ResNet18's, and be finite.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError
from neuroemo.models.affect import torch_archive

if TYPE_CHECKING:
    import torch

    from neuroemo.models.affect.resnet import ResNet18

FILE = "resnet18-f37072fd.pth"
"""What torchvision calls its weights (IMAGENET1K_V1); the last eight characters begin the SHA-256 of the file."""
BYTES_MAX = 1 << 26
"""Largest file that is read; torchvision's has 46.8 million bytes."""
CONVERT = (
    "convert it once, with the torch that wrote it: state = torchvision.models.resnet18(weights='DEFAULT').state_dict()"
    "; safetensors.torch.save_file(state, 'resnet18.safetensors')"
)
_CLASSES = ("fc.weight", "fc.bias")
_COUNTER = "num_batches_tracked"
_SHOWN = 3

Arrays = dict[str, npt.NDArray[Any]]


def cached_weights() -> Path:
    """Return where torch's hub keeps torchvision's weights (TORCH_HOME moves it), there or not."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / FILE


def load_backbone(backbone: ResNet18, path: Path) -> str:
    """Put a file's weights into a full ResNet18, and return where they come from.

    "imagenet:SHA-256" for the file that torchvision publishes, "file:SHA-256" for any other.

    Raises:
        InputError: no such file, a damaged one, or one with other tensors (E967), all findings at once; the ResNet18
            is then as it was.
    """
    import torch

    data = _contents(path)
    digest = hashlib.sha256(data).hexdigest()
    named = re.search(r"-([0-9a-f]{8})\.pth$", path.name)
    if named and not digest.startswith(named[1]):
        fix = "the download was cut off, or the file was changed: remove it and get it again"
        raise InputError(_bad(path, f"SHA-256 {digest[:8]}...", f"{named[1]}..., as its name says", fix))
    wanted = {name: tuple(value.shape) for name, value in backbone.state_dict().items()}
    arrays = _from_archive(path, data, wanted) if data.startswith(b"PK\x03\x04") else _from_safetensors(path, data)
    findings = _shape_findings(path, {name: array.shape for name, array in arrays.items()}, wanted)
    findings = findings or _value_findings(arrays)
    if findings:
        raise InputError(findings)
    state: dict[str, torch.Tensor] = dict(backbone.state_dict())
    state |= {name: torch.from_numpy(arrays[name]) for name in wanted if name in arrays}
    backbone.load_state_dict(state)
    published = FILE.removesuffix(".pth").rpartition("-")[2]
    return f"{'imagenet' if digest.startswith(published) else 'file'}:{digest}"


def _contents(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(_bad(path, "no such file", "resnet18 weights, .pth of torchvision or .safetensors"))
    try:
        if (size := path.stat().st_size) > BYTES_MAX:
            raise InputError(_bad(path, f"{size:,} bytes", f"{BYTES_MAX:,}, more than a ResNet18 has"))
        return path.read_bytes()
    except OSError as error:
        raise InputError(_bad(path, f"cannot be read: {error.strerror}", "a readable file")) from error


def _from_archive(path: Path, data: bytes, wanted: dict[str, tuple[int, ...]]) -> Arrays:
    """Return the wanted tensors of a checkpoint; shapes are judged before any value is read."""
    try:
        told = torch_archive.describe(data)
        findings = _shape_findings(path, {name: stored.shape for name, stored in told.items()}, wanted)
        if findings:
            raise InputError(findings)
        return torch_archive.read(data, {name: stored for name, stored in told.items() if name in wanted})
    except torch_archive.NotTensors as error:
        raise InputError(_bad(path, f"not read: {error}", "a dictionary of tensors", CONVERT)) from error


def _from_safetensors(path: Path, data: bytes) -> Arrays:
    if data.startswith(b"\x80") and data[8:9] != b"{":  # where the header of a safetensors file begins
        found = "a bare pickle (checkpoint of torch before 1.6), which can run code when it is opened"
        raise InputError(_bad(path, found, "a zip archive of torch or a safetensors file", CONVERT))
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
        found = f"no readable safetensors file or checkpoint: {str(error)[:120]}"
        raise InputError(_bad(path, found, "resnet18 weights", CONVERT)) from error


def _shape_findings(path: Path, told: dict[str, tuple[int, ...]], wanted: dict[str, tuple[int, ...]]) -> list[Finding]:
    """Name the tensors that are missing, unknown or of another shape; counters of batches may be missing."""
    findings = []
    missing = {name for name in wanted.keys() - told.keys() if not name.endswith(_COUNTER)}
    for word, names in (("missing", missing), ("unknown", told.keys() - wanted.keys() - set(_CLASSES))):
        if names:
            listed = sorted(names)
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            shown = ", ".join(repr(name[:60]) for name in listed[:_SHOWN])
            found = f"{len(listed)} tensors are {word}: {shown}{more}"
            findings.append(_bad(path, found, "the tensors of torchvision's resnet18"))
    for name in sorted(wanted.keys() & told.keys()):
        if told[name] != wanted[name]:
            findings.append(Finding("E967", "error", name, f"shape {list(told[name])}", f"{list(wanted[name])}"))
    return findings


def _value_findings(arrays: Arrays) -> list[Finding]:
    """Name the tensors whose numbers no training leaves."""
    findings = []
    for name, array in sorted(arrays.items()):
        kind = "int64" if name.endswith(_COUNTER) else "float32"
        if str(array.dtype) != kind:
            findings.append(Finding("E967", "error", name, f"values of type {array.dtype}", kind))
        elif count := int(array.size - np.isfinite(array).sum()):
            findings.append(Finding("E967", "error", name, f"{count} of {array.size} values are not finite", "finite"))
        elif name.endswith("running_var") and array.min() < 0:
            findings.append(Finding("E967", "error", name, f"a variance of {array.min():g}", "0 and above"))
    return findings


def _bad(path: Path, found: str, limit: str, fix: str = "") -> Finding:
    return Finding("E967", "error", str(path), found, limit, fix=fix)
