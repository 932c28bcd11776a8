"""Log-probabilities that the AT decoder gives to known targets, by one parallel pass (teacher forcing)."""

# R targets, T target, M tokens of all targets, m tokens of one block, V vocabulary

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mtnat.decoding.logits import blocks_of_logits
from mtnat.model import Encoded, Memory, TargetDecoder
from mtnat.tokens import BOS


def forced_log_probabilities(
    decoder: TargetDecoder,
    source: Encoded | Memory,
    tokens_RT: Tensor,
    is_token_RT: Tensor,
    forbidden: Sequence[int] = (),
) -> Tensor:
    """Computes the log-probability of each token given the source and the tokens before it, float32 [R, T]; 0 elsewhere.

    Args:
        tokens_RT: pieces and EOS of each target, which begin at the first position. What follows them is ignored, because the
            decoder is causal.
        is_token_RT: where these tokens are.
        forbidden: tokens that have probability 0, so that the others share theirs.
    """
    found = [
        logits_mV.gather(1, tokens_m[:, None]).squeeze(1) - logits_mV.logsumexp(dim=1)
        for logits_mV, tokens_m in _forced_logits(decoder, source, tokens_RT, is_token_RT, forbidden)
    ]
    return torch.zeros(tokens_RT.shape, device=tokens_RT.device).masked_scatter(is_token_RT, torch.cat(found))


class ForcedChoices(NamedTuple):
    """What the decoder says of each token of one target, given the source and the tokens before it."""

    log_probabilities_T: Tensor
    ranks_T: Tensor
    """1 if no other token is likelier."""
    choices_T: Tensor
    """The likeliest token."""
    choice_log_probabilities_T: Tensor


def forced_choices(
    decoder: TargetDecoder, source: Encoded | Memory, tokens_T: Tensor, forbidden: Sequence[int] = ()
) -> ForcedChoices:
    """Compares the tokens of one target with the decoder's first choices; see `forced_log_probabilities`.

    Args:
        tokens_T: pieces and EOS.
        forbidden: tokens that have probability 0, so that the others share theirs.
    """
    tokens_RT, found = tokens_T[None], []
    for logits_mV, tokens_m in _forced_logits(
        decoder, source, tokens_RT, torch.ones_like(tokens_RT, dtype=torch.bool), forbidden
    ):
        scores_mV = logits_mV - logits_mV.logsumexp(dim=1, keepdim=True)
        scores_m1 = scores_mV.gather(1, tokens_m[:, None])
        best_m, choices_m = scores_mV.max(dim=1)
        found.append((scores_m1.squeeze(1), 1 + (scores_mV > scores_m1).sum(1), choices_m, best_m))
    return ForcedChoices(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _forced_logits(
    decoder: TargetDecoder, source: Encoded | Memory, tokens_RT: Tensor, is_token_RT: Tensor, forbidden: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the logits [m, V] of one block of tokens at a time, and the tokens [m]."""
    input_RT = torch.cat((torch.full_like(tokens_RT[:, :1], BOS), tokens_RT[:, :-1]), dim=1)
    states_MD = decoder.states(source, input_RT).flatten(0, 1)[is_token_RT.flatten()]
    tokens_M = tokens_RT[is_token_RT]
    done = 0
    for logits_mV in blocks_of_logits(decoder, states_MD, forbidden):
        yield logits_mV, tokens_M[done : done + len(logits_mV)]
        done += len(logits_mV)


def sentence_scores(log_probabilities_RT: Tensor, is_token_RT: Tensor) -> Tensor:
    """Returns exp of the mean log-probability of each target's tokens, float64 [R]: the geometric mean of their probabilities,
    which does not depend on their number (Jiao et al. 2020)."""
    sums_R = log_probabilities_RT.double().masked_fill(~is_token_RT, 0.0).sum(dim=1)
    return (sums_R / is_token_RT.sum(dim=1)).exp()
