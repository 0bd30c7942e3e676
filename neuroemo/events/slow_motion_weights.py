"""The weights of the slow-motion network: a safetensors file of the user's, known by its name and SHA-256.

Super SloMo (Jiang et al., "Super SloMo: high quality estimation of multiple intermediate frames for video
interpolation", CVPR 2018) is two U-Nets of the same form. Their tensors are called ``PART.LAYER.weight`` and
``PART.LAYER.bias``, where PART is ``state_dictFC`` (flow both ways: 2 pictures in, 4 flow components out) or
``state_dictAT`` (flow from a time between: 12 maps in, 5 out), as in the checkpoints that v2e's users have. Such a
checkpoint itself is a pickle, which can run code when it is opened: it is refused, and docs/event-camera.md has the
lines that convert it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hw_targets.finding import Finding, InputError

FLOW, BETWEEN = "state_dictFC", "state_dictAT"
PARTS = {FLOW: (2, 4), BETWEEN: (12, 5)}
"""Maps into and out of each U-Net."""

CONVERT = "convert a checkpoint of torch once, as docs/event-camera.md says under slow motion"

Tensors = dict[str, npt.NDArray[np.float32]]

_BLOCK = 1 << 20
_SHOWN = 3
_PICKLES = (b"PK\x03\x04", b"\x80")
"""How the files of torch.save begin: a zip archive, or before torch 1.6 a bare pickle."""


@dataclass(frozen=True, slots=True)
class NetworkWeights:
    """Which weights: the ``name`` of their file, the ``sha256`` of its bytes, and here and now its ``path``.

    What is stored beside clips and models has name and SHA-256 and no path: two people's settings are then the same.

    Raises ``InputError`` (E763) for a name that is none, or a SHA-256 that is not 64 hexadecimal digits.
    """

    name: str
    sha256: str
    path: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Check both, as they may come from a file."""
        findings = []
        if not isinstance(self.name, str) or not 1 <= len(self.name) <= 255 or re.search(r"[/\\\0]", self.name):
            findings.append(Finding("E763", "error", "method.name", repr(self.name), "a file's name, no folder"))
        if not isinstance(self.sha256, str) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            findings.append(Finding("E763", "error", "method.sha256", repr(self.sha256), "64 hexadecimal digits"))
        if findings:
            raise InputError(findings)

    def to_dict(self) -> dict[str, str]:
        """Return what is stored.

        >>> NetworkWeights("a.safetensors", "0" * 64, "/home/me/a.safetensors").to_dict()["name"]
        'a.safetensors'
        """
        return {"name": self.name, "sha256": self.sha256}

    def at(self, path: Path) -> NetworkWeights:
        """Return these weights as they lie at ``path``.

        Raises:
            InputError: no file there, or one with another SHA-256 (E857).
        """
        _check_file(path)
        found = _digest(path)
        if found != self.sha256:
            raise InputError(_other(str(path), found, self.sha256))
        return NetworkWeights(self.name, self.sha256, str(path.resolve()))

    def check_at_hand(self) -> None:
        """Raise ``InputError`` (E857) unless it is known where the file lies, and it lies there."""
        if self.path is None:
            found = f"weights of the slow-motion network that are not at hand; their SHA-256 is {self.sha256}"
            fix = "settings of a store or model name the weights only: give the file again, --slow-motion FILE"
            raise InputError(Finding("E857", "error", self.name, found, fix=fix))
        _check_file(Path(self.path))


def find_weights(path: Path) -> NetworkWeights:
    """Return the weights in a file, read and checked whole.

    Raises:
        InputError: no such file (E857); a pickle, no safetensors file or a damaged one, or tensors that are missing,
            unknown, of another shape or type, or not finite (E858, one finding per tensor).
    """
    read_tensors(path)
    return NetworkWeights(path.name, _digest(path), str(path.resolve()))


def load_tensors(weights: NetworkWeights) -> Tensors:
    """Return the tensors of weights at hand, after another look at all of them.

    Raises:
        InputError: the file is gone or its SHA-256 is another by now (E857), or see ``find_weights``.
    """
    weights.check_at_hand()
    path = Path(str(weights.path))
    weights.at(path)
    return read_tensors(path)


