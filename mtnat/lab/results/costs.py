"""The costs of runs: time, GPU time, tokens and energy."""

from collections.abc import Iterable

from pydantic import Field

from mtnat.config import Record
from mtnat.lab.outputs.runs import Result


class Spent(Record):
    """The sum of the costs of several runs."""

    seconds: float = Field(0.0, ge=0)
    """Sum of the runs' wall-clock times."""
    gpu_seconds: float = Field(0.0, ge=0)
    """Sum of each run's wall-clock time times its number of GPUs."""
    tokens: int | None = None
    """Target tokens trained on; None if no run reports them."""
    joules: float | None = None
    """Energy of the GPUs of the runs that report it; None if no run does."""


def spent(results: Iterable[Result]) -> Spent:
    """Returns the sum of the costs of runs."""
    listed = list(results)
    tokens = [result.tokens for result in listed if result.tokens is not None]
    joules = [result.joules for result in listed if result.joules is not None]
    return Spent(
        seconds=sum(result.seconds for result in listed),
        gpu_seconds=sum(result.gpu_seconds for result in listed),
        tokens=sum(tokens) if tokens else None,
        joules=sum(joules) if joules else None,
    )
