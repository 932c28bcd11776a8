"""Distillation before the trials: a teacher is trained or fetched, and all workers translate the training text."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mtnat.config import Record, replace
from mtnat.data import DataConfig
from mtnat.data.corpus import open_corpus
from mtnat.data.dataset import default_cache
from mtnat.errors import StudyError
from mtnat.evaluation.modality import Modality, modality
from mtnat.files import copy_whole, write_whole
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder, read_record
from mtnat.lab.outputs.runs import Result, Run, Trial
from mtnat.lab.study.record import DISTILLED, TEACHER_NAME, Study, Teacher
from mtnat.lab.study.resources import Resources
from mtnat.lab.tracking.models import fetch_model, is_address
from mtnat.training import Distillation, read_experiment, training_sources
from mtnat.training.fit import MODEL

MOST_RETRIES = 3
"""How often a worker whose process died is restarted; the other workers continue with its shards."""
MODALITY = ("conditional_entropy", "weighted_entropy", "length_ratio", "length_deviation")
"""The figures of `Modality` that are tracked for the corpus's targets and for the distilled ones."""


class DistilledText(Record):
    """The text that a teacher has written: ``distillation.json`` in the study's folder."""

    teacher: str
    """The run that trained the teacher, or its folder or address."""
    valid: float | None
    """The teacher's BLEU on the validation set; None for a model that was not trained here."""
    key: str
    """Hash of the teacher, the text and the settings of the search."""
    targets: str
    """Absolute path of the file with the training targets of the students."""
    lines: int
    raw: Modality
    """The modality of the corpus's own targets: how many translations a word has."""
    distilled: Modality
    """The modality of the teacher's text."""

    @property
    def summary(self) -> str:
        """The effect of distillation in one sentence."""
        valid = f" (valid BLEU {self.valid:.2f})" if self.valid is not None else ""
        changes = [
            f"{name} {before:.3f} → {after:.3f}"
            for name, before, after in (
                ("conditional entropy of a target word", self.raw.conditional_entropy, self.distilled.conditional_entropy),
                ("target words a source word", self.raw.length_ratio, self.distilled.length_ratio),
                ("their standard deviation", self.raw.length_deviation, self.distilled.length_deviation),
            )
        ]
        return f"Trained on what {self.teacher}{valid} made of {self.lines:,} training sources: {', '.join(changes)}."

    @property
    def figures(self) -> dict[str, float]:
        """The modality before and after distillation, as metrics."""
        return {
            f"distillation/{text}_{name}": getattr(getattr(self, text), name)
            for text in ("raw", "distilled")
            for name in MODALITY
        }


@dataclass(frozen=True)
class FinishedTeacher:
    """A model that can translate the training text."""

    name: str
    """The run that trained the teacher, or its folder or address."""
    model: Path
    """Absolute path of its folder."""
    valid: float | None
    """BLEU on the validation set; None if it was not trained here."""


def students(study: Study, text: DistilledText) -> Study:
    """Returns the study with the teacher's text as the training targets of its trials."""
    return study.model_copy(update={"experiment": replace(study.experiment, {DISTILLED: text.targets})})


def known_text(folder: StudyFolder) -> DistilledText | None:
    """Returns the text that a teacher has already written for this study; None if there is none.

    Raises:
        StudyError: the text was written, but its file is missing; or its record is damaged.
    """
    if not folder.distillation.exists():
        return None
    text = read_record(DistilledText, folder.distillation)
    if not Path(text.targets).exists():
        raise StudyError(
            f"{text.targets}: is gone, or the study's folder was moved; put it back, or remove {folder.distillation}."
        )
    return text


def fetched_teacher(model: str, folder: StudyFolder, tracking_uri: str) -> FinishedTeacher:
    """Returns a teacher that has been trained elsewhere.

    Raises:
        ModelError: MLflow does not have the model.
    """
    place = fetch_model(model, folder.path / "teacher", tracking_uri) if is_address(model) else Path(model)
    return FinishedTeacher(model, place.absolute(), valid=None)


