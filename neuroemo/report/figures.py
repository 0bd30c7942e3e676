"""The charts of the report: one pure function per figure, from entries of report.json to an SVG string."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from export.page import svg
from export.page.charts import Axes, Series, curves, frame, legend, padded
from export.page.svg import Scale
from neuroemo.report.words import largest_energy, millijoules, percent, plural, simulated_name

# Share of (pixel, channel) positions with an event on the data of Wang et al. (2022), section 3.
PAPER_DENSITY = 0.1079
WIDTH = 400.0
ROW = 44.0
HATCH = (
    '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" class="hatch-line"/></pattern></defs>'
)
BAR = 12.0


def accuracy_bars(report: dict[str, Any]) -> str:
    """Bars of accuracy on the test clips with 95 % intervals as whiskers, and chance as a dashed line."""
    scale = Scale(0, 1, 0.5, WIDTH - 0.5)
    parts, spoken = [], []
    rows = accuracy_rows(report)
    bottom = 6 + ROW * len(rows)
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(value, "middle")
        parts.append(svg.line(scale(value), 2, scale(value), bottom, "grid"))
        parts.append(svg.text(scale(value), bottom + 15, f"{100 * value:g} %", "tick", anchor))
    for index, row in enumerate(rows):
        parts += _accuracy_row(row, 6 + ROW * index, scale)
        spoken.append(f"{row['name']} {row['shown']}")
    chance = report["accuracy"]["chance"]
    if chance is not None:
        parts.append(svg.line(scale(chance), 2, scale(chance), bottom, "reference"))
        parts.append(svg.text(scale(chance), bottom + 31, f"chance {percent(chance)}", "tick", "middle"))
        spoken.append(f"chance {percent(chance)}")
    return svg.drawing(WIDTH, bottom + 40, "Accuracy on test clips: " + ", ".join(spoken), parts)


def accuracy_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one entry per network compared: name, colour, value, interval, clips and the value as shown."""
    names = {
        "float": "Spiking network, float", "quantised": f"{simulated_name(report)}, our simulator",
        "lava": f"{simulated_name(report)}, Intel's Lava", "ann": "ANN twin, float",
        "linear_events": "Linear on summed events", "trivial": "Linear on the mean frame",
    }  # fmt: skip
    rows = []
    for key, name in names.items():
        value = report["accuracy"][key]
        rows.append(
            {
                "key": key, "name": name[:1].upper() + name[1:], "value": value,
                "shown": "not run" if value is None else percent(value),
                "interval": (report["intervals_95"] or {}).get(key), "clips": report["accuracy_clips"][key],
            }
        )  # fmt: skip
    return rows


def _accuracy_row(row: dict[str, Any], top: float, scale: Scale) -> list[str]:
    scope = "" if row["clips"] is None or row["value"] is None else f" of {plural(row['clips'], 'clip')}"
    parts = [
        svg.text(0, top + 13, row["name"], "row-label halo"),
        svg.text(WIDTH, top + 13, row["shown"] + scope, "row-value halo", "end"),
    ]
    if row["value"] is not None:
        parts.append(svg.rect(0, top + 19, scale(row["value"]), BAR, f"f-{row['key']}", radius=1.5))
    if row["value"] is not None and row["interval"]:
        low, high = (scale(bound) for bound in row["interval"])
        middle = top + 19 + BAR / 2
        parts.append(svg.line(low, middle, high, middle, "whisker"))
        parts += [svg.line(x, middle - 4.5, x, middle + 4.5, "whisker") for x in (low, high)]
    return parts


