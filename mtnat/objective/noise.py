"""The random choices of one batch: which sentences each branch sees, and what each branch has drawn for them.

Everything here is computed on the host, so that training never has to ask the device.
"""

# B sentences of the batch, S source, T target, R sentences that a branch sees, N positions with a loss

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple, Self

import torch
from torch import Tensor

from mtnat.tokens import PAD


class Moment(NamedTuple):
    """When a loss is computed. Losses that change in the course of training read it."""

    step: int
    """Updates done before this one."""
    total_steps: int
    """T."""
    dropout_seed: int = 0
    """Seed of PyTorch's global generator for this batch. A branch that runs twice seeds it again to draw the same dropout."""

    @property
    def progress(self) -> float:
        """t/T, at most 1."""
        return min(1.0, self.step / self.total_steps)


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What one branch needs of a batch, with its random choices.

    A branch draws noise for every sentence of the batch, so that what it draws does not depend on which sentences it is given.
    All tensors have one row for each sentence, which makes selecting, splitting and moving them the same for every branch.
    """

    tensors: Mapping[str, Tensor]
    """Tensors [B, …] by name; after `only`, [R, …]."""
    predictions: Mapping[str, Tensor]
    """For each part of the loss the number of predictions in each sentence, [B]. Their sum is the divisor of the part. Where
    the number is known only after a forward pass this is an upper bound, and the loss keeps a per-token scale."""
    head_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """Tensors [B, …] that the heads on the encoder's states need. These heads see all sentences of the batch."""
    read: str | None = None
    """Name of the Boolean tensor [B, T] that marks the positions with a loss."""
    rows_R: Tensor | None = None
    """The sentences that the branch sees; None is all of them, in order."""
    positions_N: Tensor | None = None
    """Flat indices into R·T of the positions that `read` marks. Found on the host, because on a GPU finding them would wait."""
    padded: frozenset[str] = frozenset()
    """Names of the token tensors that hold any PAD."""

    @property
    def sentences(self) -> int:
        """R."""
        return len(next(iter(self.tensors.values())))

    def only(self, is_in_B: Tensor) -> Self:
        """Selects the sentences that the branch sees."""
        rows = None if bool(is_in_B.all()) else is_in_B.nonzero().squeeze(1)
        tensors = self.tensors if rows is None else {name: value[is_in_B] for name, value in self.tensors.items()}
        return replace(self, tensors=tensors, rows_R=rows)._looked_up()

    def between(self, start: int, end: int) -> Self:
        """Selects the sentences of the batch from `start` up to `end`, and counts them from there."""
        heads = {name: value[start:end] for name, value in self.head_tensors.items()}
        if self.rows_R is None:
            first, last, rows = start, end, None
        else:  # rows ascend
            first, last = torch.searchsorted(self.rows_R, torch.tensor([start, end])).tolist()
            rows = None if last - first == end - start else self.rows_R[first:last] - start
        tensors = {name: value[first:last] for name, value in self.tensors.items()}
        return replace(self, tensors=tensors, head_tensors=heads, rows_R=rows)._looked_up()

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Applies a function to every tensor that a loss reads."""
        return replace(
            self,
            tensors={name: change(value) for name, value in self.tensors.items()},
            head_tensors={name: change(value) for name, value in self.head_tensors.items()},
            rows_R=None if self.rows_R is None else change(self.rows_R),
            positions_N=None if self.positions_N is None else change(self.positions_N),
        )

    def _looked_up(self) -> Self:
        """Looks up what only the host may look up."""
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
    """Whether the source holds any PAD."""
    noise: Mapping[str, Noise]
    """By branch."""
    divisors: Mapping[str, float]
    """What the sum of each part of the loss is divided by: the number of predictions, or, in a sampled batch, its expectation.
    A part of a batch has the divisors of the whole. A part of the loss with divisor 0 is not computed."""

    def split(self, count: int) -> tuple[Self, ...]:
        """Cuts the batch into at most `count` parts of neighbouring sentences, none of them empty.

        The sums of the parts add up to those of the whole. In one of them a branch may have no sentence.
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
        """Moves the tensors to a device; does not wait for it where the host memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin(self) -> Self:
        """Copies the tensors to memory from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        noise = {name: each.each(change) for name, each in self.noise.items()}
        return replace(self, source_BS=change(self.source_BS), noise=noise)


def draw_masks(lengths_B: Tensor, width: int, generator: torch.Generator) -> Tensor:
    """Draws which of ``width`` positions are masked (Ghazvininejad et al. 2019, section 3.2).

    The number of masked positions is uniform on 1..length, so that training covers every state that mask-predict goes through,
    from all masked to one masked. Then that many positions are drawn, uniformly: each position gets a random number, and
    those with the smallest numbers are masked.

    Returns:
        bool [B, width]; only the first ``length`` positions of a row can be masked.
    """
    uniform_B = torch.rand(len(lengths_B), generator=generator)
    counts_B = torch.minimum((uniform_B * lengths_B).long() + 1, lengths_B)
    order_BT = torch.rand(len(lengths_B), width, generator=generator)
    order_BT.masked_fill_(torch.arange(width) >= lengths_B[:, None], 2.0)  # above every draw, so these come last
    return order_BT.argsort(1).argsort(1) < counts_B[:, None]


def draw_subset(sentences: int, fraction: float, generator: torch.Generator) -> Tensor:
    """Draws a random subset of this share of the sentences, never an empty one, as bool [B]."""
    if fraction == 1:
        return torch.ones(sentences, dtype=torch.bool)
    chosen = torch.randperm(sentences, generator=generator)[: max(1, round(fraction * sentences))]
    return torch.zeros(sentences, dtype=torch.bool).index_fill_(0, chosen, True)
