"""Which checkpoints are kept, which make the model, and when a run stops."""

import pytest

from mtnat.config import build
from mtnat.errors import ConfigError
from mtnat.experiment import TrainingConfig
from mtnat.training.selection import best, chosen, is_stalled, kept

SCORES = {10: 3.0, 20: 7.0, 30: 5.0, 40: 7.0, 50: 6.0, 60: 1.0}


def config(model: str, keep: int = 3) -> TrainingConfig:
    return build(TrainingConfig, {"model": model, "keep_checkpoints": keep})


def test_the_earlier_of_equal_scores_ranks_higher() -> None:
    assert best(SCORES, 4) == [20, 40, 50, 30]
    assert best({}) == []


@pytest.mark.parametrize(
    ("model", "makes_it", "stay"),
    [
        ("best", {20}, {20, 40, 50, 60}),
        ("last", {60}, {20, 40, 50, 60}),
        ("average_last", {40, 50, 60}, {20, 40, 50, 60}),
        ("average_best", {20, 40, 50}, {20, 40, 50, 60}),
    ],
)
def test_each_choice_of_model_selects_and_keeps_its_checkpoints(model: str, makes_it: set[int], stay: set[int]) -> None:
    assert set(chosen(SCORES, config(model))) == makes_it
    assert kept(SCORES, config(model)) == stay


@pytest.mark.parametrize("model", ["best", "last", "average_last", "average_best"])
@pytest.mark.parametrize("keep", [1, 2, 5])
def test_no_checkpoint_is_removed_that_is_needed_later(model: str, keep: int) -> None:
    on_disk: set[int] = set()
    for count in range(1, len(SCORES) + 1):
        scores = dict(list(SCORES.items())[:count])
        on_disk = (on_disk | {max(scores)}) & kept(scores, config(model, keep))
        assert {max(scores), *chosen(scores, config(model, keep))} <= on_disk
        assert len(on_disk) <= keep + 1


@pytest.mark.parametrize(
    ("scores", "patience", "stalled"),
    [
        ([], 1, False),
        ([0.0], 1, False),
        ([0.0, 0.0], 1, True),  # no better is not better
        ([2.0, 1.0], 2, False),
        ([2.0, 1.0, 1.5], 2, True),
        ([2.0, 1.0, 2.5], 2, False),
        ([2.0, 1.0, 2.5, 2.0, 2.4], 2, True),
        ([2.0, 1.0, 1.0, 1.0, 1.0], 0, False),
    ],
)
def test_a_run_is_stalled_after_patience_validations_without_improvement(
    scores: list[float], patience: int, stalled: bool
) -> None:
    assert is_stalled(dict(enumerate(scores, 1)), patience) == stalled


def test_invalid_selection_settings_are_reported() -> None:
    with pytest.raises(ConfigError) as caught:
        build(TrainingConfig, {"model": "average", "patience": -1, "ema_decay": 1.0, "emadecay": 0.9}, "experiment.training")
    assert set(caught.value.problems) == {
        "experiment.training.model: must be 'best', 'last', 'average_last' or 'average_best'; got 'average'.",
        "experiment.training.patience: must be greater than or equal to 0; got -1.",
        "experiment.training.ema_decay: must be less than 1; got 1.0.",
        "experiment.training.emadecay is unknown; did you mean 'ema_decay'?",
    }
