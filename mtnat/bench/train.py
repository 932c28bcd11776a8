"""`bench train`: measures the training speed of each system, in target tokens per second, and its use of the machine."""

import statistics
import tempfile
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field

from mtnat.bench.children import in_children
from mtnat.bench.report import Row
from mtnat.bench.sizes import SIZES, SYSTEMS, SizeName, SystemName, experiment_of, training_text
from mtnat.bench.updates import Job, Measured, measure_updates, together
from mtnat.config import Record
from mtnat.errors import MtnatError, ResourceError, UserError

_REFERENCE: SystemName = "nat"


class TrainOptions(Record):
    """Options of `bench train`."""

    size: SizeName = "small"
    """Size of model, batch and text."""
    systems: tuple[SystemName, ...] = Field(tuple(SYSTEMS), min_length=1, strict=False)
    """The systems to measure. Mask-Predict (`nat`) is always measured, because the cost of the others is relative to it."""
    steps: int = Field(8, ge=1)
    """Number of timed updates in each process, after a warm-up."""
    rounds: int = Field(2, ge=1)
    """Number of measurements of each system, in turn; the median is reported."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """`training.precision`."""
    compile: bool = False
    """`training.compile`."""
    threads: int | None = Field(None, ge=1)
    """Threads of each worker. By default PyTorch's own choice, or 1 if several workers are compared with one."""
    workers: int = Field(1, ge=1)
    """If more than 1, each system is measured with one worker and with this number, on the same batches."""
    random_text: bool = False
    """Use random tokens with lengths like those of the corpus instead of its text."""


def bench_train(options: TrainOptions, say: Callable[[str], None]) -> list[Row]:
    """Measures the training of each system and returns a row for each system and number of workers.

    Args:
        say: receives progress messages, a line at a time.

    Raises:
        UserError: if the corpus is missing or there are too few GPUs.
        MtnatError: if a measurement failed.
    """
    if torch.cuda.is_available() and options.workers > torch.cuda.device_count():
        raise ResourceError(
            f"workers: must not exceed the number of GPUs; got {options.workers} and {torch.cuda.device_count()} GPUs."
        )
    with tempfile.TemporaryDirectory(prefix="mtnat-bench-") as folder:
        say(f"{options.size}: preparing the training text")
        store = training_text(SIZES[options.size], Path(folder) / "store", is_random=options.random_text)
        jobs = _jobs(options, store.folder)
        measured: dict[tuple[SystemName, int], list[Measured]] = {place: [] for place in jobs}
        meetings = (Path(folder) / f"meeting-{number}" for number in count())
        # All systems are measured in turn, so that a change in the machine's speed affects all of them.
        for number in range(1, options.rounds + 1):
            for (system, workers), job in jobs.items():
                found = _measured(job, system, next(meetings))
                measured[system, workers].append(found)
                pace = f"{found.target_tokens / found.seconds:,.0f} target tokens/s"
                say(f"round {number} of {options.rounds}: {system}, {_number(workers, 'worker')}: {pace}")
    return _rows(options, jobs, measured)


def _jobs(options: TrainOptions, store: Path) -> dict[tuple[SystemName, int], Job]:
    """Returns the job of each system and number of workers. The batches do not depend on the number of workers."""
    size = SIZES[options.size]
    batches = options.workers * -(-size.batches_per_step // options.workers)
    threads = options.threads or (torch.get_num_threads() if options.workers == 1 else 1)
    return {
        (system, workers): Job(
            experiment=experiment_of(
                size, system, precision=options.precision, compiles=options.compile, batches_per_step=batches
            ),
            store=store,
            vocabulary_size=size.vocabulary_size,
            steps=options.steps,
            threads=threads,
            workers=workers,
        )
        for system in SYSTEMS
        if system in (*options.systems, _REFERENCE)
        for workers in sorted({1, options.workers})
    }


def _measured(job: Job, system: str, meeting: Path) -> Measured:
    try:
        return together(in_children(measure_updates, [(job, rank, meeting) for rank in range(job.workers)]))
    except UserError:
        raise
    except MtnatError as error:
        raise MtnatError(
            f"bench train: {system} with {_number(job.workers, 'worker')} was not measured, {error}; "
            "if memory ran out, use a smaller --size or fewer --workers."
        ) from None


def _rows(
    options: TrainOptions, jobs: dict[tuple[SystemName, int], Job], measured: dict[tuple[SystemName, int], list[Measured]]
) -> list[Row]:
    pace = {place: statistics.median(one.target_tokens / one.seconds for one in all_) for place, all_ in measured.items()}
    # Relative to the speed of the machine, which may change from one measurement to the next.
    pace_by_peak = {
        place: statistics.median(one.target_tokens / one.seconds / one.peak_flops_per_second for one in all_)
        for place, all_ in measured.items()
    }
    rows: list[Row] = []
    for (system, workers), rounds in measured.items():
        row: Row = {
            "system": system,
            "precision": rounds[0].precision,
            "target_tokens_per_second": round(pace[system, workers], 1),
            "matmul_gflops": round(statistics.median(one.peak_flops_per_second for one in rounds) / 1e9, 1),
            "utilization": round(statistics.median(one.flops / one.seconds / one.peak_flops_per_second for one in rounds), 4),
            "cost_over_nat": round(pace_by_peak[_REFERENCE, workers] / pace_by_peak[system, workers], 3),
            "flops_per_target_token": round(statistics.median(one.flops / one.target_tokens for one in rounds)),
            "padding_share": round(statistics.median(one.padded / one.positions for one in rounds), 4),
            "peak_memory_bytes": round(statistics.median(one.peak_memory_bytes for one in rounds)),
            "size": options.size,
            "device": rounds[0].device,
            "threads": jobs[system, workers].threads,
            "workers": workers,
        }
        if options.workers > 1:
            row["speedup_over_one_worker"] = round(pace[system, workers] / pace[system, 1], 3)
        rows.append(row)
    return rows


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
