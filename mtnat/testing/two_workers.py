"""Training by two workers, compared with training by one."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.testing.processes import processes
from mtnat.training import Alone, Distributed, Workers, fit

Losses = dict[str, list[dict[str, float]]]
"""The loss and its parts at each point of a run, by the name of the experiment."""


def assert_two_workers_equal_one(experiments: Mapping[str, Experiment], cache: Path, folder: Path) -> Losses:
    """Asserts that every loss and the final weights are the same except for rounding, and returns the losses of one worker.

    Args:
        experiments: what is trained, by a name for messages. It is picklable: two processes get it.
        cache: folder of prepared corpora.
        folder: an empty folder for the runs.
    """
    ranks = [processes().Process(target=_train_as_rank, args=(rank, experiments, cache, folder)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    alone = {name: _losses(each, cache, folder / "alone" / name, Alone("cpu")) for name, each in experiments.items()}
    for process in ranks:
        process.join()
        assert process.exitcode == 0
    together = torch.load(folder / "losses.pt")
    for name, points in alone.items():
        assert "train/loss" in points[0]
        for ours, theirs in zip(points, together[name], strict=True):
            assert theirs == pytest.approx(ours, rel=1e-4), name
        one, two = (_weights(folder / place / name) for place in ("alone", "together"))
        for weight in one:
            torch.testing.assert_close(two[weight], one[weight], rtol=0, atol=1e-3)
    return alone


def _train_as_rank(rank: int, experiments: Mapping[str, Experiment], cache: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    workers = Distributed("cpu")
    losses = {name: _losses(each, cache, folder / "together" / name, workers) for name, each in experiments.items()}
    if workers.leads:
        torch.save(losses, folder / "losses.pt")
    torch.distributed.destroy_process_group()


def _losses(experiment: Experiment, cache: Path, folder: Path, workers: Workers) -> list[dict[str, float]]:
    """The loss and its parts at each point."""
    points = fit(experiment, prepare(experiment.data, cache), folder, workers=workers)
    return [{name: value for name, value in point.metrics.items() if name.startswith("train/loss")} for point in points]


def _weights(run: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(run / "model" / "weights.pt")
    return weights
