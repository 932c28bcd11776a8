"""The vanilla NAT: what its decoder reads, its loss, and decoding in one pass with several lengths."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from copied_translators import BOTH, NOW, noise_of, rows, translator_of
from torch import Tensor
from torch.nn import functional

from mtnat.config import build
from mtnat.decoding import Hypothesis, decode
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.systems import AtBranch, CopiedSourceBranch, SinglePassDecoding, VanillaNat, branch_of, search_of
from mtnat.systems.copied_source import Copy, nearest_lengths, soft_copy, uniform_copy
from mtnat.tokens import BOS, EOS, PAD, SPECIAL

COPIES: tuple[Copy, ...] = ("uniform", "soft")
SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6], [7, 7, 8, 9])
TARGETS = ([6, 7, 8, 9, 10], [11], [5, 6], [9, 9, 5])


def branch_in(translator: Translator) -> CopiedSourceBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, CopiedSourceBranch)
    return branch


# The copy of the source


@pytest.mark.parametrize(
    ("source", "length", "copied"),
    [
        ([5, 6, 7], 3, [5, 6, 7]),
        ([5, 6, 7], 5, [5, 6, 6, 7, 7]),  # places 0, 0.5, 1, 1.5 and 2; halves are rounded up
        ([5, 6, 7, 8, 9], 3, [5, 7, 9]),
        ([5, 6, 7, 8], 2, [5, 8]),
        ([5, 6, 7], 1, [5]),
        ([5], 1, [5]),
        ([5], 3, [5, 5, 5]),  # t·S/T would be 2/3 for the last position and read EOS
        ([5, 6], 4, [5, 5, 6, 6]),
    ],
)
def test_a_uniform_copy_matches_cases_worked_by_hand(source: list[int], length: int, copied: list[int]) -> None:
    found = uniform_copy(rows(source), torch.tensor([[length]]), length + 2)
    assert found.tolist() == [[[*copied, EOS, PAD]]]


def test_several_lengths_of_each_source_of_a_batch_are_copied_at_once() -> None:
    lengths = torch.tensor([[2, 4], [3, 1]])
    found = uniform_copy(rows([5, 6, 7], [8, 9]), lengths, 6)
    for row, source in enumerate(([5, 6, 7], [8, 9])):
        for column, length in enumerate(lengths[row].tolist()):
            alone = uniform_copy(rows(source), torch.tensor([[length]]), 6)
            assert torch.equal(found[row, column], alone[0, 0])


def test_a_soft_copy_weights_the_source_by_the_distance_to_the_uniform_place() -> None:
    """Two pieces and three positions: the centres are 0, 1/2 and 1."""
    found = soft_copy(torch.tensor([[False, False, False, True]]), torch.tensor([[3]]), 5)
    near = 1 / (1 + math.exp(-1 / 0.3))
    expected = [[near, 1 - near, 0, 0], [0.5, 0.5, 0, 0], [1 - near, near, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(found[0, 0], torch.tensor(expected))


def test_a_soft_copy_of_a_target_of_one_piece_is_finite() -> None:
    found = soft_copy(torch.tensor([[False, False], [False, True]])[:1], torch.tensor([[1]]), 2)
    assert found.tolist() == [[[[1, 0], [0, 1]]]]


@pytest.mark.parametrize("copy", COPIES)
def test_the_states_depend_on_the_source_and_the_length_alone(copy: Copy) -> None:
    branch = branch_in(translator := translator_of(VanillaNat(copy_source=copy)))
    encoded = translator.encode(rows([5, 6, 7]))
    states = [branch.target_states(encoded, noise_of(branch, rows([5, 6, 7]), rows(target))) for target in ([8, 9], [10, 5])]
    assert torch.equal(*states)
    longer = branch.target_states(encoded, noise_of(branch, rows([5, 6, 7]), rows([8, 9, 10])))
    assert not torch.allclose(longer[:, :2], states[0][:, :2])


# The loss


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_the_loss_is_torchs_sum_over_all_pieces_and_none_at_eos(copy: Copy, label_smoothing: float) -> None:
    config = BOTH.model_copy(update={"label_smoothing": label_smoothing})
    branch = branch_in(translator := translator_of(VanillaNat(copy_source=copy), objective=config))
    found = branch.losses(translator.encode(rows(*SOURCES)), noise_of(branch, rows(*SOURCES), rows(*TARGETS)), NOW)["nat"]
    total = 0.0
    for source, target in zip(SOURCES, TARGETS, strict=True):  # one by one, so that there is no padding
        states = branch.target_states(translator.encode(rows(source)), noise_of(branch, rows(source), rows(target)))
        logits = branch.decoder.vocabulary_logits(states[0, :-1])
        total += functional.cross_entropy(logits, torch.tensor(target), reduction="sum", label_smoothing=label_smoothing).item()
    assert found.count == sum(map(len, TARGETS))
    assert found.sum.item() == pytest.approx(total, rel=1e-5)


def test_sentences_of_one_piece_have_a_finite_loss_and_gradient() -> None:
    for copy in COPIES:
        branch = branch_in(translator := translator_of(VanillaNat(copy_source=copy)))
        loss = branch.losses(translator.encode(rows([5])), noise_of(branch, rows([5]), rows([6])), NOW)["nat"]
        loss.sum.backward()  # type: ignore[no-untyped-call]
        assert loss.sum.isfinite()
        assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


@pytest.mark.parametrize("copy", COPIES)
def test_with_separate_vocabularies_the_copies_train_the_source_embeddings(copy: Copy) -> None:
    translator = translator_of(VanillaNat(copy_source=copy), source_vocabulary=20)
    encoded = translator.encode(rows([15, 16, 17], [18]))
    branch_in(translator).input(encoded, torch.tensor([[2], [3]]), 4).sum().backward()  # type: ignore[no-untyped-call]
    assert translator.source_tokens is not None
    assert translator.source_tokens.weight.grad is not None
    read = translator.source_tokens.weight.grad.any(1).nonzero().squeeze(1).tolist()
    assert read == ([EOS, 15, 17, 18] if copy == "uniform" else [EOS, 15, 16, 17, 18])
    assert translator.target_tokens.weight.grad is None


# The search


def found(translator: Translator, decoding: SinglePassDecoding, n_best: int = 1) -> list[list[Hypothesis]]:
    return decode(translator, SOURCES, decoding, search_of(translator, "nat", decoding), n_best)


def pieces_and_score(translator: Translator, source: Sequence[int], length: int) -> tuple[tuple[int, ...], float]:
    """The likeliest pieces of a length, and the log-probability of both for each piece, computed for one sentence."""
    branch = branch_in(translator)
    encoded = translator.encode(rows(source))
    lengths = torch.tensor([[length]])
    states = branch.states(encoded, branch.decoder.remember(encoded), lengths, length + 1)[0, :length]
    logits: Tensor = branch.decoder.vocabulary_logits(states).detach()
    logits[:, list(SPECIAL)] = -math.inf
    best = logits.log_softmax(1).max(1)
    of_length = branch.length_logits(encoded)[0].log_softmax(0)[length].item()
    return tuple(best.indices.tolist()), (of_length + best.values.sum().item()) / length


def predicted_length(translator: Translator, source: Sequence[int]) -> int:
    logits = branch_in(translator).length_logits(translator.encode(rows(source)))[0, : 2 * len(source) + 11]
    return int(logits.argmax())


@pytest.mark.parametrize("copy", COPIES)
def test_one_length_is_the_likeliest_one_and_its_pieces_are_the_likeliest_ones(copy: Copy) -> None:
    translator = translator_of(VanillaNat(copy_source=copy))
    for source, [hypothesis] in zip(SOURCES, found(translator, SinglePassDecoding()), strict=True):
        pieces, score = pieces_and_score(translator, source, predicted_length(translator, source))
        assert (hypothesis.tokens, hypothesis.passes) == (pieces, 1)
        assert hypothesis.score == pytest.approx(score, abs=1e-4)


def test_lengths_around_the_predicted_one_are_its_neighbours() -> None:
    translator = translator_of(VanillaNat())
    best = found(translator, SinglePassDecoding(length_candidates=3), 3)
    for source, hypotheses in zip(SOURCES, best, strict=True):
        centre = predicted_length(translator, source)
        lengths = {length for length in (centre - 1, centre, centre + 1) if 1 <= length <= 15}
        assert {len(each.tokens) for each in hypotheses} >= lengths
        assert [each.score for each in hypotheses] == sorted((each.score for each in hypotheses), reverse=True)
        for each in hypotheses:
            pieces, score = pieces_and_score(translator, source, len(each.tokens))
            assert each.tokens == pieces
            assert each.score == pytest.approx(score, abs=1e-4)


def test_lengths_of_the_source_are_not_those_of_the_length_head() -> None:
    translator = translator_of(VanillaNat())
    for offset in (-2, 0, 2):
        decoding = SinglePassDecoding(lengths="source", length_offset=offset)
        for source, [best] in zip(SOURCES, found(translator, decoding), strict=True):
            assert len(best.tokens) == max(1, len(source) + offset)


@pytest.mark.parametrize(
    ("length", "candidates", "lengths"),
    [
        (5, 1, [5]),
        (5, 4, [5, 4, 6, 3]),
        (1, 3, [1, 2, 3]),
        (-4, 2, [1, 2]),
        (7, 3, [7, 6, 5]),
        (12, 2, [7, 6]),
        (3, 50, [3, 2, 4, 1, 5, 6, 7]),
    ],
)
def test_the_nearest_lengths_are_those_that_the_model_has(length: int, candidates: int, lengths: list[int]) -> None:
    assert nearest_lengths(torch.tensor([length]), candidates, positions=8).tolist() == [lengths]


def test_the_at_decoder_chooses_among_the_lengths() -> None:
    translator = translator_of(VanillaNat(), std=0.6)
    plain = found(translator, SinglePassDecoding(length_candidates=5), 5)
    reranked = found(translator, SinglePassDecoding(length_candidates=5, rerank="at", length_penalty=0.7), 5)
    at = branch_of(translator, "at")
    assert isinstance(at, AtBranch)
    for source, ours, others in zip(SOURCES, reranked, plain, strict=True):
        assert {each.tokens for each in ours} == {each.tokens for each in others}
        assert [each.score for each in ours] == sorted((each.score for each in ours), reverse=True)
        for each in ours:
            logits = at.decoder.logits(translator.encode(rows(source)), torch.tensor([[BOS, *each.tokens]]))[0].detach()
            logits[:, [token for token in SPECIAL if token != EOS]] = -math.inf
            total = logits.log_softmax(1)[range(len(each.tokens) + 1), [*each.tokens, EOS]].sum().item()
            assert each.score == pytest.approx(total / (len(each.tokens) + 1) ** 0.7, abs=1e-4)
    assert [best[0].tokens for best in reranked] != [best[0].tokens for best in plain]


# Settings

BASE: dict[str, Any] = {
    "data": {"corpus": "grammar-en-de", "max_length": 64},
    "model": {"max_positions": 64},
    "training": {"steps": 20_000},
    "system": {"kind": "vanilla-nat"},
}


def test_it_is_decoded_in_one_pass_unless_the_experiment_says_otherwise() -> None:
    assert build(Experiment, BASE).decoding == SinglePassDecoding()
    chosen = build(Experiment, {**BASE, "decoding": {"length_candidates": 7, "rerank": "at"}}).decoding
    assert chosen == SinglePassDecoding(length_candidates=7, rerank="at")
    with pytest.raises(ConfigError, match=r"decoding\.kind: mask-predict does not decode the system vanilla-nat"):
        build(Experiment, {**BASE, "decoding": {"kind": "mask-predict"}})


def test_a_single_candidate_has_nothing_to_rerank() -> None:
    with pytest.raises(ConfigError) as raised:
        build(Experiment, {**BASE, "decoding": {"rerank": "at"}})
    assert raised.value.problems == (
        "decoding.rerank: at needs several translations to choose from; got length_candidates 1; raise it to 2 or more.",
    )
