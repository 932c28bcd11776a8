"""One decoder as the AT and as the NAT decoder: all its weights are shared."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from translators import BOTH, ONLY_NAT, at, nat, translator_of

from mtnat.config import build, replace
from mtnat.decoding import MaskPredictDecoding
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.model import ModelConfig
from mtnat.systems import MaskPredict
from mtnat.testing.system_contract import SystemContract
from mtnat.tokens import BOS, EOS, MASK

MODEL = ModelConfig(
    width=16,
    heads=2,
    feed_forward=32,
    encoder_layers=1,
    decoder_layers=2,
    dropout=0,
    max_positions=32,
    norm="pre",
    shared_decoder=True,
)
SOURCE = torch.tensor([[10, 11, 12, EOS]])


class TestSharedDecoder(SystemContract):
    """The contract, with a decoder that is trained by both branches."""

    system = MaskPredict()
    decoding = MaskPredictDecoding(iterations=2, length_candidates=3)

    @pytest.fixture
    def settings(self) -> Mapping[str, Any]:
        return {"objective.at_fraction": 0.5}

    def experiment(self, settings: Mapping[str, Any]) -> Experiment:
        return super().experiment({"model.shared_decoder": True, **settings})


def test_the_decoders_differ_in_the_length_head_only() -> None:
    translator = translator_of(MODEL, 30)
    decoders = [branch.decoder for branch in (at(translator), nat(translator))]
    assert [decoder.stack.causal for decoder in decoders] == [True, False]
    weights = [dict(decoder.named_parameters()) for decoder in decoders]
    assert weights[0].keys() == weights[1].keys()
    assert all(weights[0][name] is weights[1][name] for name in weights[0])
    own = [name for name, _ in translator.named_parameters() if name.startswith("branches.nat.")]
    assert own
    assert all(name.startswith("branches.nat.length_head.") for name in own)


def test_it_has_the_parameters_of_one_decoder() -> None:
    """Sharing the layers alone leaves position embeddings and the final normalisation twice."""

    def size(**settings: bool) -> int:
        model = MODEL.model_copy(update={"shared_decoder": False, **settings})
        return sum(each.numel() for each in translator_of(model, 30).parameters())

    positions, norm = MODEL.max_positions * MODEL.width, 2 * MODEL.width
    assert size(shared_decoder_layers=True) - size(shared_decoder=True) == positions + norm
    assert size(shared_decoder=True, shared_decoder_layers=True) == size(shared_decoder=True)
    alone = translator_of(MODEL, 30, ONLY_NAT)
    assert sum(each.numel() for each in alone.parameters()) == size(shared_decoder=True)


def test_only_the_mask_of_self_attention_tells_the_decoders_apart() -> None:
    """On the last position, which sees all others, a causal layer computes what a bidirectional one does."""
    torch.manual_seed(1)
    translator = translator_of(MODEL.model_copy(update={"decoder_layers": 1}), 30, BOTH).eval()
    encoded = translator.encode(SOURCE)
    tokens = torch.tensor([[BOS, 20, MASK, 21]])
    causal, bidirectional = (branch.decoder.logits(encoded, tokens)[0] for branch in (at(translator), nat(translator)))
    torch.testing.assert_close(causal[-1], bidirectional[-1])
    assert not torch.allclose(causal[0], bidirectional[0], atol=1e-3)


def test_a_system_with_other_positions_is_refused() -> None:
    experiment = build(
        Experiment,
        {"data": {"corpus": "grammar-en-de"}, "model": {"shared_decoder": True}, "training": {}},
    )
    with pytest.raises(ConfigError, match=r"model\.shared_decoder: needs a system whose decoder has a position for each"):
        replace(experiment, {"system.kind": "ctc"})
