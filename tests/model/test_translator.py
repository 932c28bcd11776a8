"""Properties of the translator, on models small enough to check."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from translators import BOTH, ONLY_AT, ONLY_NAT, at, nat, translator_of

from mtnat.errors import ModelError
from mtnat.model import ModelConfig, Translator
from mtnat.objective import ObjectiveConfig
from mtnat.tokens import BOS, EOS, MASK, PAD

SMALL = {"width": 16, "heads": 2, "feed_forward": 24, "encoder_layers": 2, "decoder_layers": 3, "max_positions": 12}
SOURCE = torch.tensor([[7, 8, 9, 10, EOS], [11, 12, EOS, PAD, PAD]])
AT_INPUT = torch.tensor([[BOS, 5, 6, 7, 8], [BOS, 9, 10, PAD, PAD]])
NAT_INPUT = torch.tensor([[5, MASK, 6, MASK, EOS], [MASK, 9, EOS, PAD, PAD]])
VOCABULARY = 20


def make(joint: bool = True, objective: ObjectiveConfig = BOTH, **settings: Any) -> Translator:
    """A translator with weights large enough that every input matters."""
    torch.manual_seed(1)
    config = ModelConfig.model_validate(SMALL | settings)
    translator = translator_of(config, VOCABULARY, objective, source_vocabulary=None if joint else VOCABULARY + 3)
    for parameter in translator.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return translator.eval()


every_architecture = pytest.mark.parametrize(
    "settings",
    [
        {"norm": norm, "positions": positions, "activation": activation}
        for norm, positions, activation in [
            ("post", "learned", "relu"),
            ("pre", "learned", "gelu"),
            ("post", "sinusoidal", "gelu"),
            ("pre", "sinusoidal", "relu"),
        ]
    ],
    ids=lambda settings: "-".join(settings.values()),
)


def changes(before: Tensor, after: Tensor) -> list[bool]:
    """Which positions of the first row differ."""
    return [not torch.allclose(old, new, atol=1e-5) for old, new in zip(before[0], after[0], strict=True)]


@every_architecture
@torch.no_grad()
def test_the_at_decoder_is_causal(settings: dict[str, Any]) -> None:
    translator = make(**settings)
    encoded = translator.encode(SOURCE)
    other = AT_INPUT.clone()
    other[0, 2] = 13
    changed = changes(at(translator).decoder.logits(encoded, AT_INPUT), at(translator).decoder.logits(encoded, other))
    assert changed == [False, False, True, True, True]


@every_architecture
@torch.no_grad()
def test_the_nat_decoder_is_bidirectional(settings: dict[str, Any]) -> None:
    translator = make(**settings)
    encoded = translator.encode(SOURCE)
    other = NAT_INPUT.clone()
    other[0, 2] = 13
    changed = changes(nat(translator).decoder.logits(encoded, NAT_INPUT), nat(translator).decoder.logits(encoded, other))
    assert changed == [True] * 5


@every_architecture
@torch.no_grad()
def test_both_decoders_and_the_length_head_read_the_source(settings: dict[str, Any]) -> None:
    translator = make(**settings)
    other = SOURCE.clone()
    other[0, 1] = 13
    before, after = translator.encode(SOURCE), translator.encode(other)
    assert changes(before.states_BSD, after.states_BSD) == [True] * 5
    assert (
        changes(at(translator).decoder.logits(before, AT_INPUT), at(translator).decoder.logits(after, AT_INPUT)) == [True] * 5
    )
    assert (
        changes(nat(translator).decoder.logits(before, NAT_INPUT), nat(translator).decoder.logits(after, NAT_INPUT))
        == [True] * 5
    )
    assert not torch.allclose(nat(translator).length_logits(before)[0, 1:], nat(translator).length_logits(after)[0, 1:])


@every_architecture
@torch.no_grad()
def test_padding_does_not_change_states_or_logits(settings: dict[str, Any]) -> None:
    translator = make(**settings)
    padded, alone = translator.encode(SOURCE), translator.encode(SOURCE[1:, :3])
    torch.testing.assert_close(padded.states_BSD[1:, :3], alone.states_BSD)
    for decoder, inputs in ((at(translator).decoder, AT_INPUT), (nat(translator).decoder, NAT_INPUT)):
        torch.testing.assert_close(decoder.logits(padded, inputs)[1:, :3], decoder.logits(alone, inputs[1:, :3]))
    torch.testing.assert_close(nat(translator).length_logits(padded)[1:], nat(translator).length_logits(alone))


@every_architecture
@torch.no_grad()
def test_decoding_token_by_token_gives_the_logits_of_one_pass(settings: dict[str, Any]) -> None:
    translator = make(**settings)
    encoded = translator.encode(SOURCE)
    cache = at(translator).decoder.start(encoded)
    stepwise = torch.cat([at(translator).decoder.step(cache, AT_INPUT[:, [step]]) for step in range(5)], dim=1)
    assert cache.position == 5
    torch.testing.assert_close(stepwise, at(translator).decoder.logits(encoded, AT_INPUT))


@torch.no_grad()
def test_a_cache_follows_its_hypotheses_through_reordering_and_leaving_sentences() -> None:
    translator = make()
    encoded = translator.encode(SOURCE)
    cache = at(translator).decoder.start(encoded, beam=2)
    at(translator).decoder.step(cache, torch.tensor([[BOS, BOS], [BOS, BOS]]))
    at(translator).decoder.step(cache, torch.tensor([[5, 6], [7, 8]]))
    cache.reorder(torch.tensor([[1, 1], [1, 0]]))  # sentence 1 now continues [8] and [7]
    cache.keep(torch.tensor([1]))
    at(translator).decoder.step(cache, torch.tensor([[9, 10]]))
    cache.reorder(torch.tensor([[1, 0]]))  # [7, 10] and [8, 9]
    logits = at(translator).decoder.step(cache, torch.tensor([[11, 12]]))
    prefixes = torch.tensor([[BOS, 7, 10, 11], [BOS, 8, 9, 12]])
    second = translator.encode(SOURCE[1:].expand(2, -1))
    torch.testing.assert_close(logits[0], at(translator).decoder.logits(second, prefixes)[:, -1])


@torch.no_grad()
def test_a_long_cache_grows_beyond_its_initial_capacity() -> None:
    translator = make(max_positions=40)
    encoded = translator.encode(SOURCE)
    inputs = torch.randint(5, VOCABULARY, (2, 40))
    cache = at(translator).decoder.start(encoded)
    stepwise = torch.cat([at(translator).decoder.step(cache, inputs[:, [step]]) for step in range(40)], dim=1)
    torch.testing.assert_close(stepwise, at(translator).decoder.logits(encoded, inputs))


@torch.no_grad()
def test_several_targets_of_a_source_share_its_memory() -> None:
    translator = make()
    encoded = translator.encode(SOURCE)
    candidates = torch.tensor([[5, MASK, EOS], [MASK, EOS, PAD], [6, 7, EOS], [MASK, MASK, EOS]])
    shared = nat(translator).decoder.states(nat(translator).decoder.remember(encoded), candidates)
    apart = nat(translator).decoder.states(translator.encode(SOURCE.repeat_interleave(2, dim=0)), candidates)
    torch.testing.assert_close(shared, apart)


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_number_of_parameters_matches_a_calculation_by_hand(joint: bool, positions: str, norm: str) -> None:
    width, inner, places = 16, 24, 12
    norms = 2 * width
    attention = 4 * (width * width + width)
    feed_forward = width * inner + inner + inner * width + width
    around = (places * width if positions == "learned" else 0) + (norms if norm == "pre" else 0)
    encoder = around + 2 * (attention + feed_forward + 2 * norms)
    decoder = around + 3 * (2 * attention + feed_forward + 3 * norms)
    lengths = (width + 1) * (2 * places - 1)
    embeddings = width * (VOCABULARY if joint else VOCABULARY + VOCABULARY + 3)

    def count(objective: ObjectiveConfig) -> int:
        translator = make(joint, objective, positions=positions, norm=norm)
        return sum(parameter.numel() for parameter in translator.parameters())

    assert count(BOTH) == embeddings + encoder + 2 * decoder + lengths
    assert count(ONLY_AT) == embeddings + encoder + decoder
    assert count(ONLY_NAT) == embeddings + encoder + decoder + lengths


def test_an_untrained_decoder_has_no_parameters_and_its_branch_cannot_be_used() -> None:
    only_at, only_nat = make(objective=ONLY_AT), make(objective=ONLY_NAT)
    assert not any("nat" in name.split(".") or "length" in name for name, _ in only_at.named_parameters())
    assert not any("at" in name.split(".") for name, _ in only_nat.named_parameters())
    with pytest.raises(ModelError, match="NAT decoder"):
        only_at.branch("nat")
    with pytest.raises(ModelError, match="AT decoder"):
        only_nat.branch("at")


def test_one_matrix_embeds_the_target_and_is_the_output_of_both_decoders() -> None:
    translator = make()
    names = [name for name, parameter in translator.named_parameters() if VOCABULARY in parameter.shape]
    assert names == ["target_tokens.weight"]
    encoded = translator.encode(SOURCE)
    states = nat(translator).decoder.states(encoded, NAT_INPUT)
    torch.testing.assert_close(nat(translator).decoder.logits(encoded, NAT_INPUT), states @ translator.target_tokens.weight.T)
    torch.autograd.backward(nat(translator).length_logits(encoded)[:, 1:].sum())
    gradient = translator.target_tokens.weight.grad
    assert gradient is not None
    assert gradient.abs().sum(dim=1).nonzero().flatten().tolist() == [EOS, 7, 8, 9, 10, 11, 12]  # the source's tokens


def test_separate_vocabularies_have_separate_matrices() -> None:
    translator = make(joint=False)
    assert translator.source_tokens is not None
    assert translator.source_tokens.weight.shape == (VOCABULARY + 3, 16)
    assert translator.encode(torch.full((1, 2), VOCABULARY + 2)).states_BSD.shape == (1, 2, 16)


@pytest.mark.parametrize("shared", [False, True])
def test_initial_weights_have_the_standard_deviation_of_their_kind(shared: bool) -> None:
    torch.manual_seed(1)
    config = ModelConfig(
        width=64,
        heads=4,
        feed_forward=96,
        encoder_layers=1,
        decoder_layers=1,
        max_positions=64,
        shared_decoder_layers=shared,
    )
    translator = translator_of(config, 300)
    for name, parameter in translator.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            is_embedding = "tokens" in name or "learned" in name
            deviation = 1 / 8 if is_embedding else math.sqrt(2 / sum(parameter.shape))  # 1/√64; Glorot and Bengio 2010, eq. 16
            assert parameter.std().item() == pytest.approx(deviation, rel=0.1), name
    assert not translator.target_tokens.weight[PAD].any()


@pytest.mark.parametrize("length_prediction", ["offset", "absolute"])
@torch.no_grad()
def test_every_length_but_zero_is_possible(length_prediction: str) -> None:
    translator = make(length_prediction=length_prediction)
    logits = nat(translator).length_logits(translator.encode(SOURCE))
    assert logits.shape == (2, 12)
    assert logits.dtype == torch.float32
    assert logits[:, 0].isneginf().all()
    assert logits[:, 1:].isfinite().all()


@torch.no_grad()
def test_offset_classes_stand_for_the_difference_to_the_source() -> None:
    translator = make(length_prediction="offset")
    nat(translator).length_head.classes.weight.zero_()
    nat(translator).length_head.classes.bias.copy_(torch.arange(23.0) - 11)  # the log-odds of a difference are the difference
    logits = nat(translator).length_logits(translator.encode(SOURCE))  # sources of 4 and of 2 pieces
    assert logits[0, 1:].tolist() == [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7]
    assert logits[1, 1:].tolist() == [-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]


@torch.no_grad()
def test_the_length_is_predicted_from_the_mean_state() -> None:
    translator = make(length_prediction="absolute")
    encoded = translator.encode(SOURCE)
    means = torch.stack([encoded.states_BSD[0].mean(dim=0), encoded.states_BSD[1, :3].mean(dim=0)])
    expected = nat(translator).length_head.classes(means)
    torch.testing.assert_close(nat(translator).length_logits(encoded)[:, 1:], expected[:, 1:])


def test_bfloat16_autocast_trains_and_keeps_states_and_lengths_in_float32() -> None:
    translator = make(attention_dropout=0.1).train()
    with torch.autocast("cpu", torch.bfloat16):
        encoded = translator.encode(SOURCE)
        states = nat(translator).decoder.states(encoded, NAT_INPUT)
        logits = nat(translator).decoder.vocabulary_logits(states)
        lengths = nat(translator).length_logits(encoded)
    assert (encoded.states_BSD.dtype, states.dtype, lengths.dtype) == (torch.float32,) * 3
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(lengths, nat(translator).length_logits(encoded))  # not rounded, or neighbours would be equal
    torch.autograd.backward(logits.float().logsumexp(-1).sum() + lengths[:, 1:].sum())
    missing = [name for name, parameter in translator.named_parameters() if parameter.grad is None]
    assert all(name.startswith("branches.at.") for name in missing)
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in translator.parameters())


@torch.no_grad()
def test_bfloat16_logits_are_close_to_float32() -> None:
    translator = make()
    exact = nat(translator).decoder.logits(translator.encode(SOURCE), NAT_INPUT)
    with torch.autocast("cpu", torch.bfloat16):
        rough = nat(translator).decoder.logits(translator.encode(SOURCE), NAT_INPUT)
    assert (exact - rough)[0].abs().max() < 0.05 * exact[0].abs().max()


def test_logits_of_the_fast_paths_of_training_equal_those_of_evaluation() -> None:
    translator = make(dropout=0.0).train()
    trained = nat(translator).decoder.logits(translator.encode(SOURCE), NAT_INPUT)
    with torch.no_grad():
        evaluated = nat(translator.eval()).decoder.logits(translator.encode(SOURCE), NAT_INPUT)
    torch.testing.assert_close(trained, evaluated)


def test_sinusoidal_positions_follow_the_formula_of_vaswani() -> None:
    translator = make(positions="sinusoidal", width=8)
    table = translator.encoder.positions.sinusoids_TD
    expected = [wave(3 / scale) for scale in (1, 10, 100, 1000) for wave in (math.sin, math.cos)]  # 10000^(2i/8)
    torch.testing.assert_close(table[3], torch.tensor(expected))
    assert not any("sinusoids" in name for name in translator.state_dict())


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_positions_read_alone_have_the_same_states_and_gradients_as_among_all(norm: str) -> None:
    read = torch.tensor([1, 2, 4])
    results = []
    for alone in (True, False):
        translator = make(norm=norm)
        encoded = translator.encode(SOURCE)
        if alone:
            states = nat(translator).decoder.states(encoded, NAT_INPUT, read_N=read)
        else:
            states = nat(translator).decoder.states(encoded, NAT_INPUT).flatten(0, 1)[read]
        states.square().sum().backward()  # type: ignore[no-untyped-call]
        results.append((states, {name: p.grad for name, p in translator.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=1e-5, rtol=1e-4)


FORMER = {
    "branches.at.decoder.stack.": "at_decoder.",
    "branches.nat.decoder.stack.": "nat_decoder.",
    "branches.nat.length_head.": "length_head.",
}


@pytest.mark.parametrize("objective", [BOTH, ONLY_AT, ONLY_NAT], ids=["both", "at", "nat"])
@pytest.mark.parametrize("joint", [True, False])
def test_weights_with_their_former_names_still_load(joint: bool, objective: ObjectiveConfig) -> None:
    weights = make(joint, objective).state_dict()
    former = {}
    for name, weight in weights.items():
        prefix = next((prefix for prefix in FORMER if name.startswith(prefix)), "")
        former[FORMER.get(prefix, "") + name.removeprefix(prefix)] = weight
    assert not any("branches" in name for name in former)
    fresh = make(joint, objective)
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    fresh.load_state_dict(former)
    assert fresh.state_dict().keys() == weights.keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in fresh.state_dict().items())


class TestSharedDecoderLayers:
    def test_both_decoders_share_layers_but_not_positions_and_norms(self) -> None:
        shared, apart = make(shared_decoder_layers=True), make()
        theirs, ours = at(shared).decoder.stack, nat(shared).decoder.stack
        assert theirs.layers is ours.layers
        assert theirs.positions is not ours.positions
        assert theirs.norm is not ours.norm
        layers = sum(parameter.numel() for parameter in theirs.layers.parameters())
        assert sum(p.numel() for p in shared.parameters()) == sum(p.numel() for p in apart.parameters()) - layers

    @pytest.mark.parametrize("objective", [ONLY_AT, ONLY_NAT], ids=["at", "nat"])
    def test_a_single_decoder_has_layers_of_its_own(self, objective: ObjectiveConfig) -> None:
        shared, apart = make(objective=objective, shared_decoder_layers=True), make(objective=objective)
        assert shared.state_dict().keys() == apart.state_dict().keys()

    @every_architecture
    @torch.no_grad()
    def test_with_shared_layers_the_at_decoder_is_causal_and_the_nat_decoder_is_bidirectional(
        self, settings: dict[str, Any]
    ) -> None:
        translator = make(shared_decoder_layers=True, **settings)
        encoded = translator.encode(SOURCE)
        for decoder, tokens, expected in (
            (at(translator).decoder, AT_INPUT, [False, False, True, True, True]),
            (nat(translator).decoder, NAT_INPUT, [True] * 5),
            (at(translator).decoder, AT_INPUT, [False, False, True, True, True]),  # also after the NAT decoder has run
        ):
            other = tokens.clone()
            other[0, 2] = 13
            assert changes(decoder.logits(encoded, tokens), decoder.logits(encoded, other)) == expected

    @torch.no_grad()
    def test_decoding_token_by_token_gives_the_logits_of_one_pass(self) -> None:
        translator = make(shared_decoder_layers=True)
        encoded, decoder = translator.encode(SOURCE), at(translator).decoder
        cache = decoder.start(encoded)
        stepwise = torch.cat([decoder.step(cache, AT_INPUT[:, [step]]) for step in range(5)], dim=1)
        torch.testing.assert_close(stepwise, decoder.logits(encoded, AT_INPUT))

    def test_saved_weights_load_and_the_layers_stay_shared(self) -> None:
        saved = make(shared_decoder_layers=True)
        loaded = make(shared_decoder_layers=True)
        for parameter in loaded.parameters():
            torch.nn.init.zeros_(parameter)
        loaded.load_state_dict(saved.state_dict())
        assert at(loaded).decoder.stack.layers is nat(loaded).decoder.stack.layers
        assert all(torch.equal(weight, saved.state_dict()[name]) for name, weight in loaded.state_dict().items())
