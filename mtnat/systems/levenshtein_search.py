"""Decoding of the Levenshtein Transformer (Gu et al. 2019, section 3): a translation is edited until no edit changes it."""

# B sentences, K candidates of each, R = B·K candidates, A active candidates, T tokens, W the width of all drafts,
# P classes of the number of placeholders, M placeholders

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional

from mtnat.decoding import Decoding, Hypothesis
from mtnat.decoding.hypotheses import most_pieces
from mtnat.decoding.rerank import at_scores, rerank_flops
from mtnat.model import Encoded, Memory, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.systems.edit_decoder import EditDecoder
from mtnat.systems.edit_script import without
from mtnat.tokens import BOS, EOS, MASK, PAD

_PAPER: Mapping[str, Any] = {
    "iterations": 10,
    "placeholder_penalty": 0.0,
    "length_candidates": 1,
    "rerank": "none",
    "precision": "fp32",
}


class LevenshteinDecoding(Decoding):
    """Decoding of the Levenshtein Transformer: iterations of deletion, insertion of placeholders, and their replacement."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER, "fast": {**_PAPER, "precision": "auto"}}

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1 iteration": {**_PAPER, "iterations": 1},
        **{f"{iterations} iterations": {**_PAPER, "iterations": iterations} for iterations in (2, 4, 10)},
        "fast": presets["fast"],
        "5 lengths": {**_PAPER, "length_candidates": 5},
    }

    kind: Literal["levenshtein"] = "levenshtein"
    iterations: int = Field(10, ge=1, le=100)
    """Maximum number of iterations; a translation that an iteration leaves unchanged is finished. An iteration deletes pieces,
    inserts placeholders and replaces them, which takes one to three passes of the decoder; the first one deletes nothing and
    takes two."""
    placeholder_penalty: float = Field(0.0, ge=0, le=100)
    """Penalty that is subtracted from the log-probability of inserting no placeholder into a gap (authors' recommendation: 0 to
    3, tuned). A larger penalty makes translations longer."""
    length_candidates: int = Field(1, ge=1, le=50)
    """Number of translations that are edited in parallel: the first insertion, into an empty sequence, takes this many numbers
    of placeholders, the likeliest ones. The best result is chosen by its score, or by the AT decoder with `rerank` (authors'
    code: 1)."""

    @model_validator(mode="after")
    def _has_candidates(self) -> Self:
        if self.rerank != "none" and self.length_candidates == 1:
            raise ValueError(
                "rerank: at needs several translations to choose from; got length_candidates 1; raise it to 2 or more"
            )
        return self


@dataclass
class Drafts:
    """The candidates of a batch of sentences, edited iteration by iteration; the K candidates of a sentence are adjacent."""

    tokens_RW: Tensor
    """BOS, the pieces, EOS, then PAD."""
    scores_RW: Tensor
    """Log-probability of each piece in the pass that inserted it; 0 at other tokens."""
    passes_R: Tensor
    """Number of decoder passes over the candidate."""
    iterations_R: Tensor
    """Number of iterations, with the one that changed nothing."""

    def put(self, rows_A: Tensor, tokens_AT: Tensor, scores_AT: Tensor) -> None:
        """Replaces some candidates."""
        missing = self.tokens_RW.shape[1] - tokens_AT.shape[1]
        self.tokens_RW[rows_A] = functional.pad(tokens_AT, (0, missing), value=PAD)
        self.scores_RW[rows_A] = functional.pad(scores_AT, (0, missing))

    def means(self) -> Tensor:
        """Returns the mean log-probability of the pieces, [R]."""
        return self.scores_RW.sum(1) / (lengths_of(self.tokens_RW) - 2)


@dataclass(frozen=True)
class LevenshteinSearch:
    """The search of the Levenshtein Transformer; see `refine`.

    The score of a single candidate is the authors': the mean log-probability of its pieces, each in the pass that inserted it,
    in a context that may have changed since. Unlike in their code, BOS and EOS do not count as pieces with log-probability 0.

    This mean cannot rank candidates of different lengths: a text that lacks pieces may consist of pieces that are all likely.
    The scores of several candidates therefore include the log-probability that the text needs no edit, from one further pass:
    that all pieces are kept and all gaps get no placeholder. Their sum is divided by the number of pieces. With a reranker the
    score is the AT decoder's. Only the latter can be compared with scores of other systems.

    Candidates that end as the same translation are one hypothesis, so a source may have fewer hypotheses than candidates.
    """

    decoder: EditDecoder
    config: LevenshteinDecoding
    reranker: TargetDecoder | None = None
    is_stepwise = False

    @property
    def copies(self) -> int:
        return self.config.length_candidates

    @property
    def most(self) -> tuple[str, int]:
        return "length_candidates", self.config.length_candidates

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source."""
        *_, found = refine(self.decoder, encoded, self.config)
        return [hypotheses[:n_best] for hypotheses in self._ranked(encoded, found)]

    def _ranked(self, encoded: Encoded, found: Drafts) -> list[list[Hypothesis]]:
        """Returns the distinct hypotheses of each source, the best first; for equal scores the likelier first length."""
        batch, lengths_R = len(encoded.states_BSD), lengths_of(found.tokens_RW) - 2
        scores_R = found.means()
        if self.reranker is None and self.config.length_candidates > 1:
            scores_R = scores_R + _no_edit(self.decoder, encoded, found.tokens_RW) / lengths_R
        if self.reranker is not None:
            tokens_RT = found.tokens_RW[:, 1:]
            tokens_BKT, lengths_BK = tokens_RT.reshape(batch, -1, tokens_RT.shape[1]), lengths_R.view(batch, -1)
            scores_R = at_scores(self.reranker, encoded, tokens_BKT, lengths_BK, self.config.length_penalty).flatten()
        rows = zip(*(each.tolist() for each in (found.tokens_RW, lengths_R, scores_R, found.passes_R)), strict=True)
        hypotheses = [Hypothesis(tuple(tokens[1 : length + 1]), score, passes) for tokens, length, score, passes in rows]
        size = len(hypotheses) // batch
        ranked = []
        for start in range(0, len(hypotheses), size):
            best: dict[tuple[int, ...], Hypothesis] = {}
            for each in sorted(hypotheses[start : start + size], key=lambda hypothesis: -hypothesis.score):
                best.setdefault(each.tokens, each)
            ranked.append(list(best.values()))
        return ranked

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts all passes, with the one that scores several candidates, by this decoder or the AT decoder.

        This is an estimate: all candidates of a source count as if they had the passes of the best one; each pass but the first
        as if it read the final translation and needed both small heads; and each piece as if it had been inserted once.
        """
        candidates, tokens_B = self.config.length_candidates, pieces_B + 2
        scoring = int(self.reranker is None and candidates > 1)
        start_B = torch.full_like(source_B, 2)
        total = work.encoder(source_B) + work.memory(source_B) + work.nat_pass(source_B, start_B, start_B)
        total += self.decoder.head_flops(work, 0, len(source_B))
        # One row for each pass of each source.
        further_B = passes_B.cpu() - 1 + scoring
        rows = torch.arange(len(source_B)).repeat_interleave(further_B).to(source_B.device)
        tokens_N = tokens_B[rows]
        passes = work.nat_pass(source_B[rows], tokens_N, tokens_N)
        heads = self.decoder.head_flops(work, int(tokens_N.sum()), int(tokens_N.sum()) - len(rows))
        total += candidates * (passes + heads + work.vocabulary(int(pieces_B.sum())))
        if self.reranker is not None:
            total += rerank_flops(work, source_B, pieces_B, candidates)
        return total


def refine(decoder: EditDecoder, encoded: Encoded, config: LevenshteinDecoding) -> Iterator[Drafts]:
    """Edits all candidates in parallel and yields them after each iteration, at least once.

    The first iteration starts from BOS and EOS: it inserts placeholders and replaces them by pieces. Each further iteration
    deletes pieces, inserts placeholders and replaces them; every choice is the likeliest one. A candidate that an iteration
    leaves unchanged is finished, because further iterations would repeat it. `iterations` is the maximum, where the authors'
    code makes one iteration more than its setting.

    The three steps differ from the authors' code as follows. A translation has at most `most_pieces` pieces: a gap gets no more
    placeholders than there is room for, and if all gaps together get too many, the leftmost ones get theirs first. (Theirs
    limits each gap only.) An empty sequence gets at least one placeholder, because no target is empty. A candidate from which
    nothing is deleted needs no further pass before the insertion, because the decoder has already read it.

    The candidates do not depend on each other: a finished one leaves the batch. The same object is yielded each time and
    modified in place.
    """
    batch, device = len(encoded.states_BSD), encoded.states_BSD.device
    memory = decoder.remember(encoded)
    limits_B = most_pieces(encoded).clamp(max=decoder.most_pieces)
    start_B2 = torch.tensor([[BOS, EOS]], device=device).expand(batch, -1)
    lengths_BK = _likeliest_lengths(decoder, decoder.states(memory, start_B2), limits_B, config.length_candidates)
    sentences_R = torch.arange(batch, device=device).repeat_interleave(lengths_BK.shape[1])
    limits_A = limits_B[sentences_R]
    if lengths_BK.shape[1] > 1:
        memory = memory.keep(sentences_R)
    found = _drafts(len(sentences_R), int(limits_B.max()) + 2, device)
    active_A = torch.arange(len(sentences_R), device=device)

    tokens_AT, scores_AT = _inserted(
        start_B2[sentences_R], torch.zeros(len(active_A), 2, device=device), lengths_BK.flatten()[:, None]
    )
    filled_A = _fill(decoder, memory, tokens_AT, scores_AT)
    found.passes_R += 1 + filled_A
    found.iterations_R += 1
    found.put(active_A, tokens_AT, scores_AT)
    yield found
    for _ in range(1, config.iterations):
        before_AW = found.tokens_RW[active_A]
        width = int(lengths_of(before_AW).max())
        tokens_AT, scores_AT, passes_A = _edited(
            decoder, memory, before_AW[:, :width], found.scores_RW[active_A][:, :width], limits_A, config.placeholder_penalty
        )
        found.put(active_A, tokens_AT, scores_AT)
        found.passes_R[active_A] += passes_A
        found.iterations_R[active_A] += 1
        yield found
        goes_on_A = (found.tokens_RW[active_A] != before_AW).any(1)
        if not goes_on_A.any():
            return
        if not goes_on_A.all():
            rows = goes_on_A.nonzero().squeeze(1)
            active_A, limits_A, memory = active_A[rows], limits_A[rows], memory.keep(rows)


def _drafts(count: int, width: int, device: torch.device) -> Drafts:
    """Creates the candidates before the first iteration."""
    zeros_R = torch.zeros(count, dtype=torch.long, device=device)
    tokens_RW = torch.full((count, width), PAD, device=device)
    scores_RW = torch.zeros(count, width, device=device)
    return Drafts(tokens_RW=tokens_RW, scores_RW=scores_RW, passes_R=zeros_R, iterations_R=zeros_R.clone())


def _likeliest_lengths(decoder: EditDecoder, states_B2D: Tensor, limits_B: Tensor, candidates: int) -> Tensor:
    """Returns the likeliest numbers of placeholders between BOS and EOS, at least 1 and the likeliest first, [B, K].

    Of equally likely numbers the smallest comes first. Numbers above the limit rank below all others and become the limit. K is
    smaller than `candidates` if the head has fewer classes.
    """
    logits_BP = decoder.placeholder_logits(states_B2D)[:, 0, 1:]
    is_far_BP = torch.arange(1, logits_BP.shape[1] + 1, device=logits_BP.device) > limits_B[:, None]
    order_BP = logits_BP.masked_fill(is_far_BP, -torch.inf).argsort(dim=1, descending=True, stable=True)
    return torch.minimum(order_BP[:, :candidates] + 1, limits_B[:, None])


def _edited(
    decoder: EditDecoder, memory: Memory, tokens_AT: Tensor, scores_AT: Tensor, limits_A: Tensor, penalty: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs one iteration; returns tokens, scores, and the number of passes over each candidate."""
    passes_A = torch.ones_like(limits_A)
    states_ATD = decoder.states(memory, tokens_AT)
    logits_AT2 = decoder.deletion_logits(states_ATD)
    is_deleted_AT = (logits_AT2[:, :, 1] > logits_AT2[:, :, 0]) & (tokens_AT != BOS) & (tokens_AT != EOS) & (tokens_AT != PAD)
    is_shorter_A = is_deleted_AT.any(1)
    if is_shorter_A.any():
        rows = is_shorter_A.nonzero().squeeze(1)
        tokens_AT, scores_AT = without(is_deleted_AT, tokens_AT, PAD), without(is_deleted_AT, scores_AT, 0)
        states_ATD = states_ATD.index_copy(0, rows, decoder.states(memory.keep(rows), tokens_AT[rows]))
        passes_A += is_shorter_A

    counts_AT = _placeholders(decoder.placeholder_logits(states_ATD), lengths_of(tokens_AT) - 2, limits_A, penalty)
    tokens_AT, scores_AT = _inserted(tokens_AT, scores_AT, counts_AT)
    passes_A += _fill(decoder, memory, tokens_AT, scores_AT)
    return tokens_AT, scores_AT, passes_A


