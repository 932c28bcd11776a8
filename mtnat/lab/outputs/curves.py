"""The curves of a run: a point is a step with its metrics."""

import json
from collections.abc import Iterator, Mapping
from os import SEEK_END
from pathlib import Path

CURVES_FILE = "curves.jsonl"
"""File in a run's folder with every point of its curves, one per line."""
_BEGINNING = b'{"step": '


def write_point(step: int, metrics: Mapping[str, float]) -> str:
    """Returns a point as text."""
    return json.dumps({"step": step, "metrics": dict(metrics)})


def read_point(text: str) -> tuple[int, dict[str, float]]:
    """Returns the step and the metrics of a point that `write_point` wrote."""
    point = json.loads(text)
    return point["step"], point["metrics"]


def append_point(run_folder: Path, point: str) -> None:
    """Appends a point to a run's curves. A line that a killed process left incomplete stays a line of its own."""
    with (run_folder / CURVES_FILE).open("a+b") as file:
        if file.tell():
            file.seek(-1, SEEK_END)
            if file.read() != b"\n":
                file.write(b"\n")
        file.write(f"{point}\n".encode())


def read_curves(run_folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """Yields all points that a run has reported, including those from before an interruption. Damaged lines are left out."""
    for line in _lines(run_folder):
        if (point := _point_in(line)) is not None:
            yield point


def damaged_lines(run_folder: Path) -> int:
    """Returns the number of lines that are no point.

    A line whose end is missing does not count: a kill can leave one behind, and the run reports its point again.
    """
    return sum(bool(line) and _point_in(line) is None and not line.startswith(_BEGINNING) for line in _lines(run_folder))


def _lines(run_folder: Path) -> list[bytes]:
    file = run_folder / CURVES_FILE
    return file.read_bytes().split(b"\n") if file.exists() else []


def _point_in(line: bytes) -> tuple[int, dict[str, float]] | None:
    """Returns the point in a line; None if there is none."""
    try:
        step, metrics = read_point(line.decode())
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    is_point = (
        type(step) is int and isinstance(metrics, dict) and all(type(value) in (int, float) for value in metrics.values())
    )
    return (step, metrics) if is_point else None
