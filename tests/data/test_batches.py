from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtnat.data import Batch, BatchStream, DataConfig, EpochPlan, Position, TokenStore, padding_share, prepare, write_store
from mtnat.data.batches import deal, load_batch
from mtnat.errors import DataError
from mtnat.tokens import EOS, PAD

PAIRS = 400
BUDGET = 128
START = Position()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Pairs of 1 to 20 pieces a side, both sides about equally long; all tokens of pair i are 5 + i."""
    random = np.random.default_rng(0)
    sources = random.integers(1, 20, PAIRS)
    targets = np.clip(sources + random.integers(-2, 3, PAIRS), 1, 20)
    pairs = [([5 + i] * int(s), [5 + i] * int(t)) for i, (s, t) in enumerate(zip(sources, targets, strict=True))]
    return write_store(tmp_path_factory.mktemp("store"), pairs, largest_vocabulary=5 + PAIRS, max_length=50)


@pytest.fixture(scope="module")
def natural(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """20,000 pairs of log-normal lengths around 14 pieces, like image captions."""
    random = np.random.default_rng(0)
    sources = np.clip(random.lognormal(2.6, 0.35, 20_000), 3, 60)
    targets = np.clip(sources * random.normal(1.0, 0.15, 20_000) + random.normal(0, 1, 20_000), 3, 60)
    pairs = [([5] * int(s), [6] * int(t)) for s, t in zip(sources, targets, strict=True)]
    return write_store(tmp_path_factory.mktemp("natural"), pairs, largest_vocabulary=9, max_length=100)


def plan(store: TokenStore, number: int = 0) -> EpochPlan:
    return EpochPlan(store.lengths_N2, max_tokens=4096, seed=1, epoch=number)


def tokens_of(batch: Batch) -> int:
    return sum(int((side != PAD).sum()) for side in (batch.source_BS, batch.target_BT))


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


def test_an_epoch_holds_every_pair_once_within_the_token_budget(store: TokenStore) -> None:
    batches = epoch(store)
    assert sorted(chain.from_iterable(members(batches))) == list(range(PAIRS))
    for batch in batches:
        assert len(batch.indices_B) * max(batch.source_BS.shape[1], batch.target_BT.shape[1]) <= BUDGET
        assert batch.target_tokens == int((batch.target_BT != PAD).sum())
        for index, source, target in zip(batch.indices_B.tolist(), batch.source_BS, batch.target_BT, strict=True):
            assert source[source != PAD].tolist() == store[index][0].tolist()
            assert target[target != PAD].tolist() == store[index][1].tolist()


def test_batches_are_nearly_full(store: TokenStore) -> None:
    positions = [len(batch.indices_B) * max(batch.source_BS.shape[1], batch.target_BT.shape[1]) for batch in epoch(store)]
    assert np.median(positions) > 0.9 * BUDGET


def test_the_order_of_batches_depends_only_on_seed_and_epoch(store: TokenStore) -> None:
    assert members(epoch(store)) == members(epoch(store))
    assert members(epoch(store)) != members(epoch(store, seed=2))
    assert members(epoch(store, 5)) == members(epoch(store, 5))


def test_epochs_differ_in_order_and_in_the_pairs_of_a_batch(store: TokenStore) -> None:
    first, second = ({frozenset(batch) for batch in members(epoch(store, number))} for number in (0, 1))
    assert len(first & second) < len(first) / 2
    lengths = [batch.source_BS.shape[1] for batch in epoch(store)]
    assert lengths != sorted(lengths)


def test_the_stream_continues_with_the_next_epoch(store: TokenStore) -> None:
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
        assert all(numbers == sorted(numbers) for numbers in ([number for number, _ in part] for part in parts))
        assert {rank.position for rank in ranks} == {alone.position}


@pytest.mark.parametrize(
    ("tokens", "workers", "ranks"),
    [
        ([50, 80, 60, 70], 2, [0, 0, 1, 1]),  # sorted 80, 70, 60, 50 for ranks 0, 1, 1, 0
        ([9, 8, 7, 6, 5, 4], 3, [0, 1, 2, 2, 1, 0]),
        ([5, 5, 5, 5], 2, [0, 1, 1, 0]),
        ([3, 9], 1, [0, 0]),
        ([1, 2], 3, [1, 0]),
    ],
)
def test_batches_are_dealt_back_and_forth_by_their_tokens(tokens: list[int], workers: int, ranks: list[int]) -> None:
    assert deal(np.array(tokens), workers).tolist() == ranks


@pytest.mark.parametrize("workers", [2, 4, 8])
def test_ranks_get_equally_many_batches_and_nearly_equally_many_tokens(natural: TokenStore, workers: int) -> None:
    """The numbers of tokens differ less than if batch m went to rank m modulo the number of workers."""
    number_of_batches = 8
    ranks = [
        stream(natural, max_tokens=4096, batches_per_step=number_of_batches, rank=rank, workers=workers)
        for rank in range(workers)
    ]
    spreads, modulo_spreads = [], []
    for _ in range(30):
        parts = [rank.next_step() for rank in ranks]
        assert {len(part) for part in parts} == {number_of_batches // workers}
        tokens = {number: tokens_of(batch) for part in parts for number, batch in part}
        spreads.append(np.ptp([sum(tokens[number] for number, _ in part) for part in parts]))
        modulo_spreads.append(np.ptp([sum(tokens[m] for m in range(r, number_of_batches, workers)) for r in range(workers)]))
    if workers < number_of_batches:  # otherwise each rank gets one batch in either way
        assert np.mean(spreads) < 0.7 * np.mean(modulo_spreads)
    else:
        assert spreads == modulo_spreads


class CountedTokens(np.ndarray[Any, np.dtype[Any]]):
    """Tokens that count how many of them were read."""

    read = 0

    def __getitem__(self, key: Any) -> Any:
        self.read += np.size(key)
        return np.asarray(self)[key]


def test_only_the_batches_of_this_rank_are_read(store: TokenStore) -> None:
    counted = TokenStore(store.folder)
    counted.tokens = tokens = np.asarray(store.tokens).view(CountedTokens)
    batches = stream(counted, batches_per_step=4, rank=1, workers=2)
    loaded = sum(tokens_of(batch) for _ in range(20) for _, batch in batches.next_step())
    assert tokens.read == loaded


@pytest.mark.parametrize("steps", [0, 1, 7, 40])
def test_a_stream_resumes_exactly_from_a_position(store: TokenStore, steps: int) -> None:
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


def test_a_sentence_longer_than_a_batch_is_refused(store: TokenStore) -> None:
    longest = int(store.lengths_N2.max())
    with pytest.raises(
        DataError, match=rf"max_tokens_per_batch: must hold the longest sentence, {longest} tokens; got {longest - 1};"
    ):
        stream(store, max_tokens=longest - 1)
    assert len(epoch(store, max_tokens=longest)) > PAIRS / longest


def test_batches_of_natural_lengths_have_little_padding(natural: TokenStore) -> None:
    """At most 5 % of the positions of the tensors are padding."""
    batches = epoch(natural, max_tokens=4096)
    padding = sum(int((side == PAD).sum()) for batch in batches for side in (batch.source_BS, batch.target_BT))
    positions = sum(side.numel() for batch in batches for side in (batch.source_BS, batch.target_BT))
    assert padding / positions <= 0.05
    assert padding_share(natural.lengths_N2, plan(natural)) == pytest.approx(padding / positions, rel=1e-12)


def test_the_padding_share_counts_both_sides(tmp_path: Path) -> None:
    lengths_N2 = np.array([[2, 4], [4, 3]], np.int32)
    together = EpochPlan(
        lengths_N2, max_tokens=16, seed=1, epoch=0
    )  # the first batch has at least 8 positions, enough for both
    assert len(together) == 1
    assert padding_share(lengths_N2, together) == pytest.approx(1 - 13 / 16)
    assert padding_share(lengths_N2, EpochPlan(lengths_N2, max_tokens=4, seed=1, epoch=0)) == 0


REAL_CORPORA = {
    "multi30k": ("multi30k/train", "multi30k/val", "multi30k/test_2016_flickr"),
    "tatoeba": ("tatoeba_en_de/train", "tatoeba_en_de/dev", "tatoeba_en_de/test"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_CORPORA)
def test_batches_of_real_corpora_have_little_padding(corpora: Path, name: str) -> None:
    """At most 5 % of the positions in any of three epochs with 4,096 tokens a batch, with the pieces of a BPE vocabulary."""
    if not (corpora / REAL_CORPORA[name][0]).parent.is_dir():
        pytest.skip(f"needs {REAL_CORPORA[name][0]}.* under $MTNAT_DATA")
    train, valid, test = ((f"{file}.en.gz", f"{file}.de.gz") for file in REAL_CORPORA[name])
    store = prepare(DataConfig(train=train, valid=valid, test=test, vocabulary_size=8_000)).train
    assert max(padding_share(store.lengths_N2, plan(store, number)) for number in range(3)) <= 0.05


def test_batches_are_not_ordered_by_length(natural: TokenStore) -> None:
    """Over ten epochs, the length of a batch is correlated with neither its position nor the length of the previous batch."""
    by_place, by_neighbour = [], []
    for number in range(10):
        plan_ = plan(natural, number)
        lengths = np.array([natural.lengths_N2[plan_[m]].mean() for m in range(len(plan_))])
        by_place.append(np.corrcoef(np.arange(len(lengths)), lengths)[0, 1])
        by_neighbour.append(np.corrcoef(lengths[1:], lengths[:-1])[0, 1])
    assert abs(np.mean(by_place)) < 0.1
    assert abs(np.mean(by_neighbour)) < 0.1


def test_a_pair_shares_its_batch_with_other_pairs_in_every_epoch(natural: TokenStore) -> None:
    """More than a third of the pairs that share a batch are in different batches in the next epoch, despite equal lengths."""
    batch_of = np.empty((2, len(natural)), np.int64)
    for number in range(2):
        plan_ = plan(natural, number)
        for m in range(len(plan_)):
            batch_of[number, plan_[m]] = m
    company = np.unique(batch_of[0], return_counts=True)[1]
    again = np.unique(batch_of, axis=1, return_counts=True)[1]  # pairs that share a batch in both epochs
    assert (again * (again - 1)).sum() / (company * (company - 1)).sum() < 0.65


def test_lengths_ascend_before_batches_are_shuffled(store: TokenStore) -> None:
    """Batches cover disjoint ranges of length: sorted by their shortest pair, each ends at the length where the next begins."""
    longest_N = store.lengths_N2.max(axis=1)
    ranges = sorted((int(longest_N[batch].min()), int(longest_N[batch].max())) for batch in members(epoch(store)))
    assert all(before[1] <= after[0] for before, after in pairwise(ranges))
