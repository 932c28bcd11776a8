"""What a run's validation scores decide: which checkpoints stay, which make its model, and when it stops early."""

from collections.abc import Mapping

from mtnat.experiment import TrainingConfig

Scores = Mapping[int, float]
"""The validation BLEU of every step that was validated."""


def best(scores: Scores, count: int = 1) -> list[int]:
    """The steps with the best scores, the best first; of equal ones the earlier."""
    return sorted(scores, key=lambda step: (-scores[step], step))[:count]


def chosen(scores: Scores, config: TrainingConfig) -> list[int]:
    """The steps whose weights a run ends with, or the mean of them; of a short run there may be fewer than asked for."""
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
    """The steps whose checkpoints stay: the newest, from which a run goes on, is always among them."""
    if config.model == "average_best":
        return {*best(scores, config.keep_checkpoints), *_last(scores)}
    return {*best(scores), *_last(scores, config.keep_checkpoints)}


def is_stalled(scores: Scores, patience: int) -> bool:
    """Whether so many validations in a row have not surpassed the best one; with a patience of 0 never."""
    top = max(best(scores), default=0)
    return 0 < patience <= sum(step > top for step in scores)


def _last(scores: Scores, count: int = 1) -> list[int]:
    return sorted(scores)[-count:]
