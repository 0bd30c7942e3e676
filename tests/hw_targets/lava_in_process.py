"""Lava's own fixed-point model classes, stepped in one process: no runtime, no fork, nothing that can hang.

``lava.lib.dl.netx.hdf5.Network`` reads the file, Lava's run configuration chooses the model classes and
Lava's ``PyProcessBuilder`` builds them, with their ports, transforms and integer types. What stands in for
Lava is the channel between two ports (a queue instead of shared memory) and the runtime service that says
"next step". All arithmetic is Lava's code, unmodified.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw_targets.loihi2.chip import ChipGraph
from hw_targets.loihi2.simulate import ChipRun, encode_input, simulate

STATE = ("u", "v", "a_buf", "a_buff")


@dataclass(frozen=True)
class LayerTrace:
    """One layer in frame time: spikes uint8, u and v (after the reset) int32, all [T, N, ...] in C, H, W order.

    ``parameters`` holds every constant that Lava's models hold after the run, by name.
    """

    spikes: np.ndarray
    u: np.ndarray
    v: np.ndarray
    parameters: dict[str, np.ndarray] = field(default_factory=dict)


class Channel:
    """A queue in the place of Lava's shared-memory channel; like it, it casts to the sender's type."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, tuple(shape), dtype
        self._frames: deque[np.ndarray] = deque()

    def send(self, data: np.ndarray) -> None:
        if data.shape != self.shape:
            raise ValueError(f"{self.name}: a frame {data.shape} in a channel {self.shape}")
        self._frames.append(np.array(data, dtype=self.dtype))

    def recv(self) -> np.ndarray:
        if not self._frames:
            raise RuntimeError(f"{self.name}: nothing to receive; the models run in the wrong order")
        return self._frames.popleft()


class Service:
    """Takes the models' reports to the runtime, and keeps nothing."""

    def send(self, report: Any) -> None:
        pass


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


def run(path: Path, stream: np.ndarray, *, steps: int, samples: int, graded: bool) -> list[LayerTrace]:
    """Stream integers [samples * steps, ...] (C, H, W order) back to back through the netx file, layer by layer.

    Layer i (0-based) answers frame t at step t + i + 1, because each synapse hands on what it summed one
    step earlier; the traces are shifted back by that much.
    """
    import_lava()
    from lava.lib.dl import netx
    from lava.magma.core.process.process import ProcessServer

    processes = ProcessServer().processes
    known = len(processes)
    with contextlib.redirect_stdout(io.StringIO()):  # netx prints a warning about weights it clips
        net = netx.hdf5.Network(
            net_config=str(path), reset_interval=steps, reset_offset=1, input_message_bits=8 if graded else 0
        )
    try:
        return _run(net, stream, steps, samples)
    finally:
        net.net_config.f.close()
        del processes[known:]  # Lava's list of all processes would keep every network alive


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


def _run(net: Any, stream: np.ndarray, steps: int, samples: int) -> list[LayerTrace]:
    blocks = [layer for layer in net.layers if hasattr(layer, "neuron")]
    models, source, spikes = _build(net, blocks)
    total = steps * samples + len(blocks)
    recorded: list[list[tuple[np.ndarray, ...]]] = [[] for _ in blocks]
    stream = np.concatenate([stream, np.zeros((len(blocks), *stream.shape[1:]), dtype=stream.dtype)])
    for step in range(total):
        # Lava counts W, H, C, the reversed axes; a dense first layer takes a vector in C, H, W order.
        frame = stream[step].transpose() if len(source.shape) == 3 else stream[step].reshape(-1)
        source.send(frame)
        for index, (synapse, neuron) in enumerate(models):
            for model in (synapse, neuron):
                model._spike()
            state = (spikes[index].recv(), neuron.u, neuron.v)
            recorded[index].append(tuple(np.array(value).transpose() for value in state))
    traces = []
    for index, rows in enumerate(recorded):
        rows = rows[index + 1 : index + 1 + steps * samples]
        fired, u, v = (
            np.stack(values).reshape(samples, steps, *values[0].shape).swapaxes(0, 1)
            for values in zip(*rows, strict=True)
        )
        traces.append(LayerTrace((fired != 0).astype(np.uint8), u, v, _parameters(*models[index])))
    return traces


def _build(net: Any, blocks: list[Any]) -> tuple[list[tuple[Any, Any]], Channel, list[Channel]]:
    """Build the models of all blocks and lay channels between their ports."""
    builders = {process: _builder(process) for block in blocks for process in (block.synapse, block.neuron)}
    source: Channel | None = None
    for process, builder in builders.items():
        for port in process.in_ports:
            (sender,) = port.get_src_ports()
            if sender.process is net:
                # Lava's source, the ring buffer, sends int32.
                channel = source = Channel(port.name, sender.shape, np.int32)
                name = f"{net.id}_{sender.name}"
            else:
                channel = Channel(port.name, sender.shape, _dtype(sender))
                name = _port_id(sender)
                builders[sender.process].set_csp_ports([_Renamed(sender.name, channel)])
            builder.add_csp_port_mapping(name, channel)
            builder.set_csp_ports([channel])
    spikes = []
    for block in blocks:
        port = block.neuron.s_out
        spikes.append(Channel(port.name, port.shape, _dtype(port)))
        builders[block.neuron].set_csp_ports([spikes[-1]])
    models = {process: builder.build() for process, builder in builders.items()}
    for model in models.values():
        model.process_to_service = Service()
    if source is None:
        raise RuntimeError("no layer reads the network's input")
    return [(models[block.synapse], models[block.neuron]) for block in blocks], source, spikes


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
    for model in (synapse, neuron):
        for name in model.var_id_to_var_map.values():
            if name not in STATE:
                found[name] = np.array(getattr(model, name))
    found["model"] = np.array([type(synapse).__name__, type(neuron).__name__])
    return found
