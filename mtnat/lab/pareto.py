"""Which of several are worth having when more than one thing counts."""

from collections.abc import Sequence

from mtnat.lab.strategy import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[bool]:
    """Whether nobody else is as good in everything and better in something; equals share their place."""
    signs = [1 if direction == "max" else -1 for direction in directions]
    gains = [[sign * value for sign, value in zip(signs, row, strict=True)] for row in values]

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    return [not any(beats(other, gain) for other in gains) for gain in gains]
