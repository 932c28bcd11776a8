"""Self-attention of one layer over padded batches of near-equal lengths, against the same sentences packed without any padding.

Both begin at queries, keys and values and end after the backward pass. usage: python bench/packed_attention.py EXPERIMENT.yaml
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from mtnat.config import build, read_yaml
from mtnat.data import BatchStream, prepare
from mtnat.experiment import Experiment
from mtnat.tokens import PAD

BATCHES, TOKENS = 20, 4_096


def padded(parts: list[Tensor], is_token: Tensor) -> Tensor:
    """Rectangles, and a mask where a batch has padding at all."""
    mask = None if bool(is_token.all()) else is_token[:, None, None, :]
    queries, keys, values = (part.transpose(1, 2) for part in parts)
    mixed: Tensor = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask).transpose(1, 2)
    return mixed[is_token].square().sum()


def packed(parts: list[Tensor], is_token: Tensor) -> Tensor:
    """Rows of different lengths (PyTorch's jagged layout)."""
    ends = torch.cat([torch.zeros(1, dtype=torch.long), is_token.sum(1).cumsum(0)])
    queries, keys, values = (torch.nested.nested_tensor_from_jagged(part[is_token], ends).transpose(1, 2) for part in parts)
    mixed: Tensor = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).values()
    return mixed.square().sum()


def timed(
    attention: Callable[[list[Tensor], Tensor], Tensor], is_token: Tensor, heads: int, features: int
) -> tuple[float, float]:
    """Seconds, and the result."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(*is_token.shape, heads, features, generator=generator, requires_grad=True) for _ in range(3)]
    started = time.perf_counter()
    result = attention(parts, is_token)
    result.backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - started, result.item()


def main() -> None:
    """Prints the median times and their ratio."""
    experiment = build(Experiment, read_yaml(Path(sys.argv[1])))
    stream = BatchStream(prepare(experiment.data).train, max_tokens=TOKENS, seed=1)
    heads, features = experiment.model.heads, experiment.model.width // experiment.model.heads
    seconds: dict[str, list[float]] = {"padded": [], "packed": []}
    for _ in range(BATCHES):
        ((_, batch),) = stream.next_step()
        results = []
        for name, attention in (("padded", padded), ("packed", packed)):
            elapsed, result = timed(attention, batch.source_BS != PAD, heads, features)
            seconds[name].append(elapsed)
            results.append(result)
        assert abs(results[0] - results[1]) < 1e-4 * results[0], results
    medians = {name: statistics.median(all_) for name, all_ in seconds.items()}
    print(", ".join(f"{name} {median * 1e3:.1f} ms" for name, median in medians.items()))
    print(f"packed over padded: {medians['packed'] / medians['padded']:.2f}")


if __name__ == "__main__":
    main()
