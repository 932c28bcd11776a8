"""A study whose Ray processes are killed ends with a sentence, and leaves no process behind."""

import signal
import time
from pathlib import Path

import psutil
import pytest
from processes import family
from test_whole_study import Desk, ended, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.ray]
SECONDS_TO_END = 60


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    desk.write("long", steps=400, baselines={"linear": {}}, confirm=None)
    return desk


def named(desk: Desk, name: str) -> psutil.Process:
    (process,) = (process for process in family(desk) if process.name() == name)
    return process


def assert_nothing_is_left(desk: Desk) -> None:
    deadline = time.monotonic() + SECONDS_TO_END
    while left := family(desk):
        assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.5)


def end_by_killing(desk: Desk, victim: str) -> None:
    """Starts the study, kills one of Ray's processes, and asserts how the study ends."""
    process = desk.start("long.yaml")
    wait_until(lambda: any(desk.runs("long").glob("*/curves.jsonl")), process)
    named(desk, victim).send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, errors = ended(process)
    assert time.monotonic() - killed < SECONDS_TO_END
    sentence = f"Ray has ended on this machine: its process {victim} was killed; "
    assert (process.returncode, errors) == (2, f"{sentence}`python tune.py long.yaml --resume` continues the study.\n")
    assert_nothing_is_left(desk)


def test_a_study_whose_raylet_is_killed_ends_with_a_sentence(desk: Desk) -> None:
    end_by_killing(desk, "raylet")


@pytest.mark.chaos
def test_a_study_whose_gcs_is_killed_ends_with_a_sentence_and_can_be_resumed(desk: Desk) -> None:
    end_by_killing(desk, "gcs_server")
    code, _, errors = desk.run("long.yaml", "--resume")
    assert (code, errors) == (0, "")
    assert {run.info.status for run in desk.tracked()[1]} == {"FINISHED"}


@pytest.mark.chaos
def test_a_study_whose_tune_is_ended_by_a_signal_has_no_answer_yet(desk: Desk) -> None:
    """Ray Tune takes SIGUSR1 for the wish to end as if everything had been done."""
    process = desk.start("long.yaml")
    wait_until(lambda: any(desk.runs("long").glob("*/curves.jsonl")), process)
    process.send_signal(signal.SIGUSR1)
    _, errors = ended(process)
    assert (process.returncode, errors.count("\n")) == (2, 1)
    assert errors.endswith("Ray Tune has ended before the study; continue it with --resume.\n")
    assert not (desk.folder / "outputs" / "long" / "leaderboard.json").exists()
    assert_nothing_is_left(desk)


def test_nothing_is_left_after_the_driver_is_killed(desk: Desk) -> None:
    process = desk.start("long.yaml")
    wait_until(lambda: any(desk.runs("long").glob("*/curves.jsonl")), process)
    process.kill()
    process.communicate()
    assert_nothing_is_left(desk)
