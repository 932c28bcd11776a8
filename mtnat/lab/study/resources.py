"""What one run takes of a machine, and whether a machine has it."""

import os
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from mtnat.config import Record

Group = Annotated[tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]], Field(strict=False)]


class Resources(Record):
    """What one run takes; as many run side by side as the machine holds."""

    workers: Annotated[int, Field(ge=1)] | Group = 1
    """Processes that share each step's batches; more than one are Ray Train workers. ``[least, most]`` takes as many as there
    are, and goes on with fewer or more when nodes come and go."""
    cpus_per_worker: int = Field(1, ge=1)
    """Cores, and PyTorch threads, of a worker."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs of a worker; a fraction lets several runs share one."""
    at_once: int | None = Field(None, ge=1)
    """Runs side by side; left out, as many as there is room for. On a cluster that grows when it is asked, those beyond its
    present room are what asks."""
    launcher: Literal["auto", "ray-train"] = "auto"
    """auto trains a run of one worker in Tune's own actor, which starts sooner; ray-train uses Ray Train for it too."""
    start_minutes: float = Field(10, gt=0)
    """How long a run, or the study, waits for its place on the cluster before the study ends with a sentence."""
    silent_minutes: float = Field(60, gt=0)
    """A process that has not said a word for so long is taken for dead, and its run goes on from its checkpoint."""

    @property
    def least_workers(self) -> int:
        """Without which a run does not start."""
        return self.workers if isinstance(self.workers, int) else self.workers[0]

    @property
    def most_workers(self) -> int:
        """That a run ever has."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def uses_ray_train(self) -> bool:
        """Whether a run's workers are Ray Train's, and not Tune's own actor."""
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
    """What a machine has, whether it is taken or free."""

    cpus: float
    gpus: float


def workers_on(machine: Machine, resources: Resources) -> int:
    """How many workers a machine holds; none is spread over several machines, nor is a share over several GPUs."""
    by_cpus = int(machine.cpus // resources.cpus_per_worker)
    gpus = resources.gpus_per_worker
    if not gpus:
        return by_cpus
    by_gpus = machine.gpus // gpus if gpus >= 1 else int(machine.gpus) * int(1 / gpus + 1e-9)  # 1 // 0.2 is 4
    return min(by_cpus, int(by_gpus))


def resource_problems(resources: Resources, machines: Sequence[Machine]) -> Iterator[str]:
    """What a run asks for beyond what there is: on any one machine, since a worker has to fit on it, and on all together."""
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
    """How many workers the machines hold, whatever runs they belong to."""
    return max(1, sum(workers_on(machine, resources) for machine in machines))


def runs_at_once(resources: Resources, machines: Sequence[Machine]) -> int:
    """How many runs go on side by side; one with elastic workers takes as many as it can get."""
    if resources.at_once:
        return resources.at_once
    full, rest = divmod(workers_at_once(resources, machines), resources.most_workers)
    return max(1, full + (rest >= resources.least_workers))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
