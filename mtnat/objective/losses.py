"""Eq. 1 as a module: the shared encoder, followed by the loss of every branch."""

# B batch, S source, D width, P parts of the loss and measures

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast

import torch
from torch import Generator, Tensor, nn

from mtnat.model import Encoded, Translator
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.immediate import differentiated_now
from mtnat.objective.interaction import Direction, Interaction, Predictions, shared_predictions
from mtnat.objective.noise import Draw, Moment, Noise, draw_subset
from mtnat.tokens import PAD

Weights = Callable[[float], Mapping[str, float]]
"""The weight of each branch as a function of λ."""


@dataclass(frozen=True)
class Loss:
    """The sum of a loss over predictions and their number. Both are added up over batches and workers before the division."""

    sum: Tensor
    count: Tensor | int
    """The number of predictions, on the host or on the device."""
    predictions: Predictions | None = None
    """The states behind the loss, for losses that compare branches; see `Branch.aligned_part`."""


class TrainedBranch(Protocol):
    """The interface that Eq. 1 needs of a branch; `mtnat.systems.Branch` documents it."""

    parts: tuple[str, ...]
    head_parts: tuple[str, ...]
    measures: tuple[str, ...]
    aligned_part: str | None
    fraction: float

    @property
    def tokens(self) -> nn.Embedding: ...
    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise: ...
    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]: ...
    def head_losses(self, encoded: Encoded, noise: Noise) -> Mapping[str, Loss]: ...
    def reads(self) -> list[Tensor]: ...
    def weight_of(self, part: str) -> float: ...
    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int: ...


