"""``OUT.npz``: arrays that grow clip by clip on disk, packed at the end, in memory that does not grow with them."""

from __future__ import annotations

import os
import shutil
import zipfile
from math import prod
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from export.swap import folder_aside
from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array
from neuroemo.pipeline import Progress, quiet_progress
from neuroemo.simulation.backends import BatchRun
from neuroemo.simulation.network import SimulatedNetwork

COPY_BYTES = 1 << 22


class SpikeArchive:
    """An ``.npz`` under construction: ``append`` batches [n, ...] of ``clips`` in all, then ``finish``.

    Leaving its context before ``finish`` leaves nothing on disk.
    """

    def __init__(self, path: Path, clips: int) -> None:
        self.path, self.clips = path, clips
        self.folder = folder_aside(path)
        self.files: dict[str, IO[bytes]] = {}
        self.same: dict[str, str] = {}

    def __enter__(self) -> SpikeArchive:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove everything that is not finished."""
        for file in self.files.values():
            file.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def append(self, arrays: dict[str, Array]) -> None:
        """Add one batch [n, ...] to every array.

        Raises:
            InputError: the disk has no room for all the clips.
        """
        if not self.files:
            self._refuse_full_disk(arrays)
            self._begin(arrays)
        for name, block in arrays.items():
            self.files[name].write(np.ascontiguousarray(block).data)

    def _refuse_full_disk(self, arrays: dict[str, Array]) -> None:
        needed = sum(self.clips * prod(block.shape[1:]) * block.dtype.itemsize for block in arrays.values())
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            found = f"{needed} bytes of spikes and probes of {self.clips} clips"
            fix = "fewer clips (--limit), fewer probed neurons (--probe LAYER:0,5), or another disk"
            raise InputError(
                Finding("E686", "error", str(self.path), found, f"{free} bytes of free disk", str(needed - free), fix)
            )

    def _begin(self, arrays: dict[str, Array]) -> None:
        for number, (name, block) in enumerate(arrays.items()):
            file = (self.folder / f"{number}.npy").open("w+b")
            self.files[name] = file
            shape = (self.clips, *block.shape[1:])
            header = {"descr": np.lib.format.dtype_to_descr(block.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

    def finish(self, progress: Progress = quiet_progress) -> list[str]:
        """Pack the arrays, put the file in place, and return their names; ``same`` names are copies of others."""
        packed = self.folder / "packed.npz"
        members = {name: name for name in self.files} | self.same
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for done, (member, name) in enumerate(members.items()):
                progress(done, len(members), f"packing {self.path.name}")
                file = self.files[name]
                file.seek(0)
                with archive.open(f"{member}.npy", "w", force_zip64=True) as out:
                    shutil.copyfileobj(file, out, COPY_BYTES)
        os.replace(packed, self.path)
        return list(members)


def archive_arrays(network: SimulatedNetwork, run: BatchRun) -> dict[str, Array]:
    """Return what ``--save`` keeps of a batch, [n, T, ...]: ``layer0``, ... are the populations on the chip.

    ``host0``, ... are layers that run on the host, ``counts`` int64 [n, L, T]; probed layers add ``layer0_a``
    (synaptic sum), ``layer0_u`` (current) and ``layer0_v`` (potential before the reset).
    """
    arrays = {f"host{index}": spikes for index, spikes in enumerate(run.host.values())}
    names = network.layer_names
    arrays |= {f"layer{index}": run.spikes[name] for index, name in enumerate(names) if name in run.spikes}
    for suffix, recorded in (("a", run.drive), ("u", run.current), ("v", run.membrane)):
        arrays |= {f"layer{i}_{suffix}": recorded[name] for i, name in enumerate(names) if name in recorded}
    arrays = {name: np.swapaxes(value, 0, 1) for name, value in arrays.items()}
    counts = [run.counts[name] for name in names if name in run.counts]
    return arrays | {"counts": np.stack(counts, axis=1).transpose(2, 1, 0)}
