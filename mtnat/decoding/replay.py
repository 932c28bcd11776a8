"""How a search came to a translation: its passes, and the last run of its decoders over all positions."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from mtnat.decoding.hypotheses import Hypothesis
from mtnat.model import Encoded, TargetDecoder


class Candidate(NamedTuple):
    """A candidate of the search after a pass."""

    length: int
    """Number of pieces."""
    score: float


@dataclass(frozen=True)
class Pass:
    """The candidate that is best in the end, after one pass or iteration."""

    number: int
    """From 1."""
    tokens: tuple[int, ...]
    """Target pieces, without EOS."""
    is_masked: tuple[bool, ...]
    """Whether this pass predicted each piece."""
    is_changed: tuple[bool, ...]
    """Whether this pass changed each piece."""
    log_probabilities: tuple[float, ...] | None
    """Of each piece in the pass that last predicted it; None if the search does not keep them."""
    score: float
    """By which the search ranks its candidates."""
    candidates: tuple[Candidate, ...]
    """All remaining candidates, with this one."""


@dataclass(frozen=True)
class Position:
    """A position of a decoder in its last run."""

    token: int | None
    """The target token that it predicts; None for the blank of CTC."""
    piece: int | None = None
    """Index of the piece of the translation that it gives; None if it gives none."""
    log_probability: float | None = None
    """See `Replay.confidence`."""
    reads: int | None = None
    """The target token that it reads; None if its input is no target token, such as a copy of the source."""


@dataclass(frozen=True)
class Reading:
    """The last run of one decoder."""

    name: str
    decoder: TargetDecoder
    positions: tuple[Position, ...]


@dataclass(frozen=True)
class Replay:
    """How a search came to a translation of one source."""

    readings: tuple[Reading, ...]
    """The decoders in the order in which they ran; the last one gives the translation. If a decoder has a second memory, it is
    the states of the decoder before it."""
    confidence: str
    """What the log-probabilities of the positions are."""
    passes: tuple[Pass, ...] = ()
    """The passes that predicted a piece of the translation, of a search that makes several."""


@runtime_checkable
class Replayable(Protocol):
    """A search that can show how it came to a translation. The search of a system from another package may lack it."""

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay | None:
        """Runs the search once more and then its decoders over all positions, as in the last pass; None if it cannot.

        Unlike the search, which computes some positions only, the last run of each decoder layer reads and computes all
        positions of the translation and of no other candidate.

        Args:
            encoded: one source, without padding.
            found: what the search has found for it.
        """
        ...


def replay_of(search: object, encoded: Encoded, found: Hypothesis) -> Replay | None:
    """Returns the replay of a search; None if it has none."""
    return search.replay(encoded, found) if isinstance(search, Replayable) else None
