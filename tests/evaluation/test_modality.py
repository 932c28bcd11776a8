import gzip
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import mtnat.evaluation.modality as modality_module
from mtnat.errors import DataError
from mtnat.evaluation.modality import modality


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


def ciphered(pairs: int, forms: int = 1) -> tuple[list[str], list[str]]:
    """Returns sentences of thirty words, and their word-by-word substitution; word 3 has several equally frequent forms."""
    random = np.random.default_rng(1)
    rows = [random.integers(30, size=random.integers(3, 9)) for _ in range(pairs)]
    sources = [" ".join(f"s{word}" for word in row) for row in rows]
    form = iter(range(10**9))
    targets = [" ".join(f"t{word}" + (f"x{next(form) % forms}" if word == 3 else "") for word in row) for row in rows]
    return sources, targets


def expectation(sources: list[list[str]], targets: list[list[str]], iterations: int) -> dict[str, dict[str, float]]:
    """Computes IBM Model 1 as in a textbook, one link at a time."""
    table: dict[str, dict[str, float]] = {}
    for source, target in zip(sources, targets, strict=True):
        for x in ["", *source]:
            table.setdefault(x, {}).update(dict.fromkeys(target, 1.0))
    table = {x: dict.fromkeys(row, 1 / len(row)) for x, row in table.items()}
    for _ in range(iterations):
        counts: dict[str, dict[str, float]] = {x: dict.fromkeys(row, 0.0) for x, row in table.items()}
        for source, target in zip(sources, targets, strict=True):
            for y in target:
                total = sum(table[x][y] for x in ["", *source])
                for x in ["", *source]:
                    counts[x][y] += table[x][y] / total
        table = {x: {y: count / sum(row.values()) for y, count in row.items()} for x, row in counts.items()}
    return table


def entropy(row: dict[str, float]) -> float:
    return -sum(p * math.log(p) for p in row.values() if p)


def test_the_modality_of_one_pair_matches_a_case_worked_by_hand() -> None:
    """ "y" and "z" are indistinguishable, so each source word has both with p = 1/2. The lengths are two words and three."""
    found = modality(["a b c"], ["y z"])
    assert (found.conditional_entropy, found.weighted_entropy) == pytest.approx((math.log(2), math.log(2)))
    assert (found.length_ratio, found.length_deviation) == pytest.approx((2 / 3, 0))
    assert (found.pairs, found.source_words, found.target_words, found.vocabulary) == (1, 3, 2, 3)


