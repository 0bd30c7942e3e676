"""The verb `watch`: parsed arguments in, a film and a table out, an exit code."""

from __future__ import annotations

import shlex
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console

if TYPE_CHECKING:
    from neuroemo.affect.run import AffectRun
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.events.readers import EventFile
    from neuroemo.watch.run import Estimator
    from neuroemo.watch.source import Source

VIDEO_ONLY = {"threshold": "--threshold", "slow_motion": "--slow-motion", "seed": "--seed"}
EVENT_SUFFIXES = (".raw", ".dat", ".aedat4", ".aedat", ".h5", ".hdf5", ".npz", ".csv", ".txt")
RECORDING_ONLY = {"sensor": "--sensor", "time_unit": "--time-unit", "sort": "--sort"}


def watch(args: Namespace, console: Console) -> int:
    """Watch a video or a recording through a trained network."""
    import torch

    from neuroemo.affect.run import open_affect
    from neuroemo.training.stopping import stop_on_signals
    from neuroemo.watch.outputs import Outputs
    from neuroemo.watch.run import watch as watch_source

    recording = is_recording(args.input)
    _check_options(args, recording)
    film = args.output or Path(f"{args.input.stem}.watch.mp4")
    outputs = Outputs(film, args.csv or film.with_suffix(".csv"), args.input, args.force)
    outputs.check()
    run = open_affect(args.model)
    torch.set_num_threads(args.threads)
    settings, notes = _settings(args, run.frames_settings, recording)
    source, more = _source(args, settings, recording)
    notes += more
    for note in notes:
        console.say(f"neuroemo: {note}")
    try:
        with stop_on_signals() as stop, console.progress("watch") as progress:
            told = watch_source(source, estimator_of(run), outputs, fps=args.fps, progress=progress, stop=stop)
    except KeyboardInterrupt:
        found = f"interrupted at once; {outputs.growing_film} and {outputs.growing_table} hold what was watched"
        return console.fail((Finding("E985", "error", "", found),), 130)
    result = told | {
        "model": {"run": str(args.model), "network": run.spec.name, "initialisation": run.initialisation},
        "event_frames": settings.to_dict(),
        "findings": [note.to_dict() for note in notes],
    }
    if told["interrupted"]:
        return console.fail((_interrupted(told, args),), 130, result)
    console.show(result | {"ok": True}, told_text(result))
    return 0


def is_recording(path: Path) -> bool:
    """Whether a file is a recording of an event camera: by its content, or because it is named like one.

    Raises ``InputError`` for a file that is named like such a recording and is none that can be read.
    """
    from neuroemo.events.readers import file_format

    try:
        file_format(path)
    except InputError:
        if path.suffix.lower() in EVENT_SUFFIXES:
            raise
        return False  # what is wrong with a video, its own reader says
    return True


def estimator_of(run: AffectRun) -> Estimator:
    """Return the network of a run as ``watch`` wants it."""
    from neuroemo.affect.predict import predict_array
    from neuroemo.watch.run import Estimator

    spec, settings = run.spec, run.frames_settings

    def predict(codes: Any) -> Any:
        return predict_array(run.network, spec, codes, settings.n_bits, msb=settings.msb)

    length = settings.slice_us / 1000
    name = f"{spec.name} · {settings.size}×{settings.size} · {settings.n_bits} slices of {length:g} ms"
    return Estimator(predict, spec.frames, name)


def _check_options(args: Namespace, recording: bool) -> None:
    kind, others = ("recording", VIDEO_ONLY) if recording else ("video", RECORDING_ONLY)
    said = [option for name, option in others.items() if getattr(args, name) not in (None, False)]
    findings = [
        Finding("E980", "error", option, f"means nothing to a {kind}", fix="see `neuroemo watch --help`")
        for option in said
    ]
    if args.threads < 1:
        findings.append(Finding("E980", "error", "--threads", str(args.threads), "at least 1"))
    if findings:
        raise InputError(findings)


