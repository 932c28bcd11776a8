"""Mask-Predict that masks one block of neighbouring pieces."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.model import ModelConfig
from mtnat.objective import Moment, Noise, ObjectiveConfig
from mtnat.systems import Branch, MaskPredictBranch, System
from mtnat.tokens import MASK, PAD


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

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the place of the block in each sentence."""
        lengths_B = (target_BT != PAD).sum(1) - 1  # without EOS
        sizes_B = (self.share * lengths_B).long().clamp(min=1)
        starts_B = (torch.rand(len(lengths_B), generator=generator) * (lengths_B - sizes_B + 1)).long()
        places_T = torch.arange(target_BT.shape[1])
        is_masked_BT = (places_T >= starts_B[:, None]) & (places_T < (starts_B + sizes_B)[:, None])
        return Noise(
            tensors={
                "input": target_BT.masked_fill(is_masked_BT, MASK),
                "target": target_BT,
                "is_masked": is_masked_BT,
            },
            predictions={"nat": is_masked_BT.sum(1), "length": lengths_B.new_ones(len(lengths_B))},
            head_tensors={"lengths": lengths_B},
            read="is_masked",
        )


class Blocks(System):
    """Mask-Predict, trained on one masked block of each sentence."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)

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
