"""Data rejuvenation before the trials: see `mtnat.training.rejuvenation` for its steps and the paper."""

import hashlib
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from mtnat.config import Record, replace
from mtnat.data.corpus import read_lines
from mtnat.evaluation.modality import Modality
from mtnat.files import write_whole
from mtnat.lab.driver.teacher import MODALITY, changes, check_is_there, target_file, teacher_trial, text_modality
from mtnat.lab.driver.text_models import Means, TextModel, model_trial, trained_model
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.study.record import IDENTIFICATION_NAME, REJUVENATED, REJUVENATION_NAME, SELECTED, Rejuvenation, Study
from mtnat.training import Distillation, PairScores, read_experiment, training_pairs
from mtnat.training.rejuvenation import inactive_pairs, inactive_sources, write_rejuvenated, write_selection


class RejuvenatedText(Record):
    """The text after rejuvenation: ``rejuvenation.json`` in the study's folder."""

    setting: ClassVar[str] = REJUVENATED
    """The setting that names the text."""

    identification: str
    """The run that trained the identification model, or its folder or address."""
    identification_valid: float | None
    """Its BLEU on the validation set; None for a model that was not trained here."""
    rejuvenation: str
    """The run that trained the rejuvenation model."""
    rejuvenation_valid: float | None
    """Its BLEU on the validation set."""
    key: str
    """Hash of both models, the text and the settings."""
    targets: str
    """Absolute path of the file with the training targets."""
    lines: int
    inactive: int = Field(ge=1)
    """Number of pairs whose targets were rewritten."""
    highest_inactive_score: float
    """The highest score of a rewritten pair: exp of the mean log-probability of its target tokens."""
    raw: Modality
    """The modality of the corpus's own targets: how many translations a word has."""
    rejuvenated: Modality
    """The modality of the text after rejuvenation."""

    def record_in(self, folder: StudyFolder) -> Path:
        """The path of this record."""
        return folder.rejuvenation

    @property
    def file(self) -> str:
        """Absolute path of the file."""
        return self.targets

    @property
    def origin(self) -> str:
        """The origin of the text, as the name of a dataset."""
        return f"rejuvenated by {self.rejuvenation}"

    @property
    def summary(self) -> str:
        """The effect of rejuvenation in one sentence."""
        return (
            f"Rejuvenation rewrote the targets of {self.inactive:,} of {self.lines:,} training pairs, those to which "
            f"{self.identification} gave scores of {self.highest_inactive_score:.3f} or less, by {self.rejuvenation}: "
            f"{changes(self.raw, self.rejuvenated)}."
        )

    @property
    def figures(self) -> dict[str, float]:
        """The number of rewritten pairs, and the modality before and after, as metrics."""
        found = {
            f"rejuvenation/{text}_{name}": getattr(getattr(self, text), name)
            for text in ("raw", "rejuvenated")
            for name in MODALITY
        }
        return {"rejuvenation/inactive_pairs": float(self.inactive), **found}


def known_rejuvenation(folder: StudyFolder) -> RejuvenatedText | None:
    """Returns the text that has already been rejuvenated for this study; None if there is none.

    Raises:
        StudyError: the text was written, but its file is missing; or its record is damaged.
    """
    if not folder.rejuvenation.exists():
        return None
    text = read_record(RejuvenatedText, folder.rejuvenation)
    check_is_there(text.targets, folder.rejuvenation)
    return text


def identification_trial(study: Study, rejuvenation: Rejuvenation) -> Trial:
    """Returns the trial that trains the identification model. It is the teacher's, or that of a baseline, if they are equal.

    Args:
        rejuvenation: `Study.complete_rejuvenation`.
    """
    trial = model_trial(study, IDENTIFICATION_NAME, rejuvenation.settings or {})
    if study.teacher and not study.teacher.model:
        teacher = teacher_trial(study, study.teacher)
        if teacher.experiment == trial.experiment:
            return teacher
    return trial


def rejuvenation_trial(study: Study, rejuvenation: Rejuvenation, selected: str) -> Trial:
    """Returns the trial that trains the rejuvenation model on the selected pairs.

    Args:
        rejuvenation: `Study.complete_rejuvenation`.
    """
    return model_trial(study, REJUVENATION_NAME, {**(rejuvenation.settings or {}), SELECTED: selected})


def rejuvenate(study: Study, identification: TextModel, folder: StudyFolder, means: Means) -> RejuvenatedText:
    """Identifies the inactive pairs, rewrites their targets, and saves the result.

    A resumed study finds its runs finished, and the scores and translations in the cache.

    Args:
        identification: the identification model.

    Raises:
        StudyError: a model could not be trained, or its work failed.
        ModelError: the identification model has no AT decoder.
        DataError: no pair could be scored.
    """
    rejuvenation = study.complete_rejuvenation
    assert rejuvenation is not None
    pairs = training_pairs(study.experiment.data)
    precision = {"precision": rejuvenation.precision}
    scoring = PairScores(identification.model, pairs, replace(read_experiment(identification.model).decoding, precision))
    means.share(scoring, IDENTIFICATION_NAME, "score")
    scores_N = scoring.scores()
    is_inactive_N = inactive_pairs(scores_N, rejuvenation.inactive)

    selected = folder.path / "active.gz"
    write_selection(~is_inactive_N, selected)
    trial = rejuvenation_trial(study, rejuvenation, str(selected))
    rewriter = trained_model(study, trial, "rejuvenation", folder, means)
    search = precision | {"beam": rejuvenation.beam, "length_penalty": rejuvenation.length_penalty}
    sources = inactive_sources(pairs, is_inactive_N)
    rewriting = Distillation(rewriter.model, sources, replace(read_experiment(rewriter.model).decoding, search))
    means.share(rewriting, REJUVENATION_NAME, "translate")

    data = study.experiment.data
    targets = folder.path / target_file("rejuvenated", data)
    write_rejuvenated(pairs, is_inactive_N, read_lines(rewriting.targets), targets)
    text = RejuvenatedText(
        identification=identification.name,
        identification_valid=identification.valid,
        rejuvenation=rewriter.name,
        rejuvenation_valid=rewriter.valid,
        key=hashlib.sha256(f"{scoring.key} {rewriting.key}".encode()).hexdigest()[:32],
        targets=str(targets),
        lines=pairs.lines,
        inactive=sources.lines,
        highest_inactive_score=float(scores_N[is_inactive_N].max()),
        raw=text_modality(data),
        rejuvenated=text_modality(data.model_copy(update={"rejuvenated": str(targets)})),
    )
    write_whole(folder.rejuvenation, text.model_dump_json(indent=1).encode())
    return text
