"""Compares the speed of two versions of mtnat with one of its own measurements, such as `bench train`.

Both versions run the same command at the same time on the same core. The scheduler alternates between them every few
milliseconds, so both see the same speed of the machine, however it varies. Their figures are half of what each reaches alone;
only the ratios have a meaning.

    git worktree add /tmp/before v0.1
    python measurements/side_by_side.py /tmp/before . -- bench train --size tiny --steps 200 --rounds 1 --threads 1 --json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

IDENTITY = ("system", "workers", "decoder", "passes", "length_candidates", "beam", "rerank")
"""Columns that identify a row in both versions."""
FASTER_IF_LARGER = ("target_tokens_per_second", "sentences_per_second", "pairs_per_second")
FASTER_IF_SMALLER = ("latency_ms",)

Speeds = Mapping[str, float]
"""Name of a figure → its speed; larger is faster."""


def main() -> int:
    """Prints the ratio of the speeds of both versions for every row of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="folder of the version to compare with")
    parser.add_argument("new", type=Path, help="folder of the other version")
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements of both versions (default: 3)")
    parser.add_argument("--core", type=int, default=0, help="number of the core on which both run (default: 0)")
    parser.add_argument("command", nargs="+", help="a command of mtnat that prints lines of JSON, after --")
    options = parser.parse_args()
    for folder in (options.old, options.new):
        if not (folder / "mtnat").is_dir():
            parser.error(f"{folder}: must be a folder that holds the package mtnat.")
    if options.core not in os.sched_getaffinity(0):
        parser.error(f"--core: must be one of {sorted(os.sched_getaffinity(0))}; got {options.core}.")
    ratios = defaultdict[str, list[float]](list)
    for number in range(options.rounds):
        folders = (
            [options.old, options.new] if number % 2 == 0 else [options.new, options.old]
        )  # the first starts a bit earlier
        started = {folder: _started(folder, options.command, options.core) for folder in folders}
        speeds = {folder: dict(_speeds(folder, process)) for folder, process in started.items()}
        for name, speed in speeds[options.new].items():
            if name in speeds[options.old]:
                ratios[name].append(speed / speeds[options.old][name])
    _show(ratios)
    return 0


def _started(folder: Path, command: Sequence[str], core: int) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(folder.resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "mtnat", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def _speeds(folder: Path, process: "subprocess.Popen[str]") -> Iterator[tuple[str, float]]:
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"side_by_side: {folder}: the command failed with exit code {process.returncode}; see above.")
    for row in map(json.loads, out.splitlines()):
        name = _name(row)
        yield from ((f"{name}: {figure}", row[figure]) for figure in FASTER_IF_LARGER if row.get(figure))
        yield from ((f"{name}: {figure}", 1 / row[figure]) for figure in FASTER_IF_SMALLER if row.get(figure))


def _name(row: Mapping[str, Any]) -> str:
    """Returns a name of the row that is the same in both versions."""
    return ", ".join(f"{column} {row[column]}" for column in IDENTITY if row.get(column) is not None)


def _show(ratios: Mapping[str, Sequence[float]]) -> None:
    table = Table("figure", "speed of new / old, median", "in each round")
    for name, found in ratios.items():
        table.add_row(name, f"{statistics.median(found):.3f}", " ".join(f"{ratio:.3f}" for ratio in found))
    console = Console()
    console.print(table)
    console.print(f"all: geometric mean {statistics.geometric_mean([one for found in ratios.values() for one in found]):.3f}")


if __name__ == "__main__":
    sys.exit(main())
