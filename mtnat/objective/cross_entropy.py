"""Label-smoothed cross-entropy over a large vocabulary, computed without holding all logits in memory.

Shapes: N positions with a loss, R positions of one block, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.model.linear import padded_count
from mtnat.objective.logit_blocks import LogitBlocks, product_dtype, rows_at_once


def cross_entropy_sum(states_ND: Tensor, weight_VD: Tensor, target_N: Tensor, label_smoothing: float) -> Tensor:
    """Computes the label-smoothed cross-entropy of ``states·weightᵀ``, summed over the positions; a float32 scalar.

    The forward pass computes logits for a block of R positions at a time, in autocast's dtype if autocast is on, and turns them
    into gradients immediately. PyTorch has a similar function from 2.13 on (``linear_cross_entropy``); this one also runs on
    2.11.

    Per position with target y, V tokens, logits z and smoothing ε, the loss is
    ``logsumexp(z) − (1 − ε)·z_y − (ε / V)·Σ z`` and its gradient with respect to z is
    ``softmax(z) − (1 − ε)·onehot(y) − ε / V``.
    """
    dtype = product_dtype(weight_VD)
    with torch.autocast(states_ND.device.type, enabled=False):
        total: Tensor = _CrossEntropySum.apply(states_ND, weight_VD, target_N, label_smoothing, dtype)  # type: ignore[no-untyped-call]
    return total


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states_ND: Tensor, weight_VD: Tensor, target_N: Tensor, label_smoothing: float, dtype: torch.dtype
    ) -> Tensor:
        uniform, confidence = label_smoothing / len(weight_VD), 1 - label_smoothing
        total = states_ND.new_zeros((), dtype=torch.float32)
        wants_gradient = any(ctx.needs_input_grad)
        rows = max(1, padded_count(min(rows_at_once(states_ND, weight_VD), len(states_ND))))
        blocks = LogitBlocks(states_ND, weight_VD, dtype, rows, wants_gradient=wants_gradient)
        for start in range(0, len(states_ND), rows):
            stop = min(start + rows, len(states_ND))
            target_R1 = target_N[start:stop, None]
            target_logits_R1, normaliser_R, errors_RV = blocks.read(start, stop, target_R1)
            total += normaliser_R.sum() - confidence * target_logits_R1.sum()
            if wants_gradient:
                # The gradient with respect to the logits, softmax − (1 − ε)·onehot, without its constant term −ε/V.
                errors_RV.scatter_add_(1, target_R1, errors_RV.new_full((), -confidence).expand_as(target_R1))
                blocks.add_gradient(start, stop, errors_RV)
        # The smoothing term −(ε/V)·Σ z is linear in the logits: Σ over positions and tokens of states·weightᵀ is the product of
        # the two sums. It needs no pass over the logits.
        states_D, weight_D = states_ND.sum(0, dtype=torch.float32), weight_VD.sum(0, dtype=torch.float32)
        total -= uniform * (states_D @ weight_D)
        if wants_gradient:
            blocks.gradient_ND -= uniform * weight_D
            blocks.gradient_VD -= uniform * states_D
            ctx.save_for_backward(blocks.gradient_ND, blocks.gradient_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient_ND, gradient_VD = ctx.saved_tensors
        return gradient_ND * upstream, gradient_VD * upstream, None, None, None
