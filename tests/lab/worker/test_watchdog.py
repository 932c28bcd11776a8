"""The watchdog on processes that hang or progress."""

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
def test_a_hanging_process_is_ended_and_its_stack_is_reported(tmp_path: Path, hang: str) -> None:
    code = f"def hang():\n    {hang}\nwith Watchdog(report, {SECOND / 4}):\n    hang()"
    assert run(code, tmp_path / "error.txt") == 1
    assert "in hang" in (tmp_path / "error.txt").read_text()


def test_a_process_that_feeds_the_watchdog_continues_without_a_report(tmp_path: Path) -> None:
    code = f"""
for _ in range(2):
    with Watchdog(report, {SECOND / 2}) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.feed()
time.sleep(1)  # idle, as a process between two runs
"""
    assert run(code, tmp_path / "error.txt") == 0
    assert not (tmp_path / "error.txt").exists()
