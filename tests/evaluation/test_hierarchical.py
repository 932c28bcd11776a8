import csv
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mtnat.errors import DataError
from mtnat.evaluation import MetricName, bleu, hierarchical_bootstrap, paired_bootstrap
from mtnat.evaluation.hierarchical import SeedComparison, compare_statistics

# N sentences, K statistics of a sentence, S seeds of one side

REFERENCES = [f"sentence {i} says that {i * 7} of the {i * 3} things in box {i % 5} are {i % 9} years old" for i in range(100)]
WMT17_BASELINE = "LIUM-NMT.4900"
WMT17_SYSTEMS = ["C-3MA.4959", "FBK.4870", "KIT.4950", "LMU-nmt-reranked.4934", "LMU-nmt-single.4893", "RWTH-nmt-ensemble.4921",
                 "SYSTRAN.4847", "online-B.0", "uedin-nmt.4722", "xmu.4910"]  # fmt: skip


def noisy(share: float, seed: int) -> list[str]:
    """Returns the references with a share of their words replaced."""
    random = np.random.default_rng(seed)
    return [" ".join("noise" if random.random() < share else word for word in line.split()) for line in REFERENCES]


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


def accuracy(sums: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Returns the percentage of correct words: like BLEU, a ratio of sums over sentences."""
    return np.asarray(100 * sums[..., 0] / sums[..., 1])


def equal_systems(seeds: int, seed_effect: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draws correct words and words of two systems that differ only by their seeds, [2, S, N, K]."""
    words_N = random.integers(5, 30, size=80)
    ease = random.normal(0.6, 0.15, size=80) + seed_effect * random.normal(size=(2, seeds, 1))
    right = random.binomial(words_N, np.clip(ease, 0.02, 0.98))
    return np.stack([right, np.broadcast_to(words_N, right.shape)], axis=-1)


def false_positives(seeds: int, seed_effect: float, trials: int) -> tuple[float, float]:
    """Returns the false positive rates at p < 0.05: of this test, and of a test that pools the sentences of all seeds."""
    random = np.random.default_rng(5)
    found = np.zeros(2)
    for trial in range(trials):
        system, baseline = equal_systems(seeds, seed_effect, random)
        together = compare_statistics(system, baseline, accuracy, samples=199, seed=trial)
        pooled = compare_statistics(system.sum(axis=0)[None], baseline.sum(axis=0)[None], accuracy, samples=199, seed=trial)
        found += [together.p_value < 0.05, pooled.p_value < 0.05]
    return float(found[0] / trials), float(found[1] / trials)


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_the_hierarchical_bootstrap_of_one_seed_equals_the_paired_bootstrap(metric: MetricName) -> None:
    system, baseline = noisy(0.20, 1), noisy(0.23, 2)
    ours = hierarchical_bootstrap([system], [baseline], REFERENCES, metric=metric, samples=200)
    plain = paired_bootstrap(system, baseline, REFERENCES, metric=metric, samples=200)
    assert (ours.system, ours.baseline, ours.difference) == (plain.system, plain.baseline, plain.difference)
    assert (ours.low, ours.high) == (plain.low, plain.high)
    assert (ours.system_seeds, ours.baseline_seeds, ours.deviation) == (1, 1, None)


def test_the_hierarchical_p_value_of_one_seed_is_two_sided() -> None:
    """The p-value of `paired_bootstrap` is about half the two-sided one for clearly different systems."""
    system, baseline = noisy(0.20, 1), noisy(0.23, 8)
    ours, plain = hierarchical_bootstrap([system], [baseline], REFERENCES), paired_bootstrap(system, baseline, REFERENCES)
    assert 0.02 < plain.p_value < 0.2
    assert ours.p_value == pytest.approx(2 * plain.p_value, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("system", WMT17_SYSTEMS)
def test_wmt17_p_values_are_those_of_a_two_sided_test(corpora: Path, system: str) -> None:
    """multeval's approximate randomisation is another two-sided test of the same difference, without seeds."""
    folder = corpora / "wmt17_outputs"
    if not folder.is_dir():
        pytest.skip("needs wmt17_outputs under $MTNAT_DATA")
    with (folder / "p_values.tsv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file, delimiter="\t") if row["system"] == system)
    hypotheses, baseline = (lines(folder / f"newstest2017.{name}.en-de.de.gz") for name in (system, WMT17_BASELINE))
    ours = hierarchical_bootstrap([hypotheses], [baseline], lines(folder / "ref0.de.gz"), tokenize="none", samples=2000)
    assert ours.p_value == pytest.approx(float(row["multeval_approximate_randomization_10000"]), abs=0.03)


def test_the_hierarchical_bootstrap_of_identical_sentences_equals_the_t_test() -> None:
    """Means 12 and 10, sums of squares 8 and 2 over 4 degrees of freedom, so a standard error of √(10/4 · 2/3) = 1.291.

    Student's t of 97.5 % is 2.776, and t = 2 / 1.291 = 1.549 has p = 0.196.
    """
    right = np.array([[10, 12, 14], [9, 10, 11]])
    system, baseline = (np.stack([np.full((3, 50), side[:, None]), np.full((3, 50), 100)], axis=-1) for side in right)
    found = compare_statistics(system, baseline, accuracy, samples=20_000)
    assert (found.system, found.baseline, found.difference) == pytest.approx((12, 10, 2))
    assert found.deviation == pytest.approx(np.sqrt(10 / 4))
    assert (found.low, found.high) == pytest.approx((2 - 2.776 * 1.291, 2 + 2.776 * 1.291), abs=0.15)
    assert found.p_value == pytest.approx(0.196, abs=0.012)


def test_identical_seeds_add_no_variance() -> None:
    system, baseline = noisy(0.20, 1), noisy(0.23, 2)
    several = hierarchical_bootstrap([system] * 3, [baseline] * 2, REFERENCES, samples=100)
    one = hierarchical_bootstrap([system], [baseline], REFERENCES, samples=100)
    assert (several.low, several.high, several.p_value) == pytest.approx((one.low, one.high, one.p_value))
    assert (several.system_seeds, several.baseline_seeds, several.deviation) == (3, 2, 0)


def test_scores_are_means_over_seeds() -> None:
    systems, baselines = [noisy(0.1, 1), noisy(0.12, 2), noisy(0.14, 3)], [noisy(0.3, 4), noisy(0.33, 5)]
    found = hierarchical_bootstrap(systems, baselines, REFERENCES, samples=500)
    system_scores, baseline_scores = ([bleu(run, REFERENCES).value for run in runs] for runs in (systems, baselines))
    assert found.system == pytest.approx(np.mean(system_scores))
    assert found.baseline == pytest.approx(np.mean(baseline_scores))
    assert found.difference == pytest.approx(found.system - found.baseline)
    squares = 2 * np.var(system_scores, ddof=1) + np.var(baseline_scores, ddof=1)
    assert found.deviation == pytest.approx(np.sqrt(squares / 3))
    assert found.low < found.difference < found.high
    assert found.p_value < 0.05
    assert found.mark in ("↑", "⇑")


def test_a_single_seed_gets_the_variance_of_the_other_side() -> None:
    """Two equal systems. The only run of one deviates as much as other seeds do, so the difference is not significant."""
    right = np.array([[40, 60, 50]])
    several = np.stack([np.repeat(right.T, 50, axis=1), np.full((3, 50), 100)], axis=-1)
    found = compare_statistics(several, several[1:2], accuracy)
    assert found.difference == pytest.approx(-10)
    assert found.low < 0 < found.high
    assert found.p_value > 0.3


def test_swapped_sides_swap_the_sign() -> None:
    systems, baselines = [noisy(0.2, 1), noisy(0.22, 2)], [noisy(0.22, 3), noisy(0.25, 4)]
    forward, backward = (hierarchical_bootstrap(*sides, REFERENCES) for sides in ((systems, baselines), (baselines, systems)))
    assert backward.difference == pytest.approx(-forward.difference)
    assert backward.p_value == pytest.approx(forward.p_value, abs=0.06)


def test_a_system_does_not_differ_from_itself() -> None:
    runs = [noisy(0.2, 1), noisy(0.25, 2)]
    found = hierarchical_bootstrap(runs, runs, REFERENCES, samples=100)
    assert (found.difference, found.p_value) == (0, 1)
    assert found.low < 0 < found.high


def test_seed_and_samples_determine_the_resamples() -> None:
    def found(seed: int) -> SeedComparison:
        return hierarchical_bootstrap([noisy(0.2, 1), noisy(0.3, 2)], [noisy(0.2, 3)], REFERENCES, samples=50, seed=seed)

    assert found(1) == found(1)
    assert found(1).low != found(2).low
    assert hierarchical_bootstrap([noisy(0.9, 1)], [REFERENCES], REFERENCES, samples=20).p_value == 1 / 21


def test_equal_systems_rarely_differ_significantly_despite_seed_effects() -> None:
    """A seed effect of 0.03 changes the score of a run by 3 points; the choice of sentences explains about 1.2."""
    together, pooled = false_positives(seeds=3, seed_effect=0.03, trials=200)
    assert together < 0.09
    assert pooled > 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "seed_effect", "least"),
    [(3, 0.0, 0.0), (2, 0.01, 0.005), (5, 0.01, 0.005), (2, 0.03, 0.02), (3, 0.03, 0.02), (2, 0.1, 0.03), (5, 0.1, 0.03)],
)
def test_the_false_positive_rate_is_close_to_the_nominal_level(seeds: int, seed_effect: float, least: float) -> None:
    """Conservative without a seed effect, whose variance is then still estimated; near 0.05 with a large effect."""
    together, pooled = false_positives(seeds, seed_effect, trials=400)
    assert least <= together < 0.075
    if seed_effect >= 0.03:
        assert pooled > 0.3


def test_a_difference_larger_than_seeds_and_sentences_explain_is_significant() -> None:
    random = np.random.default_rng(3)
    system, baseline = equal_systems(4, 0.02, random)
    words = system[..., 1]
    system[..., 0] = np.minimum(system[..., 0] + words // 5, words)  # about 15 points
    assert compare_statistics(system, baseline, accuracy).p_value < 0.01


def test_bad_input_of_the_hierarchical_bootstrap_gives_one_message() -> None:
    with pytest.raises(DataError, match="baselines: have no runs; give the hypotheses of at least one seed"):
        hierarchical_bootstrap([["a"]], [], ["a"])
    with pytest.raises(DataError, match="got 1 and 2"):
        hierarchical_bootstrap([["a", "b"], ["a"]], [["a", "b"]], ["a", "b"])
