"""Measurement of one process: updates of a training, and the peak speed of the machine in between."""

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist

from mtnat.bench.device import device_name, wait_for
from mtnat.bench.memory import forget_peak, peak_bytes
from mtnat.bench.product import Product
from mtnat.data import TokenStore
from mtnat.experiment import Experiment
from mtnat.model import Translator, precision_name
from mtnat.model.flops import ModelFlops
from mtnat.objective import Draw
from mtnat.tokens import PAD
from mtnat.training import Alone, Distributed, Feed, Updater, Work, Workers, default_device
from mtnat.training.teacher import stand_in_teacher

WARM_UP_UPDATES = 10
"""Untimed updates, in which a process allocates its memory, and the compiler or oneDNN generate code for the shapes."""
BLOCKS_ON_GPU = 4
"""Number of blocks of the timed updates on a GPU. Within a block, the CPU does not wait for the GPU."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """Common input of all processes of one measurement."""

    experiment: Experiment
    store: Path
    vocabulary_size: int
    steps: int
    """Number of timed updates."""
    threads: int
    """Threads of each worker."""
    workers: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Figures of the timed updates, of one worker or of all of them together."""

    seconds: float
    target_tokens: int
    flops: int
    """Operations that the model requires; see `ModelWork`."""
    padded: int
    """Padded positions."""
    positions: int
    """All positions, padded ones included."""
    peak_flops_per_second: float
    """Speed of a matrix product."""
    peak_memory_bytes: int
    """Peak memory; the maximum over workers."""
    precision: str
    device: str


def together(members: Sequence[Measured]) -> Measured:
    """Combines the figures of all workers of one measurement."""
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
    """Trains a few updates as `mtnat.training.fit` does. Every worker calls this function, each in a new process.

    Args:
        meeting: file through which the workers find each other; each measurement needs a new one.
    """
    torch.set_num_threads(job.threads)
    config = job.experiment
    with _workers(job, rank, meeting) as workers:
        torch.manual_seed(config.seed)

        def new(experiment: Experiment) -> Translator:
            return experiment.translator_of(job.vocabulary_size, job.vocabulary_size, joint=True).to(workers.device).train()

        translator = new(config)
        stand_in_teacher(config, translator, new)
        objective = config.build_objective(translator)
        updater = Updater(config, objective, workers)
        product = Product(
            config.training.max_tokens_per_batch,
            config.model.width,
            job.vocabulary_size,
            precision=updater.precision,
            device=workers.device,
            meet=workers.meet,
        )
        seconds, peak, memory, done = _timed(job, workers, updater, product)
    model_flops = ModelFlops(config.model, job.vocabulary_size)
    draws = [draw for work in done for draw in work.draws]
    pads = [padding(draw) for draw in draws]
    return Measured(
        seconds=seconds,
        target_tokens=sum(work.target_tokens for work in done),
        flops=sum(objective.flops(model_flops, draw) for draw in draws),
        padded=sum(padded for padded, _ in pads),
        positions=sum(positions for _, positions in pads),
        peak_flops_per_second=peak,
        peak_memory_bytes=memory,
        precision=precision_name(updater.precision),
        device=device_name(workers.device),
    )


def padding(draw: Draw) -> tuple[int, int]:
    """Returns the number of padded positions of the source and of the branches' targets, and the number of all positions."""
    rectangles = [draw.source_BS, *(noise.tensors["target"] for noise in draw.noise.values() if noise.sentences)]
    return sum(int((tokens == PAD).sum()) for tokens in rectangles), sum(tokens.numel() for tokens in rectangles)


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
    dist.destroy_process_group()  # not after a failure, when it could wait for a worker that has ended


def _timed(job: Job, workers: Workers, updater: Updater, product: Product) -> tuple[float, float, int, list[Work]]:
    """Measures the updates.

    Updates and matrix products alternate, because the speed of a shared machine changes within a minute.

    Returns:
        The wall-clock seconds of the timed updates, the operations per second of the products, the peak memory of the updates
        in bytes, and the work of each update.
    """
    in_a_block = 1 if workers.device.type == "cpu" else -(-job.steps // BLOCKS_ON_GPU)
    with Feed(job.experiment, updater.module, TokenStore(job.store), workers) as feed:
        for _ in range(WARM_UP_UPDATES):
            updater.step(feed.next())
        seconds, memory, product_seconds, done = 0.0, 0, [], list[Work]()
        while len(done) < job.steps:
            forget_peak(workers.device)
            wait_for(workers.device)
            workers.meet()
            started = time.perf_counter()
            for _ in range(min(in_a_block, job.steps - len(done))):
                done.append(feed.next())
                updater.step(done[-1])
            wait_for(workers.device)
            seconds += time.perf_counter() - started
            memory = max(memory, peak_bytes(workers.device))
            product_seconds.append(product.seconds())
        return seconds, product.flops / statistics.mean(product_seconds), memory, done
