"""The curves of a run, point by point."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

CURVES_FILE = "curves.jsonl"
"""File of a run's folder: every point of its curves, one a line."""


def write_point(step: int, metrics: Mapping[str, float]) -> str:
    """A point of the curves as text."""
    return json.dumps({"step": step, "metrics": dict(metrics)})


def read_point(text: str) -> tuple[int, dict[str, float]]:
    """What `write_point` wrote."""
    point = json.loads(text)
    return point["step"], point["metrics"]


def read_curves(run_folder: Path) -> Iterator[tuple[int, dict[str, float]]]:
    """The points that a run has reported so far, also before it was interrupted."""
    file = run_folder / CURVES_FILE
    for line in file.read_text(encoding="utf-8").split("\n") if file.exists() else ():
        if line.endswith("}}"):  # else it is being written
            yield read_point(line)
