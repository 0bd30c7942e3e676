"""The emotions of Table 5: each network of the two chosen families names every video, folds and seeds side by side.

Every run answers all test videos on its own. The mean accuracy over runs comes with two intervals: Wilson's on the
number of videos, as if one network had that accuracy, and a bootstrap that draws persons and runs
(``table1_statistics``), since the videos of one person are alike and all runs see the same videos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neuroemo.reproduce import affect_paper as paper
from neuroemo.reproduce.affect_run import AffectJob, EmotionJob
from neuroemo.reproduce.table1_statistics import Bootstrap, groups_of, spread
from neuroemo.training.metrics import wilson_interval

if TYPE_CHECKING:
    from neuroemo.datasets.event_frames import EventFrames
    from neuroemo.reproduce.affect_data import AffectData
    from neuroemo.reproduce.affect_settings import AffectTableSettings

KEPT = ("accuracy", "correct", "clips", "interval_95", "confusion", "per_class", "prototypes")


def plan_emotions(jobs: list[AffectJob], networks: dict[str, str], data: AffectData) -> list[EmotionJob]:
    """Return the work of telling emotions: by every run of the chosen networks."""
    store = data.emotions
    if store is None:
        raise ValueError("no videos whose emotions could be told")
    return [
        EmotionJob(
            run=job.name,
            folder=job.folder,
            store=str(store.path.resolve()),
            fingerprint=store.fingerprint(),
            test=data.emotions_test,
            stop=job.stop,
        )
        for job in jobs
        if job.model in networks.values()
    ]


def assemble_emotions(
    settings: AffectTableSettings,
    data: AffectData,
    networks: dict[str, str],
    jobs: list[AffectJob],
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    """Return what Table 5 says of emotions; ``records`` are those of ``plan_emotions``, in its order."""
    told = [job for job in jobs if job.model in networks.values()]
    by_network: dict[str, list[tuple[AffectJob, dict[str, Any]]]] = {}
    for job, record in zip(told, records, strict=True):
        by_network.setdefault(job.model, []).append((job, record["emotions"]))
    first = records[0]["emotions"]
    store = data.emotions
    if store is None:
        raise ValueError("no videos whose emotions were told")
    transfer = settings.nefer_root is not None or settings.nefer_data is not None
    return {
        "name": "NEFER" if transfer else settings.data,
        "transfer": transfer,
        "comparable": transfer and settings.data == "afew-va" and not settings.quick,
        "trained_on": settings.data,
        "test": data.emotions_test,
        "emotions": first["emotions"],
        "chance": first["chance"],
        "largest_class": first["largest_class"],
        "videos": {"train": sum(one["videos"] for one in first["prototypes"]), "test": first["clips"]},
        "left_out": first["left_out"],
        "fingerprint": store.fingerprint(),
        "event_frames": store.settings.to_dict(),
        "rows": [_row(family, name, by_network[name], store) for family, name in networks.items()],
    }


def _row(family: str, name: str, runs: list[tuple[AffectJob, dict[str, Any]]], store: EventFrames) -> dict[str, Any]:
    right = np.array([[row["answer"] == row["truth"] for row in told["answers"]] for _, told in runs])
    subjects = dict(zip(store.clip_names, groups_of(store.subjects, store.clip_names), strict=True))
    people = tuple(subjects[row["video"]] for row in runs[0][1]["answers"])
    shares = [told["accuracy"] for _, told in runs]
    mean, clips = float(np.mean(shares)), runs[0][1]["clips"]
    drawn = Bootstrap(people, len(runs)).interval(right) if len(set(people)) > 1 else None
    return {
        "family": family,
        "network": name,
        "title": paper.TITLES[name],
        "printed_percent": paper.ZERO_SHOT[family],
        "printed_network": paper.TITLES[paper.ZERO_SHOT_NETWORK[family]],
        "mean": mean,
        "sd": spread(shares),
        "wilson_95": list(wilson_interval(mean * clips, clips)),  # type: ignore[arg-type]
        "interval_95": None if drawn is None else list(drawn),
        "runs": [
            {"fold": job.fold, "seed": job.settings["seed"]} | {key: told[key] for key in KEPT} for job, told in runs
        ],
    }


def emotion_notes(told: dict[str, Any]) -> list[str]:
    """Return the sentences that belong under the accuracies."""
    lines = []
    if not told["transfer"]:
        classes = " and ".join(told["emotions"])
        lines.append(
            f"No NEFER was given. The classes of the faces themselves ({classes}) stand in for emotions, with "
            "prototypes from the training clips and answers to the test clips: this shows that the way works, nothing "
            "is transferred, and no figure of it compares with the paper's."
        )
    elif told["trained_on"] != "afew-va":
        lines.append("The networks were not trained on AFEW-VA, so the accuracies do not compare with the paper's.")
    unclear = [row["title"] for row in told["rows"] if row["wilson_95"][0] <= told["chance"]]
    if unclear:
        lines.append(
            f"Not shown to be better than chance ({100 * told['chance']:.1f} per cent): {', '.join(unclear)}; the "
            "Wilson interval holds it."
        )
    lines += [
        f"The paper's {row['family']}-based network is {row['printed_network']}; of those trained here "
        f"{row['title']} has the highest validation CCC."
        for row in told["rows"]
        if row["title"] != row["printed_network"]
    ]
    if told["left_out"]:
        lines.append(f"{told['left_out']} test videos whose label is no emotion are left out.")
    return lines
