"""Reranking: the AT decoder, which inference otherwise drops, chooses among the NAT decoder's candidates."""

# B sentences, K candidates, T target, M real positions of the whole batch, V vocabulary

import torch
from torch import Tensor

from mtnat.decoding.logits import FORBIDDEN_TO_AT, blocks_of_logits
from mtnat.model import Encoded, TargetDecoder
from mtnat.tokens import BOS


def at_scores(
    decoder: TargetDecoder, encoded: Encoded, tokens_BKT: Tensor, lengths_BK: Tensor, length_penalty: float
) -> Tensor:
    """What beam search would score these hypotheses with, [B, K], by one pass of the AT decoder over all of them.

    Each row of the tokens is its pieces, EOS and anything.
    """
    places_T = torch.arange(tokens_BKT.shape[2], device=tokens_BKT.device)
    is_real_BKT = places_T <= lengths_BK[:, :, None]
    # What stands behind EOS is seen by no position that is read.
    input_BKT = torch.cat((torch.full_like(tokens_BKT[:, :, :1], BOS), tokens_BKT[:, :, :-1]), dim=2)
    states = decoder.states(decoder.remember(encoded), input_BKT.flatten(0, 1))
    states_MD = states.flatten(0, 1)[is_real_BKT.flatten()]
    tokens_M = tokens_BKT[is_real_BKT]
    scores = []
    done = 0
    for logits_mV in blocks_of_logits(decoder, states_MD, FORBIDDEN_TO_AT):
        tokens_m = tokens_M[done : done + len(logits_mV)]
        scores.append(logits_mV.gather(1, tokens_m[:, None]).squeeze(1) - logits_mV.logsumexp(dim=1))
        done += len(logits_mV)
    scores_BKT = torch.zeros(tokens_BKT.shape, device=tokens_BKT.device).masked_scatter(is_real_BKT, torch.cat(scores))
    return scores_BKT.sum(dim=2) / (lengths_BK + 1) ** length_penalty
