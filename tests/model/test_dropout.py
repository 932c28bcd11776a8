"""Dropout from random bits has the properties of dropout."""

import pytest
import torch

from mtnat.model.dropout import Dropout


@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])  # also numbers of features that four does not divide
def test_dropout_zeroes_or_scales_each_feature_and_its_gradient(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    states = torch.ones(shape, requires_grad=True)
    output = Dropout(0.5)(states)
    assert set(output.flatten().tolist()) <= {0.0, 2.0}
    output.sum().backward()
    assert states.grad is not None
    assert torch.equal(states.grad, output.detach())


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.9])
def test_the_dropout_rate_is_the_probability_and_the_mean_is_kept(probability: float) -> None:
    torch.manual_seed(1)
    output = Dropout(probability)(torch.ones(200_000))
    deviation = (probability * (1 - probability) / 200_000) ** 0.5
    rate = (output == 0).double().mean().item()
    assert abs(rate - probability) < 4 * deviation + 1 / 65_536
    assert output.mean().item() == pytest.approx(1, abs=4 * deviation / (1 - probability))


def test_neighbouring_features_are_dropped_independently() -> None:
    torch.manual_seed(1)
    zero = (Dropout(0.5)(torch.ones(100_000)) == 0).double()
    for distance in (1, 2, 3, 4):
        both = (zero[distance:] * zero[:-distance]).mean().item()
        assert both == pytest.approx(0.25, abs=0.008)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.0, 0.3])
def test_dropout_onto_a_residual_equals_the_residual_plus_dropout(dtype: torch.dtype, probability: float) -> None:
    dropout, onto = Dropout(probability), torch.randn(40, 7, requires_grad=True)
    states = torch.randn(40, 7, dtype=dtype, requires_grad=True)
    results = []
    for is_one in (True, False):
        torch.manual_seed(1)
        total = dropout(states, onto) if is_one else onto + dropout(states.float())
        results.append((total, *torch.autograd.grad(total.square().sum(), (states, onto))))
    torch.testing.assert_close(results[0], results[1])


def test_dropout_does_nothing_in_evaluation_mode_or_with_probability_zero() -> None:
    states = torch.randn(5)
    assert Dropout(0.5).eval()(states) is states
    assert Dropout(0.0)(states) is states
    assert torch.equal(Dropout(0.5).eval()(states, states), states + states)


def test_the_seed_determines_which_features_are_dropped() -> None:
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(Dropout(0.3)(torch.ones(50)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
