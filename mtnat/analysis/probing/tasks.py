"""Probing tasks: sentences, each with the label that a classifier has to find in its encoding."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
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
    undrawn: int = 0
    """Number of sentences that were left out because of `ready`, which draws labels if there are very many."""

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

    If the drawn sentences were fewer than two for each label and fold, labels are drawn first, as many as leave two.

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
    draw = random.Random(f"{seed} {task.name}")
    frequent = _frequent(task, range(len(task.sentences)), folds)
    rows = frequent
    labels = sorted({task.labels[row] for row in rows})
    if most < len(rows) and len(labels) > (fitting := max(2, most // (2 * folds))):
        drawn = set(draw.sample(labels, fitting))
        rows = [row for row in rows if task.labels[row] in drawn]
    undrawn = len(frequent) - len(rows)
    chosen = sorted(draw.sample(rows, most)) if most < len(rows) else rows
    kept = _frequent(task, chosen, folds)
    if len({task.labels[row] for row in kept}) < 2:
        raise DataError(
            f"{task.name}: fewer than two of its {len(task.classes):,} labels occur in at least {folds} of the sentences, one "
            "for each fold; give more sentences."
        )
    return replace(
        task,
        sentences=tuple(task.sentences[row] for row in kept),
        labels=tuple(task.labels[row] for row in kept),
        rare=len(task.sentences) - len(frequent) + len(chosen) - len(kept),
        undrawn=undrawn,
    )


def _frequent(task: ProbingTask, rows: Sequence[int], least: int) -> list[int]:
    """Returns the rows whose label occurs at least `least` times in `rows`."""
    counts = Counter(task.labels[row] for row in rows)
    return [row for row in rows if counts[task.labels[row]] >= least]
