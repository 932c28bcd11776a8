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
    """Mask-predict: mean log-probability of the pieces. CTC, Levenshtein and single-pass decoding: see
    `CtcSearch`, `LevenshteinSearch` and `SinglePassSearch`. AT, and reranked: the AT decoder's log-probability divided by
    length^penalty, EOS counted."""
    passes: int
    """NAT: number of passes that predicted a piece of this hypothesis. Levenshtein: number of all passes that read it, also
    those for deletions and placeholders. AT: number of steps until its source was done. Fallback: the sum of both decoders'
    passes, without the pass that scores."""
    fallback_passes: int = 0
    """Those of the passes that are steps of the AT decoder after the NAT decoder's translation was rejected; see
    `FallbackSearch`."""


def ranked(tokens_BKT: Tensor, lengths_BK: Tensor, scores_BK: Tensor, passes_BK: Tensor, n_best: int) -> list[list[Hypothesis]]:
    """Returns the candidates of each source with the best scores, the best first; for equal scores the earlier one.

    Args:
        tokens_BKT: the pieces of each candidate, then anything.
        lengths_BK: number of pieces.
        passes_BK: number of passes that predicted a piece.
    """
    order_BK = scores_BK.argsort(dim=1, descending=True, stable=True)[:, :n_best].tolist()
    lengths, tokens, scores, passes = (values.tolist() for values in (lengths_BK, tokens_BKT, scores_BK, passes_BK))
    return [
        [Hypothesis(tuple(tokens[row][k][: lengths[row][k]]), scores[row][k], passes[row][k]) for k in order]
        for row, order in enumerate(order_BK)
    ]


NOTHING = Hypothesis(tokens=(), score=0.0, passes=0)
"""The translation of an empty source."""


def most_pieces(encoded: Encoded) -> Tensor:
    """Returns the maximum length of a hypothesis, [B]: twice the number of source pieces plus 10, without EOS on either
    side."""
    # The tokens counted here include EOS: 2·(pieces + 1) + 8 = 2·pieces + 10.
    return 2 * (~encoded.is_padding_BS).sum(dim=1) + 8
