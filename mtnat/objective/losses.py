"""Eq. 1 as a module: one encoder pass, each decoder's states, and logits only where there is a loss.

Shapes: B batch, T target, D width, N positions with a loss, V vocabulary.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtnat.model.translator import Encoded, Translator
from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.noise import Draw

PARTS = ("at", "nat", "length")
"""The parts of the loss, in the order in which tensors of sums and counts hold them."""


def weights_at(config: ObjectiveConfig, step: int, total_steps: int) -> dict[str, float]:
    """The weight of each part at an update (Hao et al. 2021, Eq. 1): 1 − λ, λ, and λ times the length weight."""
    nat = config.schedule(step, total_steps)
    return {"at": 1 - nat, "nat": nat, "length": nat * config.length_weight}


class MultiTaskObjective(nn.Module):
    """The sums of the parts' losses over one draw; the caller divides by counts, once, over workers and batches."""

    def __init__(self, translator: Translator, config: ObjectiveConfig) -> None:
        super().__init__()
        self.translator = translator
        self.config = config

    def forward(self, draw: Draw, scales: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """One forward pass.

        Args:
            draw: a batch with its noise.
            scales: by part, its weight over its count in the whole update.

        Returns:
            The scaled total, to call ``backward`` on, and the unscaled sums, one for each of `PARTS`, detached.
        """
        encoded = self.translator.encode(draw.source_BS)
        sums: dict[str, Tensor] = {}
        if self.config.trains_at:
            sums["at"] = self._at_sum(encoded, draw)
        if self.config.trains_nat:
            if self.config.trains_at and self.config.encoder_passes == 2:
                encoded = self.translator.encode(draw.source_BS)
            sums["nat"], sums["length"] = self._nat_sums(encoded, draw)
        total = torch.stack([scales[part] * value for part, value in sums.items()]).sum()
        zero = total.new_zeros(())
        return total, torch.stack([sums.get(part, zero).detach() for part in PARTS])

    def _at_sum(self, encoded: Encoded, draw: Draw) -> Tensor:
        target_AT = draw.target_BT
        if draw.at_rows_A is not None:
            encoded = Encoded(*(part[draw.at_rows_A] for part in encoded))
            target_AT = target_AT[draw.at_rows_A]
        states_ATD = self.translator.at_states(encoded, draw.at_input_AT)
        return self._cross_entropy_sum(states_ATD, target_AT, draw.at_positions_N)

    def _nat_sums(self, encoded: Encoded, draw: Draw) -> tuple[Tensor, Tensor]:
        states_BTD = self.translator.nat_states(encoded, draw.nat_input_BT)
        length_logits = self.translator.length_logits(encoded).float()
        return (
            self._cross_entropy_sum(states_BTD, draw.target_BT, draw.nat_positions_N),
            F.cross_entropy(length_logits, draw.lengths_B, reduction="sum"),
        )

    def _cross_entropy_sum(self, states_BTD: Tensor, target_BT: Tensor, positions_N: Tensor) -> Tensor:
        """Label-smoothed cross-entropy summed over the given positions; no other position gets logits."""
        states_ND = states_BTD.flatten(0, 1).index_select(0, positions_N)
        logits_NV = self.translator.vocabulary_logits(states_ND).float()
        target_N = target_BT.flatten().index_select(0, positions_N)
        return F.cross_entropy(logits_NV, target_N, label_smoothing=self.config.label_smoothing, reduction="sum")
