"""The verb ``neuroemo data``: prepare a data set once into a store, and check a store."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console

if TYPE_CHECKING:
    from neuroemo.datasets.clip_settings import ClipSettings
    from neuroemo.datasets.prepare import Prepared


def prepare(args: Namespace, console: Console) -> int:
    """Convert a data set into a store."""
    from neuroemo.datasets.catalogue import list_dataset, read_options
    from neuroemo.datasets.prepare import prepare_clips
    from neuroemo.datasets.store import ClipStore

    settings = clip_settings(args)
    _check_workers(args)
    started = time.monotonic()
    with console.progress(f"list {args.name}") as listing:
        listed = list_dataset(
            args.name,
            args.root,
            settings,
            read_options(args.option),
            fold=args.fold,
            skip_broken=args.skip_broken,
            workers=args.workers or 2,
            progress=lambda done, total: listing(done, total, ""),
        )
    for finding in listed.findings:
        console.say(f"neuroemo: {finding}")
    with console.progress(f"prepare {args.name}") as progress:
        made = prepare_clips(
            listed,
            args.out,
            settings,
            skip_broken=args.skip_broken,
            workers=args.workers or 2,
            scheduler=args.scheduler,
            force=args.force,
            progress=lambda done, total: progress(done, total, ""),
        )
    with ClipStore.open(made.path) as store:
        density = store.density()
    result = _told(made) | {
        "density": {"per_channel": density.per_channel, "any_polarity": density.any_polarity},
        "seconds": round(time.monotonic() - started, 3),
        "findings": [finding.to_dict() for finding in listed.findings],
    }
    console.show(result, _text(made, result))
    return 0


def _told(made: Prepared) -> dict[str, Any]:
    from neuroemo.datasets.prepared_store import manifest_path

    manifest = made.manifest
    return {
        "ok": True,
        "output": str(made.path),
        "manifest": str(manifest_path(made.path)),
        "dataset": manifest.dataset,
        "clips": len(manifest.clips),
        "classes": list(manifest.classes),
        "bytes": made.path.stat().st_size,
        "resumed": made.resumed,
        "reused": made.reused,
        "skipped": [{"name": row.name, "findings": list(row.findings)} for row in manifest.skipped],
        "settings": dict(manifest.settings),
        "versions": dict(manifest.versions),
    }


def _text(made: Prepared, result: dict[str, Any]) -> str:
    megabytes = result["bytes"] / 1e6
    if made.reused:
        kept = "; it was already there, of these very files, and was left as it is"
    else:
        kept = f"; {made.resumed} of them from an earlier run" if made.resumed else ""
    lines = [f"{made.path}: {result['clips']} clip(s), {megabytes:.1f} MB{kept}"]
    lines.append(
        f"{result['density']['per_channel']:.2%} of positions carry an event "
        f"({result['density']['any_polarity']:.2%} of pixels)"
    )
    for row in result["skipped"]:
        lines.append(f"skipped {row['name']}: {'; '.join(row['findings'])}")
    return "\n".join([*lines, f"next: neuroemo train --data {made.path} -o runs/mine"])


def clip_settings(args: Namespace) -> ClipSettings:
    """Return the settings of the chosen model; raises ``InputError`` for an option of another model.

    Options that were not given are None and take the model's default.
    """
    from neuroemo.datasets.clip_settings import PixelClipSettings, RecordedClipSettings
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.events.pixel.settings import preset

    own = {"framediff": ("sens", "first_frame"), "pixel": ("preset", "noise_seed", "first_frame")}
    allowed = (*own.get(args.model, ("step_us", "sensor")),)
    given = {
        name: getattr(args, name)
        for name in ("sens", "first_frame", "preset", "noise_seed", "step_us", "sensor")
        if getattr(args, name) is not None
    }
    findings = [
        Finding("E869", "error", f"--{name.replace('_', '-')}", f"means nothing with --model {args.model}")
        for name in given
        if name not in allowed
    ]
    if args.model == "recorded" and "step_us" not in given:
        fix = "give the length of one step, e.g. --step-us 20000"
        findings.append(Finding("E869", "error", "--step-us", "is missing with --model recorded", fix=fix))
    if findings:
        raise InputError(findings)
    shape: dict[str, Any] = {"size": args.size, "steps": args.steps}
    if args.model == "framediff":
        return FrameDiffSettings(**shape, **given)
    if args.model == "recorded":
        return RecordedClipSettings(**shape, **given)
    seed = given.pop("noise_seed", 0)
    camera = preset(given.pop("preset", "clean"), seed=seed)
    return PixelClipSettings(**shape, **given, pixel=camera)


def _check_workers(args: Namespace) -> None:
    if args.scheduler is not None and args.workers is not None:
        fix = "the cluster has its own workers; leave --workers out"
        raise InputError(Finding("E869", "error", "--workers", "means nothing with --scheduler", fix=fix))


def check(args: Namespace, console: Console) -> int:
    """Compare a store with its checksums."""
    from neuroemo.datasets.prepared_store import check_store

    with console.progress("check") as progress:
        checked = check_store(args.store, progress=lambda done, total: progress(done, total, ""))
    manifest = checked.manifest
    result = {
        "ok": True,
        "store": str(args.store),
        "clips": checked.clips,
        "bytes": checked.bytes,
        "manifest": manifest is not None,
        "dataset": None if manifest is None else manifest.dataset,
        "skipped": [] if manifest is None else [row.name for row in manifest.skipped],
        "versions": {} if manifest is None else dict(manifest.versions),
    }
    against = "their checksums" if manifest is not None else "the file's own checksums; it has no manifest"
    console.show(result, f"{args.store}: sound, {checked.clips} clip(s) compared with {against}")
    return 0
