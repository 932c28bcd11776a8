"""The training curves between two points."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from mtnat.objective import PARTS

CURVES = (
    "loss",
    "gradient_norm",
    "skipped_in_a_row",
    "target_tokens",
    *(f"sum_{part}" for part in PARTS),
    *(f"count_{part}" for part in PARTS),
)
"""What an update tells of itself, over all workers, in the order in which its tensor holds it."""


@dataclass
class Window:
    """The updates since the last point."""

    curves: list[Tensor] = field(default_factory=list)
    """`CURVES` of each, on the device."""
    seconds: float = 0.0
    """Wall-clock time of their training."""

    def close(self) -> "ClosedWindow":
        """Sends the curves on their way to the host without waiting for them, and begins anew."""
        stacked = torch.stack(self.curves)
        arrives = None
        if stacked.is_cuda:
            stacked = torch.empty_like(stacked, device="cpu", pin_memory=True).copy_(stacked, non_blocking=True)
            arrives = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrives.record()
        closed = ClosedWindow(stacked, arrives, self.seconds)
        self.curves, self.seconds = [], 0.0
        return closed


@dataclass(frozen=True)
class ClosedWindow:
    """Curves that are on their way to the host."""

    curves: Tensor
    arrives: torch.cuda.Event | None
    seconds: float

    def read(self) -> "Means":
        """Waits for them."""
        if self.arrives is not None:
            self.arrives.synchronize()
        columns = dict(zip(CURVES, self.curves.unbind(1), strict=True))
        is_taken = columns["skipped_in_a_row"] == 0
        taken = {name: column[is_taken] for name, column in columns.items()}
        values = {name: float(taken[name].mean()) for name in ("loss", "gradient_norm") if is_taken.any()}
        for part in PARTS:
            if count := float(taken[f"count_{part}"].sum()):
                values[f"loss_{part}"] = float(taken[f"sum_{part}"].sum()) / count
        return Means(
            values=values,
            target_tokens=int(columns["target_tokens"].sum()),
            skipped=int((~is_taken).sum()),
            skipped_in_a_row=int(columns["skipped_in_a_row"].max()),
        )


@dataclass(frozen=True)
class Means:
    """What a window comes to."""

    values: Mapping[str, float]
    """Means of the loss, of the parts that ran and of the gradient norm, over the updates that were not skipped."""
    target_tokens: int
    skipped: int
    skipped_in_a_row: int
    """The most that this window has seen, those just before it included."""
