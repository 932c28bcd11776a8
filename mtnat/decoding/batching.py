"""Batches of sequences that are decoded together."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mtnat.tokens import EOS, PAD

_CPU_TOKENS, _CPU_TOKENS_STEPWISE, _GPU_TOKENS = 2_048, 8_192, 32_768
"""Default number of positions decoded together. On a CPU the positions of one pass stay in its cache; beam search computes only
one position of each hypothesis per step, so more fit. A GPU needs more positions to be busy."""


def token_budget(max_tokens: int | None, device: torch.device, *, stepwise: bool = False) -> int:
    """Returns the number of positions to decode together: `max_tokens` if set, otherwise a default.

    Args:
        stepwise: whether the search computes one position of each hypothesis at a time.
    """
    if max_tokens or device.type != "cpu":
        return max_tokens or _GPU_TOKENS
    return _CPU_TOKENS_STEPWISE if stepwise else _CPU_TOKENS


def group(lengths: Sequence[int], copies: int, max_tokens: int) -> Iterator[list[int]]:
    """Groups sequences of similar length and yields the indices of each group, the longest sequences first.

    The longest group comes first, so that running out of memory shows at once. The positions of a group, its longest sequence
    (with EOS) × its size × `copies`, do not exceed `max_tokens`, unless the group is a single sequence.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    start = 0
    while start < len(order):
        size = max(1, max_tokens // (copies * (lengths[order[start]] + 1)))
        yield order[start : start + size]
        start += size


def pad(sources: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """Appends EOS to the sources and pads them on the right, [B, S]."""
    longest = max(len(source) for source in sources)
    rows = [[*source, EOS, *[PAD] * (longest - len(source))] for source in sources]
    return torch.tensor(rows, device=device)
