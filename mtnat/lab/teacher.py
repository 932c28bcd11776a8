"""The stage before the trials: a teacher is trained or fetched, and all workers translate the training text."""

import os
from collections.abc import Callable
from pathlib import Path

import ray
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mtnat.config import Record, replace
from mtnat.data import DataConfig
from mtnat.data.corpus import open_corpus
from mtnat.data.dataset import default_cache
from mtnat.decoding import DecodingConfig
from mtnat.errors import StudyError
from mtnat.evaluation.modality import Modality, modality
from mtnat.files import copy_whole, write_whole
from mtnat.lab.agenda import Result, Run, Trial
from mtnat.lab.cluster import workers_at_once
from mtnat.lab.folder import RESULT, StudyFolder
from mtnat.lab.interruption import Interruption
from mtnat.lab.models import fetch_model
from mtnat.lab.study import DISTILLED, TEACHER_NAME, Resources, Study, Teacher
from mtnat.training import Distillation, read_experiment, training_sources
from mtnat.training.fit import MODEL

MOST_RETRIES = 3
"""How often a worker whose process died is started again; the others do its shards meanwhile."""


class Distilled(Record):
    """What a teacher wrote: ``distillation.json`` in the study's folder."""

    teacher: str
    """The run that trained it, or where it was taken from."""
    valid: float | None
    """Its BLEU on the validation set; None of a model that was taken from elsewhere."""
    key: str
    """Hash of the teacher, of the text and of the search."""
    targets: str
    """Absolute path of the file that the students train on."""
    lines: int
    raw: Modality
    """How many ways there are to translate a word, in the corpus's own targets."""
    distilled: Modality
    """The same in what the teacher wrote."""


def described(settled: Distilled) -> str:
    """What distillation did, in a sentence."""
    valid = f" (valid BLEU {settled.valid:.2f})" if settled.valid is not None else ""
    changes = [
        f"{name} {before:.3f} → {after:.3f}"
        for name, before, after in (
            ("conditional entropy of a target word", settled.raw.conditional_entropy, settled.distilled.conditional_entropy),
            ("target words a source word", settled.raw.length_ratio, settled.distilled.length_ratio),
            ("their standard deviation", settled.raw.length_deviation, settled.distilled.length_deviation),
        )
    ]
    return f"Trained on what {settled.teacher}{valid} made of {settled.lines:,} training sources: {', '.join(changes)}."


def distilled(study: Study, settled: Distilled) -> Study:
    """The study with its trials trained on what the teacher wrote."""
    return study.model_copy(update={"experiment": replace(study.experiment, {DISTILLED: settled.targets})})


def teacher_trial(study: Study, teacher: Teacher) -> Trial:
    """The trial that trains the teacher: one of the study's baselines, where it is equal to it."""
    experiment = replace(study.experiment, teacher.settings)
    if experiment.decoder != "at":  # of a multi-task teacher, too, the AT decoder writes the text, so that one is validated
        experiment = replace(experiment, {"decoding.decoder": "at"})
    for name, settings in study.baselines.items():
        # The others' targets are not written yet, so only those that stay raw can be equal.
        if DISTILLED in settings and replace(study.experiment, settings) == experiment:
            return Trial(name, "baseline", settings, experiment)
    return Trial(TEACHER_NAME, "baseline", teacher.settings, experiment)


def distil(
    study: Study,
    folder: StudyFolder,
    console: Console,
    interruption: Interruption,
    tracking_uri: str,
    train: Callable[[Study], dict[str, Result]],
) -> Distilled:
    """Has the training text translated, or finds out that it is, and takes down what came of it.

    Args:
        train: carries a study out and returns what came of its runs, by id.

    Raises:
        StudyError: the teacher could not be trained, or its work failed.
        ModelError: the model that should teach cannot.
    """
    if folder.distillation.exists():
        settled = Distilled.model_validate_json(folder.distillation.read_bytes())
        if not Path(settled.targets).exists():
            raise StudyError(
                f"{settled.targets}: is gone, or the study's folder was moved; put it back, or remove {folder.distillation}."
            )
        return settled
    assert study.teacher is not None
    name, model, valid = _teacher(study, study.teacher, folder, tracking_uri, train)
    overrides = {setting: getattr(study.teacher, setting) for setting in ("beam", "length_penalty", "precision")}
    decoding = replace(read_experiment(model).decoding, overrides)
    work = Distillation(model, training_sources(study.experiment.data), decoding)
    _distil_on_all_workers(model, study.experiment.data, decoding, work, study.resources, console, interruption)
    targets = folder.path / _file_name(study.experiment.data)
    copy_whole(work.targets, targets)
    settled = _settled(study.experiment.data, name, valid, work.key, targets)
    write_whole(folder.distillation, settled.model_dump_json(indent=1).encode())
    return settled


