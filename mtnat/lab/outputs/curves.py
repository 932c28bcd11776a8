"""The curves of a run: a point is a step with its metrics."""

import json
from collections.abc import Iterator, Mapping
from os import SEEK_END
from pathlib import Path

CURVES_FILE = "curves.jsonl"
"""File in a run's folder with every point of its curves, one per line."""


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
    """Yields all points that a run has reported, including those from before an interruption."""
    file = run_folder / CURVES_FILE
    for line in file.read_text(encoding="utf-8").split("\n") if file.exists() else ():
        if line.endswith("}}"):  # otherwise the line is still being written, or its process was killed
            yield read_point(line)
