"""Mask-predict (Ghazvininejad et al. 2019, section 3): iterative decoding with the NAT decoder."""

# B sentences, A active sentences, K length candidates, T target, P max_positions, V vocabulary, M masked positions of all A·K
# candidates

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from mtnat.decoding.batching import group, token_budget
from mtnat.decoding.config import Decoding
from mtnat.decoding.hypotheses import Hypothesis, most_pieces, ranked
from mtnat.decoding.logits import likeliest_pieces
from mtnat.decoding.replay import Candidate, Pass, Position, Reading, Replay
from mtnat.model import Encoded, Memory, TargetDecoder
from mtnat.model.flops import ModelFlops
from mtnat.model.lengths import LengthHead
from mtnat.tokens import EOS, MASK, PAD

_PAPER: Mapping[str, Any] = {
    "iterations": 10,
    "length_candidates": 5,
    "pieces_per_iteration": 0.0,
    "narrow_after": 0,
    "stop_unchanged": 0,
    "rerank": "none",
    "precision": "fp32",
}
_NARROW: Mapping[str, Any] = {**_PAPER, "narrow_after": 1, "precision": "auto"}


class MaskPredictDecoding(Decoding):
    """Mask-predict (Ghazvininejad et al. 2019, section 3) with several length candidates; one iteration is single-pass
    decoding."""

    # paper: the settings of Hao et al. 2021, A.1. fast: almost the same quality in a third of the time, and better quality if
    # the AT decoder reranks. fastest: faster than beam search.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": _PAPER,
        "fast": {**_NARROW, "iterations": 8, "length_candidates": 4, "narrow_to": 2},
        "fastest": {**_NARROW, "iterations": 4, "length_candidates": 3, "narrow_to": 1},
    }

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **{("1 pass" if passes == 1 else f"{passes} passes"): {**_PAPER, "iterations": passes} for passes in (1, 2, 4, 10)},
        "fast": presets["fast"],
        "fastest": presets["fastest"],
    }

    kind: Literal["mask-predict"] = "mask-predict"
    iterations: int = Field(10, ge=1, le=100)
    """Maximum number of passes of the NAT decoder, including the first."""
    pieces_per_iteration: float = Field(0.0, ge=0)
    """Pieces per pass: a target takes its likeliest length divided by this many passes, at most `iterations`, so short targets
    take fewer. 0 gives every target `iterations` passes."""
    length_candidates: int = Field(5, ge=1, le=50)
    """Number of target lengths that are decoded in parallel, the likeliest ones. The authors' code decodes the likeliest length
    and its neighbours instead."""
    narrow_after: int = Field(0, ge=0, le=100)
    """Number of passes after which only the best length candidates are kept; 0 keeps all."""
    narrow_to: int = Field(1, ge=1, le=50)
    """Number of length candidates kept after `narrow_after` passes, those with the best mean log-probability."""
    stop_unchanged: int = Field(0, ge=0, le=100)
    """Number of consecutive passes without a changed piece after which a sentence is finished; 0 disables this."""


