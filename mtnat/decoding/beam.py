"""Beam search for the AT decoder."""

# B sentences still decoded, K beam, N hypotheses wanted, C candidates of one step, T target, V vocabulary

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.decoding.hypotheses import Hypothesis, most_pieces
from mtnat.decoding.logits import FORBIDDEN_TO_AT
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.decoding.teacher_forcing import forced_choices
from mtnat.model import AtCache, Encoded, TargetDecoder
from mtnat.model.flops import ModelFlops
from mtnat.tokens import BOS, EOS


@dataclass
class _Beam:
    """The unfinished hypotheses of each sentence and its best finished ones, each in descending order."""

    sentences_B: Tensor
    """Index of the source of each row."""
    limits_B: Tensor
    """Maximum number of pieces of a hypothesis."""
    tokens_BKT: Tensor
    """BOS and the pieces so far of the unfinished hypotheses."""
    totals_BK: Tensor
    """Log-probabilities of the unfinished hypotheses; −inf in an empty beam slot."""
    finished_B: Tensor
    """Number of finished hypotheses."""
    best_scores_BN: Tensor
    """Scores of the best finished hypotheses; −inf in an empty slot."""
    best_tokens_BNT: Tensor
    """Pieces of the best finished hypotheses, padded with EOS."""

    def keep(self, rows: Tensor) -> "_Beam":
        """Selects sentences."""
        return _Beam(**{name: value.index_select(0, rows) for name, value in vars(self).items()})


@dataclass(frozen=True)
class BeamSearch:
    """Beam search; see `__call__`. A beam of 1 is greedy search."""

    decoder: TargetDecoder
    beam: int
    length_penalty: float
    is_stepwise = True

    @property
    def copies(self) -> int:
        return self.beam

    @property
    def most(self) -> tuple[str, int]:
        return "beam", self.beam

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best finished hypotheses of each source, ranked by log-probability / length^penalty, EOS counted.

        Each step extends every hypothesis by its likeliest tokens. Those among the best `beam` extensions that end with EOS are
        finished. The best `beam` extensions that do not end with EOS stay in the beam.

        A sentence is done when one of these holds:

        - `beam` of its hypotheses are finished.
        - No unfinished hypothesis can enter the best `n_best`, even if all its further tokens had probability 1 and it grew to
          the maximum length.
        - The maximum length is reached, where EOS is the only continuation. It is twice the source length plus ten pieces, or
          the number of positions of the model if that is less.
        """
        limits_B = most_pieces(encoded).clamp(max=self.decoder.config.max_positions - 1)
        state, cache = _start(limits_B, self.beam, n_best), self.decoder.start(encoded, self.beam)
        hypotheses: dict[int, list[Hypothesis]] = {}
        while len(state.sentences_B):
            logits_BKV = self.decoder.step(cache, state.tokens_BKT[:, :, -1]).float()
            is_done_B = _advance(state, cache, logits_BKV, self.length_penalty)
            if is_done_B.any():
                hypotheses |= _finished(state.keep(is_done_B.nonzero().squeeze(1)), passes=cache.position)
                rows = (~is_done_B).nonzero().squeeze(1)
                state = state.keep(rows)
                cache.keep(rows)
        return [hypotheses[index] for index in range(len(limits_B))]

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs the decoder over BOS and the pieces, in one pass (teacher forcing)."""
        return Replay(
            (self.reading(encoded, found, "AT decoder"),), "probability of the piece given the source and the pieces before it"
        )

    def reading(self, encoded: Encoded, found: Hypothesis, name: str) -> Reading:
        """Runs the decoder over BOS and the pieces; the last position predicts EOS."""
        tokens = [*found.tokens, EOS]
        tokens_T = torch.tensor(tokens, device=encoded.states_BSD.device)
        scores = forced_choices(self.decoder, encoded, tokens_T, FORBIDDEN_TO_AT).log_probabilities_T.tolist()
        positions = [
            Position(token, None if number == len(found.tokens) else number, score, reads)
            for number, (token, score, reads) in enumerate(zip(tokens, scores, [BOS, *found.tokens], strict=True))
        ]
        return Reading(name, self.decoder, tuple(positions))

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts the encoder and all steps. A beam counts as full; a step costs what a whole pass computes at its position."""
        steps = self.beam * work.at_pass(source_B, passes_B) + work.vocabulary(self.beam * int(passes_B.sum()))
        return work.encoder(source_B) + work.memory(source_B) + steps


def _start(limits_B: Tensor, beam: int, n_best: int) -> _Beam:
    """Returns beams with one hypothesis per sentence, BOS; the other slots of the beam are empty."""
    size, device = len(limits_B), limits_B.device
    totals_BK = torch.full((size, beam), -torch.inf, device=device)
    totals_BK[:, 0] = 0.0
    return _Beam(
        sentences_B=torch.arange(size, device=device),
        limits_B=limits_B,
        tokens_BKT=torch.full((size, beam, 1), BOS, device=device),
        totals_BK=totals_BK,
        finished_B=torch.zeros(size, dtype=torch.long, device=device),
        best_scores_BN=torch.full((size, n_best), -torch.inf, device=device),
        best_tokens_BNT=torch.full((size, n_best, int(limits_B.max()) + 1), EOS, device=device),
    )


def _advance(state: _Beam, cache: AtCache, logits_BKV: Tensor, length_penalty: float) -> Tensor:
    """Extends every hypothesis by one token, in place; returns whether each sentence is done, [B]."""
    beam, pieces = state.totals_BK.shape[1], state.tokens_BKT.shape[2] - 1
    is_last_B = state.limits_B == pieces
    totals_BC, parents_BC, tokens_BC = _candidates(state.totals_BK, logits_BKV, is_last_B)
    ends_BC = tokens_BC == EOS
    # Only an EOS among the best `beam` candidates finishes a hypothesis. `_finish` ignores totals of −inf.
    _finish(state, totals_BC[:, :beam].masked_fill(~ends_BC[:, :beam], -torch.inf), parents_BC, length_penalty)

    state.totals_BK, chosen_BK = totals_BC.masked_fill(ends_BC, -torch.inf).topk(beam)
    parents_BK = parents_BC.gather(1, chosen_BK)
    prefixes_BKT = _take(state.tokens_BKT, parents_BK)
    state.tokens_BKT = torch.cat((prefixes_BKT, tokens_BC.gather(1, chosen_BK)[:, :, None]), dim=2)
    cache.reorder(parents_BK)

    # The best score that the first unfinished hypothesis can still reach: log-probabilities only fall, and a negative total
    # divided by the largest length is the highest quotient.
    could_reach_B = state.totals_BK[:, 0] / (state.limits_B + 1) ** length_penalty
    return is_last_B | (state.finished_B >= beam) | (state.best_scores_BN[:, -1] >= could_reach_B)


def _candidates(totals_BK: Tensor, logits_BKV: Tensor, is_last_B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the likeliest continuations, the best first: log-probability, parent slot and token, [B, C] each.

    Each parent has one continuation with EOS, so at most K of the best C = 2K continuations end, and at least K do not.
    """
    logits_BKV[:, :, FORBIDDEN_TO_AT] = -torch.inf
    normalizer_BK = logits_BKV.logsumexp(dim=2)
    is_piece_V = torch.arange(logits_BKV.shape[2], device=logits_BKV.device) != EOS
    if is_last_B.any():
        logits_BKV = logits_BKV.masked_fill(is_last_B[:, None, None] & is_piece_V, -torch.inf)
    size = 2 * totals_BK.shape[1]
    # The best C of a sentence are among the best C of each of its parents, which avoids a topk over K·V numbers. The normaliser
    # is constant within a parent, so the log-softmax is applied to the selected logits only.
    best_BKC, tokens_BKC = logits_BKV.topk(min(size, logits_BKV.shape[2]))
    totals_BKC = best_BKC + (totals_BK - normalizer_BK)[:, :, None]
    totals_BC, chosen_BC = totals_BKC.flatten(1).topk(min(size, totals_BKC[0].numel()))
    parents_BC = chosen_BC.div(totals_BKC.shape[2], rounding_mode="floor")
    return totals_BC, parents_BC, tokens_BKC.flatten(1).gather(1, chosen_BC)


