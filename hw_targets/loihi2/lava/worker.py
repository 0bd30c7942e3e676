"""What runs inside Lava's process (``lava/start.py``): netx builds the network, Lava runs it, files record it.

Reads ``job.json`` and ``input.npy`` from the job's folder, writes for layer i ``layer{i}.bin`` (its messages, one
row per step) and, where probed, ``probe{i}.bin``, then ``result.json``, whose existence means that all is complete.
"""

from __future__ import annotations

import gc
import json
import mmap
import multiprocessing.connection
import os
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from lava.lib.dl import netx
from lava.lib.dl.netx.utils import NetDict
from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
from lava.magma.core.decorator import implements, requires
from lava.magma.core.model.py.model import AbstractPyProcessModel, PyLoihiProcessModel
from lava.magma.core.model.py.ports import PyInPort
from lava.magma.core.model.py.type import LavaPyType
from lava.magma.core.process.ports.ports import InPort
from lava.magma.core.process.process import AbstractProcess, ProcessServer
from lava.magma.core.resources import CPU
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
from lava.magma.runtime.message_infrastructure import multiprocessing as infrastructure
from lava.magma.runtime.runtime_services.runtime_service import PyRuntimeService
from lava.proc.conv import utils as conv_utils
from lava.proc.io.source import RingBuffer
from lava.proc.lif.models import PyLifModelBitAcc, PyLifResetModelBitAcc
from lava.proc.sdn.models import PyDeltaModelFixed, PySigmaDeltaModelFixed, PySigmaModelFixed

from hw_targets.loihi2.lava.failure import report

SMALL_CHANNELS = {"pypy_channel_size": 1}
"""One slot for each channel instead of 64: 5 MB instead of 329 MB on the paper's network, at the same speed."""

PLACES: dict[int, str] = {}
"""The layer that a Lava process belongs to, by process number; forked processes inherit it."""

PROBES: dict[int, tuple[Path, Any]] = {}
"""Where a neuron process records its state, and which of its neurons (in C, H, W order), by process number."""


class Unnamed:
    """Shared memory without a name: the forked processes inherit it, and no file in /dev/shm can be left behind."""

    def __init__(self, size: int) -> None:
        self.buf = memoryview(mmap.mmap(-1, max(size, 1)))


class UnnamedMemory:
    """Stands in for Lava's SharedMemoryManager, whose named blocks (and process) outlive a killed run."""

    def start(self) -> None:
        """There is nothing to start."""

    def shutdown(self) -> None:
        """The memory goes with the last process that uses it."""

    def create_shared_memory(self, size: int) -> Unnamed:
        """Return a new block of ``size`` bytes."""
        return Unnamed(size)


class Recorder(AbstractProcess):  # type: ignore[misc]
    """Writes the messages it receives to a file, one row per step: packed bits, or int32.

    Lava's own sink hands its buffer back one scalar per message, which is too slow for hidden layers.
    """

    def __init__(self, *, shape: tuple[int, ...], file: str, packed: bool) -> None:
        super().__init__(shape=shape, file=file, packed=packed)
        self.a_in = InPort(shape=shape)


@implements(proc=Recorder, protocol=LoihiProtocol)
@requires(CPU)
class RecorderModel(PyLoihiProcessModel):  # type: ignore[misc]
    """CPU model of the recorder."""

    a_in: PyInPort = LavaPyType(PyInPort.VEC_DENSE, np.int32)
    out: BinaryIO | None = None

    def run_spk(self) -> None:
        """Receive one step and append it."""
        if self.out is None:
            self.out = open(self.proc_params["file"], "ab", buffering=0)  # noqa: SIM115  open until the process ends
        row = _flat(self.a_in.recv())
        self.out.write(np.packbits(row != 0).tobytes() if self.proc_params["packed"] else row.tobytes())


def _flat(values: Any) -> Any:
    """Return a layer's values as int32 [C * H * W]; Lava counts W, H, C."""
    return np.ascontiguousarray(np.transpose(values), dtype=np.int32).reshape(-1)


class Tee:
    """A port that keeps what it received last."""

    def __init__(self, port: Any) -> None:
        self.port = port
        self.received: Any = None

    def recv(self) -> Any:
        """Receive."""
        self.received = self.port.recv()
        return self.received


