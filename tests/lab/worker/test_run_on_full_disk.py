"""A run whose disk is full ends without a result, and goes on to the same result when there is room."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_MOUNT = 'mount -t tmpfs -o size=64k tmpfs "$1" && shift && exec "$@"'
MOUNT = ("unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, "sh")
"""A command that mounts a small file system on the folder in its first argument, and runs the others. No other process sees
it."""
SCRIPT = """
import json, subprocess, sys
from pathlib import Path
from test_execute import Listening, performed, run_of
from mtnat.lab.outputs.folder import StudyFolder, read_result
from mtnat.lab.worker.execute import DISK_FULL, execute

small, large = map(Path, sys.argv[1:])
undisturbed = performed(large, Listening())
stops = []
for kilobytes in range(512, 16_384, 1_024):
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", small], check=True)
    session = Listening()
    execute(run_of(), StudyFolder(small), session)
    run_folder = StudyFolder(small).run(run_of().id)
    if (result := read_result(run_folder)) is not None:
        break
    left = sorted(path.name for path in run_folder.rglob("*"))
    stops.append({"error": session.reports[-1][DISK_FULL], "left": left})
same = ("valid", "valid_loss", "tokens", "parameters", "data_hash", "failed")
print(json.dumps({
    "stops": stops,
    "equal": [getattr(result, name) == getattr(undisturbed, name) for name in same],
    "weights": (small / "runs" / run_of().id / "model" / "weights.pt").read_bytes()
        == (large / "runs" / run_of().id / "model" / "weights.pt").read_bytes(),
}))
"""


def can_mount(folder: Path) -> bool:
    try:
        return subprocess.run([*MOUNT, str(folder), "true"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
def test_a_full_disk_is_no_fault_of_the_run(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.mkdir()
    if not can_mount(small):
        pytest.skip("needs a system on which a process may mount a file system of its own (unshare)")
    command = [*MOUNT, str(small), sys.executable, "-c", SCRIPT, str(small), str(large)]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["weights"]
    assert all(found["equal"])
    assert len(found["stops"]) > 3
    for stop in found["stops"]:
        assert stop["error"].endswith("No space left on device")
        assert [name for name in stop["left"] if "partial" in name] == []
    # It was full at different places.
    assert len({tuple(stop["left"]) for stop in found["stops"]}) > 2
