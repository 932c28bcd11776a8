import pickle
from pathlib import Path

import numpy as np
import pytest

from mtnat.data import TokenStore
from mtnat.data.store import EncodedPair, write_store
from mtnat.errors import DataError
from mtnat.tokens import EOS

PAIRS: list[EncodedPair] = [([5, 6, 7], [8]), ([9], [10, 11]), ([12], [13])]


def write(folder: Path, pairs: list[EncodedPair] = PAIRS, largest_vocabulary: int = 100, max_length: int = 9) -> TokenStore:
    return write_store(folder, pairs, largest_vocabulary=largest_vocabulary, max_length=max_length)


def test_pairs_are_read_back_with_eos(tmp_path: Path) -> None:
    store = write(tmp_path)
    assert len(store) == 3
    assert [(source.tolist(), target.tolist()) for source, target in (store[i] for i in range(3))] == [
        ([5, 6, 7, EOS], [8, EOS]),
        ([9, EOS], [10, 11, EOS]),
        ([12, EOS], [13, EOS]),
    ]
    assert store.lengths_N2.tolist() == [[4, 2], [2, 3], [2, 2]]
    assert store.lengths_N2.dtype == np.int32


@pytest.mark.parametrize(("pieces", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_tokens_have_the_smallest_type_that_holds_the_vocabulary(tmp_path: Path, pieces: int, dtype: str) -> None:
    store = write(tmp_path, [([pieces - 1], [pieces - 2])], largest_vocabulary=pieces)
    assert store.tokens.dtype == dtype
    assert store[0][0].tolist() == [pieces - 1, EOS]


def test_empty_sides_and_long_pairs_are_left_out_and_counted(tmp_path: Path) -> None:
    store = write(tmp_path, [([], [5]), ([5], []), ([5, 5, 5], [6]), ([6], [5, 5, 5, 5]), ([5, 5, 5], [5, 5, 5])], max_length=4)
    assert store.lengths_N2.tolist() == [[4, 2], [4, 4]]
    assert store.left_out == 3


def test_the_store_does_not_depend_on_chunks(tmp_path: Path) -> None:
    """Many chunks give the same tokens as writing them one by one."""
    random = np.random.default_rng(0)
    sizes = random.integers(0, 9, (20_000, 2))
    pairs = [(random.integers(5, 100, s).tolist(), random.integers(5, 100, t).tolist()) for s, t in sizes]
    kept = [pair for pair in pairs if all(0 < len(side) < 8 for side in pair)]
    store = write_store(tmp_path, iter(pairs), largest_vocabulary=100, max_length=8)
    assert store.tokens.tolist() == [token for pair in kept for side in pair for token in (*side, EOS)]
    assert store.lengths_N2.tolist() == [[len(source) + 1, len(target) + 1] for source, target in kept]
    assert store.starts_N[:3].tolist() == [0, *np.cumsum(store.lengths_N2.sum(axis=1))[:2].tolist()]
    assert store[len(store) - 1][1].tolist() == [*kept[-1][1], EOS]
    assert store.left_out == len(pairs) - len(kept)


def test_a_store_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^data\.train: every pair has an empty side or exceeds data\.max_length"):
        write(tmp_path, [([], [5])])


def test_a_store_is_memory_mapped_and_pickles_as_its_path(tmp_path: Path) -> None:
    store = write(tmp_path, [([5] * 500, [6] * 500)] * 200, max_length=1_000)
    assert isinstance(store.tokens, np.memmap)
    assert isinstance(store.starts_N, np.memmap)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1_000
    assert pickle.loads(pickled)[199][1].tolist() == [6] * 500 + [EOS]


@pytest.mark.parametrize("damage", ["store.json", "tokens.bin", "starts.npy", "lengths.npy"])
def test_an_incomplete_store_is_refused(tmp_path: Path, damage: str) -> None:
    write(tmp_path)
    path = tmp_path / damage
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="is not a complete token store"):
        TokenStore(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="is not a complete token store"):
        TokenStore(tmp_path)
