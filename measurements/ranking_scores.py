"""Compares scores of a single run by how well they rank the trials of a study.

    python tune.py studies/ranking.yaml
    python measurements/ranking_scores.py outputs/ranking > measurements/results/ranking.jsonl

The trials of the study must be of one system and have several confirm seeds. For each seed, the score of the runs with this
seed ranks the trials, and Kendall's τ compares this ranking with that by the mean test BLEU of all other seeds.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import fmean

from scipy.stats import bootstrap, kendalltau

from mtnat.config import build, read_yaml
from mtnat.errors import MtnatError
from mtnat.lab.outputs.folder import StudyFolder, read_result
from mtnat.lab.outputs.runs import Result, slug
from mtnat.lab.study.record import Study

SCORES: Mapping[str, Callable[[Result], float]] = {
    "BLEU on the validation set": lambda result: result.valid or 0.0,
    "loss on the validation set": lambda result: -(result.valid_loss or 0.0),
    "BLEU on the test set": lambda result: result.test or 0.0,
}
"""Scores of a run; higher is better."""


def main() -> None:
    """Prints a row for each score as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of a finished study")
    options = parser.parse_args()
    try:
        for row in rows_of(options.folder):
            print(json.dumps(row))
    except MtnatError as error:
        raise SystemExit(f"{options.folder}: {error}") from None


def rows_of(path: Path) -> Iterator[dict[str, object]]:
    """Yields the figures of each score.

    Raises:
        SystemExit: the study does not have several seeds.
    """
    folder = StudyFolder(path)
    study = build(Study, read_yaml(folder.study))
    if study.confirm is None or len(study.confirm.seeds) < 2:
        raise SystemExit(f"{path}: needs a study with several confirm seeds.")
    seeds = study.confirm.seeds
    results = {
        name: [found for seed in seeds if (found := read_result(folder.run(f"{slug(name)}-seed{seed}")))]
        for name in study.baselines
    }
    if missing := [name for name, own in results.items() if len(own) < len(seeds)]:
        raise SystemExit(f"{path}: is not finished; runs of {', '.join(missing)} are missing.")
    for score, value in SCORES.items():
        taus = [_tau(list(results.values()), number, value) for number in range(len(seeds))]
        low, high = bootstrap((taus,), fmean, vectorized=False, rng=1).confidence_interval
        yield {
            "score of one run": score,
            "trials": len(results),
            "seeds": len(seeds),
            "mean tau": round(fmean(taus), 3),
            "low": round(float(low), 3),
            "high": round(float(high), 3),
        }


def _tau(results: list[list[Result]], number: int, value: Callable[[Result], float]) -> float:
    """Returns Kendall's τ of a score of one seed with the mean test BLEU of the others."""
    scores = [value(own[number]) for own in results]
    means = [fmean(result.test or 0.0 for place, result in enumerate(own) if place != number) for own in results]
    return float(kendalltau(scores, means).statistic)


if __name__ == "__main__":
    main()
