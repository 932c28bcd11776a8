"""The cross-entropy in parts against PyTorch's over all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.objective import logit_blocks
from mtnat.objective.cross_entropy import cross_entropy_sum

POSITIONS, WIDTH, VOCABULARY = 37, 16, 50


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(POSITIONS, WIDTH, generator=generator, requires_grad=True)
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, requires_grad=True)
    return states, weight, torch.randint(VOCABULARY, (POSITIONS,), generator=generator)


def plain(states: Tensor, weight: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    return F.cross_entropy(F.linear(states, weight).float(), targets, label_smoothing=smoothing, reduction="sum")


@pytest.mark.parametrize("rows", [1, 10, 37, 100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_and_its_gradients_equal_pytorchs_for_any_number_of_positions_at_once(
    rows: int, smoothing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 4 * VOCABULARY * rows)
    results = []
    for function in (cross_entropy_sum, plain):
        states, weight, targets = inputs()
        total = function(states, weight, targets, smoothing)
        (0.7 * total).backward()  # type: ignore[no-untyped-call]
        results.append((total, states.grad, weight.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_confident_and_wrong_model_has_a_finite_loss() -> None:
    states, weight, targets = inputs()
    ours, theirs = (function(states * 1e3, weight, targets, 0.1) for function in (cross_entropy_sum, plain))
    assert ours.isfinite()
    torch.testing.assert_close(ours, theirs)


def test_under_autocast_products_are_rounded_and_the_loss_is_float32() -> None:
    states, weight, targets = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        total = cross_entropy_sum(states, weight, targets, 0.1)
    total.backward()  # type: ignore[no-untyped-call]
    exact_states, exact_weight, _ = inputs()
    exact = plain(exact_states, exact_weight, targets, 0.1)
    exact.backward()  # type: ignore[no-untyped-call]
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(exact.item(), rel=0.01)
    for ours, theirs in ((states.grad, exact_states.grad), (weight.grad, exact_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == torch.float32
        assert 0 < (ours - theirs).norm() < 0.02 * theirs.norm()


def test_without_gradients_the_loss_is_the_same_and_needs_no_gradient() -> None:
    states, weight, targets = inputs()
    with torch.no_grad():
        total = cross_entropy_sum(states, weight, targets, 0.1)
    assert not total.requires_grad
    torch.testing.assert_close(total, plain(states, weight, targets, 0.1).detach())
