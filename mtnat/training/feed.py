"""Preparation of the next update's batches in a background thread while the current update is computed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
import torch

from mtnat.data import BatchStream, Position, TokenStore
from mtnat.data.batches import check_fits
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
    """The divisor of each part of the loss, summed over these batches. The divisors of the other workers are added later."""
    dropout_seeds: tuple[int, ...]
    """One seed for each draw."""
    target_tokens: int
    """Number of target tokens in these batches, including EOS."""
    position: Position
    """Position of the stream after this update."""


class Feed:
    """An endless sequence of the updates' `Work`, prepared one update ahead.

    All random numbers of an update are a pure function of (seed, step, number of the batch within the step). They depend
    neither on earlier updates nor on the number of workers. A run that is resumed, or that continues with a different number of
    workers, therefore draws the same masks and the same dropout. Splitting batches into micro-batches does not change the
    masks; it changes the dropout, because each micro-batch has its own seed.

    Each stage of the training text (`DataConfig.stages`) has its own stream of batches. Its first epoch has the number after
    that in which the stage before ended, so that no two stages have the same order. Which stage an update belongs to depends
    only on its step, and so a run can be resumed at any step.
    """

    def __init__(
        self,
        experiment: Experiment,
        objective: MultiTaskObjective,
        store: TokenStore,
        workers: Workers,
        *,
        later: Sequence[TokenStore] = (),
        step: int = 0,
        position: Position = _START,
        micro_batches: int = 1,
    ) -> None:
        """Starts to prepare the first update.

        Args:
            objective: the objective whose branches draw the noise.
            store: the training text, or that of the first stage.
            later: the training text of each later stage.
            step: updates done before the first one.
            position: position of the stream before the first update: at the end of a stage, that of the stage's last stream.
            micro_batches: number of micro-batches into which each batch is split.

        Raises:
            DataError: a sentence of a text is longer than a batch.
        """
        self._experiment, self._objective, self._workers = experiment, objective, workers
        self._stores = (store, *later)
        assert len(self._stores) == len(experiment.stage_ends), "every stage needs its text"
        for each in later:  # their streams are opened only when they begin
            check_fits(each, experiment.training.max_tokens_per_batch)
        self._micro_batches = micro_batches
        self._pins = workers.device.type == "cuda"
        self._stage = experiment.stage_of(step)
        self._stream = self._open(_after(position) if step in experiment.stage_ends[:-1] else position)
        self._step = step
        self._thread = _thread_without_helpers("feed")
        self._ahead: Future[Work] = self._thread.submit(self._prepare)

    def next(self) -> Work:
        """Returns the work of the next update and starts to prepare the one after it."""
        work = self._ahead.result()
        self._ahead = self._thread.submit(self._prepare)
        return work

    def close(self) -> None:
        """Ends the thread and discards the prepared work."""
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _prepare(self) -> Work:
        step = self._step
        self._step += 1
        if (stage := self._experiment.stage_of(step)) != self._stage:
            self._stage = stage
            self._stream = self._open(_after(self._stream.position))
        moment = Moment(step, self._experiment.training.steps)
        batches = self._stream.next_step()
        seeds = [_seeds(self._experiment.seed, step, number, self._micro_batches) for number, _ in batches]
        # Noise is drawn for the whole batch, before splitting, so that the number of micro-batches does not change the masks.
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

    def _open(self, position: Position) -> BatchStream:
        """Returns the stream of the current stage."""
        training = self._experiment.training
        return BatchStream(
            self._stores[self._stage],
            max_tokens=training.max_tokens_per_batch,
            seed=self._experiment.seed,
            batches_per_step=training.batches_per_step,
            rank=self._workers.rank,
            workers=self._workers.size,
            position=position,
        )


def _after(position: Position) -> Position:
    """Returns the first position of a stage, given the last one of the stage before."""
    return Position(position.epoch + 1)


def _thread_without_helpers(name: str) -> ThreadPoolExecutor:
    """Creates an executor with one thread in which PyTorch operations use one core.

    By default PyTorch gives the thread OpenMP threads of its own, in addition to those of the training thread. If there are
    more OpenMP threads than cores, libgomp lets a thread sleep after each operation instead of waiting actively for the next
    one. Waking the threads took 5 % of an update.
    """
    thread = ThreadPoolExecutor(1, name)
    threads = torch.get_num_threads()
    # PyTorch initialises a thread's number of OpenMP threads at the first query and would overwrite a number set before that.
    thread.submit(torch.get_num_threads).result()
    thread.submit(torch.set_num_threads, 1).result()
    torch.set_num_threads(threads)  # threads created later inherit the number that was set last
    return thread


def _seeds(seed: int, step: int, number: int, micro_batches: int) -> tuple[int, list[int]]:
    """Returns the seed of a batch's masks and the dropout seeds of its micro-batches.

    The seed of the masks is the first number of the sequence, so it does not depend on the number of micro-batches.
    """
    state = np.random.SeedSequence((seed, step, number)).generate_state(1 + micro_batches, np.uint64)
    masks, *dropout = (int(each >> np.uint64(1)) for each in state)
    return masks, dropout
