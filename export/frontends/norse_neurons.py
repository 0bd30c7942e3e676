"""Norse's classes by name, and its feed-forward neurons as graph nodes.

Equations of Norse 1.1, read from ``norse.torch.functional`` (``lif_box``, ``lif``, ``iaf``); a = dt tau_mem_inv,
b = dt tau_syn_inv; every neuron starts at its resting potential without current and fires when v > v_th,
never at v = v_th::

    LIFBoxCell      v <- v + a (x + v_leak - v)                       rest v_leak, decay a, gain a
    LIFCell, LIF    i <- i + x
                    v <- v + a (v_leak - v + i)                       rest v_leak, decay a, gain a
                    i <- i - b i                                      current_decay b
    IAFCell, IAF    v <- v + x                                        rest v_reset, decay 0, gain 1

In LIFCell the current jumps before the potential moves and decays after it, so that the potential sees
(1 - b) i + x: the graph's equation. A spike resets within the step, v <- v_reset; LIFBoxCell alone can be told
to subtract v_th instead. Norse is never imported here: classes are recognised by their module and name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from hw_targets.finding import Finding
from hw_targets.graph import LIF

CELLS = {
    "LIFBoxCell": "lif_box_feed_forward_step",
    "LIFCell": "lif_feed_forward_step",
    "IAFCell": "iaf_feed_forward_step",
}
"""Neurons of one step, each with the function of Norse that integrates it."""

OVER_TIME = {"LIF": CELLS["LIFCell"], "IAF": CELLS["IAFCell"]}
"""Neurons that take all steps at once."""

NEURONS = CELLS | OVER_TIME
CONTAINERS = frozenset({"SequentialState", "Lift"})
SUPPORTED = "LIFBoxCell, LIFCell, LIF, IAFCell or IAF"


def from_norse(kind: type) -> bool:
    """Return whether a class itself is defined in the package ``norse``.

    >>> from_norse(torch.nn.Linear)
    False
    """
    return kind.__module__.split(".")[0] == "norse"


def neuron_kind(module: Any) -> str | None:
    """Return the name of Norse's neuron class that ``module`` is of, or None."""
    kind = type(module)
    return kind.__name__ if from_norse(kind) and kind.__name__ in NEURONS else None


def unsupported_classes(model: torch.nn.Module) -> Iterator[Finding]:
    """Yield a finding for every Norse module that a graph cannot hold, whether or not it ever runs."""
    for name, module in model.named_modules():
        kind = type(module)
        # Norse's ready-made networks (norse.torch.models) are containers like anybody's: what counts is inside.
        if not from_norse(kind) or kind.__module__.startswith("norse.torch.models"):
            continue
        if kind.__name__ not in NEURONS and kind.__name__ not in CONTAINERS:
            yield Finding(
                "E140",
                "error",
                name or kind.__name__,
                f"Norse's {kind.__name__} has no place in a deployable graph",
                fix=_way_out(kind.__name__),
            )


def _way_out(kind: str) -> str:
    """Return what to use in place of a class of Norse."""
    if "Recurrent" in kind:
        return f"the graph is feed-forward: use {SUPPORTED} behind a layer of its own"
    if kind.startswith("LI") and not kind.startswith("LIF"):
        return "leave the readout out of the exported network: end it in LIFBoxCell and count its spikes"
    if "Encoder" in kind:
        return "encode before the network, and give the network the spikes"
    if kind == "LConv2d":
        return "use Lift(torch.nn.Conv2d(..., bias=False)) with the same weights"
    return f"use {SUPPORTED}, and train again"


def translate_neuron(module: Any, kind: str, name: str) -> LIF | list[Finding]:
    """Return the graph node of one of Norse's neurons, or everything that keeps it from being one."""
    values, findings = _parameters(module, kind, name)
    reset, found = _reset(module, kind, name, values)
    findings += found
    activation = getattr(module.activation, "__name__", repr(module.activation))
    if activation != NEURONS[kind]:
        findings.append(
            Finding(
                "E140",
                "error",
                name,
                f"{kind} integrated by {activation}",
                NEURONS[kind],
                fix=f"keep Norse's own function: build a plain {kind}",
            )
        )
    if findings:
        return findings
    if kind in ("IAFCell", "IAF"):
        return LIF(name, 0.0, values["v_th"], 1.0, values["v_reset"], inclusive=False)
    leak = values["tau_mem_inv"]
    memory = values.get("tau_syn_inv", 1.0)
    return LIF(name, leak, values["v_th"], leak, values["v_leak"], False, reset, memory)  # type: ignore[arg-type]


def _parameters(module: Any, kind: str, name: str) -> tuple[dict[str, float], list[Finding]]:
    """Return the neuron's constants, one number each; inverse time constants come multiplied by dt."""
    values: dict[str, float] = {}
    findings: list[Finding] = []
    for field in ("tau_syn_inv", "tau_mem_inv", "v_leak", "v_th", "v_reset"):
        if not hasattr(module.p, field):
            continue
        value = getattr(module.p, field)
        # dt times the rate is rounded as Norse rounds it: in the parameter's own precision.
        numbers = torch.as_tensor(module.dt * value if field.startswith("tau") else value).detach().double().flatten()
        lowest, highest = float(numbers.min()), float(numbers.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            findings.append(Finding("E143", "error", name, f"{field} is NaN or infinite", fix="train again"))
        elif lowest != highest:
            findings.append(
                Finding(
                    "E143",
                    "error",
                    name,
                    f"{field} differs between the {numbers.numel()} neurons: {lowest:g} to {highest:g}",
                    "one value per layer",
                    fix=f"give {kind} one {field} for the whole layer, and train again",
                )
            )
        values[field] = lowest
    return values, findings


def _reset(module: Any, kind: str, name: str, values: dict[str, float]) -> tuple[str, list[Finding]]:
    """Return the graph's name of the reset that the neuron does, and what is wrong with it."""
    rest = values.get("v_leak", values["v_reset"])
    method = getattr(module.p, "reset_method", None)
    written = "reset_value" if method is None else getattr(method, "__name__", repr(method))
    own = method is None or str(getattr(method, "__module__", "")).split(".")[0] == "norse"
    if own and written == "reset_subtract":
        if rest == 0.0:
            return "subtract", []
        found = f"reset_subtract at v_leak {rest:g}: it subtracts v_th, not the way from rest to v_th"
        return "subtract", [
            Finding("E142", "error", name, found, "v_leak 0", fix="set v_leak to 0, or use reset_value")
        ]
    if not own or written != "reset_value":
        found = f"{kind} resets by {written}, which is not known here"
        return "zero", [Finding("E142", "error", name, found, "reset_value", fix="use norse.torch.reset_value")]
    if rest != values["v_reset"]:
        return "zero", [
            Finding(
                "E141",
                "error",
                name,
                f"v_reset {values['v_reset']:g} is not v_leak {rest:g}",
                "one potential to start from, leak to and reset to",
                f"{abs(values['v_reset'] - rest):g}",
                "set v_reset equal to v_leak, and train again",
            )
        ]
    return "zero", []
