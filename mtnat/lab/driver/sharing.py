"""Work on the training text that all workers of the cluster share."""

from collections.abc import Callable
from typing import Any

import ray
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mtnat.errors import StudyError
from mtnat.lab.study.resources import Resources
from mtnat.training import Shards

MOST_RETRIES = 3
"""How often a worker whose process died is restarted; the other workers continue with its shards."""


def share(
    work: Shards[Any],
    model: str,
    verb: str,
    *,
    resources: Resources,
    workers: int,
    console: Console,
    check: Callable[[], None],
) -> None:
    """Has a model work on all shards of a text. Each worker takes a shard that no other worker has.

    Args:
        model: the name of the model in messages.
        verb: what it does with the text, in messages.
        workers: the largest number of processes.
        check: called regularly; may raise to end the work.

    Raises:
        StudyError: the work failed.
    """
    workers = min(work.shards, workers)
    console.print(f"{model}: {verb}s {work.shards} shards of the training text on {workers} workers", highlight=False)
    task = ray.remote(num_cpus=resources.cpus_per_worker, num_gpus=resources.gpus_per_worker, max_retries=MOST_RETRIES)(_work)
    pending = [task.remote(work, resources) for _ in range(workers)]
    columns = (TextColumn(model), BarColumn(), MofNCompleteColumn(), TextColumn("shards"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=not console.is_terminal) as bar:
        shown = bar.add_task(verb, total=work.shards)
        try:
            while pending:
                ended, pending = ray.wait(pending, timeout=0.5)
                check()
                ray.get(ended)
                bar.update(shown, completed=work.done)
        except ray.exceptions.RayError as error:
            reason = " ".join(str(error.cause if isinstance(error, ray.exceptions.RayTaskError) else error).split())[:300]
            raise StudyError(f"{model}: cannot {verb} the training text ({reason}); run again with --resume.") from None
        finally:
            for one in pending:
                ray.cancel(one, force=True)


def _work(work: Shards[Any], resources: Resources) -> None:
    """The work of one worker, in a separate process."""
    torch.set_num_threads(resources.cpus_per_worker)
    for _ in work.work("cuda" if resources.gpus_per_worker else "cpu"):
        pass
