"""Batches of similar length: an endless stream whose order depends on nothing but seed and epoch."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtnat.data.store import TokenStore
from mtnat.errors import DataError
from mtnat.tokens import PAD

# B batch, S source, T target, N pairs of the store, M batches of a step


@dataclass(frozen=True)
class Batch:
    """Sentence pairs padded on the right with PAD; every row ends with EOS before its padding."""

    source_BS: Tensor
    target_BT: Tensor
    indices_B: Tensor
    """Which pairs of the store these are."""
    target_tokens: int
    """Target positions that are not PAD, EOS included."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        source_BS = self.source_BS.to(device, non_blocking=True)
        target_BT = self.target_BT.to(device, non_blocking=True)
        return Batch(source_BS, target_BT, self.indices_B, self.target_tokens)


@dataclass(frozen=True)
class Position:
    """The next batch of a stream: how many epochs are done, and how many batches of this one."""

    epoch: int = 0
    batch: int = 0


class BatchStream:
    """Steps of `batches_per_step` batches, epoch after epoch, of which this rank gets its share.

    Where `workers` divides `batches_per_step`, all ranks get equally many batches and, nearly, equally many tokens.
    Which pairs are in a batch depends on neither rank nor workers, so any number of workers trains on the same steps.
    `position` is the same on all ranks, and a stream that starts from it goes on exactly as this one would.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        max_tokens: int,
        seed: int,
        batches_per_step: int = 1,
        rank: int = 0,
        workers: int = 1,
        position: Position = Position(),
    ) -> None:
        """A stream over `store`.

        Args:
            max_tokens: most positions of a batch: sentences times the longest side, padding included.

        Raises:
            DataError: a sentence is longer than `max_tokens`.
        """
        longest = int(store.lengths_N2.max())
        if longest > max_tokens:
            raise DataError(
                f"training.max_tokens_per_batch: must hold the longest sentence, {longest} tokens; got {max_tokens}; "
                "raise it or lower data.max_length."
            )
        self.position = position
        self._store, self._max_tokens, self._seed = store, max_tokens, seed
        self._batches_per_step, self._rank, self._workers = batches_per_step, rank, workers
        self._plan = EpochPlan(store.lengths_N2, max_tokens=max_tokens, seed=seed, epoch=position.epoch)

    def next_step(self) -> list[tuple[int, Batch]]:
        """This rank's batches of the next step, each with its number within the whole step; no others are loaded."""
        step = [self._next_indices() for _ in range(self._batches_per_step)]
        tokens_M = np.array([self._store.lengths_N2[indices_B].sum() for indices_B in step], np.int64)
        share = np.flatnonzero(deal(tokens_M, self._workers) == self._rank)
        return [(int(number), load_batch(self._store, step[number])) for number in share]

    def _next_indices(self) -> npt.NDArray[np.int64]:
        if self.position.batch >= len(self._plan):
            self.position = Position(self.position.epoch + 1)
            lengths_N2 = self._store.lengths_N2
            self._plan = EpochPlan(lengths_N2, max_tokens=self._max_tokens, seed=self._seed, epoch=self.position.epoch)
        indices_B = self._plan[self.position.batch]
        self.position = Position(self.position.epoch, self.position.batch + 1)
        return indices_B


class EpochPlan:
    """Every pair once, in batches: a pure function of lengths, budget, seed and epoch."""

    def __init__(self, lengths_N2: npt.NDArray[np.int32], *, max_tokens: int, seed: int, epoch: int) -> None:
        random = np.random.default_rng([seed, epoch])
        order_N = _by_length(lengths_N2, random)
        longest_N = np.max(lengths_N2, axis=1)[order_N]
        self._order_N = order_N
        # A smaller first batch moves all cuts, so that pairs meet others in every epoch.
        self._cuts = _cuts(longest_N, max_tokens, first=random.uniform(0.5, 1.0))
        self._shuffled = random.permutation(len(self._cuts) - 1)

    def __len__(self) -> int:
        return len(self._shuffled)

    def __getitem__(self, number: int) -> npt.NDArray[np.int64]:
        """The pairs of one batch."""
        batch = self._shuffled[number]
        return self._order_N[self._cuts[batch] : self._cuts[batch + 1]]


