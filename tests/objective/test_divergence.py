"""The divergence of two decoders against hand cases and against PyTorch over all logits at once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.objective import logit_blocks
from mtnat.objective.divergence import divergence_sum

POSITIONS, WIDTH, VOCABULARY = 37, 16, 50


def of(p: list[float], q: list[float]) -> float:
    """KL(p || q): with the identity as output embeddings, log-probabilities are logits."""
    states_ND = [torch.tensor([each]).log() for each in (p, q)]
    return divergence_sum(states_ND[0], states_ND[1], torch.eye(len(p))).item()


def test_hand_cases() -> None:
    p, q = [0.5, 0.5], [0.25, 0.75]
    # ½·ln 2 + ½·ln ⅔ and ¼·ln ½ + ¾·ln 1½
    assert of(p, q) == pytest.approx(0.143841, abs=1e-6)
    assert of(q, p) == pytest.approx(0.130812, abs=1e-6)
    assert (of(p, q) + of(q, p)) / 2 == pytest.approx(0.137327, abs=1e-6)  # (¼·ln 3) / 2
    assert of(p, p) == of(q, q) == 0


def inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    teacher, student = (torch.randn(POSITIONS, WIDTH, generator=generator, requires_grad=True) for _ in range(2))
    weight = torch.randn(VOCABULARY, WIDTH, generator=generator, requires_grad=True)
    return teacher, student, weight, torch.rand(POSITIONS, generator=generator) < 0.6


def plain(
    teacher: Tensor, student: Tensor, weight: Tensor, temperature: float, is_counted: Tensor | None, *, trains_teacher: bool
) -> Tensor:
    """The same over all logits; a constant teacher has neither a gradient of its own nor one through the weight."""
    logits = F.linear(teacher, weight) if trains_teacher else F.linear(teacher, weight).detach()
    log_p, log_q = (F.log_softmax(each / temperature, 1) for each in (logits, F.linear(student, weight)))
    divergence_N = F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(1)
    return temperature**2 * (divergence_N if is_counted is None else divergence_N[is_counted]).sum()


@pytest.mark.parametrize("rows", [1, 10, 37, 100])
@pytest.mark.parametrize("trains_teacher", [False, True])
@pytest.mark.parametrize(("temperature", "counts_all"), [(1.0, True), (2.0, False)])
def test_the_divergence_and_its_gradients_equal_pytorchs_for_any_number_of_positions_at_once(
    rows: int, trains_teacher: bool, temperature: float, counts_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 4 * 4 * VOCABULARY * rows)
    results = []
    for function in (divergence_sum, plain):
        teacher, student, weight, is_counted = inputs()
        total = function(
            teacher, student, weight, temperature, None if counts_all else is_counted, trains_teacher=trains_teacher
        )
        (0.7 * total).backward()  # type: ignore[no-untyped-call]
        results.append((total, teacher.grad, student.grad, weight.grad))
    (ours, *our_gradients), (theirs, *their_gradients) = results
    torch.testing.assert_close(ours, theirs)
    assert (our_gradients[0] is not None) == trains_teacher
    for our, their in zip(our_gradients, their_gradients, strict=True):
        torch.testing.assert_close(our, their, atol=1e-4, rtol=1e-4)


def test_opposite_and_certain_decoders_have_a_finite_divergence() -> None:
    teacher, student, weight, _ = inputs()
    total = divergence_sum(teacher * 1e3, -student * 1e3, weight, trains_teacher=True)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.isfinite()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in (teacher, student, weight))


def test_no_positions_have_a_divergence_of_zero() -> None:
    teacher, student, weight, _ = inputs()
    total = divergence_sum(teacher[:0], student[:0], weight, trains_teacher=True)
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0
    assert weight.grad is not None
    assert not weight.grad.any()


def test_under_autocast_products_are_rounded_and_the_divergence_is_float32() -> None:
    teacher, student, weight, _ = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        total = divergence_sum(teacher, student, weight, trains_teacher=True)
    total.backward()  # type: ignore[no-untyped-call]
    exact = inputs()[:3]
    reference = plain(*exact, 1.0, None, trains_teacher=True)
    reference.backward()  # type: ignore[no-untyped-call]
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(reference.item(), rel=0.02)
    for ours, theirs in zip((teacher, student, weight), exact, strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert ours.grad.dtype == torch.float32
        assert 0 < (ours.grad - theirs.grad).norm() < 0.03 * theirs.grad.norm()
