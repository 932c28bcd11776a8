"""`measurements/repeat_study.py`: seeds that no two repetitions share, and how often the answer is the same."""

import subprocess
import sys
from pathlib import Path

from repeat_study import with_other_seeds
from small_study import SCORES, Scores, concluded, study

ROOT = Path(__file__).parent.parent


def test_no_two_repetitions_share_a_seed() -> None:
    file = {"experiment": {"seed": 7, "data": {}}, "confirm": {"top": 1, "seeds": [8, 9, 10]}}
    repeated = [with_other_seeds(file, repetition) for repetition in range(3)]
    seeds = [seed for each in repeated for seed in (each["experiment"]["seed"], *each["confirm"]["seeds"])]
    assert sorted(seeds) == list(range(1, 13))
    assert all((each["experiment"]["data"], each["confirm"]["top"]) == ({}, 1) for each in repeated)


def test_equal_answers_of_finished_repetitions_are_counted(tmp_path: Path) -> None:
    better: Scores = SCORES | {"trial-02": [(23.5, 26.5), (24.0, 27.5)]}
    for number, p_value in ((1, 0.001), (2, 0.002), (3, 0.5)):
        folder = tmp_path / f"quickstart-{number}"
        folder.mkdir()
        board = concluded(study(trials=2), better, p_value)
        (folder / "leaderboard.json").write_text(board.model_dump_json())
    command = [sys.executable, str(ROOT / "measurements" / "repeat_study.py"), str(ROOT / "studies" / "quickstart.yaml")]
    done = subprocess.run([*command, "--times", "3", "--outputs", str(tmp_path)], capture_output=True, text=True, check=True)
    settings = "objective.schedule.kind = power, objective.schedule.exponent = 3.0"
    assert f"2 of 3 answers are the same: {settings} ↑" in done.stdout
