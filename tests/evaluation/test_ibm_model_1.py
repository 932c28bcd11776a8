"""IBM Model 1 against a textbook loop, one link at a time; see also the tests of the modality."""

import numpy as np
import pytest

from mtnat.evaluation import ibm_model_1
from mtnat.evaluation.ibm_model_1 import NULL, Couples, translation_table


def corpus(pairs: int) -> tuple[list[list[int]], list[list[int]]]:
    """Sources of the words 1 to 9, and their words plus 20, in another order and without the last one."""
    random = np.random.default_rng(1)
    sources = [random.integers(1, 10, size=random.integers(2, 7)).tolist() for _ in range(pairs)]
    return sources, [[word + 20 for word in random.permutation(source[:-1]).tolist()] for source in sources]


def table(sources: list[list[int]], targets: list[list[int]], iterations: int) -> Couples:
    words, other_words = (np.array([word for row in side for word in row], np.uint16) for side in (sources, targets))
    lengths, other_lengths = (np.array([len(row) for row in side]) for side in (sources, targets))
    return translation_table(words, other_words, lengths, other_lengths, iterations)


def textbook(sources: list[list[int]], targets: list[list[int]], iterations: int) -> dict[tuple[int, int], float]:
    pairs = [([NULL, *source], target) for source, target in zip(sources, targets, strict=True)]
    couples = {(x, y) for source, target in pairs for x in source for y in target}
    p = {(x, y): 1 / sum(x == other for other, _ in couples) for x, y in couples}
    for _ in range(iterations):
        count = dict.fromkeys(couples, 0.0)
        for source, target in pairs:
            for y in target:
                total = sum(p[x, y] for x in source)
                for x in source:
                    count[x, y] += p[x, y] / total
        p = {(x, y): each / sum(c for (other, _), c in count.items() if other == x) for (x, y), each in count.items()}
    return p


@pytest.mark.parametrize("links_at_once", [8_000_000, 100, 1])
@pytest.mark.parametrize("iterations", [0, 1, 4])
def test_the_table_equals_the_textbooks_for_any_number_of_links_at_once(
    links_at_once: int, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ibm_model_1, "_LINKS_AT_ONCE", links_at_once)
    sources, targets = corpus(40)
    found, expected = table(sources, targets, iterations), textbook(sources, targets, iterations)
    couples = list(zip(found.source_C.tolist(), found.target_C.tolist(), strict=True))
    assert couples == sorted(expected)
    assert dict(zip(couples, found.p_C.tolist(), strict=True)) == pytest.approx(expected)


def test_a_word_gets_its_translation() -> None:
    found = table(*corpus(400), 5)
    for word in range(1, 10):
        is_its = found.source_C == word
        assert found.target_C[is_its][found.p_C[is_its].argmax()] == word + 20
        assert found.p_C[is_its].sum() == pytest.approx(1)
