"""Text for measurements."""

from pathlib import Path

import numpy as np
import pytest

from mtnat.bench.text import MULTI30K, WMT, Lengths, random_pairs, repeat_text, write_text
from mtnat.tokens import SPECIAL


@pytest.mark.parametrize("lengths", [MULTI30K, WMT])
def test_random_sentences_have_the_given_lengths_on_both_sides(lengths: Lengths) -> None:
    pairs = list(random_pairs(lengths, 5_000, 100, seed=1))
    source, target = (np.array([len(pair[side]) for pair in pairs]) for side in (0, 1))
    assert target.mean() == pytest.approx(lengths.mean, rel=0.03)
    assert min(source.min(), target.min()) >= 1
    assert max(source.max(), target.max()) <= lengths.longest
    assert np.corrcoef(source, target)[0, 1] > 0.8
    tokens = {token for pair in pairs for side in pair for token in side}
    assert tokens == set(range(len(SPECIAL), 100))


def test_random_sentences_depend_only_on_the_seed() -> None:
    pairs = [list(random_pairs(MULTI30K, 2_000, 100, seed)) for seed in (1, 1, 2)]
    assert pairs[0] == pairs[1] != pairs[2]
    assert len(pairs[0]) == 2_000


@pytest.mark.parametrize("wanted", [1, 3, 4, 6, 8])
def test_text_is_repeated_to_the_wanted_length(tmp_path: Path, wanted: int) -> None:
    files = (tmp_path / "source", tmp_path / "target")
    assert write_text([("a", "A"), ("b\u2028", "B"), ("c", "C")], files) == 3
    for file in files:
        repeat_text(file, 3, wanted)
    assert files[0].read_text().split("\n") == [*(["a", "b\u2028", "c"] * 3)[:wanted], ""]
    assert files[1].read_text().split("\n") == [*(["A", "B", "C"] * 3)[:wanted], ""]
    assert sorted(tmp_path.iterdir()) == sorted(files)
