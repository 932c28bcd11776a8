"""Trials, their runs, and what comes of a run."""

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from mtnat.config import Record
from mtnat.experiment import Experiment
from mtnat.lab.study.record import Settings, slug

Kind = Literal["baseline", "trial"]
VALID = "valid/bleu"
"""The curve that a pruner looks at."""


@dataclass(frozen=True)
class Trial:
    """One configuration, named as a baseline or proposed."""

    name: str
    kind: Kind
    settings: Settings
    experiment: Experiment
    """Resolved, with the search's seed."""


class Run(Record):
    """One training of one trial with one seed; its confirm phase, if any, goes on where its search phase ended."""

    trial: str
    kind: Kind
    phase: Literal["search", "confirm"]
    experiment: Experiment
    """Resolved, with this run's seed, and with the T of its rung."""
    rung: int | None = None
    """T of a complete run that is shorter than the trial's own (`Horizon`); None is all of T."""

    @property
    def id(self) -> str:
        """Also the name of its folder."""
        return f"{slug(self.trial)}-seed{self.experiment.seed}" + (f"-{self.rung}steps" if self.rung else "")

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.trial}, seed {self.experiment.seed}" + (f", T = {self.rung}" if self.rung else "")


class Result(Record):
    """What is known of a run that has ended; ``run.json`` in its folder."""

    run: str
    """The run's id."""
    valid: float | None = None
    """The metric on the validation set; None where training failed."""
    pruned: int | None = None
    """The step at which it was told to end, because others were better there; it has no model then."""
    test: float | None = None
    """BLEU on the test set, after the confirm phase."""
    signature: str | None = None
    """sacreBLEU's signature of both scores."""
    seconds: float = Field(0.0, ge=0)
    """Wall-clock time of both phases; of an interrupted one, since it was last started."""
    decode_seconds: float | None = None
    """In which the last validation translated the validation set."""
    train_seconds: float | None = None
    """Of training, validations not included."""
    parameters: int | None = None
    """Weights of the model, both decoders included."""
    tokens: int | None = None
    """Target tokens trained on."""
    gpu_seconds: float = Field(0.0, ge=0)
    """`seconds` times the GPUs held."""
    joules: float | None = None
    """Energy of its GPUs, where they report it; what other runs on the same GPU took meanwhile is in it."""
    micro_batches: int = Field(1, ge=1)
    """Parts into which each batch was cut for want of memory; the sums, and so the science, are the same."""
    data_hash: str | None = None
    """Fingerprint of the prepared corpus."""
    failed: str | None = None
    """Why the run has no score, in a sentence."""
