"""A study whose disk is full ends with a sentence, and goes on when there is room."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_whole_study import ROOT, Desk

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
SCRIPT = """
mount -t tmpfs -o size=2m tmpfs "$1" || exit 77
"$2" "$3" disk.yaml >full.out 2>full.err
echo $? >full.code
ls "$1"/disk/runs/*/run.json >full.results 2>/dev/null
mount -o remount,size=64m "$1"
"$2" "$3" disk.yaml --resume >resumed.out 2>resumed.err
echo $? >resumed.code
cp -r "$1"/disk finished
"""


def test_a_study_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write("disk", steps=30, baselines={"linear": {}, "other": {}}, confirm=None)
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    words = ["sh", "-c", SCRIPT, "sh", str(outputs), sys.executable, str(ROOT / "tune.py")]
    try:
        done = subprocess.run(["unshare", "--map-root-user", "--mount", *words], cwd=tmp_path, env=desk.environment)
    except OSError:
        pytest.skip("needs the program unshare")
    if done.returncode == 77 or not (tmp_path / "full.code").exists():
        pytest.skip("needs a system on which a process may mount a file system of its own")

    def text(name: str) -> str:
        return (tmp_path / name).read_text()

    assert (text("full.code"), text("full.results")) == ("2\n", "")
    assert text("full.err").count("\n") == 1
    assert text("full.err").endswith(
        "No space left on device; make room, then `python tune.py disk.yaml --resume` continues.\n"
    )
    assert (text("resumed.code"), text("resumed.err")) == ("0\n", "")
    leaderboard = json.loads((tmp_path / "finished" / "leaderboard.json").read_bytes())
    assert sorted((row["name"], row["failed"]) for row in leaderboard["rows"]) == [("linear", None), ("other", None)]
    assert {os.path.basename(path) for path in (tmp_path / "finished" / "runs").iterdir()} == {"linear-seed1", "other-seed1"}
    runs = desk.tracked()[1]
    assert sorted(run.info.run_name for run in runs) == ["disk", "linear, seed 1", "other, seed 1"]
    assert {run.info.status for run in runs} == {"FINISHED"}
