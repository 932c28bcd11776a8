"""The classifiers of a probe: all folds at once, and what they find."""

import statistics

import numpy as np
import pytest
import torch
from scipy.stats import t, ttest_ind
from torch import Tensor, nn

from mtnat.analysis.probing.baselines import bag_of_words, majority
from mtnat.analysis.probing.comparison import ProbeComparison, corrected_t_test, seed_t_test
from mtnat.analysis.probing.trainer import (
    Fold,
    ProbeConfig,
    accuracies,
    epoch_order,
    fold_generator,
    folds_of,
    start_of,
    steps_of_an_epoch,
    train_folds,
)

# N sentences, M of a fold, D features, C classes

SMALL = ProbeConfig(hidden=16, epochs=2)


def drawn(sentences: int = 600, width: int = 12, classes: int = 3) -> tuple[Tensor, list[str]]:
    """Features, and labels that are a linear function of them."""
    generator = torch.Generator().manual_seed(1)
    features_ND = torch.randn(sentences, width, generator=generator)
    labels_N = (features_ND @ torch.randn(width, classes, generator=generator)).argmax(1)
    return features_ND, [f"class {label}" for label in labels_N.tolist()]


def fold_by_fold(features_ND: Tensor, labels_N: Tensor, folds: list[Fold], config: ProbeConfig, seed: int) -> list[Tensor]:
    """Trains one network of `torch.nn` after the other, and returns the logits of each fold's test sentences."""
    steps, size = steps_of_an_epoch(folds, config.batch_size)
    found = []
    for number, fold in enumerate(folds):
        generator = fold_generator(seed, number)
        start = start_of(features_ND.shape[1], config.hidden, int(labels_N.max()) + 1, [generator])
        first, second = (nn.Linear(*weight.shape[1:]) for weight in (start.first_FDH, start.second_FHC))
        with torch.no_grad():
            first.weight.copy_(start.first_FDH[0].T)
            first.bias.copy_(start.bias_F1H[0, 0])
            second.weight.copy_(start.second_FHC[0].T)
            second.bias.copy_(start.bias_F1C[0, 0])
        network = nn.Sequential(first, nn.Sigmoid(), second)
        optimizer = torch.optim.Adam(network.parameters(), config.learning_rate)
        for _ in range(config.epochs):
            for rows in torch.split(epoch_order(fold.train, steps * size, generator), size):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(features_ND[rows]), labels_N[rows]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        found.append(network(features_ND[torch.from_numpy(fold.test)]).detach())
    return found


@pytest.mark.parametrize(("sentences", "classes"), [(605, 3), (45, 2)])
def test_all_folds_at_once_equal_training_fold_by_fold(sentences: int, classes: int) -> None:
    features_ND, labels = drawn(sentences, classes=classes)
    folds = folds_of(labels)
    assert len({len(fold.train) for fold in folds}) > 1
    labels_N = torch.tensor([int(label[-1]) for label in labels])
    together = train_folds(features_ND, labels_N, folds, SMALL, seed=3)
    alone = fold_by_fold(features_ND, labels_N, folds, SMALL, seed=3)
    for fold, logits_MC, other_MC in zip(folds, together, alone, strict=True):
        torch.testing.assert_close(logits_MC, other_MC, rtol=1e-4, atol=1e-5)
        assert len(logits_MC) == len(fold.test)


def test_labels_that_are_linear_in_the_features_are_found_and_shuffled_ones_are_not() -> None:
    features_ND, labels = drawn(2_000, width=20)
    config = ProbeConfig(epochs=20)
    found = statistics.fmean(accuracies(features_ND, labels, folds_of(labels), config))
    shuffled = [labels[row] for row in np.random.default_rng(1).permutation(len(labels))]
    chance = statistics.fmean(accuracies(features_ND, shuffled, folds_of(shuffled), config))
    most = max(labels.count(label) for label in set(labels)) / len(labels)
    assert found > 0.93
    assert abs(chance - most) < 0.06


def test_equal_seeds_give_equal_accuracies() -> None:
    features_ND, labels = drawn()
    folds = folds_of(labels, seed=2)
    assert accuracies(features_ND, labels, folds, SMALL, seed=2) == accuracies(features_ND, labels, folds, SMALL, seed=2)
    assert accuracies(features_ND, labels, folds, SMALL, seed=2) != accuracies(features_ND, labels, folds, SMALL, seed=3)
    assert [fold.test.tolist() for fold in folds_of(labels)] != [fold.test.tolist() for fold in folds]


