"""Measures how far the numbers of a run depend on what it runs on.

    python measurements/determinism.py

The same experiment on the embedded corpus is trained again, with more threads, with more workers, through Ray Train and with
another precision. Each is compared with the first: the largest difference of the training loss at any step, those of the
scores, and the share of test sentences with the same translation. `--first` compares with the first of another machine: give
the folder that was copied from there.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from mtnat.config import to_yaml
from mtnat.lab.outputs.folder import RESULT_FILE, read_hypotheses, read_result
from mtnat.lab.outputs.runs import Result

ROOT = Path(__file__).parent.parent
FIRST = "one thread"
WAYS: dict[str, dict[str, Any]] = {
    FIRST: {},
    "the same again": {},
    "Ray Train": {"resources": {"launcher": "ray-train"}},
    "two threads": {"resources": {"cpus_per_worker": 2}},
    "two workers": {"resources": {"workers": 2}},
    "bf16": {"precision": "bf16"},
}
"""What each repetition changes."""
RUN = "mask-predict-seed1"


class Difference(NamedTuple):
    """The differences of a run from the first one."""

    loss: float
    """The largest one of the training loss at any step, relative to it."""
    valid: float
    """BLEU on the validation set."""
    test: float
    """BLEU on the test set."""
    same: float
    """Share of the test sentences with the same translation."""


def main() -> int:
    """Trains in all ways and prints the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300, help="updates of each training (default: 300)")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/determinism"), help="folder of the studies (default: %(default)s)"
    )
    parser.add_argument("--first", type=Path, metavar="FOLDER", help="an --outputs of another machine")
    options = parser.parse_args()
    options.outputs.mkdir(parents=True, exist_ok=True)
    folders = {}
    for way, changes in WAYS.items():
        file = options.outputs / f"{way.replace(' ', '-')}.yaml"
        folder = options.outputs / file.stem
        if not (folder / "leaderboard.json").exists():
            file.write_text(to_yaml(study(options.steps, changes)), encoding="utf-8")
            command = [sys.executable, str(ROOT / "tune.py"), str(file), "--outputs", str(options.outputs)]
            subprocess.run([*command, *(["--resume"] if (folder / "study.yaml").exists() else [])], check=True)
        folders[way] = folder / "runs" / RUN
    first = options.first / FIRST.replace(" ", "-") / "runs" / RUN if options.first else folders[FIRST]
    show({way: difference(folder, first) for way, folder in folders.items() if options.first or way != FIRST})
    return 0


def study(steps: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the study file of one training."""
    return {
        "question": "Which numbers does a run have?",
        "experiment": {
            "data": {"corpus": "grammar-en-de", "corpus_size": 20000, "vocabulary_size": 3000, "max_length": 64},
            "model": {"width": 128, "feed_forward": 256, "encoder_layers": 2, "decoder_layers": 2, "max_positions": 64},
            "training": {
                "steps": steps,
                "max_tokens_per_batch": 384,
                "batches_per_step": 2,  # one for each of two workers
                "peak_learning_rate": 2.0e-3,
                "warmup_steps": max(1, steps // 5),
                "log_every": 10,
                "validate_every": max(1, steps // 3),
                "precision": changes.get("precision", "fp32"),
            },
            "decoding": {"iterations": 4, "length_candidates": 2},
        },
        "baselines": {"mask-predict": {}},
        "confirm": {"top": 0, "seeds": [1], "against": "mask-predict"},
        "resources": {"at_once": 1, "cpus_per_worker": 1, **changes.get("resources", {})},
    }


def difference(run: Path, first: Path) -> Difference:
    """Compares two runs."""
    losses, other = _losses(run), _losses(first)
    found, expected = _result(run), _result(first)
    translations = list(zip(read_hypotheses(run), read_hypotheses(first), strict=True))
    return Difference(
        max(abs(losses[step] / other[step] - 1) for step in other),
        (found.valid or 0.0) - (expected.valid or 0.0),
        (found.test or 0.0) - (expected.test or 0.0),
        sum(one == two for one, two in translations) / len(translations),
    )


def _losses(run: Path) -> dict[int, float]:
    points = map(json.loads, (run / "curves.jsonl").read_text(encoding="utf-8").splitlines())
    return {point["step"]: point["metrics"]["train/loss"] for point in points if "train/loss" in point["metrics"]}


def _result(run: Path) -> Result:
    result = read_result(run)
    if result is None or result.failed:
        raise SystemExit(f"{run / RESULT_FILE}: the run has no result ({result.failed if result else 'it has not ended'})")
    return result


def show(differences: Mapping[str, Difference]) -> None:
    """Prints a table."""
    table = Table()
    for heading in ("", "train/loss", "valid BLEU", "test BLEU", "same translations"):
        table.add_column(heading)
    for way, each in differences.items():
        table.add_row(
            way, f"{each.loss:.1e}" if each.loss else "0", f"{each.valid:+.2f}", f"{each.test:+.2f}", f"{each.same:.0%}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