def read_tensors(path: Path) -> Tensors:
    """Return the tensors of a file, float32 by name; see ``find_weights``. Nothing in it is executed."""
    _check_file(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(_broken(path, f"cannot be read: {error.strerror}")) from error
    if start.startswith(_PICKLES):
        found = "a pickle (torch checkpoint), which can run code when it is opened"
        raise InputError(Finding("E858", "error", str(path), found, "a safetensors file", fix=CONVERT))
    return _read(path)


def _read(path: Path) -> Tensors:
    from safetensors import SafetensorError, safe_open

    wanted = tensor_shapes()
    try:
        with safe_open(path, "np") as file:
            # What the header says is judged before anything of the size it says is read.
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
            told = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
            findings = _header_findings(path, told, wanted)
            if findings:
                raise InputError(findings)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise InputError(_broken(path, f"not a readable safetensors file: {error}")) from error
    findings = [
        Finding("E858", "error", name, f"{count} of {tensor.size} values are not finite", "finite weights")
        for name, tensor in tensors.items()
        if (count := int(tensor.size - np.isfinite(tensor).sum()))
    ]
    if findings:
        raise InputError(findings)
    return tensors


def _header_findings(path: Path, told: dict[str, Any], wanted: dict[str, tuple[int, ...]]) -> list[Finding]:
    findings = []
    for word, names in (("missing", wanted.keys() - told.keys()), ("unknown", told.keys() - wanted.keys())):
        if names:
            listed = sorted(names)
            more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
            found = f"{len(listed)} tensors are {word}: {', '.join(map(repr, listed[:_SHOWN]))}{more}"
            limit = f"the {len(wanted)} tensors of Super SloMo for gray pictures"
            findings.append(Finding("E858", "error", str(path), found, limit, fix=CONVERT))
    for name in sorted(wanted.keys() & told.keys()):
        shape, kind = told[name]
        if shape != wanted[name] or kind != "F32":
            findings.append(Finding("E858", "error", name, f"{kind} {list(shape)}", f"F32 {list(wanted[name])}"))
    return findings


def layers(inputs: int, outputs: int) -> dict[str, tuple[int, int, int]]:
    """Return the convolutions of one U-Net: maps in, maps out, kernel size; the paper's figure 4 and its text.

    >>> layers(2, 4)["conv1"], layers(2, 4)["up1.conv2"], len(layers(2, 4))
    ((2, 32, 7), (1024, 512, 3), 23)
    """
    made = {"conv1": (inputs, 32, 7), "conv2": (32, 32, 7)}
    for number, (maps, wider) in enumerate(((32, 64), (64, 128), (128, 256), (256, 512), (512, 512)), start=1):
        kernel = 5 if number == 1 else 3
        made |= {f"down{number}.conv1": (maps, wider, kernel), f"down{number}.conv2": (wider, wider, kernel)}
    for number, (maps, fewer) in enumerate(((512, 512), (512, 256), (256, 128), (128, 64), (64, 32)), start=1):
        made |= {f"up{number}.conv1": (maps, fewer, 3), f"up{number}.conv2": (2 * fewer, fewer, 3)}
    return made | {"conv3": (32, outputs, 3)}


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of both U-Nets, 39.6 million numbers in all.

    >>> sum(int(np.prod(shape)) for shape in tensor_shapes().values())
    39591657
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for part, (inputs, outputs) in PARTS.items():
        for name, (before, after, kernel) in layers(inputs, outputs).items():
            shapes[f"{part}.{name}.weight"] = (after, before, kernel, kernel)
            shapes[f"{part}.{name}.bias"] = (after,)
    return shapes


def _check_file(path: Path) -> None:
    if not path.is_file():
        limit = "none, linear, dis, or FILE.safetensors with the weights of a network"
        raise InputError(Finding("E857", "error", str(path), "no such file, and no method", limit))


def _other(node: str, found: str, wanted: str) -> Finding:
    fix = "give the file that the settings name, or prepare anew with this one"
    return Finding("E857", "error", node, f"other weights: SHA-256 {found}", wanted, fix=fix)


def _broken(path: Path, found: str) -> Finding:
    return Finding("E858", "error", str(path), found, fix=CONVERT)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(_broken(path, f"cannot be read: {error.strerror}")) from error
    return digest.hexdigest()