@dataclass
class Candidates:
    """The length candidates of a batch of sentences, refined pass by pass."""

    lengths_BK: Tensor
    """Number of pieces; the candidates of a sentence all have different lengths."""
    tokens_BKT: Tensor
    """The pieces, then EOS, then PAD."""
    scores_BKT: Tensor
    """Log-probability of each piece in the pass that last predicted it; 0 at EOS and PAD."""
    is_masked_BKT: Tensor
    """The pieces that the last pass predicted."""
    is_changed_BKT: Tensor
    """The pieces that the last pass changed."""
    passes_BK: Tensor
    """Number of passes that predicted a piece of the candidate."""
    limits_B: Tensor
    """N, the maximum number of passes of each sentence."""
    unchanged_B: Tensor
    """Number of consecutive passes that changed no piece of any candidate of the sentence."""

    @classmethod
    def blank(cls, lengths_BK: Tensor, config: MaskPredictDecoding) -> "Candidates":
        """Creates the candidates before the first pass: MASK for each piece."""
        limits_B = torch.full_like(lengths_BK[:, 0], config.iterations)
        if config.pieces_per_iteration > 0:
            # N depends on the likeliest length and is the same for all candidates of a sentence. A candidate with more passes
            # would have better scores, and the comparison of candidates would be unfair.
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
        """Returns the mean log-probability of the pieces, [B, K]."""
        return self.scores_BKT.sum(dim=2) / self.lengths_BK

    def narrow(self, size: int) -> None:
        """Keeps the `size` candidates of each sentence with the best means; for equal means the likelier length."""
        order_BK = self.means().argsort(dim=1, descending=True, stable=True)[:, :size].sort(dim=1).values
        rows_B1 = torch.arange(len(order_BK), device=order_BK.device)[:, None]
        for name, value in list(vars(self).items()):
            if value.ndim > 1:  # fields by candidate; the others have one value per sentence
                setattr(self, name, value[rows_B1, order_BK])

    def to_predict(self, done: int, config: MaskPredictDecoding) -> Tensor:
        """Returns the number of pieces of each candidate that the next pass predicts, [B, K], after `done` passes.

        This is ⌊L·(N − done)/N⌋ for a candidate with L pieces, and 0 after N passes or if the sentence is finished early.
        """
        limits_B1 = self.limits_B[:, None]
        counts_BK = self.lengths_BK * (limits_B1 - done).clamp(min=0) // limits_B1
        if config.stop_unchanged:
            counts_BK = counts_BK.masked_fill(self.unchanged_B[:, None] >= config.stop_unchanged, 0)
        return counts_BK