def training_curves(training: dict[str, Any], value: str, chance: float | None = None) -> str:
    """Loss (``value="loss"``) or accuracy per epoch, spiking network and ANN twin; validation loss is dashed."""
    wanted = (("loss", False), ("val_loss", True)) if value == "loss" else (("val_accuracy", False),)
    series = [
        Series(f"{name}{' validation' if dashed else ''}", css, points, dashed)
        for name, css, history in (("SNN", "float", training["snn"]), ("ANN twin", "ann", training["ann"]))
        for key, dashed in wanted
        if history and (points := [(e["epoch"], e[key]) for e in history["epochs"] if e[key] is not None])
    ]
    shares = value != "loss"
    xs = [x for entry in series for x, _ in entry.points] or [0.0, 1.0]
    ys = [y for entry in series for _, y in entry.points]
    span = (0.0, 1.0) if shares else padded(ys, floor=0.0)
    name = "accuracy on validation clips" if shares else "loss"
    axes = Axes(WIDTH, 44, 170, (min(xs), max(xs)), span, "epoch", name, shares)
    whole = [x for x in svg.ticks(min(xs), max(xs), 6) if x == round(x)]
    parts = (
        frame(axes, whole, chance if shares else None, "chance")
        + curves(axes, series)
        + legend([entry for entry in series if not entry.dashed], 12)
    )
    last = ", ".join(f"{entry.name} ends at {entry.points[-1][1]:.4g}" for entry in series)
    return svg.drawing(WIDTH, 252, f"Training, {name} per epoch: {last or 'no epochs recorded'}", parts)


def step_curves(curve: dict[str, Any], title: str, loss_span: tuple[float, float], chance: float | None) -> str:
    """Figure 2 of the paper: accuracy above loss along the time steps, one training stage."""
    total = len(curve["accuracy"])
    marks = svg.step_ticks(total)
    parts: list[str] = []
    for key, top, span, shares in (("accuracy", 24.0, (0.0, 1.0), True), ("loss", 200.0, loss_span, False)):
        axes = Axes(310, top, 120, (1, max(total, 2)), span, "" if shares else "time step", key, shares)
        points = [(step + 1, value) for step, value in enumerate(curve[key])]
        parts += frame(axes, marks, chance if shares else None, "chance")
        parts += curves(axes, [Series(key, "float", points)])
    label = (
        f"{title}: accuracy {percent(curve['accuracy'][0])} at step 1, "
        f"{percent(curve['accuracy'][-1])} at step {total}; loss {curve['loss'][0]:.4g} to {curve['loss'][-1]:.4g}"
    )
    return svg.drawing(310, 354, label, parts, "figure narrow")


def loss_span(steps: dict[str, Any]) -> tuple[float, float]:
    """Return one range of loss for all stages, so that they can be compared by eye."""
    stages = [steps[name] for name in ("before", "during", "after") if steps[name]]
    return padded([value for stage in stages for value in stage["loss"]], floor=0.0)


def agreement_dots(layers: Sequence[dict[str, Any]]) -> str:
    """Share of equal spikes per layer: filled when fed the float network's spikes, open when run end to end."""
    rows = [layer for layer in layers if layer["verify"]]
    values = [layer["verify"][key] for layer in rows for key in ("agreement", "agreement_end_to_end")]
    low = _floor_of(min(values, default=1.0))
    scale = Scale(low, 1.0, 6, WIDTH - 6)
    bottom = 34 + 34.0 * len(rows)
    parts = [
        svg.circle(6, 8, 5, "f-quantised"), svg.text(16, 12, "fed the float network's spikes", "tick"),
        svg.circle(226, 8, 4.2, "ring s-lava"), svg.text(236, 12, "run end to end", "tick"),
    ]  # fmt: skip
    for value in svg.ticks(low, 1.0):
        anchor = "start" if value == low else "end" if value == 1.0 else "middle"
        parts.append(svg.line(scale(value), 24, scale(value), bottom, "grid"))
        parts.append(svg.text(scale(value), bottom + 15, f"{100 * value:g} %", "tick", anchor))
    for index, layer in enumerate(rows):
        parts += _agreement_row(layer, 34 + 34.0 * index, scale)
    spoken = ", ".join(f"{layer['name']} {percent(layer['verify']['agreement'])}" for layer in rows)
    return svg.drawing(
        WIDTH, bottom + 22, f"Equal spikes, float against chip, per layer: {spoken or 'not compared'}", parts
    )


def _agreement_row(layer: dict[str, Any], top: float, scale: Scale) -> list[str]:
    forced, free = layer["verify"]["agreement"], layer["verify"]["agreement_end_to_end"]
    y = top + 19
    return [
        svg.text(0, top + 8, svg.shortened(layer["name"], 40), "row-label halo"),
        svg.line(6, y, WIDTH - 6, y, "grid"),
        svg.line(scale(free), y, scale(forced), y, "link"),
        svg.circle(scale(forced), y, 5, "f-quantised", f"{layer['name']}, fed float spikes: {percent(forced)}"),
        svg.circle(scale(free), y, 4.2, "ring s-lava", f"{layer['name']}, end to end: {percent(free)}"),
    ]


