"""Lava's own fixed-point model classes, stepped in one process: no runtime, no fork, nothing that can hang.

``lava.lib.dl.netx.hdf5.Network`` reads the file, Lava's run configuration chooses the model classes and
Lava's ``PyProcessBuilder`` builds them, with their ports, transforms and integer types. What stands in for
Lava is the channel between two ports (a queue instead of shared memory) and the runtime service that says
"next step". All arithmetic is Lava's code, unmodified.

Two ways to run clips: ``pipeline``, each clip from zero without any reset, in Lava's own time; and ``run``, all clips
streamed in one run with Lava's reset, shifted back to frame time.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.simulate import ChipRun, encode_input, simulate

STATE = ("u", "v", "sigma", "act", "residue", "error", "a_buf", "a_buff")
RECORDED = ("u", "v", "sigma", "act", "residue")
PATIENCE_S = 20.0


@dataclass(frozen=True)
class LayerTrace:
    """One population: what it received, held and sent, all [T, N, ...] in C, H, W order.

    ``drive``: the sum over its synapses, int32; ``messages`` int32 (0 and 1 from LIF neurons); ``state`` the variables
    of the neuron after the step, by Lava's names (u and v after the reset; or sigma, act, residue).
    ``parameters`` holds every constant that Lava's models hold after the run, by name.
    """

    messages: np.ndarray
    drive: np.ndarray
    state: dict[str, np.ndarray]
    parameters: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def spikes(self) -> np.ndarray:
        return (self.messages != 0).astype(np.uint8)

    @property
    def u(self) -> np.ndarray:
        return self.state["u"]

    @property
    def v(self) -> np.ndarray:
        return self.state["v"]


class Channel:
    """A queue in the place of Lava's shared-memory channel; like it, it casts to the sender's type."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any, *, patience_s: float = 0.0) -> None:
        self.name, self.shape, self.dtype, self.patience_s = name, tuple(shape), dtype, patience_s
        self._frames: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()

    def send(self, data: np.ndarray) -> None:
        if data.shape != self.shape:
            raise ValueError(f"{self.name}: a frame {data.shape} in a channel {self.shape}")
        self._frames.put(np.array(data, dtype=self.dtype))

    def recv(self) -> np.ndarray:
        try:
            return self._frames.get(timeout=self.patience_s) if self.patience_s else self._frames.get_nowait()
        except queue.Empty:
            message = f"{self.name}: nothing to receive; the models run in the wrong order"
            raise RuntimeError(message) from None


class Tap:
    """A neuron's input port that remembers what it received."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.last: np.ndarray = np.zeros(0)

    def recv(self) -> np.ndarray:
        self.last = np.array(self._port.recv())
        return self.last


class Service:
    """Takes the models' reports to the runtime, and keeps nothing."""

    def send(self, report: Any) -> None:
        pass


class Block:
    """The models of one population: its synapses, its neurons, perhaps synapses from itself to itself."""

    def __init__(self, synapse: Any, neuron: Any, recurrent: Any, output: Channel) -> None:
        self.synapse, self.neuron, self.recurrent, self.output = synapse, neuron, recurrent, output
        self.input = Tap(neuron.a_in)
        neuron.a_in = self.input
        self.models = [model for model in (synapse, neuron, recurrent) if model is not None]
        self.held = [name for name in RECORDED if name in set(neuron.var_id_to_var_map.values())]
        if not hasattr(neuron, "sigma_dynamics") and "sigma" in self.held:
            self.held.remove("sigma")  # a delta neuron has the variable and never uses it
        self._initial = [
            (model, name, np.array(getattr(model, name)))
            for model in self.models
            for name in model.var_id_to_var_map.values()
            if name in STATE
        ]

    def restart(self) -> None:
        """Put every state variable back to what Lava's builder gave it."""
        for model, name, value in self._initial:
            setattr(model, name, value.copy())

    def step(self) -> tuple[np.ndarray, ...]:
        """Run one step; return the messages, the drive and the neurons' state, axes in C, H, W order."""
        if self.synapse is not None:
            self.synapse._spike()
        if self.recurrent is None:
            self.neuron._spike()
        else:
            # In one step it first sends what it summed before, then waits for the neurons' messages of this step.
            errors: list[BaseException] = []
            feedback = threading.Thread(target=_keeping_error, args=(self.recurrent._spike, errors), daemon=True)
            feedback.start()
            self.neuron._spike()
            feedback.join()
            if errors:
                raise errors[0]
        held = (getattr(self.neuron, name) for name in self.held)
        return tuple(np.array(value).transpose() for value in (self.output.recv(), self.input.last, *held))


def _keeping_error(call: Any, errors: list[BaseException]) -> None:
    try:
        call()
    except BaseException as error:
        errors.append(error)


