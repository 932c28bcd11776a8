"""Gives every baseline of a study the number of steps that takes the same training time on one core of this machine.

    python measurements/equal_cost.py studies/rivals.yaml --seconds 120

Measures each baseline's seconds per step, and writes `training.steps`, `warmup_steps` (a fifth of them) and `validate_every`
(half of them) into its settings. Nothing else may run on the machine. Validation and translation are not counted. In a study
with columns, the measured data are those of the last column.
"""

import argparse
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table
from ruamel.yaml import YAML

from mtnat.config import replace
from mtnat.lab.rehearsal.estimate import kind_of
from mtnat.lab.rehearsal.pace import measure
from mtnat.lab.study.reading import read_study

REPETITIONS = 5
"""Number of measurements of each baseline; the median counts."""


def main() -> None:
    """Measures the baselines, rewrites the file and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--seconds", type=float, default=120, help="training time of a run (default: %(default)g)")
    options = parser.parse_args()
    part = list(read_study(options.study).parts.values())[-1]
    kinds = {name: kind_of(replace(part.experiment, settings)) for name, settings in part.baselines.items()}
    trainings = {name: kind.model_dump_json(exclude={"decoding"}) for name, kind in kinds.items()}
    alike: dict[str, list[float]] = {training: [] for training in trainings.values()}  # such as one pass and ten of a decoder
    rounds = [name for _ in range(REPETITIONS) for name in kinds]  # a slow minute of the machine meets all baselines
    for name in track(rounds, description="measuring"):
        (pace,) = measure([kinds[name]], part.resources, workers=1)
        alike[trainings[name]].append(pace.step)
    measured = {name: alike[training] for name, training in trainings.items()}
    steps = {name: 10 * round(options.seconds / median(seconds) / 10) for name, seconds in measured.items()}
    rewrite(options.study, steps)
    table = Table("baseline", "s/step", "from", "to", "steps", title=f"{options.seconds:g} s of training")
    for name, seconds in measured.items():
        table.add_row(name, *(f"{of(seconds):.3f}" for of in (median, min, max)), str(steps[name]))
    Console().print(table)


def rewrite(study: Path, steps: dict[str, int]) -> None:
    """Writes the steps of the baselines into a study file; its comments and its order stay."""
    yaml = YAML()
    yaml.width = 2**16
    file: Any = yaml.load(study)
    for name, number in steps.items():
        settings = file["baselines"][name]
        settings["training.steps"] = number
        settings["training.warmup_steps"] = number // 5
        settings["training.validate_every"] = number // 2
    yaml.dump(file, study)


if __name__ == "__main__":
    main()
