"""The measures of similarity against closed forms, a direct SVD, scikit-learn and plain loops."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtnat.analysis.similarity import (
    Moments,
    Similarity,
    canonical,
    chance_level,
    linear_cka,
    principal_directions,
    similarities,
)
from mtnat.errors import UserError

Array = NDArray[np.float64]


def of(*views: Array | Tensor) -> Moments:
    moments = Moments([view.shape[1] for view in views])
    moments.add([torch.as_tensor(view) for view in views])
    return moments


def compared(x_ND: Array | Tensor, y_ND: Array | Tensor, variance: float = 0.99) -> Similarity:
    return similarities(of(x_ND, y_ND), variance=variance)[0, 1]


def figures(similarity: Similarity) -> list[float]:
    """All measures."""
    return [similarity.mean_cca, similarity.svcca, *similarity.pwcca, similarity.cka]


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def related(seed: int = 0, count: int = 300, first: int = 5, second: int = 7) -> tuple[Array, Array]:
    """Two representations with something in common, with different means, and variances that differ between features."""
    common = noise(seed, count, 3)
    x_ND = common @ noise(seed + 1, 3, first) + noise(seed + 2, count, first) * np.linspace(0.2, 2, first) + 4
    y_ND = common @ noise(seed + 3, 3, second) + noise(seed + 4, count, second) - 2
    return x_ND, y_ND


def rotation(seed: int, size: int) -> Array:
    return np.asarray(np.linalg.qr(noise(seed, size, size))[0])


def correlations_of(x_ND: Array, y_ND: Array) -> tuple[Array, Array, Array]:
    """The canonical variables of x, their correlations and those of y, from the data: an SVD between orthonormal bases."""
    bases = [np.linalg.qr(data - data.mean(0))[0] for data in (x_ND, y_ND)]
    left, values, right = np.linalg.svd(bases[0].T @ bases[1], full_matrices=False)
    return bases[0] @ left, values, bases[1] @ right.T


SIGNS = np.array([[1 - 2 * (row >> bit & 1) for bit in range(3)] for row in range(8)], dtype=np.float64)
"""Three features of eight observations: mean 0, variance 1, uncorrelated."""


def test_rotation_shift_and_scaling_of_all_features_leave_everything_1() -> None:
    x_ND, _ = related()
    found = compared(x_ND, -3.5 * x_ND @ rotation(9, 5) + 100)
    assert figures(found) == pytest.approx([1] * 5, abs=1e-9)
    assert found.ranks == (5, 5)


def test_an_invertible_map_leaves_cca_1_but_not_cka() -> None:
    x_ND, y_ND = related()
    map_DD = noise(8, 5, 5) @ np.diag([100, 10, 1, 0.1, 0.01])
    found = compared(x_ND, x_ND @ map_DD)
    assert [found.mean_cca, *found.pwcca] == pytest.approx([1] * 3, abs=1e-6)
    assert found.cka < 0.9
    before, after = compared(x_ND, y_ND), compared(x_ND @ map_DD, y_ND)
    assert after.mean_cca == pytest.approx(before.mean_cca, abs=1e-6)
    assert after.pwcca[1] == pytest.approx(before.pwcca[1], abs=1e-6)
    assert after.pwcca[0] != pytest.approx(before.pwcca[0], abs=1e-3)


def test_subspaces_worked_by_hand() -> None:
    """x spans the first two signs, y the first and the third: one correlation is 1, the other one 0."""
    x_ND, y_ND = SIGNS[:, [0, 1]], SIGNS[:, [0, 2]]
    even = compared(x_ND, y_ND)
    assert figures(even) == pytest.approx([0.5] * 5, abs=1e-12)
    # The shared feature of x gets three times its size. Weights of x: 3/4 and 1/4. C_xy has one entry, 3, C_xx has 9 and 1, and
    # C_yy has 1 and 1: CKA is 9 / √(82 · 2).
    uneven = compared(x_ND * [3, 1], y_ND, variance=0.89)
    assert [uneven.mean_cca, *uneven.pwcca] == pytest.approx([0.5, 0.75, 0.5], abs=1e-12)
    assert uneven.cka == pytest.approx(9 / math.sqrt(164), abs=1e-12)
    # 89 % of the variance of x is in the shared feature alone, which y has.
    assert uneven.svcca_directions == (1, 2)
    assert uneven.svcca == pytest.approx(1, abs=1e-12)
    assert compared(x_ND * [3, 1], y_ND, variance=0.91).svcca_directions == (2, 2)


def test_the_correlation_of_lines_is_the_cosine_of_their_angle() -> None:
    turned = SIGNS[:, :1] * math.cos(1.1) + SIGNS[:, 1:2] * math.sin(1.1)
    found = compared(SIGNS[:, :1], turned)
    assert [found.mean_cca, found.svcca, *found.pwcca] == pytest.approx([math.cos(1.1)] * 4, abs=1e-12)
    assert found.cka == pytest.approx(math.cos(1.1) ** 2, abs=1e-12)


def test_mean_cca_is_that_of_a_direct_svd() -> None:
    x_ND, y_ND = related()
    _, expected, _ = correlations_of(x_ND, y_ND)
    assert compared(x_ND, y_ND).mean_cca == pytest.approx(expected.mean(), abs=1e-10)
    moments = of(x_ND, y_ND)
    first, second = (principal_directions(moments.covariance(number, number)) for number in (0, 1))
    found = canonical(first, second, moments.covariance(0, 1))
    np.testing.assert_allclose(found.correlations_K, expected, atol=1e-10)
    # Whitening by Cholesky factors of the covariances gives the same.
    joint = np.cov(np.hstack([x_ND, y_ND]).T)
    roots = [np.linalg.inv(np.linalg.cholesky(block)) for block in (joint[:5, :5], joint[5:, 5:])]
    np.testing.assert_allclose(found.correlations_K, np.linalg.svd(roots[0] @ joint[:5, 5:] @ roots[1].T)[1], atol=1e-10)


def test_mean_cca_is_that_of_scikit_learn() -> None:
    decomposition = pytest.importorskip("sklearn.cross_decomposition")
    x_ND, y_ND = related(count=200, first=3, second=4)
    model = decomposition.CCA(n_components=3, max_iter=5_000, tol=1e-12).fit(x_ND, y_ND)
    first_NK, second_NK = model.transform(x_ND, y_ND)
    expected = [abs(np.corrcoef(first_NK[:, k], second_NK[:, k])[0, 1]) for k in range(3)]
    assert compared(x_ND, y_ND).mean_cca == pytest.approx(np.mean(expected), abs=1e-6)


def test_svcca_is_cca_of_the_first_principal_components() -> None:
    x_ND, y_ND = related()
    kept = []
    for data in (x_ND, y_ND):
        left, values, _ = np.linalg.svd(data - data.mean(0), full_matrices=False)
        number = 1
        while (values[:number] ** 2).sum() < 0.9 * (values**2).sum():
            number += 1
        kept.append(left[:, :number] * values[:number])
    found = compared(x_ND, y_ND, variance=0.9)
    assert found.svcca_directions == tuple(data.shape[1] for data in kept)
    assert found.svcca_directions < found.ranks
    assert found.svcca == pytest.approx(correlations_of(*kept)[1].mean(), abs=1e-10)
    whole = compared(x_ND, y_ND, variance=1)
    assert whole.svcca == pytest.approx(whole.mean_cca, abs=1e-12)
    assert whole.svcca_directions == whole.ranks


def test_pwcca_is_that_of_plain_loops() -> None:
    x_ND, y_ND = related()
    first_NK, correlations, second_NK = correlations_of(x_ND, y_ND)
    expected = []
    for data, variables_NK in ((x_ND, first_NK), (y_ND, second_NK)):
        weights = []
        for k in range(len(correlations)):
            weight = 0.0
            for j in range(data.shape[1]):
                weight += abs(sum(variables_NK[n, k] * (data[n, j] - data[:, j].mean()) for n in range(len(data))))
            weights.append(weight)
        expected.append(sum(w * r for w, r in zip(weights, correlations, strict=True)) / sum(weights))
    found = compared(x_ND, y_ND)
    assert found.pwcca == pytest.approx(expected, abs=1e-9)
    assert found.pwcca[0] > found.mean_cca


def test_linear_cka_is_that_of_centred_gram_matrices() -> None:
    x_ND, y_ND = related(count=60)
    centre = np.eye(60) - 1 / 60
    grams = [centre @ data @ data.T @ centre for data in (x_ND, y_ND)]
    expected = np.sum(grams[0] * grams[1]) / (np.linalg.norm(grams[0]) * np.linalg.norm(grams[1]))
    assert compared(x_ND, y_ND).cka == pytest.approx(expected, abs=1e-12)
    tiny = of(x_ND * 1e-99, y_ND * 1e99)
    blocks = [tiny.covariance(*pair) for pair in ((0, 0), (1, 1), (0, 1))]
    assert linear_cka(*blocks) == pytest.approx(expected, abs=1e-12)


def test_swapping_the_representations_swaps_the_projections_only() -> None:
    x_ND, y_ND = related()
    one, other = compared(x_ND, y_ND), compared(y_ND, x_ND)
    assert other.pwcca == pytest.approx(one.pwcca[::-1], abs=1e-12)
    assert other.ranks == one.ranks[::-1] == (7, 5)
    assert [other.mean_cca, other.svcca, other.cka] == pytest.approx([one.mean_cca, one.svcca, one.cka], abs=1e-12)


def test_independent_noise_is_at_the_chance_level() -> None:
    found = [compared(noise(seed, 400, 12), noise(1000 + seed, 400, 20)) for seed in range(200)]
    assert np.mean([each.mean_cca for each in found]) == pytest.approx(chance_level(400, 12, 20), rel=0.01)
    assert found[0].mean_cca_chance == chance_level(400, 12, 20)


def test_the_chance_level_of_single_features_is_known() -> None:
    """r² of two independent features has the distribution Beta(1/2, (N − 2)/2), so that E|r| = Γ((N − 1)/2) / (√π Γ(N/2))."""
    expected = math.gamma(4.5) / (math.sqrt(math.pi) * math.gamma(5))
    assert chance_level(10, 1, 1) == pytest.approx(expected, rel=0.01)
    assert chance_level(10, 1, 1) == chance_level(10, 1, 1, seed=1) != chance_level(10, 1, 1, seed=2)


@pytest.mark.parametrize(("observations", "first", "second"), [(1001, 100, 100), (1001, 50, 150), (400, 150, 50)])
def test_the_chance_level_of_many_features_approaches_the_limit(observations: int, first: int, second: int) -> None:
    """The density of the squared correlations is known for infinitely many features (Wachter 1980)."""
    few, many = sorted((first / (observations - 1), second / (observations - 1)))
    low, high = ((math.sqrt(few * (1 - many)) + sign * math.sqrt(many * (1 - few))) ** 2 for sign in (-1, 1))
    # x = middle − radius · cos(angle) has no singularity at the ends.
    angles = (np.arange(200_000) + 0.5) * math.pi / 200_000
    radius = (high - low) / 2
    x = (high + low) / 2 - radius * np.cos(angles)
    density = (radius * np.sin(angles)) ** 2 / (2 * math.pi * few * x * (1 - x)) * math.pi / 200_000
    assert density.sum() == pytest.approx(1, abs=1e-4)
    assert chance_level(observations, first, second) == pytest.approx((density * np.sqrt(x)).sum(), rel=0.005)


def test_with_more_dimensions_than_observations_chance_is_1() -> None:
    assert chance_level(20, 19, 40) == chance_level(20, 40, 30) == pytest.approx(1)
    found = compared(noise(1, 20, 30), noise(2, 20, 40))
    assert found.ranks == (19, 19)
    assert [found.mean_cca, found.mean_cca_chance] == pytest.approx([1, 1])
    # Two subspaces of 15 of 20 dimensions have at least 10 in common.
    assert 10 / 15 < chance_level(21, 15, 15) < 1
    assert compared(noise(1, 21, 15), noise(2, 21, 15)).mean_cca == pytest.approx(chance_level(21, 15, 15), abs=0.05)


def test_chunks_and_their_order_do_not_matter() -> None:
    x_ND, y_ND = related()
    whole = of(x_ND, y_ND)
    ends = [0, 1, 1, 40, 250, 300]
    parts = [of(x_ND[start:end], y_ND[start:end]) for start, end in pairwise(ends)]
    streamed = Moments([5, 7])
    for start, end in pairwise(ends):
        streamed.add([torch.as_tensor(x_ND[start:end]), torch.as_tensor(y_ND[start:end])])
    forwards, backwards = Moments([5, 7]), Moments([5, 7])
    for part in parts:
        forwards.merge(part)
    for part in reversed(parts):
        backwards.merge(part)
    expected = np.cov(np.hstack([x_ND, y_ND]).T, ddof=0)
    for moments in (whole, streamed, forwards, backwards):
        assert moments.count == 300
        np.testing.assert_allclose(moments.mean(0), x_ND.mean(0), rtol=1e-13)
        np.testing.assert_allclose(moments.covariance(0, 0), expected[:5, :5], atol=1e-13)
        np.testing.assert_allclose(moments.covariance(0, 1), expected[:5, 5:], atol=1e-13)
        np.testing.assert_allclose(moments.covariance(1, 1), expected[5:, 5:], atol=1e-13)


def test_a_large_mean_does_not_cancel_the_covariance() -> None:
    x_ND, y_ND = related()
    moments = Moments([5, 7])
    for start in range(0, 300, 7):
        moments.add([torch.as_tensor(x_ND[start : start + 7] + 1e5), torch.as_tensor(y_ND[start : start + 7] - 1e5)])
    found, expected = similarities(moments)[0, 1], compared(x_ND, y_ND)
    assert figures(found) == pytest.approx(figures(expected), abs=1e-7)


def test_memory_does_not_grow_with_the_observations() -> None:
    moments = Moments([5, 7])

    def numbers() -> int:
        return sum(each.numel() for each in [*moments._means, *moments._products.values()])

    before = numbers()
    for seed in range(20):
        moments.add([torch.as_tensor(part) for part in related(seed)])
    assert moments.count == 6_000
    assert numbers() == before == 5 + 7 + 5 * 5 + 5 * 7 + 7 * 7
    assert all(len(value) <= 3 for value in vars(moments).values() if isinstance(value, list | dict))


def test_only_the_requested_pairs_are_kept() -> None:
    moments = Moments([2, 3, 4], pairs=[(0, 2)])
    moments.add([torch.as_tensor(noise(width, 50, width)) for width in (2, 3, 4)])
    assert list(similarities(moments)) == [(0, 2)]
    other = Moments([2, 3, 4])
    with pytest.raises(ValueError, match="other widths or pairs"):
        moments.merge(other)
    with pytest.raises(ValueError, match="equally many observations of the widths"):
        moments.add([torch.zeros(2, 2), torch.zeros(3, 3), torch.zeros(3, 4)])


def test_constant_features_change_nothing() -> None:
    x_ND, y_ND = related()
    padded = np.hstack([x_ND, np.zeros((300, 1)), np.full((300, 2), 123.456)])
    found, expected = compared(padded, y_ND), compared(x_ND, y_ND)
    assert figures(found) == pytest.approx(figures(expected), abs=1e-9)
    assert (found.ranks, found.svcca_directions) == (expected.ranks, expected.svcca_directions)


def test_duplicates_and_combinations_of_features_add_no_direction() -> None:
    x_ND, y_ND = related()
    doubled = np.hstack([x_ND, x_ND[:, :2], x_ND @ noise(5, 5, 3)])
    found, expected = compared(doubled, y_ND), compared(x_ND, y_ND)
    assert found.ranks == expected.ranks == (5, 7)
    assert found.mean_cca == pytest.approx(expected.mean_cca, abs=1e-9)
    assert found.pwcca[1] == pytest.approx(expected.pwcca[1], abs=1e-9)
    assert found.mean_cca_chance == expected.mean_cca_chance


def test_the_direction_that_layer_normalisation_removes_does_not_count() -> None:
    raw_ND = torch.as_tensor(noise(3, 500, 16), dtype=torch.float32)
    gain_D, shift_D = torch.linspace(0.5, 2, 16), torch.linspace(-3, 3, 16)
    normalised_ND = torch.nn.functional.layer_norm(raw_ND, (16,)) * gain_D + shift_D
    assert compared(normalised_ND, raw_ND).ranks == (15, 16)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e8])
def test_a_constant_representation_is_refused(value: float) -> None:
    x_ND, _ = related()
    moments = Moments([5, 4], names=["first.model", "second.model"])
    for start in range(0, 300, 100):
        moments.add([torch.as_tensor(x_ND[start : start + 100]), torch.full((100, 4), value)])
    with pytest.raises(UserError, match=r"second.model: is the same for all 300 observations, so that no correlation exists"):
        similarities(moments)


def test_values_that_are_not_finite_are_refused() -> None:
    moments = Moments([1, 1])
    with pytest.raises(UserError, match="representation 1: contains NaN or infinity"):
        moments.add([torch.ones(2, 1), torch.tensor([[1.0], [math.nan]])])
    assert moments.count == 0


def test_too_few_observations_and_a_wrong_share_are_refused() -> None:
    with pytest.raises(UserError, match="needs at least two observations; got 1"):
        compared(np.ones((1, 2)), np.ones((1, 2)))
    with pytest.raises(UserError, match=r"variance: must be above 0 and at most 1; got 1\.5"):
        compared(*related(), variance=1.5)
