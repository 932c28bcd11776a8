"""A linear map whose programs are compiled once, not for every batch."""

# B batch, R rows, W rows made up, I features in, O features out

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
    eighth of an update and hundreds of megabytes. So training there makes the rows up to one of few numbers, see `made_up`.
    """
    trains_in_half = states.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not trains_in_half or torch.compiler.is_compiling():
        return functional.linear(states, weight_OI, bias_O)
    result: Tensor = _Linear.apply(states, weight_OI, bias_O, torch.get_autocast_dtype("cpu"))  # type: ignore[no-untyped-call]
    return result


def number_made_up(rows: int) -> int:
    """The next of sixteen numbers between any power of two and the following one; on average 2 to 3 % more."""
    step = 1 << max(0, rows.bit_length() - 5)
    return -(-rows // step) * step


def made_up(states_RI: Tensor, dtype: torch.dtype) -> Tensor:
    """These rows in another type, and rows of zeros up to that number."""
    rows, width = states_RI.shape
    states_WI = states_RI.new_empty(number_made_up(rows), width, dtype=dtype)
    states_WI[:rows].copy_(states_RI)
    states_WI[rows:].zero_()
    return states_WI


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight_OI: Tensor, bias_O: Tensor, dtype: torch.dtype) -> Tensor:
        states_WI, weight = made_up(states.flatten(0, -2), dtype), weight_OI.to(dtype)
        ctx.save_for_backward(states_WI, weight)
        ctx.shape, ctx.dtype = states.shape, states.dtype
        # Not a view of the first rows, which an activation could not change in place.
        return torch.addmm(bias_O.to(dtype), states_WI, weight.t()).resize_(*states.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        states_WI, weight = ctx.saved_tensors
        upstream_WO = made_up(upstream.flatten(0, -2), weight.dtype)
        of_states = torch.mm(upstream_WO, weight).resize_(ctx.shape).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_states, torch.mm(upstream_WO.t(), states_WI).float(), upstream_WO.sum(0).float(), None
