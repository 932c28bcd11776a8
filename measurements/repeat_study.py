"""Repeats a study with disjoint seeds, and counts how often its answer is the same.

    python measurements/repeat_study.py studies/quickstart.yaml --times 10 --outputs outputs/repeated

Each repetition has its own seed of the search and its own confirm seeds. Two answers are the same if their winners have the
same settings and the same direction of the mark. The command continues where it was interrupted.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mtnat.config import read_yaml, to_yaml
from mtnat.errors import UserError
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.results.leaderboard import Leaderboard

ROOT = Path(__file__).parent.parent


def main() -> int:
    """Runs the repetitions and prints their answers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path)
    parser.add_argument("--times", type=int, default=10, help="number of repetitions (default: 10)")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs/repeated"), help="folder of the studies (default: %(default)s)"
    )
    options = parser.parse_args()
    options.outputs.mkdir(parents=True, exist_ok=True)
    boards = []
    for repetition in range(options.times):
        folder = options.outputs / f"{options.study.stem}-{repetition + 1}"
        if not (folder / "leaderboard.json").exists():
            file = folder.with_suffix(".yaml")
            file.write_text(to_yaml(with_other_seeds(read_yaml(options.study), repetition)), encoding="utf-8")
            command = [sys.executable, str(ROOT / "tune.py"), str(file), "--outputs", str(options.outputs)]
            subprocess.run([*command, *(["--resume"] if (folder / "study.yaml").exists() else [])], check=True)
        StudyFolder(folder).check_format()
        boards.append(read_record(Leaderboard, folder / "leaderboard.json"))
    _show(boards)
    return 0


def with_other_seeds(study: Mapping[str, Any], repetition: int) -> dict[str, Any]:
    """Returns a study file with seeds that no other repetition has.

    Args:
        repetition: its number, from 0.
    """
    number = len(study["confirm"]["seeds"])
    first = 1 + repetition * (number + 1)
    confirm = {**study["confirm"], "seeds": list(range(first + 1, first + 1 + number))}
    return {**study, "experiment": {**study["experiment"], "seed": first}, "confirm": confirm}


def _show(boards: list[Leaderboard]) -> None:
    table = Table("confirm seeds", "winner", "BLEU", "difference", "p")
    answers: Counter[tuple[str, str]] = Counter()
    for board in boards:
        row = next(row for row in board.rows if row.name == board.winner)
        settings = ", ".join(f"{path} = {value}" for path, value in row.settings.items()) or row.name
        answers[settings, {"⇑": "↑", "⇓": "↓"}.get(row.mark, row.mark)] += 1
        difference = "" if row.difference is None else f"{row.difference:+.1f}{row.mark}"
        p_value = "" if row.p_value_adjusted is None else f"{row.p_value_adjusted:.3f}"
        table.add_row(" ".join(map(str, row.seeds)), settings, f"{row.mean:.1f}", difference, p_value)
    Console(width=140).print(table)
    (settings, mark), count = answers.most_common(1)[0]
    print(f"{count} of {len(boards)} answers are the same: {settings} {mark}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        sys.exit(2)
