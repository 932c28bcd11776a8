"""How a study searches: who proposes, what counts, what is ended early, and when there is enough."""

import math
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from mtnat.config import Record, replace
from mtnat.experiment import Experiment

Direction = Literal["max", "min"]


class Metric(NamedTuple):
    """What a run can be judged by."""

    field: str
    """Of its `Result`."""
    meaning: str


METRICS = {
    "valid.bleu": Metric("valid", "sacreBLEU on the validation set"),
    "decode.seconds": Metric("decode_seconds", "seconds in which the validation set is translated"),
    "train.seconds": Metric("train_seconds", "seconds of training, validations not included"),
    "model.parameters": Metric("parameters", "weights of the model, both decoders included"),
}
"""What a search can maximise or minimise; test sets are never searched on."""
MOST_ON_GRID = 100_000
"""Combinations of a grid that is run as a whole."""


class Sampler(Record):
    """Who proposes the trials: one of Optuna's samplers."""

    kind: Literal["tpe", "random", "qmc", "cmaes", "gp", "grid"] = "tpe"
    """tpe: tree-structured Parzen estimator (Bergstra et al. 2011); qmc: scrambled Sobol points; cmaes: CMA-ES, for numbers;
    gp: Gaussian process; grid: every combination of choices and steps, once."""
    seed: int | None = Field(None, ge=0, lt=2**31)
    """Left out, the experiment's. Trials run one at a time are the same for the same seed, in a resumed study too."""
    startup_trials: int | None = Field(None, ge=1)
    """Random proposals before tpe, cmaes or gp learn from what came of them; left out, a quarter of the trials, 2 to 10."""


class Pruner(Record):
    """Ends proposals whose validation score falls behind that of others at the same step. Scores of different annealing
    schedules are not comparable while they are under way (λ differs); `horizon` is the pruning that is fair to them."""

    kind: Literal["asha", "hyperband", "median"]
    """asha: successive halving without waiting (Li et al. 2020); hyperband: several of those, begun at different steps (Li et
    al. 2018); median: below the median of the others."""
    first_step: int = Field(ge=1)
    """Nothing is ended before this step."""
    factor: int = Field(3, ge=2)
    """asha, hyperband: one in so many goes on from rung to rung, whose steps are so many times as far apart."""
    startup_trials: int = Field(4, ge=1)
    """median: so many trials must have ended before any is pruned."""


class Horizon(Record):
    """Successive halving over complete runs: each rung trains for its own, shorter T, with λ's schedule and the warm-up
    compressed to it, and the best of a rung are trained anew for the next T."""

    steps: tuple[int, ...] = Field(min_length=2, strict=False)
    """T of each rung, ascending; the last one is `experiment.training.steps`."""
    keep: float = Field(0.34, gt=0, le=1)
    """Share of a rung's trials that go on to the next, rounded up. With 1 all go on, and the study ends with a report on how
    well each shorter training ranks them."""

    def runs(self, proposals: int) -> list[int]:
        """How many runs there are for each T."""
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
    """When the search stops proposing; whichever comes first. Runs under way end, and the confirm phase follows."""

    trials: int | None = Field(None, ge=1)
    """As `trials` of the study."""
    hours: float | None = Field(None, gt=0)
    """Wall-clock hours since the study began, those in which it was interrupted not included."""
    gpu_hours: float | None = Field(None, gt=0)
    """GPUs times hours, of all runs so far."""


Metrics = Annotated[tuple[dict[str, Direction], ...], Field(min_length=2, strict=False)]


def compressed(experiment: Experiment, steps: int) -> Experiment:
    """The same experiment for a shorter T: λ(t) depends on t/T anyway, and the warm-up keeps its share."""
    training = experiment.training
    warmup = round(training.warmup_steps * steps / training.steps)
    return replace(experiment, {"training.steps": steps, "training.warmup_steps": warmup})
