"""report.json of a table of valence and arousal: every run, every row, the constant answer, and what was published.

Everything but ``times`` and ``versions`` is decided by the command and the data.
docs/affect-table-report.schema.json is its JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from neuroemo.affect.metrics import METRICS, OUTPUTS, scores
from neuroemo.datasets.afew_va import CLIPS
from neuroemo.reproduce import affect_paper as paper
from neuroemo.reproduce.affect_run import AffectJob, split_of
from neuroemo.reproduce.affect_statistics import METHOD, Pooled, over_runs, paired_rmse
from neuroemo.reproduce.table1_document import verdict
from neuroemo.reproduce.table1_statistics import groups_of

if TYPE_CHECKING:
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.reproduce.affect_data import AffectData
    from neuroemo.reproduce.affect_settings import AffectTableSettings

SCHEMA = 1
KIND = "affect-table"
FEW_SUBJECTS = 10
Report = dict[str, Any]
Runs = list[tuple[AffectJob, dict[str, Any]]]


def assemble(
    settings: AffectTableSettings, data: AffectData, runs: Runs, emotions: dict[str, Any] | None = None
) -> Report:
    """Return the report of finished runs; ``emotions`` is ``affect_emotions.assemble_emotions`` (Table 5)."""
    from importlib.metadata import version

    stores = {store.settings.n_bits: store for store in data.stores()}
    pooled = {
        (name, bits): pool(_of(runs, name, bits), store) for bits, store in stores.items() for name in settings.rows
    }
    rows = [_row(name, bits, _of(runs, name, bits), pooled[name, bits], stores[bits]) for name, bits in pooled]
    shared = {key: value for key, value in runs[0][0].settings.items() if key != "seed"}
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "table": settings.table,
        "title": paper.CAPTIONS[settings.table],
        "tool": {"name": "neuroemo", "version": version("neuroemo")},
        "command": settings.command,
        "paper": {"title": paper.TITLE, "data": "AFEW-VA", "bits": 8},
        "data": _data(settings, data),
        "settings": shared,
        "folds": [fold for fold in data.folds(settings) if fold is not None],
        "seeds": list(range(settings.seeds)),
        "method": METHOD,
        "drawn": "subjects" if all(data.first.subjects) else "clips",
        "rows": rows,
        "chosen": chosen(rows) if settings.table in ("affect-table3", "affect-table5") else None,
        "differences": _differences(settings, stores, pooled),
        "published": _published(settings.table),
        "emotions": emotions,
        "notes": notes(settings, data, rows),
        "versions": [dict(told) for told in sorted({tuple(sorted(one["versions"].items())) for _, one in runs})],
        "times": {job.name: one["seconds"] for job, one in runs},
    }


def _of(runs: Runs, name: str, bits: int) -> Runs:
    return [(job, one) for job, one in runs if (job.model, job.spec["n_bits"]) == (name, bits)]


def pool(runs: Runs, store: EventFrames) -> Pooled:
    """Join the answers of all folds, seed by seed, in the order of the folds."""
    folds = list(dict.fromkeys(job.fold for job, _ in runs))
    seeds = sorted({job.settings["seed"] for job, _ in runs})
    found = {(job.fold, job.settings["seed"]): one for job, one in runs}
    tests = {fold: split_of(store, fold)["test"] for fold in folds}
    frames = np.concatenate([tests[fold] for fold in folds])
    who = groups_of(store.subjects, store.clip_names)
    return Pooled(
        truth=np.asarray(store.affect(frames), np.float64),
        predicted=np.array([np.concatenate([found[fold, seed]["predicted"] for fold in folds]) for seed in seeds]),
        constant=np.concatenate(
            [np.tile(found[fold, seeds[0]]["train_mean"], (len(tests[fold]), 1)) for fold in folds]
        ),
        subjects=tuple(who[int(clip)] for clip in np.asarray(store.clip)[frames]),
    )


def _row(name: str, bits: int, runs: Runs, pooled: Pooled, store: EventFrames) -> Report:
    told = [_run(job, one, store) for job, one in runs]
    spread, whole = over_runs([run["scores"] for run in told]), pooled.scores()
    printed = _printed(name, bits)
    first = runs[0][1]
    return {
        "network": name,
        "title": paper.TITLES[name],
        "family": "frame" if name in paper.FRAME_BASED else "video",
        "bits": bits,
        "parameters": first["parameters"],
        "trained_parameters": first["trained_parameters"],
        "initialisation": first["initialisation"],
        "spec": runs[0][0].spec,
        "validation_ccc": float(np.mean([one["validation"]["ccc"] for _, one in runs])),
        "outputs": {
            output: {"printed": printed and printed[output], "pooled": whole[output], "over_runs": spread[output]}
            for output in OUTPUTS
        },
        "runs": told,
    }


def _run(job: AffectJob, record: dict[str, Any], store: EventFrames) -> Report:
    frames = split_of(store, job.fold)["test"]
    predicted, mean = np.array(record["predicted"], np.float64), record["train_mean"]
    told = scores(store.affect(frames), predicted, constant=mean)
    kept = {key: record[key] for key in ("best_epoch", "epochs", "validation", "train_mean")}
    of_constant = {output: {name: told[output]["constant"][name] for name in ("rmse", "sagr")} for output in OUTPUTS}
    return (
        {"fold": job.fold, "seed": job.settings["seed"], "frames": len(frames)}
        | kept
        | {
            "scores": {output: {name: told[output][name] for name in METRICS} for output in OUTPUTS},
            "zero_targets": {output: told[output]["zero_targets"] for output in OUTPUTS},
            "constant": of_constant,
        }
    )


def _printed(name: str, bits: int) -> dict[str, Any] | None:
    """Return what the paper prints of a network by output, None where it prints nothing."""
    row = paper.REGRESSION.get(name) if bits == 8 else paper.BITS.get(name, {}).get(bits)
    return None if row is None else {output: asdict(row[output]) for output in OUTPUTS}


def validated(settings: AffectTableSettings, runs: Runs) -> list[Report]:
    """Return what ``chosen`` reads of each network, before anything is scored on test frames."""
    return [
        {
            "network": name,
            "family": "frame" if name in paper.FRAME_BASED else "video",
            "validation_ccc": float(np.mean([one["validation"]["ccc"] for job, one in runs if job.model == name])),
        }
        for name in settings.rows
    ]


def chosen(rows: Iterable[Report]) -> dict[str, str]:
    """Return the frame-based and the video-based network with the highest mean validation CCC; the first of equals."""
    best: dict[str, Report] = {}
    for row in rows:
        known = best.get(row["family"])
        if known is None or row["validation_ccc"] > known["validation_ccc"]:
            best[row["family"]] = row
    return {family: str(best[family]["network"]) for family in ("frame", "video") if family in best}


def _differences(
    settings: AffectTableSettings, stores: dict[int, EventFrames], pooled: dict[tuple[str, int], Pooled]
) -> list[Report] | None:
    """Return, for each network, the RMSE with more bits less that with fewer, beside the paper's (Table 4)."""
    if settings.table != "affect-table4":
        return None
    few, many = sorted(stores)
    rows = []
    for name in settings.rows:
        ours = paired_rmse(pooled[name, many], pooled[name, few])
        if ours is None:
            continue
        rows.append({"network": name, "title": paper.TITLES[name], "bits": [few, many], "outputs": {
            output: ours[output] | _beside(name, output, ours[output]["interval_95"]) for output in OUTPUTS
        }})  # fmt: skip
    return rows


