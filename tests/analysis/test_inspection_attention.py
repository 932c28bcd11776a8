"""Recorded attention weights are those that the fused attention uses."""

# B batch, T queries, S keys, H heads, E features of a head

import pytest
import torch
from inspected import SENTENCE, decoder_of, layers_of, model_of
from torch import Tensor, nn

from mtnat.analysis.inspection import inspect_sentence, recorded_attention
from mtnat.decoding.batching import pad
from mtnat.decoding.teacher_forcing import forced_log_probabilities
from mtnat.model import Translator, computing_in
from mtnat.model.attention import CrossAttention, SelfAttention
from mtnat.tokens import EOS, PAD

CPU = torch.device("cpu")
SOURCES = [[7, 8, 9, 10, 11], [12, 13]]
TARGETS_BT = torch.tensor([[20, 21, 22, EOS], [23, EOS, PAD, PAD]])


@torch.inference_mode()
def read(translator: Translator) -> Tensor:
    """Runs the encoder and both decoders over two sources of different length."""
    encoded = translator.encode(pad(SOURCES, CPU))
    at, nat = (decoder_of(translator, name) for name in ("at", "nat"))
    scores_BT = forced_log_probabilities(at, encoded, TARGETS_BT, TARGETS_BT != PAD)
    return torch.cat((scores_BT.flatten(), nat.states(encoded, TARGETS_BT).flatten()))


def mixtures(translator: Translator, dtype: torch.dtype) -> tuple[dict[nn.Module, Tensor], dict[nn.Module, Tensor]]:
    """Runs the translator; returns the recorded weights, and what goes into the output projection of each attention."""
    mixed: dict[nn.Module, Tensor] = {}
    values: dict[nn.Module, Tensor] = {}

    def keep(store: dict[nn.Module, Tensor], module: nn.Module, found: Tensor) -> None:
        store[module] = found.float()

    hooks = []
    for module in translator.modules():
        if isinstance(module, SelfAttention | CrossAttention):
            hooks.append(module.output.register_forward_pre_hook(lambda _, inputs, of=module: keep(mixed, of, inputs[0])))
            projection = module.queries_keys_values if isinstance(module, SelfAttention) else module.keys_values
            hooks.append(projection.register_forward_hook(lambda _, __, output, of=module: keep(values, of, output)))
    with computing_in(dtype, CPU), recorded_attention(translator) as recorded:
        read(translator)
    for hook in hooks:
        hook.remove()
    products = {}
    for module, weights_BHTS in recorded.items():
        parts = 3 if isinstance(module, SelfAttention) else 2
        projected = values[module]
        values_BSHE = projected.view(*projected.shape[:2], parts, weights_BHTS.shape[1], -1).unbind(2)[-1]
        products[module] = torch.einsum("bhts,bshe->bthe", weights_BHTS, values_BSHE).flatten(2)
    return products, mixed


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("name", ["mask-predict", "shared decoder"])
def test_the_weights_times_the_values_are_what_the_attention_computes(name: str, dtype: torch.dtype, tolerance: float) -> None:
    translator = model_of(name).translator
    products, mixed = mixtures(translator, dtype)
    # The encoder layer, and two layers with two attentions of each decoder, which may be one.
    assert len(products) == 1 + (4 if name == "shared decoder" else 8)
    for module, product in products.items():
        torch.testing.assert_close(product, mixed[module], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_add_up_to_one_and_padding_has_weight_zero(dtype: torch.dtype) -> None:
    translator = model_of("mask-predict").translator
    with computing_in(dtype, CPU), recorded_attention(translator) as recorded:
        read(translator)
    for weights_BHTS in recorded.values():
        assert weights_BHTS.dtype == torch.float32
        torch.testing.assert_close(weights_BHTS.sum(3), torch.ones(weights_BHTS.shape[:3]))
    is_padding_S = pad(SOURCES, CPU)[1] == PAD
    for layer in (*layers_of(translator, "at"), *layers_of(translator, "nat")):
        assert (recorded[layer.cross_attention][1][:, :, is_padding_S] == 0).all()
        assert (recorded[layer.cross_attention][1][:, :, ~is_padding_S] > 0).all()


def test_a_causal_decoder_has_no_weight_on_later_tokens() -> None:
    translator = model_of("mask-predict").translator
    with recorded_attention(translator) as recorded:
        read(translator)
    at, nat = (layers_of(translator, name)[0].self_attention for name in ("at", "nat"))
    assert torch.equal(recorded[at] > 0, torch.ones(4, 4, dtype=torch.bool).tril().expand_as(recorded[at]))
    assert (recorded[nat][0] > 0).all()


def test_recording_changes_no_result_and_leaves_nothing_behind() -> None:
    translator = model_of("mask-predict").translator
    before = read(translator)
    with recorded_attention(translator):
        assert torch.equal(read(translator), before)
    with recorded_attention(translator, most=0) as recorded:
        assert torch.equal(read(translator), before)
    assert recorded == {}
    assert not any("attend" in vars(module) for module in translator.modules())


def test_positions_that_a_call_does_not_compute_have_no_weights() -> None:
    translator = model_of("mask-predict").translator
    decoder, last = decoder_of(translator, "nat"), layers_of(translator, "nat")[-1]
    with torch.inference_mode(), recorded_attention(translator) as recorded:
        decoder.states(translator.encode(pad(SOURCES, CPU)), TARGETS_BT, read_N=torch.tensor([1, 4]))
    for attention in (last.self_attention, last.cross_attention):
        sums_BT = recorded[attention].sum((1, 3)) / 2  # of two heads
        torch.testing.assert_close(sums_BT, torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0]]))


def test_the_maps_of_one_pass_are_the_attention_of_the_search() -> None:
    model = model_of("glat")  # one iteration
    config = model.experiment.decoding.model_copy(update={"length_candidates": 1})
    [part] = inspect_sentence(model, SENTENCE, config).parts
    with torch.inference_mode(), recorded_attention(model.translator) as recorded:
        search = model.search(config)
        search(model.translator.encode(pad(model.vocabularies.source.encode([SENTENCE]), CPU)), 1)
    maps = {each.name: each.weights_LHTS for each in part.attention}
    for number, layer in enumerate(layers_of(model.translator, "nat")):
        for name in ("cross", "self"):
            found_LHTS, weights_BHTS = maps[f"NAT decoder: {name}-attention"], recorded[getattr(layer, f"{name}_attention")]
            assert found_LHTS is not None
            pieces = len(part.pieces)  # the last layer of the search does not compute EOS
            torch.testing.assert_close(found_LHTS[number, :, :pieces], weights_BHTS[0, :, :pieces])
