"""The search settings of a study: sampler, metrics, pruner, horizon and budget."""

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from mtnat.config import Record, replace
from mtnat.experiment import Experiment

Direction = Literal["max", "min"]


class Metric(NamedTuple):
    """A figure of a run that can be searched on."""

    field: str
    """The field of `Result` that holds it."""
    meaning: str
    curve: str | None = None
    """The curve that a pruner compares, if the figure has one."""


METRICS = {
    "valid.bleu": Metric("valid", "sacreBLEU on the validation set", "valid/bleu"),
    "valid.loss": Metric("valid_loss", "loss of the branch that translates on the validation set", "valid/loss"),
    "decode.seconds": Metric("decode_seconds", "seconds in which the validation set is translated"),
    "train.seconds": Metric("train_seconds", "seconds of training, validations not included"),
    "model.parameters": Metric("parameters", "weights of the model, both decoders included"),
}
"""The metrics that a search can maximise or minimise; there is none of a test set."""
MOST_ON_GRID = 100_000
"""The largest grid that can be run as a whole, in combinations."""


class Sampler(Record):
    """The sampler of Optuna that proposes the trials."""

    kind: Literal["tpe", "random", "qmc", "cmaes", "gp", "grid"] = "tpe"
    """tpe: tree-structured Parzen estimator (Bergstra et al. 2011); qmc: scrambled Sobol points; cmaes: CMA-ES, for numbers;
    gp: Gaussian process; grid: every combination of choices and steps, once."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """Left out, the seed of the experiment. If trials run one at a time, equal seeds give equal trials, also in a resumed
    study."""
    startup_trials: int | None = Field(None, ge=1)
    """Random proposals before tpe, cmaes or gp learn from results; left out, a quarter of the trials, from 2 to 10."""


class Pruner(Record):
    """Ends proposals whose validation score is behind that of others at the same step. Scores of different annealing schedules
    are not comparable during training, because λ differs; use `horizon` for them."""

    kind: Literal["asha", "hyperband", "median"]
    """asha: successive halving without waiting (Li et al. 2020); hyperband: several of those, begun at different steps (Li et
    al. 2018); median: below the median of the others."""
    first_step: int = Field(ge=1)
    """No proposal is ended before this step."""
    factor: int = Field(3, ge=2)
    """asha, hyperband: the reduction factor. One in ``factor`` proposals goes on to the next rung, with ``factor`` times the
    steps."""
    startup_trials: int = Field(4, ge=1)
    """median: the number of trials that must have ended before any is pruned."""


class Horizon(Record):
    """Successive halving over complete runs. The runs of a rung have their own, shorter T, to which the schedule of λ and the
    warm-up are compressed; the best trials of a rung are trained again, from the start, with the T of the next one."""

    steps: tuple[int, ...] = Field(min_length=2, strict=False)
    """T of each rung, ascending; the last one is `experiment.training.steps`."""
    keep: float = Field(0.34, gt=0, le=1)
    """Share of a rung's trials that go on to the next one, rounded up. With 1 all of them go on, and the study ends with a
    report on how well each shorter T ranks them."""

    def runs(self, proposals: int) -> list[int]:
        """Returns the number of runs for each T."""
        found = [proposals]
        for _ in self.steps[1:]:
            found.append(math.ceil(round(self.keep * found[-1], 9)))
        return found

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if any(step < 1 for step in self.steps) or list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"steps must be above 0 and ascend; got {list(self.steps)}")
        return self


class Budget(Record):
    """Limits after which the search makes no further proposals; the first one that is reached counts. Runs in progress finish,
    and the confirm phase follows."""

    trials: int | None = Field(None, ge=1)
    """The same as `trials` of the study."""
    hours: float | None = Field(None, gt=0)
    """Wall-clock hours since the study began, without interruptions."""
    gpu_hours: float | None = Field(None, gt=0)
    """GPU-hours of all runs so far."""


Metrics = Annotated[tuple[dict[str, Direction], ...], Field(min_length=2, strict=False)]


def compressed(experiment: Experiment, steps: int) -> Experiment:
    """Returns the experiment with a shorter T. λ(t) depends on t/T only, and the warm-up keeps its share of the steps."""
    training = experiment.training
    warmup = round(training.warmup_steps * steps / training.steps)
    return replace(experiment, {"training.steps": steps, "training.warmup_steps": warmup})
