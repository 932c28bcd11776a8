"""The random choices of one batch: which pieces the NAT decoder must predict, which sentences the AT decoder sees.

Shapes: B batch, S source, T target, A sentences of the AT decoder, N positions with a loss.
"""

from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from mtnat.objective.config import ObjectiveConfig
from mtnat.tokens import BOS, EOS, MASK, PAD


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One batch with its noise, ready for the device; built on the host, so that no count ever waits for the device."""

    source_BS: Tensor
    target_BT: Tensor
    lengths_B: Tensor
    """Pieces of each target, without EOS."""
    nat_input_BT: Tensor
    """The target with its drawn pieces replaced by MASK."""
    nat_positions_N: Tensor
    """Flat indices into B·T of the masked pieces."""
    at_rows_A: Tensor | None
    """The sentences that the AT decoder sees; None is all of them, in order."""
    at_input_AT: Tensor
    """BOS, then the pieces."""
    at_positions_N: Tensor
    """Flat indices into A·T of the tokens the AT decoder predicts, EOS included."""

    @property
    def counts(self) -> dict[str, int]:
        """How many predictions each part of the loss sums over."""
        return {"at": len(self.at_positions_N), "nat": len(self.nat_positions_N), "length": len(self.lengths_B)}

    def to(self, device: torch.device) -> Self:
        """The same draw on a device."""
        tensors: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items() if tensor is not None}
        return type(self)(**(tensors | moved))


def draw_noise(source_BS: Tensor, target_BT: Tensor, config: ObjectiveConfig, generator: torch.Generator) -> Draw:
    """Draws masks and the AT decoder's sentences.

    Args:
        source_BS: token ids, EOS at the end, PAD after it, on the host.
        target_BT: likewise.
        generator: the only source of randomness, on the host.
    """
    lengths_B = (target_BT != PAD).sum(1) - 1
    is_masked_BT = draw_masks(lengths_B, target_BT.shape[1], generator)
    at_rows_A = _draw_rows(len(target_BT), config.at_fraction, generator)
    at_target_AT = target_BT if at_rows_A is None else target_BT[at_rows_A]
    return Draw(
        source_BS=source_BS,
        target_BT=target_BT,
        lengths_B=lengths_B,
        nat_input_BT=target_BT.masked_fill(is_masked_BT, MASK),
        nat_positions_N=is_masked_BT.flatten().nonzero().squeeze(1),
        at_rows_A=at_rows_A,
        at_input_AT=_shift_right(at_target_AT),
        at_positions_N=(at_target_AT != PAD).flatten().nonzero().squeeze(1),
    )


def draw_masks(lengths_B: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Which of ``width`` positions are masked: a count uniform on 1..length, then that many positions, uniformly
    (Ghazvininejad et al. 2019, section 3.2).

    Returns:
        bool [B, width]; only the first ``length`` positions of a row can be masked.
    """
    uniform_B = torch.rand(len(lengths_B), generator=generator)
    counts_B = torch.minimum((uniform_B * lengths_B).long() + 1, lengths_B)
    order_BT = torch.rand(len(lengths_B), width, generator=generator)
    order_BT.masked_fill_(torch.arange(width) >= lengths_B[:, None], 2.0)  # above every draw, so these come last
    return order_BT.argsort(1).argsort(1) < counts_B[:, None]


def _draw_rows(sentences: int, fraction: float, generator: torch.Generator) -> Tensor | None:
    """A random subset of the sentences, at least one; None where all of them are meant."""
    if fraction == 1:
        return None
    return torch.randperm(sentences, generator=generator)[: max(1, round(fraction * sentences))].sort().values


def _shift_right(target_AT: Tensor) -> Tensor:
    """The AT decoder's input: BOS before the pieces, EOS dropped."""
    shifted_AT = target_AT.roll(1, dims=1)
    shifted_AT[:, 0] = BOS
    return shifted_AT.masked_fill_(shifted_AT == EOS, PAD)
