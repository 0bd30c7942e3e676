"""What a module of a live torch model is to the counter, and the fan-out map of those with synapses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuroemo.profiling.counting.counts import Geometry
from neuroemo.profiling.counting.fanout import (
    Counts,
    conv_fan_out,
    conv_transpose_fan_out,
    linear_fan_out,
    zero_padding,
)
from neuroemo.profiling.counting.neurons import descends, has_synapses, is_neuron, neuron_rule, runs_many_steps
from neuroemo.profiling.counting.policy import NeuronRule
from neuroemo.profiling.counting.weighted import weighted_fan_out

if TYPE_CHECKING:
    from torch import nn

RoleKind = Literal["synapse", "neuron", "pool", "covered", "container", "unknown"]


@dataclass(frozen=True, slots=True)
class Role:
    """What a module is; for a covered one ``rule`` names the field of ``CountingPolicy`` that covers it.

    ``opaque`` modules are known so well that nothing inside them needs watching.
    """

    kind: RoleKind
    rule: str = ""
    neuron: NeuronRule | None = None
    opaque: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PlannedModule:
    """One module of a model under the name that its counts will carry.

    ``space`` trailing axes of its input are one evaluation; ``many_steps`` says whether it takes [T, N, ...]
    rather than one step, None where its class does not tell.
    """

    name: str
    module: nn.Module
    role: Role
    space: int
    many_steps: bool | None

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
        known_as = name or type(module).__name__
        planned.append(PlannedModule(known_as, module, role, input_axes(module), runs_many_steps(module)))
        if role.kind == "container":
            for child_name, child in module.named_children():
                visit(f"{name}.{child_name}" if name else child_name, child)

    visit("", model)
    return planned


def role_of(module: nn.Module) -> Role:
    """Classify one module; whatever is not recognised and has no children is ``unknown``."""
    import torch
    from torch import nn
    from torch.nn.modules.conv import _ConvNd

    if isinstance(module, torch.jit.ScriptModule):
        return Role("unknown")
    if isinstance(module, (_ConvNd, nn.Linear)):
        # Another padding, or a forward of the user's own: what it really multiplies is seen as it happens.
        plain = getattr(module, "padding_mode", "zeros") == "zeros" and _library_forward(module)
        return Role("synapse", opaque=plain)
    if is_neuron(module):
        return Role("neuron", neuron=neuron_rule(module), opaque=_library_forward(module) and not has_synapses(module))
    if rule := _covering_rule(module):
        return Role("pool" if _is_average_pool(module) else "covered", rule, opaque=_library_forward(module))
    return Role("container" if any(True for _ in module.children()) else "unknown")


def _library_forward(module: nn.Module) -> bool:
    """Tell whether the forward of a module is the one of torch or of a spiking library."""
    home = getattr(type(module).forward, "__module__", None) or ""
    return "forward" not in vars(module) and home.split(".")[0] in ("torch", "spikingjelly", "norse")


def _is_average_pool(module: nn.Module) -> bool:
    from torch.nn.modules import pooling

    return isinstance(module, (pooling._AvgPoolNd, pooling._AdaptiveAvgPoolNd))


def pool_axes(module: Any) -> int:
    """Return how many space axes an average pool works on."""
    from torch import nn

    return (
        1
        if isinstance(module, (nn.AvgPool1d, nn.AdaptiveAvgPool1d))
        else 2 + isinstance(module, (nn.AvgPool3d, nn.AdaptiveAvgPool3d))
    )


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


def own_parameters(module: nn.Module) -> list[tuple[str, Any]]:
    """Return the parameters that a module holds itself, those of its children aside."""
    return list(module.named_parameters(recurse=False))


def why_uncountable(value: Any) -> str:
    """Return why this input of a synaptic module cannot be counted exactly, or an empty string."""
    import torch

    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.is_quantized:
        return f"its input is not a plain dense tensor: {type(value).__name__}"
    return ""


def call_input(inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return the value that a module was called with, positional or by the name ``input`` or ``x``."""
    return inputs[0] if inputs else kwargs.get("input", kwargs.get("x"))


def input_axes(module: nn.Module) -> int:
    """Return how many trailing axes of the input one evaluation takes: (C, *space), or (features,)."""
    kernel = getattr(module, "kernel_size", ())
    return 1 + (len(kernel) if isinstance(kernel, tuple) else 0)


def module_fan_out(module: Any, shape: tuple[int, ...], skip_zero_weights: bool = False) -> Counts:
    """Return the fan-out map of a torch Linear, Conv or ConvTranspose for one input of ``shape``.

    Raises:
        InputError: see ``conv_fan_out``.
    """
    if not hasattr(module, "kernel_size"):
        if skip_zero_weights:
            return np.asarray(_nonzero_weights(module).sum(axis=0), dtype=np.int64)
        return linear_fan_out(module.in_features, module.out_features)
    settings = {name: getattr(module, name) for name in ("stride", "dilation", "groups")}
    extra: dict[str, Any] = {"padding": zero_padding(module)}
    if module.transposed:
        extra = {"padding": module.padding, "output_padding": module.output_padding}
    if skip_zero_weights:
        return weighted_fan_out(_nonzero_weights(module), shape, transposed=module.transposed, **settings, **extra)
    fan_out = conv_transpose_fan_out if module.transposed else conv_fan_out
    return fan_out(shape, module.out_channels, module.kernel_size, **settings, **extra)


def module_geometry(module: Any, shape: tuple[int, ...], output_shape: Sequence[int]) -> Geometry:
    """Return the shape of one evaluation of a torch Linear, Conv or ConvTranspose."""
    weights = math.prod(module.weight.shape)
    biases = 0 if module.bias is None else math.prod(module.bias.shape)
    if not hasattr(module, "kernel_size"):
        return Geometry("dense", shape, tuple(output_shape), weights=weights, biases=biases)
    kind: Literal["conv", "transposed"] = "transposed" if module.transposed else "conv"
    kernel, stride = tuple(module.kernel_size), tuple(module.stride)
    return Geometry(kind, shape, tuple(output_shape), kernel, stride, module.groups, weights, biases)


def _nonzero_weights(module: Any) -> Any:
    return (module.weight.detach() != 0).cpu().numpy()
