"""What `neuroemo simulate` prints for people, and the command one would want next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding
from neuroemo.simulation.estimates import score_lines

if TYPE_CHECKING:
    from neuroemo.simulation.settings import SimulationSettings

SHOWN = 20
"""More answers than these are counted, not listed."""


def result_text(result: dict[str, Any], data: Path, settings: SimulationSettings) -> str:
    """Return answers, rates, accuracy, the verdict on Lava, and what to do next."""
    output, save = settings.output, settings.save
    lines = [*_answer_lines(result["answers"]), *_layer_lines(result["layers"]), *_summary(result)]
    if "lava" in result and result["backend"] == "both":
        lines.append(_lava_line(result["lava"]))
    lines += [f"neuroemo: {Finding(**finding)}" for finding in result["findings"] if finding["severity"] == "error"]
    if save is not None:
        lines.append(f"{save}: {', '.join(result['saved'])}")
    if output is not None:
        lines.append(f"look at {output}/: {', '.join(Path(path).name for path in result['written'])}")
    return "\n".join([*lines, f"next: {next_command(result, data, settings)}"])


def _answer_lines(answers: list[dict[str, Any]]) -> list[str]:
    shown = answers[:SHOWN]
    wide = max(len(str(answer["clip"])) for answer in shown)
    lines = []
    for answer in shown:
        label = "" if answer["label"] is None else f"  ({answer['label']})"
        rate = max(answer["rates"])
        lines.append(f"{answer['clip']:<{wide}}  {answer['predicted']}{label}  rate {rate:.3g}")
    if len(answers) > SHOWN:
        lines.append(f"... and {len(answers) - SHOWN} more: -o FOLDER writes all")
    return lines


def _layer_lines(layers: list[dict[str, Any]]) -> list[str]:
    wide = max(5, *(len(layer["name"]) for layer in layers))
    lines = [f"{'layer':<{wide}}{'neurons':>10}{'spikes':>14}{'mean rate':>11}"]
    for layer in layers:
        rate = f"{layer['rate']:.3%}"
        lines.append(f"{layer['name']:<{wide}}{layer['neurons']:>10}{layer['spikes']:>14}{rate:>11}")
    return lines


def _summary(result: dict[str, Any]) -> list[str]:
    clips = f"{result['clips']} clip{'s' if result['clips'] != 1 else ''}"
    lines = score_lines(result)
    if "accuracy" in result:
        lines.append(f"accuracy {result['accuracy']:.1%} of {clips}")
    silent = sum(not any(answer["rates"]) for answer in result["answers"])
    if silent:
        lines.append(f"no output neuron fired in {silent} of {clips}: these answers say nothing")
    if "seconds" in result:
        lines.append(f"{clips} of {result['steps']} steps in {result['seconds']:.3g} s")
    return lines


def _lava_line(check: dict[str, Any]) -> str:
    wrong, total = check["mismatched_spikes"], check["compared_spikes"]
    return f"Lava and the fast simulator: {wrong} of {total} messages differ"


def next_command(result: dict[str, Any], data: Path, settings: SimulationSettings) -> str:
    """Return the next command: Lava as the judge of a fast run, the pages of a judged one, or a look at them."""
    command = f"neuroemo simulate {shlex.quote(result['network'])} --clips {shlex.quote(str(data))}"
    command += "".join(f" --{name} {shlex.quote(str(value))}" for name, value in _kept_options(settings).items())
    if settings.output is None:
        return f"{command} -o runs/answers"
    if result["backend"] == "fast":
        return f"{command} --backend both --limit 1"
    is_bundle = Path(result["network"]).is_dir()
    return f"neuroemo verify {shlex.quote(result['network'])}" if is_bundle else "neuroemo doctor"


def _kept_options(settings: SimulationSettings) -> dict[str, Any]:
    """Return the options without which the same command would run another network, other clips or another clock."""
    kept = {
        "mode": settings.mode if settings.mode != "aligned" else None,
        "reset-interval": None if settings.reset is None else settings.reset[0],
        "reset-offset": None if settings.reset is None or not settings.reset[1] else settings.reset[1],
        "layers": settings.layers,
        "input-message-bits": settings.input_message_bits,
        "split": settings.split,
        "device": settings.device if settings.device != "cpu" else None,
    }
    return {name: value for name, value in kept.items() if value is not None}
