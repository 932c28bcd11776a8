"""``mtnat data select``: has an AT model score the training pairs, and selects those that it predicts well."""

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import torch
from rich.console import Console

from mtnat.cli.distil import bar_of_shards, check_writable, copy_result
from mtnat.config import replace
from mtnat.data.training_text import text_files
from mtnat.errors import ResourceError, UserError
from mtnat.files import check_not_an_input
from mtnat.lab.tracking.models import model_folder
from mtnat.training import PairScores, default_device, load_model, training_pairs
from mtnat.training.rejuvenation import inactive_pairs, write_selection


def run(options: argparse.Namespace) -> int:
    """Scores the pairs, or resumes that. Several processes that run this command at once share the work."""
    if not 0 < options.inactive < 1:
        raise UserError(f"--inactive: must be above 0 and below 1; got {options.inactive:g}.")
    rank = int(os.environ.get("LOCAL_RANK", 0))
    console = Console(stderr=True, quiet=rank > 0)
    with ExitStack() as stack:
        folder = model_folder(options.model, Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtnat-model-"))))
        experiment = load_model(folder).experiment
        precision = {"precision": options.precision} if options.precision else {}
        scoring = PairScores(folder, training_pairs(experiment.data), replace(experiment.decoding, precision))
        for option, path in (("--output", options.output), ("--scores", options.scores)):
            if path:
                check_not_an_input(option, path, text_files(experiment.data))
                check_writable(option, path)
        device = default_device(rank)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with bar_of_shards(console) as bar:
            task = bar.add_task("scoring", total=scoring.shards, completed=scoring.done)
            for _ in scoring.work(device):
                bar.update(task, completed=scoring.done)
    if rank == 0:
        is_inactive_N = inactive_pairs(scoring.scores(), options.inactive)
        try:
            write_selection(~is_inactive_N, options.output)
        except OSError as error:
            raise ResourceError(
                f"--output {options.output}: cannot be written ({error.strerror}); give another path."
            ) from None
        if options.scores:
            copy_result("--scores", scoring.result, options.scores)
        left_out = f"{int(is_inactive_N.sum()):,} of {len(is_inactive_N):,} pairs are left out by {options.output}"
        console.print(left_out, highlight=False, markup=False, soft_wrap=True)
        use = f"To train on the others: data: {{selected: {options.output.absolute()}}}"
        console.print(use, highlight=False, markup=False, soft_wrap=True)
    return 0