def import_lava() -> None:
    """Import Lava although this process may have used multiprocessing before.

    Lava chooses "fork" for the whole process when it is imported, and fails when anybody chose earlier. Nothing is
    started here, so the choice does not matter.
    """
    choose = multiprocessing.set_start_method
    multiprocessing.set_start_method = lambda *_, **__: None
    try:
        import lava.lib.dl.netx
        import lava.lib.dl.slayer  # noqa: F401
    finally:
        multiprocessing.set_start_method = choose


@contextlib.contextmanager
def open_network(path: Path, *, graded: bool, **options: Any) -> Iterator[tuple[list[Block], Channel]]:
    """Build the models of a netx file; give its populations and the channel that takes the input."""
    import_lava()
    from lava.lib.dl import netx
    from lava.magma.core.process.process import ProcessServer

    processes = ProcessServer().processes
    known = len(processes)
    with contextlib.redirect_stdout(io.StringIO()):  # netx prints a warning about weights it clips
        net = netx.hdf5.Network(net_config=str(path), input_message_bits=8 if graded else 0, **options)
    try:
        yield _build(net)
    finally:
        net.net_config.f.close()
        del processes[known:]  # Lava's list of all processes would keep every network alive


def pipeline(path: Path, clips: np.ndarray, *, graded: bool = False, **options: Any) -> list[LayerTrace]:
    """Run clips [T, N, ...], each from zero for T steps without reset; the traces are in Lava's time.

    ``options`` go to ``netx.hdf5.Network``: num_layers, spike_exp. Between clips only the state is put back
    (tests compare that with building the network anew).
    """
    with open_network(path, graded=graded, **options) as (blocks, source):
        rows: list[list[list[tuple[np.ndarray, ...]]]] = [[] for _ in blocks]
        for sample in range(clips.shape[1]):
            for block, record in zip(blocks, rows, strict=True):
                block.restart()
                record.append([])
            for frame in clips[:, sample]:
                source.send(_lava_axes(frame, source))
                for block, record in zip(blocks, rows, strict=True):
                    record[-1].append(block.step())
        return [_trace(block, record) for block, record in zip(blocks, rows, strict=True)]


def run(
    path: Path, stream: np.ndarray, *, steps: int, samples: int, graded: bool, direct: bool = False
) -> list[LayerTrace]:
    """Stream integers [samples * steps, ...] (C, H, W order) back to back through the netx file, layer by layer.

    Layer i (0-based) answers frame t at step t + i + 1, because each synapse hands on what it summed one
    step earlier; the traces are shifted back by that much. ``direct``: the file begins with neurons that take the
    input themselves, which have no synapse to wait for.
    """
    options = {"reset_interval": steps, "reset_offset": 0 if direct else 1}
    with open_network(path, graded=graded, **options) as (blocks, source):
        return _run(blocks, source, stream, steps, samples, first=0 if direct else 1)


def judge(chip: ChipGraph, path: Path, clips: np.ndarray) -> list[LayerTrace]:
    """Run clips [T, N, ...] through the file that holds ``chip``."""
    stream = encode_input(chip, clips).swapaxes(0, 1).reshape(-1, *chip.input_shape)
    return run(path, stream, steps=clips.shape[0], samples=clips.shape[1], graded=chip.payload > 1)


def assert_equal(chip: ChipGraph, clips: np.ndarray, traces: list[LayerTrace]) -> ChipRun:
    """Compare our simulator's spikes and membrane potentials of every layer, frame and neuron with Lava's."""
    ours = simulate(chip, clips, probe=tuple(layer.name for layer in chip.layers))
    assert len(traces) == len(ours.spikes)
    for trace, (name, spikes) in zip(traces, ours.spikes.items(), strict=True):
        np.testing.assert_array_equal(trace.spikes, spikes, err_msg=f"spikes of {name}")
        after = np.where(spikes == 1, 0, ours.membrane[name])
        np.testing.assert_array_equal(trace.v, after, err_msg=f"membrane of {name}")
    return ours


def _run(
    blocks: list[Block], source: Channel, stream: np.ndarray, steps: int, samples: int, first: int
) -> list[LayerTrace]:
    rows: list[list[tuple[np.ndarray, ...]]] = [[] for _ in blocks]
    stream = np.concatenate([stream, np.zeros((len(blocks), *stream.shape[1:]), dtype=stream.dtype)])
    for frame in stream:
        source.send(_lava_axes(frame, source))
        for block, record in zip(blocks, rows, strict=True):
            record.append(block.step())
    traces = []
    for index, (block, record) in enumerate(zip(blocks, rows, strict=True)):
        record = record[index + first : index + first + steps * samples]
        traces.append(_trace(block, [record[n * steps : (n + 1) * steps] for n in range(samples)]))
    return traces


def _lava_axes(frame: np.ndarray, source: Channel) -> np.ndarray:
    """Lava counts W, H, C, the reversed axes; a dense first layer takes a vector in C, H, W order."""
    return frame.transpose() if len(source.shape) == 3 else frame.reshape(-1)


