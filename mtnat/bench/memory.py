"""Peak memory of processes."""

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import torch

# The kernel's own record of this process's peak. psutil lacks it, and sampling would miss short peaks.
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_SECONDS_BETWEEN_LOOKS = 0.05
_LARGEST_SHARE_OF_TIME = 0.02


def forget_peak(device: torch.device) -> None:
    """Resets the peak that `peak_bytes` returns."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # if the system forbids it, the peak covers the whole life of the process
        _CLEAR.write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Returns the peak in bytes: of PyTorch's memory on a GPU, or of the resident memory of this process.

    `ru_maxrss` is not used, because a process inherits it from its parent. On systems other than Linux and Windows the result
    is the memory that is resident now.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    memory = psutil.Process().memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


class FamilyPeak:
    """Context manager that records the peak memory of this process together with all its descendants.

    Pages that several processes share count once (PSS) on Linux, and not at all elsewhere. A thread samples the memory twenty
    times a second, less often if sampling is slow. The peak of this process alone is exact, since the system records it.
    """

    def __enter__(self) -> Self:
        self._largest = 0
        self._is_over = threading.Event()
        forget_peak(torch.device("cpu"))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def bytes(self) -> int:
        """The peak."""
        return max(self._largest, peak_bytes(torch.device("cpu")))

    def _watch(self) -> None:
        pause = 0.0
        while not self._is_over.wait(pause):
            started = time.perf_counter()
            this = psutil.Process()
            self._largest = max(self._largest, sum(map(_share, [this, *this.children(recursive=True)])))
            pause = max(_SECONDS_BETWEEN_LOOKS, (time.perf_counter() - started) / _LARGEST_SHARE_OF_TIME)


def _share(process: psutil.Process) -> int:
    """The bytes of a process, with its share of what it has in common with others; 0 where it is gone or is not ours."""
    with contextlib.suppress(psutil.Error):
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.uss))  # only Linux knows shares
    return 0
