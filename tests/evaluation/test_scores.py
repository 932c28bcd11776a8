import math
from collections.abc import Callable, Sequence

import pytest

from mtnat.errors import DataError
from mtnat.evaluation import MetricName, Score, bleu, chrf, ter
from mtnat.evaluation.scores import metric_named, statistics, value_of

HYPOTHESES = ["Ein Mann schläft auf einer Bank .", "Zwei Hunde spielen im Schnee.", "das Kind Lacht laut und läuft weg"]
REFERENCES = ["Ein Mann schläft auf der Bank.", "Im Schnee spielen zwei Hunde.", "Das Kind lacht und läuft davon."]
SCORES: dict[MetricName, Callable[[Sequence[str], Sequence[str]], Score]] = {"bleu": bleu, "chrf": chrf, "ter": ter}


def test_identical_text_has_a_bleu_of_100() -> None:
    assert bleu(["the cat sat on the mat"], ["the cat sat on the mat"]).value == pytest.approx(100)


def test_bleu_matches_a_case_worked_by_hand() -> None:
    """Of "a b c d x": 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples match; six words in the reference."""
    expected = 100 * math.exp(1 - 6 / 5) * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert bleu(["a b c d x"], ["a b c d e f"]).value == pytest.approx(expected)


def test_bleu_sums_counts_over_sentences() -> None:
    """An empty hypothesis lowers the brevity penalty: 5 words against 10."""
    assert bleu(["a b c d e", ""], ["a b c d e", "v w x y z"]).value == pytest.approx(100 * math.exp(1 - 10 / 5))


def test_the_tokenizer_is_part_of_the_signature() -> None:
    detokenized, split = bleu(["Hi, all!"], ["Hi , all !"]), bleu(["Hi, all!"], ["Hi , all !"], tokenize="none")
    assert detokenized.value == pytest.approx(100)
    assert split.value < 10
    assert "tok:13a|smooth:exp|version:2." in detokenized.signature
    assert "nrefs:1|" in split.signature
    assert "tok:none" in split.signature


def test_chrf_matches_a_case_worked_by_hand() -> None:
    """Without the space, "ab" has 2 of 4 letters and 1 of 3 pairs of "abcd", and nothing longer; its precision is 1."""
    precision, recall = 1, (2 / 4 + 1 / 3) / 2
    expected = 100 * (1 + 2**2) * precision * recall / (2**2 * precision + recall)
    assert chrf(["ab"], ["ab cd"]).value == pytest.approx(expected)
    assert chrf(["ab cd"], ["ab cd"]).value == pytest.approx(100)
    assert chrf([""], ["ab cd"]).value == 0


@pytest.mark.parametrize(
    ("hypothesis", "edits"),
    [
        ("a b c d", 0),
        ("A B c D", 0),
        ("a b x d", 1),
        ("a b d", 1),
        ("a b c x d", 1),
        ("c d a b", 1),
        ("", 4),
        ("a b c d w x y z", 4),
    ],
)
def test_ter_counts_edits_and_shifts_of_words(hypothesis: str, edits: int) -> None:
    assert ter([hypothesis], ["a b c d"]).value == pytest.approx(100 * edits / 4)


def test_ter_divides_the_sum_of_edits_by_the_sum_of_reference_words() -> None:
    assert ter(["a b x d", "y"], ["a b c d", "y"]).value == pytest.approx(100 * (1 + 0) / (4 + 1))


@pytest.mark.parametrize(("metric", "expected"), [("bleu", 22.3221), ("chrf", 66.8447), ("ter", 52.9412)])
def test_scores_are_those_of_the_sacrebleu_command(metric: MetricName, expected: float) -> None:
    """The expected scores are those of `sacrebleu references -i hypotheses -m bleu chrf ter -w 4`, version 2.6.0."""
    assert SCORES[metric](HYPOTHESES, REFERENCES).value == pytest.approx(expected, abs=5e-5)


def test_signatures_state_the_settings() -> None:
    assert chrf(["a"], ["a"]).signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:2.")
    assert ter(["a"], ["a"]).signature.startswith("nrefs:1|case:lc|tok:tercom|norm:no|punct:yes|asian:no|version:2.")


@pytest.mark.parametrize("name", list(SCORES))
def test_summed_statistics_give_the_corpus_score(name: MetricName) -> None:
    metric = metric_named(name)
    counts_NK = statistics(metric, HYPOTHESES, REFERENCES)
    assert value_of(metric, counts_NK.sum(axis=0)) == SCORES[name](HYPOTHESES, REFERENCES).value
    assert value_of(metric, counts_NK[1:].sum(axis=0)) == SCORES[name](HYPOTHESES[1:], REFERENCES[1:]).value


@pytest.mark.parametrize("metric", list(SCORES))
@pytest.mark.parametrize(("hypotheses", "references"), [(["a"], ["a", "b"]), (["a", "b"], ["a"])])
def test_unequal_numbers_give_one_message(metric: MetricName, hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(DataError, match=f"got {len(hypotheses)} and {len(references)}; give both in full"):
        SCORES[metric](hypotheses, references)


@pytest.mark.parametrize("metric", list(SCORES))
def test_no_sentences_give_one_message(metric: MetricName) -> None:
    with pytest.raises(DataError, match="references: are empty"):
        SCORES[metric]([], [])
