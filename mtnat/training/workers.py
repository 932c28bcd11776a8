"""The workers that train together: one process, or the ranks of an existing torch.distributed process group."""

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

Item = TypeVar("Item")


class Workers(Protocol):
    """The group of workers, as seen by one member."""

    @property
    def rank(self) -> int:
        """Number of this member, from 0."""
        ...

    @property
    def size(self) -> int:
        """Number of members."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of this member."""
        ...

    @property
    def leads(self) -> bool:
        """Whether this member writes files; true for exactly one member."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Returns the elementwise sum over all members, on every member."""
        ...

    def gather(self, items: list[Item]) -> list[list[Item]]:
        """Returns the lists of all members by rank, on every member."""
        ...

    def meet(self) -> None:
        """Waits until every member has called this method."""
        ...

    def parallel(self, module: nn.Module, *, always_runs_all: bool) -> nn.Module:
        """Wraps a module so that its gradients are averaged over the members during the backward pass.

        Args:
            always_runs_all: whether every forward pass uses all parameters. If False, parameters that no member uses in an
                update get no gradient.
        """
        ...

    def last_of(self, module: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Returns a context for one backward pass of an update; gradients are exchanged only in the last pass."""
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
    """A member of the process group that Ray Train or torchrun has initialised."""

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
    """Returns GPU `number` if CUDA is available, otherwise the CPU."""
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
