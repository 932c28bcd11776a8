"""Dropout with cheap random numbers on the CPU."""

import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 65_536


class Dropout(nn.Module):
    """Sets features to zero with probability p and scales the others by 1 / (1 − p), in training only.

    On the CPU one 64-bit random number decides four features, 16 bits each, so p is rounded to a multiple of 1/65,536.
    PyTorch's dropout draws one number per feature, which took up to a sixth of a training step on the CPU (measured: 7 ns per
    feature instead of 1 ns). Other devices and compiled code use PyTorch's dropout, which a compiler fuses with the operations
    around it.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, states: Tensor, onto: Tensor | None = None) -> Tensor:
        """Applies dropout to the states and adds the result to `onto`, if given."""
        if not self.training or self.probability == 0:
            return states if onto is None else onto + states
        if states.device.type != "cpu" or torch.compiler.is_compiling():
            dropped = functional.dropout(states, self.probability)
            return dropped if onto is None else onto + dropped
        kept, scale = _drawn(states.shape, self.probability), 1 / (1 - self.probability)
        return (states * kept).mul_(scale) if onto is None else torch.addcmul(onto, states, kept, value=scale)

    def extra_repr(self) -> str:
        return f"{self.probability}"


def _drawn(shape: torch.Size, probability: float) -> Tensor:
    """Draws 1 for each feature to keep and 0 for the others, as uint8, from PyTorch's global generator.

    The result is a factor rather than a Boolean mask, because `masked_fill` took seven times as long as a multiplication.
    """
    features = shape.numel()
    draws = torch.empty(-(-features // 4), dtype=torch.int64).random_(-(2**63), None)
    threshold = round(probability * _LEVELS) - _LEVELS // 2
    kept = torch.empty(shape, dtype=torch.uint8)
    torch.ge(draws.view(torch.int16)[:features].view(shape), threshold, out=kept)
    return kept
