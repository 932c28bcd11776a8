"""Edit scripts against a dynamic program in plain Python, and against cases worked by hand."""

import itertools
import random
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from mtnat.systems.edit_script import edit_script, insertion_counts, without
from mtnat.tokens import BOS, EOS, MASK, PAD

IDS = {"s": BOS, "e": EOS, "_": MASK, "a": 5, "b": 6, "c": 7, "d": 8}


def ids(text: str) -> list[int]:
    return [IDS[letter] for letter in text]


def padded(rows: Sequence[Sequence[int]], further: int = 0) -> Tensor:
    width = max(map(len, rows)) + further
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows], dtype=torch.long)


def plain_distance(first: Sequence[int], second: Sequence[int]) -> list[list[int]]:
    """The table of the numbers of edits, where a replacement is not an edit."""
    table = [[row + column for column in range(len(second) + 1)] for row in range(len(first) + 1)]
    for row, column in itertools.product(range(1, len(first) + 1), range(1, len(second) + 1)):
        table[row][column] = min(table[row - 1][column], table[row][column - 1]) + 1
        if first[row - 1] == second[column - 1]:
            table[row][column] = min(table[row][column], table[row - 1][column - 1])
    return table


def plain_script(first: Sequence[int], second: Sequence[int]) -> tuple[list[bool], list[bool]]:
    """Traces the table back from its end: an insertion if possible, else a deletion if possible, else a token is kept."""
    table, row, column = plain_distance(first, second), len(first), len(second)
    is_deleted, is_inserted = [False] * row, [False] * column
    while row or column:
        if column and table[row][column] == table[row][column - 1] + 1:
            column -= 1
            is_inserted[column] = True
        elif row and table[row][column] == table[row - 1][column] + 1:
            row -= 1
            is_deleted[row] = True
        else:
            row, column = row - 1, column - 1
    return is_deleted, is_inserted


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """The length of the longest common subsequence, by enumeration."""
    subsequences = {tuple(itertools.compress(first, chosen)) for chosen in itertools.product((0, 1), repeat=len(first))} & {
        tuple(itertools.compress(second, chosen)) for chosen in itertools.product((0, 1), repeat=len(second))
    }
    return max(map(len, subsequences))


def labels(first: str, second: str) -> tuple[list[int], list[int], str]:
    """Deletion labels, the numbers of placeholders in the gaps between kept tokens, and the second text with placeholders."""
    first_1X, second_1Y = padded([ids(first)]), padded([ids(second)])
    script = edit_script(first_1X, second_1Y)
    counts = insertion_counts(script.is_inserted_BY, second_1Y != PAD)[0].tolist()
    kept = len(second) - int(script.is_inserted_BY.sum())
    letters = {number: letter for letter, number in IDS.items()}
    masked = "".join(letters[token] for token in second_1Y.masked_fill(script.is_inserted_BY, MASK)[0].tolist())
    assert counts[0] == 0  # nothing is inserted before BOS
    return script.is_deleted_BX[0].long().tolist(), counts[1:kept], masked


@pytest.mark.parametrize(
    ("first", "second", "deletions", "counts", "masked"),
    [
        ("sabce", "sbdce", [0, 1, 0, 0, 0], [0, 1, 0], "sb_ce"),
        ("sae", "saae", [0, 0, 0], [0, 1], "sa_e"),  # the last a is the inserted one
        ("sabe", "sbae", [0, 1, 0, 0], [0, 1], "sb_e"),
        ("sace", "sabbce", [0, 0, 0, 0], [0, 2, 0], "sa__ce"),
        ("se", "sabe", [0, 0], [2], "s__e"),
        ("sabe", "se", [0, 1, 1, 0], [0], "se"),
        ("saae", "sae", [0, 0, 1, 0], [0, 0], "sae"),  # the last a is the deleted one
        ("sabe", "sabe", [0, 0, 0, 0], [0, 0, 0], "sabe"),
    ],
)
def test_the_labels_are_those_worked_by_hand(
    first: str, second: str, deletions: list[int], counts: list[int], masked: str
) -> None:
    assert labels(first, second) == (deletions, counts, masked)
    assert sum(deletions) + sum(counts) == plain_distance(ids(first), ids(second))[-1][-1]


