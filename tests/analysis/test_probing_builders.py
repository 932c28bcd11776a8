"""Probing tasks that are made of plain text."""

from collections import Counter

import pytest

from mtnat.analysis.probing.builders import bigram_shift, sentence_length, text_tasks, word_content
from mtnat.data.grammar import generate
from mtnat.errors import DataError


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return list(dict.fromkeys(pair.english for pair in generate("train", 3_000, seed=1)))


def test_sentence_length_has_six_classes_of_similar_size(sentences: list[str]) -> None:
    task = sentence_length(sentences)
    counts = Counter(task.labels)
    assert len(counts) == 6
    assert min(counts.values()) > len(sentences) / 20
    limits = {label: [int(limit) for limit in label.removesuffix(" words").split("–")] for label in counts}
    for sentence, label in zip(task.sentences, task.labels, strict=True):
        assert limits[label][0] <= len(sentence.split()) <= limits[label][-1]


def test_few_lengths_give_few_classes() -> None:
    task = sentence_length([*(f"word {number}" for number in range(20)), *(f"a word {number}" for number in range(20))])
    assert Counter(task.labels) == {"2 words": 20, "3 words": 20}


def test_each_sentence_contains_exactly_one_of_the_words(sentences: list[str]) -> None:
    task = word_content(sentences)
    assert task is not None
    words = set(task.classes)
    assert len(words) > 5
    assert len(set(Counter(task.labels).values())) == 1
    for sentence, label in zip(task.sentences, task.labels, strict=True):
        assert {word.strip(".,'") for word in sentence.lower().split()} & words == {label}


def test_two_neighbours_are_exchanged_in_half_of_the_sentences(sentences: list[str]) -> None:
    task = bigram_shift(sentences)
    counts = Counter(task.labels)
    assert counts["inverted"] == pytest.approx(counts["original"], rel=0.1)
    by_words = {" ".join(sorted(sentence.split())) for sentence in sentences}
    for sentence, label in zip(task.sentences, task.labels, strict=True):
        assert (sentence in sentences) == (label == "original")
        assert " ".join(sorted(sentence.split())) in by_words
        assert sentence[0].isupper()


def test_the_tasks_of_a_text_depend_on_the_seed_only(sentences: list[str]) -> None:
    tasks = text_tasks([*sentences, "", *sentences[:10]])
    assert [task.name for task in tasks] == ["sentence_length", "word_content", "bigram_shift"]
    assert tasks == text_tasks(sentences)
    assert tasks != text_tasks(sentences, seed=2)
    assert all(len(task.sentences) == len(set(task.sentences)) for task in tasks)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["a b c d e", "", "a b c d e"], "the text has 1 different sentences, fewer than the 10 folds; give more text."),
        ([f"a {number}" for number in range(20)], "all sentences have 2 words; give sentences of different lengths."),
        (
            [f"a {'b ' * number}" for number in range(3)] * 9 + [f"a {number}" for number in range(20)],
            "no sentence has 5 words",
        ),
    ],
)
def test_a_text_that_gives_no_task_gives_one_sentence(lines: list[str], said: str) -> None:
    with pytest.raises(DataError) as raised:
        text_tasks(lines)
    [problem] = raised.value.problems
    assert said in problem
