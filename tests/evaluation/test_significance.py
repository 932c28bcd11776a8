import csv
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER
from sacrebleu.significance import PairedTest

from mtnat.errors import DataError
from mtnat.evaluation import Mark, MetricName, Score, bleu, chrf, holm, mark_of, paired_bootstrap, ter

BASELINE = "LIUM-NMT.4900"
SYSTEMS = ["C-3MA.4959", "FBK.4870", "KIT.4950", "LMU-nmt-reranked.4934", "LMU-nmt-single.4893", "RWTH-nmt-ensemble.4921",
           "SYSTRAN.4847", "online-B.0", "uedin-nmt.4722", "xmu.4910"]  # fmt: skip


def noisy(references: list[str], share: float, seed: int) -> list[str]:
    """Returns the references with a share of their words replaced."""
    random = np.random.default_rng(seed)
    return [" ".join("noise" if random.random() < share else word for word in line.split()) for line in references]


REFERENCES = [f"sentence {i} says that {i * 7} of the {i * 3} things in box {i % 5} are {i % 9} years old" for i in range(200)]


def lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n")


@pytest.fixture(scope="module")
def wmt17(corpora: Path) -> Path:
    folder = corpora / "wmt17_outputs"
    if not folder.is_dir():
        pytest.skip("needs wmt17_outputs under $MTNAT_DATA")
    return folder


def test_a_better_system_is_significantly_better() -> None:
    good, bad = noisy(REFERENCES, 0.1, seed=1), noisy(REFERENCES, 0.3, seed=2)
    comparison = paired_bootstrap(good, bad, REFERENCES)
    assert comparison.system == bleu(good, REFERENCES).value
    assert comparison.baseline == bleu(bad, REFERENCES).value
    assert comparison.difference == comparison.system - comparison.baseline
    assert 0 < comparison.low < comparison.difference < comparison.high
    assert comparison.p_value == 1 / 1001


def test_swapped_systems_swap_the_sign() -> None:
    one, other = noisy(REFERENCES, 0.20, seed=1), noisy(REFERENCES, 0.22, seed=2)
    forward, backward = paired_bootstrap(one, other, REFERENCES), paired_bootstrap(other, one, REFERENCES)
    assert backward.difference == -forward.difference
    assert backward.p_value == forward.p_value
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))


def test_a_system_does_not_differ_from_itself() -> None:
    """sacrebleu gives p = 1 / 1001 here."""
    comparison = paired_bootstrap(REFERENCES, REFERENCES, REFERENCES)
    assert (comparison.difference, comparison.low, comparison.high, comparison.p_value) == (0, 0, 0, 1)


def test_equal_systems_rarely_differ_significantly() -> None:
    p_values = [
        paired_bootstrap(noisy(REFERENCES, 0.2, seed), noisy(REFERENCES, 0.2, 100 + seed), REFERENCES, samples=100).p_value
        for seed in range(7)
    ]
    assert np.median(p_values) > 0.1


def test_seed_and_samples_determine_the_resamples() -> None:
    one, other = noisy(REFERENCES, 0.20, seed=1), noisy(REFERENCES, 0.21, seed=2)
    assert paired_bootstrap(one, other, REFERENCES, seed=1) == paired_bootstrap(one, other, REFERENCES, seed=1)
    assert paired_bootstrap(one, other, REFERENCES, seed=1).low != paired_bootstrap(one, other, REFERENCES, seed=2).low
    assert paired_bootstrap(noisy(REFERENCES, 0.9, 1), REFERENCES, REFERENCES, samples=20).p_value == 1 / 21


@pytest.mark.parametrize("tokenize", ["13a", "none"])
def test_the_p_value_of_bleu_equals_that_of_sacrebleu(monkeypatch: pytest.MonkeyPatch, tokenize: str) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "77")
    system, baseline = noisy(REFERENCES, 0.20, seed=1), noisy(REFERENCES, 0.21, seed=4)
    test = PairedTest([("b", baseline), ("s", system)], {"BLEU": BLEU(tokenize=tokenize)}, [REFERENCES], "bs", 300)
    theirs = test()[1]["BLEU"][1]
    ours = paired_bootstrap(system, baseline, REFERENCES, samples=300, seed=77, tokenize=tokenize)
    assert not isinstance(theirs, str)
    assert 0.01 < ours.p_value < 0.4
    assert (ours.p_value, ours.system) == (theirs.p_value, theirs.score)


