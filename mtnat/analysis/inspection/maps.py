"""The attention weights of a sentence, with the names of their rows and columns."""

# B batch, L layers, H heads, T rows, S columns

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mtnat.analysis.inspection.records import AttentionMaps
from mtnat.data import Vocabularies
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.model.layers import DecoderLayer, EncoderLayer
from mtnat.model.stacks import Encoder

BLANK = "∅"
"""How the blank of CTC is shown."""
Names = tuple[str, ...]
Recorded = Mapping[nn.Module, Tensor]
"""The weights of each attention module, [1, H, T, S]."""


def encoder_maps(encoder: Encoder, recorded: Recorded, of_source: Names) -> AttentionMaps:
    """Returns the self-attention of the encoder.

    Args:
        of_source: the source pieces and EOS.
    """
    layers = cast("Iterable[EncoderLayer]", encoder.layers)
    weights_LHTS = _weights([layer.self_attention for layer in layers], recorded)
    return AttentionMaps("encoder: self-attention", of_source, of_source, (None,) * len(of_source), weights_LHTS)


def decoder_maps(replay: Replay, recorded: Recorded, vocabularies: Vocabularies, of_source: Names) -> list[AttentionMaps]:
    """Returns the attention of the decoders that were run, that of the one that translates first."""
    found: list[AttentionMaps] = []
    former: tuple[str, Names] | None = None
    for reading in replay.readings:
        rows = tuple(name_of(each.token, vocabularies) for each in reading.positions)
        found = [*_reading_maps(reading, recorded, rows, _inputs(reading.positions, vocabularies), of_source, former), *found]
        former = reading.name, rows
    return found


def name_of(token: int | None, vocabularies: Vocabularies) -> str:
    """Returns the name of a target token, or of the blank."""
    return BLANK if token is None else vocabularies.target.piece(token)


def _reading_maps(
    reading: Reading, recorded: Recorded, rows: Names, inputs: Names, of_source: Names, former: tuple[str, Names] | None
) -> list[AttentionMaps]:
    """Returns the cross-attention of a decoder, its attention to the decoder before it, and its self-attention."""
    layers = list(cast("Iterable[DecoderLayer]", reading.decoder.stack.layers))
    kinds: list[tuple[str, Names, list[nn.Module]]] = [
        ("cross-attention", of_source, [each.cross_attention for each in layers])
    ]
    seconds: list[nn.Module] = [each.second_attention for each in layers if each.second_attention is not None]
    if seconds and former is not None:
        kinds.append((f"attention to the {former[0]}", former[1], seconds))
    kinds.append(("self-attention", inputs, [each.self_attention for each in layers]))
    pieces = tuple(each.piece for each in reading.positions)
    return [
        AttentionMaps(f"{reading.name}: {kind}", rows, columns, pieces, _weights(modules, recorded))
        for kind, columns, modules in kinds
    ]


def _inputs(positions: Sequence[Position], vocabularies: Vocabularies) -> Names:
    """Returns what each position reads, or, if that is no target token, what it predicts."""
    return tuple(name_of(each.token if each.reads is None else each.reads, vocabularies) for each in positions)


def _weights(modules: Sequence[nn.Module], recorded: Recorded) -> Tensor | None:
    if any(module not in recorded for module in modules):
        return None
    return torch.stack([recorded[module][0].float().cpu() for module in modules])
