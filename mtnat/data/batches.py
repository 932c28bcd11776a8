"""Batches of sentence pairs of similar length, as an endless stream whose order depends only on the seed and the epoch.

Padding costs as much computation as tokens, so a batch should hold pairs of equal length. Each epoch sorts all pairs by
length, cuts the sorted list into batches of at most `max_tokens` positions, and shuffles the batches.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtnat.data.store import TokenStore
from mtnat.errors import DataError
from mtnat.tokens import PAD

# B sentence pairs of a batch, S source positions, T target positions, N pairs of the store, M batches of a step


@dataclass(frozen=True)
class Batch:
    """Sentence pairs, padded on the right with PAD. Each row holds its tokens, then EOS, then padding."""

    source_BS: Tensor
    target_BT: Tensor
    indices_B: Tensor
    """Index of each pair in the store."""
    target_tokens: int
    """Number of target positions that are not PAD, EOS included."""

    def to(self, device: torch.device | str) -> "Batch":
        """Returns a copy of the batch on `device`; `indices_B` stays on the CPU."""
        source_BS = self.source_BS.to(device, non_blocking=True)
        target_BT = self.target_BT.to(device, non_blocking=True)
        return Batch(source_BS, target_BT, self.indices_B, self.target_tokens)


@dataclass(frozen=True)
class Position:
    """The next batch of a stream."""

    epoch: int = 0
    """Completed epochs."""
    batch: int = 0
    """Batches of the current epoch that the stream has returned."""


class BatchStream:
    """Steps of `batches_per_step` batches, epoch after epoch. Each rank gets its share of every step.

    If `workers` divides `batches_per_step`, all ranks get the same number of batches and nearly the same number of tokens.
    The pairs of a batch depend on neither `rank` nor `workers`, so any number of workers trains on the same steps.
    `position` is equal on all ranks. A stream created with this position continues exactly where this stream is now.
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
        """Creates a stream over `store`.

        Args:
            max_tokens: maximum number of positions of a batch, padding included: the number of pairs times the length
                of the longest sentence, source or target.
            position: the first batch to return.

        Raises:
            DataError: if a sentence is longer than `max_tokens`.
        """
        check_fits(store, max_tokens)
        self.position = position
        self._store, self._max_tokens, self._seed = store, max_tokens, seed
        self._batches_per_step, self._rank, self._workers = batches_per_step, rank, workers
        self._plan = EpochPlan(store.lengths_N2, max_tokens=max_tokens, seed=seed, epoch=position.epoch)

    def next_step(self) -> list[tuple[int, Batch]]:
        """Returns the batches of this rank for the next step, each with its number within the step.

        The batches of other ranks are not loaded.
        """
        # Every rank computes the indices of all batches, so that `position` stays equal on all ranks.
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


def check_fits(store: TokenStore, max_tokens: int) -> None:
    """Checks that a batch holds the longest sentence.

    Raises:
        DataError: it does not.
    """
    longest = int(store.lengths_N2.max())
    if longest > max_tokens:
        raise DataError(
            f"training.max_tokens_per_batch: must hold the longest sentence, {longest} tokens; got {max_tokens}; "
            "raise it or lower data.max_length."
        )


class EpochPlan:
    """The batches of one epoch, which hold every pair once: a pure function of lengths, `max_tokens`, seed and epoch."""

    def __init__(self, lengths_N2: npt.NDArray[np.int32], *, max_tokens: int, seed: int, epoch: int) -> None:
        random = np.random.default_rng([seed, epoch])
        order_N = _by_length(lengths_N2, random)
        longest_N = np.max(lengths_N2, axis=1)[order_N]
        self._order_N = order_N
        # A first batch of random size shifts all later cuts, so that a pair shares its batch with other pairs in each epoch.
        self._cuts = _cuts(longest_N, max_tokens, first=random.uniform(0.5, 1.0))
        self._shuffled = random.permutation(len(self._cuts) - 1)

    def __len__(self) -> int:
        return len(self._shuffled)

    def __getitem__(self, number: int) -> npt.NDArray[np.int64]:
        """Returns the indices of the pairs of batch `number` as int64 [B]."""
        batch = self._shuffled[number]
        return self._order_N[self._cuts[batch] : self._cuts[batch + 1]]


