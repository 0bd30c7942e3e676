"""Runs v2e's own SuperSloMo on two frames with weights by formula and keeps its frames and flows.

    python tests/events/golden/make_super_slomo.py FOLDER_OF_V2E

v2e's class runs unmodified: checkpoint, flow, warps, refinement. Replaced are torchvision (it only scales a picture to
[0, 1] and takes the mean off), windows, and the last step that rounds a picture to bytes, so that floats can be kept.
"""

from __future__ import annotations

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import slow_motion_formula as formula  # noqa: E402

FACTOR = 4


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, picture):
        for step in self.steps:
            picture = step(picture)
        return picture


class ToTensor:
    def __call__(self, picture):
        return torch.from_numpy(np.array(picture)).float().div(255)[None]


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, tensor):
        return (tensor - self.mean[0]) / self.std[0]


class Keep:
    """In place of ToPILImage: keeps the floats, and hands on something that can be resized and saved."""

    made: ClassVar[list[np.ndarray]] = []

    def __call__(self, tensor):
        from PIL import Image

        Keep.made.append(tensor[0].numpy().copy())
        return Image.fromarray(np.zeros(tensor.shape[1:], np.uint8))


def main(v2e: Path) -> None:
    transforms = types.ModuleType("torchvision.transforms")
    transforms.Compose, transforms.ToTensor, transforms.Normalize = Compose, ToTensor, Normalize
    transforms.ToPILImage = Keep
    package = types.ModuleType("torchvision")
    package.transforms = transforms
    sys.modules |= {"torchvision": package, "torchvision.transforms": transforms}
    for name in ("screeninfo", "easygui", "tkinter", "tkinter.filedialog", "argcomplete", "plyer", "dv_processing"):
        sys.modules.setdefault(name, mock.MagicMock())
    sys.modules["v2ecore.v2e_utils"] = mock.MagicMock()
    sys.path.insert(0, str(v2e))
    from v2ecore.model import UNet
    from v2ecore.slomo import SuperSloMo

    torch.set_num_threads(1)
    checkpoint = {}
    for part, sizes in (("state_dictFC", (2, 4)), ("state_dictAT", (12, 5))):
        shapes = {name: tuple(value.shape) for name, value in UNet(*sizes).state_dict().items()}
        checkpoint[part] = {
            name: torch.from_numpy(formula.tensor(f"{part}.{name}", shape)) for name, shape in shapes.items()
        }
    kept: dict[str, np.ndarray] = {}
    frames = formula.frames()
    for name, mean in (("processor", None), ("gpu", 0.428)):
        with tempfile.TemporaryDirectory() as folder, mock.patch("torch.cuda.is_available", return_value=False):
            root = Path(folder)
            torch.save(checkpoint, root / "net.ckpt")
            (root / "in").mkdir()
            (root / "out").mkdir()
            for index, frame in enumerate([*frames, frames[1]]):  # it wants two batches
                np.save(root / "in" / f"{index}.npy", frame)
            slow = SuperSloMo(model=str(root / "net.ckpt"), auto_upsample=False, upsampling_factor=FACTOR)
            if mean is not None:  # what v2e does where there is a GPU
                slow.to_tensor = Compose([ToTensor(), Normalize([mean], [1])])
                slow.to_image = Compose([Normalize([-mean], [1]), Keep()])
            flows: list[np.ndarray] = []
            made = SuperSloMo._SuperSloMo__model

            def watched(self, dim, made=made, flows=flows):
                estimator, warper, interpolator = made(self, dim)
                estimator.register_forward_hook(lambda _, __, out: flows.append(out.numpy().copy()))
                return estimator, warper, interpolator

            Keep.made.clear()
            with mock.patch.object(SuperSloMo, "_SuperSloMo__model", watched):
                slow.interpolate(str(root / "in"), str(root / "out"), frames.shape[:0:-1])
        kept |= {f"{name}_pictures": np.stack(Keep.made[:FACTOR]), f"{name}_flows": flows[0][0]}
    kept["frames"] = frames
    np.savez_compressed(HERE / "super_slomo.npz", **kept)
    told = {
        "source": "SensorsINI/v2e, commit cac638444557a224ba6ee5c29260916f152c00bd (MIT), slomo.SuperSloMo.interpolate",
        "made by": "make_super_slomo.py; weights and frames: ../slow_motion_formula.py",
        "torch": torch.__version__,
        "times": [(index + 0.5) / FACTOR for index in range(FACTOR)],
        "arrays": {
            "*_pictures": "float32 [4, 64, 96], gray in [0, 1] before rounding",
            "*_flows": "float32 [4, 64, 96]: columns and rows from the first frame to the second, and back",
            "processor_*": "v2e as it runs without a GPU: nothing is taken off the pictures",
            "gpu_*": "v2e's transforms for a GPU, mean 0.428 taken off, computed on the processor",
        },
    }
    (HERE / "super_slomo.json").write_text(json.dumps(told, indent=1) + "\n")
    for name, value in kept.items():
        sys.stdout.write(f"{name} {value.shape} {value.min():.3f} {value.max():.3f} {value.std():.3f}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
