"""``mtnat distil``: lets a teacher model translate the training text, for students to train on."""

import argparse
import gzip
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mtnat.cli.model import at_decoding_of
from mtnat.data import DataConfig
from mtnat.data.corpus import TextPair, open_raw_corpus, read_lines
from mtnat.data.dataset import default_cache
from mtnat.data.training_text import SelectedCorpus, text_files
from mtnat.errors import DataError, ResourceError, UserError
from mtnat.files import check_not_an_input, copy_whole, is_compressed, whole_file
from mtnat.lab.tracking.models import model_folder
from mtnat.training import Distillation, Text, default_device, file_sources, load_model, training_pairs, training_sources
from mtnat.training.rejuvenation import inactive_sources, write_rejuvenated
from mtnat.training.shards import LINES_PER_SHARD


def run(options: argparse.Namespace) -> int:
    """Distils, or resumes a distillation. Several processes that run this command at once share the work."""
    output: Path = options.output
    if options.source and options.rejuvenate:
        raise UserError("--rejuvenate: rewrites targets of the model's own training text; drop --source.")
    if options.source and not options.source.exists():
        raise DataError(f"--source {options.source}: no such file; give a text file, plain or .gz.")
    rank = int(os.environ.get("LOCAL_RANK", 0))
    console = Console(stderr=True, quiet=rank > 0)
    with ExitStack() as stack:
        # Every process may download its own copy of the model. They still share the work, because the place of the results in
        # the cache depends on the content of the model, not on its path.
        folder = model_folder(options.model, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtnat-model-"))))
        model = load_model(folder)
        unseen = _unseen(model.experiment.data) if options.rejuvenate else None
        if unseen:
            sources = inactive_sources(*unseen)
        else:
            sources = file_sources(options.source) if options.source else training_sources(model.experiment.data)
        distillation = Distillation(folder, sources, at_decoding_of(options, model))
        check_not_an_input("--output", output, [options.source] if options.source else text_files(model.experiment.data))
        check_writable("--output", output)
        device = default_device(rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with bar_of_shards(console) as bar:
            task = bar.add_task("distilling", total=distillation.shards, completed=distillation.done)
            for _ in distillation.work(device):
                bar.update(task, completed=distillation.done)
    if rank == 0:
        if unseen:
            _write_rejuvenated(unseen, distillation.targets, output)
            said = f"{sources.lines:,} of {unseen[0].lines:,} targets rewritten in {output}"
        else:
            copy_result("--output", distillation.targets, output)
            said = f"{sources.lines:,} lines in {output}"
        console.print(said, highlight=False, markup=False, soft_wrap=True)
        if not options.source:
            setting = "rejuvenated" if unseen else "distilled"
            use = f"To train on them: data: {{{setting}: {output.absolute()}}}"
            console.print(use, highlight=False, markup=False, soft_wrap=True)
    return 0


def _unseen(data: DataConfig) -> tuple[Text[TextPair], npt.NDArray[np.bool_]]:
    """Returns the corpus's own training pairs, and which of them a model was not trained on.

    Raises:
        UserError: the model was trained on all pairs.
        DataError: the corpus or the selection has problems.
    """
    if data.selected is None:
        raise UserError("--rejuvenate: the model was trained on all pairs; give one that was trained with data.selected.")
    selected = SelectedCorpus(open_raw_corpus(data, default_cache()), data.selected, default_cache())
    if problems := selected.problems():
        raise DataError(problems)
    return training_pairs(data), ~np.fromiter(selected.is_used(), np.bool_)


def _write_rejuvenated(unseen: tuple[Text[TextPair], npt.NDArray[np.bool_]], translations: Path, output: Path) -> None:
    try:
        write_rejuvenated(*unseen, read_lines(translations), output)
    except OSError as error:
        raise ResourceError(f"--output {output}: cannot be written ({error.strerror}); give another path.") from None


def check_writable(option: str, output: Path) -> None:
    """Checks that a file can be written, before hours of work.

    Raises:
        ResourceError: it cannot.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise ResourceError(f"{option} {output}: cannot be written ({error.strerror}); give another path.") from None


def copy_result(option: str, result: Path, output: Path) -> None:
    """Copies a result from the cache completely or not at all, and unpacks it unless `output` ends in .gz.

    Raises:
        ResourceError: the file cannot be written.
    """
    try:
        if is_compressed(output):
            copy_whole(result, output)
        else:
            with gzip.open(result) as packed, whole_file(output) as plain:
                shutil.copyfileobj(packed, plain)
    except OSError as error:
        raise ResourceError(f"{option} {output}: cannot be written ({error.strerror}); give another path.") from None


def bar_of_shards(console: Console) -> Progress:
    """Returns a progress bar that counts shards."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"shards of {LINES_PER_SHARD:,} lines"),
    )
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, *times, console=console, transient=True, disable=not console.is_terminal)
