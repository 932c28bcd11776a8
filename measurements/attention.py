"""Times the self-attention of one layer in training, with three implementations on the same batches of near-equal lengths.

`fused` is PyTorch's kernel on padded batches. `short` is `mtnat.model.short_attention`. `packed` is PyTorch's jagged layout,
which has no padding. Each timing begins with queries, keys and values and ends after the backward pass.
"""

import argparse
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
from mtnat.errors import UserError
from mtnat.experiment import Experiment
from mtnat.model.short_attention import short_attention
from mtnat.tokens import PAD
from mtnat.training.memory import keep_freed_memory

BATCHES, TOKENS, SHORT = 60, 4_096, 15


def fused(queries: Tensor, keys: Tensor, values: Tensor, is_token: Tensor) -> Tensor:
    """PyTorch's fused kernel on padded batches, with a mask if the batch has padding."""
    mask = None if bool(is_token.all()) else is_token[:, None, None, :]
    mixed: Tensor = functional.scaled_dot_product_attention(
        queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask
    )
    return mixed.transpose(1, 2)[is_token].square().sum()


def short(queries: Tensor, keys: Tensor, values: Tensor, is_token: Tensor) -> Tensor:
    """`short_attention` on the same padded batches."""
    mask = None if bool(is_token.all()) else is_token[:, None, :]
    return short_attention(queries, keys, values, mask)[is_token].square().sum()


def packed(queries: Tensor, keys: Tensor, values: Tensor, is_token: Tensor) -> Tensor:
    """PyTorch's fused kernel on rows of different lengths, without padding."""
    ends = torch.cat([torch.zeros(1, dtype=torch.long), is_token.sum(1).cumsum(0)])
    jagged = (torch.nested.nested_tensor_from_jagged(part[is_token], ends).transpose(1, 2) for part in (queries, keys, values))
    queries, keys, values = jagged
    mixed: Tensor = functional.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).values()
    return mixed.square().sum()


WAYS: tuple[Callable[[Tensor, Tensor, Tensor, Tensor], Tensor], ...] = (fused, short, packed)


def timed(way: Callable[..., Tensor], is_token: Tensor, heads: int, features: int) -> tuple[float, float]:
    """Returns the milliseconds of the forward and the backward pass, and the result."""
    generator = torch.Generator().manual_seed(0)
    together = torch.randn(*is_token.shape, 3, heads, features, generator=generator, requires_grad=True)
    started = time.perf_counter()
    result = way(*together.unbind(2), is_token)
    result.backward()  # type: ignore[no-untyped-call]
    return (time.perf_counter() - started) * 1e3, result.item()


def main() -> int:
    """Prints the median times, and their ratios to the fused kernel's, for the shorter and the longer batches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path, help="a YAML file with the corpus and the width")
    parser.add_argument(
        "threads", type=int, nargs="?", default=torch.get_num_threads(), help="PyTorch's threads (default: PyTorch's choice)"
    )
    options = parser.parse_args()
    if options.threads < 1:
        parser.error(f"threads: must be at least 1; got {options.threads}.")
    torch.set_num_threads(options.threads)
    try:
        compare(build(Experiment, read_yaml(options.experiment)))
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    return 0


def compare(experiment: Experiment) -> None:
    """Times every implementation on every batch."""
    keep_freed_memory()
    stream = BatchStream(prepare(experiment.data).train, max_tokens=TOKENS, seed=1)
    heads, features = experiment.model.heads, experiment.model.width // experiment.model.heads
    times: dict[bool, dict[str, list[float]]] = {is_short: {way.__name__: [] for way in WAYS} for is_short in (True, False)}
    for number in range(BATCHES):
        ((_, batch),) = stream.next_step()
        is_token = batch.source_BS != PAD
        results = []
        for way in WAYS:
            milliseconds, result = timed(way, is_token, heads, features)
            results.append(result)
            if number >= BATCHES // 6:  # the first batches warm up the allocator
                times[is_token.shape[1] <= SHORT][way.__name__].append(milliseconds)
        assert max(results) - min(results) < 1e-4 * results[0], results
    for is_short, by_way in times.items():
        medians = {name: statistics.median(all_) for name, all_ in by_way.items()}
        shown = ", ".join(f"{name} {median:.1f} ms ({median / medians['fused']:.2f})" for name, median in medians.items())
        print(f"sources of {'at most' if is_short else 'more than'} {SHORT} tokens: {shown}")


if __name__ == "__main__":
    sys.exit(main())
