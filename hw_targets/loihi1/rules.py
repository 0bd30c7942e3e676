"""What Loihi 1 cannot express although Loihi 2 can."""

from __future__ import annotations

from collections.abc import Iterator

from hw_targets.finding import Finding
from hw_targets.graph import Graph
from hw_targets.loihi1.limits import PAYLOAD_MAX
from hw_targets.loihi2 import rules as loihi2
from hw_targets.loihi2.chip import ChipGraph
from hw_targets.rule import Rule, Violation, apply, rule

WAYS_OUT = "compute the first layer on the host (--input-encoding host), or train on spikes alone"


@rule("E250")
def binary_input(graph: Graph) -> Iterator[Violation]:
    """A spike of Loihi 1 carries no value, so a first frame of gray values cannot be sent as graded spikes."""
    if graph.first_frame == "float":
        yield Violation("input", "step 0 carries gray values", "spikes of 0 or 1", fix=WAYS_OUT)


@rule("E251")
def binary_payload(chip: ChipGraph) -> Iterator[Violation]:
    """Every spike of Loihi 1 counts 1."""
    for layer in chip.layers:
        if layer.payload > PAYLOAD_MAX.value:
            over = str(layer.payload - PAYLOAD_MAX.value)
            yield Violation(layer.name, f"spikes of payload {layer.payload}", str(PAYLOAD_MAX.value), over, WAYS_OUT)


RULES: tuple[Rule[Graph], ...] = (*loihi2.RULES, binary_input)
CHIP_RULES: tuple[Rule[ChipGraph], ...] = (*loihi2.CHIP_RULES, binary_payload)


def check(graph: Graph) -> list[Finding]:
    """Return all findings of all rules on a lowered graph, in data-flow order."""
    return apply(RULES, graph, (node.name for node in graph.nodes))


def check_chip(chip: ChipGraph) -> list[Finding]:
    """Return findings on the integers, in data-flow order."""
    return apply(CHIP_RULES, chip, (layer.name for layer in chip.layers))