def padding_share(lengths_N2: npt.NDArray[np.int32], plan: EpochPlan) -> float:
    """Which share of the positions of an epoch's batches, source and target rectangles, is padding: 0 to 1."""
    lengths_N2 = np.asarray(lengths_N2)  # plain arrays are indexed faster than memory-mapped ones
    tokens = positions = 0
    for number in range(len(plan)):
        lengths_B2 = lengths_N2[plan[number]]
        tokens += int(lengths_B2.sum())
        positions += len(lengths_B2) * int(lengths_B2.max(axis=0).sum())
    return 1 - tokens / positions


def deal(tokens_M: npt.NDArray[np.int64], workers: int) -> npt.NDArray[np.int64]:
    """The rank that each batch of a step goes to: the largest first, back and forth, of equal ones the earlier first."""
    ranks = np.arange(workers)
    rank_M = np.empty(len(tokens_M), np.int64)
    rank_M[np.argsort(-tokens_M, kind="stable")] = np.resize(np.concatenate([ranks, ranks[::-1]]), len(tokens_M))
    return rank_M


def load_batch(store: TokenStore, indices_B: npt.NDArray[np.int64]) -> Batch:
    """The pairs `indices_B` of `store` as tensors."""
    starts_B = store.starts_N[indices_B]
    lengths_B2 = store.lengths_N2[indices_B].astype(np.int64)
    source_BS = _padded(store.tokens, starts_B, lengths_B2[:, 0])
    target_BT = _padded(store.tokens, starts_B + lengths_B2[:, 0], lengths_B2[:, 1])
    return Batch(source_BS, target_BT, torch.from_numpy(indices_B.copy()), int(lengths_B2[:, 1].sum()))


def _by_length(lengths_N2: npt.NDArray[np.int32], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Pairs by their longer side, then by how much longer it is, then at random.

    The second order turns at each length, so that a batch that spans two lengths still holds similar pairs. One
    integer key sorts several times as fast as separate keys.
    """
    source_N, target_N = lengths_N2[:, 0].astype(np.int64), lengths_N2[:, 1].astype(np.int64)
    longest_N = np.maximum(source_N, target_N)
    excess_N = np.where(longest_N % 2 == 0, source_N - target_N, target_N - source_N)
    stride = 2 * int(longest_N.max()) + 4  # more than excesses can differ
    key_N = (longest_N * stride + excess_N << 20) + random.integers(0, 1 << 20, len(longest_N))
    return np.argsort(key_N)


def _cuts(longest_N: npt.NDArray[np.int32], max_tokens: int, first: float) -> npt.NDArray[np.int64]:
    """Where batches begin and end in ascending lengths, each as large as the budget, or `first` of it, allows."""
    cuts = [0]
    budget = max(int(first * max_tokens), int(longest_N[0]))
    while cuts[-1] < len(longest_N):
        start = cuts[-1]
        ahead: npt.NDArray[Any] = longest_N[start : start + budget // int(longest_N[start])].astype(np.int64)
        cuts.append(start + int(np.count_nonzero(ahead * np.arange(1, len(ahead) + 1) <= budget)))
        budget = max_tokens
    return np.array(cuts, np.int64)


def _padded(tokens: npt.NDArray[Any], starts_B: npt.NDArray[np.int64], lengths_B: npt.NDArray[np.int64]) -> Tensor:
    """Rows of `tokens` as int64 [B, longest], PAD on the right."""
    columns = np.arange(int(lengths_B.max()))
    inside = columns < lengths_B[:, None]
    rows = np.full(inside.shape, PAD, np.int64)
    rows[inside] = tokens[(starts_B[:, None] + columns)[inside]]
    return torch.from_numpy(rows)
