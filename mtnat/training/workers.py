"""Who trains together: one process, or the ranks of a torch.distributed group that somebody else has set up."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


class Workers(Protocol):
    """The group as one of its members sees it."""

    @property
    def rank(self) -> int:
        """This member's number."""
        ...

    @property
    def size(self) -> int:
        """How many members there are."""
        ...

    @property
    def device(self) -> torch.device:
        """Where this member computes."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this member writes the files; exactly one does."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """The elementwise sum over all members, on every member."""
        ...

    def gather(self, items: list[Item]) -> list[list[Item]]:
        """Every member's list, by rank, on every member."""
        ...

    def meet(self) -> None:
        """Waits until every member is here."""
        ...

    def parallel(self, module: nn.Module, *, always_runs_all: bool) -> nn.Module:
        """The module with its gradients averaged over the members, while the backward pass still runs.

        Unless it always runs all its parts, those that no member has run in an update keep no gradient.
        """
        ...

    def last_of(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Around each backward pass of an update: gradients travel only in the last one."""
        ...


class Alone:
    """One process on one device."""

    rank, size, leads = 0, 1, True

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.device = default_device() if device == "auto" else torch.device(device)

    def sum(self, values: Tensor) -> Tensor:
        return values

    def gather(self, items: list[Item]) -> list[list[Item]]:
        return [items]

    def meet(self) -> None:
        pass

    def parallel(self, module: nn.Module, *, always_runs_all: bool) -> nn.Module:
        return module

    def last_of(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        return nullcontext()


class Distributed:
    """A member of the process group that Ray Train or torchrun has set up."""

    def __init__(self, device: str | torch.device = "auto") -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.leads = self.rank == 0
        self.device = default_device() if device == "auto" else torch.device(device)

    def sum(self, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    def gather(self, items: list[Item]) -> list[list[Item]]:
        gathered: list[list[Item]] = [[] for _ in range(self.size)]
        dist.all_gather_object(gathered, items)
        return gathered

    def meet(self) -> None:
        dist.barrier()

    def parallel(self, module: nn.Module, *, always_runs_all: bool) -> nn.Module:
        return DistributedDataParallel(
            module,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            find_unused_parameters=not always_runs_all,
            gradient_as_bucket_view=True,
        )

    def last_of(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        assert isinstance(module, DistributedDataParallel)
        return nullcontext() if is_last else module.no_sync()


def default_device(number: int = 0) -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
