"""A study whose machine's clock jumps ends like any other."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_whole_study import Desk, ended, wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
STEPS = 120


def library() -> Path:
    """The library that sets the clock of a process."""
    spec = find_spec("libfaketime")
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "vendor" / "libfaketime" / "src" / "libfaketime.so.1"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
def test_a_study_whose_clock_jumps_forwards_and_backwards_loses_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.write("calm", steps=STEPS, baselines={"linear": {}, "other": {}}, confirm=None)
    desk.write("jumping", steps=STEPS, baselines={"linear": {}, "other": {}}, confirm=None)
    assert desk.run("calm.yaml")[::2] == (0, "")

    clock = tmp_path / "clock"
    clock.write_text("+0")
    desk.environment |= {
        "LD_PRELOAD": str(library()),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    runs = desk.runs("jumping")
    process = desk.start("jumping.yaml")
    wait_until(lambda: any(runs.glob("*/curves.jsonl")), process)
    clock.write_text("+40d")
    wait_until(lambda: any(runs.glob("*/run.json")), process)
    clock.write_text("-3d")
    wait_until(lambda: len(list(runs.glob("*/curves.jsonl"))) == 2, process)
    process.kill()  # files now have times in the future
    process.communicate()
    process = desk.start("jumping.yaml", "--resume")
    _, errors = ended(process)
    assert (process.returncode, errors) == (0, "")

    for run in ("linear-seed1", "other-seed1"):
        for metric in ("train/loss", "valid/bleu"):
            assert desk.curve("jumping", run, metric) == desk.curve("calm", run, metric)
    client, tracked = desk.tracked()
    assert {run.info.status for run in tracked} == {"FINISHED"}
    children = [run for run in tracked if "mlflow.parentRunId" in run.data.tags]
    assert len(children) == 2 * 2
    for run in children:
        points = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in points] == list(range(2, STEPS + 1, 2))
