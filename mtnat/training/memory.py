"""How this process holds memory."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Lets the C library keep freed blocks for the next update instead of giving them back to the system.

    An update asks for the same gigabyte as the one before, and the system hands it out anew, zeroed page by page: 60 additions
    of 4 MiB took 107 ms, against 15 ms in memory that was kept. Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _LARGEST)
        mallopt(_MMAP_THRESHOLD, 1 << 30)
