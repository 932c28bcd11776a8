"""Runs many short trials in several studies at once on one MLflow database, and measures whether anything grows or is lost.

    python measurements/soak.py --trials 300 --studies 3

Memory, open files, threads and processes are those of the drivers with everything that they started. The figures after the
warm-up, a fifth of the trials, are compared with those of the last fifth. At the end every trial must have its result, and its
run in MLflow with all its points.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

from mtnat.config import to_yaml
from mtnat.lab.outputs.folder import StudyFolder

ROOT = Path(__file__).parent.parent
STEPS, LOG_EVERY = 20, 2
SECONDS_BETWEEN_LOOKS = 5.0
MOST_TRACKED = 50_000


class Look(NamedTuple):
    """The state of all studies at one moment."""

    trials: int
    """Trials that have ended."""
    memory: float
    """Resident memory without what processes share, in MB."""
    files: int
    """Open files, sockets included."""
    threads: int
    processes: int
    disk: float
    """The folder of all studies, in MB, without Ray's own files."""


def main() -> int:
    """Runs the studies and prints what grew; the exit code is 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=300, help="trials of all studies together (default: 300)")
    parser.add_argument("--studies", type=int, default=3, help="studies at the same time (default: 3)")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/soak"), help="a new folder for the studies (default: %(default)s)"
    )
    options = parser.parse_args()
    options.outputs.mkdir(parents=True)
    uri = f"sqlite:///{(options.outputs / 'mlflow.db').absolute()}"
    each = options.trials // options.studies
    names = [f"soak-{number + 1}" for number in range(options.studies)]
    processes = []
    for number, name in enumerate(names):
        file = options.outputs / f"{name}.yaml"
        file.write_text(to_yaml(study(each, seed=number + 1)), encoding="utf-8")
        command = [sys.executable, str(ROOT / "tune.py"), str(file), "--outputs", str(options.outputs), "--tracking-uri", uri]
        with file.with_suffix(".log").open("wb") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    started, looks = time.monotonic(), list[Look]()
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(SECONDS_BETWEEN_LOOKS)
            looks.append(look(options.outputs, [process.pid for process in processes if process.poll() is None]))
    finally:
        for process in processes:
            process.terminate()
    minutes = (time.monotonic() - started) / 60
    show(looks, each * options.studies)
    problems = [f"{name}: exit code {process.wait()}" for name, process in zip(names, processes, strict=True) if process.wait()]
    problems += [problem for name in names for problem in lost(options.outputs, uri, name, each)]
    print(f"{each * options.studies} trials in {options.studies} studies at once, {minutes:.0f} minutes; lost: {len(problems)}")
    print("\n".join(problems))
    return bool(problems)


def study(trials: int, seed: int) -> dict[str, Any]:
    """Returns the study file of one study."""
    return {
        "question": "Does anything grow?",
        "experiment": {
            "data": {"corpus": "grammar-en-de", "corpus_size": 2_000, "vocabulary_size": 800},
            "model": {"width": 32, "heads": 2, "feed_forward": 64, "encoder_layers": 1, "decoder_layers": 1},
            "training": {
                "steps": STEPS,
                "max_tokens_per_batch": 256,
                "warmup_steps": 4,
                "log_every": LOG_EVERY,
                "validate_every": STEPS // 2,
                "valid_sentences": 20,
            },
            "decoding": {"iterations": 2, "length_candidates": 2},
            "seed": seed,
        },
        "search": {"training.peak_learning_rate": {"float": [1e-4, 1e-3], "log": True}},
        "trials": trials,
        "resources": {"at_once": 1},
    }


def look(outputs: Path, drivers: Sequence[int]) -> Look:
    """Measures the processes of the drivers and the disk."""
    memory = files = threads = number = 0
    for driver in drivers:
        with suppress(psutil.Error):
            for process in (psutil.Process(driver), *psutil.Process(driver).children(recursive=True)):
                with suppress(psutil.Error):  # it has just ended
                    memory += process.memory_full_info().uss
                    files += process.num_fds()
                    threads += process.num_threads()
                    number += 1
    ended = len(list(outputs.glob("soak-*/runs/*/run.json")))
    disk = 0
    for path in outputs.rglob("*"):
        with suppress(OSError):
            disk += path.stat().st_size if path.is_file() and ".tune" not in path.parts else 0
    return Look(ended, memory / 1e6, files, threads, number, disk / 1e6)


def show(looks: Sequence[Look], trials: int) -> None:
    """Prints the figures after the warm-up and at the end, and what a trial adds."""
    early = [each for each in looks if 0.2 * trials <= each.trials < 0.4 * trials]
    late = [each for each in looks if 0.7 * trials <= each.trials < 0.9 * trials]  # in the last tenth studies end
    table = Table()
    for heading in ("median of", f"{early[0].trials} to {early[-1].trials} trials", f"{late[0].trials} to {late[-1].trials}"):
        table.add_column(heading)
    table.add_column("for one trial")
    between = statistics.median(each.trials for each in late) - statistics.median(each.trials for each in early)
    for field, unit in (("memory", "MB"), ("files", ""), ("threads", ""), ("processes", ""), ("disk", "MB")):
        before, after = (statistics.median(getattr(each, field) for each in part) for part in (early, late))
        table.add_row(f"{field} {unit}", f"{before:.0f}", f"{after:.0f}", f"{(after - before) / between:+.2f}")
    Console(width=120).print(table)


def lost(outputs: Path, uri: str, name: str, trials: int) -> list[str]:
    """Returns what a study lacks in its folder or in MLflow, or has twice."""
    problems = []
    results = StudyFolder(outputs / name).results()
    failed = [run for run, result in results.items() if result.failed]
    if len(results) != trials or failed:
        problems.append(f"{name}: {len(results)} results of {trials}, {len(failed)} failed")
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("mtnat")
    assert found
    tracked = client.search_runs([found.experiment_id], max_results=MOST_TRACKED)
    (parent,) = (run for run in tracked if run.info.run_name == name)
    children = [run for run in tracked if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    finished = [run for run in children if run.info.status == "FINISHED"]
    if len(finished) != trials or len({run.data.tags["mtnat.run"] for run in children}) != len(children):
        problems.append(f"{name}: {len(finished)} finished runs in MLflow of {len(children)}, instead of {trials}")
    steps = list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
    gaps = [
        run.info.run_name
        for run in children
        if [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] != steps
    ]
    if gaps:
        problems.append(f"{name}: points of the loss are missing in MLflow, or there twice: {', '.join(gaps)}")
    return problems


if __name__ == "__main__":
    sys.exit(main())
