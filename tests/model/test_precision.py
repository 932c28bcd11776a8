"""Which number format a forward pass computes in."""

import torch

from mtnat.model import resolve_precision


def test_named_precisions_resolve_to_their_dtypes() -> None:
    cpu = torch.device("cpu")
    assert [resolve_precision(name, cpu) for name in ("fp32", "bf16", "fp16")] == [torch.float32, torch.bfloat16, torch.float16]