def _placeholders(logits_AGP: Tensor, pieces_A: Tensor, limits_A: Tensor, penalty: float) -> Tensor:
    """Chooses the number of placeholders in each gap, [A, G], where G = T − 1 is the number of gaps."""
    room_A1 = (limits_A - pieces_A)[:, None]
    gaps, classes = logits_AGP.shape[1:]
    classes_P = torch.arange(classes, device=logits_AGP.device)
    is_none_P = classes_P == 0
    logits_AGP = logits_AGP - penalty * is_none_P
    is_barred_AP = (classes_P > room_A1) | (is_none_P & (pieces_A == 0)[:, None])
    counts_AG = logits_AGP.masked_fill(is_barred_AP[:, None], -torch.inf).argmax(2)
    # Gap g lies before piece g, and the last one before EOS.
    counts_AG = counts_AG * (torch.arange(gaps, device=counts_AG.device) <= pieces_A[:, None])
    up_to_AG = torch.minimum(counts_AG.cumsum(1), room_A1)
    return up_to_AG.diff(dim=1, prepend=torch.zeros_like(room_A1))


def _inserted(tokens_AT: Tensor, scores_AT: Tensor, counts_AG: Tensor) -> tuple[Tensor, Tensor]:
    """Inserts placeholders after tokens: `counts_AG` of them after each token but the last one."""
    places_AT = torch.arange(tokens_AT.shape[1], device=tokens_AT.device) + functional.pad(counts_AG.cumsum(1), (1, 0))
    lengths_A1 = (lengths_of(tokens_AT) + counts_AG.sum(1))[:, None]
    width = int(lengths_A1.max())
    # PAD goes to a further column, which is dropped.
    places_AT = places_AT.masked_fill(tokens_AT == PAD, width)
    longer = (len(tokens_AT), width + 1)
    tokens_AW = torch.full(longer, MASK, device=tokens_AT.device).scatter_(1, places_AT, tokens_AT)[:, :width]
    scores_AW = torch.zeros(longer, device=tokens_AT.device).scatter_(1, places_AT, scores_AT)[:, :width]
    is_padding_AW = torch.arange(width, device=tokens_AT.device) >= lengths_A1
    return tokens_AW.masked_fill(is_padding_AW, PAD), scores_AW


