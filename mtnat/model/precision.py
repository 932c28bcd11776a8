"""The number format of a forward pass; weights are always float32."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_NAMED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """What autocast computes in; auto is bf16 where the processor has it in hardware, fp16 on older GPUs, fp32 elsewhere."""
    if precision != "auto":
        return _NAMED[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    # PyTorch has no public way to ask whether bf16 products run in hardware or are emulated.
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """What a setting calls it."""
    return next(name for name, dtype in _NAMED.items() if dtype is precision)


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """The autocast of that format; of float32, none."""
    return torch.autocast(device.type, precision, enabled=precision is not torch.float32)
