"""What runs took: time, GPUs, text and energy."""

from collections.abc import Iterable

from pydantic import Field

from mtnat.config import Record
from mtnat.lab.outputs.runs import Result


class Spent(Record):
    """By some runs together."""

    seconds: float = Field(0.0, ge=0)
    """Wall-clock time, one run after the other."""
    gpu_seconds: float = Field(0.0, ge=0)
    """Wall-clock time of each run times the GPUs that it held."""
    tokens: int | None = None
    """Target tokens trained on; None where it is not known of any run."""
    joules: float | None = None
    """Energy of the GPUs, of those runs whose GPUs report it; None where none does."""


def spent(results: Iterable[Result]) -> Spent:
    """What runs took, all in all."""
    listed = list(results)
    tokens = [result.tokens for result in listed if result.tokens is not None]
    joules = [result.joules for result in listed if result.joules is not None]
    return Spent(
        seconds=sum(result.seconds for result in listed),
        gpu_seconds=sum(result.gpu_seconds for result in listed),
        tokens=sum(tokens) if tokens else None,
        joules=sum(joules) if joules else None,
    )
