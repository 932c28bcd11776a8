"""`measurements/side_by_side.py`, on the same version twice."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "measurements" / "side_by_side.py")


@pytest.mark.slow
def test_the_updates_of_two_versions_are_compared() -> None:
    command = [sys.executable, SCRIPT, str(ROOT), str(ROOT), "--rounds", "1", "--systems", "nat"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "update, nat" in done.stdout


def test_a_folder_without_the_package_gives_one_message(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, str(tmp_path), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{tmp_path}: must be a folder that holds the package mtnat." in done.stderr
    assert "Traceback" not in done.stderr
