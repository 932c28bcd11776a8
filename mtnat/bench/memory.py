"""How much memory a process needed at most."""

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
    """Begins `peak_bytes` anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # where that is forbidden, the peak is that of the whole process
        (_PROC / "self/clear_refs").write_text("5")


def peak_bytes(device: torch.device) -> int:
    """Most bytes PyTorch held on a GPU, or on the CPU the most that were resident in this process.

    Not `ru_maxrss`, which a process inherits from the one that started it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _kibibytes(_PROC / "self/status", "VmHWM:") * 1024


class FamilyPeak:
    """The most memory that this process and all its descendants held together while the context was open.

    Pages that several of them share count once (PSS). A thread looks twenty times a second, less often where looking is slow;
    what this process alone held at most is known without looking.
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
            family = _family()
            self._largest = max(self._largest, sum(_kibibytes(member / "smaps_rollup", "Pss:") * 1024 for member in family))
            pause = max(_SECONDS_BETWEEN_LOOKS, (time.perf_counter() - started) / _LARGEST_SHARE_OF_TIME)


def _family() -> list[Path]:
    """The folders in /proc of this process and all its descendants."""
    children: dict[str, list[str]] = {}
    for status in _PROC.glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parent = status.read_text().rpartition(")")[2].split()[1]
            children.setdefault(parent, []).append(status.parent.name)
    found = [str(Path("/proc/self").resolve().name)]
    for number in found:
        found += children.get(number, [])
    return [_PROC / number for number in found]


def _kibibytes(file: Path, name: str) -> int:
    """A line of a file in /proc, such as ``VmHWM: 1234 kB``; 0 where the process is gone or is not ours."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    return 0
