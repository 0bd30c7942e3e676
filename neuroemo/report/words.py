"""Numbers and verdicts in words, the same for the page and for the console."""

from __future__ import annotations

from typing import Any

NBSP = "\u00a0"
TARGETS = {"loihi2": "8-bit Loihi 2", "loihi1": "8-bit Loihi 1"}
SYNTHETIC_NOTE = "Synthetic faces: the label map is ours; these scores say nothing about human affect."


def percent(fraction: float, digits: int = 1) -> str:
    """Write a fraction as per cent; what is not all (or nothing) never reads 100 % (or 0 %).

    >>> percent(0.9375).replace(NBSP, " "), percent(0.99996).replace(NBSP, " "), percent(1.0).replace(NBSP, " ")
    ('93.8 %', '99.996 %', '100.0 %')
    """
    if fraction in (0, 1):
        return f"{100 * fraction:.{digits}f}{NBSP}%"
    for more in range(digits, digits + 5):
        text = f"{100 * fraction:.{more}f}"
        if float(text) not in (0.0, 100.0):
            return f"{text}{NBSP}%"
    return f"{'>' if fraction > 0.5 else '<'}{NBSP}{'99.99999' if fraction > 0.5 else '0.00001'}{NBSP}%"


def count(value: float) -> str:
    """Write a count in full; means over clips keep one decimal.

    >>> count(1234567), count(12.25)
    ('1,234,567', '12.2')
    """
    return (f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}").replace("-", "−")


def number(value: Any) -> str:
    """Write any value of the report: numbers to four significant digits, integers in full, the rest as text.

    >>> number(0.40000001), number([3, 3]), number(None), number(True)
    ('0.4', '3×3', '—', 'yes')
    """
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return count(value) if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}".replace("-", "−")
    if isinstance(value, list):
        return "×".join(number(item) for item in value)
    return str(value)


def plural(value: float, noun: str) -> str:
    """Write a count with its noun.

    >>> plural(1, "clip").replace(NBSP, " "), plural(2400, "clip").replace(NBSP, " ")
    ('1 clip', '2,400 clips')
    """
    return f"{count(value)}{NBSP}{noun}{'' if value == 1 else 's'}"


def millijoules(value: float, largest: float | None = None) -> str:
    """Write an energy given in mJ to three significant digits, in the unit that suits the ``largest`` beside it.

    >>> [millijoules(value).replace(NBSP, " ") for value in (1.65, 0.0123, 0.00001234, 0.0)]
    ['1.65 mJ', '12.3 µJ', '12.3 nJ', '0 mJ']
    >>> millijoules(0.0000754, largest=0.0211).replace(NBSP, " ")
    '0.0754 µJ'
    """
    yardstick = value if largest is None else largest
    unit, factor = next(
        ((unit, factor) for unit, factor in (("mJ", 1.0), ("µJ", 1e3), ("nJ", 1e6)) if yardstick * factor >= 0.1),
        ("nJ", 1e6) if yardstick else ("mJ", 1.0),
    )
    return f"{significant(value * factor)}{NBSP}{unit}"


def largest_energy(energy: dict[str, Any]) -> float:
    """Return the larger of the two totals: its unit serves all energies of a report."""
    return float(max(energy["snn_mj"], energy["ann_mj"]))


def rate(value: float) -> str:
    """Write a firing rate as the paper does.

    >>> rate(0.49251)
    '0.4925'
    """
    return f"{value:.4f}"


def stride(value: Any) -> str:
    """Write a stride, once where both directions agree.

    >>> stride([2, 2]), stride([2, 1]), stride(1)
    ('2', '2×1', '1')
    """
    same = isinstance(value, list) and len(set(map(str, value))) == 1
    return number(value[0] if same else value)


def significant(value: float, digits: int = 3) -> str:
    """Round to significant digits, without an exponent.

    >>> significant(12345.6), significant(0.0123456), significant(2.0)
    ('12,346', '0.0123', '2.00')
    """
    if value == 0:
        return "0"
    exponent = int(f"{abs(value):e}".split("e")[1])
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def kilobytes(value: float) -> str:
    """Write a file size.

    >>> kilobytes(834_560).replace(NBSP, " "), kilobytes(12).replace(NBSP, " ")
    ('834.6 kB', '12 B')
    """
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:,.1f}{NBSP}{unit}"
    return f"{count(value)}{NBSP}B"


def seconds(value: float) -> str:
    """Write a duration.

    >>> seconds(0.0123).replace(NBSP, " "), seconds(75).replace(NBSP, " "), seconds(4020).replace(NBSP, " ")
    ('12.3 ms', '1 min 15 s', '1 h 7 min')
    """
    whole = round(value)
    if whole >= 3600:
        return f"{whole // 3600}{NBSP}h {whole % 3600 // 60}{NBSP}min"
    if whole >= 60:
        return f"{whole // 60}{NBSP}min {whole % 60}{NBSP}s"
    return f"{significant(value * 1e3)}{NBSP}ms" if 0 < value < 1 else f"{significant(value)}{NBSP}s"


