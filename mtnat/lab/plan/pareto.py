"""The Pareto front."""

from collections.abc import Sequence

from mtnat.lab.study.searching import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[bool]:
    """Returns for each row whether it is on the Pareto front: no other row is at least as good in every metric and better in
    one. Equal rows are on it together."""
    signs = [1 if direction == "max" else -1 for direction in directions]
    gains = [[sign * value for sign, value in zip(signs, row, strict=True)] for row in values]

    def beats(one: Sequence[float], other: Sequence[float]) -> bool:
        return one != other and all(a >= b for a, b in zip(one, other, strict=True))

    # A row that beats another one comes before it in this order. Since "beats" is transitive, it is enough to compare a row
    # with the members of the front that have been found so far.
    front: list[Sequence[float]] = []
    is_best = [False] * len(gains)
    for number in sorted(range(len(gains)), key=lambda number: gains[number], reverse=True):
        if not any(beats(best, gains[number]) for best in front):
            front.append(gains[number])
            is_best[number] = True
    return is_best
