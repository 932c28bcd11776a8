"""How a process that trains on the CPU has to start."""

import os
import sys

_TUNABLES = "GLIBC_TUNABLES"
SETTINGS = {
    _TUNABLES: "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1",
    "MALLOC_ARENA_MAX": "1",
}
"""For the C library, glibc, which hears them only while a process starts; others pass over them.

PyTorch asks for aligned blocks. glibc cuts each from a larger one and keeps the cuttings in a cache of small blocks, from where
they never grow together with their neighbour again: once that is free, it is too small for a block of its own size. Without the
cache a training needs a sixth less memory. And large pages, where the system has them, make it some 3 % faster.
With an arena of memory for each of the dozens of threads that Ray's processes have, a reused one grew by half a gigabyte a run.
"""


def start_anew() -> None:
    """Makes this process the same command with `SETTINGS`; does nothing where the user has tuned glibc, or it is not Linux."""
    if sys.platform == "linux" and _TUNABLES not in os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | SETTINGS)
