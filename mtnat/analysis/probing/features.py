"""One vector for each sentence: the pooled states of an encoder layer."""

# N sentences, B of a batch, S source pieces with EOS, D width

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import torch
from torch import Tensor

from mtnat.analysis.encoding import encoder_states
from mtnat.errors import UserError
from mtnat.training import Model

Pooling = Literal["mean", "max", "first", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


def layer_features(
    model: Model,
    sentences: Sequence[str],
    layers: Sequence[int],
    pooling: Pooling = "mean",
    max_tokens: int | None = None,
) -> list[Tensor]:
    """Encodes each sentence once, and returns the features of each layer on the CPU, [N, D] each, in float32.

    Only these are kept, 4 bytes times the sentences, the width and the number of layers.

    Args:
        layers: numbers of encoder layers, from 0 (the embeddings); negative ones count from the top, so that −1 is the top one.
        pooling: how the states of the pieces become one vector: their mean or maximum, or the first or last of them. EOS
            does not count.
        max_tokens: maximum number of positions of a batch; by default as in decoding.

    Raises:
        UserError: the model has no such layer, or a sentence has no pieces.
    """
    features = [torch.empty(len(sentences), model.translator.config.width) for _ in layers]
    for batch in encoder_states(model, sentences, layers, max_tokens):
        if empty := [row for row, count in zip(batch.rows, batch.is_piece_BS.sum(1).tolist(), strict=True) if not count]:
            raise UserError(f"sentence {empty[0] + 1}: has no pieces; leave out empty sentences.")
        for features_ND, states_BSD in zip(features, batch.states, strict=True):
            features_ND[batch.rows] = _pooled(states_BSD.float(), batch.is_piece_BS, pooling).cpu()
    return features


def sentence_features(
    model: Model, sentences: Sequence[str], layer: int = -1, pooling: Pooling = "mean", max_tokens: int | None = None
) -> Tensor:
    """Returns the features of one layer; see `layer_features`."""
    [features_ND] = layer_features(model, sentences, [layer], pooling, max_tokens)
    return features_ND


def _pooled(states_BSD: Tensor, is_piece_BS: Tensor, pooling: Pooling) -> Tensor:
    """Returns a vector for each sentence, [B, D]."""
    if pooling == "mean":
        return (states_BSD * is_piece_BS[..., None]).sum(1) / is_piece_BS.sum(1, keepdim=True)
    if pooling == "max":
        return states_BSD.masked_fill(~is_piece_BS[..., None], -torch.inf).amax(1)
    if pooling == "first":
        return states_BSD[:, 0]
    last_B = is_piece_BS.sum(1) - 1  # padding follows the pieces
    return states_BSD[torch.arange(len(states_BSD), device=states_BSD.device), last_B]


def untrained(model: Model, seed: int = 1) -> Model:
    """Returns a model of the same architecture and vocabularies with the random weights that a training would begin with."""
    device = model.translator.target_tokens.weight.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        translator = model.experiment.build_translator(model.vocabularies)
    return replace(model, translator=translator.to(device).eval())


def architecture(model: Model) -> tuple[object, ...]:
    """Returns what an encoder is made of besides its weights. Models for which it is equal share one untrained encoder."""
    return model.translator.config, model.vocabularies.fingerprint
