"""What one run takes of a machine, and whether a machine has it."""

import os
from collections.abc import Iterator
from typing import Annotated, Literal, Self

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
        if self.least_workers > self.most_workers:
            raise ValueError(f"workers must be [least, most]; got [{self.least_workers}, {self.most_workers}]")
        return self


def resource_problems(resources: Resources, cpus: float, gpus: float) -> Iterator[str]:
    """What a run asks for beyond what there is."""
    workers = resources.least_workers
    wanted = workers * resources.cpus_per_worker
    if wanted > cpus:
        yield (
            f"resources: {workers} workers × {resources.cpus_per_worker} cores are {wanted}, "
            f"but there are {cpus:g}; lower workers or cpus_per_worker."
        )
    if workers * resources.gpus_per_worker > gpus:
        yield (
            f"resources: {workers} workers × {resources.gpus_per_worker:g} GPUs are "
            f"{workers * resources.gpus_per_worker:g}, but there are {gpus:g}; lower gpus_per_worker."
        )


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
