"""What one process measures: updates of a training, and the machine's own peak beside them."""

import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from mtnat.bench.flops import ModelWork, padding
from mtnat.bench.memory import forget_peak, peak_bytes
from mtnat.data import TokenStore
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.objective import MultiTaskObjective
from mtnat.training import Alone, Distributed, Feed, Updater, Work, Workers, default_device

WARM_UP_UPDATES = 6
"""Until a process holds all the memory that its updates need; handing it out costs the system time."""
WARM_UP_UPDATES_COMPILED = 10
"""More, since a shape unlike those before may be compiled anew."""
PRODUCTS = 10
"""How many times the peak is measured; a median is taken."""

_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_MOST_ROWS_ON_CPU = 4_096
_SHORTEST_PRODUCT_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the processes of one measurement do together."""

    experiment: Experiment
    store: Path
    vocabulary_size: int
    steps: int
    """Updates that are timed."""
    threads: int
    """Of each worker."""
    workers: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one worker, or all of them together, did in the timed updates."""

    seconds: float
    target_tokens: int
    flops: int
    """Of the model itself; see `ModelWork`."""
    padded: int
    positions: int
    """Padded ones, and all."""
    peak_flops_per_second: float
    """Of a matrix product."""
    peak_memory_bytes: int
    """Of the worker that needed most."""
    precision: str
    device: str


def together(members: Sequence[Measured]) -> Measured:
    """The workers of one measurement as one."""
    return Measured(
        seconds=max(member.seconds for member in members),
        target_tokens=sum(member.target_tokens for member in members),
        flops=sum(member.flops for member in members),
        padded=sum(member.padded for member in members),
        positions=sum(member.positions for member in members),
        peak_flops_per_second=sum(member.peak_flops_per_second for member in members),
        peak_memory_bytes=max(member.peak_memory_bytes for member in members),
        precision=members[0].precision,
        device=members[0].device,
    )


def measure_updates(job: Job, rank: int, meeting: Path) -> Measured:
    """Trains a few updates as `mtnat.training.fit` does; every worker calls it, each in a fresh process.

    Args:
        meeting: where the workers find each other, a file that no measurement has used before.
    """
    torch.set_num_threads(job.threads)
    config = job.experiment
    with _workers(job, rank, meeting) as workers:
        torch.manual_seed(config.seed)
        translator = Translator(
            config.model,
            source_vocabulary_size=job.vocabulary_size,
            target_vocabulary_size=job.vocabulary_size,
            joint=True,
            with_at=config.objective.trains_at,
            with_nat=config.objective.trains_nat,
        ).to(workers.device)
        updater = Updater(config, MultiTaskObjective(translator.train(), config.objective), workers)
        peak_before = _peak(job, workers, updater.precision)
        forget_peak(workers.device)
        seconds, done = _timed(job, workers, updater)
        memory = peak_bytes(workers.device)
        peak_after = _peak(job, workers, updater.precision)
    model_work = ModelWork(config.model, job.vocabulary_size, config.objective.encoder_passes)
    draws = [draw for work in done for draw in work.draws]
    pads = [padding(draw) for draw in draws]
    return Measured(
        seconds=seconds,
        target_tokens=sum(work.target_tokens for work in done),
        flops=sum(model_work.of(draw) for draw in draws),
        padded=sum(padded for padded, _ in pads),
        positions=sum(positions for _, positions in pads),
        peak_flops_per_second=max(peak_before, peak_after),
        peak_memory_bytes=memory,
        precision=_PRECISIONS[updater.precision],
        device=_device_name(workers.device),
    )


@contextmanager
def _workers(job: Job, rank: int, meeting: Path) -> Iterator[Workers]:
    if job.workers == 1:
        yield Alone()
        return
    device = default_device(rank)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=job.workers)
    yield Distributed(device)
    dist.destroy_process_group()  # not after a failure, when it could wait for a worker that is gone


def _timed(job: Job, workers: Workers, updater: Updater) -> tuple[float, list[Work]]:
    """Wall-clock seconds of the timed updates and what was done in them; waits for the device only at both ends."""
    is_compiled = job.experiment.training.compile
    with Feed(job.experiment, TokenStore(job.store), workers) as feed:
        for _ in range(WARM_UP_UPDATES_COMPILED if is_compiled else WARM_UP_UPDATES):
            updater.step(feed.next())
        _wait_for(workers.device)
        workers.meet()
        started = time.perf_counter()
        done = []
        for _ in range(job.steps):
            done.append(feed.next())
            updater.step(done[-1])
        _wait_for(workers.device)
        return time.perf_counter() - started, done


def _peak(job: Job, workers: Workers, precision: torch.dtype) -> float:
    """Floating-point operations a second of the largest product of a step: a batch's states times the vocabulary's matrix.

    Of the two ways to lay the matrix out in memory the faster one counts. All workers multiply at the same time, since what
    they share, they also share in training.
    """
    rows = job.experiment.training.max_tokens_per_batch
    if workers.device.type == "cpu":
        rows = min(rows, _MOST_ROWS_ON_CPU)
    width, columns = job.experiment.model.width, job.vocabulary_size
    left, right = (torch.randn(shape, device=workers.device).to(precision) for shape in ((rows, width), (width, columns)))
    out = torch.empty(rows, columns, dtype=precision, device=workers.device)

    def seconds_of(matrix: Tensor, products: int = 1) -> float:
        _wait_for(workers.device)
        started = time.perf_counter()
        for _ in range(products):
            torch.mm(left, matrix, out=out)
        _wait_for(workers.device)
        return (time.perf_counter() - started) / products

    layouts = (right, right.t().contiguous().t())
    for matrix in layouts:
        seconds_of(matrix)
    seconds, faster = min((seconds_of(matrix), number) for number, matrix in enumerate(layouts))
    # As many in a row as make the clock, and the waiting for a GPU, too small to matter.
    in_a_row = max(1, round(_SHORTEST_PRODUCT_SECONDS / seconds))
    workers.meet()
    return 2 * rows * width * columns / statistics.median(seconds_of(layouts[faster], in_a_row) for _ in range(PRODUCTS))


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    """The GPU's or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
