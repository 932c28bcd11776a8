"""What an update needs, prepared while the one before it computes."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch

from mtnat.data import BatchStream, Position, TokenStore
from mtnat.experiment import Experiment
from mtnat.objective import Draw, Moment, MultiTaskObjective
from mtnat.training.workers import Workers

_START = Position()


@dataclass(frozen=True, kw_only=True)
class Work:
    """One worker's batches of one update, with their noise, on the host."""

    step: int
    """Updates done before this one."""
    draws: tuple[Draw, ...]
    """The batches, or the micro-batches into which they are cut."""
    divisors: Mapping[str, float]
    """What the sum of each part of the loss over all of them is divided by; other workers' divisors are added to it."""
    dropout_seeds: tuple[int, ...]
    """One for each draw."""
    target_tokens: int
    """Of these batches, EOS included."""
    position: Position
    """Of the stream behind this update."""


class Feed:
    """An endless row of updates' work, one ahead of whoever takes it.

    All randomness of an update is a pure function of (seed, step, number of the batch within the step), so a run that
    is resumed, or shared among other workers, draws the same masks and the same dropout. A run whose batches are cut draws the
    same masks too, and other dropout.
    """

    def __init__(
        self,
        experiment: Experiment,
        objective: MultiTaskObjective,
        store: TokenStore,
        workers: Workers,
        *,
        step: int = 0,
        position: Position = _START,
        micro_batches: int = 1,
    ) -> None:
        """The work from an update on.

        Args:
            objective: whose branches draw the noise.
            step: updates done before the first one.
            position: of the stream before it.
            micro_batches: into how many each batch is cut.
        """
        self._experiment, self._objective = experiment, objective
        self._micro_batches = micro_batches
        self._pins = workers.device.type == "cuda"
        self._stream = BatchStream(
            store,
            max_tokens=experiment.training.max_tokens_per_batch,
            seed=experiment.seed,
            batches_per_step=experiment.training.batches_per_step,
            rank=workers.rank,
            workers=workers.size,
            position=position,
        )
        self._step = step
        self._thread = _thread_without_helpers("feed")
        self._ahead: Future[Work] = self._thread.submit(self._prepare)

    def next(self) -> Work:
        """The next update's work."""
        work = self._ahead.result()
        self._ahead = self._thread.submit(self._prepare)
        return work

    def close(self) -> None:
        """Ends the thread; what it has prepared is dropped."""
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _prepare(self) -> Work:
        step = self._step
        self._step += 1
        moment = Moment(step, self._experiment.training.steps)
        batches = self._stream.next_step()
        seeds = [_seeds(self._experiment.seed, step, number, self._micro_batches) for number, _ in batches]
        # Noise is drawn for the whole batch, so that cutting it changes no mask.
        draws = [
            self._objective.draw(batch.source_BS, batch.target_BT, moment, torch.Generator().manual_seed(seed))
            for (_, batch), (seed, _) in zip(batches, seeds, strict=True)
        ]
        seeded = [
            (micro_batch, seed)
            for draw, (_, dropout_seeds) in zip(draws, seeds, strict=True)
            for micro_batch, seed in zip(draw.split(self._micro_batches), dropout_seeds, strict=False)
        ]
        return Work(
            step=step,
            draws=tuple(draw.pin() if self._pins else draw for draw, _ in seeded),
            divisors={part: sum(draw.divisors[part] for draw in draws) for part in self._objective.parts},
            dropout_seeds=tuple(seed for _, seed in seeded),
            target_tokens=sum(batch.target_tokens for _, batch in batches),
            position=self._stream.position,
        )


def _thread_without_helpers(name: str) -> ThreadPoolExecutor:
    """A thread whose own operations run on one core.

    PyTorch would give it helpers besides those of the thread that trains. With more of them than there are cores libgomp lets
    each fall asleep as soon as an operation ends, instead of waiting for the next, and to wake them took 5 % of an update.
    """
    thread = ThreadPoolExecutor(1, name)
    threads = torch.get_num_threads()
    # PyTorch sets up a thread when it is first asked about it, and would overrule what was set before.
    thread.submit(torch.get_num_threads).result()
    thread.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(threads)  # threads that are yet to come get the latest number
    return thread


def _seeds(seed: int, step: int, number: int, micro_batches: int) -> tuple[int, list[int]]:
    """Seeds of the masks of one batch, and of dropout for each of its micro-batches."""
    state = np.random.SeedSequence((seed, step, number)).generate_state(1 + micro_batches, np.uint64)
    masks, *dropout = (int(each >> np.uint64(1)) for each in state)
    return masks, dropout
