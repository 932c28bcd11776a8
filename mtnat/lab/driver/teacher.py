"""The stage before the trials: a teacher is trained or fetched, and all workers translate the training text."""

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
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder
from mtnat.lab.outputs.runs import Result, Run, Trial
from mtnat.lab.study.record import DISTILLED, TEACHER_NAME, Study, Teacher
from mtnat.lab.study.resources import Resources
from mtnat.lab.tracking.models import fetch_model, is_address
from mtnat.training import Distillation, read_experiment, training_sources
from mtnat.training.fit import MODEL

MOST_RETRIES = 3
"""How often a worker whose process died is started again; the others do its shards meanwhile."""
MODALITY = ("conditional_entropy", "weighted_entropy", "length_ratio", "length_deviation")
"""What is told of a text before and after, of all that `Modality` has."""


class DistilledText(Record):
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

    @property
    def summary(self) -> str:
        """What distillation did, in a sentence."""
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
        """The text before and after, as metrics."""
        return {
            f"distillation/{text}_{name}": getattr(getattr(self, text), name)
            for text in ("raw", "distilled")
            for name in MODALITY
        }


@dataclass(frozen=True)
class FinishedTeacher:
    """A model that can translate the training text."""

    name: str
    """The run that trained it, or where it was taken from."""
    model: Path
    """Its folder, absolute."""
    valid: float | None
    """BLEU on the validation set, where it was trained here."""


def students(study: Study, text: DistilledText) -> Study:
    """The study with its trials trained on what the teacher wrote."""
    return study.model_copy(update={"experiment": replace(study.experiment, {DISTILLED: text.targets})})


def known_text(folder: StudyFolder) -> DistilledText | None:
    """What a teacher has written for this study before.

    Raises:
        StudyError: it is known of, but gone.
    """
    if not folder.distillation.exists():
        return None
    text = DistilledText.model_validate_json(folder.distillation.read_bytes())
    if not Path(text.targets).exists():
        raise StudyError(
            f"{text.targets}: is gone, or the study's folder was moved; put it back, or remove {folder.distillation}."
        )
    return text


def fetched_teacher(model: str, folder: StudyFolder, tracking_uri: str) -> FinishedTeacher:
    """A teacher that somebody has trained before.

    Raises:
        ModelError: MLflow has no such model.
    """
    place = fetch_model(model, folder.path / "teacher", tracking_uri) if is_address(model) else Path(model)
    return FinishedTeacher(model, place.absolute(), valid=None)


def trained_teacher(
    study: Study, teacher: Teacher, folder: StudyFolder, train: Callable[[Study], dict[str, Result]]
) -> FinishedTeacher:
    """A teacher that is trained here, or has been.

    Args:
        train: carries a study out and returns what came of its runs, by id.

    Raises:
        StudyError: it could not be trained.
    """
    trial = teacher_trial(study, teacher)
    run = Run(trial=trial.name, kind=trial.kind, phase="search", experiment=trial.experiment).id
    known = folder.results().get(run)
    if known and known.valid is None:  # without a teacher nothing can be done, so a resumed study tries again
        (folder.run(run) / RESULT_FILE).unlink()
    alone = {"baselines": {trial.name: trial.settings}, "search": {}, "trials": 0, "confirm": None, "teacher": None}
    result = train(study.model_copy(update=alone))[run]
    if result.valid is None:
        raise StudyError(
            f"teacher: could not be trained ({result.failed}); run again with --resume, or mend teacher.settings "
            "and begin anew in another folder."
        )
    return FinishedTeacher(run, folder.run(run) / MODEL, result.valid)


def teacher_trial(study: Study, teacher: Teacher) -> Trial:
    """The trial that trains the teacher: one of the study's baselines, where it is equal to it."""
    settings = dict(teacher.settings)
    if replace(study.experiment, settings).decoder != "at":  # a multi-task teacher writes with its AT decoder too
        settings["decoding.decoder"] = "at"
    experiment = replace(study.experiment, settings)
    for name, own in study.baselines.items():
        # The others' targets are not written yet, so only those that stay raw can be equal.
        if DISTILLED in own and replace(study.experiment, own) == experiment:
            return Trial(name, "baseline", own, experiment)
    return Trial(TEACHER_NAME, "baseline", settings, experiment)


def distil(
    study: Study, teacher: FinishedTeacher, folder: StudyFolder, workers: int, console: Console, check: Callable[[], None]
) -> DistilledText:
    """Has a teacher translate the training text on so many workers, and takes down what came of it.

    Args:
        check: is called now and then, and may raise.

    Raises:
        StudyError: its work failed.
        ModelError: the model cannot teach.
    """
    assert study.teacher is not None
    data = study.experiment.data
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
    """The workers share the text; each takes what nobody else is at."""
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
    """One worker, in a process of its own."""
    torch.set_num_threads(resources.cpus_per_worker)
    for _ in distillation.work("cuda" if resources.gpus_per_worker else "cpu"):
        pass


def _modality(data: DataConfig) -> Modality:
    corpus = open_corpus(data, default_cache())
    return modality((source for source, _ in corpus.pairs("train")), (target for _, target in corpus.pairs("train")))