def _teacher(
    study: Study, teacher: Teacher, folder: StudyFolder, tracking_uri: str, train: Callable[[Study], dict[str, Result]]
) -> tuple[str, Path, float | None]:
    """Its name, its model's folder, and its validation BLEU."""
    if teacher.model:
        is_address = teacher.model.startswith(("runs:/", "models:/"))
        fetched = fetch_model(teacher.model, folder.path / "teacher", tracking_uri) if is_address else Path(teacher.model)
        return teacher.model, fetched.absolute(), None
    trial = teacher_trial(study, teacher)
    known = folder.results().get(Run(trial=trial.name, kind=trial.kind, phase="search", experiment=trial.experiment).id)
    if known and known.valid is None:  # without a teacher nothing can be done, so a resumed study tries again
        (folder.run(known.run) / RESULT).unlink()
    alone = study.model_copy(
        update={"baselines": {trial.name: trial.settings}, "search": {}, "trials": 0, "confirm": None, "teacher": None}
    )
    result = next(iter(train(alone).values()))
    if result.valid is None:
        raise StudyError(
            f"teacher: could not be trained ({result.failed}); run again with --resume, or mend teacher.settings "
            "and begin anew in another folder."
        )
    return result.run, folder.run(result.run) / MODEL, result.valid


def _distil_on_all_workers(
    teacher: Path,
    data: DataConfig,
    decoding: DecodingConfig,
    work: Distillation,
    resources: Resources,
    console: Console,
    interruption: Interruption,
) -> None:
    """As many workers as the cluster holds share the text; each takes what nobody else is at."""
    workers = min(work.shards, workers_at_once(resources, ray.cluster_resources()))  # type: ignore[no-untyped-call]
    console.print(f"teacher: translates {work.shards} shards of the training text on {workers} workers", highlight=False)
    task = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker, max_retries=MOST_RETRIES)(_work)
    cache = str(default_cache().absolute())
    pending = [task.remote(teacher, data, decoding, resources, cache) for _ in range(workers)]
    columns = (TextColumn("teacher"), BarColumn(), MofNCompleteColumn(), TextColumn("shards"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("distilling", total=work.shards)
        try:
            while pending:
                ended, pending = ray.wait(pending, timeout=0.5)
                interruption.check()
                ray.get(ended)
                bar.update(shown, completed=work.done)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error.cause if isinstance(error, ray.exceptions.RayTaskError) else error).split())[:300]
            raise StudyError(
                f"teacher: its translation of the training text failed ({reason}); run again with --resume."
            ) from None
        finally:
            for one in pending:
                ray.cancel(one, force=True)


def _work(teacher: Path, data: DataConfig, decoding: DecodingConfig, resources: Resources, cache: str) -> None:
    """One worker, in a process of its own."""
    os.environ["MTNAT_CACHE"] = cache
    torch.set_num_threads(resources.cpus_per_worker)
    device = "cuda" if resources.gpus_per_worker else "cpu"
    for _ in Distillation(teacher, training_sources(data), decoding).work(device):
        pass


def _file_name(data: DataConfig) -> str:
    return f"distilled.{data.languages[1]}.gz" if data.languages else "distilled.gz"


def _settled(data: DataConfig, teacher: str, valid: float | None, key: str, targets: Path) -> Distilled:
    return Distilled(
        teacher=teacher,
        valid=valid,
        key=key,
        targets=str(targets),
        lines=training_sources(data).lines,
        raw=_modality(data),
        distilled=_modality(data.model_copy(update={"distilled": str(targets)})),
    )


def _modality(data: DataConfig) -> Modality:
    corpus = open_corpus(data, default_cache())
    return modality((source for source, _ in corpus.pairs("train")), (target for _, target in corpus.pairs("train")))
