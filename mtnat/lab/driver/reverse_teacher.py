"""Reverse distillation before the trials: a reverse teacher translates the training targets into the source language.

Ding et al. 2021 ("Rejuvenating Low-Frequency Words") train on the corpus's own pairs, then on the pairs of both teachers, then
on those of the forward teacher (`DataConfig.stages`). The pairs of a reverse teacher keep the corpus's own targets, and with
them the rare words that distillation loses.
"""

from pathlib import Path
from typing import ClassVar

from mtnat.config import Record, replace
from mtnat.data import DataConfig
from mtnat.data.corpus import open_raw_corpus
from mtnat.data.dataset import default_cache
from mtnat.data.training_text import RewrittenCorpus, open_corpus
from mtnat.evaluation.modality import Modality
from mtnat.files import copy_whole, write_whole
from mtnat.lab.driver.teacher import MODALITY, changes, check_is_there, modality_of, text_modality
from mtnat.lab.driver.text_models import Share, TextModel, model_trial
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.study.record import REVERSE_DISTILLED, REVERSE_TEACHER_NAME, Settings, Study
from mtnat.training import Distillation, read_experiment, training_sources


class ReverseText(Record):
    """The sources that a reverse teacher has written: ``reverse_distillation.json`` in the study's folder."""

    setting: ClassVar[str] = REVERSE_DISTILLED
    """The setting that names the text."""

    teacher: str
    """The run that trained the reverse teacher, or its folder or address."""
    valid: float | None
    """Its BLEU on the validation set, in the opposite direction; None for a model that was not trained here."""
    key: str
    """Hash of the reverse teacher, the text and the settings of the search."""
    sources: str
    """Absolute path of the file with a source for each training target."""
    lines: int
    bidirectional: int
    """Number of different pairs of this text and that of the teacher."""
    raw: Modality
    """The modality of the corpus's own pairs: how many translations a word has."""
    reverse: Modality
    """The modality of the written sources with the corpus's own targets."""

    def record_in(self, folder: StudyFolder) -> Path:
        """The path of this record."""
        return folder.reverse_distillation

    @property
    def file(self) -> str:
        """Absolute path of the file."""
        return self.sources

    @property
    def origin(self) -> str:
        """The origin of the text, as the name of a dataset."""
        return f"sources distilled by {self.teacher}"

    @property
    def summary(self) -> str:
        """The text and its effect in one sentence."""
        valid = f" (valid BLEU {self.valid:.2f} in the opposite direction)" if self.valid is not None else ""
        return (
            f"The bidirectional text adds the sources that {self.teacher}{valid} made of {self.lines:,} training targets "
            f"({changes(self.raw, self.reverse)}); with the teacher's pairs these are {self.bidirectional:,} different pairs."
        )

    @property
    def figures(self) -> dict[str, float]:
        """The number of pairs, and the modality before and after, as metrics."""
        found = {
            f"reverse_distillation/{text}_{name}": getattr(getattr(self, text), name)
            for text in ("raw", "reverse")
            for name in MODALITY
        }
        return {"reverse_distillation/bidirectional_pairs": float(self.bidirectional), **found}


def known_reverse_text(folder: StudyFolder) -> ReverseText | None:
    """Returns the text that a reverse teacher has already written for this study; None if there is none.

    Raises:
        StudyError: the text was written, but its file is missing; or its record is damaged.
    """
    if not folder.reverse_distillation.exists():
        return None
    text = read_record(ReverseText, folder.reverse_distillation)
    check_is_there(text.sources, folder.reverse_distillation)
    return text


def reversed_study(study: Study) -> Study:
    """Returns the study in the opposite direction, without baselines, as which a reverse teacher could serve."""
    data = study.experiment.data.reversed
    return study.model_copy(
        update={"experiment": study.experiment.model_copy(update={"data": data}), "baselines": {}, "columns": {}}
    )


def reverse_teacher_trial(study: Study, settings: Settings) -> Trial:
    """Returns the trial that trains the reverse teacher.

    Args:
        study: the study in its own direction.
        settings: those of `Study.complete_reverse_teacher`.
    """
    return model_trial(reversed_study(study), REVERSE_TEACHER_NAME, settings)


def distil_reverse(study: Study, teacher: TextModel, distilled: str, folder: StudyFolder, share: Share) -> ReverseText:
    """Translates the training targets with a reverse teacher, and saves the result.

    Args:
        study: the study in its own direction.
        distilled: the file of the teacher's text.

    Raises:
        StudyError: the translation failed.
        ModelError: the model cannot be a teacher.
    """
    assert study.reverse_teacher is not None
    data = study.experiment.data
    overrides = {name: getattr(study.reverse_teacher, name) for name in ("beam", "length_penalty", "precision")}
    targets = training_sources(data.reversed)
    distillation = Distillation(teacher.model, targets, replace(read_experiment(teacher.model).decoding, overrides))
    share(distillation, REVERSE_TEACHER_NAME, "translate")
    sources = folder.path / _source_file(data)
    copy_whole(distillation.targets, sources)
    both = data.model_copy(update={"distilled": distilled, "reverse_distilled": str(sources)})
    cache = default_cache()
    text = ReverseText(
        teacher=teacher.name,
        valid=teacher.valid,
        key=distillation.key,
        sources=str(sources),
        lines=targets.lines,
        bidirectional=open_corpus(both, cache, "bidirectional").train_size(),
        raw=text_modality(data),
        reverse=modality_of(RewrittenCorpus(open_raw_corpus(data, cache), "reverse_distilled", str(sources), cache)),
    )
    write_whole(folder.reverse_distillation, text.model_dump_json(indent=1).encode())
    return text


def _source_file(data: DataConfig) -> str:
    """Returns the name of the file of training sources, with the language if it is known."""
    return f"reverse.{data.languages[0]}.gz" if data.languages else "reverse.gz"
