"""Mask-predict (Ghazvininejad et al. 2019, section 3): the NAT decoder's search."""

# B sentences, A those still refined, K length candidates, T target, P max_positions, V vocabulary, M masked positions of all

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.decoding.batching import group, token_budget
from mtnat.decoding.config import DecodingConfig
from mtnat.decoding.hypotheses import Hypothesis, most_pieces
from mtnat.decoding.logits import blocks_of_logits
from mtnat.decoding.rerank import at_scores
from mtnat.model import Encoded, Memory, Translator
from mtnat.tokens import EOS, MASK, PAD, SPECIAL


@dataclass
class Candidates:
    """The length candidates of a batch of sentences, refined pass by pass."""

    lengths_BK: Tensor
    """Pieces, all different within a sentence."""
    tokens_BKT: Tensor
    """The pieces, then EOS, then PAD."""
    scores_BKT: Tensor
    """Log-probability of each piece in the pass that last predicted it; 0 behind the pieces."""
    is_masked_BKT: Tensor
    """What the last pass predicted."""
    is_changed_BKT: Tensor
    """Which pieces are others since the last pass."""
    passes_BK: Tensor
    """Passes that predicted a piece of the candidate."""
    limits_B: Tensor
    """N, the passes of each sentence at most."""
    unchanged_B: Tensor
    """How many passes in a row have changed no piece of any of a sentence's candidates."""

    @classmethod
    def blank(cls, lengths_BK: Tensor, config: DecodingConfig) -> "Candidates":
        """Before the first pass: MASK for each piece."""
        limits_B = torch.full_like(lengths_BK[:, 0], config.iterations)
        if config.pieces_per_iteration > 0:
            # The same for all of a sentence's candidates: of one that took more passes the pieces would have better scores.
            wanted_B = (lengths_BK[:, 0] / config.pieces_per_iteration).ceil().long()
            limits_B = torch.minimum(limits_B, wanted_B.clamp(min=1))
        places_T = torch.arange(int(lengths_BK.max()) + 1, device=lengths_BK.device)
        ends_BK1 = lengths_BK[:, :, None]
        blank_BKT = torch.full((*lengths_BK.shape, len(places_T)), PAD, device=lengths_BK.device)
        tokens_BKT = blank_BKT.masked_fill(places_T < ends_BK1, MASK).masked_fill(places_T == ends_BK1, EOS)
        return cls(
            lengths_BK=lengths_BK,
            tokens_BKT=tokens_BKT,
            scores_BKT=torch.zeros(tokens_BKT.shape, device=tokens_BKT.device),
            is_masked_BKT=torch.zeros_like(tokens_BKT, dtype=torch.bool),
            is_changed_BKT=torch.zeros_like(tokens_BKT, dtype=torch.bool),
            passes_BK=torch.zeros_like(lengths_BK),
            limits_B=limits_B,
            unchanged_B=torch.zeros_like(limits_B),
        )

    def means(self) -> Tensor:
        """Mean log-probability of the pieces, [B, K]."""
        return self.scores_BKT.sum(dim=2) / self.lengths_BK

    def narrow(self, size: int) -> None:
        """Leaves the `size` candidates of each sentence with the best means; of equal ones the likelier length."""
        order_BK = self.means().argsort(dim=1, descending=True, stable=True)[:, :size].sort(dim=1).values
        rows_B1 = torch.arange(len(order_BK), device=order_BK.device)[:, None]
        for name, value in list(vars(self).items()):
            if value.ndim > 1:
                setattr(self, name, value[rows_B1, order_BK])

    def to_predict(self, done: int, config: DecodingConfig) -> Tensor:
        """How many pieces of each candidate the next pass predicts, [B, K], after `done` passes."""
        limits_B1 = self.limits_B[:, None]
        counts_BK = self.lengths_BK * (limits_B1 - done).clamp(min=0) // limits_B1
        if config.stop_unchanged:
            counts_BK = counts_BK.masked_fill(self.unchanged_B[:, None] >= config.stop_unchanged, 0)
        return counts_BK


def mask_predict(translator: Translator, source_BS: Tensor, config: DecodingConfig, n_best: int = 1) -> list[list[Hypothesis]]:
    """The best hypotheses of each source, of different lengths, the best first; see `refine`.

    The best mean log-probability wins, or with ``rerank: at`` the AT decoder's score; where they are equal the likelier length.
    Sources of one length have targets of many; those whose targets are alike are refined together.
    """
    encoded = translator.encode(source_BS)
    lengths_BK = likeliest_lengths(translator, encoded, config.length_candidates)
    hypotheses: dict[int, list[Hypothesis]] = {}
    longest = lengths_BK.amax(dim=1).tolist()
    for rows in group(longest, lengths_BK.shape[1], token_budget(config.max_tokens_per_batch, source_BS.device)):
        rows_A = torch.tensor(rows, device=source_BS.device)
        part = encoded.only(rows_A)
        *_, found = refine(translator, part, lengths_BK[rows_A], config)
        hypotheses |= dict(zip(rows, ranked(translator, part, found, config, n_best), strict=True))
    return [hypotheses[row] for row in range(len(source_BS))]


def ranked(
    translator: Translator, encoded: Encoded, found: Candidates, config: DecodingConfig, n_best: int
) -> list[list[Hypothesis]]:
    """The best hypotheses among the candidates after their last pass."""
    scores_BK = found.means()
    if config.rerank == "at":
        scores_BK = at_scores(translator, encoded, found.tokens_BKT, found.lengths_BK, config.length_penalty)
    order_BK = scores_BK.argsort(dim=1, descending=True, stable=True)[:, :n_best].tolist()
    lengths, tokens, scores, passes = (
        values.tolist() for values in (found.lengths_BK, found.tokens_BKT, scores_BK, found.passes_BK)
    )
    return [
        [Hypothesis(tuple(tokens[row][k][: lengths[row][k]]), scores[row][k], passes[row][k]) for k in order]
        for row, order in enumerate(order_BK)
    ]


