"""The cross-entropy with soft targets against PyTorch's over all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.objective import cross_entropy_sum, logit_blocks
from mtnat.objective.soft_targets import soft_cross_entropy_sum

POSITIONS, WIDTH, VOCABULARY, TOKENS = 37, 16, 50, 6


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(POSITIONS, WIDTH, generator=generator, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, requires_grad=True)
    tokens = torch.randint(VOCABULARY, (POSITIONS, TOKENS), generator=generator)
    tokens[:, 1] = tokens[:, 0]  # a token twice
    uniform = torch.rand(POSITIONS, generator=generator)
    probabilities = torch.rand(POSITIONS, TOKENS, generator=generator)
    return states, weight, tokens, probabilities * ((1 - uniform) / probabilities.sum(1))[:, None], uniform


def plain(states: Tensor, weight: Tensor, tokens: Tensor, probabilities: Tensor, uniform: Tensor) -> Tensor:
    target_NV = (uniform[:, None] / VOCABULARY).expand(-1, VOCABULARY).scatter_add(1, tokens, probabilities)
    return F.cross_entropy(F.linear(states, weight).float(), target_NV, reduction="sum")


@pytest.mark.parametrize("rows", [1, 10, 37, 100])
def test_the_loss_and_its_gradients_equal_pytorchs_for_any_number_of_positions_at_once(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 4 * VOCABULARY * rows)
    results = []
    for function in (soft_cross_entropy_sum, plain):
        states, weight, *target = inputs()
        total = function(states, weight, *target)
        (0.7 * total).backward()  # type: ignore[no-untyped-call]
        results.append((total, states.grad, weight.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_one_token_is_the_label_smoothed_cross_entropy() -> None:
    states, weight, tokens, *_ = inputs()
    confidence, uniform = torch.full((POSITIONS, 1), 0.9), torch.full((POSITIONS,), 0.1)
    soft = soft_cross_entropy_sum(states, weight, tokens[:, :1], confidence, uniform)
    torch.testing.assert_close(soft, cross_entropy_sum(states, weight, tokens[:, 0], 0.1))


def test_under_autocast_products_are_rounded_and_the_loss_is_float32() -> None:
    states, weight, *target = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        total = soft_cross_entropy_sum(states, weight, *target)
    total.backward()  # type: ignore[no-untyped-call]
    exact_states, exact_weight, *target = inputs()
    exact = plain(exact_states, exact_weight, *target)
    exact.backward()  # type: ignore[no-untyped-call]
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(exact.item(), rel=0.01)
    for ours, theirs in ((states.grad, exact_states.grad), (weight.grad, exact_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert 0 < (ours - theirs).norm() < 0.03 * theirs.norm()


def test_no_positions_have_a_loss_of_zero() -> None:
    states, weight, *target = inputs()
    total = soft_cross_entropy_sum(states[:0], weight, *(each[:0] for each in target))
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
