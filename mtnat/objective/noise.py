"""The random choices of one batch: which pieces the NAT decoder must predict, which sentences each decoder sees.

Shapes: B batch, S source, T target, M sentences of the NAT decoder, A of the AT decoder, N positions with a loss.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from mtnat.objective.config import ObjectiveConfig
from mtnat.tokens import BOS, EOS, MASK, PAD

PARTS = ("at", "nat", "length")
"""The parts of the loss, in the order in which tensors of sums and counts hold them."""


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One batch with its noise; built on the host, so that nothing about it ever has to be asked of the device."""

    source_BS: Tensor
    is_padded: bool
    """Whether the source holds any PAD."""
    lengths_B: Tensor
    """Pieces of each target, without EOS."""
    nat_rows_M: Tensor | None
    """The sentences that the NAT decoder sees; None is all of them, in order. Without any it does not run."""
    nat_input_MT: Tensor
    """The target with its drawn pieces replaced by MASK."""
    nat_is_padded: bool
    """Whether that input holds any PAD."""
    nat_positions_N: Tensor
    """Flat indices into M·T of the masked pieces."""
    nat_targets_N: Tensor
    """What stands there in the target."""
    at_rows_A: Tensor | None
    """The sentences that the AT decoder sees, likewise."""
    at_input_AT: Tensor
    """BOS, then the pieces."""
    at_positions_N: Tensor
    """Flat indices into A·T of the tokens the AT decoder predicts, EOS included."""
    at_targets_N: Tensor
    """Those tokens."""
    divisors: Mapping[str, float]
    """What the sum of each of `PARTS` is divided by: its predictions, or, of a sampled batch, how many were to be expected.
    One that was cut from another has those of the whole."""

    @property
    def counts(self) -> dict[str, int]:
        """How many predictions each of `PARTS` sums over."""
        lengths = len(self.lengths_B) if self.divisors["length"] else 0
        return {"at": len(self.at_positions_N), "nat": len(self.nat_positions_N), "length": lengths}

    def split(self, count: int) -> tuple[Self, ...]:
        """The draw cut into so many, of neighbouring sentences, or into as many as it has sentences. Their sums together are
        those of the whole; in one of them a decoder may have no sentence."""
        sentences = len(self.lengths_B)
        count = min(count, sentences)
        if count == 1:
            return (self,)
        cuts = [number * sentences // count for number in range(count + 1)]
        return tuple(self._between(start, end) for start, end in pairwise(cuts))

    def _between(self, start: int, end: int) -> Self:
        source_BS = self.source_BS[start:end]
        nat_rows_M, nat_input_MT, nat_positions_N, nat_targets_N = _seen_between(
            start, end, self.nat_rows_M, self.nat_input_MT, self.nat_positions_N, self.nat_targets_N
        )
        at_rows_A, at_input_AT, at_positions_N, at_targets_N = _seen_between(
            start, end, self.at_rows_A, self.at_input_AT, self.at_positions_N, self.at_targets_N
        )
        return replace(
            self,
            source_BS=source_BS,
            is_padded=bool((source_BS == PAD).any()),
            lengths_B=self.lengths_B[start:end],
            nat_rows_M=nat_rows_M,
            nat_input_MT=nat_input_MT,
            nat_is_padded=bool((nat_input_MT == PAD).any()),
            nat_positions_N=nat_positions_N,
            nat_targets_N=nat_targets_N,
            at_rows_A=at_rows_A,
            at_input_AT=at_input_AT,
            at_positions_N=at_positions_N,
            at_targets_N=at_targets_N,
        )

    def to(self, device: torch.device) -> Self:
        """The same draw on a device; does not wait for it where the host memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Self:
        """The same draw in memory from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: change(value) for name, value in values.items() if isinstance(value, Tensor)}
        return type(self)(**values)


