"""A branch is built if λ gives it a weight at some update."""

from typing import Any

import pytest
import torch
from translators import BOTH, ONLY_NAT, draw_of, nat, objective_of, translator_of

from mtnat.config import build
from mtnat.model import ModelConfig
from mtnat.objective import Moment, ObjectiveConfig
from mtnat.systems import MaskPredict
from mtnat.tokens import EOS

MODEL = ModelConfig(width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=1, max_positions=32)
SOURCE = TARGET = torch.tensor([[10, 11, 12, EOS], [13, 14, 15, EOS]])


@pytest.mark.parametrize(
    ("schedule", "names"),
    [
        ({"kind": "constant", "value": 0.0}, ("at",)),
        ({"kind": "constant", "value": 1.0}, ("nat",)),
        ({"kind": "constant", "value": 0.5}, ("at", "nat")),
        ({"kind": "linear"}, ("at", "nat")),
        ({"kind": "linear", "start": 1.0, "end": 1.0}, ("nat",)),
        ({"kind": "cosine", "start": 0.0, "end": 0.0}, ("at",)),
        ({"kind": "power", "start": 0.3, "end": 0.3}, ("at", "nat")),
        ({"kind": "step", "threshold": 0.0}, ("nat",)),
        ({"kind": "step", "threshold": 1.0}, ("at",)),
        ({"kind": "step", "threshold": 0.5}, ("at", "nat")),
        ({"kind": "piecewise", "knots": [[0.0, 1.0]]}, ("nat",)),
        ({"kind": "piecewise", "knots": [[0.2, 0.0], [0.8, 0.0]]}, ("at",)),
        ({"kind": "piecewise", "knots": [[0.2, 0.0], [0.8, 0.1]]}, ("at", "nat")),
    ],
)
def test_a_branch_without_weight_at_every_update_is_not_trained(schedule: dict[str, Any], names: tuple[str, ...]) -> None:
    config = build(ObjectiveConfig, {"schedule": schedule})
    assert MaskPredict().trained(config) == names
    low, high = config.schedule.bounds
    weights = [config.schedule(step, 50) for step in range(50)]
    assert low - 1e-9 <= min(weights) <= max(weights) <= high + 1e-9
    assert ("at" in names) == any(weight < 1 for weight in weights)
    assert ("nat" in names) == any(weight > 0 for weight in weights)


def test_weights_of_a_branch_that_is_not_trained_are_left_out_when_a_model_is_loaded() -> None:
    both, alone = translator_of(MODEL, 30, BOTH), translator_of(MODEL, 30, ONLY_NAT)
    alone.load_state_dict(both.state_dict())
    loaded = alone.state_dict()
    assert not any("branches.at" in name for name in loaded)
    assert all(torch.equal(weight, both.state_dict()[name]) for name, weight in loaded.items())


def test_a_frozen_decoder_gets_no_gradient() -> None:
    objective = objective_of(translator_of(MODEL, 30), ObjectiveConfig())
    frozen = nat(objective.translator).decoder.requires_grad_(requires_grad=False)
    objective.translator.target_tokens.requires_grad_(requires_grad=True)
    draw = draw_of(objective, SOURCE, TARGET, step=50)
    total, *_ = objective(draw, {part: torch.tensor(1.0) for part in objective.parts}, Moment(50, 100))
    total.backward()
    assert all(weight.grad is None for weight in frozen.stack.parameters())
    assert all(weight.grad is not None for weight in objective.translator.encoder.parameters())