def test_all_binary_texts_have_the_script_of_the_plain_program() -> None:
    """All pairs of up to 4 and up to 3 letters in one batch; the distance is |x| + |y| − 2·LCS."""
    texts = [list(text) for size in range(5) for text in itertools.product((5, 6), repeat=size)]
    pairs = [(first, second) for first in texts for second in texts if len(second) <= 3]
    script = edit_script(padded([first for first, _ in pairs]), padded([second for _, second in pairs]))
    distances = (script.is_deleted_BX.sum(1) + script.is_inserted_BY.sum(1)).tolist()
    for row, (first, second) in enumerate(pairs):
        assert distances[row] == plain_distance(first, second)[-1][-1] == len(first) + len(second) - 2 * common(first, second)
        expected = plain_script(first, second)
        found = script.is_deleted_BX[row].tolist(), script.is_inserted_BY[row].tolist()
        assert [each[: len(text)] for each, text in zip(found, (first, second), strict=True)] == [*expected]
        assert not any(found[0][len(first) :])
        assert not any(found[1][len(second) :])


def random_pairs(count: int) -> list[tuple[list[int], list[int]]]:
    """Texts of 0 to 12 of four letters, between BOS and EOS."""
    generator = random.Random(3)

    def text() -> list[int]:
        return [BOS, *generator.choices(range(5, 9), k=generator.randrange(13)), EOS]

    return [(text(), text()) for _ in range(count)]


def test_the_edits_turn_the_first_text_into_the_second() -> None:
    pairs = random_pairs(200)
    first_BX, second_BY = padded([first for first, _ in pairs]), padded([second for _, second in pairs])
    script = edit_script(first_BX, second_BY)
    left_BX = without(script.is_deleted_BX, first_BX, PAD)
    counts_BY = insertion_counts(script.is_inserted_BY, second_BY != PAD)
    for row, (first, second) in enumerate(pairs):
        assert (script.is_deleted_BX[row, : len(first)].tolist(), script.is_inserted_BY[row, : len(second)].tolist()) == (
            plain_script(first, second)
        )
        left = left_BX[row][left_BX[row] != PAD].tolist()
        inserted = iter(second_BY[row][script.is_inserted_BY[row]].tolist())
        built = []
        for token, count in zip(left, counts_BY[row].tolist(), strict=False):
            built += [*itertools.islice(inserted, count), token]
        assert built == second


def test_a_script_does_not_depend_on_the_batch_and_its_padding() -> None:
    pairs = random_pairs(20)
    together = edit_script(padded([first for first, _ in pairs], 3), padded([second for _, second in pairs], 2))
    for row, (first, second) in enumerate(pairs):
        alone = edit_script(padded([first]), padded([second]))
        for ours, others in zip(together, alone, strict=True):
            assert torch.equal(ours[row, : others.shape[1]], others[0])
            assert not ours[row, others.shape[1] :].any()


def test_the_first_of_equal_tokens_are_kept_when_something_was_only_deleted() -> None:
    """A subsequence is matched from the left: each token with the first equal one that is left."""
    generator = random.Random(4)
    for _ in range(50):
        second = [*generator.choices((5, 6), k=10), EOS]
        first = [token for token in second[:-1] if generator.random() < 0.5] + [EOS]
        is_inserted, wanted = [], list(first)
        for token in second:
            is_inserted.append(token != wanted[0])
            wanted = wanted[token == wanted[0] :] or [PAD]
        script = edit_script(padded([first]), padded([second]))
        assert not script.is_deleted_BX.any()
        assert script.is_inserted_BY[0].tolist() == is_inserted


def test_an_empty_text_needs_insertions_only() -> None:
    script = edit_script(torch.empty(2, 0, dtype=torch.long), padded([[5, 6], [7]]))
    assert script.is_deleted_BX.shape == (2, 0)
    assert script.is_inserted_BY.tolist() == [[True, True], [True, False]]


def test_what_is_not_deleted_moves_to_the_left() -> None:
    tokens = padded([[5, 6, 7, 8], [5, 6]])
    is_deleted = torch.tensor([[True, False, True, False], [False, True, False, False]])
    assert without(is_deleted, tokens, PAD).tolist() == [[6, 8, PAD, PAD], [5, PAD, PAD, PAD]]
