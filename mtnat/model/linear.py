"""A linear map whose programs are compiled once, not for every batch."""

# B batch, R rows, P rows with padding, I features in, O features out

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Linear(nn.Linear):
    """`torch.nn.Linear` by way of `linear`."""

    def forward(self, states: Tensor) -> Tensor:
        return linear(states, self.weight, self.bias)


def linear(states: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """``states·weightᵀ + bias``, [..., I] to [..., O].

    In half precision on the CPU oneDNN compiles programs for each number of rows, and keeps a thousand. That number is another
    in most batches, and at every update for what masks and samples draw: to compile, map and unmap the programs took up to an
    eighth of an update and hundreds of megabytes. So training there pads the rows to one of few numbers.
    """
    trains_in_half = states.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not trains_in_half or torch.compiler.is_compiling():
        return functional.linear(states, weight_OI, bias_O)
    result: Tensor = _Linear.apply(states, weight_OI, bias_O, torch.get_autocast_dtype("cpu"))  # type: ignore[no-untyped-call]
    return result


def padded_count(rows: int) -> int:
    """To how many rows so many are padded: to a number of five binary digits before its zeros, on average 2 to 3 % more."""
    step = 1 << max(0, rows.bit_length() - 5)
    return -(-rows // step) * step


def pad_rows(states_RI: Tensor, dtype: torch.dtype) -> Tensor:
    """These rows in another type, [P, I], and rows of zeros up to their `padded_count`."""
    rows, width = states_RI.shape
    states_PI = states_RI.new_empty(padded_count(rows), width, dtype=dtype)
    states_PI[:rows].copy_(states_RI)
    states_PI[rows:].zero_()
    return states_PI


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> Tensor:
        states_PI, weight = pad_rows(states.flatten(0, -2), dtype), weight_OI.to(dtype)
        ctx.save_for_backward(states_PI, weight)
        ctx.shape, ctx.dtype = states.shape, states.dtype
        # Not a view of the first rows, which an activation could not change in place.
        return torch.addmm(bias_O.to(dtype), states_PI, weight.t()).resize_(*states.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        states_PI, weight = ctx.saved_tensors
        upstream_PO = pad_rows(upstream.flatten(0, -2), weight.dtype)
        of_states = torch.mm(upstream_PO, weight).resize_(ctx.shape).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_states, torch.mm(upstream_PO.t(), states_PI).float(), upstream_PO.sum(0).float(), None