def _trace(block: Block, samples: list[list[tuple[np.ndarray, ...]]]) -> LayerTrace:
    columns = [
        np.stack([np.stack([row[column] for row in rows]) for rows in samples], axis=1)
        for column in range(len(samples[0][0]))
    ]
    messages, drive, *held = columns
    state = dict(zip(block.held, held, strict=True))
    return LayerTrace(messages.astype(np.int32), drive, state, _parameters(block.synapse, block.neuron))


def _build(net: Any) -> tuple[list[Block], Channel]:
    """Build the models of all blocks and lay channels between their ports."""
    from lava.proc.io.source import RingBuffer

    parts = [layer for layer in net.layers if hasattr(layer, "neuron")]
    direct = not hasattr(parts[0], "synapse")
    entrance = parts[0].neuron.a_in if direct else net.inp
    feeder = RingBuffer(data=np.zeros((*entrance.shape, 1), dtype=int))  # never built: it names the sending port
    feeder.s_out.connect(entrance)
    kinds = ("synapse", "neuron", "synapse_rec")
    builders = {
        process: _builder(process) for part in parts for kind in kinds if (process := getattr(part, kind, None))
    }
    source: Channel | None = None
    for process, builder in builders.items():
        loops = any(process is getattr(part, "synapse_rec", None) for part in parts)
        for port in process.in_ports:
            for sender in port.get_src_ports():
                if sender.process is feeder:
                    channel = source = Channel(port.name, sender.shape, np.int32)  # a ring buffer sends int32
                else:
                    late = loops or len(port.get_src_ports()) > 1
                    channel = Channel(port.name, sender.shape, _dtype(sender), patience_s=PATIENCE_S * late)
                    builders[sender.process].set_csp_ports([_Renamed(sender.name, channel)])
                builder.add_csp_port_mapping(_port_id(sender), channel)
                builder.set_csp_ports([channel])
    outputs = []
    for part in parts:
        port = part.neuron.s_out
        outputs.append(Channel(port.name, port.shape, _dtype(port)))
        builders[part.neuron].set_csp_ports([outputs[-1]])
    models = {process: builder.build() for process, builder in builders.items()}
    for model in models.values():
        model.process_to_service = Service()
    if source is None:
        raise RuntimeError("no layer reads the network's input")
    blocks = [
        Block(*(models.get(getattr(part, kind, None)) for kind in kinds), output)
        for part, output in zip(parts, outputs, strict=True)
    ]
    return blocks, source


class _Renamed:
    """The sending end of a channel, under the sending port's name."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name, self.send = name, channel.send


def _builder(process: Any) -> Any:
    """Return Lava's builder of a process, filled as Lava's compiler fills it."""
    from lava.magma.compiler.builders.py_builder import PyProcessBuilder
    from lava.magma.compiler.utils import PortInitializer, VarInitializer

    process._model_class = _model_class(type(process), process)
    builder = PyProcessBuilder(process.model_class, process.id, process.proc_params)
    builder.set_variables([VarInitializer(v.name, v.shape, v.init, v.id) for v in process.vars])
    builder.set_py_ports(
        [
            PortInitializer(
                port.name, port.shape, _dtype(port), type(port).__name__, 1, port.get_incoming_transform_funcs()
            )
            for port in [*process.in_ports, *process.out_ports]
        ]
    )
    builder.check_all_vars_and_ports_set()
    builder.check_lava_py_types()
    return builder


_CHOSEN: dict[type, type] = {}


def _model_class(kind: type, process: Any) -> type:
    """Return the model class that Lava's own run configuration chooses for ``fixed_pt``."""
    from lava.magma.compiler.compiler_graphs import ProcGroupDiGraphs
    from lava.magma.core.run_configs import Loihi2SimCfg

    if kind not in _CHOSEN:
        found = ProcGroupDiGraphs._find_proc_models(process)
        _CHOSEN[kind] = ProcGroupDiGraphs._select_proc_models(process, found, Loihi2SimCfg(select_tag="fixed_pt"))
    return _CHOSEN[kind]


def _dtype(port: Any) -> Any:
    return getattr(port.process.model_class, port.name).d_type


def _port_id(port: Any) -> str:
    from lava.magma.core.process.ports.ports import create_port_id

    return create_port_id(port.process.id, port.name)


def _parameters(synapse: Any, neuron: Any) -> dict[str, np.ndarray]:
    """Return every constant of the two models, as Lava uses it (weights after its own clipping and truncation)."""
    found = {"weight_exp": np.array(getattr(synapse, "weight_exp", 0))}
    for model in filter(None, (synapse, neuron)):
        for name in model.var_id_to_var_map.values():
            if name not in STATE:
                found[name] = np.array(getattr(model, name))
    found["model"] = np.array([type(synapse).__name__, type(neuron).__name__])
    return found