class Probed:
    """Placed before one of Lava's neuron models: records the sum a, u (or sigma) and v before the reset (or act)."""

    out: BinaryIO | None = None
    membrane: Any = None

    def subthr_dynamics(self, activation_in: Any) -> None:
        """Let Lava's LIF compute u and v, and keep v as it is before the reset."""
        super().subthr_dynamics(activation_in=activation_in)  # type: ignore[misc]
        self.membrane = _flat(self.v).copy()  # type: ignore[attr-defined]

    def run_spk(self) -> None:
        """Let Lava compute a step, then append three rows."""
        file, chosen = PROBES[self.model_id]  # type: ignore[attr-defined]
        if self.out is None:
            self.out = open(file, "ab", buffering=0)  # noqa: SIM115
            self.a_in = Tee(self.a_in)  # type: ignore[has-type]
        super().run_spk()  # type: ignore[misc]
        current = _flat(self.u if hasattr(self, "u") else self.sigma)  # type: ignore[attr-defined]
        membrane = self.membrane
        if membrane is None:
            membrane = _flat(self.act if hasattr(self, "act") else self.sigma)  # type: ignore[attr-defined]
        rows = np.stack([_flat(self.a_in.received), current, membrane])
        self.out.write((rows if chosen is None else rows[:, chosen]).tobytes())


LAVA_NEURONS = (
    PyLifModelBitAcc,
    PyLifResetModelBitAcc,
    PyDeltaModelFixed,
    PySigmaDeltaModelFixed,
    PySigmaModelFixed,
)
PROBED = {model: type(f"Probed{model.__name__}", (Probed, model), {}) for model in LAVA_NEURONS}

MODELS: dict[type, list[Any]] = {Recorder: [RecorderModel]}
"""The models that Lava found for a kind of process."""


class Config(Loihi2SimCfg):  # type: ignore[misc]
    """Lava's fixed-point configuration, with our recorder's only model and our probes."""

    def select(self, proc: Any, models: list[Any]) -> Any:
        """Return the model to run a process with."""
        if isinstance(proc, Recorder):
            return RecorderModel
        model = super().select(proc, models)
        return PROBED[model] if proc.id in PROBES else model


def main(folder: Path) -> None:
    """Run the job in ``folder``."""
    job = json.loads((folder / "job.json").read_text())
    clips = np.load(folder / "input.npy", mmap_mode="r")  # [N, T, ...]
    infrastructure.SharedMemoryManager = UnnamedMemory
    report_failures(folder)
    search_models_once()
    gc.freeze()  # what has been imported stays; no collection has to look at it
    if job["patch"] == "convolution":
        from hw_targets.loihi2.lava.convolution import convolve

        conv_utils.conv_scipy = convolve
    elapsed = 0.0
    for run in range(job["runs"]):
        elapsed += run_network(folder, job, clips[run * job["run_clips"] : (run + 1) * job["run_clips"]])
    # The first step of a run is not counted: it compiles.
    seconds = elapsed / max(job["runs"] * (job["run_steps"] - 1), 1)
    aside = folder / "result.partial"
    aside.write_text(json.dumps({"seconds_per_step": seconds}))
    os.replace(aside, folder / "result.json")


def run_network(folder: Path, job: dict[str, Any], clips: Any) -> float:
    """Build one network, run clips [K, T, ...] through it back to back, stop it; return the seconds of its steps."""
    processes = ProcessServer().processes
    known = len(processes)
    net = build_network(job)
    stream = np.zeros((job["run_steps"], *clips.shape[2:]), dtype=np.int32)
    frames = clips.reshape(-1, *clips.shape[2:])
    stream[: len(frames)] = frames
    connect_source(net, stream)
    for index, (block, layer) in enumerate(zip(net.layers, job["layers"], strict=True)):
        connect_recorder(folder, index, block, layer)
    config = Config(select_tag="fixed_pt")
    net._log_config.level = 40
    net.create_runtime(run_cfg=config, compile_config=SMALL_CHANNELS)
    with Watch(net, folder):
        net.run(condition=RunSteps(num_steps=1), run_cfg=config, compile_config=SMALL_CHANNELS)
        started = time.perf_counter()
        if job["run_steps"] > 1:
            remaining = RunSteps(num_steps=job["run_steps"] - 1)
            net.run(condition=remaining, run_cfg=config, compile_config=SMALL_CHANNELS)
        elapsed = time.perf_counter() - started
    net.stop()
    net.net_config.f.close()
    del processes[known:]  # Lava's list of all processes would keep every network alive
    PLACES.clear()
    PROBES.clear()
    gc.collect()
    return elapsed


