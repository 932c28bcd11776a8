"""What all systems that copy the source have in common: half precision, copies of the model, and separate vocabularies."""

import copy

import pytest
import torch
from copied_translators import MODEL, noise_of, objective_of, rows, translator_of
from teachers import teacher_of
from torch import Tensor

from mtnat.decoding import decode
from mtnat.model import Translator
from mtnat.objective import Moment
from mtnat.systems import FclNat, HintNat, NadAd, NatReg, System, TaughtBranch, VanillaNat, branch_of

SYSTEMS: tuple[System, ...] = (VanillaNat(), NatReg(), FclNat(), HintNat(), NadAd())
SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6])
TARGETS = ([6, 7, 7, 9, 10], [11, 5], [5])
MIDDLE = Moment(50, 100, 1)


def built(system: System, *, std: float = 0.3) -> Translator:
    translator = translator_of(system, std=std)
    branch = branch_of(translator, "nat")
    if isinstance(branch, TaughtBranch):
        branch.use_teacher(teacher_of(MODEL))
    return translator


def losses(translator: Translator) -> dict[str, Tensor]:
    branch = branch_of(translator, "nat")
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS), MIDDLE)
    return {name: loss.sum for name, loss in branch.losses(translator.encode(rows(*SOURCES)), noise, MIDDLE).items()}


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_under_autocast_every_loss_is_float32_and_nearly_the_same(system: System) -> None:
    translator = built(system)
    exact = losses(translator)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(translator)
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(exact[name].item(), rel=0.05, abs=0.05), name
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_a_copy_of_the_model_reads_its_own_weights(system: System) -> None:
    """The moving average of the weights is such a copy."""
    translator = translator_of(system)
    copied = copy.deepcopy(translator)
    for parameter in translator.parameters():
        parameter.data.zero_()
    fresh, decoding = translator_of(system), system.default_decoding
    found, expected = (decode(each, SOURCES, decoding, branch_of(each, "nat").search(decoding)) for each in (copied, fresh))
    assert found == expected


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: type(system).__name__)
def test_with_separate_vocabularies_the_gradients_are_those_of_an_ordinary_backward_pass(system: System) -> None:
    translator = translator_of(system, source_vocabulary=20)
    branch = branch_of(translator, "nat")
    if isinstance(branch, TaughtBranch):
        teacher = translator_of(VanillaNat(), source_vocabulary=20, std=0.3)
        branch.use_teacher(teacher)
    objective = objective_of(translator, system)
    source, target = rows([15, 16, 17], [18]), rows([6, 7], [8, 9, 10])
    draw = objective.draw(source, target, MIDDLE, torch.Generator().manual_seed(1))
    objective(draw, {part: torch.tensor(1.0) for part in objective.parts}, MIDDLE)[0].backward()
    found = {name: None if weight.grad is None else weight.grad.clone() for name, weight in translator.named_parameters()}
    translator.zero_grad(set_to_none=True)
    encoded, sums = translator.encode(source), list[Tensor]()
    for name in ("at", "nat"):
        each = branch_of(translator, name)
        parts = {**each.losses(encoded, draw.noise[name], MIDDLE), **each.head_losses(encoded, draw.noise[name])}
        sums += [loss.sum for part, loss in parts.items() if part in each.parts]
    torch.stack(sums).sum().backward()  # type: ignore[no-untyped-call]
    for name, weight in translator.named_parameters():
        torch.testing.assert_close(found[name], weight.grad, rtol=1e-4, atol=1e-5)
    assert translator.source_tokens is not None
    assert translator.source_tokens.weight.grad is not None
    assert translator.source_tokens.weight.grad[15:19].any(1).all()
