"""The moving average against its definition."""

import math

import pytest
import torch
from torch import nn

from mtnat.training.moving_average import MovingAverage


class Tied(nn.Module):
    """Two layers with one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight


def change(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


@pytest.mark.parametrize("decay", [0.5, 0.99, 0.99999])
def test_the_moving_average_is_the_weighted_mean_of_the_weights_after_each_update(decay: float) -> None:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    average = MovingAverage(module, decay)
    seen = []
    for step in range(1, 31):
        change(module)
        average.update(step)
        seen.append(module.weight.detach().double())
        shares = [decay ** (step - number) for number in range(1, step + 1)]
        expected = sum(share * weight for share, weight in zip(shares, seen, strict=True)) / math.fsum(shares)
        torch.testing.assert_close(average.module.weight.double(), expected, rtol=0, atol=1e-6)


def test_after_the_first_update_the_moving_average_equals_the_weights() -> None:
    module = nn.Linear(4, 3)
    average = MovingAverage(module, 0.999)
    change(module)
    average.update(1)
    assert torch.equal(average.module.weight, module.weight)


def test_tied_weights_stay_tied_and_are_averaged_once() -> None:
    torch.manual_seed(0)
    module = Tied()
    average = MovingAverage(module, 0.5)
    change(module)
    first = module.first.weight.detach().clone()
    average.update(1)
    change(module)
    average.update(2)
    assert average.module.first.weight is average.module.second.weight
    assert average.module.first.weight is not module.first.weight
    torch.testing.assert_close(average.module.first.weight, (first + 2 * module.first.weight.detach()) / 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_updates_of_the_moving_average_do_not_wait_for_the_gpu() -> None:
    module = nn.Linear(4, 3).to("cuda")
    average = MovingAverage(module, 0.9)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 4):
            average.update(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.allclose(average.module.weight, module.weight)
