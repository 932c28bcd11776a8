import pytest
from torch import nn

from mtnat.experiment import TrainingConfig
from mtnat.training.optimizer import build_optimizer, learning_rate

CONFIG = TrainingConfig(steps=1000, warmup_steps=100, peak_learning_rate=1e-3, initial_learning_rate=1e-7)


@pytest.mark.parametrize(("step", "expected"), [(0, 1e-7), (50, 5.0005e-4), (100, 1e-3), (400, 5e-4), (900, 1e-3 / 3)])
def test_the_learning_rate_warms_up_then_falls_with_the_inverse_square_root(step: int, expected: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(expected)


def test_without_warm_up_the_first_update_has_the_peak() -> None:
    config = CONFIG.model_copy(update={"warmup_steps": 0})
    assert [learning_rate(step, config) for step in (0, 1, 4)] == pytest.approx([1e-3, 1e-3, 5e-4])


def test_weight_decay_applies_only_to_matrices() -> None:
    optimizer = build_optimizer(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), CONFIG)
    assert [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in optimizer.param_groups] == [
        (0.01, [(2, 3)]),
        (0.0, [(2,), (2,), (2,)]),
    ]
