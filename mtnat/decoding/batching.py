"""Groups of sequences that are decoded together."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtnat.tokens import EOS, PAD

_CPU_TOKENS, _CPU_TOKENS_STEPWISE, _GPU_TOKENS = 2_048, 8_192, 32_768
"""Positions decoded together: those that one pass computes stay in a processor's cache; beam search computes only one of each
hypothesis in a step; more fill a GPU."""


def token_budget(max_tokens: int | None, device: torch.device, *, stepwise: bool = False) -> int:
    """The setting, or what suits the device and a search that does or does not go position by position."""
    if max_tokens or device.type != "cpu":
        return max_tokens or _GPU_TOKENS
    return _CPU_TOKENS_STEPWISE if stepwise else _CPU_TOKENS


def group(lengths: Sequence[int], copies: int, max_tokens: int) -> Iterator[list[int]]:
    """Indices of sequences of similar length, the longest first, so that what will not fit in memory shows at once.

    A group's positions, its longest sequence (with EOS) × its size × `copies`, stay within `max_tokens`, unless it is one
    sequence.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        size = max(1, max_tokens // (copies * (lengths[order[start]] + 1)))
        yield order[start : start + size]
        start += size


def pad(sources: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """The sources with EOS, padded on the right, [B, S]."""
    longest = max(len(source) for source in sources)
    rows = [[*source, EOS, *[PAD] * (longest - len(source))] for source in sources]
    return torch.tensor(rows, device=device)