def _floor_of(lowest: float) -> float:
    """Return the lower end of an agreement axis: near the values, and said on the axis."""
    for low in (0.99, 0.95, 0.9, 0.8, 0.5):
        if lowest >= low:
            return low
    return 0.0


def energy_bars(energy: dict[str, Any]) -> str:
    """Energy per clip, spiking network against ANN twin, cut into layers; neuron updates apart."""
    rows = [
        ("SNN, synaptic operations", "float", energy["snn_mj"], _shares(energy["layers"], "snn_mj")),
        ("ANN twin, multiply-accumulates", "ann", energy["ann_mj"], _shares(energy["ann_layers"], "ann_mj")),
    ]
    if energy["neuron_mj"] is not None:
        rows.append(("SNN, neuron updates, apart", "hatch", energy["neuron_mj"], []))
    largest = largest_energy(energy)
    scale = Scale(0, max(value for _, _, value, _ in rows) or 1.0, 0, WIDTH)
    parts = [HATCH]
    for index, (name, css, value, pieces) in enumerate(rows):
        top = 4 + 52.0 * index
        parts.append(svg.text(0, top + 13, name, "row-label"))
        parts.append(svg.text(WIDTH, top + 13, millijoules(value, largest), "row-value", "end"))
        parts.append(
            svg.rect(0, top + 20, scale(value), 18, f"f-{css}", title=f"{name}: {millijoules(value, largest)}")
        )
        parts += _pieces(pieces, top + 20, css, scale, largest)
    spoken = "; ".join(f"{name}: {millijoules(value, largest)}" for name, _, value, _ in rows)
    return svg.drawing(WIDTH, 8 + 52.0 * len(rows), f"Energy per clip. {spoken}", parts)


def _shares(layers: Sequence[dict[str, Any]] | None, key: str) -> list[tuple[str, float]]:
    return [(layer["name"], layer[key]) for layer in layers or ()]


def _pieces(pieces: Sequence[tuple[str, float]], top: float, css: str, scale: Scale, largest: float) -> list[str]:
    """Cut a bar into its layers; every piece says its name on hover."""
    parts, start = [], 0.0
    for name, value in pieces:
        title = f"{name}: {millijoules(value, largest)}"
        parts.append(
            svg.rect(scale(start), top, scale(start + value) - scale(start), 18, f"piece f-{css}", title=title)
        )
        start += value
    return parts


def density_bars(events: dict[str, Any]) -> str:
    """Share of positions that carry an event, under each way of counting, and the paper's number as a line."""
    names = {
        "density": "of (pixel, channel) positions", "density_any_polarity": "of pixels, any polarity",
        "density_on": "of the ON channel", "density_off": "of the OFF channel",
    }  # fmt: skip
    rows = [(key, name, events[key]) for key, name in names.items() if events[key] is not None]
    scale = Scale(0, max(PAPER_DENSITY, *(value for _, _, value in rows)) * 1.05, 0, WIDTH)
    bottom = 4 + 38.0 * len(rows)
    parts = []
    for index, (key, name, value) in enumerate(rows):
        top = 4 + 38.0 * index
        parts.append(svg.text(0, top + 12, name, "row-label halo"))
        parts.append(svg.text(WIDTH, top + 12, percent(value, 2), "row-value halo", "end"))
        parts.append(
            svg.rect(0, top + 18, scale(value), 9, "f-float" if key == "density" else "f-quantised", radius=1.5)
        )
    parts.append(svg.line(scale(PAPER_DENSITY), 2, scale(PAPER_DENSITY), bottom + 2, "reference"))
    words, anchor = f"paper {percent(PAPER_DENSITY, 2)} of positions", "end" if scale(PAPER_DENSITY) > WIDTH / 2 else ""
    parts.append(svg.text(scale(PAPER_DENSITY), bottom + 14, words, "tick", anchor))
    spoken = ", ".join(f"{percent(value, 2)} {name}" for _, name, value in rows)
    return svg.drawing(WIDTH, bottom + 20, f"Event density: {spoken}; the paper has {percent(PAPER_DENSITY, 2)}", parts)
