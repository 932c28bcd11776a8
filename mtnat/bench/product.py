"""Speed of the machine: the time of a matrix product, as an estimate of the attainable peak."""

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
    """The largest matrix product of a model: hidden states times the output matrix of the vocabulary.

    The matrix may lie in memory by rows or by columns; the faster layout is used. Workers synchronise with `meet` and multiply
    at the same time, because they also share the machine in training.
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
        self._is_transposed, self._in_a_row = False, 1
        seconds = {is_transposed: min(self._seconds(is_transposed) for _ in range(3)) for is_transposed in (False, True)}
        self._is_transposed = seconds[True] < seconds[False]
        # Enough products in a row that the overhead of the clock and of the synchronisation with a GPU is negligible.
        self._in_a_row = max(1, round(_SHORTEST_PRODUCT_SECONDS / min(seconds.values())))

    @property
    def flops(self) -> int:
        """Floating-point operations of one product."""
        return 2 * math.prod(self._shape)

    def seconds(self) -> float:
        """Measures the current time of one product."""
        return self._seconds(self._is_transposed)

    def _seconds(self, is_transposed: bool) -> float:
        rows, width, columns = self._shape
        left = self._empty(rows, width).normal_()
        right = self._empty(columns, width).normal_().t() if is_transposed else self._empty(width, columns).normal_()
        out = self._empty(rows, columns)
        torch.mm(left, right, out=out)
        wait_for(self._device)
        self._meet()
        started = time.perf_counter()
        for _ in range(self._in_a_row):
            torch.mm(left, right, out=out)
        wait_for(self._device)
        return (time.perf_counter() - started) / self._in_a_row

    def _empty(self, rows: int, columns: int) -> Tensor:
        """Returns an uninitialised matrix.

        On the CPU, its memory is mapped, so that it returns to the system at once and does not count as that of an update.
        """
        if self._device.type != "cpu":
            return torch.empty(rows, columns, dtype=self._precision, device=self._device)
        memory = mmap(-1, rows * columns * self._precision.itemsize)
        return torch.frombuffer(memory, dtype=self._precision).view(rows, columns)
