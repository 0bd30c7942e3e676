"""The verb ``neuroemo data``: prepare a data set once into a store, and check a store."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hw_targets.finding import Finding, InputError
from neuroemo.console import Console

if TYPE_CHECKING:
    from neuroemo.datasets.catalogue import Listed
    from neuroemo.datasets.clip_settings import ClipSettings
    from neuroemo.datasets.prepare import Prepared

TRAIN_BATCH, TRAIN_EPOCHS = 8, 12
"""The defaults of ``neuroemo train``."""

LEAST_UPDATES = 60
"""Updates of the weights that were enough for the small network; after 12 layers were silent, after 24 nothing held."""


def prepare(args: Namespace, console: Console) -> int:
    """Convert a data set into a store."""
    from neuroemo.datasets.catalogue import list_dataset, read_options
    from neuroemo.datasets.clip_density import bit_warnings
    from neuroemo.datasets.clip_warnings import declared_rates, few_clips, rate_warnings, short_clips
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
        rates = declared_rates(listed.entries, lambda done, total: listing(done, total, "frame rates"))
    settings, chosen = _with_density(args, console, listed, settings)
    findings = [*listed.findings, *rate_warnings(rates, settings), *bit_warnings(settings)]
    for finding in findings:
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
    noticed = [*short_clips(made.manifest.clips, settings), *few_clips(made.manifest.clips)]
    for finding in noticed:
        console.say(f"neuroemo: {finding}")
    with ClipStore.open(made.path) as store:
        density = store.density()
    result = _told(made) | {
        "density": {"per_channel": density.per_channel, "any_polarity": density.any_polarity},
        **({} if chosen is None else {"chosen_sens": chosen}),
        "seconds": round(time.monotonic() - started, 3),
        "findings": [finding.to_dict() for finding in [*findings, *noticed]],
    }
    console.show(result, _text(made, result))
    return 0


def _with_density(
    args: Namespace, console: Console, listed: Listed, settings: ClipSettings
) -> tuple[ClipSettings, dict[str, Any] | None]:
    """Return the settings with the sensitivity that ``--density`` asks for, and what was chosen."""
    from neuroemo.datasets.clip_density import sens_of_data_set
    from neuroemo.events.framediff import FrameDiffSettings

    if args.density is None or not isinstance(settings, FrameDiffSettings):
        return settings, None
    with console.progress("weigh sensitivities") as progress:
        made = sens_of_data_set(
            listed,
            settings,
            args.density,
            workers=args.workers or 2,
            scheduler=args.scheduler,
            progress=lambda done, total: progress(done, total, ""),
        )
    chosen = made.told(args.density)
    return replace(settings, sens=made.choice.sens), chosen


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
    if "chosen_sens" in result:
        from neuroemo.datasets.clip_density import chosen_text

        lines.append(chosen_text(result["chosen_sens"]))
    lines.append(
        f"{result['density']['per_channel']:.2%} of positions carry an event "
        f"({result['density']['any_polarity']:.2%} of pixels)"
    )
    for row in result["skipped"]:
        lines.append(f"skipped {row['name']}: {'; '.join(row['findings'])}")
    size = result["settings"]["size"]
    model = f" --model 0.4snn@{size}" if size in (32, 48) else ""
    more = _more_epochs(sum(row.split == "train" for row in made.manifest.clips))
    return "\n".join([*lines, f"next: neuroemo train --data {made.path}{model}{more} -o runs/mine"])


def _more_epochs(clips: int) -> str:
    """Return the option that gives a small set as many updates of the weights as make all layers fire.

    >>> _more_epochs(36), _more_epochs(8)
    ('', ' --epochs 60')
    """
    batches = max(1, -(-clips // TRAIN_BATCH))
    epochs = -(-LEAST_UPDATES // batches)
    return f" --epochs {epochs}" if epochs > TRAIN_EPOCHS else ""


def clip_settings(args: Namespace) -> ClipSettings:
    """Return the settings of the chosen model; raises ``InputError`` for an option of another model.

    Options that were not given are None and take the model's default.
    """
    from neuroemo.datasets.clip_settings import PixelClipSettings, RecordedClipSettings
    from neuroemo.events.difference import smallest_sens
    from neuroemo.events.framediff import FrameDiffSettings
    from neuroemo.events.pixel.settings import preset
    from neuroemo.events.upsample import UpsampleSettings

    given = _own_options(args)
    shape: dict[str, Any] = {"size": args.size, "steps": args.steps}
    if args.model == "framediff":
        if given.pop("density", None) is not None:
            given["sens"] = smallest_sens(given.get("intensity", "linear"))  # until it is chosen
        return FrameDiffSettings(**shape, **given)
    if args.model == "recorded":
        return RecordedClipSettings(**shape, **given)
    seed = given.pop("noise_seed", 0)
    camera = preset(given.pop("preset", "clean"), seed=seed)
    between = UpsampleSettings(method=given.pop("slow_motion", "dis"))
    return PixelClipSettings(**shape, **given, pixel=camera, slow_motion=between)


OWN = {
    "framediff": ("sens", "density", "first_frame", "fps", "intensity", "reference", "events_per_step"),
    "pixel": ("preset", "noise_seed", "slow_motion", "first_frame", "fps"),
    "recorded": ("step_us", "sensor"),
}
"""The options of each model; ``--size`` and ``--steps`` belong to all."""


def given_options(args: Namespace, own: Mapping[str, Sequence[str]], model: str) -> dict[str, Any]:
    """Return the options that were given (are not None); raises ``InputError`` for one of another model."""
    given, findings = _given(args, own, model)
    if findings:
        raise InputError(findings)
    return given


def _given(args: Namespace, own: Mapping[str, Sequence[str]], model: str) -> tuple[dict[str, Any], list[Finding]]:
    every = dict.fromkeys(name for names in own.values() for name in names)
    given = {name: getattr(args, name) for name in every if getattr(args, name) is not None}
    findings = [
        Finding("E869", "error", f"--{name.replace('_', '-')}", f"means nothing with --model {model}")
        for name in given
        if name not in own[model]
    ]
    return given, findings


def _own_options(args: Namespace) -> dict[str, Any]:
    """Return the options given, if they are those of the model and fit each other."""
    given, findings = _given(args, OWN, args.model)
    if args.model == "recorded" and "step_us" not in given:
        fix = "give the length of one step, e.g. --step-us 20000"
        findings.append(Finding("E869", "error", "--step-us", "is missing with --model recorded", fix=fix))
    if "density" in given and not 0.0 < args.density <= 1.0:
        fix = "give a share of pixels, e.g. 0.1079"
        findings.append(Finding("E869", "error", "--density", repr(args.density), "above 0, at most 1", fix=fix))
    if "density" in given and "sens" in given:
        fix = "--density chooses it: leave one of them out"
        findings.append(Finding("E869", "error", "--sens", "means nothing with --density", fix=fix))
    if findings:
        raise InputError(findings)
    return given


def _check_workers(args: Namespace) -> None:
    if args.scheduler is not None and args.workers is not None:
        fix = "the cluster has its own workers; leave --workers out"
        raise InputError(Finding("E869", "error", "--workers", "means nothing with --scheduler", fix=fix))


def check(args: Namespace, console: Console) -> int:
    """Compare a store of clips, or of event frames, with its checksums."""
    from neuroemo.datasets.event_frame_file import is_event_frames
    from neuroemo.datasets.prepared_store import check_store

    if is_event_frames(args.store):
        from neuroemo.data_frames_verb import check_frames

        return check_frames(args, console)
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
