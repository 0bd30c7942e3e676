"""The verb ``neuroemo data frames``: make a data set's event frames once, with their labels, into a store."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neuroemo.console import Console
from neuroemo.data_verb import given_options

if TYPE_CHECKING:
    from neuroemo.datasets.event_frame_manifest import FrameManifest
    from neuroemo.datasets.event_frame_prepare import PreparedFrames
    from neuroemo.datasets.event_frame_settings import EventFrameSettings

OWN = {
    "pixel": ("preset", "threshold", "timing", "noise_seed", "slow_motion"),
    "recorded": ("sensor",),
    "codes": (),
}
"""The options of each model; the others belong to all."""


def frames(args: Namespace, console: Console) -> int:
    """Make the event frames of a data set."""
    from neuroemo.datasets.catalogue import list_dataset, read_options
    from neuroemo.datasets.event_frame_prepare import prepare_event_frames
    from neuroemo.datasets.event_frames import EventFrames

    options = read_options(args.option)
    settings = frame_settings(args, options)
    started = time.monotonic()
    with console.progress(f"list {args.name}") as listing:
        listed = list_dataset(
            args.name,
            args.root,
            settings,
            options,
            skip_broken=args.skip_broken,
            workers=args.workers,
            progress=lambda done, total: listing(done, total, ""),
        )
    for finding in listed.findings:
        console.say(f"neuroemo: {finding}")
    with console.progress(f"event frames of {args.name}") as progress:
        made = prepare_event_frames(
            listed,
            None,
            args.out,
            settings,
            skip_broken=args.skip_broken,
            workers=args.workers,
            force=args.force,
            progress=lambda done, total: progress(done, total, ""),
        )
    with EventFrames.open(made.path) as store:
        empty = None if settings.model == "codes" else int((store.events == 0).sum())
        result = _told(made, len(store), empty) | {
            "seconds": round(time.monotonic() - started, 3),
            "findings": [finding.to_dict() for finding in listed.findings],
        }
    console.show(result, _text(made, result))
    return 0


def frame_settings(args: Namespace, options: Mapping[str, Any]) -> EventFrameSettings:
    """Return the settings of the chosen model; raises ``InputError`` for an option of another model.

    Without ``--model`` it is the one that the recordings of the data set ask for.
    """
    from neuroemo.datasets.catalogue import recordings
    from neuroemo.datasets.event_frame_settings import EventFrameSettings
    from neuroemo.events.pixel.settings import preset
    from neuroemo.events.upsample import UpsampleSettings

    kinds = {"events": "recorded", "codes": "codes"}
    model: Any = args.model or kinds.get(recordings(args.name, options), "pixel")
    given = given_options(args, OWN, model)
    common: dict[str, Any] = {"size": args.size, "n_bits": args.bits, "slice_us": args.slice_us, "msb": args.msb}
    if model != "pixel":
        return EventFrameSettings(**common, model=model, **given)
    changes: dict[str, Any] = {"seed": given.get("noise_seed", 0)}
    if "threshold" in given:
        changes |= {"positive_threshold": given["threshold"], "negative_threshold": given["threshold"]}
    if "timing" in given:
        changes["timing"] = given["timing"]
    between = UpsampleSettings(method=given.get("slow_motion", "dis"))
    return EventFrameSettings(**common, pixel=preset(given.get("preset", "clean"), **changes), slow_motion=between)


def _told(made: PreparedFrames, frames: int, empty: int | None) -> dict[str, Any]:
    from neuroemo.datasets.prepared_store import manifest_path

    manifest = made.manifest
    return {
        "ok": True,
        "output": str(made.path),
        "manifest": str(manifest_path(made.path)),
        "dataset": manifest.dataset,
        "clips": len(manifest.clips),
        "frames": frames,
        "empty_frames": empty,
        "events_left_out": sum(row.left_out for row in manifest.clips),
        "classes": list(manifest.classes),
        "values": list(manifest.value_names),
        "bytes": made.path.stat().st_size,
        "resumed": made.resumed,
        "reused": made.reused,
        "skipped": [{"name": row.name, "findings": list(row.findings)} for row in manifest.skipped],
        "settings": dict(manifest.settings),
        "versions": dict(manifest.versions),
    }


def _text(made: PreparedFrames, result: dict[str, Any]) -> str:
    if made.reused:
        kept = "; it was already there, of these very files, and was left as it is"
    else:
        kept = f"; {made.resumed} clip(s) from an earlier run" if made.resumed else ""
    count, clips = result["frames"], result["clips"]
    lines = [f"{made.path}: {count} event frame(s) of {clips} clip(s), {result['bytes'] / 1e6:.1f} MB{kept}"]
    if result["empty_frames"]:
        lines.append(f"{result['empty_frames']} frame(s) ({result['empty_frames'] / count:.1%}) hold no event")
    lines.append(f"labels: {_labels(made.manifest)}")
    lines += [f"skipped {row['name']}: {'; '.join(row['findings'])}" for row in result["skipped"]]
    return "\n".join(lines)


def _labels(manifest: FrameManifest) -> str:
    told = [f"{len(manifest.classes)} classes"] if manifest.classes else []
    told += [" and ".join(manifest.value_names)] if manifest.value_names else []
    folds = {row.fold for row in manifest.clips if row.fold is not None}
    told += [f"{max(folds) + 1} folds by subject"] if folds else []
    return ", ".join(told) or "none"


def check_frames(args: Namespace, console: Console) -> int:
    """Compare a store of event frames with its checksums."""
    from neuroemo.datasets.event_frame_check import check_event_frames

    with console.progress("check") as progress:
        manifest = check_event_frames(args.store, progress=lambda done, total: progress(done, total, ""))
    frames = sum(row.frames for row in manifest.clips)
    result = {
        "ok": True,
        "store": str(args.store),
        "kind": "event frames",
        "clips": len(manifest.clips),
        "frames": frames,
        "bytes": args.store.stat().st_size,
        "manifest": True,
        "dataset": manifest.dataset,
        "skipped": [row.name for row in manifest.skipped],
        "versions": dict(manifest.versions),
    }
    text = (
        f"{args.store}: sound, {frames} event frame(s) of {len(manifest.clips)} clip(s) compared with their checksums"
    )
    console.show(result, text)
    return 0
