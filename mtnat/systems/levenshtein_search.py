"""Decoding of the Levenshtein Transformer (Gu et al. 2019, section 3): a translation is edited until no edit changes it."""

# B sentences, K candidates of each, R = B·K candidates, A active candidates, T tokens, W the width of all drafts,
# P classes of the number of placeholders, M placeholders

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mtnat.decoding import Decoding, Hypothesis
from mtnat.decoding.hypotheses import most_pieces
from mtnat.decoding.replay import Candidate, Pass, Position, Reading, Replay
from mtnat.model import Encoded, Memory
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.systems.edit_decoder import EditDecoder
from mtnat.systems.edit_script import edit_script, without
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

    candidates: ClassVar[str | None] = "length_candidates"

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


@dataclass
class Drafts:
    """The candidates of a batch of sentences, edited iteration by iteration; the K candidates of a sentence are adjacent."""

    tokens_RW: Tensor
    """BOS, the pieces, EOS, then PAD."""
    log_probabilities_R: Tensor
    """Log-probability of all choices that led to the tokens."""
    passes_R: Tensor
    """Number of decoder passes over the candidate."""
    iterations_R: Tensor
    """Number of iterations, with the one that changed nothing."""

    @classmethod
    def blank(cls, candidates: int, width: int, device: torch.device) -> "Drafts":
        """Creates the candidates before the first iteration: PAD only."""
        zeros_R = torch.zeros(candidates, dtype=torch.long, device=device)
        return cls(
            tokens_RW=torch.full((candidates, width), PAD, device=device),
            log_probabilities_R=torch.zeros(candidates, device=device),
            passes_R=zeros_R,
            iterations_R=zeros_R.clone(),
        )

    def scores(self) -> Tensor:
        """Returns the log-probability of each candidate divided by the number of its pieces, [R]."""
        return self.log_probabilities_R / (lengths_of(self.tokens_RW) - 2)

    def tokens_of(self, row: int) -> tuple[int, ...]:
        """Returns the pieces of a candidate."""
        return tuple(self.tokens_RW[row, 1 : int(lengths_of(self.tokens_RW)[row]) - 1].tolist())

    def advance(self, rows_A: Tensor, tokens_AT: Tensor, log_probabilities_A: Tensor, passes_A: Tensor) -> None:
        """Replaces the tokens of some candidates after an iteration."""
        self.tokens_RW[rows_A] = functional.pad(tokens_AT, (0, self.tokens_RW.shape[1] - tokens_AT.shape[1]), value=PAD)
        self.log_probabilities_R[rows_A] += log_probabilities_A
        self.passes_R[rows_A] += passes_A
        self.iterations_R[rows_A] += 1


@dataclass(frozen=True)
class LevenshteinSearch:
    """The search of the Levenshtein Transformer; see `refine`.

    The score of a hypothesis is the log-probability of all choices that led to it, divided by the number of its pieces: the
    numbers of placeholders, the pieces, and which pieces to keep or delete, in all iterations. If the last iteration changed
    nothing, this includes the probability that the translation needs no edit. The score ranks the candidates of one source, and
    cannot be compared with the scores of other systems. Unlike the authors' score, the mean log-probability of the final pieces
    in the passes that inserted them, it tells a translation that lacks a piece from a complete one.

    Candidates that end as the same translation are one hypothesis, so a source may have fewer hypotheses than candidates.
    """

    decoder: EditDecoder
    config: LevenshteinDecoding
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
        return [hypotheses[:n_best] for hypotheses in self._ranked(found, len(encoded.states_BSD))]

    def _ranked(self, found: Drafts, batch: int) -> list[list[Hypothesis]]:
        """Returns the distinct hypotheses of each source, the best first; for equal scores the likelier first length."""
        lengths_R = lengths_of(found.tokens_RW) - 2
        rows = zip(*(each.tolist() for each in (found.tokens_RW, lengths_R, found.scores(), found.passes_R)), strict=True)
        hypotheses = [Hypothesis(tuple(tokens[1 : length + 1]), score, passes) for tokens, length, score, passes in rows]
        size = len(hypotheses) // batch
        ranked = []
        for start in range(0, len(hypotheses), size):
            best: dict[tuple[int, ...], Hypothesis] = {}
            for each in sorted(hypotheses[start : start + size], key=lambda hypothesis: -hypothesis.score):
                best.setdefault(each.tokens, each)
            ranked.append(list(best.values()))
        return ranked

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs all iterations, and then the decoder over the translation. A pass is an iteration here."""
        drafts = [deepcopy(draft) for draft in refine(self.decoder, encoded, self.config)]
        last, scores = drafts[-1], drafts[-1].scores().tolist()
        row = max((row for row in range(len(scores)) if last.tokens_of(row) == found.tokens), key=lambda row: scores[row])
        # Other candidates may take more iterations.
        passes, before = [], torch.tensor([[BOS, EOS]], device=last.tokens_RW.device)
        for number, draft in enumerate(drafts[: int(last.iterations_R[row])], 1):
            passes.append(_pass_of(number, draft, row, before))
            before = draft.tokens_RW[row, None]
        states_1TD = self.decoder.states(encoded, torch.tensor([[BOS, *found.tokens, EOS]], device=before.device))
        kept = self.decoder.deletion_logits(states_1TD).log_softmax(2)[0, 1:-1, 0].tolist()
        pieces = zip(found.tokens, range(len(found.tokens)), kept, found.tokens, strict=True)
        positions = (Position(BOS, reads=BOS), *(Position(*piece) for piece in pieces), Position(EOS, reads=EOS))
        confidence = "probability that the deletion head keeps the piece"
        return Replay((Reading("NAT decoder", self.decoder, positions),), confidence, tuple(passes))

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts all passes.

        This is an estimate: all candidates of a source count as if they had the passes of the best one; each pass but the first
        as if it read the final translation and needed both small heads; and each piece as if it had been inserted once.
        """
        candidates, tokens_B = self.config.length_candidates, pieces_B + 2
        start_B = torch.full_like(source_B, 2)
        total = work.encoder(source_B) + work.memory(source_B) + work.nat_pass(source_B, start_B, start_B)
        total += self.decoder.head_flops(work, 0, len(source_B))
        # One row for each pass of each source.
        rows = torch.arange(len(source_B)).repeat_interleave((passes_B.cpu() - 1).clamp(min=0)).to(source_B.device)
        tokens_N = tokens_B[rows]
        passes = work.nat_pass(source_B[rows], tokens_N, tokens_N)
        heads = self.decoder.head_flops(work, int(tokens_N.sum()), int(tokens_N.sum()) - len(rows))
        total += candidates * (passes + heads + work.vocabulary(int(pieces_B.sum())))
        return total


