"""A rule of a target: a code, and a small function whose docstring is both the message and the documentation row.

A rule function yields one ``Violation`` for each thing that breaks it; the rule turns them into findings.
So the console, ``neuroemo targets --json`` and docs/targets.md cannot say different things about a rule.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from hw_targets.finding import Finding
from hw_targets.graph import LIF, Conv2d, Graph, Linear

Subject = TypeVar("Subject")


@dataclass(frozen=True, slots=True)
class Violation:
    """Where a rule is broken: the node, what was found, the limit, by how much, and the way out."""

    node: str
    found: str
    limit: str = ""
    over: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Rule(Generic[Subject]):
    """A code, and the function that finds what breaks the rule; a code that begins with W is a warning."""

    code: str
    function: Callable[[Subject], Iterable[Violation]]

    @property
    def name(self) -> str:
        """Return the function's name."""
        return self.function.__name__

    @property
    def text(self) -> str:
        """Return the first sentence of the function's docstring, on one line."""
        text = " ".join((inspect.getdoc(self.function) or "").split())
        return f"{text.split('. ')[0].rstrip('.')}."

    def __call__(self, subject: Subject) -> Iterator[Finding]:
        """Yield a finding for every violation; its remedy begins with what the rule says."""
        meaning = self.text.rstrip(".")
        for broken in self.function(subject):
            fix = f"{meaning}: {broken.fix}" if broken.fix else meaning
            severity = "warning" if self.code.startswith("W") else "error"
            yield Finding(self.code, severity, broken.node, broken.found, broken.limit, broken.over, fix)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, str]:
        """Return the rule as a documentation row."""
        return {"code": self.code, "name": self.name, "text": self.text}


def rule(code: str) -> Callable[[Callable[[Subject], Iterable[Violation]]], Rule[Subject]]:
    """Make a rule of the function below.

    >>> @rule("W000")
    ... def short(words: list[str]) -> Iterator[Violation]:
    ...     \"\"\"A word has at most five letters. The rest of the docstring is not printed.\"\"\"
    ...     for word in words:
    ...         if len(word) > 5:
    ...             yield Violation(word, f"{len(word)} letters", "5", str(len(word) - 5), "find a shorter one")
    >>> print(*short(["spike", "threshold"]))
    W000 threshold: 9 letters; limit 5, over by 4
         A word has at most five letters: find a shorter one
    """

    def make(function: Callable[[Subject], Iterable[Violation]]) -> Rule[Subject]:
        return Rule(code, function)

    return make


def apply(rules: Sequence[Rule[Subject]], subject: Subject, names: Iterable[str]) -> list[Finding]:
    """Return all findings of all rules, ordered as ``names``; what concerns the whole network comes first."""
    position = {name: index for index, name in enumerate(names)}
    findings = [finding for each in rules for finding in each(subject)]
    return sorted(findings, key=lambda finding: position.get(finding.node, -1))


def non_finite_parameters(graph: Graph) -> Iterator[Violation]:
    """Yield every synapse layer with a NaN or an infinity among its weights and biases."""
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear):
            bad = int(np.sum(~np.isfinite(node.weight)))
            bad += 0 if node.bias is None else int(np.sum(~np.isfinite(node.bias)))
            if bad:
                yield Violation(
                    node.name,
                    f"{bad} weights or biases are NaN or infinite",
                    "0",
                    fix="the training diverged: lower the learning rate",
                )


def firing_at_rest(graph: Graph) -> Iterator[Violation]:
    """Yield every neuron layer that fires at rest, without any input."""
    for node in graph.neurons():
        distance = node.threshold - node.rest
        if distance < 0 or (node.inclusive and distance == 0):
            yield Violation(
                node.name,
                f"threshold {node.threshold:g} at rest {node.rest:g}",
                "threshold > rest",
                fix="raise the threshold above v_reset",
            )


def followed_by_neurons(graph: Graph) -> Iterator[tuple[Conv2d | Linear, LIF]]:
    """Yield each synapse layer with the neuron layer it feeds."""
    waiting: Conv2d | Linear | None = None
    for node in graph.nodes:
        if isinstance(node, Conv2d | Linear):
            waiting = node
        elif isinstance(node, LIF) and waiting is not None:
            yield waiting, node
            waiting = None
