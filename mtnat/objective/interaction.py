"""Decoder interaction: one decoder learns from the distributions that another one predicts for the same pieces.

Hao et al. 2021 name it as future work (on-line distillation between the two decoders). Their code declares a flag for it that
nothing reads, so the definition here follows mutual learning (Zhang et al. 2018) and JANUS (Liang et al. 2022).
"""

# B sentences of the batch, R sentences that a branch sees, T target, N positions with a loss, K positions that both branches
# predict, D width

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.divergence import divergence_sum


class Predictions(NamedTuple):
    """The states from which a branch predicts target pieces."""

    states_ND: Tensor
    positions_N: Tensor
    """Flat indices into R·T of the pieces that the states predict, ascending."""
    width: int
    """T."""

    def detached(self) -> "Predictions":
        """Returns the predictions without their graph."""
        return self._replace(states_ND=self.states_ND.detach())

    def places(self, rows_R: Tensor | None) -> Tensor:
        """Returns flat indices into B·T, [N].

        Args:
            rows_R: the sentences that the branch sees; None is all of them.
        """
        if rows_R is None:
            return self.positions_N
        row_N = rows_R.index_select(0, self.positions_N.div(self.width, rounding_mode="floor"))
        return row_N * self.width + self.positions_N % self.width


class Direction(NamedTuple):
    """A teacher and its student, two branches that predict pieces of the same targets."""

    teacher: str
    student: str

    @property
    def part(self) -> str:
        """The name of the part of the loss."""
        return f"{self.teacher}_to_{self.student}"


class Interaction:
    """The parts of the loss that compare two branches: τ²·KL(p_teacher || p_student), summed over the pieces that both predict.

    A piece counts if both branches see its sentence and have a loss at its position. The AT branch predicts every piece, and
    the NAT branch those that are masked, so these are the masked pieces. Both distributions cover the whole vocabulary. That of
    the AT branch is conditioned on the target pieces before it (teacher forcing); both come from the pass that computes the
    branch's own loss, with its dropout.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self.directions = tuple(Direction(*each) for each in config.directions)
        """Empty without interaction."""
        self.trains_teacher = not config.interaction_detached
        self._weight, self._temperature = config.interaction_weight, config.interaction_temperature

    def weights(self, branches: Mapping[str, float]) -> dict[str, float]:
        """Returns the weight of each part: `interaction_weight` times the mean weight of the branches that it trains.

        Args:
            branches: the weight of each branch's loss. If that of the teacher or the student is 0, that branch does not run,
                and there is nothing to compare.
        """
        weights = {}
        for each in self.directions:
            trained = each if self.trains_teacher else (each.student,)
            share = sum(branches[name] for name in trained) / len(trained)
            weights[each.part] = self._weight * share if all(branches[name] > 0 for name in each) else 0.0
        return weights

    def groups(self, running: Mapping[str, bool]) -> list[tuple[str, ...]]:
        """Divides the branches into groups, in the order in which they are computed; only the branches of one group are in
        memory at a time.

        A teacher that is only read comes before its student, which needs nothing of it but its states. Branches that both get
        a gradient from their comparison, or that are each the other's teacher, form one group.

        Args:
            running: whether each branch has sentences.
        """
        names = tuple(running)
        active = [each for each in self.directions if running[each.teacher] and running[each.student]]
        if not active:
            return [(name,) for name in names]
        together = tuple(name for name in names if any(name in each for each in active))
        others = [(name,) for name in names if name not in together]
        if self.trains_teacher or len(active) > 1:
            return [*others, together]
        return [*others, (active[0].teacher,), (active[0].student,)]

    def loss(
        self,
        direction: Direction,
        predictions: Mapping[str, Predictions],
        rows: Mapping[str, Tensor | None],
        sentences: int,
        weight_VD: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Computes one part and the number of pieces that it compares, on the device.

        Args:
            predictions: of both branches.
            rows: the sentences that each branch sees, see `Noise.rows_R`.
            sentences: B.
            weight_VD: the output embeddings.
        """
        fewer, more = sorted(direction, key=lambda name: len(predictions[name].positions_N))
        places = {name: predictions[name].places(rows[name]) for name in direction}
        found_K, is_shared_K = _find(places[fewer], places[more], sentences * predictions[more].width)
        states = {
            fewer: predictions[fewer].states_ND,
            more: predictions[more].states_ND.index_select(0, found_K),
        }
        total = divergence_sum(
            states[direction.teacher],
            states[direction.student],
            weight_VD,
            self._temperature,
            is_shared_K,
            trains_teacher=self.trains_teacher,
        )
        return total, is_shared_K.sum()

    def flops(self, vocabulary: int) -> int:
        """Counts the products of one part with the output embeddings, forward and backward.

        Args:
            vocabulary: operations of one product, see `ModelFlops.vocabulary`.
        """
        return vocabulary * (6 if self.trains_teacher else 4)


def shared_predictions(direction: Direction, predictions: Mapping[str, Tensor]) -> Tensor:
    """Returns the number of pieces of each sentence that both branches predict, [B]; exact if the pieces of one branch are
    among those of the other.

    Args:
        predictions: the number of pieces that each branch predicts in each sentence, [B].
    """
    return torch.minimum(predictions[direction.teacher], predictions[direction.student])


def _find(wanted_K: Tensor, places_N: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Looks up places among others.

    What is not found gets index 0 and False. Leaving it out instead would make a GPU wait, because its number is unknown on the
    host.

    Args:
        total: number of places.

    Returns:
        For each wanted place its index in `places_N` and whether it is there, [K] each.
    """
    index_of = torch.full((total,), -1, device=places_N.device)
    index_of[places_N] = torch.arange(len(places_N), device=places_N.device)
    found_K = index_of.index_select(0, wanted_K)
    return found_K.clamp(min=0), found_K >= 0