def padding_share(lengths_N2: npt.NDArray[np.int32], plan: EpochPlan) -> float:
    """Returns the share of padding among the positions of all batches of an epoch, source and target, from 0 to 1."""
    lengths_N2 = np.asarray(lengths_N2)  # indexing a plain array is faster than indexing a memory-mapped one
    tokens = positions = 0
    for number in range(len(plan)):
        lengths_B2 = lengths_N2[plan[number]]
        tokens += int(lengths_B2.sum())
        positions += len(lengths_B2) * int(lengths_B2.max(axis=0).sum())
    return 1 - tokens / positions


def deal(tokens_M: npt.NDArray[np.int64], workers: int) -> npt.NDArray[np.int64]:
    """Returns the rank of each batch of a step, so that all ranks get nearly the same number of tokens.

    The batches are sorted by tokens, largest first, and go to ranks 0, 1, …, W-1, W-1, …, 1, 0, 0, 1, … in turn.

    Args:
        tokens_M: tokens of each batch. Batches of equal size keep their order.
        workers: number of ranks, W.
    """
    ranks = np.arange(workers)
    rank_M = np.empty(len(tokens_M), np.int64)
    back_and_forth_M = np.resize(np.concatenate([ranks, ranks[::-1]]), len(tokens_M))
    rank_M[np.argsort(-tokens_M, kind="stable")] = back_and_forth_M
    return rank_M


def load_batch(store: TokenStore, indices_B: npt.NDArray[np.int64]) -> Batch:
    """Reads the pairs `indices_B` of `store` as a padded batch."""
    starts_B = store.starts_N[indices_B]
    lengths_B2 = store.lengths_N2[indices_B].astype(np.int64)
    source_BS = _padded(store.tokens, starts_B, lengths_B2[:, 0])
    target_BT = _padded(store.tokens, starts_B + lengths_B2[:, 0], lengths_B2[:, 1])
    return Batch(source_BS, target_BT, torch.from_numpy(indices_B.copy()), int(lengths_B2[:, 1].sum()))


def _by_length(lengths_N2: npt.NDArray[np.int32], random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns the indices of all pairs, sorted by longest side, then by the difference of the sides, then at random.

    The order of the differences is ascending for even lengths and descending for odd ones. The last pairs of one length
    thus resemble the first pairs of the next, and a batch that spans both lengths holds similar pairs.
    """
    source_N, target_N = lengths_N2[:, 0].astype(np.int64), lengths_N2[:, 1].astype(np.int64)
    longest_N = np.maximum(source_N, target_N)
    excess_N = np.where(longest_N % 2 == 0, source_N - target_N, target_N - source_N)
    # All three criteria are packed into one integer, since one key sorts several times as fast as three. `stride` exceeds
    # the range of the differences, so they never outweigh the length; the 20 low bits hold the random number.
    stride = 2 * int(longest_N.max()) + 4
    key_N = (longest_N * stride + excess_N << 20) + random.integers(0, 1 << 20, len(longest_N))
    return np.argsort(key_N)


def _cuts(longest_N: npt.NDArray[np.int32], max_tokens: int, first: float) -> npt.NDArray[np.int64]:
    """Returns the boundaries of the batches in a list of pairs sorted by length, int64 [number of batches + 1].

    Args:
        longest_N: length of the longest side of each pair, ascending.
        max_tokens: maximum number of positions of a batch. Each batch holds as many pairs as fit.
        first: the first batch holds at most `first * max_tokens` positions, but at least one pair.
    """
    cuts = [0]
    budget = max(int(first * max_tokens), int(longest_N[0]))
    while cuts[-1] < len(longest_N):
        start = cuts[-1]
        # No batch holds more pairs than if all were as short as its first. Of these candidates, the first k fit if
        # k times the length of the k-th, the longest of them, is within the budget; this product only grows with k.
        candidates: npt.NDArray[Any] = longest_N[start : start + budget // int(longest_N[start])].astype(np.int64)
        positions = candidates * np.arange(1, len(candidates) + 1)
        cuts.append(start + int(np.count_nonzero(positions <= budget)))
        budget = max_tokens
    return np.array(cuts, np.int64)


def _padded(tokens: npt.NDArray[Any], starts_B: npt.NDArray[np.int64], lengths_B: npt.NDArray[np.int64]) -> Tensor:
    """Returns the slices of `tokens` that begin at `starts_B` as int64 [B, longest of `lengths_B`], PAD on the right."""
    columns = np.arange(int(lengths_B.max()))
    inside = columns < lengths_B[:, None]
    rows = np.full(inside.shape, PAD, np.int64)
    rows[inside] = tokens[(starts_B[:, None] + columns)[inside]]
    return torch.from_numpy(rows)