def _fill(decoder: EditDecoder, memory: Memory, tokens_AT: Tensor, scores_AT: Tensor) -> Tensor:
    """Replaces the placeholders by the likeliest pieces, in place; returns which candidates had placeholders, [A].

    Only these candidates are read, and the last layer computes the placeholders only.
    """
    is_masked_AT = tokens_AT == MASK
    has_placeholders_A = is_masked_AT.any(1)
    rows = has_placeholders_A.nonzero().squeeze(1)
    if len(rows):
        places_M = is_masked_AT[rows].flatten().nonzero().squeeze(1)
        some = memory if len(rows) == len(tokens_AT) else memory.keep(rows)
        scores_M, pieces_M = decoder.fill(decoder.states(some, tokens_AT[rows], read_N=places_M))
        tokens_AT.masked_scatter_(is_masked_AT, pieces_M)
        scores_AT.masked_scatter_(is_masked_AT, scores_M)
    return has_placeholders_A


def _no_edit(decoder: EditDecoder, encoded: Encoded, tokens_RT: Tensor) -> Tensor:
    """Computes the log-probability that a text needs no edit: all pieces are kept and no gap gets a placeholder, [R]."""
    states_RTD = decoder.states(decoder.remember(encoded), tokens_RT)
    keeps_RT = decoder.deletion_logits(states_RTD).log_softmax(2)[:, :, 0]
    none_RG = decoder.placeholder_logits(states_RTD).log_softmax(2)[:, :, 0]
    is_piece_RT = (tokens_RT != BOS) & (tokens_RT != EOS) & (tokens_RT != PAD)
    return (keeps_RT * is_piece_RT).sum(1) + (none_RG * (tokens_RT[:, 1:] != PAD)).sum(1)
