"""The trade between several metrics: who is beaten by nobody in all of them, and a picture of it."""

from collections.abc import Sequence

import numpy as np

from mtnat.lab.strategy import Direction


def pareto_front(values: Sequence[Sequence[float]], directions: Sequence[Direction]) -> list[bool]:
    """Who is on the front: nobody is at least as good in every metric and better in one. Equals are on it together.

    Args:
        values: of each one, a number for each direction.
    """
    signs_M = np.array([1.0 if direction == "max" else -1.0 for direction in directions])
    values_NM = np.array(values, dtype=np.float64).reshape(len(values), len(signs_M)) * signs_M
    at_least_NN = (values_NM[:, None] >= values_NM[None, :]).all(axis=-1)  # the first at least as good as the second
    beats_NN = at_least_NN & ~at_least_NN.T
    return [bool(beaten) for beaten in ~beats_NN.any(axis=0)]
