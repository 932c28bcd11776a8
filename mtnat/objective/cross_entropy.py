"""Label-smoothed cross-entropy over a large vocabulary that never holds all its logits.

Shapes: N positions with a loss, R of them at once, P with padding, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.model.linear import pad_rows, padded_count

_BYTES_AT_ONCE = {"cpu": 1 << 24}
"""Room for the logits of R positions in float32: what fits the CPU's cache; elsewhere enough to fill the device."""
_BYTES_AT_ONCE_ELSEWHERE = 1 << 29


def cross_entropy_sum(states_ND: Tensor, weight_VD: Tensor, target_N: Tensor, label_smoothing: float) -> Tensor:
    """The label-smoothed cross-entropy of ``states·weightᵀ``, summed over the positions; float32, a scalar.

    Logits are computed for R positions at a time, in autocast's type where it is on, and turned into gradients at once, so that
    the backward pass needs neither them nor a second product. PyTorch has the like from 2.13 on (``linear_cross_entropy``);
    this one also runs on 2.11.
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
        # Used again and again: to ask for as much anew each time would cost as much as the product.
        logits = weight.new_empty(rows, vocabulary)
        # On the CPU, a row at a time, softmax may write where it reads.
        probabilities = (
            logits if is_exact and weight.device.type == "cpu" else weight.new_empty(logits.shape, dtype=torch.float32)
        )
        for start in range(0, len(states_ND), rows):
            states_RD, target_R1 = states_ND[start : start + rows], target_N[start : start + rows, None]
            states_PD = states_RD if is_exact else pad_rows(states_RD, dtype)
            logits_PV = torch.mm(states_PD, weight.t(), out=logits[: len(states_PD)])
            logits_RV, errors_RV = logits_PV[: len(states_RD)], probabilities[: len(states_RD)]
            largest_R, target_logits_R1 = logits_RV.amax(1).float(), logits_RV.gather(1, target_R1).float()
            torch.softmax(logits_RV, 1, dtype=torch.float32, out=errors_RV)
            # The largest probability is e⁰ over the normaliser.
            normaliser_R = largest_R - errors_RV.amax(1).log()
            total += normaliser_R.sum() - confidence * target_logits_R1.sum()
            if wants_gradient:
                errors_RV.scatter_add_(1, target_R1, errors_RV.new_full((), -confidence).expand_as(target_R1))
                if is_exact:
                    gradient_ND[start : start + rows] = errors_RV @ weight
                    gradient_VD.addmm_(errors_RV.t(), states_RD)
                else:
                    logits_RV.copy_(errors_RV)
                    gradient_ND[start : start + rows] = (logits_PV @ weight)[: len(states_RD)]
                    gradient_VD += logits_PV.t() @ states_PD  # states of padding are zeros
        # Smoothing is the same for every position and every token, so it needs no pass over the logits.
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
