"""From labels to translations: collapsing an alignment, and prefix beam search over alignments (Graves et al. 2006)."""

import math
from collections.abc import Sequence


def collapse(labels: Sequence[int], blank: int) -> tuple[int, ...]:
    """Merges repeated labels, then drops blanks: ``a a - a b`` becomes ``a a b``.

    The order matters: two equal pieces are kept apart only by a blank between them.
    """
    before = (None, *labels[:-1])
    return tuple(label for label, former in zip(labels, before, strict=True) if label not in (former, blank))


def prefix_beam_search(
    tokens: Sequence[Sequence[int]], scores: Sequence[Sequence[float]], blanks: Sequence[float], beam: int
) -> list[tuple[tuple[int, ...], float]]:
    """Finds the likeliest translations, adding up the probabilities of all alignments that collapse to the same one.

    At each position every kept prefix is continued with a blank, with its own last piece again, or with a new piece. An
    alignment that ends with a blank and one that ends with the last piece continue differently, so their probabilities are kept
    apart: an equal piece after a blank is a new piece; without a blank between them it repeats the old one. The search is exact
    if the beam never has to drop a prefix and all pieces are candidates.

    Args:
        tokens: candidates at each position.
        scores: their log-probabilities.
        blanks: the blank's log-probability at each position.
        beam: how many prefixes are kept.

    Returns:
        At most `beam` translations with their log-probabilities, the likeliest first.
    """
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}  # ends with a blank; ends with the last piece
    for candidates, log_probabilities, blank in zip(tokens, scores, blanks, strict=True):
        with_blanks: dict[tuple[int, ...], float] = {}
        with_pieces: dict[tuple[int, ...], float] = {}
        for prefix, (with_blank, with_piece) in kept.items():
            either = _log_add(with_blank, with_piece)
            with_blanks[prefix] = either + blank
            for token, score in zip(candidates, log_probabilities, strict=True):
                longer, reached = (*prefix, token), either
                if prefix and token == prefix[-1]:
                    with_pieces[prefix] = _log_add(with_pieces.get(prefix, -math.inf), with_piece + score)
                    reached = with_blank
                with_pieces[longer] = _log_add(with_pieces.get(longer, -math.inf), reached + score)
        grown = {
            prefix: (with_blanks.get(prefix, -math.inf), with_pieces.get(prefix, -math.inf))
            for prefix in with_blanks | with_pieces
        }
        best = sorted(grown.items(), key=lambda item: -_log_add(*item[1]))[:beam]
        kept = {prefix: ends for prefix, ends in best if _log_add(*ends) > -math.inf}
    return [(prefix, _log_add(*ends)) for prefix, ends in kept.items()]


def _log_add(first: float, second: float) -> float:
    """log(eᵃ + eᵇ)."""
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
