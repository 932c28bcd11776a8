"""The records of the study file."""

import hashlib
import re
from itertools import chain
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from mtnat.config import Record, leaf_types, replace
from mtnat.experiment import Experiment
from mtnat.lab.study.analysing import Analysis
from mtnat.lab.study.resources import Resources
from mtnat.lab.study.searching import MOST_ON_GRID, Budget, Direction, Horizon, Metrics, Pruner, Sampler
from mtnat.lab.study.space import Space
from mtnat.lab.study.space_reading import parse_space
from mtnat.model import Precision

Settings = dict[str, Any]
"""Values by dotted path into the experiment."""

LEAVES = tuple(leaf_types(Experiment))
FIXED_IN_COLUMNS = {"seed": "is set by confirm.seeds; drop it here."}
FIXED = {
    **FIXED_IN_COLUMNS,
    **dict.fromkeys(
        ("data.corpus", "data.corpus_seed", "data.corpus_size", "data.valid", "data.test"),
        "all trials of a study are scored on the same text; set it under experiment, or under columns.",
    ),
}
"""Settings that neither a column nor a trial may change, each with the reason."""
DISTILLED, REVERSE_DISTILLED, REJUVENATED = "data.distilled", "data.reverse_distilled", "data.rejuvenated"
SELECTED, STAGES = "data.selected", "data.stages"
WRITERS = {"teacher": DISTILLED, "reverse_teacher": REVERSE_DISTILLED, "rejuvenation": REJUVENATED}
"""Parts of a study whose models write training text, and the setting that names this text. A trial may set it to null only."""
STEPS = "training.steps"
LONGEST_FOLDER = 180
"""Bytes of a trial's name in the name of a folder, which may have 255; the seed and the names of files beside it are added."""
PROPOSAL_NAME = "trial-{:02d}"
TEACHER_NAME, REVERSE_TEACHER_NAME = "teacher", "reverse teacher"
IDENTIFICATION_NAME, REJUVENATION_NAME = "identification", "rejuvenation"
MODEL_NAMES = {
    "teacher": (TEACHER_NAME,),
    "reverse_teacher": (REVERSE_TEACHER_NAME,),
    "rejuvenation": (IDENTIFICATION_NAME, REJUVENATION_NAME),
}
"""Names of the trials that train the models of these parts."""


class Confirm(Record):
    """The phase in which the best proposals and all baselines are trained with several seeds and scored on the test set."""

    top: int = Field(1, ge=0)
    """Number of proposals that are confirmed: the best by the metric."""
    seeds: tuple[int, ...] = Field(min_length=1, strict=False)
    """One run for each seed. A study that confirms proposals needs other seeds than `experiment.seed`, with which the search
    chooses them: a run that was chosen for its score would favour its trial."""
    against: str
    """The baseline that all other trials are compared with."""
    looks: tuple[int, ...] = Field((), strict=False)
    """Numbers of seeds after which the answer is tested, ascending; the last one is the number of `seeds`. If the difference of
    the winner is significant at a look, the remaining seeds are not trained. The levels of the tests are such that all looks
    together have the error of one. Left out, all seeds are trained."""
    speed_sentences: int | None = Field(None, ge=1)
    """Number of sentences of the test set, at even spacing, that the model of every confirmed trial with the first seed also
    translates one at a time, after all runs have ended and one trial after the other. Its speed in batches and for one
    sentence, its passes and its sequential layers are then in the leaderboard, and a picture shows quality against speed. Left
    out, no speed is measured."""

    @model_validator(mode="after")
    def _looks_lead_to_all_seeds(self) -> Self:
        looks = list(self.looks)
        if looks and (looks[0] < 2 or looks != sorted(set(looks)) or looks[-1] != len(self.seeds)):
            raise ValueError(f"looks must ascend from 2 or more to the number of seeds, {len(self.seeds)}; got {looks}")
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ; got {list(self.seeds)}")
        if any(not 0 <= seed < 2**31 for seed in self.seeds):
            raise ValueError(f"seeds must be from 0 to 2147483647; got {list(self.seeds)}")
        return self


class Teacher(Record):
    """The model that writes the training targets of all trials except those that set ``data.distilled: null``: sequence-level
    distillation (Kim and Rush 2016). Validation and test text do not change. Systems such as hint-nat also read its states in
    training."""

    settings: Settings = Field(default_factory=dict)
    """Settings in which the teacher's experiment differs from `experiment`; it must train an AT decoder."""
    model: str | None = None
    """A finished model instead of one trained here: a folder, or MLflow's ``runs:/…`` or ``models:/…``."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam of the search that translates the training text."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """`decoding.length_penalty` of that search."""
    precision: Precision = "fp32"
    """`decoding.precision` of that search; auto is several times faster on a processor with bf16."""
    translates: bool = True
    """Whether it writes training targets. If not, only systems that read a teacher in training use it."""

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if self.model and self.settings:
            raise ValueError(f"takes either settings to train with or a finished model; got both, model: {self.model}")
        return self


class ReverseTeacher(Record):
    """The model that translates the training targets into the source language: reverse distillation, for trials with the text
    ``bidirectional`` in ``data.stages`` (Ding et al. 2021)."""

    settings: Settings | None = None
    """Settings in which its experiment differs from `experiment` in the opposite direction; it must train an AT decoder. Left
    out, those of `teacher`."""
    model: str | None = None
    """A finished model instead of one trained here: a folder, or MLflow's ``runs:/…`` or ``models:/…``."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam of the search that translates the training targets."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """`decoding.length_penalty` of that search."""
    precision: Precision = "fp32"
    """`decoding.precision` of that search; auto is several times faster on a processor with bf16."""

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if self.model and self.settings:
            raise ValueError(f"takes either settings to train with or a finished model; got both, model: {self.model}")
        return self


