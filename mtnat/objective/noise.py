"""The random choices of one batch: the sentences that each branch sees, and the noise that each branch draws for them.

Everything here is computed on the host, so that training never waits for the device.
"""

# B sentences of the batch, S source, T target, R sentences that a branch sees, N positions with a loss

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor

from mtnat.tokens import PAD


class Moment(NamedTuple):
    """The time in training at which a loss is computed, for losses that change during training."""

    step: int
    """Updates done before this one."""
    total_steps: int
    """T, the total number of updates."""
    dropout_seed: int = 0
    """Seed of PyTorch's global generator for this batch, set before the encoder runs."""

    @property
    def progress(self) -> float:
        """t/T, at most 1."""
        return min(1.0, self.step / self.total_steps)

    def seed_of(self, purpose: str) -> int:
        """Returns a seed for this batch that differs from `dropout_seed` and between purposes.

        A branch that runs its decoder twice sets the global generator to such a seed before each pass, to get the same dropout.
        """
        digest = hashlib.blake2b(f"{purpose} {self.dropout_seed}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The inputs and targets of one branch for a batch, with the branch's random choices.

    A branch draws noise for every sentence of the batch. Its draws therefore do not depend on which of the sentences it later
    sees. All tensors have one row per sentence, so that selecting, splitting and moving them is the same for every branch.
    """

    tensors: Mapping[str, Tensor]
    """Tensors [B, …] by name; after `only`, [R, …]."""
    predictions: Mapping[str, Tensor]
    """For each part of the loss the number of predictions in each sentence of the batch, [B], also after `only`. Their sum is
    the divisor of the part. If the number is known only after a forward pass, this is an upper bound, and the loss keeps its
    per-token scale."""
    head_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors [B, …] for heads that read the encoder states, such as the length head. They see all sentences of the batch."""
    host_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors [B, …], after `only` [R, …], that a loss reads on the host, such as lengths that a kernel needs there. They are
    not moved to the device, so that reading them does not wait for it."""
    read: str | None = None
    """Name of the Boolean tensor [B, T] that marks the positions with a loss."""
    rows_R: Tensor | None = None
    """Indices of the sentences that the branch sees, ascending; None is all sentences."""
    positions_N: Tensor | None = None
    """Flat indices into R·T of the positions that `read` marks. The host computes them, because `nonzero` on a GPU would make
    it wait."""
    padded: frozenset[str] = frozenset()
    """Names of the token tensors that contain PAD."""

    @property
    def sentences(self) -> int:
        """R, the number of sentences that the branch sees."""
        return len(next(iter(self.tensors.values())))

    def sees(self, sentences: int) -> Tensor:
        """Returns whether the branch sees each of the sentences of the batch, bool [B]; on the host."""
        if self.rows_R is None:
            return torch.ones(sentences, dtype=torch.bool)
        return torch.zeros(sentences, dtype=torch.bool).index_fill_(0, self.rows_R, True)

    def only(self, is_in_B: Tensor) -> Self:
        """Selects the sentences that the branch sees."""
        rows = None if bool(is_in_B.all()) else is_in_B.nonzero().squeeze(1)
        if rows is None:
            return replace(self, rows_R=None)._looked_up()
        tensors, host = ({name: value[rows] for name, value in each.items()} for each in (self.tensors, self.host_tensors))
        return replace(self, tensors=tensors, host_tensors=host, rows_R=rows)._looked_up()

    def between(self, start: int, end: int) -> Self:
        """Selects the sentences from `start` up to `end` of the batch and renumbers them from 0."""
        heads = {name: value[start:end] for name, value in self.head_tensors.items()}
        if self.rows_R is None:
            first, last, rows = start, end, None
        else:  # rows_R ascends, so the sentences in the range are neighbours
            first, last = torch.searchsorted(self.rows_R, torch.tensor([start, end])).tolist()
            rows = None if last - first == end - start else self.rows_R[first:last] - start
        tensors, host = (
            {name: value[first:last] for name, value in each.items()} for each in (self.tensors, self.host_tensors)
        )
        predictions = {name: value[start:end] for name, value in self.predictions.items()}
        return replace(
            self, tensors=tensors, head_tensors=heads, host_tensors=host, predictions=predictions, rows_R=rows
        )._looked_up()

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Applies a function to every tensor that a loss reads on the device."""
        return replace(
            self,
            tensors={name: change(value) for name, value in self.tensors.items()},
            head_tensors={name: change(value) for name, value in self.head_tensors.items()},
            rows_R=None if self.rows_R is None else change(self.rows_R),
            positions_N=None if self.positions_N is None else change(self.positions_N),
        )

    def _looked_up(self) -> Self:
        """Fills in `positions_N` and `padded`, which depend on the values of tensors and are only cheap on the host."""
        tokens = {name: value for name, value in self.tensors.items() if value.dtype == torch.int64 and value.ndim == 2}
        return replace(
            self,
            positions_N=None if self.read is None else self.tensors[self.read].flatten().nonzero().squeeze(1),
            padded=frozenset(name for name, value in tokens.items() if bool((value == PAD).any())),
        )


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One batch, or a part of one, with the noise of every branch."""

    source_BS: Tensor
    is_padded: bool
    """Whether the source contains PAD."""
    noise: Mapping[str, Noise]
    """The noise of each branch."""
    divisors: Mapping[str, float]
    """The divisor of each part of the loss: the number of predictions, or its expectation if branches are sampled. A part of a
    batch keeps the divisors of the whole batch. A part of the loss with divisor 0 is not computed."""

    def split(self, count: int) -> tuple[Self, ...]:
        """Splits the batch into at most `count` non-empty parts of neighbouring sentences.

        The losses of the parts add up to the loss of the whole batch. A branch may have no sentence in a part.
        """
        sentences = len(self.source_BS)
        count = min(count, sentences)
        if count == 1:
            return (self,)
        cuts = [number * sentences // count for number in range(count + 1)]
        return tuple(self._between(start, end) for start, end in pairwise(cuts))

    def _between(self, start: int, end: int) -> Self:
        source_BS = self.source_BS[start:end]
        noise = {name: each.between(start, end) for name, each in self.noise.items()}
        return replace(self, source_BS=source_BS, is_padded=bool((source_BS == PAD).any()), noise=noise)

    def to(self, device: torch.device) -> Self:
        """Moves the tensors to a device; asynchronous if the host memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Self:
        """Copies the tensors to pinned memory, from which a GPU copies asynchronously."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        noise = {name: each.each(change) for name, each in self.noise.items()}
        return replace(self, source_BS=change(self.source_BS), noise=noise)


def draw_masks(lengths_B: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draws the masked positions of each sentence (Ghazvininejad et al. 2019, section 3.2).

    The number of masked positions is uniform on 1..length, so that training covers every state of mask-predict, from all
    pieces masked to one. Then this number of positions is drawn uniformly without replacement: each position gets a random
    number, and the positions with the smallest numbers are masked.

    Args:
        lengths_B: number of pieces of each sentence.
        width: number of columns of the result.

    Returns:
        bool [B, width]; only the first ``length`` positions of a row can be masked.
    """
    uniform_B = torch.rand(len(lengths_B), generator=generator)
    counts_B = torch.minimum((uniform_B * lengths_B).long() + 1, lengths_B)
    order_BT = torch.rand(len(lengths_B), width, generator=generator)
    order_BT.masked_fill_(torch.arange(width) >= lengths_B[:, None], 2.0)  # above every draw in [0, 1), so these rank last
    # The second argsort turns the order into ranks: [b, t] is the rank of position t among the random numbers of row b.
    return order_BT.argsort(1).argsort(1) < counts_B[:, None]


def draw_subset(sentences: int, fraction: float, generator: torch.Generator) -> Tensor:
    """Draws a random subset with this fraction of the sentences, at least one; returns bool [B]."""
    if fraction == 1:
        return torch.ones(sentences, dtype=torch.bool)
    chosen = torch.randperm(sentences, generator=generator)[: max(1, round(fraction * sentences))]
    return torch.zeros(sentences, dtype=torch.bool).index_fill_(0, chosen, True)
