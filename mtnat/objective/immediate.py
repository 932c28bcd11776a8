"""A loss that is differentiated as soon as it is computed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Loss = Callable[[Tensor], tuple[Tensor, Tensor]]


def differentiated_now(loss: Loss, states: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """``loss(states)``, with the gradients of its first part computed along with it where any are wanted.

    What a decoder keeps for its backward pass is then forgotten before the next decoder runs, so that the two need the memory
    of one. Gradients are those of an ordinary backward pass.

    Args:
        loss: gives a scalar to differentiate and whatever else is to come back with it, without a gradient.
        states: what the loss reads that is not a parameter.
        parameters: every parameter that the loss reads.
    """
    if not torch.is_grad_enabled():
        return loss(states)
    value, other = _Now.apply(loss, states, *parameters)  # type: ignore[no-untyped-call]
    return value, other


class _Now(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Loss, states: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            leaf = states.detach().requires_grad_()
            value, other = loss(leaf)
        gradients = torch.autograd.grad(value, (leaf, *parameters), allow_unused=True)
        ctx.save_for_backward(*gradients)
        other = other.detach()
        ctx.mark_non_differentiable(other)
        return value.detach(), other

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        if upstream.device.type == "cpu" and upstream.item() == 1:  # elsewhere the question would cost more than the products
            return None, *ctx.saved_tensors
        return None, *(None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors)
