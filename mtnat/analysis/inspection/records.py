"""What an inspection finds."""

# L layers, H heads, T rows, S columns

from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from torch import Tensor

from mtnat.decoding.replay import Candidate

_DECIMALS = 5


@dataclass(frozen=True)
class Verdict:
    """What the AT decoder says of a token, given the source and the tokens before it (teacher forcing)."""

    log_probability: float
    rank: int
    """1 if no other token is likelier."""
    choice: str
    """Its own first choice at this position."""
    choice_log_probability: float


@dataclass(frozen=True)
class Piece:
    """A piece of the translation."""

    text: str
    """As the vocabulary writes it: ``▁`` stands for a space."""
    log_probability: float | None
    """See `Part.confidence`; None if the search gives none, or if the AT decoder has translated: see its verdict."""
    verdict: Verdict | None
    """None if the model has no AT decoder."""


@dataclass(frozen=True)
class InspectedPass:
    """The translation after one pass or iteration."""

    number: int
    pieces: tuple[str, ...]
    is_masked: tuple[bool, ...]
    """Whether this pass predicted each piece."""
    is_changed: tuple[bool, ...]
    """Whether this pass changed each piece."""
    log_probabilities: tuple[float, ...] | None
    score: float
    candidates: tuple[Candidate, ...]
    """Length and score of all remaining candidates, with this one."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of the candidates."""
        return tuple(candidate.length for candidate in self.candidates)


@dataclass(frozen=True)
class InspectedPosition:
    """A position of a decoder in its last run."""

    text: str
    """The piece that it predicts, or the blank of CTC."""
    piece: int | None
    """Index of the piece of the translation that it gives; None if it gives none."""
    log_probability: float | None
    reads: str | None
    """The piece that it reads; None if its input is no target piece."""


@dataclass(frozen=True)
class AttentionMaps:
    """The weights of one kind of attention in all layers."""

    name: str
    row_names: tuple[str, ...]
    """What the rows predict, or, in the encoder, read."""
    column_names: tuple[str, ...]
    row_pieces: tuple[int | None, ...]
    """Index of the piece of the translation that each row gives; None if it gives none, as all rows of the encoder."""
    weights_LHTS: Tensor | None
    """float32 on the CPU. Each row adds up to 1. None if there are too many."""


@dataclass(frozen=True)
class AtTranslation:
    """What the AT decoder translates by beam search, and what it says of the translation that is inspected."""

    text: str
    score: float
    """Log-probability / length^α, EOS counted."""
    score_of_translation: float
    """The same of the translation that is inspected."""
    end: Verdict
    """What it says of the end of that translation."""


@dataclass(frozen=True)
class Part:
    """A sentence, or one part of a sentence that is too long for the model."""

    source: tuple[str, ...]
    """Source pieces and EOS."""
    text: str
    """The translation."""
    score: float
    """See `Hypothesis.score`."""
    passes_made: int
    """See `Hypothesis.passes`."""
    fell_back: bool
    """Whether the AT decoder has translated because the NAT decoder's translation scored too low."""
    pieces: tuple[Piece, ...]
    confidence: str
    """What the log-probabilities of the pieces are; empty if there are none."""
    passes: tuple[InspectedPass, ...]
    """Those of the search, if it makes several."""
    positions: tuple[InspectedPosition, ...]
    """Those of the decoder that translates, if they are not one for each piece."""
    at: AtTranslation | None
    """None if the model has no AT decoder."""
    attention: tuple[AttentionMaps, ...]


@dataclass(frozen=True)
class Inspection:
    """What a translator does with one sentence."""

    sentence: str
    translation: str
    system: str
    """The kind of the system."""
    decoder: str
    """The decoder that translates, nat or at."""
    decoding: dict[str, Any]
    """The settings that determine the translation."""
    parts: tuple[Part, ...]


def record_of(found: object) -> Any:
    """Returns an inspection, or a part of it, as JSON values. Attention weights are rounded to five decimals."""
    if isinstance(found, Tensor):
        return _rounded(found.tolist())
    if isinstance(found, Candidate):
        return found._asdict()
    if is_dataclass(found):
        return {field.name.removesuffix("_LHTS"): record_of(getattr(found, field.name)) for field in fields(found)}
    if isinstance(found, tuple):
        return [record_of(each) for each in found]
    return found


def _rounded(values: Any) -> Any:
    return [_rounded(each) for each in values] if isinstance(values, list) else round(values, _DECIMALS)
