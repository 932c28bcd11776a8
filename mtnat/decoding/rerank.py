"""Reranking of the NAT decoder's candidates by the AT decoder, which NAT inference otherwise does not need."""

# B sentences, K candidates, T target

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtnat.decoding.batching import group, token_budget
from mtnat.decoding.config import Decoding
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.logits import FORBIDDEN_TO_AT
from mtnat.decoding.search import WrappedSearch
from mtnat.decoding.teacher_forcing import forced_log_probabilities
from mtnat.model import Encoded, TargetDecoder
from mtnat.model.flops import ModelFlops
from mtnat.tokens import EOS


def at_scores(
    decoder: TargetDecoder, encoded: Encoded, tokens_BKT: Tensor, lengths_BK: Tensor, length_penalty: float
) -> Tensor:
    """Computes the scores that beam search gives to these hypotheses, [B, K], by one parallel pass of the AT decoder.

    Args:
        tokens_BKT: the pieces of each hypothesis, then EOS. Tokens after EOS are ignored.
        lengths_BK: number of pieces.
    """
    places_T = torch.arange(tokens_BKT.shape[2], device=tokens_BKT.device)
    is_real_BKT = places_T <= lengths_BK[:, :, None]
    scores_RT = forced_log_probabilities(
        decoder, decoder.remember(encoded), tokens_BKT.flatten(0, 1), is_real_BKT.flatten(0, 1), FORBIDDEN_TO_AT
    )
    return scores_RT.view(tokens_BKT.shape).sum(dim=2) / (lengths_BK + 1) ** length_penalty


@dataclass(frozen=True)
class RerankedSearch(WrappedSearch):
    """A NAT search whose hypotheses get the AT decoder's scores and are sorted by them; see `at_scores`.

    For equal scores the order of the NAT search stays.
    """

    decoder: TargetDecoder
    config: Decoding

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source among all that the NAT search finds."""
        found = self.search(encoded, self.most[1])
        device = encoded.states_BSD.device
        longest = [max(len(each.tokens) for each in hypotheses) for hypotheses in found]
        candidates = max(len(hypotheses) for hypotheses in found)
        # Sources of equal length can have translations of very different lengths, so they are grouped again.
        for rows in group(longest, candidates, token_budget(self.config.max_tokens_per_batch, device)):
            part = encoded.only(torch.tensor(rows, device=device))
            for row, hypotheses in zip(rows, self._sorted(part, [found[row] for row in rows]), strict=True):
                found[row] = hypotheses[:n_best]
        return found

    def _sorted(self, encoded: Encoded, found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
        most = max(len(hypotheses) for hypotheses in found)
        # Rows of equal length: a source with fewer hypotheses repeats its last one, and the repeats are dropped below.
        rows = [[*hypotheses, *hypotheses[-1:] * (most - len(hypotheses))] for hypotheses in found]
        scores_BK = hypothesis_scores(self.decoder, encoded, rows, self.config.length_penalty)
        return [
            sorted(
                (replace(each, score=score) for each, score in zip(row, scores, strict=False)),
                key=lambda hypothesis: -hypothesis.score,
            )
            for row, scores in zip(found, scores_BK.tolist(), strict=True)
        ]

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts the NAT search, and the AT decoder's pass over as many candidates as it may find."""
        return self.search.flops(work, source_B, pieces_B, passes_B) + rerank_flops(work, source_B, pieces_B, self.most[1])


def hypothesis_scores(
    decoder: TargetDecoder, encoded: Encoded, hypotheses: Sequence[Sequence[Hypothesis]], length_penalty: float
) -> Tensor:
    """Computes `at_scores` of hypotheses, as many for each source, [B, K]."""
    device = encoded.states_BSD.device
    lengths_BK = torch.tensor([[len(each.tokens) for each in row] for row in hypotheses], device=device)
    longest = int(lengths_BK.max()) + 1
    tokens = [[[*each.tokens, *[EOS] * (longest - len(each.tokens))] for each in row] for row in hypotheses]
    return at_scores(decoder, encoded, torch.tensor(tokens, device=device), lengths_BK, length_penalty)


def rerank_flops(work: ModelFlops, source_B: Tensor, pieces_B: Tensor, candidates: int) -> int:
    """Counts the operations of `at_scores`, as if all candidates of a source had the length of the best one.

    Args:
        source_B: lengths of the sources, EOS included.
        pieces_B: number of pieces of the best candidate of each source.
        candidates: number of candidates of each source.
    """
    tokens_B = pieces_B + 1
    one = work.at_pass(source_B, tokens_B) + work.vocabulary(int(tokens_B.sum()))
    return work.memory(source_B) + candidates * one
