"""A literal interpreter of NIR graphs: the nodes' own equations, step by step, with their own arrays.

It shares nothing with the graph or its float execution: per-neuron arrays stay arrays, sum pools stay sums,
convolutions are sums over windows in numpy. Where a graph made from a file spikes like this, the reading was
right. One step of forward Euler with step dt, from v = v_leak (IF: v_reset) and i = 0::

    IF       v <- v + dt r x
    LIF      v <- v + dt/tau ((v_leak - v) + r x)
    CubaLIF  i <- i + dt/tau_syn (-i + w_in x);   v <- v + dt/tau_mem ((v_leak - v) + r i)
    all      z = v >= v_threshold (or v > v_threshold);   v <- v_reset where z
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from hw_targets.finding import Finding
from hw_targets.graph import Array

if TYPE_CHECKING:
    from export.frontends.nir_file import NirSource
    from export.frontends.nir_guard import Network

NEURONS = ("IF", "LIF", "CubaLIF")


def interpret(
    network: Network,
    clips: Array,
    *,
    dt_s: float,
    inclusive: Mapping[str, bool],
    precision: Literal["float32", "float64"] = "float32",
) -> dict[str, Array]:
    """Return the spikes uint8 [T, N, ...] of each neuron node on ``clips`` [T, N, ...].

    The nodes must form one chain. ``inclusive`` says by node name whether a spike needs v >= v_threshold.

    Raises:
        ValueError: a node of another kind.
    """
    chain = _chain(network)
    number = np.dtype(precision)
    state: dict[str, tuple[Array, Array]] = {}
    spikes: dict[str, list[Array]] = {name: [] for name in chain if _kind(network, name) in NEURONS}
    for frame in clips:
        value = frame.astype(number)
        for name in chain:
            node = network.nodes[name]
            if name in spikes:
                value, state[name] = _neuron(node, value, state.get(name), number.type(dt_s), inclusive[name])
                spikes[name].append(value.astype(np.uint8))
            else:
                value = _memoryless(node, value)
    return {name: np.stack(fired) for name, fired in spikes.items()}


def _kind(network: Network, name: str) -> str:
    return type(network.nodes[name]).__name__


def _chain(network: Network) -> list[str]:
    """Follow the edges from the Input node to the node before the Output."""
    following = dict(network.edges)
    chain = []
    name = following[next(name for name in network.nodes if _kind(network, name) == "Input")]
    while _kind(network, name) != "Output":
        chain.append(name)
        name = following[name]
    return chain


def _neuron(
    node: Any, x: Array, state: tuple[Array, Array] | None, dt: Any, inclusive: bool
) -> tuple[Array, tuple[Array, Array]]:
    """Advance one layer by one step; return its spikes and its state (v, i)."""

    def of(key: str) -> Array:
        return np.asarray(getattr(node, key)).astype(x.dtype)

    kind = type(node).__name__
    if state is None:
        rest = of("v_reset") if kind == "IF" else of("v_leak")
        state = np.zeros_like(x) + rest, np.zeros_like(x)
    v, i = state
    if kind == "IF":
        v = v + dt * (of("r") * x)
    elif kind == "LIF":
        v = v + dt / of("tau") * ((of("v_leak") - v) + of("r") * x)
    else:
        i = i + dt / of("tau_syn") * (-i + of("w_in") * x)
        v = v + dt / of("tau_mem") * ((of("v_leak") - v) + of("r") * i)
    fired = v >= of("v_threshold") if inclusive else v > of("v_threshold")
    return fired.astype(x.dtype), (np.where(fired, of("v_reset"), v), i)


def _memoryless(node: Any, x: Array) -> Array:
    """Apply a node without state to one frame [N, ...]."""
    match type(node).__name__:
        case "Linear":
            return x @ np.asarray(node.weight).astype(x.dtype).T
        case "Affine":
            return x @ np.asarray(node.weight).astype(x.dtype).T + np.asarray(node.bias).astype(x.dtype)
        case "Scale":
            return x * np.asarray(node.scale).astype(x.dtype)
        case "Flatten":
            return x.reshape(len(x), -1)
        case "AvgPool2d":
            return _windows(x, node.kernel_size, node.stride, node.padding).mean(axis=(4, 5), dtype=x.dtype)
        case "SumPool2d":
            return _windows(x, node.kernel_size, node.stride, node.padding).sum(axis=(4, 5), dtype=x.dtype)
        case "Conv2d":
            return _convolve(node, x)
        case kind:
            raise ValueError(f"no equations for {kind}")


def _convolve(node: Any, x: Array) -> Array:
    """Return the cross-correlation, group by group, as one sum over channels and taps."""
    weight = np.asarray(node.weight).astype(x.dtype)
    if isinstance(node.padding, str):
        same = [d * (k - 1) // 2 for d, k in zip(_two(node.dilation), weight.shape[2:], strict=True)]
        padding: Any = same if node.padding == "same" else 0
    else:
        padding = node.padding
    groups = int(np.ravel(node.groups)[0])
    seen = _windows(x, weight.shape[2:], node.stride, padding, node.dilation)
    parts = [
        np.einsum("nchwij,ocij->nohw", part, taps, optimize=True)
        for part, taps in zip(np.split(seen, groups, axis=1), np.split(weight, groups), strict=True)
    ]
    result = np.concatenate(parts, axis=1)
    return result if node.bias is None else result + np.asarray(node.bias).astype(x.dtype)[:, None, None]


def _windows(x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any = 1) -> Array:
    """Return the windows [N, C, H', W', kH, kW] of a zero-padded image [N, C, H, W]."""
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = (_two(v) for v in (kernel, stride, padding, dilation))
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    seen: Array = sliding_window_view(padded, (dh * (kh - 1) + 1, dw * (kw - 1) + 1), axis=(2, 3))  # type: ignore[call-overload]
    return seen[:, :, ::sh, ::sw, ::dh, ::dw]


def _two(value: Any) -> tuple[int, int]:
    flat = np.ravel(value)
    return int(flat[0]), int(flat[-1])


def replay_check(source: NirSource, clips: Array) -> list[Finding]:
    """Compare ``source.graph`` with the file's own equations on ``clips``, decision by decision, in float64.

    Each neuron of the graph is given the interpreter's spikes and past, so that one difference does not hide
    the next. A layer that is silent or always fires proves nothing, and is a warning.

    Raises:
        InputError: the clips do not suit the network.
    """
    from export.reference import run_graph

    wanted = source.spikes(clips, precision="float64")
    run = run_graph(source.graph, clips, precision="float64", teacher=wanted)
    findings = []
    for name, fired in wanted.items():
        wrong = int(np.count_nonzero((run.spikes[name] != fired) & ~run.ties[name]))
        if wrong:
            found = f"{wrong} of {fired.size} spikes differ from the file's own equations, rounding ties aside"
            fix = "the layer does something that a graph node does not say: please report it"
            findings.append(Finding("E176", "error", name, found, "0", str(wrong), fix))
        if not fired.any() or fired.all():
            found = f"{'no' if not fired.any() else 'every'} neuron fires on the clips compared"
            fix = "the comparison shows nothing here: use other clips, or check dt"
            findings.append(Finding("W161", "warning", name, found, "some of the neurons", fix=fix))
    return findings
