"""Trials, their runs, and the results of runs."""

from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from mtnat.config import Record
from mtnat.experiment import Experiment
from mtnat.lab.study.analysing import Analysis
from mtnat.lab.study.record import Settings, slug
from mtnat.training import Speed

Kind = Literal["baseline", "trial"]
VALID = "valid/bleu"
"""The curve of the validations."""


@dataclass(frozen=True)
class Trial:
    """One configuration, named as a baseline or proposed."""

    name: str
    kind: Kind
    settings: Settings
    experiment: Experiment
    """The complete experiment, with the seed of the search."""


class AnalysisPlan(Record):
    """What is to be computed of the encoder of a run."""

    settings: Analysis
    others: dict[str, tuple[str, ...]]
    """Ids of the runs that its encoder is compared with, by the name of their trial."""
    has_context: bool
    """Whether the figures of the tasks that no encoder changes are to be computed too."""


class Run(Record):
    """One training of one trial with one seed. The confirm phase of a run continues from its search phase. Its encoder is
    analysed after both, and its speed is measured last."""

    trial: str
    kind: Kind
    phase: Literal["search", "confirm", "analysis", "speed"]
    experiment: Experiment
    """The complete experiment, with the seed of this run and the T of its rung."""
    rung: int | None = None
    """T of a complete but shorter run (`Horizon`); None for the full T."""
    encoder_every: int = 0
    """Number of steps between two encoders that the run keeps; 0 keeps none."""
    analysis: AnalysisPlan | None = None
    """Only of a run that is analysed."""
    speed_sentences: int | None = None
    """`Confirm.speed_sentences` of a run whose speed is measured."""

    @property
    def id(self) -> str:
        """A unique id within the study, and the name of the run's folder."""
        return f"{slug(self.trial)}-seed{self.experiment.seed}" + (f"-{self.rung}steps" if self.rung else "")

    @property
    def name(self) -> str:
        """The name in messages and in the tracker."""
        return f"{self.trial}, seed {self.experiment.seed}" + (f", T = {self.rung}" if self.rung else "")


class Result(Record):
    """The result of a run that has ended: ``run.json`` in its folder."""

    run: str
    """Id of the run."""
    valid: float | None = None
    """BLEU on the validation set; None if training failed."""
    valid_loss: float | None = None
    """Loss of the branch that translates, on the validation set and with the same noise in every run."""
    pruned: int | None = None
    """The step at which a pruner ended the run; such a run has no model."""
    test: float | None = None
    """BLEU on the test set, after the confirm phase."""
    signature: str | None = None
    """sacreBLEU's signature of both scores."""
    speed: Speed | None = None
    """Speed of the model, if it was measured."""
    is_analysed: bool = False
    """Whether the run's curves have all figures of the analysis of its encoder."""
    unmeasured: str | None = None
    """Why its speed or its analysis is missing, in one sentence."""
    seconds: float = Field(0.0, ge=0)
    """Wall-clock time of all phases; for an interrupted phase, since its last start."""
    decode_seconds: float | None = None
    """Seconds in which the last validation translated the validation set."""
    train_seconds: float | None = None
    """Seconds of training without validations."""
    parameters: int | None = None
    """Number of weights of the model, including both decoders."""
    tokens: int | None = None
    """Number of target tokens trained on."""
    updates: int | None = None
    """Number of updates done; None if training did not end."""
    skipped_updates: int | None = None
    """Number of these updates that were skipped because their gradient was not finite."""
    gpu_seconds: float = Field(0.0, ge=0)
    """`seconds` times the number of GPUs."""
    joules: float | None = None
    """Energy of the run's GPUs, if they report it; it includes that of other runs on the same GPUs at the same time."""
    micro_batches: int = Field(1, ge=1)
    """Number of parts into which each batch was split for lack of memory; the gradients are the same sums."""
    host: str | None = None
    """Name of the machine of the run, or of its leading worker, in the last phase."""
    data_hash: str | None = None
    """Fingerprint of the prepared corpus."""
    failed: str | None = None
    """Why the run has no score, in one sentence."""

    def failed_in(self, run: Run, reason: str) -> Self:
        """Returns the result after a run has failed in a phase. A run whose speed or whose encoder cannot be measured keeps its
        scores."""
        return self.model_copy(update={"unmeasured" if run.phase in ("analysis", "speed") else "failed": reason})
