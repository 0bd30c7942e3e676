"""What one update of a neuron costs, for the neurons of the two libraries; a neuron without a rule has no price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neuroemo.profiling.counting.policy import NeuronRule

if TYPE_CHECKING:
    from torch import nn

# Leaks are multiply-accumulates, the comparison with the threshold is one accumulate; a constant gain of the
# input folds into the weights. ParametricLIF's learned time constant is a constant once it is learned.
_SPIKINGJELLY = {
    "IFNode": ("IF", 0, 1),
    "SimpleIFNode": ("IF", 0, 1),
    "LIFNode": ("LIF", 1, 1),
    "SimpleLIFNode": ("LIF", 1, 1),
    "ParametricLIFNode": ("PLIF", 1, 1),
}
_NORSE = {
    "IAFCell": ("IF", 0, 1),
    "IAF": ("IF", 0, 1),
    "LIFBoxCell": ("LIF", 1, 1),
    "LIFCell": ("LIF with synaptic current", 2, 1),
    "LIF": ("LIF with synaptic current", 2, 1),
    "LIFRecurrentCell": ("LIF with synaptic current", 2, 1),
    "LIFRecurrent": ("LIF with synaptic current", 2, 1),
    "LIBoxCell": ("leaky integrator", 1, 0),
    "LICell": ("leaky integrator with synaptic current", 2, 0),
    "LI": ("leaky integrator with synaptic current", 2, 0),
}
# Base classes are recognised by name, so that neither library has to be installed or imported.
_BASES = {
    "spikingjelly": frozenset({"BaseNode", "SimpleBaseNode"}),
    "norse": frozenset({"SNNCell", "SNN", "SNNRecurrentCell", "SNNRecurrent", "LIFBoxCell"}),
}
_DYNAMICS = (
    "forward",
    "single_step_forward",
    "multi_step_forward",
    "neuronal_charge",
    "neuronal_fire",
    "neuronal_reset",
)


def is_neuron(module: nn.Module) -> bool:
    """Tell whether a module is a layer of neurons of SpikingJelly or Norse."""
    return any(descends(module, package, names) for package, names in _BASES.items())


def descends(module: nn.Module, package: str, names: frozenset[str]) -> bool:
    """Tell whether the class of a module has an ancestor of one of these names in that package."""
    return any(kind.__name__ in names and kind.__module__.split(".")[0] == package for kind in type(module).__mro__)


def neuron_rule(module: Any) -> NeuronRule | None:
    """Return what one update of a neuron layer costs, or None if its dynamics are not known.

    A subclass of a known neuron counts as that neuron unless it writes dynamics of its own.
    """
    for kind in type(module).__mro__:
        package = kind.__module__.split(".")[0]
        known = {"spikingjelly": _SPIKINGJELLY, "norse": _NORSE}.get(package, {})
        if kind.__name__ in known:
            name, macs, acs = known[kind.__name__]
            # SpikingJelly subtracts the threshold where v_reset is None; Norse resets to a constant.
            soft = package == "spikingjelly" and getattr(module, "v_reset", 0.0) is None
            return NeuronRule(name, macs, acs, int(soft))
        if package in _BASES or any(name in vars(kind) for name in _DYNAMICS):
            return None
    return None


def has_synapses(module: nn.Module) -> bool:
    """Tell whether a neuron layer holds weights of its own, as Norse's recurrent cells do."""
    return any(descends(module, "norse", frozenset({name})) for name in ("SNNRecurrentCell", "SNNRecurrent"))


def runs_many_steps(module: Any) -> bool | None:
    """Tell whether a module takes [T, N, ...] rather than one step [N, ...]; None where its class does not say."""
    mode = getattr(module, "step_mode", None)
    if mode in ("s", "m"):
        return bool(mode == "m")
    if is_neuron(module):
        return not type(module).__name__.endswith("Cell") if type(module).__name__ in _NORSE else None
    return None