def test_one_iteration_of_ibm_model_1_matches_a_case_worked_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The textbook's two sentences. At first "das" and NULL have p = 1/3 for each of "the", "house" and "book", "haus" and
    "buch" have 1/2 for theirs. "the" and "house" then come from NULL, "das" and "haus" by 2/7, 2/7 and 3/7: so "das" has counts
    4/7 for "the" and 2/7 for the two others, p = 1/2, 1/4, 1/4; "haus" keeps 1/2, 1/2."""
    monkeypatch.setattr(modality_module, "_ITERATIONS", 1)
    found = modality(["das haus", "das buch"], ["the house", "the book"])
    das, haus = 1.5 * math.log(2), math.log(2)
    assert found.conditional_entropy == pytest.approx((das + haus + haus) / 3)
    assert found.weighted_entropy == pytest.approx((das + haus + das + haus) / 4)


def test_five_iterations_equal_the_textbook_loop() -> None:
    sources, targets = (side[:60] for side in ciphered(60, forms=2))
    sources[7] += " s1 s1 s1"  # repeated words of a sentence
    table = expectation([line.split() for line in sources], [line.split() for line in targets], 5)
    found = modality(sources, targets)
    words = [word for line in sources for word in line.split()]
    assert found.conditional_entropy == pytest.approx(np.mean([entropy(row) for x, row in table.items() if x]))
    assert found.weighted_entropy == pytest.approx(np.mean([entropy(table[word]) for word in words]))


def test_a_word_substitution_has_zero_entropy() -> None:
    found = modality(*ciphered(1500))
    assert 0 <= found.conditional_entropy < 0.05
    assert 0 <= found.weighted_entropy < 0.05


@pytest.mark.parametrize("forms", [2, 4])
def test_the_entropy_of_equally_likely_forms_is_the_logarithm_of_their_number(forms: int) -> None:
    """In nats, over the thirty source words."""
    one, several = modality(*ciphered(1500)), modality(*ciphered(1500, forms))
    assert 30 * (several.conditional_entropy - one.conditional_entropy) == pytest.approx(math.log(forms), abs=0.05)


def test_the_weight_of_a_word_is_its_frequency() -> None:
    """ "a" occurs three times with two translations, "b" once with one."""
    found = modality(["a", "a", "a", "b"], ["y", "z", "y", "w"])
    assert found.weighted_entropy > found.conditional_entropy > 0


def test_the_order_of_pairs_does_not_change_the_modality() -> None:
    sources, targets = ciphered(300, forms=3)
    order = np.random.default_rng(2).permutation(300)
    found, other = modality(sources, targets), modality([sources[i] for i in order], [targets[i] for i in order])
    assert vars(other) == pytest.approx(vars(found))


def test_lengths_are_those_of_running_words_with_punctuation() -> None:
    """Pairs of 2 and 4, and 4 and 4 words: 8 / 6, and ratios 2 and 1."""
    found = modality(["Hallo!", "Das ist gut."], ["Hi, all!", "That is good."])
    assert (found.source_words, found.target_words) == (6, 8)
    assert (found.length_ratio, found.length_deviation) == pytest.approx((8 / 6, 0.5))


def test_pairs_without_text_on_a_side_are_left_out() -> None:
    assert modality(["a b", "", "c"], ["y z", "w", " "]) == modality(["a b"], ["y z"])
    with pytest.raises(DataError, match="no pair has text on both sides"):
        modality(["", "a"], ["b", " "])


def test_both_sides_must_have_equal_length() -> None:
    def stream(sides: list[str]) -> Iterator[str]:
        yield from sides

    sources, targets = ciphered(50)
    assert modality(stream(sources), stream(targets)) == modality(sources, targets)
    for given in ((sources, targets[:-1]), (sources[:-1], targets)):
        with pytest.raises(DataError, match="must have equally many lines"):
            modality(*given)


def test_a_large_corpus_is_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair contains its own position in the corpus."""
    sources = [f"a{number} b" for number in range(1000)]
    monkeypatch.setattr(modality_module, "MOST_PAIRS", 100)
    found = modality(sources, sources)
    assert (found.pairs, found.source_words, found.vocabulary) == (100, 200, 101)
    kept = modality_module._evenly(range(1000))
    assert len(kept) == 100
    assert np.all(np.abs(np.diff(kept) - 10) <= 6)
    assert kept[0] < 10
    assert kept[-1] > 980
    monkeypatch.setattr(modality_module, "MOST_LINKS", 60)  # six for each pair
    assert modality(sources, sources).pairs == 10


def test_one_translation_for_each_source_is_less_modal_than_many(corpora: Path) -> None:
    """Sources of Tatoeba with several translations: once with all of them, once with the first one only."""
    folder = corpora / "tatoeba_en_de"
    if not folder.is_dir():
        pytest.skip("needs tatoeba_en_de under $MTNAT_DATA")
    pairs = list(zip(lines(folder / "train.en.gz"), lines(folder / "train.de.gz"), strict=True))[:40_000]
    first: dict[str, str] = {}
    for source, target in pairs:
        first.setdefault(source, target)
    sources = [source for source, target in pairs if target != first[source]]
    many = modality(sources, [target for source, target in pairs if target != first[source]])
    one = modality(sources, [first[source] for source in sources])
    assert one.pairs == many.pairs > 2000
    assert one.conditional_entropy < many.conditional_entropy
    assert one.weighted_entropy < many.weighted_entropy