def trained_teacher(
    study: Study, teacher: Teacher, folder: StudyFolder, train: Callable[[Study], dict[str, Result]]
) -> FinishedTeacher:
    """Returns the teacher of this study, and trains it if that has not been done.

    Args:
        train: runs a study and returns the results of its runs by id.

    Raises:
        StudyError: the teacher could not be trained.
    """
    trial = teacher_trial(study, teacher)
    run = Run(trial=trial.name, kind=trial.kind, phase="search", experiment=trial.experiment).id
    known = folder.results().get(run)
    if known and known.valid is None:  # nothing can go on without a teacher, so a resumed study tries again
        (folder.run(run) / RESULT_FILE).unlink()
    alone = {"baselines": {trial.name: trial.settings}, "search": {}, "trials": 0, "confirm": None, "teacher": None}
    result = train(study.model_copy(update=alone))[run]
    if result.valid is None:
        raise StudyError(
            f"teacher: could not be trained ({result.failed}); run again with --resume, or correct teacher.settings "
            "and start from the beginning in another folder."
        )
    return FinishedTeacher(run, folder.run(run) / MODEL, result.valid)


def teacher_trial(study: Study, teacher: Teacher) -> Trial:
    """Returns the trial that trains the teacher; it is one of the study's baselines if one is equal to it."""
    settings = dict(teacher.settings)
    if replace(study.experiment, settings).decoder != "at":  # a multi-task teacher translates with its AT decoder too
        settings["decoding.decoder"] = "at"
    experiment = replace(study.experiment, settings)
    for name, own in study.baselines.items():
        # All other baselines are trained on distilled targets, which do not exist yet.
        if DISTILLED in own and replace(study.experiment, own) == experiment:
            return Trial(name, "baseline", own, experiment)
    return Trial(TEACHER_NAME, "baseline", settings, experiment)


def keep_teacher(teacher: FinishedTeacher, folder: StudyFolder) -> None:
    """Writes the path of the teacher's model into the study's folder, for systems that read a teacher in training."""
    write_whole(folder.teacher, str(teacher.model).encode())


def distil(
    study: Study, teacher: FinishedTeacher, folder: StudyFolder, workers: int, console: Console, check: Callable[[], None]
) -> DistilledText:
    """Translates the training text with a teacher, and saves the result.

    Args:
        workers: number of processes that translate.
        check: called regularly; may raise to end the translation.

    Raises:
        StudyError: the translation failed.
        ModelError: the model cannot be a teacher.
    """
    assert study.teacher is not None
    data = study.experiment.data
    keep_teacher(teacher, folder)
    overrides = {setting: getattr(study.teacher, setting) for setting in ("beam", "length_penalty", "precision")}
    sources = training_sources(data)
    distillation = Distillation(teacher.model, sources, replace(read_experiment(teacher.model).decoding, overrides))
    _translate(distillation, study.resources, workers, console, check)
    targets = folder.path / (f"distilled.{data.languages[1]}.gz" if data.languages else "distilled.gz")
    copy_whole(distillation.targets, targets)
    text = DistilledText(
        teacher=teacher.name,
        valid=teacher.valid,
        key=distillation.key,
        targets=str(targets),
        lines=sources.lines,
        raw=_modality(data),
        distilled=_modality(data.model_copy(update={"distilled": str(targets)})),
    )
    write_whole(folder.distillation, text.model_dump_json(indent=1).encode())
    return text


def _translate(
    distillation: Distillation, resources: Resources, workers: int, console: Console, check: Callable[[], None]
) -> None:
    """Translates all shards of the text. Each worker takes a shard that no other worker has."""
    workers = min(distillation.shards, workers)
    console.print(
        f"teacher: translates {distillation.shards} shards of the training text on {workers} workers", highlight=False
    )
    task = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker, max_retries=MOST_RETRIES)(_work)
    pending = [task.remote(distillation, resources) for _ in range(workers)]
    columns = (TextColumn("teacher"), BarColumn(), MofNCompleteColumn(), TextColumn("shards"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("distilling", total=distillation.shards)
        try:
            while pending:
                ended, pending = ray.wait(pending, timeout=0.5)
                check()
                ray.get(ended)
                bar.update(shown, completed=distillation.done)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error.cause if isinstance(error, ray.exceptions.RayTaskError) else error).split())[:300]
            raise StudyError(f"teacher: cannot translate the training text ({reason}); run again with --resume.") from None
        finally:
            for one in pending:
                ray.cancel(one, force=True)


def _work(distillation: Distillation, resources: Resources) -> None:
    """The work of one worker, in a separate process."""
    torch.set_num_threads(resources.cpus_per_worker)
    for _ in distillation.work("cuda" if resources.gpus_per_worker else "cpu"):
        pass


def _modality(data: DataConfig) -> Modality:
    corpus = open_corpus(data, default_cache())
    return modality((source for source, _ in corpus.pairs("train")), (target for _, target in corpus.pairs("train")))
