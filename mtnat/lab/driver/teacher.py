"""Distillation before the trials: a teacher is trained or fetched, and all workers translate the training text."""

from pathlib import Path
from typing import ClassVar

from mtnat.config import Record, replace
from mtnat.data import DataConfig
from mtnat.data.corpus import Corpus
from mtnat.data.dataset import default_cache
from mtnat.data.training_text import open_corpus
from mtnat.errors import StudyError
from mtnat.evaluation.modality import Modality, modality
from mtnat.files import copy_whole, write_whole
from mtnat.lab.driver.text_models import Share, TextModel, model_trial
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.study.record import DISTILLED, TEACHER_NAME, Study, Teacher
from mtnat.training import Distillation, read_experiment, training_sources

MODALITY = ("conditional_entropy", "weighted_entropy", "length_ratio", "length_deviation")
"""The figures of `Modality` that are tracked for the corpus's targets and for the written ones."""


class DistilledText(Record):
    """The text that a teacher has written: ``distillation.json`` in the study's folder."""

    setting: ClassVar[str] = DISTILLED
    """The setting that names the text."""

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

    def record_in(self, folder: StudyFolder) -> Path:
        """The path of this record."""
        return folder.distillation

    @property
    def file(self) -> str:
        """Absolute path of the file."""
        return self.targets

    @property
    def origin(self) -> str:
        """The origin of the text, as the name of a dataset."""
        return f"distilled by {self.teacher}"

    @property
    def summary(self) -> str:
        """The effect of distillation in one sentence."""
        valid = f" (valid BLEU {self.valid:.2f})" if self.valid is not None else ""
        return (
            f"Trained on what {self.teacher}{valid} made of {self.lines:,} training sources: "
            f"{changes(self.raw, self.distilled)}."
        )

    @property
    def figures(self) -> dict[str, float]:
        """The modality before and after distillation, as metrics."""
        return {
            f"distillation/{text}_{name}": getattr(getattr(self, text), name)
            for text in ("raw", "distilled")
            for name in MODALITY
        }


def changes(before: Modality, after: Modality) -> str:
    """Returns how the modality of the training text has changed."""
    figures = {
        "conditional entropy of a target word": (before.conditional_entropy, after.conditional_entropy),
        "target words a source word": (before.length_ratio, after.length_ratio),
        "their standard deviation": (before.length_deviation, after.length_deviation),
    }
    return ", ".join(f"{name} {old:.3f} → {new:.3f}" for name, (old, new) in figures.items())


def known_text(folder: StudyFolder) -> DistilledText | None:
    """Returns the text that a teacher has already written for this study; None if there is none.

    Raises:
        StudyError: the text was written, but its file is missing; or its record is damaged.
    """
    if not folder.distillation.exists():
        return None
    text = read_record(DistilledText, folder.distillation)
    check_is_there(text.targets, folder.distillation)
    return text


def check_is_there(targets: str, record: Path) -> None:
    """Checks that a written text still exists.

    Raises:
        StudyError: it does not.
    """
    if not Path(targets).exists():
        raise StudyError(f"{targets}: is gone, or the study's folder was moved; put it back, or remove {record}.")


def teacher_trial(study: Study, teacher: Teacher) -> Trial:
    """Returns the trial that trains the teacher; it is one of the study's baselines if one is equal to it."""
    return model_trial(study, TEACHER_NAME, teacher.settings)


def keep_teacher(teacher: TextModel, folder: StudyFolder) -> None:
    """Writes the path of the teacher's model into the study's folder, for systems that read a teacher in training."""
    write_whole(folder.teacher, str(teacher.model).encode())


def distil(study: Study, teacher: TextModel, folder: StudyFolder, share: Share) -> DistilledText:
    """Translates the training text with a teacher, and saves the result.

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
    share(distillation, "teacher", "translate")
    targets = folder.path / target_file("distilled", data)
    copy_whole(distillation.targets, targets)
    text = DistilledText(
        teacher=teacher.name,
        valid=teacher.valid,
        key=distillation.key,
        targets=str(targets),
        lines=sources.lines,
        raw=text_modality(data),
        distilled=text_modality(data.model_copy(update={"distilled": str(targets)})),
    )
    write_whole(folder.distillation, text.model_dump_json(indent=1).encode())
    return text


def target_file(kind: str, data: DataConfig) -> str:
    """Returns the name of a file of training targets, with the language if it is known."""
    return f"{kind}.{data.languages[1]}.gz" if data.languages else f"{kind}.gz"


def text_modality(data: DataConfig) -> Modality:
    """Measures the training text of a corpus, whose stages do not count."""
    return modality_of(open_corpus(data.model_copy(update={"stages": ()}), default_cache()))


def modality_of(corpus: Corpus) -> Modality:
    """Measures a training text."""
    return modality((source for source, _ in corpus.pairs("train")), (target for _, target in corpus.pairs("train")))
