"""The training objective: Eq. 1 and its parts."""

from typing import Literal

from pydantic import Field

from mtnat.config import Record
from mtnat.objective.schedules import Linear, Schedule


class ObjectiveConfig(Record):
    """``L = λ(t)·L_nat + (1 − λ(t))·L_at`` (Hao et al. 2021, Eq. 1)."""

    schedule: Schedule = Linear()
    """λ(t), the weight of the NAT loss at step t.

    Constant 0 trains the AT branch alone (Transformer), constant 1 the system's NAT branch alone, another constant both with a
    fixed λ (Multi-Task NAT), and linear both with importance annealing."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Label smoothing of the cross-entropies of tokens, uniform over the vocabulary (the authors' script)."""
    length_weight: float = Field(0.1, ge=0)
    """Weight of the length loss inside L_nat (Ghazvininejad et al. 2019)."""
    encoder_passes: int = Field(1, ge=1, le=2)
    """Encoder passes of a batch: 1 serves both decoders and costs less; 2, as in the authors' code, encodes again for each."""
    at_fraction: float = Field(1.0, gt=0, le=1)
    """Share of a batch's sentences that the AT decoder sees."""
    estimator: Literal["weighted", "sampled"] = "weighted"
    """How a step estimates Eq. 1: weighted sends every sentence to both decoders; sampled sends each to the NAT decoder with
    probability λ(t), else to the AT decoder: the same gradient on average, at less cost."""
