import math

import pytest

from mtnat.errors import DataError
from mtnat.evaluation import bleu


def test_identical_text_scores_100() -> None:
    assert bleu(["the cat sat on the mat"], ["the cat sat on the mat"]).value == pytest.approx(100)


def test_a_case_worked_by_hand() -> None:
    """Of "a b c d x": 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples match; six words in the reference."""
    expected = 100 * math.exp(1 - 6 / 5) * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu(["a b c d x"], ["a b c d e f"]).value == pytest.approx(expected)


def test_counts_are_summed_over_sentences() -> None:
    """An empty hypothesis costs brevity: 5 words against 10."""
    assert bleu(["a b c d e", ""], ["a b c d e", "v w x y z"]).value == pytest.approx(100 * math.exp(1 - 10 / 5))


def test_the_tokenizer_is_part_of_the_signature() -> None:
    detokenized, split = bleu(["Hi, all!"], ["Hi , all !"]), bleu(["Hi, all!"], ["Hi , all !"], tokenize="none")
    assert detokenized.value == pytest.approx(100)
    assert split.value < 10
    assert "tok:13a|smooth:exp|version:2." in detokenized.signature
    assert "nrefs:1|" in split.signature
    assert "tok:none" in split.signature


@pytest.mark.parametrize(("hypotheses", "references"), [(["a"], ["a", "b"]), (["a", "b"], ["a"])])
def test_unequal_numbers_are_one_sentence(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(DataError, match=f"got {len(hypotheses)} and {len(references)}; give both in full"):
        bleu(hypotheses, references)


def test_no_sentences_are_one_sentence() -> None:
    with pytest.raises(DataError, match="references: there are none"):
        bleu([], [])