def build_network(job: dict[str, Any]) -> Any:
    """Have netx build the populations that the job names.

    Raises:
        ValueError: the file holds other populations than those.
    """
    net = netx.hdf5.Network(
        net_config=job["file"],
        num_layers=entries(job["file"], len(job["layers"])),
        input_message_bits=job["message_bits"],
        reset_interval=job["reset_interval"] or None,
        reset_offset=job["reset_offset"],
    )
    found = [int(np.prod(block.neuron.s_out.shape)) for block in net.layers]
    expected = [layer["neurons"] for layer in job["layers"]]
    if found != expected:
        raise ValueError(f"the file has populations of {found} neurons, the network {expected}")
    return net


def entries(file: str, populations: int) -> int | None:
    """Return how many entries of the file make up that many populations; all of them (None) where it has fewer.

    What follows the last population (an ``average``, which netx refuses) is a readout, not a layer of the chip.
    """
    config = NetDict(file)
    layers = config["layer"]
    for index in range(len(layers)):
        kind = layers[index]["type"]
        populations -= kind in ("conv", "dense", "dense_rec") or (kind == "input" and "neuron" in layers[index].f)
        if populations == 0:
            config.f.close()
            return index + 1
    config.f.close()
    return None


def connect_source(net: Any, stream: Any) -> None:
    """Connect frames [steps, ...] to the network's input."""
    # The input port of a population that takes the input itself leads nowhere in netx.
    target = net.inp if hasattr(net.layers[0], "synapse") else net.layers[0].neuron.a_in
    if len(target.shape) == 1:  # a vector, in C, H, W order
        stream = stream.reshape(len(stream), -1)
    # Lava counts W, H, C with time last; the reversed axes of [time, C, H, W] are exactly that.
    source = RingBuffer(data=np.ascontiguousarray(stream.transpose()))
    source.s_out.connect(target)
    PLACES[source.id] = "input"


def connect_recorder(folder: Path, index: int, block: Any, layer: dict[str, Any]) -> None:
    """Record the messages of a population, and its state where the job asks for it."""
    out = block.neuron.s_out
    recorder = Recorder(shape=out.shape, file=str(folder / f"layer{index}.bin"), packed=layer["packed"])
    out.connect(recorder.a_in)
    for process in (recorder, block, *(getattr(block, name, None) for name in ("synapse", "synapse_rec", "neuron"))):
        if process is not None:
            PLACES[process.id] = layer["name"]
    if layer["probe"] is not False:
        chosen = None if layer["probe"] is True else np.array(layer["probe"], dtype=np.int64)
        PROBES[block.neuron.id] = (folder / f"probe{index}.bin", chosen)


def search_models_once() -> None:
    """Have Lava keep the models that it finds; it would run every file beside a process's, for each process again."""
    search = ProcGroupDiGraphs._find_proc_models

    def find(proc: Any) -> list[Any]:  # called by this name
        kind = type(proc)
        if kind not in MODELS:
            MODELS[kind] = search(proc)
        return MODELS[kind]

    ProcGroupDiGraphs._find_proc_models = staticmethod(find)


def report_failures(folder: Path) -> None:
    """Have every Lava process report what it raises; Lava itself would only stop answering."""
    _report(PyLoihiProcessModel, "_spike", folder)
    _report(AbstractPyProcessModel, "start", folder)
    _report(PyRuntimeService, "start", folder)


def _report(kind: Any, method: str, folder: Path) -> None:
    original = getattr(kind, method)

    def reporting(self: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return original(self, *arguments, **options)
        except BaseException as error:
            layer = PLACES.get(getattr(self, "model_id", -1), "")
            report(folder, error, layer=layer, model=type(self).__name__, step=getattr(self, "time_step", 0))
            raise

    setattr(kind, method, reporting)


class Watch:
    """While it is entered, a thread reports any process of the network that ends."""

    def __init__(self, net: Any, folder: Path) -> None:
        self.folder = folder
        runtime = net.runtime
        places = [PLACES.get(process.id, "") for process in runtime._executable.proc_builders]
        actors = runtime._messaging_infrastructure.actors
        places += ["lava"] * (len(actors) - len(places))
        self.actors = {actor.sentinel: (actor, place) for actor, place in zip(actors, places, strict=True)}
        self.over, self.leave = multiprocessing.Pipe(duplex=False)
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        """Start to watch."""
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        """Stop watching; from now on processes may end."""
        self.leave.send(None)
        self.thread.join()
        self.over.close()
        self.leave.close()

    def _watch(self) -> None:
        ready = multiprocessing.connection.wait([self.over, *self.actors])
        for sentinel in ready:
            if sentinel is not self.over:
                actor, place = self.actors[sentinel]  # type: ignore[index]
                actor.is_alive()  # fetches the exit code
                time.sleep(0.2)  # its own report, if it could make one, says more
                report(self.folder, ChildProcessError(f"a process of Lava ended ({actor.exitcode})"), layer=place)