def _pass_of(number: int, draft: Drafts, row: int, before_1T: Tensor) -> Pass:
    """Returns a candidate after an iteration, given its tokens before it. The inserted pieces were placeholders."""
    tokens, lengths_R = draft.tokens_of(row), lengths_of(draft.tokens_RW) - 2
    inserted = edit_script(before_1T, draft.tokens_RW[row, None]).is_inserted_BY[0, 1 : len(tokens) + 1].tolist()
    scores = draft.scores().tolist()
    candidates = zip(lengths_R.tolist(), scores, strict=True)
    return Pass(
        number=number,
        tokens=tokens,
        is_masked=tuple(inserted),
        is_changed=tuple(inserted),
        log_probabilities=None,
        score=scores[row],
        candidates=tuple(Candidate(*each) for each in candidates),
    )


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
    lengths_BK, log_probabilities_BK = _likeliest_lengths(
        decoder.placeholder_logits(decoder.states(memory, start_B2))[:, 0], limits_B, config.length_candidates
    )
    sentences_R = torch.arange(batch, device=device).repeat_interleave(lengths_BK.shape[1])
    if lengths_BK.shape[1] > 1:
        memory = memory.keep(sentences_R)
    tokens_AT, of_pieces_A, passes_A = _filled(
        decoder, memory, _with_placeholders(start_B2[sentences_R], lengths_BK.flatten()[:, None])
    )
    found = Drafts.blank(len(sentences_R), int(limits_B.max()) + 2, device)
    active_A, limits_A = torch.arange(len(sentences_R), device=device), limits_B[sentences_R]
    found.advance(active_A, tokens_AT, log_probabilities_BK.flatten() + of_pieces_A, passes_A + 1)
    yield found
    for _ in range(1, config.iterations):
        before_AW = found.tokens_RW[active_A]
        width = int(lengths_of(before_AW).max())
        found.advance(active_A, *_edited(decoder, memory, before_AW[:, :width], limits_A, config.placeholder_penalty))
        yield found
        goes_on_A = (found.tokens_RW[active_A] != before_AW).any(1)
        if not goes_on_A.any():
            return
        if not goes_on_A.all():
            rows = goes_on_A.nonzero().squeeze(1)
            active_A, limits_A, memory = active_A[rows], limits_A[rows], memory.keep(rows)


def _likeliest_lengths(logits_BP: Tensor, limits_B: Tensor, candidates: int) -> tuple[Tensor, Tensor]:
    """Returns the likeliest numbers of placeholders between BOS and EOS, at least 1, and their log-probabilities, [B, K] each.

    The likeliest number comes first, and the smallest of equally likely ones. Numbers above the limit rank below all others and
    become the limit. K is smaller than `candidates` if the head has fewer classes.
    """
    numbers_P = torch.arange(logits_BP.shape[1], device=logits_BP.device)
    is_barred_BP = (numbers_P == 0) | (numbers_P > limits_B[:, None])
    log_probabilities_BP = logits_BP.masked_fill(is_barred_BP, -torch.inf).log_softmax(1)[:, 1:]
    best_BK, order_BK = (each[:, :candidates] for each in log_probabilities_BP.sort(dim=1, descending=True, stable=True))
    return torch.minimum(order_BK + 1, limits_B[:, None]), best_BK