class MultiTaskObjective(nn.Module):
    """Eq. 1 of Hao et al. 2021, ``L = λ(t)·L_nat + (1 − λ(t))·L_at``, as a sum over the translator's branches.

    It returns the sums of the losses over one batch. The caller divides by the counts once, over all workers and batches.
    """

    def __init__(
        self, translator: Translator, config: ObjectiveConfig, weights: Weights, untrained: Mapping[str, object] | None = None
    ) -> None:
        """Creates the objective of a translator.

        Args:
            weights: returns the weight of each branch for a λ; see `mtnat.systems.System.weights`.
            untrained: branches of the system that the translator lacks. They draw noise, which is discarded, so that the random
                number generator advances equally. With the same seed a branch then sees the same noise whether or not the
                other branch is trained.
        """
        super().__init__()
        self._untrained = (cast("Mapping[str, TrainedBranch]", untrained or {}),)  # a tuple hides them from PyTorch
        self.translator = translator
        self.config = config
        self._weights = weights
        self._interaction = Interaction(config)
        branches = self.branches.values()
        compared = (direction.part for direction in self._interaction.directions)
        self.parts = (*chain.from_iterable(branch.parts for branch in branches), *compared)
        """Names of the parts of the loss: those of the branches, then those of their interaction."""
        assert all(self.branches[name].aligned_part for each in self._interaction.directions for name in each)
        self.measures = tuple(chain.from_iterable(branch.measures for branch in branches))
        """Names of further measures of the branches, such as the fraction of glanced positions."""

    @property
    def branches(self) -> Mapping[str, TrainedBranch]:
        """The translator's branches by name, the auxiliary one first."""
        return cast("Mapping[str, TrainedBranch]", dict(self.translator.branches.items()))

    @property
    def always_runs_all(self) -> bool:
        """Whether every branch has a loss on every batch."""
        is_constant = self.config.estimator == "weighted" and self.config.schedule.is_constant
        return len(self.branches) == 1 or is_constant

    def weights_at(self, step: int, total_steps: int) -> dict[str, float]:
        """Returns the weight of each part at an update: its branch's weight in Eq. 1 times the part's weight in the branch. For
        the interaction see `Interaction.weights`."""
        weights = self._weights(self.config.schedule(step, total_steps))
        parts = {part: weights[name] * each.weight_of(part) for name, each in self.branches.items() for part in each.parts}
        return parts | self._interaction.weights(weights)

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Draw:
        """Draws the noise of every branch and selects the sentences that each branch sees.

        Args:
            source_BS: token ids, EOS at the end, PAD after it, on the host.
            target_BT: likewise.
            generator: the only source of randomness, on the host.
        """
        sentences = len(source_BS)
        weights = self._weights(self.config.schedule(moment.step, moment.total_steps))
        # The order of the draws is fixed: it decides which random numbers a branch gets. The auxiliary branch comes last,
        # because it draws no noise but only a subset of the sentences.
        branches = dict(reversed(list(self.branches.items())))
        everyone = {**branches, **self._untrained[0]}
        order = [name for name in reversed(list(weights)) if name in everyone]
        noise = {name: everyone[name].draw(source_BS, target_BT, moment, generator) for name in order}
        seen = {
            name: draw_subset(sentences, branch.fraction, generator) & (weights[name] > 0) for name, branch in branches.items()
        }
        # In sampled training the divisor is the expected number of predictions, not the sampled one. Dividing by the sampled
        # number would make the gradient a ratio of two random numbers, which is biased with respect to Eq. 1.
        is_sampled = self.config.estimator == "sampled"
        divisors = {
            part: _divisor(branch, part, noise[name], seen[name], weights[name], is_sampled=is_sampled)
            for name, branch in branches.items()
            for part in branch.parts
        }
        for direction in self._interaction.directions:
            is_shared_B = seen[direction.teacher] & seen[direction.student]
            divisors[direction.part] = float(self._shared(direction, noise)[is_shared_B].sum())
        if is_sampled:
            chosen = _sample(weights, list(branches), sentences, generator)
            seen = {name: seen[name] & chosen[name] for name in branches}
        return Draw(
            source_BS=source_BS,
            is_padded=bool((source_BS == PAD).any()),
            noise={name: noise[name].only(seen[name]) for name in self.branches},
            divisors={part: divisors[part] for part in self.parts},
        )

    def forward(self, draw: Draw, scales: Mapping[str, Tensor], moment: Moment) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the losses of the branches that have sentences in this batch.

        Args:
            draw: a batch with its noise, or a part of one.
            scales: for each part its weight divided by its divisor in the whole update.

        Returns:
            The scaled total, for ``backward``; the unscaled sums; and the counts. Sums and counts are [P], in the order of
            `parts` and then `measures`, detached, in float64.
        """
        losses: dict[str, Loss] = {}
        scaled: list[Tensor] = []
        read: dict[str, Predictions] = {}
        encoded: Encoded | None = None
        running = {name: draw.noise[name].sentences > 0 for name in self.branches}
        for group in self._interaction.groups(running):
            encodings: dict[str, Encoded] = {}
            for name in group:
                if running[name] or _has_heads(self.branches[name], draw):
                    if encoded is None or self.config.encoder_passes == 2:
                        encoded = self.translator.encode(draw.source_BS, draw.is_padded)
                    encodings[name] = encoded
            if seeing := {name: each for name, each in encodings.items() if running[name]}:
                value, found = self._now(seeing, draw, moment, scales, read)
                losses |= found
                scaled.append(value)
            for name, each in encodings.items():
                if _has_heads(self.branches[name], draw):
                    heads = self.branches[name].head_losses(each, draw.noise[name])
                    scaled += [loss.sum * scales[part] for part, loss in heads.items()]
                    losses |= {part: Loss(loss.sum.detach(), loss.count) for part, loss in heads.items()}
        if not scaled:  # a part of a batch in which no branch has a sentence
            scaled.append(0 * self.translator.target_tokens.weight.sum())  # data-parallel wrappers wait for a gradient
        names, total = (*self.parts, *self.measures), torch.stack(scaled).sum()
        zero = torch.zeros((), dtype=torch.float64, device=total.device)
        sums_P = torch.stack([losses[name].sum.double() if name in losses else zero for name in names])
        counts = [losses[name].count if name in losses else 0 for name in names]
        counts_P = torch.stack([each.double() if isinstance(each, Tensor) else zero + each for each in counts])
        return total, sums_P, counts_P

    def _now(
        self,
        encodings: Mapping[str, Encoded],
        draw: Draw,
        moment: Moment,
        scales: Mapping[str, Tensor],
        read: dict[str, Predictions],
    ) -> tuple[Tensor, dict[str, Loss]]:
        """Computes the losses of some branches and of their interaction, and differentiates them at once.

        Args:
            encodings: the encoder's output for each branch.
            read: the predictions of branches that were computed before, without their graph; those of these branches are added.

        Returns:
            The scaled total, and the losses by name.
        """
        counts: dict[str, Tensor | int] = {}

        def scaled(states: Tensor) -> tuple[Tensor, Tensor]:
            losses: dict[str, Loss] = {}
            own: dict[str, Predictions] = {}
            for (name, encoded), states_BSD in zip(encodings.items(), _apart(states, encodings), strict=True):
                branch = self.branches[name]
                found = branch.losses(encoded._replace(states_BSD=states_BSD), draw.noise[name], moment)
                losses |= found
                if self._interaction.directions:
                    own[name] = _aligned(branch, found)
            losses |= self._compared(read | own, own, draw)
            read.update({name: each.detached() for name, each in own.items()})
            counts.update({name: loss.count for name, loss in losses.items()})
            parts = [loss.sum * scales[name] for name, loss in losses.items() if name in scales]
            total = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
            return total, torch.stack([loss.sum.detach() for loss in losses.values()])

        reads = {id(each): each for name in encodings for each in self.branches[name].reads() if each.requires_grad}
        total, sums = differentiated_now(scaled, _together(encodings), list(reads.values()))
        return total, {name: Loss(value, count) for (name, count), value in zip(counts.items(), sums.unbind(), strict=True)}

    def _compared(self, known: Mapping[str, Predictions], own: Mapping[str, Predictions], draw: Draw) -> dict[str, Loss]:
        """Computes the parts of the interaction whose student is one of the branches that are computed now.

        Args:
            known: the predictions of all branches so far.
            own: those of the branches that are computed now.
        """
        losses = {}
        for direction in self._interaction.directions:
            if direction.student in own and direction.teacher in known:
                predictions = {name: known[name] for name in direction}
                rows = {name: draw.noise[name].rows_R for name in direction}
                tokens = self.branches[direction.student].tokens
                losses[direction.part] = Loss(
                    *self._interaction.loss(direction, predictions, rows, len(draw.source_BS), tokens.weight)
                )
        return losses

    def _shared(self, direction: Direction, noise: Mapping[str, Noise]) -> Tensor:
        """Returns the number of pieces of each sentence that two branches would both predict if both saw it, [B]."""
        aligned = {name: self.branches[name].aligned_part for name in direction}
        return shared_predictions(
            direction, {name: noise[name].predictions[part] for name, part in aligned.items() if part is not None}
        )

    def flops(self, work: ModelFlops, draw: Draw) -> int:
        """Counts the operations of the forward and the backward pass of one batch, on the host."""
        source_B = lengths_of(draw.source_BS)
        total = passes = 0
        for name, branch in self.branches.items():
            noise = draw.noise[name]
            if noise.sentences or _has_heads(branch, draw):
                passes += 1
                source_R = source_B if noise.rows_R is None else source_B[noise.rows_R]
                total += branch.flops(work, source_R, noise)
        for direction in self._interaction.directions:
            is_seen_B = torch.ones(len(source_B), dtype=torch.bool)
            for name in direction:
                is_seen_B &= draw.noise[name].sees(len(source_B))
            pieces = int(self._shared(direction, draw.noise)[is_seen_B].sum())
            total += self._interaction.flops(work.vocabulary(pieces))
        return total + 3 * min(passes, self.config.encoder_passes) * work.encoder(source_B)


def _divisor(branch: TrainedBranch, part: str, noise: Noise, is_seen_B: Tensor, weight: float, *, is_sampled: bool) -> float:
    """Returns the number of predictions of a part, or its expectation if branches are sampled. It is 0 if the weight is 0."""
    predictions_B = noise.predictions[part]
    if weight == 0:
        return 0.0
    if part in branch.head_parts:  # heads see all sentences of the batch
        return float(predictions_B.sum())
    return float(predictions_B[is_seen_B].sum()) * (weight if is_sampled else 1.0)


def _has_heads(branch: TrainedBranch, draw: Draw) -> bool:
    """Returns whether a branch's heads have a loss on this batch; they see all sentences, even if the decoder sees none."""
    return any(draw.divisors[part] for part in branch.head_parts)