@dataclass(frozen=True)
class MaskPredictSearch:
    """Mask-predict; see `refine`.

    Candidates are ranked by mean log-probability; for equal scores the likelier length comes first.
    """

    decoder: TargetDecoder
    length_head: LengthHead
    config: MaskPredictDecoding
    copies = 1  # `__call__` groups the candidates itself
    is_stepwise = False

    @property
    def most(self) -> tuple[str, int]:
        narrows = self.config.narrow_after and self.config.narrow_to < self.config.length_candidates
        setting = "narrow_to" if narrows else "length_candidates"
        return setting, getattr(self.config, setting)

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source; they have different lengths.

        Sources of equal length can have targets of very different lengths. Sources are therefore grouped again, by the longest
        of their length candidates, so that little padding is decoded.
        """
        lengths_BK = likeliest_lengths(self.length_head, encoded, self.config.length_candidates)
        hypotheses: dict[int, list[Hypothesis]] = {}
        longest = lengths_BK.amax(dim=1).tolist()
        device = lengths_BK.device
        for rows in group(longest, lengths_BK.shape[1], token_budget(self.config.max_tokens_per_batch, device)):
            rows_A = torch.tensor(rows, device=device)
            part = encoded.only(rows_A)
            *_, found = refine(self.decoder, part, lengths_BK[rows_A], self.config)
            best = ranked(found.tokens_BKT, found.lengths_BK, found.means(), found.passes_BK, n_best)
            hypotheses |= dict(zip(rows, best, strict=True))
        return [hypotheses[row] for row in range(len(lengths_BK))]

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs all passes, and then the decoder over the input of the last pass that predicted a piece."""
        lengths_1K = likeliest_lengths(self.length_head, encoded, self.config.length_candidates)
        # The best candidate is only known after the last pass, so the states of all candidates are kept.
        states = [deepcopy(state) for state in refine(self.decoder, encoded, lengths_1K, self.config)]
        every = (_pass_of(number, state, len(found.tokens)) for number, state in enumerate(states, 1))
        passes = tuple(each for each in every if any(each.is_masked))
        last = passes[-1]
        reads = [MASK if masked else token for token, masked in zip(last.tokens, last.is_masked, strict=True)]
        self.decoder.states(encoded, torch.tensor([[*reads, EOS]], device=lengths_1K.device))
        assert last.log_probabilities is not None
        pieces = zip(last.tokens, range(len(reads)), last.log_probabilities, reads, strict=True)
        positions = (*(Position(*piece) for piece in pieces), Position(EOS, reads=EOS))
        return Replay(
            (Reading("NAT decoder", self.decoder, positions),),
            "probability of the piece in the pass that last predicted it",
            passes,
        )

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts all passes.

        All candidates of a source count as if they had the length and the passes of the best one. This is a close estimate: the
        lengths are usually similar, and the candidates of a source share N.
        """
        total = work.encoder(source_B) + work.lengths(len(source_B)) + work.memory(source_B)
        for done in range(int(passes_B.max())):
            goes_on_B = passes_B > done
            source_A, pieces_A = source_B[goes_on_B], pieces_B[goes_on_B]
            read_A = Candidates.blank(pieces_A[:, None], self.config).to_predict(done, self.config).squeeze(1)
            one = work.nat_pass(source_A, pieces_A + 1, read_A) + work.vocabulary(int(read_A.sum()))
            total += self._tried(done) * one
        return total

    def _tried(self, done: int) -> int:
        """Returns the number of length candidates that are left after `done` passes."""
        candidates = min(self.config.length_candidates, self.decoder.config.max_positions - 1)
        return min(candidates, self.config.narrow_to) if 0 < self.config.narrow_after <= done else candidates


def _pass_of(number: int, state: Candidates, length: int) -> Pass:
    """Returns the state of the candidate with this length after one pass."""
    lengths = state.lengths_BK[0].tolist()
    place = 0, lengths.index(length)
    means = state.means()[0].tolist()
    return Pass(
        number=number,
        tokens=tuple(state.tokens_BKT[place][:length].tolist()),
        is_masked=tuple(state.is_masked_BKT[place][:length].tolist()),
        is_changed=tuple(state.is_changed_BKT[place][:length].tolist()),
        log_probabilities=tuple(state.scores_BKT[place][:length].tolist()),
        score=means[place[1]],
        candidates=tuple(Candidate(*each) for each in zip(lengths, means, strict=True)),
    )


def refine(decoder: TargetDecoder, encoded: Encoded, lengths_BK: Tensor, config: MaskPredictDecoding) -> Iterator[Candidates]:
    """Decodes all length candidates in parallel and yields them after each pass, at least once.

    The first pass predicts every piece. After t of N passes, the ⌊L·(N − t)/N⌋ of the L pieces with the lowest scores are
    masked, and pass t + 1 predicts them again (Ghazvininejad et al. 2019, section 3.1). The score of a piece is its
    log-probability in the pass that last predicted it; it is not recomputed when the context changes. Passes that would mask
    nothing (t > N − N/L) are skipped. Special tokens are never predicted.

    N is `iterations`, or less for short targets with `pieces_per_iteration`. `narrow_after` drops candidates, and
    `stop_unchanged` ends a sentence with all its candidates.

    The same object is yielded each time and modified in place. Narrowing can modify it after the last pass as well.
    """
    memory = decoder.remember(encoded)
    found = Candidates.blank(lengths_BK, config)
    active_A = torch.arange(len(lengths_BK), device=lengths_BK.device)
    for done in range(config.iterations):
        if 0 < done == config.narrow_after:
            # By the NAT decoder's scores even if the AT decoder reranks: the AT decoder misjudges unfinished candidates.
            found.narrow(config.narrow_to)
        counts_BK = found.to_predict(done, config)
        # A sentence without masked pieces is finished and leaves the batch of active sentences.
        goes_on_A = counts_BK[active_A].amax(dim=1) > 0
        if not goes_on_A.all():
            active_A, memory = active_A[goes_on_A], memory.keep(goes_on_A.nonzero().squeeze(1))
        if len(active_A):
            _pass(decoder, memory, found, active_A, counts_BK)
            yield found


def likeliest_lengths(length_head: LengthHead, encoded: Encoded, candidates: int) -> Tensor:
    """Returns the likeliest lengths, the likeliest first, [B, K]. K is smaller than `candidates` if the model has fewer
    lengths.

    Length 0 is never returned. Lengths above `most_pieces` rank below all others, because a length head that is hardly trained
    may predict a thousand pieces.
    """
    logits_BP: Tensor = length_head(encoded.states_BSD, encoded.is_padding_BS)
    is_far_BP = torch.arange(logits_BP.shape[1], device=logits_BP.device) > most_pieces(encoded)[:, None]
    return (logits_BP - 1e6 * is_far_BP).topk(min(candidates, logits_BP.shape[1] - 1)).indices


def _pass(decoder: TargetDecoder, memory: Memory, found: Candidates, active_A: Tensor, counts_BK: Tensor) -> None:
    """Runs one pass over the active sentences: masks their `counts_BK` worst pieces and predicts them, in place.

    Args:
        memory: memory of the active sentences only.
    """
    counts_AK = counts_BK[active_A]
    # The longest sentences or candidates may be gone, so the pass computes no more columns than the active ones need.
    longest = int(found.lengths_BK[active_A].max()) + 1
    before_AKT, scores_AKT = found.tokens_BKT[active_A, :, :longest], found.scores_BKT[active_A, :, :longest]
    is_piece_AKT = torch.arange(longest, device=active_A.device) < found.lengths_BK[active_A][:, :, None]
    is_masked_AKT = _worst(scores_AKT, is_piece_AKT, counts_AK)
    # Logits are needed at masked positions only, so the last layer computes these M positions and no others.
    places_M = is_masked_AKT.flatten().nonzero().squeeze(1)
    input_AKT = before_AKT.masked_fill(is_masked_AKT, MASK)
    states_MD = decoder.states(memory, input_AKT.flatten(0, 1), read_N=places_M)
    scores_M, tokens_M = likeliest_pieces(decoder, states_MD)
    tokens_AKT = before_AKT.masked_scatter(is_masked_AKT, tokens_M)

    is_changed_AKT = tokens_AKT != before_AKT
    found.tokens_BKT[active_A, :, :longest] = tokens_AKT
    found.scores_BKT[active_A, :, :longest] = scores_AKT.masked_scatter(is_masked_AKT, scores_M)
    found.is_masked_BKT = _spread(is_masked_AKT, active_A, found.tokens_BKT)
    found.is_changed_BKT = _spread(is_changed_AKT, active_A, found.tokens_BKT)
    found.passes_BK[active_A] += counts_AK > 0
    found.unchanged_B[active_A] = (found.unchanged_B[active_A] + 1) * ~is_changed_AKT.flatten(1).any(dim=1)


def _spread(marks_AKT: Tensor, active_A: Tensor, like_BKT: Tensor) -> Tensor:
    """Expands marks of the active sentences to all sentences; the others are False."""
    marks_BKT = torch.zeros_like(like_BKT, dtype=torch.bool)
    marks_BKT[active_A, :, : marks_AKT.shape[2]] = marks_AKT
    return marks_BKT


def _worst(scores_BKT: Tensor, is_piece_BKT: Tensor, counts_BK: Tensor) -> Tensor:
    """Marks the `counts_BK` pieces with the lowest scores, [B, K, T]; for equal scores the leftmost."""
    order_BKT = scores_BKT.masked_fill(~is_piece_BKT, torch.inf).argsort(dim=2, stable=True)
    # `order[i]` is the position with the i-th lowest score; the first `counts` of these positions are marked.
    is_early_BKT = torch.arange(scores_BKT.shape[2], device=scores_BKT.device) < counts_BK[:, :, None]
    return torch.zeros_like(is_piece_BKT).scatter(2, order_BKT, is_early_BKT)
