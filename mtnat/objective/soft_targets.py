"""Cross-entropy with a distribution over a few tokens as its target, computed without holding all logits in memory."""

# N positions with a loss, C tokens of a target distribution, R positions of one block, D width, V vocabulary

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.model.linear import padded_count
from mtnat.objective.logit_blocks import LogitBlocks, product_dtype, rows_at_once


def soft_cross_entropy_sum(
    states_ND: Tensor, weight_VD: Tensor, tokens_NC: Tensor, probabilities_NC: Tensor, uniform_N: Tensor
) -> Tensor:
    """Computes −Σ m·log softmax(states·weightᵀ), summed over the positions; a float32 scalar.

    The target m of a position gives each of its C tokens a probability and every token of the vocabulary the same share of
    `uniform_N` in addition. Both together sum to 1 at every position, which is not checked. The gradient with respect to the
    logits is ``softmax(z) − m``. See `cross_entropy_sum`, which this function equals for one token with probability 1 − ε and a
    uniform share of ε.

    Args:
        tokens_NC: a token may occur several times; its probabilities are added.
        probabilities_NC: float32.
        uniform_N: float32.
    """
    dtype = product_dtype(weight_VD)
    with torch.autocast(states_ND.device.type, enabled=False):
        total: Tensor = _SoftCrossEntropySum.apply(states_ND, weight_VD, tokens_NC, probabilities_NC, uniform_N, dtype)  # type: ignore[no-untyped-call]
    return total


class _SoftCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        states_ND: Tensor,
        weight_VD: Tensor,
        tokens_NC: Tensor,
        probabilities_NC: Tensor,
        uniform_N: Tensor,
        dtype: torch.dtype,
    ) -> Tensor:
        total = states_ND.new_zeros((), dtype=torch.float32)
        wants_gradient = any(ctx.needs_input_grad)
        rows = max(1, padded_count(min(rows_at_once(states_ND, weight_VD), len(states_ND))))
        blocks = LogitBlocks(states_ND, weight_VD, dtype, rows, wants_gradient=wants_gradient)
        for start in range(0, len(states_ND), rows):
            stop = min(start + rows, len(states_ND))
            tokens_RC, probabilities_RC = tokens_NC[start:stop], probabilities_NC[start:stop]
            logits_RC, normaliser_R, errors_RV = blocks.read(start, stop, tokens_RC)
            total += normaliser_R.sum() - (probabilities_RC * logits_RC).sum()
            if wants_gradient:
                errors_RV.scatter_add_(1, tokens_RC, -probabilities_RC)
                blocks.add_gradient(start, stop, errors_RV)
        # As in `cross_entropy_sum`, the uniform part is linear in the logits and needs no pass over them.
        share_N = uniform_N / len(weight_VD)
        states_D, weight_D = share_N @ states_ND.float(), weight_VD.sum(0, dtype=torch.float32)
        total -= states_D @ weight_D
        if wants_gradient:
            blocks.gradient_ND -= share_N[:, None] * weight_D
            blocks.gradient_VD -= states_D
            ctx.save_for_backward(blocks.gradient_ND, blocks.gradient_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient_ND, gradient_VD = ctx.saved_tensors
        return gradient_ND * upstream, gradient_VD * upstream, None, None, None, None