def draw_noise(
    source_BS: Tensor, target_BT: Tensor, config: ObjectiveConfig, nat_weight: float, generator: torch.Generator
) -> Draw:
    """Draws masks and each decoder's sentences.

    Args:
        source_BS: token ids, EOS at the end, PAD after it, on the host.
        target_BT: likewise.
        nat_weight: λ(t); a decoder without weight gets no sentences.
        generator: the only source of randomness, on the host.
    """
    sentences = len(target_BT)
    lengths_B = (target_BT != PAD).sum(1) - 1
    is_masked_BT = draw_masks(lengths_B, target_BT.shape[1], generator)
    is_at_B = _draw_rows(sentences, config.at_fraction, generator) & (nat_weight < 1)
    is_nat_B = torch.full((sentences,), nat_weight > 0)
    divisors = {
        "at": float((lengths_B[is_at_B] + 1).sum()),
        "nat": float(is_masked_BT[is_nat_B].sum()),
        "length": float(is_nat_B.sum()),
    }
    if config.estimator == "sampled":
        # Not what is drawn below, which would make the gradient a ratio of two random numbers, on average not Eq. 1's.
        divisors["nat"] *= nat_weight
        divisors["at"] *= 1 - nat_weight
        is_nat_B &= torch.rand(sentences, generator=generator) < nat_weight
        is_at_B &= ~is_nat_B
    nat_target_MT, at_target_AT = target_BT[is_nat_B], target_BT[is_at_B]
    is_masked_MT, is_token_AT = is_masked_BT[is_nat_B], at_target_AT != PAD
    return Draw(
        source_BS=source_BS,
        is_padded=bool((source_BS == PAD).any()),
        lengths_B=lengths_B,
        nat_rows_M=_rows(is_nat_B),
        nat_input_MT=nat_target_MT.masked_fill(is_masked_MT, MASK),
        nat_is_padded=bool((nat_target_MT == PAD).any()),
        nat_positions_N=is_masked_MT.flatten().nonzero().squeeze(1),
        nat_targets_N=nat_target_MT[is_masked_MT],
        at_rows_A=_rows(is_at_B),
        at_input_AT=_shift_right(at_target_AT),
        at_positions_N=is_token_AT.flatten().nonzero().squeeze(1),
        at_targets_N=at_target_AT[is_token_AT],
        divisors=divisors,
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


def _draw_rows(sentences: int, fraction: float, generator: torch.Generator) -> Tensor:
    """Whether each sentence is in a random subset of this share, which is never empty."""
    if fraction == 1:
        return torch.ones(sentences, dtype=torch.bool)
    chosen = torch.randperm(sentences, generator=generator)[: max(1, round(fraction * sentences))]
    return torch.zeros(sentences, dtype=torch.bool).index_fill_(0, chosen, True)


def _rows(is_in_B: Tensor) -> Tensor | None:
    """The indices of the sentences that are in; None where all are."""
    return None if bool(is_in_B.all()) else is_in_B.nonzero().squeeze(1)


def _seen_between(
    start: int, end: int, rows_R: Tensor | None, input_RT: Tensor, positions_N: Tensor, targets_N: Tensor
) -> tuple[Tensor | None, Tensor, Tensor, Tensor]:
    """The same four of the sentences from `start` up to `end`, counted from there. Rows and positions ascend."""
    first, last = (start, end) if rows_R is None else torch.searchsorted(rows_R, torch.tensor([start, end])).tolist()
    if rows_R is not None:
        rows_R = None if last - first == end - start else rows_R[first:last] - start
    width = input_RT.shape[1]
    predicted = slice(*torch.searchsorted(positions_N, torch.tensor([first * width, last * width])).tolist())
    return rows_R, input_RT[first:last], positions_N[predicted] - first * width, targets_N[predicted]


def _shift_right(target_AT: Tensor) -> Tensor:
    """The AT decoder's input: BOS before the pieces, EOS dropped."""
    shifted_AT = target_AT.roll(1, dims=1)
    shifted_AT[:, 0] = BOS
    return shifted_AT.masked_fill_(shifted_AT == EOS, PAD)
