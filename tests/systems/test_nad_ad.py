"""Encoder-NAD-AD: what each decoder sees, both losses, and beam search with two memories."""

import math

import pytest
import torch
from copied_translators import BOTH, MODEL, NOW, noise_of, rows, translator_of
from torch import Tensor
from torch.nn import functional

from mtnat.config import build
from mtnat.decoding import decode
from mtnat.errors import ConfigError
from mtnat.model import TargetDecoder, Translator
from mtnat.objective import Loss
from mtnat.systems import NadAd, NadAdBranch, NadAdDecoding, branch_of
from mtnat.systems.at import shift_right
from mtnat.tokens import BOS, EOS, PAD, SPECIAL

SOURCES = ([5, 6, 7], [8], [9, 10, 11, 5, 6])
TARGETS = ([6, 7, 7, 9, 10], [11, 5], [5])


def branch_in(translator: Translator) -> NadAdBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, NadAdBranch)
    return branch


def losses(translator: Translator, sources: Tensor, targets: Tensor) -> dict[str, Loss]:
    branch = branch_in(translator)
    return dict(branch.losses(translator.encode(sources), noise_of(branch, sources, targets), NOW))


def ad_states(translator: Translator, source: Tensor, target: Tensor) -> Tensor:
    return branch_in(translator).decoder.states(translator.encode(source), shift_right(target))


# What each decoder sees


def test_without_the_output_of_the_second_attention_it_is_an_at_decoder() -> None:
    translator = translator_of(NadAd())
    branch = branch_in(translator)
    plain = TargetDecoder(MODEL, translator.target_tokens, causal=True)
    weights = {name: weight for name, weight in branch.decoder.stack.state_dict().items() if "second_attention" not in name}
    plain.stack.load_state_dict(weights)
    encoded, target = translator.encode(rows(*SOURCES)), rows(*TARGETS)
    expected = plain.states(encoded, shift_right(target))
    is_token = target != PAD
    assert not torch.allclose(ad_states(translator, rows(*SOURCES), target)[is_token], expected[is_token])
    for name, weight in branch.decoder.named_parameters():
        if "second_attention.output" in name:
            weight.data.zero_()
    assert torch.equal(ad_states(translator, rows(*SOURCES), target)[is_token], expected[is_token])


def test_the_ad_sees_no_piece_that_it_predicts_nor_a_later_one() -> None:
    translator = translator_of(NadAd())
    source, target = rows([5, 6, 7]), rows([6, 7, 8, 9])
    before = ad_states(translator, source, target)
    for place in range(4):
        changed = target.clone()
        changed[0, place] = 11
        after = ad_states(translator, source, changed)
        torch.testing.assert_close(after[:, : place + 1], before[:, : place + 1])
        if place < 3:
            assert not torch.allclose(after[:, place + 1 :], before[:, place + 1 :])


def test_the_nad_sees_the_source_alone_and_does_not_tell_the_length_of_the_target() -> None:
    """The NAD's states in the loss are those of translation, whatever the target is."""
    translator = translator_of(NadAd())
    branch = branch_in(translator)
    seen: list[Tensor] = []
    branch.nad.stack.register_forward_hook(lambda module, given, states: seen.append(states))
    for target in ([6], [6, 7, 8, 9, 10, 11], [5, 5]):
        losses(translator, rows([5, 6, 7]), rows(target))
    branch.decoder.start(translator.encode(rows([5, 6, 7])))
    assert len(seen) == 4
    assert all(torch.equal(each, seen[0]) for each in seen)
    assert seen[0].shape == (1, 8, 8)  # 3 pieces, EOS and 4 positions more


