"""Which of several are worth having when more than one thing counts."""

from collections.abc import Sequence

from mtnat.lab.study.searching import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[bool]:
    """Whether nobody else is as good in everything and better in something; equals share their place."""
    signs = [1 if direction == "max" else -1 for direction in directions]
    gains = [[sign * value for sign, value in zip(signs, row, strict=True)] for row in values]

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    # Whoever beats a row comes before it in this order, and then so does one of the front, because to beat is transitive.
    front: list[Sequence[float]] = []
    is_best = [False] * len(gains)
    for number in sorted(range(len(gains)), key=lambda number: gains[number], reverse=True):
        if not any(beats(best, gains[number]) for best in front):
            front.append(gains[number])
            is_best[number] = True
    return is_best