@pytest.mark.parametrize(("metric", "theirs"), [("chrf", CHRF()), ("ter", TER())])
def test_p_values_of_other_metrics_equal_those_of_sacrebleu(
    monkeypatch: pytest.MonkeyPatch, metric: MetricName, theirs: Metric
) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "77")
    system, baseline = noisy(REFERENCES, 0.20, seed=1), noisy(REFERENCES, 0.21, seed=4)
    signatures, results = PairedTest([("b", baseline), ("s", system)], {metric: theirs}, [REFERENCES], "bs", 300)()
    [name] = signatures
    result = results[name][1]
    ours = paired_bootstrap(system, baseline, REFERENCES, metric=metric, samples=300, seed=77)
    assert not isinstance(result, str)
    assert 0.01 < ours.p_value < 0.4
    assert ours.p_value == result.p_value
    assert ours.system == pytest.approx(result.score, rel=1e-6)


@pytest.mark.parametrize(("metric", "score"), [("chrf", chrf), ("ter", ter)])
def test_other_metrics_compare_their_corpus_scores(metric: MetricName, score: Callable[[list[str], list[str]], Score]) -> None:
    good, bad = noisy(REFERENCES, 0.1, seed=1), noisy(REFERENCES, 0.3, seed=2)
    comparison = paired_bootstrap(good, bad, REFERENCES, metric=metric, samples=100)
    assert comparison.system == score(good, REFERENCES).value
    assert comparison.baseline == score(bad, REFERENCES).value
    assert comparison.difference == comparison.system - comparison.baseline
    assert comparison.low < comparison.difference < comparison.high
    assert comparison.p_value == 1 / 101


@pytest.mark.parametrize("metric", ["bleu", "chrf", "ter"])
def test_the_mark_points_up_where_the_system_is_better(metric: MetricName) -> None:
    good, bad = noisy(REFERENCES, 0.1, seed=1), noisy(REFERENCES, 0.3, seed=2)
    up = paired_bootstrap(good, bad, REFERENCES, metric=metric, samples=200)
    down = paired_bootstrap(bad, good, REFERENCES, metric=metric, samples=200)
    assert (up.mark, down.mark) == ("⇑", "⇓")
    assert (up.difference < 0) == (metric == "ter")  # for TER, lower is better
    assert paired_bootstrap(good, good, REFERENCES, metric=metric, samples=20).mark == ""


@pytest.mark.parametrize(
    ("gain", "p_value", "mark"),
    [(1, 0.0099, "⇑"), (1, 0.01, "↑"), (1, 0.0499, "↑"), (1, 0.05, ""), (-1, 0.0099, "⇓"), (-1, 0.01, "↓"), (-1, 0.05, "")],
)
def test_marks_are_those_of_the_paper(gain: float, p_value: float, mark: Mark) -> None:
    assert mark_of(gain, p_value) == mark


def test_empty_lines_are_sentences_too() -> None:
    comparison = paired_bootstrap(["", "a b c d e"], ["", ""], ["x", "a b c d e"], samples=50)
    assert comparison.baseline == 0
    assert comparison.system == pytest.approx(100 * np.exp(1 - 6 / 5))


def test_unequal_numbers_give_one_message() -> None:
    with pytest.raises(DataError, match="got 1 and 2"):
        paired_bootstrap(["a", "b"], ["a"], ["a", "b"])


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_wmt17_p_values_are_those_of_other_tools(wmt17: Path, system: str) -> None:
    """Moses' bootstrap is the same test with other resamples. multeval's randomisation is two-sided, so its p-value agrees
    only near 0; otherwise it must be larger."""
    with (wmt17 / "p_values.tsv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file, delimiter="\t") if row["system"] == system)
    moses, multeval = float(row["moses_paired_bootstrap_2000"]), float(row["multeval_approximate_randomization_10000"])
    hypotheses, baseline = (lines(wmt17 / f"newstest2017.{name}.en-de.de.gz") for name in (system, BASELINE))
    references = lines(wmt17 / "ref0.de.gz")
    comparison = paired_bootstrap(hypotheses, baseline, references, tokenize="none")
    assert comparison.p_value == pytest.approx(moses, abs=0.02)
    if abs(moses - multeval) <= 0.02:
        assert comparison.p_value == pytest.approx(multeval, abs=0.02)
    else:
        assert comparison.p_value < multeval
    assert (
        comparison.system
        == bleu(hypotheses, references, "none").value
        == BLEU(tokenize="none").corpus_score(hypotheses, [references]).score
    )


def test_holm_adjusts_p_values_for_their_number() -> None:
    # By hand: 0.01 · 4, 0.02 · 3, 0.03 · 2, and 0.04 · 1, which must not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.02]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []
