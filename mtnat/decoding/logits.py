"""Vocabulary logits of many positions, one block at a time."""

# M positions, m positions of one block, D width, V vocabulary

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtnat.model import TargetDecoder
from mtnat.tokens import EOS, SPECIAL

FORBIDDEN_TO_AT = [token for token in SPECIAL if token != EOS]
"""Tokens that the AT decoder never predicts; the NAT decoder predicts none of `SPECIAL`."""

_CPU_LOGITS, _GPU_LOGITS = 2**22, 2**27
"""Number of logits of one block: 16 MiB fit the cache of a CPU; 512 MiB on a GPU, where each kernel launch costs time."""


def blocks_of_logits(decoder: TargetDecoder, states_MD: Tensor, forbidden: Sequence[int]) -> Iterator[Tensor]:
    """Yields float32 logits [m, V], one block of states at a time; the logits of forbidden tokens are −inf."""
    logits = _CPU_LOGITS if states_MD.device.type == "cpu" else _GPU_LOGITS
    for block_mD in torch.split(states_MD, max(1, logits // decoder.tokens.num_embeddings)):
        logits_mV = decoder.vocabulary_logits(block_mD).float()
        for token in forbidden:  # a list as the index would make a GPU wait for the copy of the list
            logits_mV[:, token] = -torch.inf
        yield logits_mV


def likeliest_pieces(
    decoder: TargetDecoder, states_MD: Tensor, forbidden: Sequence[int] = tuple(SPECIAL)
) -> tuple[Tensor, Tensor]:
    """Returns the log-probability and the id of the likeliest piece at each position, [M] each.

    Args:
        forbidden: tokens that have probability 0, by default all special ones.
    """
    scores, tokens = [], []
    for logits_mV in blocks_of_logits(decoder, states_MD, forbidden):
        best_m, token_m = logits_mV.log_softmax(dim=1).max(dim=1)
        scores.append(best_m)
        tokens.append(token_m)
    return torch.cat(scores), torch.cat(tokens)
