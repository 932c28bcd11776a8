import pytest

from mtnat.errors import DataError
from mtnat.evaluation import LengthBucket, bleu, bleu_by_length, length_accuracy, repeated_share


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([[7, 8, 9]], 0),
        ([[7, 7, 8]], 1 / 3),
        ([[7, 7, 7, 7]], 3 / 4),
        ([[7, 8, 7, 8]], 0),  # not adjacent
        ([[7, 8], [8, 9]], 0),  # not across sentences
        ([[7, 7], [], [8, 9, 9, 9]], 3 / 6),  # over all pieces, not the mean over sentences
        ([[], []], 0),
        ([], 0),
    ],
)
def test_repeated_share_matches_cases_worked_by_hand(rows: list[list[int]], share: float) -> None:
    assert repeated_share(rows) == pytest.approx(share)


def test_length_accuracy_matches_a_case_worked_by_hand() -> None:
    """Differences of 0, 1, 2, 3 and -2 pieces; 5 + 6 + 7 + 8 + 3 pieces against 25."""
    references = [[1] * 5] * 5
    accuracy = length_accuracy([[2] * 5, [2] * 6, [2] * 7, [2] * 8, [2] * 3], references)
    assert (accuracy.exact, accuracy.near, accuracy.ratio) == pytest.approx((1 / 5, 4 / 5, 29 / 25))


def test_empty_hypotheses_have_length_zero() -> None:
    accuracy = length_accuracy([[], [2] * 4], [[1], [1] * 4])
    assert (accuracy.exact, accuracy.near, accuracy.ratio) == pytest.approx((1 / 2, 1, 4 / 5))


def test_lengths_need_references_with_text() -> None:
    with pytest.raises(DataError, match="references: contain no text"):
        length_accuracy([[1], [2]], [[], []])
    with pytest.raises(DataError, match="got 1 and 2; give both in full"):
        length_accuracy([[1]], [[1], [2]])
    with pytest.raises(DataError, match="references: are empty"):
        length_accuracy([], [])


def test_buckets_include_their_upper_bound_and_empty_buckets_are_left_out() -> None:
    sources = ["w " * words for words in (0, 1, 10, 11, 20, 31, 50, 51, 400)]
    buckets = bleu_by_length(sources, sources, sources)
    found = [(bucket.shortest, bucket.longest, bucket.sentences) for bucket in buckets]
    assert found == [(1, 10, 3), (11, 20, 2), (31, 50, 2), (51, None, 2)]


def test_a_bucket_has_the_corpus_score_of_its_sentences() -> None:
    sources = ["short one", "w " * 30, "short two"]
    hypotheses, references = ["a b c d x", "e f g h", "i j k l m"], ["a b c d e f", "e f g h i", "i j k l m"]
    first, second = bleu_by_length(sources, hypotheses, references)
    assert first == LengthBucket(1, 10, 2, bleu(hypotheses[::2], references[::2]).value)
    assert second == LengthBucket(21, 30, 1, bleu(hypotheses[1:2], references[1:2]).value)


def test_all_sides_must_have_equal_length() -> None:
    with pytest.raises(DataError, match="sources: must be as many as the references; got 1 and 2"):
        bleu_by_length(["a"], ["a", "b"], ["a", "b"])
    with pytest.raises(DataError, match="hypotheses: must be as many as the references; got 1 and 2"):
        bleu_by_length(["a", "b"], ["a"], ["a", "b"])