def test_each_sentence_is_tested_once_and_never_trained_on_in_its_fold() -> None:
    _, labels = drawn()
    folds = folds_of(labels)
    assert sorted(np.concatenate([fold.test for fold in folds]).tolist()) == list(range(len(labels)))
    assert all(set(fold.train.tolist()).isdisjoint(fold.test.tolist()) for fold in folds)
    share = labels.count("class 0") / len(labels)
    assert all(abs(statistics.fmean(labels[row] == "class 0" for row in fold.test) - share) < 0.02 for fold in folds)


def test_the_majority_is_the_share_of_the_most_frequent_label() -> None:
    labels = ["a"] * 60 + ["b"] * 40
    assert majority(labels, folds_of(labels)) == pytest.approx([0.6] * 10)


@pytest.mark.parametrize("classes", [2, 60])
def test_a_bag_of_words_finds_words_but_not_their_order(classes: int) -> None:
    words = [f"word{number}" for number in range(classes)]
    sentences = [f"the {words[row % classes]} of {row // classes}" for row in range(20 * classes)]
    labels = [words[row % classes] for row in range(20 * classes)]
    assert statistics.fmean(bag_of_words(sentences, labels, folds_of(labels))) == 1
    orders = ["x y" if row % 2 else "y x" for row in range(200)]
    labels = [order[0] for order in orders]
    assert statistics.fmean(bag_of_words(orders, labels, folds_of(labels))) == 0.5


def test_the_corrected_t_test_has_the_variance_of_nadeau_and_bengio() -> None:
    system, baseline = [0.9, 0.8, 0.85, 0.9], [0.8, 0.8, 0.8, 0.8]
    # The differences 0.1, 0, 0.05, 0.1 have the mean 0.0625 and the variance (0.0375² + 0.0625² + 0.0125² + 0.0375²) / 3.
    variance = (0.0375**2 + 0.0625**2 + 0.0125**2 + 0.0375**2) / 3
    statistic = 0.0625 / ((1 / 4 + 1 / 3) * variance) ** 0.5
    assert corrected_t_test(system, baseline) == pytest.approx(2 * t.sf(statistic, 3))
    assert corrected_t_test(baseline, system) == pytest.approx(2 * t.sf(statistic, 3))
    assert corrected_t_test(system, system) == 1
    assert corrected_t_test([0.75] * 4, [0.5] * 4) == 0


def test_without_variance_over_folds_the_test_over_seeds_is_that_of_welch() -> None:
    system, baseline = [0.91, 0.93, 0.95], [0.88, 0.9]
    expected = ttest_ind(system, baseline, equal_var=False).pvalue
    folds = np.linspace(-0.1, 0.1, 10)  # what is common to all models cancels
    assert seed_t_test(
        [(mean + folds).tolist() for mean in system], [(mean + folds).tolist() for mean in baseline]
    ) == pytest.approx(expected)


def test_without_variance_between_seeds_the_test_over_seeds_is_that_over_folds() -> None:
    system, baseline = [0.9, 0.8, 0.85, 0.9], [0.8, 0.8, 0.8, 0.8]
    assert seed_t_test([system] * 3, [baseline] * 3) == pytest.approx(corrected_t_test(system, baseline))
    assert seed_t_test([system] * 2, [system] * 2) == 1


def test_seeds_and_folds_together_give_fewer_differences_than_either() -> None:
    random = np.random.default_rng(1)
    common = random.normal(0, 0.02, (1, 10))
    found = 0
    for _ in range(400):  # equal methods: seeds deviate, and so do folds, differently for each method
        one, two = (
            random.normal(0, 0.02, (3, 1)) + random.normal(0, 0.02, (1, 10)) + common + random.normal(0, 0.01, (3, 10))
            for _ in range(2)
        )
        found += seed_t_test(one.tolist(), two.tolist()) < 0.05
    assert found <= 400 * 0.07


def test_a_mark_needs_an_adjusted_p_value_and_several_seeds() -> None:
    assert ProbeComparison(0.01, 0.004, 0.04, (2, 3)).mark == "↑"
    assert ProbeComparison(-0.01, 0.0004, 0.004, (3, 3)).mark == "⇓"
    assert ProbeComparison(0.01, 0.01, 0.1, (3, 3)).mark == ""
    assert ProbeComparison(0.01, 0.0004, 0.004, (1, 3)).mark == ""
    assert ProbeComparison(0.01, 0.0004, 0.004, (1, 1)).mark == ""