def _beside(name: str, output: str, ends: list[float] | None) -> Report:
    """Return the paper's difference and whether ours has its sign."""
    row = paper.BITS.get(name)
    if row is None:
        return {"printed": None, "verdict": None}
    printed = round(row[16][output].rmse - row[8][output].rmse, 3)
    return {"printed": printed, "verdict": None if ends is None else verdict(printed, ends)}


def _published(table: str) -> list[Report]:
    """Return the printed rows that are never computed here, in the order of the table."""
    if table == "affect-table5":
        rows = [
            {"title": name, "modality": name.split(",")[0], "accuracy": value} for name, value in paper.ACCURACY.items()
        ]
        titles = {"frame": "Ours (Frame)", "video": "Ours (Video)"}
        return rows + [
            {"title": f"the paper's {titles[family]}", "modality": "Events", "accuracy": value}
            for family, value in paper.ZERO_SHOT.items()
        ]
    if table == "affect-table3":
        named = [(name, "RGB", row) for name, row in paper.RGB.items()]
        named += [(f"the paper's best {family}-based", "Events", row) for family, row in paper.BEST.items()]
        return [_published_row(title, modality, row) for title, modality, row in named]
    if table == "affect-table4":
        return [
            _published_row(f"{paper.TITLES[name]}, {bits} bits", "Events", row)
            for bits in (8, 16)
            for name, of_bits in paper.BITS.items()
            for row in [of_bits[bits]]
        ]
    networks = paper.FRAME_BASED if table == "affect-table1" else paper.VIDEO_BASED
    return [_published_row(paper.TITLES[name], "Events", paper.REGRESSION[name]) for name in networks]


def _published_row(title: str, modality: str, row: paper.Row) -> Report:
    return {"title": title, "modality": modality, "outputs": {output: asdict(row[output]) for output in OUTPUTS}}


