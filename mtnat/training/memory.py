"""How this process holds memory, and how it learns that there is no more."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mtnat.errors import ResourceError

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_LARGEST = 2**31 - 1
_SAID = ("out of memory", "can't allocate memory", "std::bad_alloc", "ALLOC_FAILED")
"""What is in the RuntimeErrors of PyTorch's allocators, of CUDA and of its libraries, when there is no more."""


def keep_freed_memory() -> None:
    """Lets the C library keep freed blocks for the next update instead of giving them back to the system.

    An update asks for the same gigabyte as the one before, and the system hands it out anew, zeroed page by page: 60 additions
    of 4 MiB took 107 ms, against 15 ms in memory that was kept. Does nothing where the C library is not glibc.
    """
    mallopt = _c_library("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _LARGEST)
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        # What is kept is kept by arena, and each run in a reused process has a thread, and so an arena, of its own.
        mallopt(_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Returns what a run that has ended no longer needs to the system, and to whoever else is on the GPU."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim = _c_library("malloc_trim")
    if trim is not None:
        trim(0)


def _c_library(function: str) -> Any:
    """A function of glibc; None where the C library is another."""
    return getattr(ctypes.CDLL(None), function, None) if sys.platform.startswith("linux") else None


@contextmanager
def running_out_raises(error: ResourceError) -> Iterator[None]:
    """Raises this error where memory runs out, which PyTorch has many ways to say."""
    try:
        yield
    except (MemoryError, RuntimeError) as cause:
        if isinstance(cause, MemoryError) or any(words in str(cause) for words in _SAID):
            raise error from None
        raise
