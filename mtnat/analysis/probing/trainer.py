"""Trains the classifiers of all folds at once.

The classifier is a perceptron with one hidden layer, as in SentEval (Conneau and Kiela 2018): the features, 200 sigmoid units,
and a class each. SentEval's default has no dropout either. Sizes and optimizer are those of Hao et al. 2021.
"""

# N sentences, F folds, B sentences of a batch, D features, H hidden units, C classes, M sentences of a fold

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mtnat.analysis.probing.tasks import FOLDS

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Settings of the classifier."""

    hidden: int = 200
    """Number of hidden units."""
    learning_rate: float = 1e-3
    """Of Adam."""
    batch_size: int = 64
    """Sentences of a batch."""
    epochs: int = 4
    """Passes over the training sentences."""


class Fold(NamedTuple):
    """The sentences that a classifier is trained on and those that it is tested on."""

    train: Rows
    test: Rows


class Start(NamedTuple):
    """What the classifiers begin with: weights and biases of both layers, a classifier in each row."""

    first_FDH: Tensor
    bias_F1H: Tensor
    second_FHC: Tensor
    bias_F1C: Tensor


def folds_of(labels: Sequence[str], folds: int = FOLDS, seed: int = 1) -> list[Fold]:
    """Splits the sentences of a task; each fold has about the same share of each label."""
    from sklearn.model_selection import StratifiedKFold

    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return [Fold(train, test) for train, test in splitter.split(np.zeros(len(labels)), np.asarray(labels))]


def fold_generator(seed: int, fold: int) -> torch.Generator:
    """Returns the random source of a fold, which draws its weights and then the order of its sentences in each epoch."""
    [state] = np.random.SeedSequence([seed, fold]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def start_of(width: int, hidden: int, classes: int, generators: Sequence[torch.Generator]) -> Start:
    """Draws the weights of a classifier for each generator, uniform as those of `torch.nn.Linear`."""

    def drawn(generator: torch.Generator, *shape: int, inputs: int) -> Tensor:
        bound = inputs**-0.5
        return torch.empty(shape).uniform_(-bound, bound, generator=generator)

    each = [
        (
            drawn(generator, width, hidden, inputs=width),
            drawn(generator, 1, hidden, inputs=width),
            drawn(generator, hidden, classes, inputs=hidden),
            drawn(generator, 1, classes, inputs=hidden),
        )
        for generator in generators
    ]
    return Start(*(torch.stack(parts) for parts in zip(*each, strict=True)))


def steps_of_an_epoch(folds: Sequence[Fold], batch_size: int) -> tuple[int, int]:
    """Returns the number of batches of an epoch and their size, which are equal for all folds.

    The sentences that do not fill a batch of every fold are left out of the epoch. The order is drawn anew for each epoch, so
    that each leaves out others.
    """
    least = min(len(fold.train) for fold in folds)
    size = min(batch_size, least)
    return least // size, size


def epoch_order(train: Rows, used: int, generator: torch.Generator) -> Tensor:
    """Draws the training sentences of an epoch, in order."""
    return torch.from_numpy(train)[torch.randperm(len(train), generator=generator)[:used]]


def train_folds(
    features_ND: Tensor, labels_N: Tensor, folds: Sequence[Fold], config: ProbeConfig | None = None, seed: int = 1
) -> list[Tensor]:
    """Trains a classifier for each fold, all in one computation, and applies it to the fold's test sentences.

    The weights have one more dimension for the folds, and a step computes a batch of each fold. The loss is the sum of the
    folds' means over their batches. The weights of a fold only occur in its own mean, and Adam treats each weight alone, so
    the result is that of training fold by fold.

    Args:
        labels_N: numbers of the classes, from 0.

    Returns:
        The logits of the classes of each fold's test sentences, [M, C] each.
    """
    config = config or ProbeConfig()
    generators = [fold_generator(seed, number) for number in range(len(folds))]
    classes = int(labels_N.max()) + 1
    start = start_of(features_ND.shape[1], config.hidden, classes, generators)
    weights = Start(*(weight.requires_grad_() for weight in start))
    optimizer = torch.optim.Adam(weights, config.learning_rate, fused=True)
    steps, size = steps_of_an_epoch(folds, config.batch_size)
    for _ in range(config.epochs):
        orders_FM = torch.stack(
            [epoch_order(fold.train, steps * size, generator) for fold, generator in zip(folds, generators, strict=True)]
        )
        for rows_FB in torch.split(orders_FM, size, dim=1):
            logits_FBC = _logits(features_ND[rows_FB], weights)
            loss = F.cross_entropy(logits_FBC.flatten(0, 1), labels_N[rows_FB].flatten(), reduction="sum") / size
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.inference_mode():
        return [
            _logits(features_ND[fold.test][None], Start(*(weight[number, None] for weight in weights)))[0]
            for number, fold in enumerate(folds)
        ]


def accuracies(
    features_ND: Tensor, labels: Sequence[str], folds: Sequence[Fold], config: ProbeConfig | None = None, seed: int = 1
) -> tuple[float, ...]:
    """Returns the accuracy of the classifier of each fold on the fold's test sentences."""
    from sklearn.metrics import accuracy_score

    number = {label: number for number, label in enumerate(sorted(set(labels)))}
    labels_N = torch.tensor([number[label] for label in labels])
    logits = train_folds(features_ND, labels_N, folds, config, seed)
    return tuple(
        float(accuracy_score(labels_N[fold.test], each_MC.argmax(1))) for fold, each_MC in zip(folds, logits, strict=True)
    )


def _logits(features_FBD: Tensor, weights: Start) -> Tensor:
    hidden_FBH = torch.sigmoid(torch.baddbmm(weights.bias_F1H, features_FBD, weights.first_FDH))
    return torch.baddbmm(weights.bias_F1C, hidden_FBH, weights.second_FHC)
