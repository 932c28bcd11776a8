"""The floating-point format of a forward pass; weights are always float32."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]

_NAMED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """Returns the dtype that autocast computes in.

    ``auto`` is bf16 if the processor supports it in hardware, otherwise fp16 on a GPU and fp32 on a CPU.
    """
    if precision != "auto":
        return _NAMED[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    # PyTorch has no public way to ask whether bf16 products run in hardware or are emulated.
    has_bf16 = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if has_bf16 else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """Returns the name of a dtype in settings, such as ``bf16``."""
    return next(name for name, dtype in _NAMED.items() if dtype is precision)


def computing_in(precision: torch.dtype, device: torch.device) -> torch.autocast:
    """Returns the autocast context for a dtype; for float32 autocast is disabled."""
    return torch.autocast(device.type, precision, enabled=precision is not torch.float32)
