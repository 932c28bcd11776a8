"""A linear layer that avoids compiling new CPU kernels for every batch size in half precision."""

# B batch, R rows, P rows with padding, I features in, O features out

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class Linear(nn.Linear):
    """`torch.nn.Linear` that computes its output with `linear`."""

    def forward(self, states: Tensor) -> Tensor:
        return linear(states, self.weight, self.bias)


def linear(states: Tensor, weight_OI: Tensor, bias_O: Tensor) -> Tensor:
    """Computes ``states·weightᵀ + bias``, from [..., I] to [..., O].

    In half precision on the CPU, oneDNN compiles a kernel for each number of rows and caches a thousand of them. In training
    this number changes with most batches, and with every draw of masks or samples. Compiling, mapping and unmapping the kernels
    took up to an eighth of an update and hundreds of megabytes. Half-precision training on the CPU therefore pads the rows to
    one of a few counts; see `padded_count`.
    """
    trains_in_half = states.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()
    if not trains_in_half or torch.compiler.is_compiling():
        return functional.linear(states, weight_OI, bias_O)
    result: Tensor = _Linear.apply(states, weight_OI, bias_O, torch.get_autocast_dtype("cpu"))  # type: ignore[no-untyped-call]
    return result


def padded_count(rows: int) -> int:
    """Rounds a number of rows up to one with at most five significant binary digits; this adds 2 to 3 % of rows on average."""
    step = 1 << max(0, rows.bit_length() - 5)
    return -(-rows // step) * step


def pad_rows(states_RI: Tensor, dtype: torch.dtype) -> Tensor:
    """Converts rows to a dtype and appends rows of zeros up to their `padded_count`; returns [P, I]."""
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
        # resize_ drops the padding rows without making a view: an in-place activation could not modify a view.
        return torch.addmm(bias_O.to(dtype), states_PI, weight.t()).resize_(*states.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        states_PI, weight = ctx.saved_tensors
        upstream_PO = pad_rows(upstream.flatten(0, -2), weight.dtype)
        of_states = torch.mm(upstream_PO, weight).resize_(ctx.shape).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return of_states, torch.mm(upstream_PO.t(), states_PI).float(), upstream_PO.sum(0).float(), None
