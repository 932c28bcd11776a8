"""λ(t), the weight of the NAT loss: pure functions of the step."""

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
    """A curve over the progress t/T; subclasses give its shape between 0 and 1."""

    def __call__(self, step: int, total_steps: int) -> float:
        """λ at an optimizer update.

        Args:
            step: t, updates done before this one; steps beyond T count as T.
            total_steps: T.
        """
        return min(1.0, max(0.0, self.at(min(1.0, max(0.0, step / total_steps)))))

    @abstractmethod
    def at(self, progress: float) -> float:
        """λ at ``progress`` = t/T in [0, 1]."""


class Constant(_Annealing):
    """The same weight all the way: 0 is the Transformer, 1 is Mask-Predict, between them Multi-Task NAT with a fixed λ."""

    kind: Literal["constant"] = "constant"
    value: Weight = 0.5
    """λ."""

    def at(self, progress: float) -> float:
        return self.value


class _Ramp(_Annealing):
    """A curve from `start` to `end` along a shape."""

    start: Weight = 0.0
    """λ at the first step."""
    end: Weight = 1.0
    """λ at the last step."""

    def at(self, progress: float) -> float:
        shape = self.shape(progress)
        return (1 - shape) * self.start + shape * self.end  # exact at both ends, unlike start + shape·(end − start)

    @abstractmethod
    def shape(self, progress: float) -> float:
        """0 at 0, 1 at 1."""


class Linear(_Ramp):
    """Importance annealing as in the paper: λ(t) = t/T (Hao et al. 2021, section 3)."""

    kind: Literal["linear"] = "linear"

    def shape(self, progress: float) -> float:
        return progress


class Power(_Ramp):
    """(t/T)^exponent: below 1 hands over early, above 1 late."""

    kind: Literal["power"] = "power"
    exponent: float = Field(2.0, gt=0, le=100)
    """1 is linear."""

    def shape(self, progress: float) -> float:
        return float(progress**self.exponent)


class Cosine(_Ramp):
    """Half a cosine wave: slow at both ends."""

    kind: Literal["cosine"] = "cosine"

    def shape(self, progress: float) -> float:
        return (1 - math.cos(math.pi * progress)) / 2


class Sigmoid(_Ramp):
    """A logistic curve around a midpoint, stretched so that it meets both ends exactly."""

    kind: Literal["sigmoid"] = "sigmoid"
    steepness: float = Field(10.0, gt=0, le=500)
    """Slope of the logistic, per unit of progress."""
    midpoint: float = Field(0.5, ge=0, le=1)
    """Progress at which the logistic is one half."""

    def shape(self, progress: float) -> float:
        low, here, high = (math.tanh(self.steepness * (x - self.midpoint) / 2) for x in (0.0, progress, 1.0))  # 2·logistic − 1
        return (here - low) / (high - low) if high > low else progress  # a steepness that rounds to none is linear


class Exponential(_Ramp):
    """1 − e^(−rate·t/T), stretched to end at 1; a negative rate hands over late."""

    kind: Literal["exponential"] = "exponential"
    rate: float = Field(5.0, ge=-50, le=50)
    """Curvature; 0 is linear."""

    def shape(self, progress: float) -> float:
        if self.rate == 0:
            return progress
        return math.expm1(-self.rate * progress) / math.expm1(-self.rate)


class Step(_Ramp):
    """Pre-training on one decoder, then the other: `start` until a point, then `end`."""

    kind: Literal["step"] = "step"
    threshold: float = Field(0.5, ge=0, le=1)
    """Progress from which `end` holds."""

    def shape(self, progress: float) -> float:
        return float(progress >= self.threshold)


class Piecewise(_Annealing):
    """Straight lines between knots; flat before the first and after the last."""

    kind: Literal["piecewise"] = "piecewise"
    knots: Annotated[tuple[Knot, ...], Field(strict=False, min_length=1)]
    """Pairs [progress, λ], progress rising, both between 0 and 1."""

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


Schedule = Annotated[
    Constant | Linear | Power | Cosine | Sigmoid | Exponential | Step | Piecewise,
    Field(discriminator="kind"),
]
