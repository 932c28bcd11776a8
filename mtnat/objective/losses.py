"""Eq. 1 as a module: the shared encoder, followed by the loss of every branch."""

# B batch, S source, D width, P parts of the loss and measures

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol, cast

import torch
from torch import Generator, Tensor, nn

from mtnat.model import Encoded, Translator
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective.config import ObjectiveConfig
from mtnat.objective.immediate import differentiated_now
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


class TrainedBranch(Protocol):
    """The interface that Eq. 1 needs of a branch; `mtnat.systems.Branch` documents it."""

    parts: tuple[str, ...]
    head_parts: tuple[str, ...]
    measures: tuple[str, ...]
    fraction: float

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
        branches = self.branches.values()
        self.parts = tuple(chain.from_iterable(branch.parts for branch in branches))
        """Names of the parts of the loss."""
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
        """Returns the weight of each part at an update: its branch's weight in Eq. 1 times the part's weight in the branch."""
        weights = self._weights(self.config.schedule(step, total_steps))
        return {part: weights[name] * each.weight_of(part) for name, each in self.branches.items() for part in each.parts}

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
        encoded: Encoded | None = None
        for name, branch in self.branches.items():
            noise = draw.noise[name]
            has_heads = _has_heads(branch, draw)
            if not (noise.sentences or has_heads):
                continue
            if encoded is None or self.config.encoder_passes == 2:
                encoded = self.translator.encode(draw.source_BS, draw.is_padded)
            if noise.sentences:
                value, found = _now(branch, encoded, noise, moment, scales)
                losses |= found
                scaled.append(value)
            if has_heads:
                heads = branch.head_losses(encoded, noise)
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


def _now(
    branch: TrainedBranch, encoded: Encoded, noise: Noise, moment: Moment, scales: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Loss]]:
    """Computes the losses of a branch and differentiates them at once; returns their scaled total and the losses by name."""
    counts: dict[str, Tensor | int] = {}

    def scaled(states_BSD: Tensor) -> tuple[Tensor, Tensor]:
        losses = branch.losses(encoded._replace(states_BSD=states_BSD), noise, moment)
        counts.update({name: loss.count for name, loss in losses.items()})
        parts = [loss.sum * scales[name] for name, loss in losses.items() if name in scales]
        total = parts[0] if len(parts) == 1 else torch.stack(parts).sum()
        return total, torch.stack([loss.sum.detach() for loss in losses.values()])

    read = [tensor for tensor in branch.reads() if tensor.requires_grad]
    total, sums = differentiated_now(scaled, encoded.states_BSD, read)
    return total, {name: Loss(value, count) for (name, count), value in zip(counts.items(), sums.unbind(), strict=True)}


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
