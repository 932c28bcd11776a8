"""A linear map in training in half precision on the CPU, which computes rows of zeros besides."""

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
def test_result_and_gradients_are_those_of_pytorchs(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    ours, theirs = answers(Linear, shape, dtype), answers(nn.Linear, shape, dtype)
    assert len(ours) == len(theirs) == 4
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        # Both round their sums to bfloat16, perhaps in another order.
        torch.testing.assert_close(mine, other, rtol=2**-7, atol=2**-7 * other.detach().abs().max().item())


def test_without_autocast_it_is_pytorchs_to_the_last_bit() -> None:
    layer, states = Linear(WIDTH, FEATURES), torch.randn(37, WIDTH)
    assert torch.equal(layer(states), nn.functional.linear(states, layer.weight, layer.bias))


def test_any_batch_is_one_of_few_numbers_of_rows() -> None:
    numbers = [padded_count(rows) for rows in range(1, 4_097)]
    assert all(rows <= number <= rows * 17 / 16 for rows, number in enumerate(numbers, 1))
    assert len({number for number in numbers if 2_048 < number <= 4_096}) == 16
    assert [padded_count(number) for number in numbers] == numbers


def test_rows_of_padding_are_zeros() -> None:
    states = torch.randn(67, WIDTH)
    whole = pad_rows(states, torch.bfloat16)
    assert whole.shape == (68, WIDTH)
    assert torch.equal(whole[:67], states.bfloat16())
    assert not whole[67:].any()
