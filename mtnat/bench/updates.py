"""What one process measures: updates of a training, and the machine's own peak beside them."""

import math
import platform
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from mmap import mmap
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
BLOCKS_ON_GPU = 4
"""Into how many blocks the timed updates of a GPU are cut, which must not wait for it after each one."""

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
        product = _Product(job, workers, updater.precision)
        seconds, peak, memory, done = _timed(job, workers, updater, product)
    model_work = ModelWork(config.model, job.vocabulary_size, config.objective.encoder_passes)
    draws = [draw for work in done for draw in work.draws]
    pads = [padding(draw) for draw in draws]
    return Measured(
        seconds=seconds,
        target_tokens=sum(work.target_tokens for work in done),
        flops=sum(model_work.of(draw) for draw in draws),
        padded=sum(padded for padded, _ in pads),
        positions=sum(positions for _, positions in pads),
        peak_flops_per_second=peak,
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


def _timed(job: Job, workers: Workers, updater: Updater, product: "_Product") -> tuple[float, float, int, list[Work]]:
    """Wall-clock seconds of the timed updates, operations a second of products meanwhile, the updates' most bytes, their work.

    Updates and products take turns, because a machine that others share grows slower and faster within a minute.
    """
    is_compiled = job.experiment.training.compile
    in_a_block = 1 if workers.device.type == "cpu" else -(-job.steps // BLOCKS_ON_GPU)
    with Feed(job.experiment, TokenStore(job.store), workers) as feed:
        for _ in range(WARM_UP_UPDATES_COMPILED if is_compiled else WARM_UP_UPDATES):
            updater.step(feed.next())
        seconds, memory, product_seconds, done = 0.0, 0, [], list[Work]()
        while len(done) < job.steps:
            forget_peak(workers.device)
            _wait_for(workers.device)
            workers.meet()
            started = time.perf_counter()
            for _ in range(min(in_a_block, job.steps - len(done))):
                done.append(feed.next())
                updater.step(done[-1])
            _wait_for(workers.device)
            seconds += time.perf_counter() - started
            memory = max(memory, peak_bytes(workers.device))
            product_seconds.append(product.seconds())
        return seconds, product.flops / statistics.mean(product_seconds), memory, done


class _Product:
    """The largest product of a step: a batch's states times the vocabulary's matrix.

    Of the two ways to lay the matrix out in memory the faster one counts. All workers multiply at the same time, since what
    they share, they also share in training.
    """

    def __init__(self, job: Job, workers: Workers, precision: torch.dtype) -> None:
        rows = job.experiment.training.max_tokens_per_batch
        rows = min(rows, _MOST_ROWS_ON_CPU) if workers.device.type == "cpu" else rows
        self._shape = rows, job.experiment.model.width, job.vocabulary_size
        self._workers, self._precision = workers, precision
        self._is_turned, self._in_a_row = False, 1
        seconds = {is_turned: min(self._seconds(is_turned) for _ in range(3)) for is_turned in (False, True)}
        self._is_turned = seconds[True] < seconds[False]
        # As many in a row as make the clock, and the waiting for a GPU, too small to matter.
        self._in_a_row = max(1, round(_SHORTEST_PRODUCT_SECONDS / min(seconds.values())))

    @property
    def flops(self) -> int:
        """Floating-point operations of one product."""
        return 2 * math.prod(self._shape)

    def seconds(self) -> float:
        """How long one takes now."""
        return self._seconds(self._is_turned)

    def _seconds(self, is_turned: bool) -> float:
        rows, width, columns = self._shape
        left = self._room(rows, width).normal_()
        right = self._room(columns, width).normal_().t() if is_turned else self._room(width, columns).normal_()
        out = self._room(rows, columns)
        torch.mm(left, right, out=out)
        _wait_for(self._workers.device)
        self._workers.meet()
        started = time.perf_counter()
        for _ in range(self._in_a_row):
            torch.mm(left, right, out=out)
        _wait_for(self._workers.device)
        return (time.perf_counter() - started) / self._in_a_row

    def _room(self, rows: int, columns: int) -> Tensor:
        """Memory for a matrix; on the CPU such as goes back to the system at once, so that it is not counted as an update's."""
        if self._workers.device.type != "cpu":
            return torch.empty(rows, columns, dtype=self._precision, device=self._workers.device)
        memory = mmap(-1, rows * columns * self._precision.itemsize)
        return torch.frombuffer(memory, dtype=self._precision).view(rows, columns)


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
