"""CTC alignments (Graves et al. 2006): collapsing an alignment to a translation, and prefix beam search over alignments."""

import math
from collections.abc import Sequence


def collapse(labels: Sequence[int], blank: int) -> tuple[int, ...]:
    """Merges repeated labels, then drops blanks: ``a a - a b`` becomes ``a a b``.

    The order matters: two equal pieces are kept apart only by a blank between them.
    """
    return tuple(label for former, label in zip((None, *labels), labels, strict=False) if label not in (former, blank))


def prefix_beam_search(
    tokens: Sequence[Sequence[int]],
    scores: Sequence[Sequence[float]],
    blanks: Sequence[float],
    beam: int,
    most_pieces: int | None = None,
) -> list[tuple[tuple[int, ...], float]]:
    """Finds the likeliest translations, adding up the probabilities of all alignments that collapse to the same one.

    At each position every kept prefix continues with a blank, with a repeat of its last piece, or with a new piece. Alignments
    that end with a blank and alignments that end with the last piece have separate probabilities, because they continue
    differently: after a blank an equal label is a new piece, without a blank it repeats the last piece. The search is exact if
    the beam drops no prefix and all pieces are candidates.

    Args:
        tokens: candidate pieces at each position.
        scores: log-probabilities of the candidates.
        blanks: log-probability of the blank at each position.
        beam: number of prefixes that are kept.
        most_pieces: length of the longest translation; None for as many pieces as there are positions.

    Returns:
        At most `beam` translations with their log-probabilities, the likeliest first.
    """
    # Log-probabilities of each prefix: of its alignments that end with a blank, and of those that end with its last piece.
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for candidates, log_probabilities, blank in zip(tokens, scores, blanks, strict=True):
        with_blanks: dict[tuple[int, ...], float] = {}
        with_pieces: dict[tuple[int, ...], float] = {}
        for prefix, (with_blank, with_piece) in kept.items():
            either = _log_add(with_blank, with_piece)
            with_blanks[prefix] = either + blank
            for token, score in zip(candidates, log_probabilities, strict=True):
                longer, reached = (*prefix, token), either
                if prefix and token == prefix[-1]:
                    # After the last piece an equal label repeats it; only after a blank does it make the prefix longer.
                    with_pieces[prefix] = _log_add(with_pieces.get(prefix, -math.inf), with_piece + score)
                    reached = with_blank
                if most_pieces is None or len(longer) <= most_pieces:
                    with_pieces[longer] = _log_add(with_pieces.get(longer, -math.inf), reached + score)
        grown = {
            prefix: (with_blanks.get(prefix, -math.inf), with_pieces.get(prefix, -math.inf))
            for prefix in with_blanks | with_pieces
        }
        best = sorted(grown.items(), key=lambda item: -_log_add(*item[1]))[:beam]
        kept = {prefix: ends for prefix, ends in best if _log_add(*ends) > -math.inf}
    return [(prefix, _log_add(*ends)) for prefix, ends in kept.items()]


def _log_add(first: float, second: float) -> float:
    """Computes log(eᵃ + eᵇ)."""
    high, low = max(first, second), min(first, second)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))
