"""Tables 1 to 5 of the second paper, one command each: frames, networks over folds and seeds, report, resumable.

All five share OUT: stores of event frames in OUT/data, a folder per training in OUT/runs, and a report of their own in
OUT/affect-tableN. A finished run is never trained again by any of them; a killed one goes on after its last save.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.storage import file_hash
from hw_targets.finding import Finding, InputError
from neuroemo.reproduce.affect_data import AffectData, open_table_data
from neuroemo.reproduce.affect_document import assemble, chosen, validated
from neuroemo.reproduce.affect_emotions import assemble_emotions, plan_emotions
from neuroemo.reproduce.affect_run import AffectJob, plan_run
from neuroemo.reproduce.affect_settings import AffectTableSettings, spec_of
from neuroemo.reproduce.affect_work import do_all
from neuroemo.reproduce.table1 import own_folder

if TYPE_CHECKING:
    from neuroemo.console import Console


def reproduce_affect_table(settings: AffectTableSettings, console: Console) -> dict[str, Any]:
    """Do what is not done yet and return the report (``affect_document``), also written to OUT/affect-tableN.

    Raises:
        InputError: the data are not what they should be, a run failed (the others are finished first), or another
            process works in the folder.
        Interrupted: Ctrl-C; the same command continues.
    """
    from neuroemo.reproduce.affect_files import write_affect_table

    with own_folder(settings.out), closing(open_table_data(settings, console)) as data:
        jobs = plan(settings, data)
        records = do_all(jobs, settings.out, console, workers=settings.workers)
        runs = list(zip(jobs, records, strict=True))
        emotions = None
        if data.emotions is not None:
            networks = chosen(validated(settings, runs))
            telling = plan_emotions(jobs, networks, data)
            told = do_all(telling, settings.out, console, workers=settings.workers, title="tell emotions")
            emotions = assemble_emotions(settings, data, networks, jobs, told)
        report = assemble(settings, data, runs, emotions)
    write_affect_table(report, settings.folder)
    return report


def plan(settings: AffectTableSettings, data: AffectData) -> list[AffectJob]:
    """Return all runs, seed by seed and fold by fold, so that an unfinished table has whole columns.

    Raises:
        InputError: weights for a ResNet18 that no network has a place for, or that cannot be read.
    """
    specs = {
        (store.settings.n_bits, model): spec_of(model, store.settings.size, store.settings.n_bits)
        for store in data.stores()
        for model in settings.rows
    }
    backbone = _backbone(settings, any(spec.has_full_resnet for spec in specs.values()))
    return [
        plan_run(
            model,
            specs[store.settings.n_bits, model],
            settings.train_settings(seed),
            store,
            fold,
            settings.out,
            backbone,
        )
        for seed in range(settings.seeds)
        for store in data.stores()
        for fold in data.folds(settings)
        for model in settings.rows
    ]


def _backbone(settings: AffectTableSettings, wanted: bool) -> tuple[Path, str] | None:
    """Return the weights that every full ResNet18 starts from, as given or as torch's hub keeps them, and their hash.

    The file is a part of a run's identity: the same command beside other weights is another run.
    """
    from neuroemo.models.affect.imagenet import cached_weights, load_backbone
    from neuroemo.models.affect.resnet import ResNet18

    given = settings.backbone_weights
    if given is not None and not wanted:
        found, fix = "no network of the table has a ResNet18 of full width", "leave it out, or use --size 224"
        raise InputError(Finding("E970", "error", "--backbone-weights", found, fix=fix))
    path = given or cached_weights()
    if not wanted or (given is None and not path.is_file()):
        return None
    load_backbone(ResNet18(64, 3), path)
    return path, file_hash(path)
