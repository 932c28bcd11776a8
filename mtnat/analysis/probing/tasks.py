"""Probing tasks: sentences, each with the label that a classifier has to find in its encoding."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mtnat.errors import DataError

FOLDS = 10
"""Number of folds of the cross-validation."""
SENTENCES = 10_000
"""Default of the largest number of sentences of a task."""


@dataclass(frozen=True, kw_only=True)
class ProbingTask:
    """Labelled sentences. No sentence occurs twice."""

    name: str
    sentences: tuple[str, ...]
    labels: tuple[str, ...]
    """The label of each sentence."""
    repeated: int = 0
    """Number of sentences that were left out because they repeat an earlier one with the same label."""
    contradictory: int = 0
    """Number of different sentences that were left out because they occur with several labels."""
    rare: int = 0
    """Number of sentences that were left out because their label is too rare for each fold to contain it."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted."""
        return tuple(sorted(set(self.labels)))


def without_repeats(name: str, rows: Iterable[tuple[str, str]]) -> ProbingTask:
    """Makes a task of sentences with labels, and leaves out what would be in a training and in a test fold at once.

    A sentence that occurs with several labels is left out altogether: the text does not say which label is right.
    """
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence, label in rows:
        labels[sentence][label] += 1
    kept = {sentence: next(iter(found)) for sentence, found in labels.items() if len(found) == 1}
    return ProbingTask(
        name=name,
        sentences=tuple(kept),
        labels=tuple(kept.values()),
        repeated=sum(labels[sentence].total() - 1 for sentence in kept),
        contradictory=len(labels) - len(kept),
    )


def ready(task: ProbingTask, most: int = SENTENCES, folds: int = FOLDS, seed: int = 1) -> ProbingTask:
    """Draws at most `most` sentences, and leaves out those of labels that occur less often than there are folds.

    Raises:
        DataError: the task has too few sentences, or only one label.
    """
    if len(task.classes) == 1:
        raise DataError(
            f"{task.name}: all {len(task.sentences):,} sentences have the label {task.classes[0]!r}; give two or more."
        )
    if len(task.sentences) < folds:
        raise DataError(
            f"{task.name}: has {len(task.sentences)} different sentences, fewer than the {folds} folds; give at least {folds}."
        )
    rows = range(len(task.sentences))
    chosen = sorted(random.Random(f"{seed} {task.name}").sample(rows, most)) if most < len(rows) else list(rows)
    counts = Counter(task.labels[row] for row in chosen)
    kept = [row for row in chosen if counts[task.labels[row]] >= folds]
    if len({task.labels[row] for row in kept}) < 2:
        raise DataError(
            f"{task.name}: fewer than two of its {len(counts):,} labels occur in at least {folds} of {len(chosen):,} "
            "sentences, one for each fold; give more sentences."
        )
    return replace(
        task,
        sentences=tuple(task.sentences[row] for row in kept),
        labels=tuple(task.labels[row] for row in kept),
        rare=len(chosen) - len(kept),
    )
