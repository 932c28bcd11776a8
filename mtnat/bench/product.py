"""The machine's own speed: how fast it multiplies two matrices now."""

import math
import time
from collections.abc import Callable
from mmap import mmap

import torch
from torch import Tensor

from mtnat.bench.device import wait_for

_MOST_ROWS_ON_CPU = 4_096
_SHORTEST_PRODUCT_SECONDS = 0.01


class Product:
    """The largest product of a model: states times the vocabulary's matrix.

    Of the two ways to lay the matrix out in memory the faster one counts. All workers that `meet` each other multiply at the
    same time, since what they share, they also share in training.
    """

    def __init__(
        self,
        rows: int,
        width: int,
        vocabulary_size: int,
        *,
        precision: torch.dtype,
        device: torch.device,
        meet: Callable[[], object] = lambda: None,
    ) -> None:
        rows = min(rows, _MOST_ROWS_ON_CPU) if device.type == "cpu" else rows
        self._shape = rows, width, vocabulary_size
        self._precision, self._device, self._meet = precision, device, meet
        self._is_turned, self._in_a_row = False, 1
        seconds = {is_turned: min(self._seconds(is_turned) for _ in range(3)) for is_turned in (False, True)}
        self._is_turned = seconds[True] < seconds[False]
        # As many in a row as make the clock, and the waiting for a GPU, too small to matter.
        self._in_a_row = max(1, round(_SHORTEST_PRODUCT_SECONDS / min(seconds.values())))

    @property
    def flops(self) -> int:
        """Floating-point operations of one product."""
        return 2 * math.prod(self._shape)

    def seconds(self) -> float:
        """How long one takes now."""
        return self._seconds(self._is_turned)

    def _seconds(self, is_turned: bool) -> float:
        rows, width, columns = self._shape
        left = self._room(rows, width).normal_()
        right = self._room(columns, width).normal_().t() if is_turned else self._room(width, columns).normal_()
        out = self._room(rows, columns)
        torch.mm(left, right, out=out)
        wait_for(self._device)
        self._meet()
        started = time.perf_counter()
        for _ in range(self._in_a_row):
            torch.mm(left, right, out=out)
        wait_for(self._device)
        return (time.perf_counter() - started) / self._in_a_row

    def _room(self, rows: int, columns: int) -> Tensor:
        """Memory for a matrix; on the CPU such as goes back to the system at once, so that it is not counted as an update's."""
        if self._device.type != "cpu":
            return torch.empty(rows, columns, dtype=self._precision, device=self._device)
        memory = mmap(-1, rows * columns * self._precision.itemsize)
        return torch.frombuffer(memory, dtype=self._precision).view(rows, columns)
