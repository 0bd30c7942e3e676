"""Numbers of the energy page in words; the JavaScript of the page writes none of its own but those of the heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.page.words import NBSP, UNKNOWN, count, percent, plural
from neuroemo.report.words import significant

UNITS = (("J", 1e12), ("mJ", 1e9), ("µJ", 1e6), ("nJ", 1e3), ("pJ", 1.0))
SMALLEST_SHARE = 1e-4
"""What is smaller than this share of the largest value beside it is written in a unit of its own."""

BADGES = {
    "snn": "The SNN needs less energy than its ANN",
    "ann": "The ANN needs less energy than the SNN",
    "undecided": "Undecided: the interval of the ratio includes 1",
    "none": "No comparison",
}
ONE_PASS = "one dense pass"
"""What stands for the interval of an ANN: every clip costs it the same."""
POLICY_NAMES = {"batch_norm": "batch normalisation", "unseen": "not seen"}


def unit_of(picojoules: float) -> tuple[str, float]:
    """Return the largest unit of which there is at least one, and how many pJ it has.

    >>> unit_of(410e6), unit_of(0.2)
    (('µJ', 1000000.0), ('pJ', 1.0))
    """
    return next(((name, factor) for name, factor in UNITS if abs(picojoules) >= factor), UNITS[-1])


def energy(picojoules: float | None, largest: float | None = None) -> str:
    """Write an energy to three significant digits, in the unit that suits the ``largest`` beside it.

    >>> [energy(value).replace(NBSP, " ") for value in (410e6, 535.6, 0.03, 0.0, None)]
    ['410 µJ', '536 pJ', '0.0300 pJ', '0 pJ', '—']
    >>> energy(75.4e3, largest=21.1e6).replace(NBSP, " "), energy(2.0, largest=21.1e6).replace(NBSP, " ")
    ('0.0754 µJ', '2.00 pJ')
    """
    if picojoules is None:
        return UNKNOWN
    scale = picojoules if largest is None or 0 < abs(picojoules) < SMALLEST_SHARE * largest else largest
    name, factor = unit_of(scale)
    return f"{signed(picojoules / factor)}{NBSP}{name}"


def signed(value: float | None) -> str:
    """Write a value to three significant digits, with a minus that prints as one.

    >>> signed(-0.25), signed(12345.6), signed(None)
    ('−0.250', '12,346', '—')
    """
    return UNKNOWN if value is None else significant(value).replace("-", "−")


def share(fraction: float) -> str:
    """Write a part of a whole; what is next to nothing reads so.

    >>> [share(part).replace(NBSP, " ") for part in (0.324, 0.00012, 3e-6, 0.0)]
    ['32.4 %', '0.01 %', '< 0.01 %', '0.0 %']
    """
    return f"<{NBSP}0.01{NBSP}%" if 0 < fraction < SMALLEST_SHARE else percent(fraction)


def factor(value: float | None) -> str:
    """Write how many times.

    >>> factor(6.4231).replace(NBSP, " "), factor(None)
    ('6.42 ×', '—')
    """
    return UNKNOWN if value is None else f"{signed(value)}{NBSP}×"


def interval(low: float | None, high: float | None, write: Any, *, missing: str = "no interval") -> str:
    """Write a 95 % interval, or that there is none.

    >>> interval(0.5, 1.25, factor).replace(NBSP, " "), interval(None, None, factor), interval(2.0, 2.0, factor)
    ('95 %: 0.500 × to 1.25 ×', 'no interval', 'the same for every clip')
    """
    if low is None or high is None:
        return missing
    if low == high:
        return "the same for every clip"
    return f"95{NBSP}%: {write(low)} to {write(high)}"


def cheaper(snn: float, ann: float | None) -> str:
    """Say which network has spent less, and by which factor.

    >>> cheaper(2.0, 5.0).replace(NBSP, " "), cheaper(5.0, 2.0).replace(NBSP, " "), cheaper(1.0, None), cheaper(2, 2)
    ('SNN, 2.50 ×', 'ANN, 2.50 ×', '—', 'equal')
    """
    if ann is None:
        return UNKNOWN
    if snn == ann:
        return "equal"
    name, less, more = ("SNN", snn, ann) if snn < ann else ("ANN", ann, snn)
    return f"{name}, {factor(more / less)}" if less > 0 else name


def per_clip(value: float) -> str:
    """Write a mean count of one clip: whole in full, others to one decimal, small ones to three digits.

    >>> per_clip(80.0), per_clip(1234.56), per_clip(0.0123)
    ('80', '1,234.6', '0.0123')
    """
    return signed(value) if 0 < abs(value) < 1 else count(value)


def accuracy(known: dict[str, Any] | None) -> str:
    """Write how many answers were right, with the interval.

    >>> accuracy({"correct": 210, "clips": 240, "low": 0.83, "high": 0.91}).replace(NBSP, " ")
    '87.5 % (210 of 240; 95 %: 83.0 % to 91.0 %)'
    """
    if known is None or not known["clips"]:
        return "not known"
    share = percent(known["correct"] / known["clips"])
    bounds = interval(known.get("low"), known.get("high"), percent)
    return f"{share} ({count(known['correct'])} of {count(known['clips'])}; {bounds})"


def policy_name(key: str) -> str:
    """Name a line of the policy.

    >>> policy_name("batch_norm"), policy_name("zeros")
    ('batch normalisation', 'zeros')
    """
    return POLICY_NAMES.get(key, key.replace("_", " "))


def constant_value(constant: dict[str, Any]) -> str:
    """Write a price with its unit, or its range; the digits are those of the source.

    >>> constant_value({"value": 1300.0, "high": 2600.0, "unit": "pJ"}).replace(NBSP, " ")
    '1300 to 2600 pJ'
    """
    value, high = constant["value"], constant.get("high")
    text = f"{value:.6g}" if high is None else f"{value:.6g} to {high:.6g}"
    return f"{text}{NBSP}{constant['unit']}"


def provenance(constant: dict[str, Any]) -> str:
    """Say where a price comes from, as hover and focus show it."""
    where = constant["source"] + (f" ({constant['year']})" if constant.get("year") else "")
    node = [f"{constant['node_nm']:g}{NBSP}nm"] if constant.get("node_nm") else []
    volts = [f"{constant['voltage_v']:g}{NBSP}V"] if constant.get("voltage_v") else []
    grade = f"grade: {constant['grade']}" + (f", {constant['grade_text']}" if constant.get("grade_text") else "")
    made = ", ".join([*node, *volts])
    parts = [where, grade, *([made] if made else []), *([constant["note"]] if constant.get("note") else [])]
    return ". ".join(part.rstrip(".") for part in parts) + "."


def lower_bound(names: Sequence[str]) -> str:
    """Say loudly that something was not counted.

    >>> lower_bound(["attention"]).replace(NBSP, " ")
    'Partial: 1 module was not counted. Every energy and every count of this network is a lower bound.'
    """
    verb = "was" if len(names) == 1 else "were"
    tail = "Every energy and every count of this network is a lower bound."
    return f"Partial: {plural(len(names), 'module')} {verb} not counted. {tail}"
