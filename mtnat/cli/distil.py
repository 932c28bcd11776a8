"""``mtnat distil``: lets a teacher model translate the training text, for students to train on."""

import argparse
import gzip
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mtnat.cli.model import at_decoding_of
from mtnat.errors import DataError, ResourceError
from mtnat.files import copy_whole, whole_file
from mtnat.lab.tracking.models import model_folder
from mtnat.training import Distillation, default_device, file_sources, load_model, training_sources
from mtnat.training.shards import LINES_PER_SHARD


def run(options: argparse.Namespace) -> int:
    """Distils, or resumes a distillation. Several processes that run this command at once share the work."""
    output: Path = options.output
    if options.source and not options.source.exists():
        raise DataError(f"--source {options.source}: no such file; give a text file, plain or .gz.")
    rank = int(os.environ.get("LOCAL_RANK", 0))
    console = Console(stderr=True, quiet=rank > 0)
    with ExitStack() as stack:
        # Every process may download its own copy of the model. They still share the work, because the place of the results in
        # the cache depends on the content of the model, not on its path.
        folder = model_folder(options.model, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtnat-model-"))))
        model = load_model(folder)
        sources = file_sources(options.source) if options.source else training_sources(model.experiment.data)
        distillation = Distillation(folder, sources, at_decoding_of(options, model))
        _check_writable(output)
        device = default_device(rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _bar(console) as bar:
            task = bar.add_task("distilling", total=distillation.shards, completed=distillation.done)
            for _ in distillation.work(device):
                bar.update(task, completed=distillation.done)
    if rank == 0:
        _copy(distillation.targets, output)
        console.print(f"{sources.lines:,} lines in {output}", highlight=False, markup=False, soft_wrap=True)
        if not options.source:
            use = f"To train on them: data: {{distilled: {output.absolute()}}}"
            console.print(use, highlight=False, markup=False, soft_wrap=True)
    return 0


def _check_writable(output: Path) -> None:
    """Checks that the output can be written, before hours of work."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise ResourceError(f"--output {output}: cannot be written ({error.strerror}); give another path.") from None


def _copy(targets: Path, output: Path) -> None:
    """Copies the distilled text completely or not at all, and unpacks it unless `output` ends in .gz."""
    try:
        if output.suffix == ".gz":
            copy_whole(targets, output)
        else:
            with gzip.open(targets) as packed, whole_file(output) as plain:
                shutil.copyfileobj(packed, plain)
    except OSError as error:
        raise ResourceError(f"--output {output}: cannot be written ({error.strerror}); give another path.") from None


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"shards of {LINES_PER_SHARD:,} lines"),
    )
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)
