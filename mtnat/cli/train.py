"""``mtnat train``: trains one experiment."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mtnat import training
from mtnat.config import build, read_yaml
from mtnat.data import prepare
from mtnat.errors import ConfigError, ResourceError
from mtnat.experiment import Experiment
from mtnat.process import typed


def run(options: argparse.Namespace) -> int:
    """Trains, or resumes a training."""
    if options.micro_batches < 1:
        raise ConfigError(f"--micro-batches: must be at least 1; got {options.micro_batches}.")
    experiment = build(Experiment, read_yaml(options.experiment))
    folder = options.output or Path("outputs") / options.experiment.stem
    dataset = prepare(experiment.data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written ({error.strerror}); give another folder with --output.") from None
    workers = _workers()
    console = Console(stderr=True, quiet=not workers.leads)
    pairs = ", then ".join(f"{len(store):,}" for store in dataset.stages)
    console.print(f"{pairs} training pairs, {dataset.left_out:,} left out; writing to {folder}", highlight=False)
    points = training.fit(
        experiment,
        dataset,
        folder,
        workers=workers,
        micro_batches=options.micro_batches,
        say=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
    )
    for progress in _shown(points, experiment, console):
        if progress.finished and workers.leads:
            print(f"valid BLEU {progress.metrics['final/valid_bleu']:.2f}")
            print(f"{typed('mtnat')} translate --model {folder / 'model'} < input.txt")
    return 0


def _workers() -> training.Workers:
    """Returns the workers: this process alone, or the process group that torchrun started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return training.Alone()
    device = training.default_device(int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return training.Distributed(device)


def _shown(points: Iterator[training.Progress], experiment: Experiment, console: Console) -> Iterator[training.Progress]:
    """Yields the points; shows a progress bar on a terminal, and prints a line for each validation."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=experiment.training.steps, state="")
        for point in points:
            metrics = point.metrics
            if "train/loss" in metrics:
                state = "loss {train/loss:.3f}, λ {train/lambda:.2f}, {train/tokens_per_second:,.0f} tokens/s".format(**metrics)
                bar.update(task, completed=point.step, state=state)
                if "valid/bleu" in metrics or not console.is_terminal:
                    valid = f", valid BLEU {metrics['valid/bleu']:.2f}" if "valid/bleu" in metrics else ""
                    bar.console.print(f"step {point.step:,} of {point.total_steps:,}: {state}{valid}", highlight=False)
            if point.finished and point.step < point.total_steps:
                bar.update(task, total=point.step, completed=point.step)
                reason = f"training.patience is {experiment.training.patience}"
                bar.console.print(f"stopped at step {point.step:,} of {point.total_steps:,}: {reason}", highlight=False)
            yield point
