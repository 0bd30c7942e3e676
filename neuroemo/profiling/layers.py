"""What a module of a live torch model is to the counter, and the fan-out map of those with synapses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from neuroemo.profiling.fanout import Counts, Padding, conv_fan_out, conv_transpose_fan_out, linear_fan_out

if TYPE_CHECKING:
    from torch import nn

RoleKind = Literal["synapse", "neuron", "covered", "container", "unknown"]

# Base classes are recognised by name, so that neither library has to be installed or imported.
_NEURONS = {
    "spikingjelly": frozenset({"BaseNode"}),
    "norse": frozenset({"SNNCell", "SNN", "LIFBoxCell"}),
}


@dataclass(frozen=True, slots=True)
class Role:
    """What a module is; for a covered one ``rule`` names the field of ``CountingPolicy`` that covers it."""

    kind: RoleKind
    rule: str = ""


@dataclass(frozen=True, slots=True)
class PlannedModule:
    """One module of a model under the name that its counts will carry."""

    name: str
    module: nn.Module
    role: Role

    @property
    def type(self) -> str:
        """Name of the module's class."""
        return type(self.module).__name__


def plan_model(model: nn.Module) -> list[PlannedModule]:
    """Return every module to watch, in definition order; the inside of a counted module is not entered."""
    planned: list[PlannedModule] = []
    seen: set[int] = set()

    def visit(name: str, module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        role = role_of(module)
        planned.append(PlannedModule(name or type(module).__name__, module, role))
        if role.kind == "container":
            for child_name, child in module.named_children():
                visit(f"{name}.{child_name}" if name else child_name, child)

    visit("", model)
    return planned


def role_of(module: nn.Module) -> Role:
    """Classify one module; whatever is not recognised and has no children is ``unknown``."""
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    if isinstance(module, (_ConvNd, nn.Linear)):
        return Role("synapse")
    if any(descends(module, package, names) for package, names in _NEURONS.items()):
        return Role("neuron")
    if rule := _covering_rule(module):
        return Role("covered", rule)
    return Role("container" if any(True for _ in module.children()) else "unknown")


def descends(module: nn.Module, package: str, names: frozenset[str]) -> bool:
    """Tell whether the class of a module has an ancestor of one of these names in that package."""
    return any(kind.__name__ in names and kind.__module__.split(".")[0] == package for kind in type(module).__mro__)


def _covering_rule(module: nn.Module) -> str:
    from torch import nn
    from torch.nn.modules import dropout, pooling
    from torch.nn.modules.batchnorm import _BatchNorm

    # Without running statistics the normalisation depends on the batch and cannot be folded.
    if isinstance(module, _BatchNorm) and module.track_running_stats:
        return "batch_norm"
    pools = (pooling._MaxPoolNd, pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd, pooling._AdaptiveMaxPoolNd)
    if isinstance(module, pools):
        return "pooling"
    if isinstance(module, (nn.Flatten, nn.Unflatten)):
        return "flatten"
    if isinstance(module, dropout._DropoutNd) or descends(module, "spikingjelly", frozenset({"Dropout"})):
        return "dropout"
    if descends(module, "spikingjelly", frozenset({"VotingLayer"})):
        return "voting"
    return "activation" if isinstance(module, (nn.ReLU, nn.Identity)) else ""


def own_parameters(module: nn.Module) -> bool:
    """Tell whether a module holds parameters itself, those of its children aside."""
    return any(True for _ in module.parameters(recurse=False))


def why_uncountable(module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return why this call of a synaptic module cannot be counted exactly, or an empty string."""
    import torch

    mode = getattr(module, "padding_mode", "zeros")
    if mode != "zeros":
        return f"padding mode '{mode}' copies events; only zeros are counted"
    if len(inputs) > 1 or kwargs.get("output_size") is not None:
        return "called with an explicit output size"
    value = call_input(inputs, kwargs)
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        return f"its input is not a plain dense tensor: {type(value).__name__}"
    return ""


def call_input(inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the value that a module was called with, positional or by the name ``input`` or ``x``."""
    return inputs[0] if inputs else kwargs.get("input", kwargs.get("x"))


def input_axes(module: nn.Module) -> int:
    """Return how many trailing axes of the input one evaluation takes: (C, *space), or (features,)."""
    kernel = getattr(module, "kernel_size", ())
    return 1 + len(kernel)


def module_fan_out(module: Any, shape: tuple[int, ...]) -> Counts:
    """Return the fan-out map of a torch Linear, Conv or ConvTranspose for one input of ``shape``.

    Raises:
        InputError: see ``conv_fan_out``.
    """
    if not hasattr(module, "kernel_size"):
        return linear_fan_out(module.in_features, module.out_features)
    settings = {name: getattr(module, name) for name in ("stride", "dilation", "groups")}
    if module.transposed:
        extra = {"padding": module.padding, "output_padding": module.output_padding}
        return conv_transpose_fan_out(shape, module.out_channels, module.kernel_size, **settings, **extra)
    return conv_fan_out(shape, module.out_channels, module.kernel_size, padding=_zero_padding(module), **settings)


def _zero_padding(module: Any) -> tuple[Padding, ...]:
    """Resolve torch's named paddings; ``same`` puts the odd zero at the end (torch's _ConvNd)."""
    if module.padding == "valid":
        return (0,) * len(module.kernel_size)
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple(module.padding)
