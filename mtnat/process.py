"""How a process that trains on the CPU has to start."""

import os
import sys

TUNABLES = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.hugetlb=1"}
"""For the C library, glibc, which hears them only while a process starts; others pass over them.

PyTorch asks for aligned blocks. glibc cuts each from a larger one and keeps the cuttings in a cache of small blocks, from where
they never grow together with their neighbour again: once that is free, it is too small for a block of its own size. Without the
cache a training needs a tenth less memory. And large pages, where the system has them, make it 1 to 3 % faster.
"""


def start_anew() -> None:
    """Makes this process the same command with `TUNABLES`; does nothing where the user has tuned glibc, or it is not Linux."""
    if sys.platform == "linux" and not TUNABLES.keys() & os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | TUNABLES)
