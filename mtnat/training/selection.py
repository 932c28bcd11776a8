"""Decisions by validation scores: the checkpoints to keep, the checkpoints of the final model, and early stopping."""

from collections.abc import Mapping

from mtnat.experiment import TrainingConfig

Scores = Mapping[int, float]
"""The validation BLEU of every step that was validated."""


def best(scores: Scores, count: int = 1) -> list[int]:
    """Returns the steps with the best scores, the best first; for equal scores the earlier step first."""
    return sorted(scores, key=lambda step: (-scores[step], step))[:count]


def chosen(scores: Scores, config: TrainingConfig) -> list[int]:
    """Returns the steps whose mean weights are the run's final weights; a short run may have fewer than configured."""
    match config.model:
        case "best":
            return best(scores)
        case "last":
            return _last(scores)
        case "average_last":
            return _last(scores, config.keep_checkpoints)
        case "average_best":
            return best(scores, config.keep_checkpoints)


def kept(scores: Scores, config: TrainingConfig) -> set[int]:
    """Returns the steps whose checkpoints are kept. The newest is always kept, because a run resumes from it."""
    if config.model == "average_best":
        return {*best(scores, config.keep_checkpoints), *_last(scores)}
    return {*best(scores), *_last(scores, config.keep_checkpoints)}


def is_stalled(scores: Scores, patience: int) -> bool:
    """Returns whether the last `patience` validations have not improved on the best score; never with a patience of 0."""
    top = max(best(scores), default=0)
    return 0 < patience <= sum(step > top for step in scores)


def _last(scores: Scores, count: int = 1) -> list[int]:
    return sorted(scores)[-count:]
