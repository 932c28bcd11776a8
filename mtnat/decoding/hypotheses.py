"""The results of decoding."""

from dataclasses import dataclass

from torch import Tensor

from mtnat.model import Encoded


@dataclass(frozen=True)
class Hypothesis:
    """A translation found for one source."""

    tokens: tuple[int, ...]
    """Target pieces, without EOS."""
    score: float
    """Mask-predict: mean log-probability of the pieces. CTC and Levenshtein: see `CtcSearch` and `LevenshteinSearch`. AT, and
    reranked: the AT decoder's log-probability divided by length^penalty, EOS counted."""
    passes: int
    """NAT: number of passes that predicted a piece of this hypothesis. Levenshtein: number of all passes that read it, also
    those for deletions and placeholders. AT: number of steps until its source was done."""


NOTHING = Hypothesis(tokens=(), score=0.0, passes=0)
"""The translation of an empty source."""


def most_pieces(encoded: Encoded) -> Tensor:
    """Returns the maximum length of a hypothesis, [B]: twice the number of source pieces plus 10, without EOS on either
    side."""
    # The tokens counted here include EOS: 2·(pieces + 1) + 8 = 2·pieces + 10.
    return 2 * (~encoded.is_padding_BS).sum(dim=1) + 8