class Rejuvenation(Record):
    """Rewrites the targets of inactive training pairs for all trials except those that set ``data.rejuvenated: null``: data
    rejuvenation (Jiao et al. 2020). An identification model scores all pairs. A rejuvenation model, trained on the other pairs,
    translates the sources of those with the lowest scores. Validation and test text do not change."""

    settings: Settings | None = None
    """Settings in which the experiments of both models differ from `experiment`; they must train an AT decoder. Left out, those
    of `teacher`."""
    model: str | None = None
    """A finished identification model instead of one trained here: a folder, or MLflow's ``runs:/…`` or ``models:/…``. Left out
    together with `settings`, the teacher is the identification model, if the study has one."""
    inactive: float = Field(0.1, gt=0, lt=1)
    """Share of the training pairs that are rewritten, those with the lowest scores."""
    beam: int = Field(4, ge=1, le=1_000)
    """Beam of the search that rewrites targets."""
    length_penalty: float = Field(0.6, ge=0, le=5)
    """`decoding.length_penalty` of that search."""
    precision: Precision = "fp32"
    """`decoding.precision` of the scores and of that search; auto is several times faster on a processor with bf16."""


class Published(Record):
    """Published figures, shown apart from the study's own and compared with nothing."""

    source: str = Field(min_length=1)
    """Their source and what they measure, such as "Hao et al. 2021, Table 2: WMT14, tokenized BLEU"."""
    bleu: dict[str, dict[str, float]]
    """BLEU by baseline, then by column."""


