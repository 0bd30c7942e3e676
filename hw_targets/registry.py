"""Names to targets. A target's folder is imported when it is asked for, and nowhere else by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol, cast, overload

from hw_targets.finding import Finding, InputError
from hw_targets.graph import Array, Graph
from hw_targets.limit import Limit
from hw_targets.rule import Rule

TARGET_MODULES = {
    "loihi1": "hw_targets.loihi1.target",
    "loihi2": "hw_targets.loihi2.target",
    "speck": "hw_targets.speck.target",
    "xylo": "hw_targets.xylo.target",
}


class Target(Protocol):
    """What every target offers: its limits, its rules and a check of a graph against them.

    ``folds`` names the passes it wants before ``check``, of "batchnorm", "max_pool", "average_pool" and "decay".
    ``judge_name`` is the vendor's simulator that ``judge`` runs, None where there is none.
    """

    name: str
    kind: Literal["deploy", "check"]
    description: str
    limits: Sequence[Limit]
    rules: Sequence[Rule[Any]]
    folds: tuple[str, ...]
    judge_name: str | None

    def check(self, graph: Graph) -> list[Finding]:
        """Return everything that a folded graph asks for and the target cannot do, in data-flow order."""


class DeployTarget(Target, Protocol):
    """A target that networks are exported to: integers, cores, a file, a simulator and a judge."""

    def quantize(self, graph: Graph, *, weight_bits: int = 8, drive_max: Mapping[str, float] | None = None) -> Any:
        """Return the chip form of a lowered graph; ``drive_max`` is the synaptic drive seen on data, by layer."""

    def check_chip(self, chip: Any) -> list[Finding]:
        """Return what is wrong with the integers."""

    def place(self, chip: Any) -> tuple[list[Any], list[Finding]]:
        """Return the cores each layer needs."""

    def summarise(self, placements: Sequence[Any]) -> dict[str, int]:
        """Return the sums of a placement: cores, chips, neurons, bytes."""

    def write(self, chip: Any, path: Path) -> None:
        """Write the chip's file."""

    def read(self, path: Path, *, steps: int, first_frame: str, payload: int) -> Any:
        """Read the chip's file back; what the file does not say is passed in."""

    def simulate(
        self,
        chip: Any,
        clips: Array,
        *,
        probe: tuple[str, ...] = (),
        teacher: Mapping[str, Array] | None = None,
        keep_state: bool = False,
    ) -> Any:
        """Run clips [T, N, C, H, W] bit-exactly; returns a run with ``spikes`` by layer."""

    def simulator(self, chip: Any, *, reset: tuple[int, int] | None = None, **options: Any) -> Any:
        """Return the simulator planned for one chip, to run many batches; the target says which options there are.

        ``reset`` are the interval and the offset at which the chip puts its neurons to rest, None: never.
        """

    def open_file(
        self, path: Path, *, steps: int, first_frame: str = "integers", payload: int = 1, layers: int | None = None
    ) -> Any:
        """Read any file of the chip's format, ours or not; returns an object with ``chip`` and ``findings``."""

    def judge(
        self,
        chip: Any,
        path: Path,
        clips: Array,
        *,
        timeout_s: float = 600.0,
        reset: tuple[int, int] | None = None,
        **options: Any,
    ) -> Any:
        """Run the written file in the vendor's own simulator; the target says which options there are."""


def target_names() -> tuple[str, ...]:
    """Return the names of all targets, in alphabetical order.

    >>> target_names()
    ('loihi1', 'loihi2', 'speck', 'xylo')
    """
    return tuple(sorted(TARGET_MODULES))


@overload
def get_target(name: Literal["loihi1", "loihi2"]) -> DeployTarget: ...


@overload
def get_target(name: str) -> Target: ...


def get_target(name: str) -> Target:
    """Return the target of that name.

    >>> get_target("loihi2").name
    'loihi2'

    Raises:
        InputError: there is no such target; the names there are are listed.
    """
    if name not in TARGET_MODULES:
        raise InputError(Finding("E011", "error", name, "no such target", f"one of {', '.join(target_names())}"))
    target: Target = import_module(TARGET_MODULES[name]).TARGET
    return target


def deploy_target(name: str) -> DeployTarget:
    """Return the target of that name, for an export, a simulation or a verification.

    Raises:
        InputError: there is no such target, or it can only be checked against.
    """
    target = get_target(name)
    if target.kind != "deploy":
        raise InputError(
            Finding(
                "E018",
                "error",
                name,
                "a network can be checked against this target, not exported to it",
                f"one of {', '.join(each for each in target_names() if get_target(each).kind == 'deploy')}",
                fix=f"neuroemo check --target {name} says whether the network would fit",
            )
        )
    return cast(DeployTarget, target)


def describe_targets() -> list[dict[str, Any]]:
    """Return every target with its limits and rules as JSON-ready dictionaries: ``neuroemo targets --json``."""
    return [
        {
            "name": target.name,
            "kind": target.kind,
            "description": target.description,
            "limits": [limit.to_dict() for limit in target.limits],
            "rules": [rule.to_dict() for rule in target.rules],
            "simulator": target.kind == "deploy",
            "judge": target.judge_name,
        }
        for target in map(get_target, target_names())
    ]


def targets_table() -> str:
    """Return the tables of docs/targets.md as Markdown: each target with its limits and its rules."""
    lines: list[str] = []
    for target in describe_targets():
        judge = f", judged by {target['judge']}" if target["judge"] else ""
        does = f"export, bit-exact simulator{judge}" if target["kind"] == "deploy" else "check only"
        lines += [f"### {target['name']}: {does}", "", target["description"], ""]
        lines += ["| limit | value | unit | source |", "| --- | --- | --- | --- |"]
        for limit in target["limits"]:
            source = f"{limit['source']} (secondary)" if limit["secondary"] else limit["source"]
            lines.append(f"| {limit['name']} | {limit['value']} | {limit['unit']} | {source} |")
        lines += ["", "| code | rule | what it says |", "| --- | --- | --- |"]
        lines += [f"| {rule['code']} | {rule['name']} | {rule['text']} |" for rule in target["rules"]]
        lines.append("")
    return "\n".join(lines)