def _finish(state: _Beam, totals_BK: Tensor, parents_BC: Tensor, length_penalty: float) -> None:
    """Counts the hypotheses that end in this step and merges them into the best finished ones, in place.

    Args:
        totals_BK: log-probabilities of the ending hypotheses; −inf for the others.
    """
    has_ended_BK = totals_BK.isfinite()
    if not has_ended_BK.any():
        return
    state.finished_B = state.finished_B + has_ended_BK.sum(dim=1)
    length = state.tokens_BKT.shape[2]
    pieces_BKT = _take(state.tokens_BKT, parents_BC[:, : totals_BK.shape[1]])[:, :, 1:]
    scores_BC = torch.cat((state.best_scores_BN, totals_BK / length**length_penalty), dim=1)
    tokens_BCT = torch.cat((state.best_tokens_BNT[:, :, : length - 1], pieces_BKT), dim=1)
    # A stable sort keeps the earlier hypothesis first if scores are equal.
    scores_BC, order_BC = scores_BC.sort(dim=1, descending=True, stable=True)
    wanted = state.best_scores_BN.shape[1]
    tokens_BNT = _take(tokens_BCT, order_BC[:, :wanted])
    state.best_scores_BN = scores_BC[:, :wanted]
    state.best_tokens_BNT[:, :, : length - 1] = tokens_BNT


def _take(tokens_BKT: Tensor, places_BK: Tensor) -> Tensor:
    """Selects the hypotheses in these slots of each sentence's beam."""
    return tokens_BKT.gather(1, places_BK[:, :, None].expand(-1, -1, tokens_BKT.shape[2]))


def _finished(state: _Beam, passes: int) -> dict[int, list[Hypothesis]]:
    """Returns the best hypotheses of each sentence, by the index of its source."""
    rows = zip(state.sentences_B.tolist(), state.best_tokens_BNT.tolist(), state.best_scores_BN.tolist(), strict=True)
    return {
        index: [
            Hypothesis(tuple(pieces[: pieces.index(EOS)]), score, passes)
            for pieces, score in zip(best, scores, strict=True)
            if score > -math.inf
        ]
        for index, best, scores in rows
    }
