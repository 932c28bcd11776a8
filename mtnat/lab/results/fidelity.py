"""Fidelity: how well the scores of shorter trainings rank the trials, compared with the full runs."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtnat.config import Record

# N trials, R resamples

FEWEST_TRIALS = 4
"""With fewer trials there are too few possible orders for a test."""
RESAMPLES, RESAMPLING_SEED = 1000, 12345
Kind = Literal["in flight", "horizon"]
Scores = Mapping[str, float]
"""BLEU on the validation set by trial."""
Floats = npt.NDArray[np.float64]


class Signal(Record):
    """The scores of a shorter training, compared with those of the full runs."""

    kind: Kind
    """in flight: a validation during the full run; horizon: the end of a complete shorter run, with its schedule compressed."""
    steps: int
    """Number of steps after which the scores are known."""
    share: float
    """Its cost as a share of the steps of a full run."""
    scores: dict[str, float]
    tau: float | None
    """Kendall's τ-b with the scores of the full runs; None if all scores are equal."""
    p_value: float | None
    """Two-sided p-value of τ = 0; exact if no two scores are equal."""
    interval: tuple[float, float] | None
    """95 % interval of τ over trials (percentile bootstrap), which is too narrow for few trials."""
    choice: tuple[str, ...]
    """The trial with the best score; several if they are equal."""
    regret: float
    """Difference in BLEU between the best full run and the full run of `choice`; the mean over equal trials."""
    place_of_best: int
    """The rank, in this signal, of the trial whose full run is best; equal trials count as better. With fewer trials kept, the
    best one would be lost."""


class Contrast(Record):
    """A comparison of the two kinds of signal at equal cost."""

    horizon: int
    """T of the shorter run."""
    in_flight: int
    """Step of the score in flight: the last validation up to `horizon`."""
    difference: float
    """τ of the shorter runs minus τ of the scores in flight."""
    interval: tuple[float, float]
    """95 % interval over trials (percentile bootstrap with the same resamples for both), which is too narrow for few trials."""


class Fidelity(Record):
    """``fidelity.json``: the signals of the trials that have a full run and every signal."""

    steps: int
    """T of the full runs."""
    full: dict[str, float]
    """The score of each trial's full run."""
    survivors_only: bool
    """Whether trials were dropped before a full run, and so are missing here."""
    signals: tuple[Signal, ...]
    contrasts: tuple[Contrast, ...]


def rate(
    full: Scores, signals: Mapping[tuple[Kind, int], Scores], *, steps: int, survivors_only: bool = False
) -> Fidelity | None:
    """Returns how well each signal ranks the trials; None if too few trials have all signals.

    Args:
        full: the scores of the full runs.
        signals: the scores by kind and number of steps.
        steps: number of steps of a full run.
        survivors_only: whether trials were dropped before they had a full run.
    """
    names = [name for name in full if all(name in scores for scores in signals.values())]
    if len(names) < FEWEST_TRIALS or not signals:
        return None
    full = {name: full[name] for name in names}
    full_N = np.array([*full.values()])
    resampled_RN = np.random.default_rng(RESAMPLING_SEED).integers(len(names), size=(RESAMPLES, len(names)))
    rated: list[Signal] = []
    taus: dict[tuple[Kind, int], Floats] = {}
    for (kind, at), scores in signals.items():
        scores_N = np.array([scores[name] for name in names])
        taus[kind, at] = np.array([_tau(scores_N[chosen_N], full_N[chosen_N]) for chosen_N in resampled_RN])
        rated.append(_signal(kind, at, at / steps, {name: scores[name] for name in names}, full, taus[kind, at]))
    return Fidelity(
        steps=steps,
        full=full,
        survivors_only=survivors_only,
        signals=tuple(rated),
        contrasts=tuple(_contrasts(rated, taus)),
    )


def sentences(fidelity: Fidelity) -> list[str]:
    """Returns the conclusions: one sentence for each pair of signals of equal cost, and the limits of the comparison."""
    tau = {(signal.kind, signal.steps): signal.tau for signal in fidelity.signals}
    said = []
    for contrast in fidelity.contrasts:
        low, high = contrast.interval
        verdict = (
            "these trials do not show which ranks better"
            if low <= 0 <= high
            else f"the {'shorter complete runs' if low > 0 else 'scores in flight'} rank better"
        )
        said.append(
            f"At {contrast.horizon / fidelity.steps:.0%} of the steps, complete runs with T = {contrast.horizon} rank "
            f"{len(fidelity.full)} trials like the full runs with τ = {tau['horizon', contrast.horizon]:.2f}, scores of full "
            f"runs at step {contrast.in_flight} with τ = {tau['in flight', contrast.in_flight]:.2f}: {verdict} "
            f"(difference {contrast.difference:+.2f}, 95 % {low:+.2f} … {high:+.2f})."
        )
    if fidelity.survivors_only:
        said.append(
            "Only the trials that were trained to their end are included, and the shorter runs selected them; the others are "
            "not considered (horizon.keep: 1 trains all)."
        )
    return said


def _signal(kind: Kind, steps: int, share: float, scores: dict[str, float], full: Scores, tau_R: Floats) -> Signal:
    from scipy import stats  # its import takes two seconds, and few studies have a horizon

    found = stats.kendalltau([scores[name] for name in full], list(full.values()))
    is_defined = bool(np.isfinite(found.statistic))
    highest, best = max(scores.values()), max(full.values())
    choice = [name for name, score in scores.items() if score == highest]
    of_best = max(scores[name] for name, score in full.items() if score == best)
    return Signal(
        kind=kind,
        steps=steps,
        share=share,
        scores=scores,
        tau=float(found.statistic) if is_defined else None,
        p_value=float(found.pvalue) if is_defined else None,
        interval=_interval(tau_R) if is_defined else None,
        choice=tuple(choice),
        regret=best - fmean(full[name] for name in choice),
        place_of_best=sum(score >= of_best for score in scores.values()),
    )


def _contrasts(signals: Sequence[Signal], taus: Mapping[tuple[Kind, int], Floats]) -> list[Contrast]:
    """Compares each shorter run with the last score in flight that costs no more."""
    found = []
    for shorter in (signal for signal in signals if signal.kind == "horizon"):
        earlier = [signal for signal in signals if signal.kind == "in flight" and signal.steps <= shorter.steps]
        on_the_way = max(earlier, key=lambda signal: signal.steps, default=None)
        if on_the_way is None or on_the_way.tau is None or shorter.tau is None:
            continue
        difference_R = taus["horizon", shorter.steps] - taus["in flight", on_the_way.steps]
        found.append(
            Contrast(
                horizon=shorter.steps,
                in_flight=on_the_way.steps,
                difference=shorter.tau - on_the_way.tau,
                interval=_interval(difference_R),
            )
        )
    return found


def _tau(scores_N: Floats, full_N: Floats) -> float:
    """Returns τ of a resample; 0 if all of its scores are equal, which gives no order."""
    from scipy import stats

    tau = float(stats.kendalltau(scores_N, full_N, method="asymptotic").statistic)
    return tau if np.isfinite(tau) else 0.0


def _interval(values_R: Floats) -> tuple[float, float]:
    low, high = np.quantile(values_R, [0.025, 0.975])
    return float(low), float(high)
