"""The resources of a run, and whether machines have them."""

import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from mtnat.config import Record

Group = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], Field(strict=False)]


class Resources(Record):
    """The resources of one run. As many runs go on at the same time as the machines hold."""

    workers: Annotated[int, Field(ge=1)] | Group = 1
    """Processes that share the batches of each step; several are workers of Ray Train. ``[least, most]`` uses as many as there
    is room for, and continues with fewer or more when nodes leave or join."""
    cpus_per_worker: int = Field(1, ge=1)
    """Cores and PyTorch threads of a worker."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs of a worker; a fraction lets several runs share one."""
    at_once: int | None = Field(None, ge=1)
    """Runs at the same time; left out, as many as there is room for. With an autoscaler, a number above the present room makes
    the cluster grow."""
    launcher: Literal["auto", "ray-train"] = "auto"
    """auto trains a run with one worker in the actor of Ray Tune, which starts sooner; ray-train uses Ray Train for it too."""
    start_minutes: float = Field(10, gt=0)
    """Minutes that a run, or the study, waits for room on the cluster before the study ends with an error."""
    silent_minutes: float = Field(60, gt=0)
    """A process that reports nothing for this many minutes is considered dead, and its run continues from its checkpoint."""

    @property
    def least_workers(self) -> int:
        """The fewest workers with which a run starts."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        """The most workers that a run uses."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def uses_ray_train(self) -> bool:
        """Whether a run has workers of Ray Train, instead of running in the actor of Ray Tune."""
        return self.launcher == "ray-train" or self.most_workers > 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.most_workers > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"gpus_per_worker must be whole where workers are several; got {self.gpus_per_worker}")
        if self.gpus_per_worker > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"gpus_per_worker must be whole above 1; got {self.gpus_per_worker}")
        if self.least_workers > self.most_workers:
            raise ValueError(f"workers must be [least, most]; got [{self.least_workers}, {self.most_workers}]")
        return self


class Machine(NamedTuple):
    """The resources of a machine, in use or not."""

    cpus: float
    gpus: float


def workers_on(machine: Machine, resources: Resources) -> int:
    """Returns how many workers a machine holds. A worker is on one machine, and a fraction of a GPU is on one GPU."""
    by_cpus = int(machine.cpus // resources.cpus_per_worker)
    gpus = resources.gpus_per_worker
    if not gpus:
        return by_cpus
    by_gpus = machine.gpus // gpus if gpus >= 1 else int(machine.gpus) * int(1 / gpus + 1e-9)  # 1 // 0.2 is 4
    return min(by_cpus, int(by_gpus))


def resource_problems(resources: Resources, machines: Sequence[Machine]) -> Iterator[str]:
    """Yields a sentence for each resource that a run lacks: on every single machine, for a worker has to fit on one, and on all
    of them together."""
    workers, cpus, gpus = resources.least_workers, resources.cpus_per_worker, resources.gpus_per_worker
    one = "the machine has" if len(machines) == 1 else "no machine has more than"
    most_cpus = max((machine.cpus for machine in machines), default=0)
    most_gpus = max((machine.gpus for machine in machines), default=0)
    if gpus > most_gpus:
        yield f"resources.gpus_per_worker: must not exceed what one machine has; got {gpus:g}, but {one} {most_gpus:g}."
        resources = resources.model_copy(update={"gpus_per_worker": 0})
    if cpus > most_cpus:
        yield f"resources.cpus_per_worker: must not exceed what one machine has; got {cpus}, but {one} {most_cpus:g}."
        return
    room = sum(workers_on(machine, resources) for machine in machines)
    if not room:
        yield f"resources: no machine has {cpus} cores and {gpus:g} GPUs at once; lower cpus_per_worker or gpus_per_worker."
    elif workers > room:
        each = f"{cpus} cores" + (f" and {gpus:g} GPUs" if resources.gpus_per_worker else "")
        yield f"resources.workers: a run needs {workers} that take {each} each, but there is room for {room}; lower either."


def workers_at_once(resources: Resources, machines: Sequence[Machine]) -> int:
    """Returns how many workers the machines hold, of all runs together."""
    return max(1, sum(workers_on(machine, resources) for machine in machines))


def runs_at_once(resources: Resources, machines: Sequence[Machine]) -> int:
    """Returns how many runs go on at the same time; a run with elastic workers takes as many as it can get."""
    if resources.at_once:
        return resources.at_once
    full, rest = divmod(workers_at_once(resources, machines), resources.most_workers)
    return max(1, full + (rest >= resources.least_workers))


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