def _edited(
    decoder: EditDecoder, memory: Memory, tokens_AT: Tensor, limits_A: Tensor, penalty: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Runs one iteration; returns tokens, the log-probability of the choices, and the number of passes of each candidate."""
    states_ATD = decoder.states(memory, tokens_AT)
    is_piece_AT = (tokens_AT != BOS) & (tokens_AT != EOS) & (tokens_AT != PAD)
    best_AT, choice_AT = decoder.deletion_logits(states_ATD).log_softmax(2).max(2)
    is_deleted_AT = (choice_AT == 1) & is_piece_AT
    is_shorter_A = is_deleted_AT.any(1)
    if is_shorter_A.any():
        rows = is_shorter_A.nonzero().squeeze(1)
        tokens_AT = without(is_deleted_AT, tokens_AT, PAD)
        states_ATD = states_ATD.index_copy(0, rows, decoder.states(memory.keep(rows), tokens_AT[rows]))

    counts_AG, of_counts_A = _placeholders(decoder.placeholder_logits(states_ATD), lengths_of(tokens_AT) - 2, limits_A, penalty)
    tokens_AT, of_pieces_A, passes_A = _filled(decoder, memory, _with_placeholders(tokens_AT, counts_AG))
    return tokens_AT, (best_AT * is_piece_AT).sum(1) + of_counts_A + of_pieces_A, passes_A + 1 + is_shorter_A


def _placeholders(logits_AGP: Tensor, pieces_A: Tensor, limits_A: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Chooses the number of placeholders in each gap, [A, G], where G = T − 1 is the number of gaps.

    The log-probability of the choices, [A], is that of the classes that are possible, with the penalty.
    """
    room_A1 = (limits_A - pieces_A)[:, None]
    gaps, classes = logits_AGP.shape[1:]
    numbers_P = torch.arange(classes, device=logits_AGP.device)
    is_none_P = numbers_P == 0
    is_barred_AP = (numbers_P > room_A1) | (is_none_P & (pieces_A == 0)[:, None])
    logits_AGP = (logits_AGP - penalty * is_none_P).masked_fill(is_barred_AP[:, None], -torch.inf)
    # Gap g lies before piece g, and the last one before EOS.
    is_gap_AG = torch.arange(gaps, device=logits_AGP.device) <= pieces_A[:, None]
    up_to_AG = torch.minimum((logits_AGP.argmax(2) * is_gap_AG).cumsum(1), room_A1)
    counts_AG = up_to_AG.diff(dim=1, prepend=torch.zeros_like(room_A1))
    chosen_AG = logits_AGP.log_softmax(2).gather(2, counts_AG[:, :, None]).squeeze(2)
    return counts_AG, chosen_AG.masked_fill(~is_gap_AG, 0).sum(1)


def _with_placeholders(tokens_AT: Tensor, counts_AG: Tensor) -> Tensor:
    """Inserts placeholders: `counts_AG` of them after each token but the last one."""
    places_AT = torch.arange(tokens_AT.shape[1], device=tokens_AT.device) + functional.pad(counts_AG.cumsum(1), (1, 0))
    lengths_A1 = (lengths_of(tokens_AT) + counts_AG.sum(1))[:, None]
    width = int(lengths_A1.max())
    # PAD goes to a further column, which is dropped.
    places_AT = places_AT.masked_fill(tokens_AT == PAD, width)
    tokens_AW = torch.full((len(tokens_AT), width + 1), MASK, device=tokens_AT.device).scatter_(1, places_AT, tokens_AT)
    return tokens_AW[:, :width].masked_fill(torch.arange(width, device=tokens_AT.device) >= lengths_A1, PAD)


def _filled(decoder: EditDecoder, memory: Memory, tokens_AT: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Replaces the placeholders by the likeliest pieces.

    Only the candidates with placeholders are read, and the last layer computes the placeholders only.

    Returns:
        tokens [A, T], the log-probability of the pieces [A], and the number of passes [A], 1 where there were placeholders.
    """
    is_masked_AT = tokens_AT == MASK
    has_placeholders_A = is_masked_AT.any(1)
    of_pieces_AT = torch.zeros(tokens_AT.shape, device=tokens_AT.device)
    rows = has_placeholders_A.nonzero().squeeze(1)
    if len(rows):
        places_M = is_masked_AT[rows].flatten().nonzero().squeeze(1)
        some = memory if len(rows) == len(tokens_AT) else memory.keep(rows)
        scores_M, pieces_M = decoder.fill(decoder.states(some, tokens_AT[rows], read_N=places_M))
        tokens_AT = tokens_AT.masked_scatter(is_masked_AT, pieces_M)
        of_pieces_AT = of_pieces_AT.masked_scatter(is_masked_AT, scores_M)
    return tokens_AT, of_pieces_AT.sum(1), has_placeholders_A.long()