def refine(translator: Translator, encoded: Encoded, lengths_BK: Tensor, config: DecodingConfig) -> Iterator[Candidates]:
    """The candidates after each pass, at least one; the same object, which narrowing may change after the last.

    The first pass predicts every piece. Before pass t + 1 of N the ⌊L·(N − t)/N⌋ pieces of L with the lowest scores are masked;
    pass t + 1 predicts those anew, and a piece keeps the log-probability of the pass that last predicted it. Where nothing is
    left to mask (t > N − N/L) the remaining passes are left out, since they would change nothing. All lengths of a source are
    decoded in parallel. Special tokens are never predicted.

    N is `iterations`, or less for short targets with `pieces_per_iteration`; `narrow_after` ends candidates before their time,
    and `stop_unchanged` sentences.
    """
    memory = translator.nat_memory(encoded)
    found = Candidates.blank(lengths_BK, config)
    active_A = torch.arange(len(lengths_BK), device=lengths_BK.device)
    for done in range(config.iterations):
        if 0 < done == config.narrow_after:
            # By the NAT decoder even where the AT decoder reranks, which misjudges what is unfinished.
            found.narrow(config.narrow_to)
        counts_BK = found.to_predict(done, config)
        goes_on_A = counts_BK[active_A].amax(dim=1) > 0
        if not goes_on_A.all():
            active_A, memory = active_A[goes_on_A], memory.keep(goes_on_A.nonzero().squeeze(1))
        if len(active_A):
            _pass(translator, memory, found, active_A, counts_BK)
            yield found


def likeliest_lengths(translator: Translator, encoded: Encoded, candidates: int) -> Tensor:
    """The likeliest lengths, at least 1 piece each, [B, K]; K is less than asked for where the model has fewer lengths.

    Lengths above `most_pieces` come after all others: a length head that has just begun to learn would ask for a thousand.
    """
    logits_BP = translator.length_logits(encoded)
    is_far_BP = torch.arange(logits_BP.shape[1], device=logits_BP.device) > most_pieces(encoded)[:, None]
    return (logits_BP - 1e6 * is_far_BP).topk(min(candidates, logits_BP.shape[1] - 1)).indices


def _pass(translator: Translator, memory: Memory, found: Candidates, active_A: Tensor, counts_BK: Tensor) -> None:
    """One pass over the active sentences, whose memory that is: predicts their `counts_BK` worst pieces anew, in place."""
    counts_AK = counts_BK[active_A]
    # Sentences that have left, or candidates, may have been the only ones that long.
    longest = int(found.lengths_BK[active_A].max()) + 1
    before_AKT, scores_AKT = found.tokens_BKT[active_A, :, :longest], found.scores_BKT[active_A, :, :longest]
    is_piece_AKT = torch.arange(longest, device=active_A.device) < found.lengths_BK[active_A][:, :, None]
    is_masked_AKT = _worst(scores_AKT, is_piece_AKT, counts_AK)
    places_M = is_masked_AKT.flatten().nonzero().squeeze(1)
    input_AKT = before_AKT.masked_fill(is_masked_AKT, MASK)
    states_MD = translator.nat_states(memory, input_AKT.flatten(0, 1), read_N=places_M)
    scores_M, tokens_M = _likeliest(translator, states_MD)
    tokens_AKT = before_AKT.masked_scatter(is_masked_AKT, tokens_M)

    is_changed_AKT = tokens_AKT != before_AKT
    found.tokens_BKT[active_A, :, :longest] = tokens_AKT
    found.scores_BKT[active_A, :, :longest] = scores_AKT.masked_scatter(is_masked_AKT, scores_M)
    found.is_masked_BKT = _spread(is_masked_AKT, active_A, found.tokens_BKT)
    found.is_changed_BKT = _spread(is_changed_AKT, active_A, found.tokens_BKT)
    found.passes_BK[active_A] += counts_AK > 0
    found.unchanged_B[active_A] = (found.unchanged_B[active_A] + 1) * ~is_changed_AKT.flatten(1).any(dim=1)


def _spread(marks_AKT: Tensor, active_A: Tensor, like_BKT: Tensor) -> Tensor:
    """The active sentences' marks among those of all, which have none."""
    marks_BKT = torch.zeros_like(like_BKT, dtype=torch.bool)
    marks_BKT[active_A, :, : marks_AKT.shape[2]] = marks_AKT
    return marks_BKT


def _worst(scores_BKT: Tensor, is_piece_BKT: Tensor, counts_BK: Tensor) -> Tensor:
    """Marks the `counts_BK` pieces with the lowest scores, of equal ones the leftmost, [B, K, T]."""
    order_BKT = scores_BKT.masked_fill(~is_piece_BKT, torch.inf).argsort(dim=2, stable=True)
    is_early_BKT = torch.arange(scores_BKT.shape[2], device=scores_BKT.device) < counts_BK[:, :, None]
    return torch.zeros_like(is_piece_BKT).scatter(2, order_BKT, is_early_BKT)


def _likeliest(translator: Translator, states_MD: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability and the id of the likeliest piece at each position, [M] both."""
    scores, tokens = [], []
    for logits_mV in blocks_of_logits(translator, states_MD, SPECIAL):
        best_m, token_m = logits_mV.log_softmax(dim=1).max(dim=1)
        scores.append(best_m)
        tokens.append(token_m)
    return torch.cat(scores), torch.cat(tokens)
