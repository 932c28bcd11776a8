"""Similarity of representations: CCA, SVCCA, projection-weighted CCA and linear CKA, from second moments.

A representation is a matrix of N observations × D features, such as the states of an encoder layer for N pieces. All measures
need only the means and the (cross-)covariances of the representations. `Moments` accumulates them batch by batch, so its memory
grows with the widths and not with the number of observations.
"""

# N observations, X, Y features of two representations, R, Q their principal directions, K canonical correlations: min(R, Q)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mtnat.errors import UserError

CUTOFF = 1e-10
"""A principal direction counts if its variance is above this share of the largest one. States are computed in float32, whose
rounding leaves about 1e-14 of the largest variance in a direction that should have none. One such direction exists behind every
layer normalisation, which fixes the sum of its normalised features."""
_CONSTANT = 1e-12
"""A representation is constant if its variance is below this share of its squared mean."""
VARIANCE = 0.99
"""Share of the variance that SVCCA keeps."""
_DRAWS, _LEAST_DRAWS = 200_000, 4
"""Draws of the chance level for one canonical correlation, and for many."""

Pair = tuple[int, int]


class Moments:
    """The means and second moments of several representations of the same observations, in float64.

    The memory is O(widths²) and independent of the number of observations.
    """

    def __init__(
        self,
        widths: Sequence[int],
        pairs: Sequence[Pair] | None = None,
        names: Sequence[str] | None = None,
        device: str = "cpu",
    ) -> None:
        """Starts without observations.

        Args:
            widths: number of features of each representation.
            pairs: representations of which the cross-covariance is needed; by default every two of them.
            names: of the representations, for error messages.
            device: where sums are kept and computed.
        """
        self.names = list(names) if names else [f"representation {number}" for number in range(len(widths))]
        self.pairs: list[Pair] = list(combinations(range(len(widths)), 2)) if pairs is None else list(pairs)
        self.count = 0
        """The number of observations so far."""
        self._means = [torch.zeros(width, dtype=torch.float64, device=device) for width in widths]
        own = [(number, number) for number in range(len(widths))]
        self._products: dict[Pair, Tensor] = {
            (one, other): torch.zeros(widths[one], widths[other], dtype=torch.float64, device=device)
            for one, other in dict.fromkeys([*own, *self.pairs])
        }
        """Sums of the products of centred features."""

    def add(self, representations: Sequence[Tensor]) -> None:
        """Adds observations.

        Args:
            representations: [N, width] each, in the order of the widths. Equal rows are the same observation.

        Raises:
            UserError: a value is not finite.
        """
        counts = {len(each) for each in representations}
        widths = [each.shape[1] for each in representations]
        if len(counts) != 1 or widths != [len(mean) for mean in self._means]:
            raise ValueError(f"needs equally many observations of the widths {[len(mean) for mean in self._means]}.")
        if counts == {0}:
            return
        centred, means = [], []
        for name, each in zip(self.names, representations, strict=True):
            exact_ND = each.to(self._means[0].device, torch.float64)
            if not bool(torch.isfinite(exact_ND).all()):
                raise UserError(f"{name}: contains NaN or infinity; give a model whose training did not diverge.")
            means.append(exact_ND.mean(dim=0))
            centred.append(exact_ND - means[-1])
        self._shift(counts.pop(), means)
        for (one, other), product in self._products.items():
            product.addmm_(centred[one].T, centred[other])

    def merge(self, other: "Moments") -> None:
        """Adds the observations of another accumulator, which stays as it is."""
        if {pair: product.shape for pair, product in self._products.items()} != {
            pair: product.shape for pair, product in other._products.items()
        }:
            raise ValueError("the other moments are of other widths or pairs.")
        if not other.count:
            return
        self._shift(other.count, other._means)
        for pair, product in self._products.items():
            product += other._products[pair]

    def _shift(self, count: int, means: Sequence[Tensor]) -> None:
        """Moves the means for new observations (Chan et al. 1983). The products within the new ones are added by the caller."""
        total = self.count + count
        deltas = [new - old for new, old in zip(means, self._means, strict=True)]
        for (one, other), product in self._products.items():
            product.addr_(deltas[one], deltas[other], alpha=self.count * count / total)
        for mean, delta in zip(self._means, deltas, strict=True):
            mean += delta * (count / total)
        self.count = total

    def mean(self, number: int) -> Tensor:
        """Returns the mean of a representation, [width]."""
        return self._means[number].cpu()

    def covariance(self, one: int, other: int) -> Tensor:
        """Returns the (cross-)covariance of two representations, [width, width], with divisor N."""
        return self._products[one, other].cpu() / max(self.count, 1)


