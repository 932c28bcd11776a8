"""The similarity of the encoders of several models on the same sentences, layer by layer."""

# B sentences of a batch, N observations (pieces or sentences), S source pieces with EOS, D width

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import torch
from torch import Tensor

from mtnat.analysis.encoding import encoder_states, layers_of
from mtnat.analysis.similarity import VARIANCE, Moments, Pair, Similarity, similarities
from mtnat.decoding.batching import token_budget
from mtnat.errors import UserError
from mtnat.training import Model

Unit = Literal["piece", "sentence"]
"""What an observation is: the state of a piece, or the mean over the pieces of a sentence."""
Layers = Literal["top", "all"]
_LINES_AT_ONCE = 1_000


@dataclass(frozen=True)
class LayerPair:
    """The similarity of a layer of one model to a layer of another one."""

    models: Pair
    """Indices of the models."""
    layers: Pair
    """Numbers of the layers; 0 is the embeddings with their positions."""
    similarity: Similarity


@dataclass(frozen=True)
class Sentences:
    """The sentences that all models can read whole."""

    texts: tuple[str, ...]
    pieces: tuple[int, ...]
    """Number of pieces of each sentence, in the vocabulary that needs most."""
    empty: int
    """Number of sentences that were left out because they have no pieces."""
    too_long: int
    """Number of sentences that were left out because they have more pieces than a model has positions."""

    def observations(self, unit: Unit) -> int:
        """Returns the number of observations that the sentences give."""
        return len(self.texts) if unit == "sentence" else sum(self.pieces)


def readable_sentences(models: Sequence[Model], names: Sequence[str], lines: Sequence[str], unit: Unit) -> Sentences:
    """Returns the lines without those that are empty, or too long for one of the models.

    Raises:
        UserError: the unit is the piece and the models split text into different pieces, or no line is left.
    """
    vocabularies = {model.vocabularies.source.model: model.vocabularies.source for model in models}
    if unit == "piece" and len(vocabularies) > 1:
        other = next(
            n for n, model in enumerate(models) if model.vocabularies.source.model != models[0].vocabularies.source.model
        )
        raise UserError(
            f"unit piece: {names[0]} and {names[other]} have different source vocabularies; give --unit sentence, which "
            "compares the means over the pieces of each sentence."
        )
    limits = {
        key: min(each.experiment.model.max_positions - 1 for each in models if each.vocabularies.source.model == key)
        for key in vocabularies
    }
    texts: list[str] = []
    pieces: list[int] = []
    empty = too_long = 0
    for start in range(0, len(lines), _LINES_AT_ONCE):
        part = lines[start : start + _LINES_AT_ONCE]
        lengths = {key: [len(row) for row in each.encode(part)] for key, each in vocabularies.items()}
        for number, line in enumerate(part):
            if not all(lengths[key][number] for key in vocabularies):
                empty += 1
            elif any(lengths[key][number] > limits[key] for key in vocabularies):
                too_long += 1
            else:
                texts.append(line)
                pieces.append(max(lengths[key][number] for key in vocabularies))
    if not texts:
        raise UserError(
            f"sentences: none can be compared, {empty:,} are empty and {too_long:,} longer than the models' positions; "
            "give other text."
        )
    return Sentences(tuple(texts), tuple(pieces), empty, too_long)


def compare_encoders(
    models: Sequence[Model],
    names: Sequence[str],
    sentences: Sentences,
    *,
    layers: Layers = "top",
    unit: Unit = "piece",
    variance: float = VARIANCE,
    pairs: Sequence[Pair] | None = None,
    done: Callable[[int], None] = lambda sentences: None,
) -> list[LayerPair]:
    """Encodes sentences with each model and compares the encoders.

    The states are not kept: memory is that of the second moments and of one batch, whatever the number of sentences is.

    Args:
        names: of the models, for error messages.
        sentences: those of `readable_sentences` for the same models and unit.
        layers: "top" compares the top layers; "all" compares each layer of a model with each layer of the other model.
        variance: share of the variance that SVCCA keeps.
        pairs: indices of the models that are compared; by default every two models.
        done: is called with the number of sentences encoded so far.

    Raises:
        UserError: there are fewer than two observations, or a layer is constant.
    """
    numbers = [
        range(layers_of(model) + 1) if layers == "all" else range(layers_of(model), layers_of(model) + 1) for model in models
    ]
    views = [(model, layer) for model, own in enumerate(numbers) for layer in own]
    index = {view: number for number, view in enumerate(views)}
    compared = [
        ((one, first), (other, second))
        for one, other in (combinations(range(len(models)), 2) if pairs is None else pairs)
        for first, second in product(numbers[one], numbers[other])
    ]
    device = models[0].translator.target_tokens.weight.device
    moments = Moments(
        [models[model].experiment.model.width for model, _ in views],
        [(index[first], index[second]) for first, second in compared],
        [f"{names[model]}, layer {layer}" for model, layer in views],
        str(device),
    )
    encoded = 0
    for texts in _chunks(sentences, token_budget(None, device)):
        moments.add(
            [states for model, own in zip(models, numbers, strict=True) for states in observed(model, texts, own, unit)]
        )
        encoded += len(texts)
        done(encoded)
    found = similarities(moments, variance=variance)
    return [
        LayerPair((first[0], second[0]), (first[1], second[1]), found[index[first], index[second]])
        for first, second in compared
    ]


def observed(model: Model, sentences: Sequence[str], layers: Sequence[int], unit: Unit) -> list[Tensor]:
    """Returns the observations of some layers, [N, D] each, in the order of the sentences and their pieces."""
    rows_N: list[Tensor] = []
    states_ND: list[list[Tensor]] = [[] for _ in layers]
    for batch in encoder_states(model, sentences, layers):
        rows_B = torch.tensor(batch.rows, device=batch.is_piece_BS.device)
        pieces_B = batch.is_piece_BS.sum(dim=1)
        rows_N.append(rows_B if unit == "sentence" else rows_B.repeat_interleave(pieces_B))
        for found, states_BSD in zip(states_ND, batch.states, strict=True):
            if unit == "piece":
                found.append(states_BSD[batch.is_piece_BS])
            else:
                # In float64, so that padding changes no mean.
                sums_BD = (states_BSD.double() * batch.is_piece_BS[:, :, None]).sum(dim=1)
                found.append(sums_BD / pieces_B[:, None])
    order_N = torch.cat(rows_N).argsort(stable=True)
    return [torch.cat(found)[order_N] for found in states_ND]


def _chunks(sentences: Sentences, most_pieces: int) -> Iterator[list[str]]:
    """Yields consecutive sentences with at most this number of pieces together, or a single longer one."""
    chunk: list[str] = []
    total = 0
    for text, pieces in zip(sentences.texts, sentences.pieces, strict=True):
        if chunk and total + pieces > most_pieces:
            yield chunk
            chunk, total = [], 0
        chunk.append(text)
        total += pieces
    yield chunk
