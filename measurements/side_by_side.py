"""Compares the CPU time of two versions of mtnat: of an update of each system, and of the translation of a model.

    git worktree add /tmp/before v0.1
    python measurements/side_by_side.py /tmp/before . --model outputs/quickstart/best

Both versions do the same work at the same time on the same core, so both see the same state of the machine. The measure is
the CPU time of the process, not its wall-clock time, because the scheduler does not give each exactly one half of the core.
Each process repeats a block of work and reports the block with the least CPU time.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

SYSTEMS = ("at", "nat", "multi_task", "multi_task_sampled", "glat", "ctc")
BLOCKS, UPDATES, SENTENCES = 6, 30, 100


def main() -> int:
    """Prints the ratios of the CPU times of both versions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="folder of the version to compare with")
    parser.add_argument("new", type=Path, help="folder of the other version")
    parser.add_argument("--model", type=Path, help="folder of a model that both versions can load, to compare its translation")
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=SYSTEMS, help="systems to train (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="number of measurements of both versions (default: 3)")
    parser.add_argument("--core", type=int, default=0, help="number of the core on which both run (default: 0)")
    options = parser.parse_args()
    for folder in (options.old, options.new):
        if not (folder / "mtnat").is_dir():
            parser.error(f"{folder}: must be a folder that holds the package mtnat.")
    if options.core not in os.sched_getaffinity(0):
        parser.error(f"--core: must be one of {sorted(os.sched_getaffinity(0))}; got {options.core}.")
    work = [*options.systems, *([f"{decoder} {options.model.resolve()}" for decoder in ("nat", "at")] if options.model else [])]
    table = Table("work", "CPU time of new / old, median", "in each round")
    for name in work:
        ratios = []
        for _ in range(options.rounds):
            old, new = (_started(folder, name, options.core) for folder in (options.old, options.new))
            before, after = (_milliseconds(process) for process in (old, new))
            ratios.append(after / before)
        shown = f"translation, {name.split()[0]}" if " " in name else f"update, {name}"
        table.add_row(shown, f"{statistics.median(ratios):.3f}", " ".join(f"{ratio:.3f}" for ratio in ratios))
    Console().print(table)
    return 0


def _started(folder: Path, work: str, core: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, __file__, "--work", work],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder.resolve()), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def _milliseconds(process: "subprocess.Popen[str]") -> float:
    out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"side_by_side: a measurement failed with exit code {process.returncode}; see above.")
    return float(out)


def measure(work: str) -> float:
    """Returns the CPU time of one piece of work in milliseconds, with the version that this process imports."""
    torch.set_num_threads(1)
    name, _, model = work.partition(" ")
    return _translation(name, Path(model)) if model else _update(name)


def _update(system: str) -> float:
    from mtnat.bench.sizes import SIZES, experiment_of, training_text
    from mtnat.data import TokenStore
    from mtnat.training import Alone, Feed, Updater

    with tempfile.TemporaryDirectory() as folder:
        store = training_text(SIZES["tiny"], Path(folder) / "store", is_random=False)
        experiment = experiment_of(SIZES["tiny"], system, precision="fp32", compiles=False, batches_per_step=1)
        torch.manual_seed(1)
        pieces, workers = SIZES["tiny"].vocabulary_size, Alone("cpu")
        objective = experiment.build_objective(experiment.translator_of(pieces, pieces, joint=True).train())
        updater = Updater(experiment, objective, workers)
        with Feed(experiment, updater.module, TokenStore(store.folder), workers) as feed:
            return _least(lambda: [updater.step(feed.next()) for _ in range(UPDATES)]) / UPDATES


def _translation(decoder: str, folder: Path) -> float:
    from mtnat.data import prepare
    from mtnat.training import load_model

    model = load_model(folder)
    lines = prepare(model.experiment.data).test.sources[:SENTENCES]
    return _least(lambda: model.translate(lines, None, decoder)) / len(lines)


def _least(block: Callable[[], object]) -> float:
    """Returns the least CPU time of the blocks in milliseconds; the first block warms up."""
    times = []
    for _ in range(1 + BLOCKS):
        started = time.process_time()
        block()
        times.append((time.process_time() - started) * 1e3)
    return min(times[1:])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        print(measure(sys.argv[2]))
        sys.exit(0)
    sys.exit(main())
