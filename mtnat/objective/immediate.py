"""Differentiation of a loss during the forward pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LossFunction = Callable[[Tensor], tuple[Tensor, Tensor]]


def differentiated_now(loss: LossFunction, states: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Computes ``loss(states)`` and, if gradients are enabled, the gradients of its first result in the same call.

    The activations of one decoder are thus freed before the next decoder runs, so that two decoders need no more memory than
    one. The gradients equal those of an ordinary backward pass.

    Args:
        loss: returns a scalar to differentiate and a second tensor, which gets no gradient.
        states: the input of the loss that is not a parameter.
        parameters: every trainable parameter that the loss reads. A parameter that is missing here gets no gradient.
    """
    if not torch.is_grad_enabled():
        return loss(states)
    value, other = _Now.apply(loss, states, *parameters)  # type: ignore[no-untyped-call]
    return value, other


class _Now(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: LossFunction, states: Tensor, *parameters: Tensor) -> tuple[Tensor, Tensor]:
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
        if upstream.device.type == "cpu" and upstream.item() == 1:  # on other devices `item` would cost more than the products
            return None, *ctx.saved_tensors
        return None, *(None if gradient is None else gradient * upstream for gradient in ctx.saved_tensors)
