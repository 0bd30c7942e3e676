"""The order of the passes, from a captured graph to one of synapses directly followed by neurons."""

from __future__ import annotations

from export.passes.fold_batchnorm import fold_batchnorm
from export.passes.fold_decay import fold_decay
from export.passes.fold_pool import average_pool_to_synapses, fold_average_pools
from export.passes.one_flatten import one_flatten
from export.passes.spike_maximum import max_pool_to_or
from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Flatten, Graph, Linear

PASSES = (
    ("flatten", one_flatten),
    ("average_pool", average_pool_to_synapses),
    ("batchnorm", fold_batchnorm),
    ("max_pool", max_pool_to_or),
    ("average_pool", fold_average_pools),
    ("decay", fold_decay),
)
"""The passes in their order, each under the name by which a target asks for it; ``flatten`` is always made."""

ALL = ("batchnorm", "max_pool", "average_pool", "decay")


def lower(graph: Graph, folds: tuple[str, ...] = ALL, *, complete: bool = True) -> tuple[Graph, list[Finding]]:
    """Fold ``graph`` to the chip form: (Conv2d | Flatten, Linear) each followed by its LIF, gain 1, rest 0.

    Every pass is exact in real arithmetic. What a pass cannot do exactly it leaves in place and reports;
    all findings of all passes are returned together, in data-flow order. A target that keeps some layers names
    in ``folds`` what it wants folded; unless ``complete``, what is left over is its own business.

    Raises:
        ValueError: ``folds`` names a pass that there is not.
    """
    if unknown := set(folds) - set(ALL):
        raise ValueError(f"no such pass: {', '.join(sorted(unknown))}")
    findings: list[Finding] = []
    for name, rewrite in PASSES:
        if name == "flatten" or name in folds:
            graph, found = rewrite(graph)
            findings += found
    if complete:
        findings += _leftovers(graph, {finding.node for finding in findings})
    position = {node.name: index for index, node in enumerate(graph.nodes)}
    findings.sort(key=lambda finding: position.get(finding.node, -1))
    return graph, findings


def _leftovers(graph: Graph, reported: set[str]) -> list[Finding]:
    """Report whatever still breaks the rhythm synapse, neuron, synapse, neuron."""
    findings = []
    waiting: str | None = None
    for node in graph.nodes:
        match node:
            case Conv2d() | Linear() if waiting is not None:
                findings.append(
                    Finding(
                        "E110",
                        "error",
                        node.name,
                        f"two synapse layers in a row: {waiting} has no neuron",
                        fix="put a spiking neuron between them, or merge the two into one layer",
                    )
                )
            case Conv2d() | Linear():
                waiting = node.name
            case LIF() if waiting is None:
                findings.append(
                    Finding(
                        "E111",
                        "error",
                        node.name,
                        "a neuron layer without synapses before it",
                        fix="feed it through a convolution or a linear layer",
                    )
                )
            case LIF():
                waiting = None
            case Flatten() if waiting is not None:
                findings.append(
                    Finding(
                        "E115",
                        "error",
                        node.name,
                        f"flattening between {waiting} and its neuron",
                        fix="flatten after the neuron: the values and their order are the same",
                    )
                )
            case Flatten():
                pass
            case _ if node.name not in reported:
                findings.append(
                    Finding(
                        "E112",
                        "error",
                        node.name,
                        f"{type(node).__name__} cannot be folded where it stands",
                        fix="move it next to a convolution or a linear layer",
                    )
                )
            case _:
                pass
    if waiting is not None:
        findings.append(
            Finding(
                "E113",
                "error",
                waiting,
                "the network ends in synapses without a neuron",
                fix="end it in a spiking neuron: the chip only hands out spikes",
            )
        )
    if not findings and not reported and not graph.neurons():
        fix = "build it from convolutions or linear layers, each followed by spiking neurons"
        findings.append(Finding("E116", "error", "network", "no layer of spiking neurons", fix=fix))
    return [finding for finding in findings if finding.node not in reported]
