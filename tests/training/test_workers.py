"""The contract of `mtnat.testing` on both kinds of workers."""

from pathlib import Path
from typing import Any

import torch

from mtnat.testing.processes import processes
from mtnat.testing.workers_contract import Task, WorkersContract
from mtnat.training import Alone, Distributed


class TestAlone(WorkersContract):
    def run(self, task: Task, folder: Path) -> list[dict[str, Any]]:
        return [task(Alone("cpu"), folder)]


class TestDistributed(WorkersContract):
    def run(self, task: Task, folder: Path) -> list[dict[str, Any]]:
        members = [processes().Process(target=_member, args=(rank, task, folder)) for rank in (0, 1)]
        for member in members:
            member.start()
        for member in members:
            member.join()
            assert member.exitcode == 0
        return [torch.load(folder / f"found-{rank}.pt") for rank in (0, 1)]


def _member(rank: int, task: Task, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    torch.save(task(Distributed("cpu"), folder), folder / f"found-{rank}.pt")
    torch.distributed.destroy_process_group()
