"""What decoding returns."""

from dataclasses import dataclass

from torch import Tensor

from mtnat.model import Encoded


@dataclass(frozen=True)
class Hypothesis:
    """A translation found for one source."""

    tokens: tuple[int, ...]
    """Target pieces, without EOS."""
    score: float
    """NAT: mean log-probability of the pieces. AT and reranked: the AT decoder's log-probability divided by length^penalty, the
    length counting EOS."""
    passes: int
    """NAT: passes in which a piece of this hypothesis was predicted. AT: passes until its source was done."""


NOTHING = Hypothesis(tokens=(), score=0.0, passes=0)
"""The translation of an empty source."""


def most_pieces(encoded: Encoded) -> Tensor:
    """The longest hypothesis that is looked for, [B]: twice the source's pieces and 10, EOS not counted on either side."""
    return 2 * (~encoded.is_padding_BS).sum(dim=1) + 8
