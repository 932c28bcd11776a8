"""Label-smoothed cross-entropy over a large vocabulary, computed without holding all logits in memory.

Shapes: N positions with a loss, R positions of one block, P positions of a block with padding rows, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.model.linear import pad_rows, padded_count

_BYTES_AT_ONCE = {"cpu": 1 << 24}
"""Bytes for the float32 logits of one block: on a CPU they fit the cache; on other devices they are enough to keep it busy."""
_BYTES_AT_ONCE_ELSEWHERE = 1 << 29


def cross_entropy_sum(states_ND: Tensor, weight_VD: Tensor, target_N: Tensor, label_smoothing: float) -> Tensor:
    """Computes the label-smoothed cross-entropy of ``states·weightᵀ``, summed over the positions; a float32 scalar.

    The forward pass computes logits for a block of R positions at a time, in autocast's dtype if autocast is on, and turns them
    into gradients immediately. The backward pass then needs neither the logits nor a second matrix product with the vocabulary.
    PyTorch has a similar function from 2.13 on (``linear_cross_entropy``); this one also runs on 2.11.

    Per position with target y, V tokens, logits z and smoothing ε, the loss is
    ``logsumexp(z) − (1 − ε)·z_y − (ε / V)·Σ z`` and its gradient with respect to z is
    ``softmax(z) − (1 − ε)·onehot(y) − ε / V``.
    """
    device = states_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
    with torch.autocast(device, enabled=False):
        total: Tensor = _CrossEntropySum.apply(states_ND, weight_VD, target_N, label_smoothing, dtype)  # type: ignore[no-untyped-call]
    return total


class _CrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states_ND: Tensor, weight_VD: Tensor, target_N: Tensor, label_smoothing: float, dtype: torch.dtype
    ) -> Tensor:
        vocabulary = len(weight_VD)
        uniform, confidence = label_smoothing / vocabulary, 1 - label_smoothing
        is_exact = dtype == weight_VD.dtype == torch.float32
        weight = weight_VD.to(dtype)
        total = states_ND.new_zeros((), dtype=torch.float32)
        wants_gradient = any(ctx.needs_input_grad)
        if wants_gradient:
            gradient_ND = torch.empty_like(states_ND)
            gradient_VD = torch.zeros_like(weight_VD)
        rows = max(1, _BYTES_AT_ONCE.get(states_ND.device.type, _BYTES_AT_ONCE_ELSEWHERE) // (4 * vocabulary))
        rows = max(1, padded_count(min(rows, len(states_ND))))
        # One buffer serves all blocks: allocating it for each block would cost as much as the product.
        logits = weight.new_empty(rows, vocabulary)
        # The softmax of a CPU processes one row at a time, so it can overwrite its input.
        probabilities = (
            logits if is_exact and weight.device.type == "cpu" else weight.new_empty(logits.shape, dtype=torch.float32)
        )
        for start in range(0, len(states_ND), rows):
            states_RD, target_R1 = states_ND[start : start + rows], target_N[start : start + rows, None]
            states_PD = states_RD if is_exact else pad_rows(states_RD, dtype)
            logits_PV = torch.mm(states_PD, weight.t(), out=logits[: len(states_PD)])
            logits_RV, errors_RV = logits_PV[: len(states_RD)], probabilities[: len(states_RD)]
            # Read before the softmax, which may overwrite the logits.
            largest_R, target_logits_R1 = logits_RV.amax(1).float(), logits_RV.gather(1, target_R1).float()
            torch.softmax(logits_RV, 1, dtype=torch.float32, out=errors_RV)
            # logsumexp without a second pass over the logits: max(p) = exp(max(z) − logsumexp(z)).
            normaliser_R = largest_R - errors_RV.amax(1).log()
            total += normaliser_R.sum() - confidence * target_logits_R1.sum()
            if wants_gradient:
                # The gradient with respect to the logits, softmax − (1 − ε)·onehot, without its constant term −ε/V.
                errors_RV.scatter_add_(1, target_R1, errors_RV.new_full((), -confidence).expand_as(target_R1))
                if is_exact:
                    gradient_ND[start : start + rows] = errors_RV @ weight
                    gradient_VD.addmm_(errors_RV.t(), states_RD)
                else:
                    logits_RV.copy_(errors_RV)  # the products run in half precision
                    gradient_ND[start : start + rows] = (logits_PV @ weight)[: len(states_RD)]
                    gradient_VD += logits_PV.t() @ states_PD  # padding rows of states_PD are zeros and add nothing
        # The smoothing term −(ε/V)·Σ z is linear in the logits: Σ over positions and tokens of states·weightᵀ is the product of
        # the two sums. It needs no pass over the logits.
        states_D, weight_D = states_ND.sum(0, dtype=torch.float32), weight_VD.sum(0, dtype=torch.float32)
        total -= uniform * (states_D @ weight_D)
        if wants_gradient:
            gradient_ND -= uniform * weight_D
            gradient_VD -= uniform * states_D
            ctx.save_for_backward(gradient_ND, gradient_VD)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradient_ND, gradient_VD = ctx.saved_tensors
        return gradient_ND * upstream, gradient_VD * upstream, None, None, None