def chip_name(report: dict[str, Any]) -> str:
    """Name the chip without the width of its weights."""
    return simulated_name(report).removeprefix("8-bit ").removeprefix("quantised ")


def simulated_name(report: dict[str, Any]) -> str:
    """Name the quantised network after its chip."""
    target = report["export"]["target"]
    return TARGETS.get(target, f"quantised {target}")


def status(report: dict[str, Any]) -> tuple[str, str]:
    """Return (kind, words): ``good`` when all checks passed and Lava agreed, ``part`` without Lava, else ``bad``."""
    lava = report["lava"]
    errors = any(finding["severity"] == "error" for finding in report["export"]["findings"])
    if not report["export"]["ok"] or errors:
        return "bad", "Not verified: the export failed its checks"
    if lava is None or "skipped" in lava:
        return "part", "Verified by our simulator; Lava did not judge it"
    if lava["mismatched_spikes"]:
        return "bad", "Not verified: Lava and the fast simulator disagree"
    return "good", "Verified: the export passed its checks and Lava agrees"


def verdict_sentences(report: dict[str, Any]) -> list[str]:
    """Return the verdict, one sentence per claim, each with its conditions; the first two are the headline."""
    return [_accuracy_claim(report), lava_claim(report), *_comparison_claims(report), _energy_claim(report)]


def _accuracy_claim(report: dict[str, Any]) -> str:
    accuracy, clips = report["accuracy"], report["accuracy_clips"]
    unseen = "unseen-subject clips" if report["data"]["subjects"] else "test clips"
    other = "" if clips["float"] == clips["quantised"] else f" of {count(clips['float'])}"
    return (
        f"The {simulated_name(report)} simulation labels {percent(accuracy['quantised'])} of "
        f"{count(clips['quantised'])}{NBSP}{unseen} correctly (float {percent(accuracy['float'])}{other})."
    )


def lava_claim(report: dict[str, Any]) -> str:
    """Say whether Intel's Lava gives the same spikes as the fast simulator, on how many, or why nobody knows."""
    lava = report["lava"]
    if lava is None:
        return "Lava: nothing recorded, so only our own simulator stands behind these numbers."
    if "skipped" in lava:
        return f"Lava was skipped ({lava['skipped']}), so only our own simulator stands behind these numbers."
    scope = f"{count(lava['compared_spikes'])}{NBSP}compared spikes of {plural(lava['clips'], 'clip')}"
    if lava["mismatched_spikes"] == 0:
        return f"Lava and the fast simulator agree on all {scope}."
    return f"Lava and the fast simulator disagree on {count(lava['mismatched_spikes'])} of {scope}."


def _comparison_claims(report: dict[str, Any]) -> list[str]:
    accuracy, intervals = report["accuracy"], report["intervals_95"] or {}
    claims = []
    if accuracy["ann"] is not None:
        clips = report["accuracy_clips"]["ann"]
        scope = f" on {plural(clips, 'clip')}" if clips is not None else ""
        claims.append(f"The ANN twin reaches {percent(accuracy['ann'])}{scope}{_overlap(intervals)}.")
    if accuracy["trivial"] is not None:
        ahead = accuracy["quantised"] > accuracy["trivial"]
        tail = "" if ahead else ", no less than the spiking network"
        chance = "" if accuracy["chance"] is None else f"; chance is {percent(accuracy['chance'])}"
        claims.append(f"A linear model on the mean frame reaches {percent(accuracy['trivial'])}{tail}{chance}.")
    return claims


def _overlap(intervals: dict[str, Any]) -> str:
    ann, snn = intervals.get("ann"), intervals.get("quantised")
    if not ann or not snn:
        return ""
    apart = ann[0] > snn[1] or snn[0] > ann[1]
    return "; the 95" + NBSP + ("% intervals do not overlap" if apart else "% intervals overlap")


def _energy_claim(report: dict[str, Any]) -> str:
    energy = report["energy"]
    largest = largest_energy(energy)
    return (
        f"Counted synaptic operations at {energy['precision']} prices ({energy['ac_pj']:g}{NBSP}pJ per AC, "
        f"{energy['mac_pj']:g}{NBSP}pJ per MAC): SNN {millijoules(energy['snn_mj'], largest)} per clip, "
        f"ANN twin {millijoules(energy['ann_mj'], largest)}{energy_ratio(energy)}."
    )


def energy_ratio(energy: dict[str, Any]) -> str:
    """Say how many times the dearer network costs of the other, or nothing where one costs nothing."""
    snn, ann = energy["snn_mj"], energy["ann_mj"]
    if not snn or not ann:
        return ""
    dearer, cheaper, factor = ("ANN", "SNN", ann / snn) if ann >= snn else ("SNN", "ANN", snn / ann)
    return f", so the {dearer} costs {significant(factor)} times the {cheaper}"