def _aligned(branch: TrainedBranch, losses: Mapping[str, Loss]) -> Predictions:
    """Returns the states from which a branch has predicted pieces."""
    assert branch.aligned_part is not None
    predictions = losses[branch.aligned_part].predictions
    assert predictions is not None
    return predictions


def _together(encodings: Mapping[str, Encoded]) -> Tensor:
    """Returns the encoder states that some branches read, as one tensor: those of one pass, or of several passes, stacked."""
    passes = {id(each): each.states_BSD for each in encodings.values()}
    return next(iter(passes.values())) if len(passes) == 1 else torch.stack(list(passes.values()))


def _apart(states: Tensor, encodings: Mapping[str, Encoded]) -> Sequence[Tensor]:
    """Returns the encoder states of each branch, given what `_together` has returned, with or without another graph."""
    is_one_pass = len({id(each) for each in encodings.values()}) == 1
    return [states] * len(encodings) if is_one_pass else states.unbind()


def _sample(weights: Mapping[str, float], names: list[str], sentences: int, generator: Generator) -> dict[str, Tensor]:
    """Assigns each sentence to one branch, drawn with the branches' weights as probabilities; returns bool [B] by branch."""
    uniform_B = torch.rand(sentences, generator=generator)
    chosen: dict[str, Tensor] = {}
    is_left_B, reached = torch.ones(sentences, dtype=torch.bool), 0.0
    for name in names[:-1]:
        reached += weights[name]
        chosen[name] = is_left_B & (uniform_B < reached)
        is_left_B = is_left_B & ~chosen[name]
    return chosen | {names[-1]: is_left_B}
