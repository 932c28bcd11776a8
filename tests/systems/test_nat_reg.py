"""NAT-REG: its two regularisers on cases worked by hand and against plain computations."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from copied_translators import MODEL, NOW, noise_of, objective_of, rows, translator_of
from torch import Tensor, nn
from torch.nn import functional

from mtnat.decoding import decode
from mtnat.model import Encoded, TargetDecoder, Translator
from mtnat.objective import Loss
from mtnat.systems import NatReg, NatRegBranch, SinglePassDecoding, branch_of
from mtnat.systems.nat_reg import neighbour_similarities
from mtnat.tokens import BOS, PAD

SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6])
TARGETS = ([6, 7, 7, 9, 10], [11, 5], [5])
RIGHT, UP = [1.0, 0.0], [0.0, 1.0]


def branch_in(translator: Translator) -> NatRegBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, NatRegBranch)
    return branch


def losses(translator: Translator, sources: Sequence[list[int]], targets: Sequence[list[int]]) -> dict[str, Loss]:
    branch = branch_in(translator)
    noise = noise_of(branch, rows(*sources), rows(*targets))
    return dict(branch.losses(translator.encode(rows(*sources)), noise, NOW))


def states_of(translator: Translator, source: list[int], target: list[int]) -> Tensor:
    """The states of one target, with that of EOS, [T + 1, D]."""
    branch = branch_in(translator)
    return branch.target_states(translator.encode(rows(source)), noise_of(branch, rows(source), rows(target)))[0]


# The similarity of neighbouring states


@pytest.mark.parametrize(
    ("states", "tokens", "value"),
    [
        ([RIGHT, RIGHT], [0, 1], 2.0),
        ([RIGHT, RIGHT], [0, 0], 1.0),
        ([RIGHT, UP], [0, 1], 1.0),
        ([RIGHT, UP], [0, 0], 1.0),
        ([RIGHT, [-3.0, 0.0]], [0, 1], 0.0),
        ([RIGHT, [2.0, 0.0]], [0, 2], 3.0),  # embeddings that point in opposite directions
    ],
)
def test_the_similarity_of_a_pair_matches_cases_worked_by_hand(
    states: list[list[float]], tokens: list[int], value: float
) -> None:
    weight = torch.tensor([RIGHT, UP, [-1.0, 0.0]])
    found = neighbour_similarities(torch.tensor(states), torch.tensor(tokens), weight)
    assert found.tolist() == [pytest.approx(value)]


def test_the_products_are_averaged_and_not_the_factors() -> None:
    """States with cosines 1, 0 and tokens with cosines 1, 0: the product of the means would give 1.25."""
    states = torch.tensor([RIGHT, RIGHT, UP])
    assert neighbour_similarities(states, torch.tensor([0, 0, 1]), torch.eye(2)).mean().item() == pytest.approx(1.0)


def test_equal_tokens_and_embeddings_have_no_gradient() -> None:
    states = torch.randn(2, 8, requires_grad=True)
    weight = torch.randn(5, 8, requires_grad=True)
    neighbour_similarities(states, torch.tensor([3, 3]), weight).sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad is not None
    assert not states.grad.any()
    neighbour_similarities(states, torch.tensor([3, 4]), weight).sum().backward()  # type: ignore[no-untyped-call]
    assert states.grad.any()
    assert weight.grad is None


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient")  # a step that float32 resolves
def test_its_gradient_agrees_with_differences_and_is_finite_for_zero_states() -> None:
    weight, tokens = torch.randn(5, 4), torch.tensor([1, 2, 2, 3])
    states = torch.randn(4, 4, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda states: neighbour_similarities(states, tokens, weight), states, eps=1e-2, atol=2e-2, rtol=2e-2
    )
    zeros = torch.zeros(4, 4, requires_grad=True)
    neighbour_similarities(zeros, tokens, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_the_loss_sums_over_the_pairs_within_each_sentence() -> None:
    translator = translator_of(NatReg())
    found = losses(translator, SOURCES, TARGETS)["similarity"]
    embeddings = translator.target_tokens.weight
    total = 0.0
    for source, target in zip(SOURCES, TARGETS, strict=True):
        states = states_of(translator, source, target)
        for place, (first, second) in enumerate(itertools.pairwise(target)):
            of_states = functional.cosine_similarity(states[place], states[place + 1], dim=0)
            of_tokens = functional.cosine_similarity(embeddings[first], embeddings[second], dim=0)
            total += 1 + (of_states * (1 - of_tokens)).item()
    assert int(found.count) == 4 + 1 + 0
    assert found.sum.item() == pytest.approx(total, rel=1e-5)


def test_a_target_of_one_piece_has_no_pair_and_a_finite_gradient() -> None:
    translator = translator_of(NatReg())
    found = losses(translator, SOURCES[:1], [[5]])
    torch.stack([loss.sum for loss in found.values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert (found["similarity"].sum.item(), int(found["similarity"].count)) == (0.0, 0)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


# The reconstruction of the source


def test_the_reconstruction_is_the_loss_of_a_decoder_that_reads_the_states() -> None:
    translator = translator_of(NatReg())
    decoder = TargetDecoder(MODEL, translator.target_tokens, causal=True)
    decoder.stack.load_state_dict(branch_in(translator).backward_decoder.state_dict())
    found = losses(translator, SOURCES, TARGETS)["reconstruction"]
    total = 0.0
    for source, target in zip(SOURCES, TARGETS, strict=True):
        states = states_of(translator, source, target)[:-1]  # without that of EOS
        memory = Encoded(states[None], torch.zeros(1, len(states), dtype=torch.bool), None)
        logits = decoder.logits(memory, torch.tensor([[BOS, *source]]))[0]
        total += functional.cross_entropy(logits, rows(source)[0], reduction="sum", label_smoothing=0.1).item()
    assert int(found.count) == sum(len(source) + 1 for source in SOURCES)
    assert found.sum.item() == pytest.approx(total, rel=1e-5)


def test_the_reconstruction_trains_the_nat_decoder_and_the_encoder() -> None:
    translator = translator_of(NatReg())
    losses(translator, SOURCES, TARGETS)["reconstruction"].sum.backward()  # type: ignore[no-untyped-call]
    branch = branch_in(translator)
    for module in (translator.encoder, branch.decoder, branch.backward_decoder):
        gradients = [weight.grad for weight in module.parameters()]
        assert any(gradient is not None and gradient.any() for gradient in gradients)


def test_with_separate_vocabularies_it_reconstructs_tokens_of_the_source() -> None:
    system = NatReg()
    translator = translator_of(system, source_vocabulary=20)
    objective = objective_of(translator, system)
    draw = objective.draw(rows([15, 16, 17], [18]), rows([6, 7], [8, 9, 10]), NOW, torch.Generator().manual_seed(1))
    scales = {part: torch.tensor(float(part == "reconstruction")) for part in objective.parts}
    total, *_ = objective(draw, scales, NOW)
    total.backward()
    assert translator.source_tokens is not None
    found = translator.source_tokens.weight.grad
    assert found is not None
    assert found[5:].any(1).all()  # the softmax reads every row of the source embeddings
    decoder = TargetDecoder(MODEL, translator.source_tokens, causal=True)
    decoder.stack.load_state_dict(branch_in(translator).backward_decoder.state_dict())
    memory = Encoded(states_of(translator, [18], [8, 9, 10])[None, :-1], torch.zeros(1, 3, dtype=torch.bool), None)
    expected = functional.cross_entropy(
        decoder.logits(memory, torch.tensor([[BOS, 18]]))[0], rows([18])[0], reduction="sum", label_smoothing=0.1
    )
    assert losses(translator, [[18]], [[8, 9, 10]])["reconstruction"].sum.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_backward_decoder_is_not_used_for_translation() -> None:
    translator = translator_of(NatReg())
    search = branch_in(translator).search(SinglePassDecoding())
    before = decode(translator, SOURCES, SinglePassDecoding(), search)
    for parameter in branch_in(translator).backward_decoder.parameters():
        nn.init.normal_(parameter)
    assert decode(translator, SOURCES, SinglePassDecoding(), search) == before


def test_the_parts_have_their_weights_and_their_numbers_of_predictions() -> None:
    branch = branch_in(translator_of(NatReg(similarity_weight=1.5, reconstruction_weight=0.25)))
    assert [branch.weight_of(part) for part in branch.parts] == [1.0, 1.5, 0.25, 0.1]
    noise = noise_of(branch, rows(*SOURCES), rows(*TARGETS))
    assert {part: noise.predictions[part].tolist() for part in branch.parts} == {
        "nat": [5, 2, 1],
        "similarity": [4, 1, 0],
        "reconstruction": [4, 2, 6],
        "length": [1, 1, 1],
    }
    assert PAD in noise.tensors["target"]
