"""Peak memory of a process and of its descendants."""

import contextlib
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import torch

_PROC = Path("/proc")
_SECONDS_BETWEEN_LOOKS = 0.05
_LARGEST_SHARE_OF_TIME = 0.02


def forget_peak(device: torch.device) -> None:
    """Resets the peak that `peak_bytes` returns."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # if the system forbids it, the peak covers the whole life of the process
        (_PROC / "self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Returns the peak in bytes: of PyTorch's memory on a GPU, or of the resident memory of this process.

    `ru_maxrss` is not used, because a process inherits it from its parent.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _kibibytes(_PROC / "self/status", "VmHWM:") * 1024


class FamilyPeak:
    """Context manager that records the peak memory of this process together with all its descendants.

    Pages that several processes share count once (PSS). A thread samples the memory twenty times a second, less often if
    sampling is slow. The peak of this process alone is exact, since the kernel records it.
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
        """The peak in bytes."""
        return max(self._largest, peak_bytes(torch.device("cpu")))

    def _watch(self) -> None:
        pause = 0.0
        while not self._is_over.wait(pause):
            started = time.perf_counter()
            family = _family()
            self._largest = max(self._largest, sum(_kibibytes(member / "smaps_rollup", "Pss:") * 1024 for member in family))
            pause = max(_SECONDS_BETWEEN_LOOKS, (time.perf_counter() - started) / _LARGEST_SHARE_OF_TIME)


def _family() -> list[Path]:
    """Returns the folders in /proc of this process and of all its descendants."""
    children: dict[str, list[str]] = {}
    for status in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has just ended
            parent = status.read_text().rpartition(")")[2].split()[1]
            children.setdefault(parent, []).append(status.parent.name)
    found = [str(Path("/proc/self").resolve().name)]
    for number in found:
        found += children.get(number, [])
    return [_PROC / number for number in found]


def _kibibytes(file: Path, name: str) -> int:
    """Reads a line such as ``VmHWM: 1234 kB`` of a file in /proc; 0 if the process has ended or cannot be read."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
