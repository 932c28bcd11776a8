"""The training objective: Eq. 1 and its parts."""

from typing import Literal

from pydantic import Field

from mtnat.config import Record
from mtnat.objective.schedules import Linear, Schedule


class ObjectiveConfig(Record):
    """``L = λ(t)·L_nat + (1 − λ(t))·L_at`` (Hao et al. 2021, Eq. 1)."""

    schedule: Schedule = Linear()
    """λ(t), the weight of the NAT loss at step t.

    Constant 0 is the Transformer (AT only), constant 1 is Mask-Predict (NAT only), another constant is Multi-Task NAT, linear
    is Multi-Task NAT with importance annealing."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Label smoothing of both decoders' cross-entropies, uniform over the vocabulary (A.1)."""
    length_weight: float = Field(0.1, ge=0)
    """Weight of the length loss inside L_nat (Ghazvininejad et al. 2019)."""
    encoder_passes: int = Field(1, ge=1, le=2)
    """Unlike the authors' code, which encodes the source anew for each decoder (2), one pass serves both: it costs less."""
    at_fraction: float = Field(1.0, gt=0, le=1)
    """Share of a batch's sentences that the AT decoder sees; the paper halves its AT batch (A.1)."""
    estimator: Literal["weighted", "sampled"] = "weighted"
    """How a step estimates Eq. 1: weighted sends every sentence to both decoders; sampled sends each to the NAT decoder with
    probability λ(t), else to the AT decoder: the same gradient on average, at less cost."""