def _data(settings: AffectTableSettings, data: AffectData) -> Report:
    """Return what the report says about the event frames."""
    first = data.first
    return {
        "name": settings.data,
        "comparable": settings.data == "afew-va" and not settings.quick,
        "synthetic": settings.data == "faces",
        "clips": len(first.clip_names),
        "subjects": len(set(first.subjects)) if all(first.subjects) else None,
        "size": first.settings.size,
        "stores": [
            {
                "bits": store.settings.n_bits,
                "slice_us": store.settings.slice_us,
                "frames": len(store),
                "fingerprint": store.fingerprint(),
                "event_frames": store.settings.to_dict(),
            }
            for store in data.stores()
        ],
        "warnings": list(first.manifest().warnings),
    }


def notes(settings: AffectTableSettings, data: AffectData, rows: list[Report]) -> list[str]:
    """Return the sentences that belong under every form of the table: ours first, then the paper's contradictions."""
    told = [paper.bound_note()] if settings.table != "affect-table5" else []
    told += _setting_notes(settings, data)
    told += [*_constant_notes(rows), *_people_notes(settings, data), *_random_notes(rows), *_zero_notes(rows)]
    return told + list(paper.NOTES[settings.table])


def _setting_notes(settings: AffectTableSettings, data: AffectData) -> list[str]:
    """Say in what AFEW-VA is used otherwise than by the paper, so that its columns are not read as a comparison."""
    if settings.data != "afew-va":
        return []
    store, chosen_folds = data.first, [str(fold) for fold in data.folds(settings)]
    every = int(store.folds.max()) + 1
    other = []
    if len(store.clip_names) != CLIPS:
        other.append(f"{len(store.clip_names)} clips of {CLIPS}")
    if store.settings.size != paper.PIXELS:
        other.append(f"frames of {store.settings.size} pixels and not {paper.PIXELS}")
    if len(chosen_folds) != every:
        other.append(f"test folds {', '.join(chosen_folds)} and not all {every}")
    if settings.quick:
        other.append("--quick")
    return [f"Not the paper's setting, so its figures do not compare: {', '.join(other)}."] if other else []


def _constant_notes(rows: list[Report]) -> list[str]:
    """Name the networks that are not shown to be better than the mean of the training frames."""
    found = []
    for row in rows:
        weak = []
        for output in OUTPUTS:
            ends = row["outputs"][output]["pooled"]["rmse_gain"]["interval_95"]
            if ends is None or ends[0] <= 0:
                weak.append(output)
        if weak:
            found.append(f"{row['title']} with {row['bits']} bits ({' and '.join(weak)})")
    if not found:
        return []
    return [f"Not shown to have a lower RMSE than the mean of the training frames: {'; '.join(found)}."]


def _people_notes(settings: AffectTableSettings, data: AffectData) -> list[str]:
    told = []
    store = data.first
    for fold in data.folds(settings):
        people = {
            part: {store.subjects[int(c)] for c in np.unique(store.clip[at])}
            for part, at in split_of(store, fold).items()
        }
        both = (people["test"] & (people["train"] | people["val"])) - {""}
        place = "" if fold is None else f" of fold {fold}"
        if both:
            told.append(f"{len(both)} test subjects{place} are trained on too: the scores are not subject-independent.")
    if not all(store.subjects):
        told.append(
            "The subjects are not known: clips are drawn for the intervals, and one person may be on both sides."
        )
    tested = {
        store.subjects[int(c)]
        for fold in data.folds(settings)
        for c in np.unique(store.clip[split_of(store, fold)["test"]])
    }
    if len(tested) < FEW_SUBJECTS and all(store.subjects):
        told.append(f"Few test subjects ({len(tested)}): the intervals are too narrow, and with one there are none.")
    if settings.data == "faces":
        told.append(
            "The faces are synthetic: the link from label to face is ours, so these scores say nothing about reading "
            "people, and nothing about AFEW-VA or NEFER."
        )
    if settings.seeds == 1 and len(data.folds(settings)) == 1:
        told.append("One training per network: no interval says anything about another training.")
    return told


def _random_notes(rows: list[Report]) -> list[str]:
    """Say which networks with a ResNet18 began at random, where the paper begins with ImageNet weights."""
    began = [row["title"] for row in rows if row["network"].startswith("resnet") and row["initialisation"] == "random"]
    if not began:
        return []
    names = ", ".join(dict.fromkeys(began))
    return [f"Began with random weights, where the paper has a ResNet18 trained on ImageNet: {names}."]


def _zero_notes(rows: list[Report]) -> list[str]:
    """Say how SAGR is counted here, and for how many frames that matters."""
    zeros = {output: sum(run["zero_targets"][output] for run in rows[0]["runs"]) for output in reversed(OUTPUTS)}
    frames = sum(run["frames"] for run in rows[0]["runs"])
    counted = " and ".join(f"{count:,} in {output}" for output, count in zeros.items())
    return [f"SAGR here: frames whose target is exactly 0 have no sign and are left out ({counted}, of {frames:,})."]
