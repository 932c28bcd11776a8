from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from mtnat.data import Batch, BatchStream, Position, TokenStore
from mtnat.data.batches import load_batch
from mtnat.data.store import write_store
from mtnat.errors import DataError
from mtnat.tokens import EOS, PAD

PAIRS = 400
BUDGET = 128
START = Position()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Pairs of 1 to 20 pieces a side, the sides about equally long; the tokens of pair i are all 5 + i."""
    random = np.random.default_rng(0)
    sources = random.integers(1, 20, PAIRS)
    targets = np.clip(sources + random.integers(-2, 3, PAIRS), 1, 20)
    pairs = [([5 + i] * int(s), [5 + i] * int(t)) for i, (s, t) in enumerate(zip(sources, targets, strict=True))]
    return write_store(tmp_path_factory.mktemp("store"), pairs, largest_vocabulary=5 + PAIRS, max_length=50)


def stream(store: TokenStore, position: Position = START, **settings: int) -> BatchStream:
    return BatchStream(store, **{"max_tokens": BUDGET, "seed": 1, **settings}, position=position)


def epoch(store: TokenStore, number: int = 0, **settings: int) -> list[Batch]:
    batches = stream(store, Position(number), **settings)
    seen = 0
    found = []
    while seen < len(store):
        found += [batch for _, batch in batches.next_step()]
        seen += len(found[-1].indices_B)
    return found


def members(batches: list[Batch]) -> list[list[int]]:
    return [batch.indices_B.tolist() for batch in batches]


def test_a_batch_holds_its_pairs_padded_on_the_right(tmp_path: Path) -> None:
    three = write_store(tmp_path, [([5, 6], [7]), ([8], [9, 10]), ([11], [12])], largest_vocabulary=20, max_length=9)
    batch = load_batch(three, np.array([2, 0, 1]))
    assert batch.source_BS.tolist() == [[11, EOS, PAD], [5, 6, EOS], [8, EOS, PAD]]
    assert batch.target_BT.tolist() == [[12, EOS, PAD], [7, EOS, PAD], [9, 10, EOS]]
    assert batch.indices_B.tolist() == [2, 0, 1]
    assert batch.target_tokens == 7
    assert batch.source_BS.dtype == batch.target_BT.dtype == torch.int64
    assert torch.equal(batch.to("cpu").source_BS, batch.source_BS)


def test_an_epoch_is_every_pair_once_within_the_budget(store: TokenStore) -> None:
    batches = epoch(store)
    assert sorted(chain.from_iterable(members(batches))) == list(range(PAIRS))
    for batch in batches:
        assert len(batch.indices_B) * max(batch.source_BS.shape[1], batch.target_BT.shape[1]) <= BUDGET
        assert batch.target_tokens == int((batch.target_BT != PAD).sum())
        for index, source, target in zip(batch.indices_B.tolist(), batch.source_BS, batch.target_BT, strict=True):
            assert source[source != PAD].tolist() == store[index][0].tolist()
            assert target[target != PAD].tolist() == store[index][1].tolist()


def test_batches_are_full(store: TokenStore) -> None:
    positions = [len(batch.indices_B) * max(batch.source_BS.shape[1], batch.target_BT.shape[1]) for batch in epoch(store)]
    assert np.median(positions) > 0.9 * BUDGET


def test_order_is_a_pure_function_of_seed_and_epoch(store: TokenStore) -> None:
    assert members(epoch(store)) == members(epoch(store))
    assert members(epoch(store)) != members(epoch(store, seed=2))
    assert members(epoch(store, 5)) == members(epoch(store, 5))


def test_epochs_differ_in_order_and_in_company(store: TokenStore) -> None:
    first, second = ({frozenset(batch) for batch in members(epoch(store, number))} for number in (0, 1))
    assert len(first & second) < len(first) / 2
    lengths = [batch.source_BS.shape[1] for batch in epoch(store)]
    assert lengths != sorted(lengths)


def test_running_on_reaches_the_next_epoch(store: TokenStore) -> None:
    batches = stream(store)
    both = members(epoch(store, 0)) + members(epoch(store, 1))
    assert [batches.next_step()[0][1].indices_B.tolist() for _ in both] == both


@pytest.mark.parametrize("workers", [2, 3, 5])
def test_workers_share_the_steps_of_one_worker(store: TokenStore, workers: int) -> None:
    alone = stream(store, batches_per_step=4)
    ranks = [stream(store, batches_per_step=4, rank=rank, workers=workers) for rank in range(workers)]
    for _ in range(30):
        expected = {number: batch.indices_B.tolist() for number, batch in alone.next_step()}
        parts = [rank.next_step() for rank in ranks]
        shared = sorted((number, batch.indices_B.tolist()) for part in parts for number, batch in part)
        assert shared == sorted(expected.items())
        assert all(number % workers == rank for rank, part in enumerate(parts) for number, _ in part)
        assert {rank.position for rank in ranks} == {alone.position}


@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_a_stream_goes_on_from_a_position_exactly(store: TokenStore, steps: int) -> None:
    batches = stream(store, batches_per_step=3)
    for _ in range(steps):
        batches.next_step()
    resumed = stream(store, batches.position, batches_per_step=3)
    for _ in range(30):
        assert members([b for _, b in batches.next_step()]) == members([b for _, b in resumed.next_step()])
        assert batches.position == resumed.position


def test_a_corpus_smaller_than_a_step_runs_through_epochs(tmp_path: Path) -> None:
    one = write_store(tmp_path, [([5], [6])], largest_vocabulary=9, max_length=9)
    batches = stream(one, batches_per_step=5)
    assert [batch.target_BT.tolist() for _, batch in batches.next_step()] == [[[6, EOS]]] * 5
    assert batches.position == Position(epoch=4, batch=1)


def test_a_sentence_above_the_budget_is_one_sentence(store: TokenStore) -> None:
    longest = int(store.lengths_N2.max())
    with pytest.raises(
        DataError, match=rf"max_tokens_per_batch: must hold the longest sentence, {longest} tokens; got {longest - 1};"
    ):
        stream(store, max_tokens=longest - 1)
    assert len(epoch(store, max_tokens=longest)) > PAIRS / longest


def test_batches_waste_little_on_natural_lengths(tmp_path: Path) -> None:
    """Log-normal lengths around 14 pieces, as image captions have: at most 5 % of the positions are padding."""
    random = np.random.default_rng(0)
    sources = np.clip(random.lognormal(2.6, 0.35, 20_000), 3, 60)
    targets = np.clip(sources * random.normal(1.0, 0.15, 20_000) + random.normal(0, 1, 20_000), 3, 60)
    pairs = [([5] * int(s), [6] * int(t)) for s, t in zip(sources, targets, strict=True)]
    natural = write_store(tmp_path, pairs, largest_vocabulary=9, max_length=100)
    batches = epoch(natural, max_tokens=4096)
    padding = sum(int((side == PAD).sum()) for batch in batches for side in (batch.source_BS, batch.target_BT))
    positions = sum(side.numel() for batch in batches for side in (batch.source_BS, batch.target_BT))
    assert padding / positions <= 0.05


def test_lengths_ascend_before_batches_are_shuffled(store: TokenStore) -> None:
    """Batches cover disjoint ranges of length: sorted by their shortest pair, each ends where the next begins."""
    longest_N = store.lengths_N2.max(axis=1)
    ranges = sorted((int(longest_N[batch].min()), int(longest_N[batch].max())) for batch in members(epoch(store)))
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
