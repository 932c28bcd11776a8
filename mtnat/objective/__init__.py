"""The training objective: Eq. 1 of Hao et al. 2021, schedules of its weight λ, and the noise of a batch."""

from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.cross_entropy import cross_entropy_sum
from mtnat.objective.interaction import Predictions
from mtnat.objective.losses import Loss, MultiTaskObjective
from mtnat.objective.noise import Draw, Moment, Noise, draw_masks

__all__ = [
    "Draw",
    "Loss",
    "Moment",
    "MultiTaskObjective",
    "Noise",
    "ObjectiveConfig",
    "Predictions",
    "cross_entropy_sum",
    "draw_masks",
]
