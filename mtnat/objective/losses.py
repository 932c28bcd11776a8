"""Eq. 1 as a module: one encoder pass, each decoder's states, and logits only where there is a loss.

Shapes: B batch, T target, D width, N positions with a loss, V vocabulary.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtnat.model.translator import Encoded, Translator
from mtnat.objective.branch import differentiated_now
from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.cross_entropy import cross_entropy_sum
from mtnat.objective.noise import PARTS, Draw


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
        """One forward pass, of the decoders that the draw has sentences for.

        Args:
            draw: a batch with its noise.
            scales: by part, its weight over its divisor in the whole update.

        Returns:
            The scaled total, to call ``backward`` on, and the unscaled sums, one for each of `PARTS`, detached.
        """
        losses: dict[str, tuple[Tensor, Tensor]] = {}
        encoded = self.translator.encode(draw.source_BS, draw.is_padded)
        if draw.counts["at"]:
            losses["at"] = self._now(
                self.translator.at_decoder, lambda encoded: self._at_sum(encoded, draw), encoded, scales["at"]
            )
            if draw.counts["length"] and self.config.encoder_passes == 2:
                encoded = self.translator.encode(draw.source_BS, draw.is_padded)
        if draw.counts["nat"]:
            losses["nat"] = self._now(
                self.translator.nat_decoder, lambda encoded: self._nat_sum(encoded, draw), encoded, scales["nat"]
            )
        if draw.counts["length"]:
            length_logits = self.translator.length_logits(encoded).float()
            length_sum = F.cross_entropy(length_logits, draw.lengths_B, reduction="sum")
            losses["length"] = length_sum * scales["length"], length_sum.detach()
        total = torch.stack([scaled for scaled, _ in losses.values()]).sum()
        zero = total.new_zeros(())
        return total, torch.stack([losses[part][1] if part in losses else zero for part in PARTS])

    def _now(
        self, decoder: nn.Module | None, loss: Callable[[Encoded], Tensor], encoded: Encoded, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The scaled sum of a decoder's loss, differentiated at once, and the sum itself."""
        assert decoder is not None

        def scaled(states_BSD: Tensor) -> tuple[Tensor, Tensor]:
            value = loss(encoded._replace(states_BSD=states_BSD))
            return value * scale, value.detach()

        parameters = [*decoder.parameters(), self.translator.target_tokens.weight]
        return differentiated_now(scaled, encoded.states_BSD, parameters)

    def _at_sum(self, encoded: Encoded, draw: Draw) -> Tensor:
        states_ATD = self.translator.at_states(encoded.only(draw.at_rows_A), draw.at_input_AT)
        return self._cross_entropy_sum(states_ATD.flatten(0, 1).index_select(0, draw.at_positions_N), draw.at_targets_N)

    def _nat_sum(self, encoded: Encoded, draw: Draw) -> Tensor:
        states_ND = self.translator.nat_states(
            encoded.only(draw.nat_rows_M), draw.nat_input_MT, draw.nat_is_padded, draw.nat_positions_N
        )
        return self._cross_entropy_sum(states_ND, draw.nat_targets_N)

    def _cross_entropy_sum(self, states_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Label-smoothed cross-entropy summed over positions; no others get logits."""
        return cross_entropy_sum(states_ND, self.translator.target_tokens.weight, targets_N, self.config.label_smoothing)