@dataclass(frozen=True)
class Directions:
    """The principal directions of a representation, the one with the largest variance first."""

    variances_R: Tensor
    vectors_XR: Tensor
    """Orthonormal columns."""

    @property
    def rank(self) -> int:
        return len(self.variances_R)

    def explaining(self, share: float) -> "Directions":
        """Returns the smallest number of first directions that have at least this share of the variance."""
        shares_R = self.variances_R.cumsum(0) / self.variances_R.sum()
        kept = min(self.rank, int((shares_R < share).sum()) + 1)
        return Directions(self.variances_R[:kept], self.vectors_XR[:, :kept])


def principal_directions(covariance_XX: Tensor, cutoff: float = CUTOFF) -> Directions:
    """Returns the directions whose variance is above `cutoff` times the largest variance.

    Features that are constant, duplicates or linear combinations of others add no direction.
    """
    variances_X, vectors_XX = torch.linalg.eigh((covariance_XX + covariance_XX.T) / 2)  # in ascending order
    kept = int((variances_X > cutoff * variances_X[-1].clamp(min=0)).sum())
    return Directions(variances_X.flip(0)[:kept], vectors_XX.flip(1)[:, :kept])


@dataclass(frozen=True)
class Canonical:
    """The canonical correlations of two representations, the largest first.

    Canonical variable k of the first representation is its whitened principal components times column k of `first_RK`.
    """

    first_RK: Tensor
    correlations_K: Tensor
    second_QK: Tensor

    @property
    def mean(self) -> float:
        return float(self.correlations_K.mean())


def canonical(first: Directions, second: Directions, covariance_XY: Tensor) -> Canonical:
    """Returns the canonical correlations within some directions of two representations (Hotelling 1936).

    They are the singular values of the cross-covariance of the whitened principal components. Their number is that of the
    directions of the representation that has fewer.
    """
    cross_RQ = first.vectors_XR.T @ covariance_XY @ second.vectors_XR
    white_RQ = cross_RQ / first.variances_R.sqrt()[:, None] / second.variances_R.sqrt()
    first_RK, correlations_K, second_KQ = torch.linalg.svd(white_RQ, full_matrices=False)
    return Canonical(first_RK, correlations_K.clamp(0, 1), second_KQ.T)


def projection_weights(directions: Directions, coefficients_RK: Tensor) -> Tensor:
    """Returns the weights α of the canonical correlations in PWCCA, [K] (Morcos et al. 2018).

    α_k = Σ_j |⟨h_k, x_j⟩|, normalised to the sum 1, with canonical variable h_k and centred feature x_j of one representation.
    It shows how much of that representation a canonical variable accounts for. Canonical variables with exactly equal
    correlations are determined only up to a rotation, and so are their weights.
    """
    loadings_XK = directions.vectors_XR @ (directions.variances_R.sqrt()[:, None] * coefficients_RK)
    weights_K = loadings_XK.abs().sum(dim=0)
    return weights_K / weights_K.sum()


def linear_cka(covariance_XX: Tensor, covariance_YY: Tensor, covariance_XY: Tensor) -> float:
    """Returns linear centred kernel alignment, ‖C_xy‖² / (‖C_xx‖ ‖C_yy‖) with Frobenius norms (Kornblith et al. 2019)."""
    # Scaled, so that no square leaves the range of numbers.
    scales = [covariance.abs().max() for covariance in (covariance_XX, covariance_YY)]
    cross = (covariance_XY / scales[0].sqrt() / scales[1].sqrt()).norm().square()
    return float((cross / (covariance_XX / scales[0]).norm() / (covariance_YY / scales[1]).norm()).clamp(max=1))


@dataclass(frozen=True)
class Similarity:
    """How similar two representations are. Each measure is between 0 and 1."""

    observations: int
    ranks: Pair
    """Number of principal directions of each representation."""
    mean_cca: float
    """Mean of the canonical correlations, of which there are as many as the smaller rank."""
    mean_cca_chance: float
    """Expected mean CCA of independent Gaussian noise with as many observations and these ranks."""
    svcca: float
    """Mean CCA within the directions that explain most of the variance of each (Raghu et al. 2017)."""
    svcca_directions: Pair
    """Number of directions that SVCCA keeps of each representation."""
    svcca_chance: float
    """Chance level of SVCCA, for these numbers of directions."""
    pwcca: tuple[float, float]
    """Projection-weighted CCA (Morcos et al. 2018), with weights by the first and by the second representation."""
    cka: float
    """Linear CKA (Kornblith et al. 2019)."""


