"""What training minimises: Eq. 1 of Hao et al. 2021, its schedules, and the random choices of a batch."""

from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.cross_entropy import cross_entropy_sum
from mtnat.objective.losses import Loss, MultiTaskObjective
from mtnat.objective.noise import Draw, Moment, Noise, draw_masks

__all__ = ["Draw", "Loss", "Moment", "MultiTaskObjective", "Noise", "ObjectiveConfig", "cross_entropy_sum", "draw_masks"]
