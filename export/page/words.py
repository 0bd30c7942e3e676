"""Numbers and verdicts in words, the same for the page, the Markdown report and the model card.

Every function takes None for "not known" and says so with a dash; nothing is rounded to 0 % or 100 % that is neither.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

NBSP = "\u00a0"
UNKNOWN = "—"
FRAMEWORKS = {"nir": "NIR", "norse": "Norse", "spikingjelly": "SpikingJelly"}
CHIPS = {"loihi1": "Loihi 1", "loihi2": "Loihi 2"}
ENCODINGS = {
    "graded": "graded spikes: step 0 carries gray levels as payloads, the chip does all the arithmetic",
    "host": "host: the first layer runs in float on the host, and its spikes enter the chip",
    "spikes": "spikes: every input value is 0 or 1",
}
REFUSALS = {
    2: "the input cannot be used",
    3: "the target cannot express this network",
    4: "the network does not fit the target",
    6: "an optional package or a device is missing",
    130: "interrupted",
}
UNITS = (
    "Scale: synaptic units per 1.0 of the model. Threshold, bias and worst sum (the largest that any input could "
    "cause) in synaptic units. Decays in 1/4096 per step."
)
HOW_COMPARED = (
    "Captured, folded and chip are fed the model's own spikes, layer by layer; end to end is the chip running free. "
    "Capturing and folding may change no spike, rounding ties and allowed losses aside; the chip's integers may change "
    "a few. A tie is a "
    "spike that differs where the potential is so close to the threshold that float32 rounding decides."
)
KNOWN_ANSWERS = (
    "The bundle carries known answers: clips in vectors/inputs.npz, and every spike of every layer in "
    "vectors/expected.npz. The first command compares the files with their hashes, runs the known answers in the "
    "simulator, and holds the graphs against the model's own spikes again; the second lets Lava judge as well."
)
NO_BUNDLE = "Nothing was compared and no bundle is named, so there is nothing to verify again."
DIR = "DIR is the bundle: the folder that holds model card, report and manifest."


def percent(fraction: float | None, digits: int = 1) -> str:
    """Write a fraction as per cent; what is not all (or nothing) never reads 100 % (or 0 %).

    >>> percent(0.9375).replace(NBSP, " "), percent(0.99996).replace(NBSP, " "), percent(1.0).replace(NBSP, " ")
    ('93.8 %', '99.996 %', '100.0 %')
    """
    if fraction is None:
        return UNKNOWN
    if fraction in (0, 1):
        return f"{100 * fraction:.{digits}f}{NBSP}%"
    for more in range(digits, digits + 5):
        text = f"{100 * fraction:.{more}f}"
        if float(text) not in (0.0, 100.0):
            return f"{text}{NBSP}%"
    return f"{'>' if fraction > 0.5 else '<'}{NBSP}{'99.99999' if fraction > 0.5 else '0.00001'}{NBSP}%"


def count(value: float | None) -> str:
    """Write a count in full.

    >>> count(1234567), count(None)
    ('1,234,567', '—')
    """
    if value is None:
        return UNKNOWN
    return (f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}").replace("-", "−")


def number(value: float | None) -> str:
    """Write a measured value to four significant digits, a whole one in full.

    >>> number(0.40000001), number(4710.4575), number(12), number(-0.25), number(None)
    ('0.4', '4,710', '12', '−0.25', '—')
    """
    if value is None:
        return UNKNOWN
    if float(value).is_integer() or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.4g}".replace("-", "−")


def shape(sizes: Sequence[float] | None) -> str:
    """Write a shape.

    >>> shape([2, 48, 48]), shape([16]), shape([]), shape(None)
    ('2×48×48', '16', 'scalar', '—')
    """
    if sizes is None:
        return UNKNOWN
    return "×".join(count(size) for size in sizes) or "scalar"


def plural(value: float, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "clip").replace(NBSP, " "), plural(2400, "clip").replace(NBSP, " ")
    ('1 clip', '2,400 clips')
    """
    return f"{count(value)}{NBSP}{noun}{'' if value == 1 else 's'}"


def size(value: float | None) -> str:
    """Write a number of bytes, in units of 1024.

    >>> [size(value).replace(NBSP, " ") for value in (72, 21632, 3 * 1024 * 1024)]
    ['72 B', '21.1 KiB', '3.0 MiB']
    """
    if value is None:
        return UNKNOWN
    for unit, factor in (("MiB", 1024 * 1024), ("KiB", 1024)):
        if value >= factor:
            return f"{value / factor:,.1f}{NBSP}{unit}"
    return f"{count(value)}{NBSP}B"


def milliseconds(microseconds: float | None) -> str:
    """Write the length of a time step.

    >>> milliseconds(33333.0).replace(NBSP, " "), milliseconds(None)
    ('33.33 ms', 'not given')
    """
    return "not given" if microseconds is None else f"{number(microseconds / 1000)}{NBSP}ms"


def chip_name(target: str) -> str:
    """Name the target as its maker does.

    >>> chip_name("loihi2"), chip_name("other")
    ('Loihi 2', 'other')
    """
    return CHIPS.get(target, target)


def framework_name(name: str | None) -> str:
    """Name a framework as its makers do.

    >>> framework_name("spikingjelly"), framework_name("mine"), framework_name(None)
    ('SpikingJelly', 'mine', '—')
    """
    return FRAMEWORKS.get(name, name) if name else UNKNOWN


