"""What training minimises: Eq. 1 of Hao et al. 2021, its parts and its schedules."""

from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.losses import MultiTaskObjective, weights_at
from mtnat.objective.noise import PARTS, Draw, draw_noise

__all__ = ["PARTS", "Draw", "MultiTaskObjective", "ObjectiveConfig", "draw_noise", "weights_at"]
