"""The process in which Lava runs: ``python -m hw_targets.loihi2.lava_worker FOLDER``; see ``lava.py``.

Reads ``job.json`` and ``input.npy`` from the folder, writes one packed spike file per layer, then
``result.json``, whose existence means that everything before it is complete.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.proc.io.source import RingBuffer


class Recorder(AbstractProcess):  # type: ignore[misc]
    """Writes the spikes it receives to a file, one packed row per step.

    Lava's own sink hands its buffer back one scalar per message, which is too slow for hidden layers.
    """

    def __init__(self, *, shape: tuple[int, ...], file: str) -> None:
        super().__init__(shape=shape, file=file)
        self.a_in = InPort(shape=shape)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
class RecorderModel(PyLoihiProcessModel):  # type: ignore[misc]
    """CPU model of the recorder. Arrays arrive in W, H, C order and are stored in C, H, W."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)

    def __init__(self, proc_params: dict[str, Any]) -> None:
        super().__init__(proc_params)
        self.file = proc_params["file"]

    def run_spk(self) -> None:
        """Receive one step and append it."""
        spikes = self.a_in.recv()
        row = np.packbits((spikes.T if spikes.ndim == 3 else spikes).reshape(-1) != 0)
        with open(self.file, "ab") as out:
            out.write(row.tobytes())


class Config(Loihi2SimCfg):  # type: ignore[misc]
    """Lava's fixed-point configuration, with our recorder's only model."""

    def select(self, proc: Any, models: list[Any]) -> Any:
        """Return the model to run a process with."""
        return RecorderModel if isinstance(proc, Recorder) else super().select(proc, models)


def main(folder: Path) -> None:
    """Run the job in ``folder``."""
    job = json.loads((folder / "job.json").read_text())
    stream = np.load(folder / "input.npy")
    net = netx.hdf5.Network(
        net_config=job["file"],
        reset_interval=job["steps"],
        reset_offset=1,
        input_message_bits=8 if job["graded"] else 0,
    )
    blocks = [layer for layer in net.layers if hasattr(layer, "neuron")]
    steps = job["steps"] * job["samples"] + len(blocks)
    data = np.concatenate([stream, np.zeros((len(blocks), *stream.shape[1:]), dtype=stream.dtype)])
    if len(net.inp.shape) == 1:  # a dense first layer takes the image as a vector, in C, H, W order
        data = data.reshape(len(data), -1)
    # Lava counts W, H, C with time last; the reversed axes of [time, C, H, W] are exactly that.
    source = RingBuffer(data=np.ascontiguousarray(data.transpose()).astype(np.int32))
    source.s_out.connect(net.inp)
    for index, block in enumerate(blocks):
        out = block.neuron.s_out
        recorder = Recorder(shape=out.shape, file=str(folder / f"layer{index}.bin"))
        out.connect(recorder.a_in)
    config = Config(select_tag="fixed_pt")
    net._log_config.level = 40
    net.run(condition=RunSteps(num_steps=1), run_cfg=config, compile_config={"pypy_channel_size": 1})
    started = time.perf_counter()
    net.run(condition=RunSteps(num_steps=steps - 1), run_cfg=config)
    elapsed = time.perf_counter() - started
    net.stop()
    aside = folder / "result.partial"
    aside.write_text(json.dumps({"seconds_per_step": elapsed / max(steps - 1, 1), "steps": steps}))
    os.replace(aside, folder / "result.json")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