def status(report: dict[str, Any]) -> tuple[str, str]:
    """Return (kind, words): ``good`` verified, ``part`` accepted but not compared, ``bad`` failed or refused."""
    code, verified = report["exit_code"], report["verify"]
    if code == 5 or (verified and not verified["ok"]):
        return "bad", "Verification FAILED: the export does not compute what the model computes"
    if code:
        reason = REFUSALS.get(code, f"at the stage “{report['stage']}”")
        return "bad", f"{'Stopped' if code in (6, 130) or code not in REFUSALS else 'Refused'}: {reason}"
    if verified:
        return "good", "Verified: the export computes what the model computes, within the stated tolerances"
    return "part", f"Accepted for {chip_name(report['target'])}, not verified: nothing was compared"


def reason(finding: dict[str, Any]) -> str:
    """Write a finding as one clause: where, what, against which limit."""
    where = f"{finding['node']}: " if finding["node"] else ""
    limit = f" (limit {finding['limit']})" if finding["limit"] else ""
    return f"{where}{finding['found']}{limit}"


def errors(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the findings that are errors."""
    return [finding for finding in report["findings"] if finding["severity"] == "error"]


def headline(report: dict[str, Any]) -> str:
    """Return the one sentence that a person who reads no further should have read."""
    verified, found = report["verify"], errors(report)
    more = f" And {plural(len(found) - 1, 'more reason')}, see the findings." if len(found) > 1 else ""
    first = f"{reason(found[0])}.{more}" if found else ""
    if verified and verified["values"] is not None:
        values = verified["values"]
        said = (
            f"The {plural(values['values'], 'value')} that the {chip_name(report['target'])} simulation gives for each "
            f"output differ from the model's by {number(values['difference_mean'])} on average."
        )
        return f"{first} {said}" if first else said
    if verified and verified["label_agreement"] is not None:
        labels = (
            f"Model and {chip_name(report['target'])} simulation give the same label to "
            f"{percent(verified['label_agreement'])} of {plural(verified['clips'], 'clip')}."
        )
        return f"{first} {labels}" if first else labels
    if verified:
        compared = f"Model and {chip_name(report['target'])} simulation were compared"
        return first or f"{compared} on {plural(verified['clips'], 'clip')}."
    if report["exit_code"]:
        return first or f"The run ended at the stage “{report['stage']}” and left no finding that says why."
    return f"No error up to the stage “{report['stage']}”."


def comparison(report: dict[str, Any]) -> str:
    """Return the paragraph that says what was compared with what."""
    verified = report["verify"]
    if not verified:
        return (
            f"The run ended at the stage “{report['stage']}” with exit code {count(report['exit_code'])}; "
            "no clip was run, so this report says nothing about spikes, rates or labels."
        )
    model = report["model"] or {}
    framework = f"{framework_name(model['framework'])} " if model.get("framework") else ""
    bits = f"{count(report['weight_bits'])}-bit " if report["weight_bits"] else ""
    clips = f"{plural(verified['clips'], 'clip')}" + (f" ({report['proved_on']})" if report["proved_on"] else "")
    return (
        f"The {framework}model itself ran {clips}, and all its spikes were recorded. Then three things were held "
        f"against those spikes, layer by layer: the graph captured from the model, the graph after folding, and the "
        f"{bits}integers for {chip_name(report['target'])} in simulation. Each layer was fed the spikes of the model "
        "before it, so that one rounding difference cannot spread; the end-to-end numbers let the whole network run "
        "free. No hardware was used."
    )


def verify_commands(report: dict[str, Any]) -> list[str]:
    """Return the commands that check the bundle again, without and with an independent judge.

    >>> verify_commands({"bundle": "out/my net"})
    ["neuroemo verify 'out/my net'", "neuroemo verify 'out/my net' --against lava"]
    """
    folder = shlex.quote(report["bundle"]) if report["bundle"] else "DIR"
    return [f"neuroemo verify {folder}", f"neuroemo verify {folder} --against lava"]


def lower_bound(report: dict[str, Any]) -> str:
    """Say what the number of cores counts: axons only where the target publishes their number."""
    placed = [layer["placement"] for layer in report["layers"] or [] if layer["placement"]]
    if any(each["axon_share"] is not None for each in placed):
        return "Neurons, weight memory and axons of every core are counted."
    return "Cores are a lower bound: neurons and weight memory are counted, routing is not."


def has_bundle(report: dict[str, Any]) -> bool:
    """Whether there is a bundle to speak of: named, or compared (its own report does not know its folder)."""
    return bool(report["bundle"] or report["verify"])


def agreement(layer: dict[str, Any], world: str) -> float | None:
    """Return the share of spikes of one layer that equal the model's in ``world``: captured, folded, chip, free."""
    told = layer["verify"]
    if not told:
        return None
    stated, counted = {
        "captured": (None, told["captured_mismatches"]),
        "folded": (None, told["folded_mismatches"]),
        "chip": (told["agreement"], told["chip_mismatches"]),
        "free": (told["agreement_end_to_end"], told["end_to_end_mismatches"]),
    }[world]
    if stated is not None:
        return float(stated)
    return None if counted is None or not told["compared"] else 1 - counted / told["compared"]
