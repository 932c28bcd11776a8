"""The feed-forward part against its formula written out."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.model.config import ModelConfig
from mtnat.model.layers import FeedForward


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("shape", [(5, 8), (2, 3, 8)])
def test_feed_forward_with_in_place_activation_equals_its_formula_and_gradients(
    activation: Literal["relu", "gelu"], shape: tuple[int, ...]
) -> None:
    torch.manual_seed(1)
    module = FeedForward(ModelConfig(width=8, heads=2, feed_forward=16, activation=activation))
    states = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    inputs = [states, *module.parameters()]

    def formula(states: Tensor) -> Tensor:
        inner = F.linear(states, module.inner.weight, module.inner.bias)
        inner = F.relu(inner) if activation == "relu" else F.gelu(inner)
        return F.linear(inner, module.outer.weight, module.outer.bias)

    ours, theirs = module(states), formula(states)
    torch.testing.assert_close(ours, theirs)
    for mine, other in zip(*(torch.autograd.grad(output, inputs, upstream) for output in (ours, theirs)), strict=True):
        torch.testing.assert_close(mine, other)
