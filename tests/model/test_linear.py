"""The linear map for training in half precision on the CPU, which pads its input with rows of zeros."""

import pytest
import torch
from torch import Tensor, nn

from mtnat.model.linear import Linear, pad_rows, padded_count

WIDTH, FEATURES = 24, 40


def answers(kind: type[nn.Linear], shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
    """The map's result, and the gradients of its input, its weight and its bias."""
    torch.manual_seed(1)
    layer = kind(WIDTH, FEATURES)
    states = torch.randn(*shape, WIDTH).to(dtype).requires_grad_()
    upstream = torch.randn(*shape, FEATURES)
    with torch.autocast("cpu", torch.bfloat16):
        result = torch.relu_(layer(states.flatten(0, -2))).view(*shape, FEATURES)  # in place, as the feed-forward layers do
    (result * upstream).sum().backward()  # type: ignore[no-untyped-call]
    gradients = (states.grad, layer.weight.grad, layer.bias.grad)
    return [result, *(gradient for gradient in gradients if gradient is not None)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1,), (31,), (32,), (5, 7), (4, 8), (67, 2)])
def test_results_and_gradients_of_linear_equal_those_of_pytorch(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = answers(Linear, shape, dtype), answers(nn.Linear, shape, dtype)
    assert len(ours) == len(theirs) == 4
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        # Both round their sums to bfloat16, perhaps in another order.
        torch.testing.assert_close(mine, other, rtol=2**-7, atol=2**-7 * other.detach().abs().max().item())


def test_without_autocast_linear_equals_pytorch_bit_for_bit() -> None:
    layer, states = Linear(WIDTH, FEATURES), torch.randn(37, WIDTH)
    assert torch.equal(layer(states), nn.functional.linear(states, layer.weight, layer.bias))


def test_row_counts_are_padded_to_few_different_counts() -> None:
    numbers = [padded_count(rows) for rows in range(1, 4_097)]
    assert all(rows <= number <= rows * 17 / 16 for rows, number in enumerate(numbers, 1))
    assert len({number for number in numbers if 2_048 < number <= 4_096}) == 16
    assert [padded_count(number) for number in numbers] == numbers


def test_padding_rows_are_zero() -> None:
    states = torch.randn(67, WIDTH)
    whole = pad_rows(states, torch.bfloat16)
    assert whole.shape == (68, WIDTH)
    assert torch.equal(whole[:67], states.bfloat16())
    assert not whole[67:].any()
