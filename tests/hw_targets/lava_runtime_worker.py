"""The process in which Lava's real runtime runs many small netx files: ``python -m ... FOLDER``.

Reads ``jobs.json``, a list of {"file", "input", "graded", "direct"}; runs each input [T, ...] from zero, without reset;
writes ``NUMBER.npz`` with drive, messages and state of every population and step, as Lava's processes hold them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer

HELD = ("u", "v", "sigma", "act", "residue")


class Tap:
    """A port that remembers what passed through it."""

    def __init__(self, port: Any) -> None:
        self.port, self.last = port, np.zeros(0)

    def recv(self) -> np.ndarray:
        self.last = np.array(self.port.recv())
        return self.last

    def send(self, data: np.ndarray) -> None:
        self.last = np.array(data)
        self.port.send(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


def recording(model: type, file: Path) -> type:
    """Lava's model class of a neuron, which in addition appends every step to a file of its own."""

    def run_spk(self: Any) -> None:
        if not isinstance(self.a_in, Tap):
            self.a_in, self.s_out = Tap(self.a_in), Tap(self.s_out)
        model.run_spk(self)  # type: ignore[attr-defined]
        held = {name: getattr(self, name) for name in HELD if hasattr(self, name)}
        values = {"drive": self.a_in.last, "messages": self.s_out.last.astype(np.int32), **held}
        with file.open("ab") as out:
            for name in sorted(values):
                np.save(out, np.array(values[name]).transpose())

    return type(f"Recording{model.__name__}", (model,), {"run_spk": run_spk})


class Config(Loihi2SimCfg):  # type: ignore[misc]
    """Lava's fixed-point configuration, with recording neurons."""

    def __init__(self, files: dict[int, Path]) -> None:
        super().__init__(select_tag="fixed_pt")
        self.files = files
        self.kinds: dict[int, tuple[type, type]] = {}

    def select(self, proc: Any, models: list[Any]) -> Any:
        model = super().select(proc, models)
        if proc.id not in self.files:
            return model
        if proc.id not in self.kinds:
            self.kinds[proc.id] = (recording(model, self.files[proc.id]), model)
        return self.kinds[proc.id][0]


def names_of(model: type) -> list[str]:
    return sorted({"drive", "messages", *(name for name in HELD if hasattr(model, name))})


def run(job: dict[str, Any], folder: Path, number: int) -> None:
    net = netx.hdf5.Network(net_config=job["file"], input_message_bits=8 if job["graded"] else 0)
    net._log_config.level = 40
    clip = np.load(job["input"])
    entrance = net.in_layer.neuron.a_in if job["direct"] else net.inp
    if len(entrance.shape) == 1:
        clip = clip.reshape(len(clip), -1)
    source = RingBuffer(data=np.ascontiguousarray(clip.transpose()).astype(np.int32))
    source.s_out.connect(entrance)
    files = {layer.neuron.id: folder / f"{number}.{index}.steps" for index, layer in enumerate(net.layers)}
    config = Config(files)
    net.run(condition=RunSteps(num_steps=len(clip)), run_cfg=config, compile_config={"pypy_channel_size": 1})
    net.stop()
    found = {}
    for index, (neuron, file) in enumerate(files.items()):
        names = names_of(config.kinds[neuron][1])
        with file.open("rb") as record:
            steps = [{name: np.load(record) for name in names} for _ in range(len(clip))]
        found |= {f"{index}.{name}": np.stack([step[name] for step in steps]) for name in names}
        file.unlink()
    aside = folder / f"{number}.partial.npz"
    np.savez(aside, **found)
    os.replace(aside, folder / f"{number}.npz")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for number, job in enumerate(json.loads((place / "jobs.json").read_text())):
        run(job, place, number)
    (place / "done").touch()
