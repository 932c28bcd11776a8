"""What every kind of workers promises, as a test class.

The author of a group of workers subclasses `WorkersContract` in a test file and says how a task runs on every member::

    from mtnat.testing.workers_contract import Task, WorkersContract

    class TestMine(WorkersContract):
        def run(self, task: Task, folder: Path) -> list[dict[str, Any]]:
            return [task(member, folder) for member in …]

The task and what it returns can be pickled, so members may be processes. All members compute on a CPU.
"""

# P parameters

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mtnat.training.workers import Workers

Task = Callable[[Workers, Path], dict[str, Any]]
"""What one member does; the folder is shared by all members."""


class WorkersContract:
    """Tests of one kind of workers; see the module's documentation."""

    def run(self, task: Task, folder: Path) -> list[dict[str, Any]]:
        """Runs a task on every member of one group at the same time and returns what each returned, by rank."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def members(cls, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
        """What each member of one group found, by rank."""
        return cls().run(observe, tmp_path_factory.mktemp("workers"))

    def test_the_members_are_numbered_and_one_leads(self, members: list[dict[str, Any]]) -> None:
        assert [each["rank"] for each in members] == list(range(len(members)))
        assert {each["size"] for each in members} == {len(members)}
        assert sum(each["leads"] for each in members) == 1
        assert all(each["device"] == "cpu" for each in members)

    def test_a_sum_is_over_all_members_and_leaves_its_argument_alone(self, members: list[dict[str, Any]]) -> None:
        ranks = range(len(members))
        for rank, each in enumerate(members):
            assert each["sum"] == [sum(rank + 1 for rank in ranks), sum(10.5 * rank for rank in ranks)]
            assert each["summed"] == [rank + 1, 10.5 * rank]

    def test_lists_are_gathered_by_rank(self, members: list[dict[str, Any]]) -> None:
        """They may differ in length, and one may be empty."""
        expected = [[f"{rank}.{number}" for number in range(rank)] for rank in range(len(members))]
        assert [each["gathered"] for each in members] == [expected] * len(members)

    def test_no_member_goes_on_before_all_have_met(self, members: list[dict[str, Any]]) -> None:
        """Each member writes a file before; the leader writes its own late."""
        assert [each["files_after_meeting"] for each in members] == [len(members)] * len(members)

    def test_gradients_are_averaged_over_the_members(self, members: list[dict[str, Any]]) -> None:
        mean = sum(rank + 1 for rank in range(len(members))) / len(members)
        for each in members:
            assert each["gradient"] == pytest.approx([mean, mean])

    def test_gradients_travel_in_the_last_backward_pass_only(self, members: list[dict[str, Any]]) -> None:
        """A member's own sum over its passes is what is averaged."""
        mean = sum(3 * (rank + 1) for rank in range(len(members))) / len(members)
        for rank, each in enumerate(members):
            assert each["after_first_pass"] == pytest.approx([rank + 1, rank + 1])
            assert each["after_last_pass"] == pytest.approx([mean, mean])

    def test_what_no_member_has_run_keeps_no_gradient(self, members: list[dict[str, Any]]) -> None:
        assert all(each["unused"] is None for each in members)

    def test_what_only_the_leader_has_run_is_averaged_too(self, members: list[dict[str, Any]]) -> None:
        """The others count as zero."""
        for each in members:
            assert each["used_by_leader"] == pytest.approx([1 / len(members)])

    def test_the_wrapped_module_has_the_modules_own_parameters(self, members: list[dict[str, Any]]) -> None:
        assert all(each["same_parameters"] for each in members)


class Parts(nn.Module):
    """A scalar from the parts that are named."""

    def __init__(self) -> None:
        super().__init__()
        self.always = nn.Parameter(torch.ones(2))
        self.sometimes = nn.Parameter(torch.ones(1))

    def forward(self, factor: float, *, runs_all: bool) -> Tensor:
        total = factor * self.always.sum()
        return total + self.sometimes.sum() if runs_all else total


def observe(workers: Workers, folder: Path) -> dict[str, Any]:
    """Uses everything that workers offer; the task of `WorkersContract`."""
    torch.set_num_threads(1)
    values = torch.tensor([workers.rank + 1, 10.5 * workers.rank], dtype=torch.float64)
    found: dict[str, Any] = {
        "rank": workers.rank,
        "size": workers.size,
        "leads": workers.leads,
        "device": workers.device.type,
        "sum": workers.sum(values).tolist(),
        "summed": values.tolist(),
        "gathered": workers.gather([f"{workers.rank}.{number}" for number in range(workers.rank)]),
    }
    if workers.leads:
        time.sleep(0.3)
    (folder / f"before-{workers.rank}").touch()
    workers.meet()
    found["files_after_meeting"] = len(list(folder.glob("before-*")))

    module = Parts()
    parallel = workers.parallel(module, always_runs_all=False)
    found["same_parameters"] = all(
        ours is theirs for ours, theirs in zip(module.parameters(), parallel.parameters(), strict=True)
    )
    _backward(workers, parallel, is_last=True)
    assert module.always.grad is not None
    found["gradient"] = module.always.grad.tolist()
    found["unused"] = module.sometimes.grad

    parallel.zero_grad(set_to_none=True)
    _backward(workers, parallel, is_last=False)
    assert module.always.grad is not None
    found["after_first_pass"] = module.always.grad.tolist()
    _backward(workers, parallel, is_last=True, factor=2)
    found["after_last_pass"] = module.always.grad.tolist()

    parallel.zero_grad(set_to_none=True)
    _backward(workers, parallel, is_last=True, runs_all=workers.leads)
    found["used_by_leader"] = None if module.sometimes.grad is None else module.sometimes.grad.tolist()
    return found


def _backward(workers: Workers, module: nn.Module, *, is_last: bool, factor: float = 1, runs_all: bool = False) -> None:
    """One backward pass whose gradient is the member's number, from 1, times the factor."""
    with workers.last_of(module, is_last=is_last):
        module(factor * (workers.rank + 1), runs_all=runs_all).backward()
