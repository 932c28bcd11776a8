"""Reranking of the NAT decoder's candidates by the AT decoder, which NAT inference otherwise does not need."""

# B sentences, K candidates, T target

import torch
from torch import Tensor

from mtnat.decoding.logits import FORBIDDEN_TO_AT
from mtnat.decoding.teacher_forcing import forced_log_probabilities
from mtnat.model import Encoded, TargetDecoder
from mtnat.model.flops import ModelFlops


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
