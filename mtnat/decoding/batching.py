"""Groups of sources that are decoded together."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtnat.tokens import EOS, PAD


def group(sources: Sequence[Sequence[int]], copies: int, max_tokens: int) -> Iterator[list[int]]:
    """Indices of sources of similar length, the longest first, so that what will not fit in memory shows at once.

    A group's positions, its longest source (with EOS) × its size × `copies`, stay within `max_tokens`, unless it is one source.
    """
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    start = 0
    while start < len(order):
        size = max(1, max_tokens // (copies * (len(sources[order[start]]) + 1)))
        yield order[start : start + size]
        start += size


def pad(sources: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """The sources with EOS, padded on the right, [B, S]."""
    longest = max(len(source) for source in sources)
    rows = [[*source, EOS, *[PAD] * (longest - len(source))] for source in sources]
    return torch.tensor(rows, device=device)
