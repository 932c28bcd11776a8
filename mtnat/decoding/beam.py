"""Beam search: the AT decoder's search."""

# B sentences still decoded, K beam, C candidates of one step, T target, V vocabulary

from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.decoding.hypotheses import Hypothesis, most_pieces
from mtnat.model import AtCache, Translator
from mtnat.tokens import BOS, EOS, SPECIAL

_FORBIDDEN = [token for token in SPECIAL if token != EOS]


@dataclass
class _Beam:
    """The unfinished hypotheses of each sentence, the best first, and its best finished one."""

    sentences_B: Tensor
    """Which source each row is."""
    limits_B: Tensor
    """The most pieces its hypotheses may have."""
    tokens_BKT: Tensor
    """BOS and the pieces so far."""
    totals_BK: Tensor
    """Log-probabilities of the unfinished hypotheses; −inf where there is none."""
    finished_B: Tensor
    """How many hypotheses have finished."""
    best_scores_B: Tensor
    """Score of the best finished hypothesis, −inf before the first."""
    best_tokens_BT: Tensor
    """Its pieces, filled up with EOS."""

    def keep(self, rows: Tensor) -> "_Beam":
        """Only these sentences."""
        return _Beam(**{name: value.index_select(0, rows) for name, value in vars(self).items()})


def beam_search(translator: Translator, source_BS: Tensor, beam: int, length_penalty: float) -> list[Hypothesis]:
    """The best finished hypothesis of each source, by log-probability / length^penalty, the length counting EOS.

    Each step extends the hypotheses to their likeliest continuations. Of the best `beam` ones those that end with EOS are
    finished; the best `beam` that do not end go on. A sentence leaves the batch when `beam` of its hypotheses are finished,
    or when none that goes on could still win even if all its further tokens were certain and it grew to the longest length:
    twice the source and ten pieces, or what the model has positions for, where EOS is the only continuation. A beam of 1 is
    greedy search.
    """
    encoded = translator.encode(source_BS)
    limits_B = most_pieces(encoded).clamp(max=translator.config.max_positions - 1)
    state, cache = _start(limits_B, beam), translator.at_start(encoded, beam)
    hypotheses: dict[int, Hypothesis] = {}
    while len(state.sentences_B):
        logits_BKV = translator.at_step(cache, state.tokens_BKT[:, :, -1]).float()
        is_done_B = _advance(state, cache, logits_BKV, length_penalty)
        if is_done_B.any():
            hypotheses |= _finished(state.keep(is_done_B.nonzero().squeeze(1)), passes=cache.position)
            rows = (~is_done_B).nonzero().squeeze(1)
            state = state.keep(rows)
            cache.keep(rows)
    return [hypotheses[index] for index in range(len(source_BS))]


def _start(limits_B: Tensor, beam: int) -> _Beam:
    """One hypothesis a sentence, BOS; the other places of the beam are empty."""
    size, device = len(limits_B), limits_B.device
    totals_BK = torch.full((size, beam), -torch.inf, device=device)
    totals_BK[:, 0] = 0.0
    return _Beam(
        sentences_B=torch.arange(size, device=device),
        limits_B=limits_B,
        tokens_BKT=torch.full((size, beam, 1), BOS, device=device),
        totals_BK=totals_BK,
        finished_B=torch.zeros(size, dtype=torch.long, device=device),
        best_scores_B=torch.full((size,), -torch.inf, device=device),
        best_tokens_BT=torch.full((size, int(limits_B.max()) + 1), EOS, device=device),
    )


def _advance(state: _Beam, cache: AtCache, logits_BKV: Tensor, length_penalty: float) -> Tensor:
    """Chooses every hypothesis' next token, in place; whether each sentence is done, [B]."""
    beam, pieces = state.totals_BK.shape[1], state.tokens_BKT.shape[2] - 1
    is_last_B = state.limits_B == pieces
    totals_BC, parents_BC, tokens_BC = _candidates(state.totals_BK, logits_BKV, is_last_B)
    ends_BC = tokens_BC == EOS
    _finish(state, totals_BC[:, :beam].masked_fill(~ends_BC[:, :beam], -torch.inf), parents_BC, length_penalty)

    state.totals_BK, chosen_BK = totals_BC.masked_fill(ends_BC, -torch.inf).topk(beam)
    parents_BK = parents_BC.gather(1, chosen_BK)
    prefixes_BKT = _take(state.tokens_BKT, parents_BK)
    state.tokens_BKT = torch.cat((prefixes_BKT, tokens_BC.gather(1, chosen_BK)[:, :, None]), dim=2)
    cache.reorder(parents_BK)

    could_reach_B = state.totals_BK[:, 0] / (state.limits_B + 1) ** length_penalty
    return is_last_B | (state.finished_B >= beam) | (state.best_scores_B >= could_reach_B)


def _candidates(totals_BK: Tensor, logits_BKV: Tensor, is_last_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest continuations, best first: log-probability, parent and token, [B, C] each.

    At most K of the best 2K end with EOS, one of each parent, so C = 2K leaves K that go on.
    """
    logits_BKV[:, :, _FORBIDDEN] = -torch.inf
    normalizer_BK = logits_BKV.logsumexp(dim=2)
    is_piece_V = torch.arange(logits_BKV.shape[2], device=logits_BKV.device) != EOS
    if is_last_B.any():
        logits_BKV = logits_BKV.masked_fill(is_last_B[:, None, None] & is_piece_V, -torch.inf)
    size = 2 * totals_BK.shape[1]
    best_BKC, tokens_BKC = logits_BKV.topk(min(size, logits_BKV.shape[2]))
    totals_BKC = best_BKC + (totals_BK - normalizer_BK)[:, :, None]
    totals_BC, chosen_BC = totals_BKC.flatten(1).topk(min(size, totals_BKC[0].numel()))
    parents_BC = chosen_BC.div(totals_BKC.shape[2], rounding_mode="floor")
    return totals_BC, parents_BC, tokens_BKC.flatten(1).gather(1, chosen_BC)


def _finish(state: _Beam, totals_BK: Tensor, parents_BC: Tensor, length_penalty: float) -> None:
    """Counts the hypotheses that have just ended (their log-probability is not −inf) and remembers the best so far."""
    length = state.tokens_BKT.shape[2]
    scores_B, places_B = (totals_BK / length**length_penalty).max(dim=1)
    is_better_B1 = (scores_B > state.best_scores_B)[:, None]
    state.finished_B = state.finished_B + totals_BK.isfinite().sum(dim=1)
    state.best_scores_B = torch.maximum(scores_B, state.best_scores_B)
    pieces_BT = _take(state.tokens_BKT, parents_BC.gather(1, places_B[:, None]))[:, 0, 1:]
    best_BT = state.best_tokens_BT[:, : length - 1]
    state.best_tokens_BT[:, : length - 1] = torch.where(is_better_B1, pieces_BT, best_BT)


def _take(tokens_BKT: Tensor, places_BK: Tensor) -> Tensor:
    """Each sentence's hypotheses at those places of its beam."""
    return tokens_BKT.gather(1, places_BK[:, :, None].expand(-1, -1, tokens_BKT.shape[2]))


def _finished(state: _Beam, passes: int) -> dict[int, Hypothesis]:
    """The sentences' best hypotheses, by the index of their source."""
    rows = zip(state.sentences_B.tolist(), state.best_tokens_BT.tolist(), state.best_scores_B.tolist(), strict=True)
    return {index: Hypothesis(tuple(row[: row.index(EOS)]), score, passes) for index, row, score in rows}
