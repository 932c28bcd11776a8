"""Decoder layers that the AT and the NAT branch share are trained by both."""

import pytest
import torch
from torch import Tensor
from translators import BOTH, draw_of, gradients, objective_of, translator_of

from mtnat.model import ModelConfig
from mtnat.objective import Moment, MultiTaskObjective
from mtnat.objective.schedules import Constant, Linear
from mtnat.tokens import EOS, PAD

MODEL = ModelConfig(
    width=16,
    heads=2,
    feed_forward=32,
    encoder_layers=1,
    decoder_layers=2,
    dropout=0,
    max_positions=32,
    shared_decoder_layers=True,
)
SOURCE = torch.tensor([[10, 11, EOS], [12, EOS, PAD]])
TARGET = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


def gradient(objective: MultiTaskObjective, step: int, weights: dict[str, float]) -> dict[str, Tensor]:
    """The gradient of the weighted parts, each over the divisor that it has when both branches run."""
    draw = draw_of(objective, SOURCE, TARGET, step=step)
    divisors = draw_of(objective, SOURCE, TARGET, step=50).divisors
    objective.zero_grad()
    total, *_ = objective(draw, {part: torch.tensor(weights[part] / divisors[part]) for part in weights}, Moment(step, 100))
    total.backward()
    return gradients(objective.translator)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_their_gradient_is_the_weighted_sum_of_both_branches_gradients(share: float) -> None:
    torch.manual_seed(0)
    objective = objective_of(translator_of(MODEL, 30), BOTH.model_copy(update={"schedule": Linear()}))
    at = gradient(objective, 0, {"at": 1.0, "nat": 0.0, "length": 0.0})
    nat = gradient(objective, 100, {"at": 0.0, "nat": 1.0, "length": 0.0})
    both = gradient(objective, 50, {"at": 1 - share, "nat": share, "length": 0.0})
    layers = [name for name in both if ".stack.layers." in name]
    assert layers
    assert all(name.startswith("branches.at.") for name in layers)
    for name in layers:
        assert at[name].any(), name
        assert nat[name].any(), name
    for name, each in both.items():
        torch.testing.assert_close(each, (1 - share) * at[name] + share * nat[name], atol=1e-6, rtol=1e-4)


def test_a_branch_that_does_not_run_leaves_the_other_its_gradient() -> None:
    torch.manual_seed(0)
    shared = translator_of(MODEL, 30)
    objective = objective_of(shared, BOTH.model_copy(update={"schedule": Linear()}))
    alone = objective_of(shared, BOTH.model_copy(update={"schedule": Constant(value=0.5)}))
    weights = {"at": 1.0, "nat": 0.0, "length": 0.0}
    idle, multiplied_by_0 = gradient(objective, 0, weights), gradient(alone, 0, weights)
    torch.testing.assert_close(idle, multiplied_by_0)
