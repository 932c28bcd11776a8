"""Processes that hang, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = (
    "import sys, time, re; from pathlib import Path; from mtnat.lab.worker.watchdog import Watchdog; report = Path(sys.argv[1])"
)
SECOND = 1 / 60


def run(code: str, report: Path) -> int:
    return subprocess.run([sys.executable, "-c", f"{BEGIN}\n{code}", str(report)], timeout=60).returncode


@pytest.mark.parametrize(
    "hang", ["time.sleep(60)", "re.match('(a+)+$', 'a' * 60 + 'b')"], ids=["sleeps", "keeps the interpreter"]
)
def test_a_silent_process_ends_and_says_where_it_was(tmp_path: Path, hang: str) -> None:
    code = f"def hang():\n    {hang}\nwith Watchdog(report, {SECOND / 4}):\n    hang()"
    assert run(code, tmp_path / "error.txt") == 1
    assert "in hang" in (tmp_path / "error.txt").read_text()


def test_one_that_is_fed_goes_on_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = f"""
for _ in range(2):
    with Watchdog(report, {SECOND / 2}) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.feed()
time.sleep(1)  # with nothing to do, as a process between two runs
"""
    assert run(code, tmp_path / "error.txt") == 0
    assert not (tmp_path / "error.txt").exists()