def _settings(
    args: Namespace, trained: EventFrameSettings, recording: bool
) -> tuple[EventFrameSettings, list[Finding]]:
    """Return how event frames are made here, and every way in which that differs from the network's training."""
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.events.upsample import UpsampleSettings

    node = str(args.model)
    common = {name: getattr(trained, name) for name in ("size", "n_bits", "slice_us", "msb")}
    if recording:
        if trained.model == "recorded":
            return trained, []
        made = {"pixel": "a simulated camera", "codes": "pictures that were codes already"}[trained.model]
        found = f"was trained on event frames of {made}, and is shown a recording"
        return EventFrameSettings(**common, model="recorded"), [Finding("W987", "warning", node, found)]
    notes = []
    if trained.pixel is None:
        made = {"recorded": "a real camera", "codes": "pictures that were codes already"}[trained.model]
        found = f"was trained on event frames of {made}, and is shown those of a simulated one"
        notes.append(Finding("W987", "warning", node, found))
        trained = EventFrameSettings(**common)
    pixel, between = trained.pixel, trained.slow_motion
    assert pixel is not None
    changes: dict[str, Any] = {}
    if args.threshold is not None:
        changes |= {"positive_threshold": args.threshold, "negative_threshold": args.threshold}
    if args.seed is not None:
        changes["seed"] = args.seed
    for name, value in changes.items():
        if getattr(pixel, name) != value and name != "seed":
            found = f"{name} {value:g}; the network was trained with {getattr(pixel, name):g}"
            notes.append(Finding("W984", "warning", "camera", found))
    if args.slow_motion is not None:
        chosen = UpsampleSettings(method=args.slow_motion)
        trained_with = between or UpsampleSettings(method="none")
        if chosen != trained_with:
            found = f"slow motion {_method(chosen)}; the network was trained with {_method(trained_with)}"
            notes.append(Finding("W984", "warning", "camera", found))
        between = chosen
    return replace(trained, pixel=replace(pixel, **changes), slow_motion=between), notes


def _method(settings: Any) -> str:
    method = settings.to_dict()["method"]
    return str(method["name"] if isinstance(method, dict) else method)


def _source(args: Namespace, settings: EventFrameSettings, recording: bool) -> tuple[Source, list[Finding]]:
    from neuroemo.watch.source import RecordingSource, Span, VideoSource

    span = Span(args.start, args.seconds)
    if not recording:
        return VideoSource(args.input, settings, span), []
    from neuroemo.events.readers import open_events

    def opened(size: tuple[int, int] | None) -> EventFile:
        return open_events(args.input, sensor_size=size, sort=args.sort, time_unit=args.time_unit or "auto")

    try:
        recording_file = opened(args.sensor)
    except InputError:
        if args.sensor or settings.sensor is None:
            raise
        # The recordings of the training did not say their sensor; this one may be of the same kind.
        recording_file = opened(settings.sensor)
    return RecordingSource(recording_file, settings, span), list(recording_file.findings)


def _interrupted(told: dict[str, Any], args: Namespace) -> Finding:
    if not told["frames"]:
        return Finding("E985", "error", "", "interrupted before the first event frame; nothing was written")
    of = f" of about {told['expected_frames']}" if told["expected_frames"] else ""
    reached = args.start + told["seconds"]
    found = f"interrupted after {told['frames']}{of} event frames, at {reached:.2f} s; {told['film']} and {told['csv']}"
    fix = f"to watch the rest: {_again(args, reached)}"
    return Finding("E985", "error", "", f"{found} hold what was watched", fix=fix)


def _again(args: Namespace, reached: float) -> str:
    words = ["neuroemo", "watch", str(args.input), "--model", str(args.model), "--start", f"{reached:.2f}"]
    given = {"fps": "--fps", **VIDEO_ONLY}
    words += [word for name, flag in given.items() if (value := getattr(args, name)) for word in (flag, str(value))]
    words += ["--sensor", "{},{}".format(*args.sensor)] if args.sensor else []
    words += ["--time-unit", args.time_unit] if args.time_unit else []
    words += ["--sort"] if args.sort else []
    film = args.output or Path(f"{args.input.stem}.watch.mp4")
    return shlex.join([*words, "-o", str(film.with_name(f"{film.stem}-rest{film.suffix}"))])


def told_text(told: dict[str, Any]) -> str:
    """Return the result in lines for people."""
    from neuroemo.watch.theme import signed

    lines = [f"{told['source']['name']}: {told['frames']} event frames, {told['seconds']:.2f} s"]
    for name in ("valence", "arousal"):
        value = told[name]
        between = f"between {signed(value['min'])} and {signed(value['max'])}"
        lines.append(f"{name}   mean {signed(value['mean'])}, {between}")
    far = told["farthest"]
    lines.append(
        f"farthest from the mean: frame {far['frame']} at {far['time_s']:.3f} s, "
        f"valence {signed(far['valence'])}, arousal {signed(far['arousal'])}"
    )
    if told["delay_frames"]:
        lines.append(
            f"the network sees {told['delay_frames'] + 1} frames at once: "
            f"an estimate waits {told['delay_s']:g} s at most"
        )
    return "\n".join([*lines, f"look at {told['film']}; the numbers are in {told['csv']}"])
