"""Translates one sentence and records what the translator does."""

# T tokens of the translation, EOS included

from collections.abc import Sequence
from typing import NamedTuple

import torch

from mtnat.analysis.inspection.attention import recorded_attention
from mtnat.analysis.inspection.maps import Names, decoder_maps, encoder_maps, name_of
from mtnat.analysis.inspection.records import (
    AttentionMaps,
    AtTranslation,
    InspectedPass,
    InspectedPosition,
    Inspection,
    Part,
    Piece,
    Verdict,
)
from mtnat.data import Vocabularies
from mtnat.decoding import BeamSearch, DecoderName, Decoding, Hypothesis, decode
from mtnat.decoding.batching import pad
from mtnat.decoding.logits import FORBIDDEN_TO_AT
from mtnat.decoding.replay import Pass, Position, replay_of
from mtnat.decoding.teacher_forcing import forced_choices
from mtnat.decoding.translate import parts_of
from mtnat.errors import UserError
from mtnat.model import computing_in, resolve_precision
from mtnat.systems import search_of
from mtnat.systems.registry import kind_of
from mtnat.tokens import EOS
from mtnat.training import Model


def inspect_sentence(
    model: Model, sentence: str, decoding: Decoding | None = None, decoder: DecoderName | None = None
) -> Inspection:
    """Translates a sentence as `Model.translate` does, and records passes, probabilities and attention.

    Args:
        decoding: settings of decoding; by default the experiment's.
        decoder: the decoder that translates; by default the experiment's.

    Raises:
        UserError: the sentence is empty, or the model lacks a decoder that is needed.
    """
    config, chosen = decoding or model.experiment.decoding, decoder or model.experiment.decoder
    vocabulary = model.vocabularies.source
    [pieces] = vocabulary.encode([sentence])
    if not pieces:
        raise UserError("the sentence is empty; give one to translate.")
    was_training = model.translator.training
    model.translator.eval()
    try:
        parts = parts_of(model.translator, vocabulary, sentence, pieces)
        found = tuple(_part(model, part, config, chosen) for part in parts)
    finally:
        model.translator.train(was_training)
    return Inspection(
        sentence=sentence,
        translation=" ".join(part.text for part in found),
        system=kind_of(type(model.experiment.system)),
        decoder=chosen,
        decoding={name: getattr(config, name) for name in config.settings_of(chosen)},
        parts=found,
    )


class _FromAt(NamedTuple):
    """What the AT decoder says of a translation."""

    translation: AtTranslation
    verdicts: list[Verdict]
    """On each piece."""
    attention: list[AttentionMaps]


def _part(model: Model, source: list[int], config: Decoding, decoder: DecoderName) -> Part:
    vocabularies, search = model.vocabularies, model.search(config, decoder)
    [[best]] = decode(model.translator, [source], config, search)
    of_source = tuple(vocabularies.source.piece(token) for token in (*source, EOS))
    with torch.inference_mode(), _computing(model, config), recorded_attention(model.translator) as recorded:
        encoded = model.translator.encode(pad([source], model.translator.target_tokens.weight.device))
        replay = replay_of(search, encoded, best)
        attention = decoder_maps(replay, recorded, vocabularies, of_source) if replay else []
        of_encoder = encoder_maps(model.translator.encoder, recorded, of_source)
    at = _from_at(model, source, best, config, of_source) if "at" in model.translator.branches else None
    is_by_at = decoder == "at" or best.fallback_passes > 0
    if at and not is_by_at:  # otherwise the AT decoder has been replayed above
        attention += at.attention
    positions = replay.readings[-1].positions if replay else ()
    verdicts = at.verdicts if at else [None] * len(best.tokens)
    scores = _scores(() if is_by_at else positions, len(best.tokens))
    [text] = vocabularies.target.decode([best.tokens])
    return Part(
        source=of_source,
        text=text,
        score=best.score,
        passes_made=best.passes,
        fell_back=best.fallback_passes > 0,
        pieces=tuple(
            Piece(vocabularies.target.piece(token), score, verdict)
            for token, score, verdict in zip(best.tokens, scores, verdicts, strict=True)
        ),
        confidence=replay.confidence if replay and not is_by_at else "",
        passes=tuple(_pass(each, vocabularies) for each in replay.passes) if replay else (),
        positions=tuple(_position(each, vocabularies) for each in positions) if _are_others(positions) else (),
        at=at.translation if at else None,
        attention=(*attention, of_encoder),
    )


def _computing(model: Model, config: Decoding) -> torch.autocast:
    device = model.translator.target_tokens.weight.device
    return computing_in(resolve_precision(config.precision, device), device)


def _from_at(model: Model, source: list[int], found: Hypothesis, config: Decoding, of_source: Names) -> _FromAt:
    """Translates with the AT decoder, and has it read the translation that is inspected."""
    translator, target = model.translator, model.vocabularies.target
    search = search_of(translator, "at", config)
    assert isinstance(search, BeamSearch)
    [[own]] = decode(translator, [source], config, search)
    device = translator.target_tokens.weight.device
    with torch.inference_mode(), _computing(model, config), recorded_attention(translator) as recorded:
        encoded = translator.encode(pad([source], device))
        tokens_T = torch.tensor([*found.tokens, EOS], device=device)
        choices = forced_choices(search.decoder, encoded, tokens_T, FORBIDDEN_TO_AT)
        attention = decoder_maps(search.replay(encoded, found), recorded, model.vocabularies, of_source)
    columns = (values_T.tolist() for values_T in choices)
    verdicts = [Verdict(score, rank, target.piece(choice), best) for score, rank, choice, best in zip(*columns, strict=True)]
    [text] = target.decode([own.tokens])
    score = sum(each.log_probability for each in verdicts) / len(verdicts) ** config.length_penalty
    return _FromAt(AtTranslation(text, own.score, score, verdicts[-1]), verdicts[:-1], attention)


def _scores(positions: Sequence[Position], pieces: int) -> list[float | None]:
    """Returns the log-probability of each piece, the highest of the positions that give it."""
    found: list[list[float]] = [[] for _ in range(pieces)]
    for each in positions:
        if each.piece is not None and each.log_probability is not None:
            found[each.piece].append(each.log_probability)
    return [max(scores, default=None) for scores in found]


def _are_others(positions: Sequence[Position]) -> bool:
    """Returns whether some position other than BOS and EOS gives no piece, or a piece has several."""
    pieces = [each.piece for each in positions if each.log_probability is not None and each.token != EOS]
    return pieces != list(range(len(pieces)))


def _position(each: Position, vocabularies: Vocabularies) -> InspectedPosition:
    reads = None if each.reads is None else name_of(each.reads, vocabularies)
    return InspectedPosition(name_of(each.token, vocabularies), each.piece, each.log_probability, reads)


def _pass(each: Pass, vocabularies: Vocabularies) -> InspectedPass:
    return InspectedPass(
        number=each.number,
        pieces=tuple(name_of(token, vocabularies) for token in each.tokens),
        is_masked=each.is_masked,
        is_changed=each.is_changed,
        log_probabilities=each.log_probabilities,
        score=each.score,
        candidates=each.candidates,
    )
