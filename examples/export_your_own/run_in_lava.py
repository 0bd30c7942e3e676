"""Run a bundle's chip file in Lava with nothing of NeuroEmo: ``python run_in_lava.py BUNDLE``.

Streams the known-answer clips and compares every output spike with the bundle's ``vectors/expected.npz``. For
bundles whose first layer runs on the chip (``--input-encoding graded`` or ``spikes``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from lava.lib.dl import netx
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.sink import RingBuffer as Sink
from lava.proc.io.source import RingBuffer as Source


def main(bundle: Path) -> None:
    """Run all clips one behind the other and count the output spikes that are not the expected ones."""
    said = json.loads((bundle / "chip.json").read_text())
    payload = said["layers"][0]["payload"]  # 1 for spikes, more beside a gray first frame
    clips = np.load(bundle / "vectors" / "inputs.npz")["clips"]  # [T, N, C, H, W]
    steps, count = clips.shape[:2]
    net = netx.hdf5.Network(
        net_config=str(bundle / "target" / "model.net"),
        reset_interval=steps,  # every layer forgets when the next clip reaches it
        reset_offset=1,
        input_message_bits=8 if payload > 1 else 0,
    )
    depth = len(said["layers"])  # layer i answers i + 1 steps late
    stream = np.rint(clips * payload).swapaxes(0, 1).reshape(-1, *clips.shape[2:])
    stream = np.concatenate([stream, np.zeros((depth, *clips.shape[2:]))])
    source = Source(data=np.ascontiguousarray(stream.transpose()).astype(np.int32))  # W, H, C, time
    sink = Sink(shape=net.out.shape, buffer=len(stream))
    source.s_out.connect(net.inp)
    net.out.connect(sink.a_in)
    net.run(condition=RunSteps(num_steps=len(stream)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    spikes = sink.data.get()[:, depth:] != 0
    net.stop()
    answers = np.load(bundle / "vectors" / "expected.npz")
    expected = answers[said["layers"][-1]["name"]]  # [T, N, neurons]
    ours = spikes.reshape(-1, count, steps).transpose(2, 1, 0)
    print(f"{int((ours != expected).sum())} of {expected.size} output spikes differ, {int(ours.sum())} fired")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
