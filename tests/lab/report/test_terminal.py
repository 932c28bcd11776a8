"""The terminal output at the end of a study."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from small_study import SCORES, concluded, study, traded

from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.report.terminal import show_end
from mtnat.lab.results.costs import Spent
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.words import size


def shown(board: Leaderboard, folder: Path, width: int) -> list[str]:
    """The lines on a terminal of this width."""
    console = Console(file=io.StringIO(), width=width)
    show_end(console, board, StudyFolder(folder), "mlflow ui")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_narrow_terminal_shows_only_the_main_columns_without_truncation(tmp_path: Path) -> None:
    for width, titles in {
        200: {"kind", "BLEU", "95", "tokenized", "p", "valid", "seconds", "seeds"},
        50: {"BLEU", "difference", "p"},
    }.items():
        lines = shown(concluded(study(trials=2), SCORES), tmp_path, width)
        header = next(line for line in lines if "difference" in line)
        assert titles <= set(header.split())
        assert not any("…" in line for line in lines[: lines.index("")] if width == 50)
    assert "kind" not in header


def test_a_narrow_terminal_shows_the_front_column(tmp_path: Path) -> None:
    header = next(line for line in shown(traded(), tmp_path, 60) if "decode.seconds" in line)
    assert header.split()[-1] == "front"


def test_the_final_output_shows_the_cost_and_the_disk_usage(tmp_path: Path) -> None:
    for name, count in {
        "runs/a-seed1/model/weights.pt": 2_000_000,
        "best/weights.pt": 500_000,
        "leaderboard.md": 1_000,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(count))
    assert StudyFolder(tmp_path).disk() == (2_501_000, 2_500_000)
    board = concluded(study(trials=2), SCORES)
    took = Spent(seconds=600.0, gpu_seconds=1800.0, tokens=3_200_000, joules=7200.0)
    lines = shown(board.model_copy(update={"spent": took}), tmp_path, 120)
    assert "spent        10 min of runs, 0.50 GPU-hours, 3.2 M target tokens, 2 Wh" in lines
    assert f"disk         2.5 MB in {tmp_path} (models 2.5 MB)" in lines
    assert "spent        70 s of runs" in shown(board, tmp_path, 120)


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (41_230, "41 kB"), (412_300_000, "412 MB"), (2_340_000, "2.3 MB"), (12e9, "12 GB")]
)
def test_byte_counts_are_formatted_with_decimal_units(count: int, text: str) -> None:
    assert size(count) == text