@pytest.mark.parametrize("extra", [0, 3])
def test_the_padding_of_the_nad_is_hidden_from_the_ad(extra: int) -> None:
    translator = translator_of(NadAd(extra_positions=extra))
    together = ad_states(translator, rows(*SOURCES), rows(*TARGETS))
    for row, (source, target) in enumerate(zip(SOURCES, TARGETS, strict=True)):
        alone = ad_states(translator, rows(source), rows(target))
        torch.testing.assert_close(together[row : row + 1, : len(target) + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_source_of_the_maximum_length_leaves_room_for_the_nads_positions() -> None:
    translator = translator_of(NadAd(extra_positions=7))
    longest = [5 + number % 7 for number in range(MODEL.max_positions - 1)]
    assert branch_in(translator).nad_states(translator.encode(rows(longest))).states_BSD.shape[1] == 16 + 7


# The losses


@pytest.mark.parametrize(
    ("target", "canvas", "beyond"),
    [
        ([9, 10], [9, 10, EOS, EOS], 0),
        ([9, 10, 11, 8], [9, 10, 11, 8], 0),
        ([9, 10, 11, 8, 7, 6], [9, 10, 11, 8], 2),
    ],
)
def test_the_nad_predicts_the_target_and_then_eos(target: list[int], canvas: list[int], beyond: int) -> None:
    """A source of two pieces with one position more: four positions."""
    translator = translator_of(NadAd(extra_positions=1))
    noise = noise_of(branch_in(translator), rows([5, 6]), rows(target))
    assert noise.tensors["canvas"].tolist() == [canvas]
    found = losses(translator, rows([5, 6]), rows(target))
    assert (float(found["beyond"].sum), int(found["beyond"].count)) == (beyond, len(target))


def test_the_losses_are_torchs_sums_over_the_tokens_and_over_the_positions_of_the_nad() -> None:
    translator = translator_of(NadAd())
    branch = branch_in(translator)
    found = losses(translator, rows(*SOURCES), rows(*TARGETS))
    ad = nad = 0.0
    for source, target in zip(SOURCES, TARGETS, strict=True):
        encoded = translator.encode(rows(source))
        logits = branch.decoder.vocabulary_logits(ad_states(translator, rows(source), rows(target))[0])
        ad += functional.cross_entropy(logits, rows(target)[0], reduction="sum", label_smoothing=0.1).item()
        canvas = [*target, *[EOS] * 9][: len(source) + 5]
        logits = branch.nad.vocabulary_logits(branch.nad_states(encoded).states_BSD[0])
        nad += functional.cross_entropy(logits, torch.tensor(canvas), reduction="sum", label_smoothing=0.1).item()
    assert found["ad"].sum.item() == pytest.approx(ad, rel=1e-5)
    assert found["nad"].sum.item() == pytest.approx(nad, rel=1e-5)
    assert found["ad"].count == sum(len(target) + 1 for target in TARGETS)
    assert found["nad"].count == sum(len(source) + 5 for source in SOURCES)


def test_the_loss_of_the_ad_trains_the_nad() -> None:
    translator = translator_of(NadAd())
    losses(translator, rows(*SOURCES), rows(*TARGETS))["ad"].sum.backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad for weight in branch_in(translator).nad.stack.layers.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_the_parts_have_their_weights() -> None:
    branch = branch_in(translator_of(NadAd(nad_weight=0.3)))
    assert [branch.weight_of(part) for part in branch.parts] == [1.0, 0.3]
    assert branch_in(translator_of(NadAd())).weight_of("nad") == 0.5


def test_with_shared_layers_the_nad_has_those_of_the_at_branch() -> None:
    model = MODEL.model_copy(update={"shared_decoder_layers": True})
    translator = translator_of(NadAd(), model, objective=BOTH)
    shared = branch_of(translator, "at").get_submodule("decoder.stack.layers")
    assert branch_in(translator).nad.stack.layers is shared
    assert branch_in(translator).decoder.stack.layers is not shared


# The search


def test_steps_with_a_cache_compute_the_states_of_one_pass() -> None:
    translator = translator_of(NadAd())
    decoder = branch_in(translator).decoder
    encoded = translator.encode(rows(*SOURCES))
    tokens = torch.tensor([[BOS, 6, 7, 8], [BOS, 9, 9, 10], [BOS, 5, 11, 6]])
    expected = decoder.logits(encoded, tokens)
    cache = decoder.start(encoded)
    for place in range(4):
        found = decoder.step(cache, tokens[:, place : place + 1])
        torch.testing.assert_close(found[:, 0], expected[:, place], rtol=1e-4, atol=1e-5)


def likeliest(translator: Translator, source: list[int], most: int) -> tuple[int, ...]:
    """The likeliest next token, again and again, by whole passes."""
    decoder, pieces = branch_in(translator).decoder, list[int]()
    while len(pieces) < most:
        logits = decoder.logits(translator.encode(rows(source)), torch.tensor([[BOS, *pieces]]))[0, -1].detach()
        logits[[token for token in SPECIAL if token != EOS]] = -math.inf
        if (best := int(logits.argmax())) == EOS:
            break
        pieces.append(best)
    return tuple(pieces)


def test_a_beam_of_one_takes_the_likeliest_tokens() -> None:
    translator = translator_of(NadAd())
    decoding = NadAdDecoding(beam=1)
    found = decode(translator, SOURCES, decoding, branch_in(translator).search(decoding))
    for source, [best] in zip(SOURCES, found, strict=True):
        assert best.tokens == likeliest(translator, source, min(2 * len(source) + 10, MODEL.max_positions - 1))


def test_the_nad_runs_once_for_each_batch_of_sources() -> None:
    translator = translator_of(NadAd())
    branch, passes = branch_in(translator), list[int]()
    branch.nad.stack.register_forward_hook(lambda module, given, states: passes.append(len(states)))
    decoding = NadAdDecoding(beam=4)
    branch.search(decoding)(translator.encode(rows(*SOURCES)), 2)
    assert passes == [3]


def test_it_has_no_reranker() -> None:
    with pytest.raises(ConfigError, match=r"rerank: is for NAT searches, but the AD of nad-ad is an AT decoder itself"):
        build(NadAdDecoding, {"rerank": "at"})


def test_the_settings_of_beam_search_determine_its_translations() -> None:
    assert NadAdDecoding().settings_of("nat") == ("beam", "length_penalty", "precision")
