"""The verbs `events` and `events show`: parsed arguments in, a result shown, an exit code out."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict, replace
from typing import Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console

FRAMEDIFF_ONLY = {
    "sens": "--sens", "density": "--density", "size": "--size", "steps": "--steps", "first_frame": "--first-frame",
    "intensity": "--intensity", "reference": "--reference", "events_per_step": "--events-per-step",
}  # fmt: skip
PIXEL_ONLY = {
    "preset": "--preset", "sensor": "--sensor", "threshold": "--threshold", "timing": "--timing",
    "slow_motion": "--slow-motion", "seed": "--seed",
}  # fmt: skip


def events(args: Namespace, console: Console) -> int:
    """Turn a video, or a folder of videos, into events."""
    _refuse_what_means_nothing(args)
    for path in (args.output, args.preview):
        if path is not None and path.exists() and not args.force:
            fix = "choose another name, or --force"
            raise InputError(Finding("E017", "error", str(path), "already exists", fix=fix))
    if args.input.is_dir():
        result = _folder(args, console)
        follow = f"neuroemo train --data {args.output} -o runs/mine"
    else:
        result = _video(args, console)
        follow = f"neuroemo events show {args.output}"
    console.show(result | {"ok": True, "output": str(args.output)}, f"{_told(args, result)}\nnext: {follow}")
    return 0


def show(args: Namespace, console: Console) -> int:
    """Say what a recording holds, and draw it."""
    from neuroemo.events.readers import open_events
    from neuroemo.events.show import save_drawing, show_events, show_text

    recording = open_events(args.input, sensor_size=args.sensor, sort=args.sort, time_unit=args.time_unit)
    facts = show_events(recording)
    text = show_text(facts)
    if args.picture is not None:
        save_drawing(args.picture, recording)
        text += f"\nlook at {args.picture}"
    console.show(facts | {"ok": True}, text)
    return 0


def _refuse_what_means_nothing(args: Namespace) -> None:
    """Refuse options of the other camera, and those that a folder of clips does not have."""
    others = PIXEL_ONLY if args.model == "framediff" else FRAMEDIFF_ONLY
    said = [option for name, option in others.items() if getattr(args, name) is not None]
    findings = [
        Finding("E722", "error", option, f"means nothing to the {args.model} model", fix="see `neuroemo events --help`")
        for option in said
    ]
    if args.input.is_dir():
        if args.model == "pixel":
            fix = "`neuroemo data prepare folder --model pixel` makes clips of a folder"
            findings.append(Finding("E722", "error", "--model pixel", "a folder of videos", "one video", fix=fix))
        if args.preview is not None:
            findings.append(Finding("E722", "error", "--preview", "a folder of videos", "one video"))
    findings += _density_findings(args)
    suffixes = (".h5", ".hdf5") if args.input.is_dir() else (".npz", ".h5", ".hdf5", ".aedat4")
    if args.output.suffix not in suffixes:
        limit = f"{', '.join(suffixes)} for {'a folder of videos' if args.input.is_dir() else 'one video'}"
        findings.append(Finding("E722", "error", str(args.output), f"suffix {args.output.suffix!r}", limit))
    if findings:
        raise InputError(findings)


def _density_findings(args: Namespace) -> list[Finding]:
    findings = []
    if args.density is not None and not 0.0 < args.density <= 1.0:
        fix = "give a share of pixels, e.g. 0.1079"
        findings.append(Finding("E722", "error", "--density", repr(args.density), "above 0, at most 1", fix=fix))
    if args.density is not None and args.sens is not None:
        fix = "--density chooses it: leave one of them out"
        findings.append(Finding("E722", "error", "--sens", "means nothing with --density", fix=fix))
    return findings


def _video(args: Namespace, console: Console) -> dict[str, Any]:
    from neuroemo.events import simulate

    if args.model == "framediff":
        settings = _framediff(args)
        result = simulate.frame_difference_events(args.input, args.output, settings, density=args.density)
        shown: int | None = settings.frames_needed
    else:
        with console.progress("simulate the pixels") as progress:
            result = simulate.pixel_events(
                args.input,
                args.output,
                _pixel(args),
                sensor=args.sensor,
                slow_motion=_slow_motion(args),
                progress=lambda done: progress(done, 0, f"{done} frames"),
            )
        shown = None
    if args.preview is not None:
        result |= {"preview": str(args.preview)}
        result["preview_frames"] = simulate.preview(args.input, args.output, args.preview, shown)
    return result


def _framediff(args: Namespace) -> Any:
    from neuroemo.events.difference import smallest_sens
    from neuroemo.events.framediff import FrameDiffSettings

    given = {name: getattr(args, name) for name in FRAMEDIFF_ONLY if getattr(args, name) is not None}
    if given.pop("density", None) is not None:
        given["sens"] = smallest_sens(given.get("intensity", "linear"))  # until it is chosen
    return FrameDiffSettings(**given)


def _pixel(args: Namespace) -> Any:
    from neuroemo.events.pixel.settings import PixelSettings, preset

    changes: dict[str, Any] = {}
    if args.threshold is not None:
        changes |= {"positive_threshold": args.threshold, "negative_threshold": args.threshold}
    changes |= {name: getattr(args, name) for name in ("timing", "seed") if getattr(args, name) is not None}
    chosen = args.preset or "clean"
    return PixelSettings(**changes) if chosen == "ideal" else preset(chosen, **changes)


def _slow_motion(args: Namespace) -> Any:
    from neuroemo.events.upsample import UpsampleSettings

    return UpsampleSettings(method=args.slow_motion or "dis")


def _folder(args: Namespace, console: Console) -> dict[str, Any]:
    from neuroemo.datasets.clip_density import bit_warnings
    from neuroemo.datasets.folder import scan_folder
    from neuroemo.datasets.store import prepare_store

    settings, chosen = _folder_settings(args, console)
    with console.progress("decode and difference") as progress:
        store = prepare_store(
            args.input,
            args.output,
            settings,
            force=args.force,
            progress=lambda done, total: progress(done, total, ""),
        )
    findings = [*scan_folder(args.input).findings, *bit_warnings(settings)]
    for finding in findings:
        console.say(f"neuroemo: {finding}")
    return {
        "model": "framediff",
        "clips": len(store),
        "classes": list(store.classes),
        "density": asdict(store.density()),
        **({} if chosen is None else {"chosen_sens": chosen}),
        "settings": settings.to_dict(),
        "findings": [finding.to_dict() for finding in findings],
    }


def _folder_settings(args: Namespace, console: Console) -> tuple[Any, dict[str, Any] | None]:
    """Return the settings with the sensitivity that ``--density`` asks for, and what was chosen."""
    from neuroemo.datasets.catalogue import list_dataset
    from neuroemo.datasets.clip_density import sens_of_data_set

    settings = _framediff(args)
    if args.density is None:
        return settings, None
    with console.progress("weigh sensitivities") as progress:
        made = sens_of_data_set(
            list_dataset("folder", args.input, settings),
            settings,
            args.density,
            progress=lambda done, total: progress(done, total, ""),
        )
    return replace(settings, sens=made.choice.sens), made.told(args.density)


def _told(args: Namespace, result: dict[str, Any]) -> str:
    if result["model"] == "pixel":
        width, height, _ = result["sensor_size"]
        rate = result["events_per_pixel_and_second"]
        count = f"{result['events']:,} events in {result['seconds']:.2f} s"
        lines = [f"{args.output}: {count} on {width} x {height} pixels, {rate:.2f} per pixel and second"]
    else:
        density = result["density"]
        lines = [
            f"{args.output}: {result['clips']} clip(s), {density['per_channel']:.2%} of positions carry an event "
            f"({density['any_polarity']:.2%} of pixels)"
        ]
        if "chosen_sens" in result:
            from neuroemo.datasets.clip_density import chosen_text

            lines.append(chosen_text(result["chosen_sens"]))
    if "preview" in result:
        lines.append(f"look at {result['preview']}")
    return "\n".join(lines)
