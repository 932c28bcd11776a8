"""A study on a machine whose memory another process takes for a while."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from test_whole_study import Desk, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
GIB = 2**30
LEAST = 12 * GIB
"""Half of it is enough for the study."""
TAKE = "import time; held = bytearray({size}); held[::4096] = b'1' * len(held[::4096]); time.sleep({seconds})"


def test_a_study_continues_after_a_temporary_shortage_of_memory(tmp_path: Path) -> None:
    memory = psutil.virtual_memory()
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip() != "max":
        pytest.skip("needs a machine whose memory no control group limits: Ray would reckon with that limit")
    if memory.available < LEAST:
        pytest.skip(f"needs {LEAST // GIB} GiB of free memory")
    # The study may take half of the free memory before Ray ends its processes. Other tests take some of it at the same time.
    left = memory.available // 2
    desk = Desk(tmp_path)
    desk.environment |= {
        "RAY_memory_usage_threshold": f"{1 - left / memory.total:.4f}",
        "RAY_memory_monitor_refresh_ms": "100",
    }
    desk.write(
        "memory",
        steps=250,
        training={"validate_every": 50, "log_every": 50},
        baselines={"linear": {}, "constant": {"objective.schedule": {"kind": "constant", "value": 0.5}}},
    )
    study = desk.start("memory.yaml")
    wait_until(lambda: any(desk.curve("memory", run.name, "valid/bleu") for run in runs(desk)), study)
    taken = psutil.virtual_memory().available - left + GIB
    subprocess.run([sys.executable, "-c", TAKE.format(size=taken, seconds=8)], check=True)
    out, errors = study.communicate(timeout=900)
    assert (study.returncode, errors) == (0, "")
    assert "low on memory" in out
    _, tracked = desk.tracked()
    assert [run.info.status for run in tracked] == ["FINISHED"] * 3
    for run in runs(desk):
        steps = [step for step, _ in desk.curve("memory", run.name, "valid/bleu")]
        assert steps == sorted(set(steps))
        assert steps[-1] == 250


def runs(desk: Desk) -> list[Path]:
    """Folders of runs that have written curves."""
    return [file.parent for file in desk.runs("memory").glob("*/curves.jsonl")]