class Study(Record):
    """One question, and everything that is run to answer it."""

    question: str = Field(min_length=1)
    """The question that the study answers, in one sentence."""
    experiment: Experiment
    """The settings that all trials share."""
    columns: dict[str, Settings] = Field(default_factory=dict)
    """Named settings, such as corpora or directions. The study is repeated for each of them, as a column of its table."""
    teacher: Teacher | None = None
    """Left out, trials train on the corpus's own targets."""
    reverse_teacher: ReverseTeacher | None = None
    """Left out, no trial can have the text bidirectional, which joins the texts of both teachers."""
    rejuvenation: Rejuvenation | None = None
    """Left out, no targets are rewritten. With a teacher too, the trials train on the teacher's targets, except those that set
    ``data.distilled: null``."""
    baselines: dict[str, Settings] = Field(default_factory=dict)
    """Named trials that always run and are always in the leaderboard: the settings in which each differs from `experiment`."""
    search: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Leaves that Optuna varies: ``path: {float: [low, high]}``, ``{int: [low, high]}`` or ``{choice: […]}``."""
    trials: int = Field(0, ge=0)
    """Number of proposals, besides the baselines; `budget.trials` is the same. For a grid it takes the first combinations; left
    out, all of them."""
    sampler: Sampler = Sampler()
    """The sampler of Optuna that proposes the trials."""
    metric: Literal["valid.bleu", "valid.loss"] = "valid.bleu"
    """The metric by which the search ranks proposals: BLEU, or the loss of the branch that translates, with the same noise in
    every run. It is never a test set's. A confirmed winner is chosen by BLEU."""
    metrics: Metrics | None = None
    """Several metrics instead: ``[valid.bleu: max, decode.seconds: min]``. The study then ends with their Pareto front."""
    pruner: Pruner | None = None
    """Left out, every proposal is trained to its end."""
    horizon: Horizon | None = None
    """Left out, every proposal is trained for the full T at once."""
    budget: Budget = Budget()
    """Limits at which the search stops proposing."""
    warm_start: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Folders of other studies. Their finished trials are taken over if this study could have made them itself."""
    keep_models: int = Field(3, ge=1)
    """Number of proposals, the best by the metric, whose models stay on the disk and in MLflow; confirmed ones always do."""
    confirm: Confirm | None = None
    """Left out, the study is a search only, and the leaderboard shows the validation metric."""
    analysis: Analysis | None = None
    """Left out, the encoders are not analysed."""
    published: Published | None = None
    """Published figures for the table of a study with columns."""
    resources: Resources = Resources()
    """What one run takes of the machines."""

    @model_serializer(mode="wrap")
    def _as_read(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the defaults that a study file with these settings has to leave out."""
        settings: dict[str, Any] = serialize(self)
        # What is not set in `decoding` follows the system, which differs between trials.
        settings["experiment"].pop("decoding")
        if given := self.experiment.model_dump(mode="json", include={"decoding"}, exclude_unset=True):
            settings["experiment"] |= given
        if self.metrics:
            settings.pop("metric", None)
        if self.confirm and self.keep_models < self.confirm.top:
            settings.pop("keep_models", None)
        return settings

    @property
    def proposals(self) -> int:
        """The largest number of proposals; 0 if only the budget ends the search. For a whole grid it is the number of
        combinations, which takes a moment to count."""
        if wanted := self.budget.trials or self.trials:
            return wanted
        return self.space.grid_size(MOST_ON_GRID) if self.search and self.sampler.kind == "grid" else 0

    @property
    def models_kept(self) -> int:
        """Number of proposals whose models are kept."""
        return max(self.keep_models, self.confirm.top if self.confirm else 0)

    @property
    def objectives(self) -> dict[str, Direction]:
        """The direction of each metric that is searched on, the most important metric first."""
        if self.metrics:
            return {name: way for metric in self.metrics for name, way in metric.items()}
        return {self.metric: "max" if self.metric == "valid.bleu" else "min"}

    @property
    def parts(self) -> "dict[str, Study]":
        """The study of each column by name; a study without columns has itself as its only part, with an empty name."""
        return {name: self._part(settings) for name, settings in self.columns.items()} if self.columns else {"": self}

    def _part(self, settings: Settings) -> "Study":
        """Returns the study of a column. A column that sets ``data.distilled: null`` needs no teachers, and so on; but it keeps
        the teacher for systems that read it in training."""
        nulled = {setting for setting in WRITERS.values() if setting in settings and settings[setting] is None}
        if DISTILLED in nulled:  # the text of the reverse teacher is only used together with that of the teacher
            nulled.add(REVERSE_DISTILLED)
        experiment = replace(self.experiment, settings)
        changed: dict[str, Record | None] = {
            "experiment": experiment,
            "reverse_teacher": self.complete_reverse_teacher,
            "rejuvenation": self.complete_rejuvenation,
            **{part: None for part, setting in WRITERS.items() if setting in nulled},
        }
        if self.teacher and DISTILLED in nulled and self._reads_teacher(experiment):
            changed["teacher"] = self.teacher.model_copy(update={"translates": False})
        return self.model_copy(update={**changed, "columns": {}, "published": None})

    def _reads_teacher(self, experiment: Experiment) -> bool:
        """Returns whether a trial, based on an experiment, has a system that reads the study's teacher in training."""
        searched = (settings for _, settings in self.space.corners())
        trials = (replace(experiment, settings) for settings in chain([{}], self.baselines.values(), searched))
        return any(trial.reads_teacher and not trial.system.teacher_folder for trial in trials)

    @property
    def complete_reverse_teacher(self) -> ReverseTeacher | None:
        """`reverse_teacher`, with the teacher's settings in place of those that it leaves out."""
        own, teacher = self.reverse_teacher, self.teacher
        if own is None or own.model or own.settings is not None:
            return own
        return own.model_copy(update={"settings": teacher.settings if teacher else {}})

    @property
    def complete_rejuvenation(self) -> Rejuvenation | None:
        """`rejuvenation`, with the teacher's settings and model in place of those that it leaves out."""
        own, teacher = self.rejuvenation, self.teacher
        if own is None:
            return None
        model = teacher.model if teacher and own.model is None and own.settings is None else own.model
        settings = own.settings if own.settings is not None else teacher.settings if teacher else {}
        return own.model_copy(update={"settings": settings, "model": model})

    @property
    def text_models(self) -> tuple[str, ...]:
        """Names of the trials that may train models which write or score training text."""
        return tuple(name for part, names in MODEL_NAMES.items() if getattr(self, part) for name in names)

    @property
    def written(self) -> tuple[str, ...]:
        """Settings that name text which the study's models write."""
        writers = {part: setting for part, setting in WRITERS.items() if getattr(self, part)}
        if self.teacher and not self.teacher.translates:
            del writers["teacher"]
        return tuple(writers.values())

    @property
    def space(self) -> Space:
        """The parsed search."""
        return parse_space(self.search, LEAVES, FIXED)[0]


def is_proposal(name: str, most: int) -> bool:
    """Returns whether a folder's name is that of one of the first ``most`` proposals."""
    found = re.fullmatch(r"\D*(\d{1,18})", name)
    number = int(found[1]) if found else 0
    return 1 <= number <= most and name == slug(PROPOSAL_NAME.format(number))


def slug(name: str) -> str:
    """Returns a trial's name as the name of a folder. A name that is too long for one is cut, and its hash is added."""
    words = re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "unnamed"
    if len(encoded := words.encode()) <= LONGEST_FOLDER:
        return words
    return f"{encoded[:LONGEST_FOLDER].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:8]}"
