"""Mask-Predict that masks one block of neighbouring pieces."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.model import ModelConfig
from mtnat.objective import ObjectiveConfig
from mtnat.systems import Branch, MaskPredictBranch, System


class BlocksBranch(MaskPredictBranch):
    """The branch of Mask-Predict, with one masked block in each sentence."""

    def __init__(
        self,
        share: float,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None,
    ) -> None:
        super().__init__(model, objective, tokens, layers)
        self.share = share

    def masks(self, lengths_B: Tensor, width: int, generator: Generator) -> Tensor:
        """Draws the place of the block in each sentence."""
        sizes_B = (self.share * lengths_B).long().clamp(min=1)
        starts_B = (torch.rand(len(lengths_B), generator=generator) * (lengths_B - sizes_B + 1)).long()
        places_T = torch.arange(width)
        return (places_T >= starts_B[:, None]) & (places_T < (starts_B + sizes_B)[:, None])


class Blocks(System):
    """Mask-Predict, trained on one masked block of each sentence."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)
    is_aligned: ClassVar[bool] = True

    kind: Literal["blocks"] = "blocks"
    share: float = Field(0.5, gt=0, le=1)
    """Share of a sentence that is masked."""

    def nat_branch(
        self,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None,
    ) -> Branch:
        """Builds the branch."""
        return BlocksBranch(self.share, model, objective, tokens, layers)
