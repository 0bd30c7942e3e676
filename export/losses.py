"""Changes that make a network fit at a price: none happens unless it is allowed by the code of its finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from export.deployment import LOST_GRAY
from hw_targets.finding import Finding, InputError
from hw_targets.graph import LIF, Conv2d, Graph, Linear


@dataclass(frozen=True, slots=True)
class Loss:
    """What a code, once allowed, does to the graph; ``rewrite`` is None where the change is made elsewhere."""

    text: str
    rewrite: Callable[[Graph], tuple[Graph, set[str]]] | None = None


def reset_to_zero(graph: Graph) -> tuple[Graph, set[str]]:
    """Make every soft reset a hard one; return the layers that changed."""
    changed = {node.name for node in graph.neurons() if node.reset != "zero"}
    nodes = tuple(replace(n, reset="zero") if isinstance(n, LIF) and n.name in changed else n for n in graph.nodes)
    return graph.replace_nodes(nodes), changed


def drop_filtered_biases(graph: Graph) -> tuple[Graph, set[str]]:
    """Remove the bias of every synapse layer whose neurons have synaptic memory; return the neuron layers changed."""
    nodes = list(graph.nodes)
    changed: set[str] = set()
    waiting: int | None = None
    for at, node in enumerate(nodes):
        if isinstance(node, Conv2d | Linear):
            waiting = at
        elif isinstance(node, LIF) and waiting is not None:
            synapse = nodes[waiting]
            if node.current_decay < 1.0 and isinstance(synapse, Conv2d | Linear) and synapse.bias is not None:
                nodes[waiting] = replace(synapse, bias=None)
                changed.add(node.name)
            waiting = None
    return graph.replace_nodes(tuple(nodes)), changed


LOSSES: dict[str, Loss] = {
    "E201": Loss("soft resets become hard resets: potential above the threshold is lost at every spike", reset_to_zero),
    "E205": Loss("biases in front of neurons with synaptic memory are dropped", drop_filtered_biases),
    LOST_GRAY: Loss("the gray first frame is reduced to spikes where it is at least 1/2"),
}


def check_allowed(codes: Iterable[str]) -> tuple[str, ...]:
    """Return the codes in order, once each.

    Raises:
        InputError: a code that stands for no loss that can be allowed; those there are are listed.
    """
    allowed = tuple(sorted(set(codes)))
    listed = "; ".join(f"{code} ({loss.text})" for code, loss in LOSSES.items())
    unknown = [Finding("E465", "error", code, "not a loss that can be allowed", listed) for code in allowed
               if code not in LOSSES]  # fmt: skip
    if unknown:
        raise InputError(unknown)
    return allowed


def accept_losses(
    graph: Graph, findings: list[Finding], allowed: tuple[str, ...]
) -> tuple[Graph, list[Finding], set[str], tuple[str, ...]]:
    """Make the changes that are both needed and allowed.

    Returns the graph, the findings with those made good turned into warnings, the names of the neuron layers that
    no longer do what the model does, and the codes that were used.
    """
    used = tuple(code for code in allowed if any(f.code == code and f.severity == "error" for f in findings))
    changed: set[str] = set()
    for code in used:
        rewrite = LOSSES[code].rewrite
        if rewrite is not None:
            graph, names = rewrite(graph)
            changed |= names
    kept = [
        replace(f, severity="warning", fix=f"allowed: {LOSSES[f.code].text}") if f.code in used else f for f in findings
    ]
    return graph, kept, changed, used
