"""The ten probing tasks of the embedded grammar."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mtnat.analysis.probing.experiment import ProbingConfig, probe
from mtnat.analysis.probing.grammar import grammar_tasks, inverted
from mtnat.analysis.probing.tasks import ProbingTask
from mtnat.data.grammar import describe, sentences
from mtnat.data.grammar.lexicon import NOUNS
from mtnat.training import load_model

TEN = [
    *("sentence_length", "word_content", "tree_depth", "top_constituents", "bigram_shift"),
    *("tense", "subject_number", "object_number", "odd_man_out", "coordination_inversion"),
]


@pytest.fixture(scope="module")
def tasks() -> dict[str, ProbingTask]:
    return {task.name: task for task in grammar_tasks(800)}


def test_the_grammar_gives_ten_tasks_with_several_labels_each(tasks: dict[str, ProbingTask]) -> None:
    assert list(tasks) == TEN
    assert len(tasks["word_content"].classes) > 5
    for task in tasks.values():
        assert len(task.classes) > 1
        assert len(task.sentences) == len(set(task.sentences)) == len(task.labels)
    sizes = {name: len(tasks[name].sentences) for name in ("tense", "tree_depth", "coordination_inversion")}
    assert set(sizes.values()) == {800}


def test_labels_are_those_of_the_grammar(tasks: dict[str, ProbingTask]) -> None:
    known = dict(describe(meaning) for meaning in sentences("train", 900, (1 << 32) + 1))
    for name in ("tense", "subject_number", "object_number"):
        task = tasks[name]
        assert all(getattr(known[text], name) == label for text, label in zip(task.sentences, task.labels, strict=True))
    for text, label in zip(tasks["top_constituents"].sentences, tasks["top_constituents"].labels, strict=True):
        assert label in (known[text].top_constituents, "other")
    assert set(tasks["object_number"].classes) == {"singular", "plural"}


def test_an_odd_object_is_a_noun_of_the_same_number(tasks: dict[str, ProbingTask]) -> None:
    task = tasks["odd_man_out"]
    counts = Counter(task.labels)
    assert counts["odd"] == pytest.approx(counts["original"], rel=0.25)
    # About a third of all sentences have an object that can be replaced, so that 800 need some 2,400.
    originals = {describe(meaning)[0] for meaning in sentences("train", 6_000, (1 << 32) + 1)}
    nouns = {form for noun in NOUNS.values() for form in (noun.singular, noun.plural)}
    for text, label in zip(task.sentences, task.labels, strict=True):
        assert (text in originals) == (label == "original")
        assert any(word.strip(".,").removesuffix("'s") in nouns for word in text.split())


def test_exchanged_clauses_begin_with_the_pronoun(tasks: dict[str, ProbingTask]) -> None:
    task = tasks["coordination_inversion"]
    counts = Counter(task.labels)
    assert counts["inverted"] == pytest.approx(counts["original"], rel=0.2)
    assert inverted("Anna slept, and in the park, she dreamt.", "and") == "In the park, she dreamt, and Anna slept."
    assert inverted("The old man sees it, but he rests.", "but") == "He rests, but the old man sees it."
    assert inverted("Anna's dog eats, and it rests.", "and") == "It rests, and Anna's dog eats."


def test_the_tasks_depend_on_the_seed_only() -> None:
    assert grammar_tasks(100, seed=3) == grammar_tasks(100, seed=3)
    assert grammar_tasks(100, seed=3) != grammar_tasks(100, seed=4)


def test_shuffled_labels_are_not_found(tasks: dict[str, ProbingTask], model: Path) -> None:
    names = ("tense", "subject_number", "coordination_inversion")
    shuffled = []
    for task in (tasks[name] for name in names):
        order = np.random.default_rng(1).permutation(len(task.labels))
        shuffled.append(replace(task, labels=tuple(task.labels[row] for row in order)))
    for result in probe({"model": [load_model(model)]}, shuffled, ProbingConfig(sentences=400)):
        # Three standard deviations of the share of 400 sentences that a guess with probability 0.5 finds.
        most = result.majority.mean + 3 * (0.25 / 400) ** 0.5
        assert result.bag_of_words.mean < most
        assert result.layers[0].models["model"].mean < most
