"""The training curves between two points of a run's progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

CURVES = ("loss", "gradient_norm", "skipped_in_a_row", "target_tokens")
"""Names of the values that every update returns, over all workers. The sums and then the counts of the objective's parts and
measures follow them; see `Updater.curves`."""


@dataclass
class Window:
    """The updates since the last point."""

    names: tuple[str, ...]
    """Names of the values in each tensor; see `Updater.curves`."""
    parts: tuple[str, ...]
    """Names of the parts of the loss."""
    measures: tuple[str, ...] = ()
    """Names of the objective's measures."""
    curves: list[Tensor] = field(default_factory=list)
    """The tensor that each update returned, on the device."""
    seconds: float = 0.0
    """Wall-clock time of these updates."""

    def close(self) -> "ClosedWindow":
        """Starts an asynchronous copy of the curves to the host and empties the window."""
        stacked = torch.stack(self.curves)
        arrives = None
        if stacked.is_cuda:
            stacked = torch.empty_like(stacked, device="cpu", pin_memory=True).copy_(stacked, non_blocking=True)
            arrives = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrives.record()
        closed = ClosedWindow(self, stacked, arrives, self.seconds)
        self.curves, self.seconds = [], 0.0
        return closed


@dataclass(frozen=True)
class ClosedWindow:
    """A window whose curves are being copied to the host."""

    window: Window
    curves: Tensor
    arrives: torch.cuda.Event | None
    seconds: float

    def read(self) -> "Means":
        """Waits for the copy and computes the means."""
        if self.arrives is not None:
            self.arrives.synchronize()
        columns = dict(zip(self.window.names, self.curves.unbind(1), strict=True))
        is_taken = columns["skipped_in_a_row"] == 0
        taken = {name: column[is_taken] for name, column in columns.items()}
        values = {name: float(taken[name].mean()) for name in ("loss", "gradient_norm") if is_taken.any()}
        curves = {**{part: f"loss_{part}" for part in self.window.parts}, **{name: name for name in self.window.measures}}
        for name, curve in curves.items():
            if count := float(taken[f"count_{name}"].sum()):
                values[curve] = float(taken[f"sum_{name}"].sum()) / count
        return Means(
            values=values,
            target_tokens=int(columns["target_tokens"].sum()),
            skipped=int((~is_taken).sum()),
            skipped_in_a_row=int(columns["skipped_in_a_row"].max()),
        )


@dataclass(frozen=True)
class Means:
    """The means and sums over a window."""

    values: Mapping[str, float]
    """Means of the loss, the gradient norm, the parts and the measures, over the updates that were not skipped. A part without
    predictions in the window is left out."""
    target_tokens: int
    skipped: int
    skipped_in_a_row: int
    """Largest number of consecutive skipped updates up to an update of this window; it may start before the window."""
