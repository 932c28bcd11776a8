"""Schedules of λ(t), the weight of the NAT loss, as pure functions of the step."""

import bisect
import itertools
import math
from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record

Knot = Annotated[tuple[float, float], Field(strict=False)]
Weight = Annotated[float, Field(ge=0, le=1)]


class _Annealing(Record, ABC):
    """A function of the progress t/T."""

    def __call__(self, step: int, total_steps: int) -> float:
        """Returns λ at an optimizer update, clipped to [0, 1].

        Args:
            step: t, updates done before this one; steps beyond T count as T.
            total_steps: T.
        """
        return min(1.0, max(0.0, self.at(min(1.0, max(0.0, step / total_steps)))))

    @abstractmethod
    def at(self, progress: float) -> float:
        """Returns λ at ``progress`` = t/T in [0, 1]."""

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The infimum and the supremum of λ over progress in [0, 1), which the updates of a run cover."""

    @property
    def is_constant(self) -> bool:
        """Whether λ is the same at every update."""
        low, high = self.bounds
        return low == high


class Constant(_Annealing):
    """A fixed λ: 0 trains the AT branch alone, 1 the NAT branch alone, a value in between both (Multi-Task NAT)."""

    kind: Literal["constant"] = "constant"
    value: Weight = 0.5
    """λ."""

    def at(self, progress: float) -> float:
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        return self.value, self.value


class _Ramp(_Annealing):
    """An interpolation from `start` to `end`; subclasses define its shape."""

    start: Weight = 0.0
    """λ at the first step."""
    end: Weight = 1.0
    """λ at the last step."""

    def at(self, progress: float) -> float:
        shape = self.shape(progress)
        return (1 - shape) * self.start + shape * self.end  # exact at both ends, unlike start + shape·(end − start)

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)

    @abstractmethod
    def shape(self, progress: float) -> float:
        """Returns the share of the way from `start` to `end`: 0 at progress 0, 1 at progress 1."""


class Linear(_Ramp):
    """Importance annealing as in the paper: λ(t) = t/T (Hao et al. 2021, section 3)."""

    kind: Literal["linear"] = "linear"

    def shape(self, progress: float) -> float:
        return progress


class Power(_Ramp):
    """(t/T)^exponent: an exponent below 1 shifts the change to early steps, one above 1 to late steps."""

    kind: Literal["power"] = "power"
    exponent: float = Field(2.0, gt=0, le=100)
    """Exponent of the progress; 1 is linear."""

    def shape(self, progress: float) -> float:
        return float(progress**self.exponent)


class Cosine(_Ramp):
    """Half a cosine wave, which changes slowly at both ends."""

    kind: Literal["cosine"] = "cosine"

    def shape(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2


class Sigmoid(_Ramp):
    """A logistic curve around a midpoint, rescaled so that it reaches both ends exactly."""

    kind: Literal["sigmoid"] = "sigmoid"
    steepness: float = Field(10.0, gt=0, le=500)
    """Steepness of the logistic function, per unit of progress."""
    midpoint: float = Field(0.5, ge=0, le=1)
    """Progress at which the logistic function is one half."""

    def shape(self, progress: float) -> float:
        low, here, high = (math.tanh(self.steepness * (x - self.midpoint) / 2) for x in (0.0, progress, 1.0))  # 2·logistic − 1
        return (here - low) / (high - low) if high > low else progress  # a steepness that rounds to 0 is linear


class Exponential(_Ramp):
    """1 − e^(−rate·t/T), rescaled to end at 1; a positive rate shifts the change to early steps, a negative one to late
    steps."""

    kind: Literal["exponential"] = "exponential"
    rate: float = Field(5.0, ge=-50, le=50)
    """Rate of the exponential; 0 is linear."""

    def shape(self, progress: float) -> float:
        if self.rate == 0:
            return progress
        return math.expm1(-self.rate * progress) / math.expm1(-self.rate)


class Step(_Ramp):
    """A jump from `start` to `end`, such as pre-training with one decoder and then training the other."""

    kind: Literal["step"] = "step"
    threshold: float = Field(0.5, ge=0, le=1)
    """Progress from which λ is `end`."""

    def shape(self, progress: float) -> float:
        return float(progress >= self.threshold)

    @property
    def bounds(self) -> tuple[float, float]:
        if self.threshold in (0, 1):
            return (self.at(0.0),) * 2
        return super().bounds


class Piecewise(_Annealing):
    """Linear interpolation between knots, constant before the first and after the last knot."""

    kind: Literal["piecewise"] = "piecewise"
    knots: Annotated[tuple[Knot, ...], Field(strict=False, min_length=1)]
    """Pairs [progress, λ] in ascending order of progress; both are between 0 and 1."""

    @model_validator(mode="after")
    def _knots_rise(self) -> Self:
        progress = [knot[0] for knot in self.knots]
        if any(not 0 <= number <= 1 for knot in self.knots for number in knot):
            raise ValueError(f"knots must lie between 0 and 1; got {[list(knot) for knot in self.knots]}")
        if any(later <= earlier for earlier, later in itertools.pairwise(progress)):
            raise ValueError(f"knots must rise in progress; got {progress}")
        return self

    def at(self, progress: float) -> float:
        right = bisect.bisect_right([knot[0] for knot in self.knots], progress)
        if right == 0:
            return self.knots[0][1]
        if right == len(self.knots):
            return self.knots[-1][1]
        (x0, y0), (x1, y1) = self.knots[right - 1], self.knots[right]
        return y0 + (y1 - y0) * (progress - x0) / (x1 - x0)

    @property
    def bounds(self) -> tuple[float, float]:
        weights = [weight for _, weight in self.knots]
        return min(weights), max(weights)


Schedule = Annotated[
    Constant | Linear | Power | Cosine | Sigmoid | Exponential | Step | Piecewise,
    Field(discriminator="kind"),
]
