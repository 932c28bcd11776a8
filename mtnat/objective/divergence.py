"""The Kullback–Leibler divergence between two decoders' distributions, computed without holding all logits in memory."""

# N positions, R positions of one block, P positions of a block with padding rows, D width, V vocabulary

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.model.linear import pad_rows
from mtnat.objective.logit_blocks import product_dtype, rows_at_once

_BUFFERS = 4
"""Number of matrices [R, V] of one block beyond that of a cross-entropy, which needs one."""


def divergence_sum(
    teacher_ND: Tensor,
    student_ND: Tensor,
    weight_VD: Tensor,
    temperature: float = 1.0,
    is_counted_N: Tensor | None = None,
    *,
    trains_teacher: bool = False,
) -> Tensor:
    """Computes τ²·KL(p || q), summed over the positions; a float32 scalar.

    p = softmax(teacher·weightᵀ / τ) and q = softmax(student·weightᵀ / τ) for a temperature τ. The factor τ² keeps the size of
    the gradient independent of τ (Hinton et al. 2015, section 2). With logits z_p and z_q, the gradients per position are
    ``τ·(q − p)`` with respect to z_q and ``τ·p·(log p − log q − KL(p || q))`` with respect to z_p.

    The logits of both sides are computed for a block of R positions at a time and turned into gradients immediately. A teacher
    is thus kept as states [N, D] instead of probabilities [N, V].

    Args:
        is_counted_N: the positions that count; None counts all.
        trains_teacher: whether the states of the teacher get a gradient, and the weight the part of its gradient that comes
            through the teacher's logits. If False the teacher is a constant.
    """
    dtype = product_dtype(weight_VD)
    with torch.autocast(student_ND.device.type, enabled=False):
        total: Tensor = _DivergenceSum.apply(  # type: ignore[no-untyped-call]
            teacher_ND if trains_teacher else teacher_ND.detach(),
            student_ND,
            weight_VD,
            is_counted_N,
            temperature,
            trains_teacher,
            dtype,
        )
    return total


class _DivergenceSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        teacher_ND: Tensor,
        student_ND: Tensor,
        weight_VD: Tensor,
        is_counted_N: Tensor | None,
        temperature: float,
        trains_teacher: bool,
        dtype: torch.dtype,
    ) -> Tensor:
        total = student_ND.new_zeros((), dtype=torch.float32)
        wants_gradient = any(ctx.needs_input_grad)
        teacher = _Side(teacher_ND, weight_VD, dtype, wants_gradient=wants_gradient and trains_teacher)
        student = _Side(student_ND, weight_VD, dtype, wants_gradient=wants_gradient)
        rows = max(1, rows_at_once(student_ND, weight_VD) // _BUFFERS)
        for start in range(0, len(student_ND), rows):
            stop = min(start + rows, len(student_ND))
            log_p_RV, log_q_RV = (torch.log_softmax(side.logits(start, stop) / temperature, 1) for side in (teacher, student))
            p_RV = log_p_RV.exp()
            gap_RV = log_p_RV.sub_(log_q_RV)
            divergence_R1 = (p_RV * gap_RV).sum(1, keepdim=True)
            counted_R1 = 1.0 if is_counted_N is None else is_counted_N[start:stop, None].float()
            total += (divergence_R1 * counted_R1).sum()
            if wants_gradient:
                student.add_gradient(start, stop, log_q_RV.exp_().sub_(p_RV).mul_(temperature * counted_R1))
            if wants_gradient and trains_teacher:
                errors_RV = gap_RV.sub_(divergence_R1).mul_(p_RV)
                teacher.add_gradient(start, stop, errors_RV.mul_(temperature * counted_R1))
        if wants_gradient and trains_teacher:
            ctx.save_for_backward(teacher.gradient_ND, student.gradient_ND, student.gradient_VD.add_(teacher.gradient_VD))
        elif wants_gradient:
            ctx.save_for_backward(None, student.gradient_ND, student.gradient_VD)
        return total * temperature**2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_teacher, of_student, of_weight = (None if each is None else each * upstream for each in ctx.saved_tensors)
        return of_teacher, of_student, of_weight, None, None, None, None


class _Side:
    """The states of one decoder, their logits for one block of positions at a time, and the gradients of a sum over blocks."""

    def __init__(self, states_ND: Tensor, weight_VD: Tensor, dtype: torch.dtype, *, wants_gradient: bool) -> None:
        self._states_ND, self._weight_VD = states_ND, weight_VD.to(dtype)
        if wants_gradient:
            self.gradient_ND, self.gradient_VD = torch.empty_like(states_ND), torch.zeros_like(weight_VD)

    def logits(self, start: int, stop: int) -> Tensor:
        """Computes float32 logits [R, V] of the positions from `start` to `stop`."""
        self._block_PD = self._padded(self._states_ND[start:stop])
        return (self._block_PD @ self._weight_VD.t())[: stop - start].float()

    def add_gradient(self, start: int, stop: int, errors_RV: Tensor) -> None:
        """Adds the gradients of the block that was computed last, given those with respect to its logits."""
        errors_PV = self._padded(errors_RV)
        self.gradient_ND[start:stop] = (errors_PV @ self._weight_VD)[: stop - start]
        self.gradient_VD.add_(errors_PV.t() @ self._block_PD)

    def _padded(self, rows: Tensor) -> Tensor:
        """Converts rows to the dtype of the products and, in half precision, appends rows of zeros; see `linear`."""
        dtype = self._weight_VD.dtype
        return rows if dtype == rows.dtype == torch.float32 else pad_rows(rows, dtype)
