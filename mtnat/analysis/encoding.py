"""The encoder's states of sentences, layer by layer."""

# B sentences of a batch, S source pieces with EOS, D width

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mtnat.decoding.batching import group, pad, token_budget
from mtnat.errors import UserError
from mtnat.tokens import EOS, PAD
from mtnat.training import Model


class EncodedBatch(NamedTuple):
    """The states of some sentences."""

    rows: list[int]
    """Indices of the sentences."""
    states: list[Tensor]
    """The states of each layer that was asked for, in that order, [B, S, D] each."""
    is_piece_BS: Tensor
    """True for the pieces of the sentences, without EOS and padding. An empty sentence has none."""


def layers_of(model: Model) -> int:
    """Returns the number of the top encoder layer. Layer 0 is the embeddings with their positions."""
    return len(model.translator.encoder.layers)


@torch.inference_mode()
def encoder_states(
    model: Model, sentences: Sequence[str], layers: Sequence[int], max_tokens: int | None = None
) -> Iterator[EncodedBatch]:
    """Encodes sentences in batches of similar length, the longest first, and yields each batch.

    A sentence with more pieces than the model has positions is cut.

    Args:
        layers: numbers of layers, from 0 to `layers_of`; negative ones count from the top, so that −1 is the top layer.
        max_tokens: maximum number of positions of a batch; by default as in decoding.

    Raises:
        UserError: the model has no such layer.
    """
    top = layers_of(model)
    if wrong := [layer for layer in layers if not -top - 1 <= layer <= top]:
        raise UserError(f"layers: must be from 0 to {top}, the top encoder layer of this model; got {wrong[0]}.")
    translator = model.translator
    device = translator.target_tokens.weight.device
    most = translator.config.max_positions - 1
    sources = [pieces[:most] for pieces in model.vocabularies.source.encode(sentences)]
    was_training = translator.training
    translator.eval()
    try:
        for rows in group([len(source) for source in sources], 1, token_budget(max_tokens, device)):
            source_BS = pad([sources[row] for row in rows], device)
            states = translator.encoder_layers(source_BS)
            yield EncodedBatch(rows, [states[layer] for layer in layers], (source_BS != PAD) & (source_BS != EOS))
    finally:
        translator.train(was_training)