def similarities(moments: Moments, *, variance: float = VARIANCE, cutoff: float = CUTOFF) -> dict[Pair, Similarity]:
    """Returns the similarity of each pair of representations that `moments` has.

    Mean CCA does not change under invertible linear maps of either representation. PWCCA does not change under those of the
    representation that does not give the weights. SVCCA and CKA do not change under rotation, nor under scaling of all features
    by one number. If the ranks differ, PWCCA by the representation of higher rank weighs only the canonical variables, which
    are fewer than its directions.

    Args:
        variance: share of each representation's variance that SVCCA keeps, above 0 and at most 1.
        cutoff: variance of a direction, as a share of the largest one, that counts as none.

    Raises:
        UserError: there are fewer than two observations, or a representation is constant.
    """
    if not 0 < variance <= 1:
        raise UserError(f"variance: must be above 0 and at most 1; got {variance:g}.")
    if moments.count < 2:
        raise UserError(f"similarity: needs at least two observations; got {moments.count}.")
    used = sorted({number for pair in moments.pairs for number in pair})
    own = {number: moments.covariance(number, number) for number in used}
    for number, covariance_XX in own.items():
        if float(covariance_XX.trace()) <= _CONSTANT * float(moments.mean(number).square().sum()):
            raise UserError(
                f"{moments.names[number]}: is the same for all {moments.count:,} observations, so that no correlation exists; "
                "give more varied text or another model."
            )
    directions = {number: principal_directions(covariance_XX, cutoff) for number, covariance_XX in own.items()}
    return {
        pair: _similarity(moments, pair, own, (directions[pair[0]], directions[pair[1]]), variance) for pair in moments.pairs
    }


def _similarity(
    moments: Moments, pair: Pair, own: Mapping[int, Tensor], directions: tuple[Directions, Directions], variance: float
) -> Similarity:
    cross_XY = moments.covariance(*pair)
    first, second = directions
    whole = canonical(first, second, cross_XY)
    kept = (first.explaining(variance), second.explaining(variance))
    within = canonical(*kept, cross_XY)
    ranks, kept_ranks = (first.rank, second.rank), (kept[0].rank, kept[1].rank)
    return Similarity(
        observations=moments.count,
        ranks=ranks,
        mean_cca=whole.mean,
        mean_cca_chance=chance_level(moments.count, *ranks),
        svcca=within.mean,
        svcca_directions=kept_ranks,
        svcca_chance=chance_level(moments.count, *kept_ranks),
        pwcca=(
            float(projection_weights(first, whole.first_RK) @ whole.correlations_K),
            float(projection_weights(second, whole.second_QK) @ whole.correlations_K),
        ),
        cka=linear_cka(own[pair[0]], own[pair[1]], cross_XY),
    )


@lru_cache(maxsize=1024)
def chance_level(observations: int, first: int, second: int, *, seed: int = 1) -> float:
    """Returns the expected mean CCA of independent Gaussian noise, by simulation.

    The observations themselves are not drawn. The centred features of each representation span a random subspace of a space of
    N − 1 dimensions, and the canonical correlations are the cosines between both subspaces. Only the angles matter, so one
    subspace is fixed and the other one is drawn from its exact distribution. The time does not depend on N.

    Args:
        observations: N, at least 2.
        first: rank of the first representation.
        second: rank of the second representation.
        seed: of the simulation.
    """
    space = observations - 1
    few, many = sorted((min(first, space), min(second, space)))
    generator = np.random.default_rng(seed)
    # The mean over K cosines deviates by about 1 / K of itself, so that few draws are needed if there are many cosines.
    draws = max(_LEAST_DRAWS, -(-_DRAWS // few**2))
    # A random subspace is spanned by Gaussian columns, of which some rows lie within the fixed subspace and the others outside.
    inside, outside = (_gaussian_factor(generator, draws, rows, few) for rows in (many, space - many))
    basis, _ = np.linalg.qr(np.concatenate([inside, outside], axis=1))
    cosines = np.linalg.svd(basis[:, : inside.shape[1]], compute_uv=False)
    return float(cosines.clip(0, 1).mean())


def _gaussian_factor(generator: np.random.Generator, draws: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Draws Gaussian matrices, up to a rotation of the rows, which reduces their number to that of the columns."""
    if rows <= columns:
        return generator.standard_normal((draws, rows, columns))
    factor = np.triu(generator.standard_normal((draws, columns, columns)), 1)
    diagonal = np.arange(columns)
    factor[:, diagonal, diagonal] = np.sqrt(generator.chisquare(rows - diagonal, (draws, columns)))
    return factor  # Bartlett 1933
