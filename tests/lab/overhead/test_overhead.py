"""The platform's overhead: the arithmetic of its measurement, and a study with simulated training."""

import json
from typing import Any, cast

import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from mtnat.cli import main
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.overhead.measured import Look, StudyFigures, TrialTimes, memory_at, summary, waits
from mtnat.lab.overhead.simulated import METRICS, SimulatedClock, SimulatedStudy, SimulationOptions, figures
from mtnat.lab.tracking.memory_tracker import MemoryTracker

TRIALS, WORKERS, POINTS = 200, 20, 3
Simulated = tuple[SimulatedStudy, StudyFolder, MemoryTracker]


def times(first_point: float, end: float) -> TrialTimes:
    return TrialTimes(first_point=first_point, end=end, own_seconds=end - first_point + 0.5)


def test_waits_match_each_free_place_to_the_next_trial_that_begins() -> None:
    # Two places: the third trial takes the one that became free at 10, the fourth that of 12, whichever trial had them.
    trials = [times(1, 12), times(2, 10), times(11.5, 20), times(12.25, 21)]
    assert waits(trials, at_once=2) == [1.5, 0.25]


def test_a_study_without_any_delay_has_no_overhead() -> None:
    trials = [TrialTimes(first_point=start, end=start + 10, own_seconds=10) for start in (0, 0, 10, 10)]
    found = summary(trials, [Look(0, 0, 0)], started=0, ended=20, at_once=2)
    assert (found.overhead_ratio, found.first_step_seconds) == (1.0, 0.0)


def test_study_figures_are_computed_from_trial_times_and_memory_samples() -> None:
    trials = [times(3 + 11 * number, 13 + 11 * number) for number in range(4)]
    looks = [Look(0, 1, 2), Look(23, 3, 4), Look(25, 5, 6), Look(40, 7, 8), Look(48, 9, 10)]
    found = summary(trials, looks, started=0, ended=50, at_once=1)
    assert found.overhead_ratio == round(50 / (4 * 10.5), 4)
    assert (found.first_step_seconds, found.first_step_seconds_median) == (1, 1)
    assert (found.start_seconds, found.end_seconds) == (3, 4)
    assert found.first_seconds_per_trial == found.last_seconds_per_trial == 11
    assert (found.first_driver_bytes, found.first_actor_bytes) == (3, 4)  # as the second trial ended
    assert (found.last_driver_bytes, found.last_actor_bytes) == (7, 8)


def test_memory_at_a_moment_is_the_latest_sample() -> None:
    looks = [Look(1, 10, 0), Look(2, 20, 0)]
    assert [memory_at(looks, moment).driver_bytes for moment in (0, 1.5, 2, 9)] == [10, 10, 20, 20]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """A finished study with simulated training."""
    folder, tracker = StudyFolder(tmp_path_factory.mktemp("simulated") / "study"), MemoryTracker()
    options = SimulationOptions(trials=TRIALS, workers=WORKERS, points=POINTS)
    study = SimulatedStudy(options, folder, tracker, SimulatedClock())
    ended = list(study.ends())
    assert ended == list(range(1, 1 + (TRIALS + 1) + 4 * 3))  # proposals and baseline; four of them with three seeds
    return study, folder, tracker


def test_every_trial_of_a_simulated_study_runs_once(simulated: Simulated) -> None:
    study, folder, _ = simulated
    assert study.agenda.is_finished
    assert len(study.agenda.trials) == TRIALS + 1
    runs = {run.id for trial in study.agenda.trials.values() for run in [study.agenda.runs(trial).full]}
    runs |= {run.id for trial in study.agenda.confirmed() for run in study.agenda.runs(trial).confirm}
    assert folder.results().keys() == runs
    assert len(runs) == TRIALS + 1 + 4 * 2  # the search's own seed is not trained twice


def test_the_tracker_has_every_point_of_every_run(simulated: Simulated) -> None:
    _, folder, tracker = simulated
    results = folder.results()
    assert tracker.runs.keys() == {folder.id, *(f"{folder.id}/{run}" for run in results)}
    steps = [10_000 * point // POINTS for point in range(1, POINTS + 1)]
    for run in results:
        tracked = tracker.runs[f"{folder.id}/{run}"]
        assert tracked.status == "FINISHED"
        assert len(tracked.curves) == len(METRICS)
        assert all(list(curve) == steps for curve in tracked.curves.values())


def test_the_journal_has_every_proposal_and_its_score(simulated: Simulated) -> None:
    study, folder, _ = simulated
    storage = JournalStorage(JournalFileBackend(str(folder.journal)))
    (known,) = storage.get_all_studies()
    told = [trial for trial in storage.get_all_trials(known._study_id) if trial.state != TrialState.FAIL]
    assert {trial.state for trial in told} == {TrialState.COMPLETE}
    results = folder.results()
    proposals = [trial for trial in study.agenda.trials.values() if trial.kind == "trial"]
    scores = [results[study.agenda.runs(trial).full.id].valid for trial in proposals]
    assert sorted(trial.values[0] for trial in told) == sorted(score for score in scores if score is not None)
    assert len(told) == TRIALS


def test_the_load_is_the_driver_time_per_second_that_all_workers_need(simulated: Simulated) -> None:
    _, folder, _ = simulated
    options = SimulationOptions(trials=TRIALS, workers=600, minutes=10, points=5)  # a run begins in each second
    each = {"proposal": [100.0], "start": [50.0], "report": [20.0], "end": [150.0]}
    found = figures(7, cast("Any", each), options, folder, folder.journal)
    assert found.load == pytest.approx(0.1 + 0.05 + 5 * 0.02 + 0.15)
    assert found.saturates == "end"
    assert (found.finished, found.proposals_per_second) == (7, 10)
    assert found.metrics_per_second == 50 * len(METRICS)
    assert found.runs_bytes > 0


def test_invalid_simulate_options_are_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "study", "--simulate", "trails=100"]) == 2
    assert capsys.readouterr().err == "mtnat: --simulate.trails is unknown; did you mean 'trials'?\n"
    assert main(["bench", "study", "--simulate", "trials=many"]) == 2
    assert "--simulate.trials: must be a valid integer; got 'many'" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.ray
def test_bench_study_measures_a_real_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "study", "--trials", "6", "--seconds", "0", "--json"]) == 0
    (row,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert list(row) == list(StudyFigures.model_fields)
    assert row["trials"] == 6
    assert row["wall_seconds"] > row["start_seconds"] + row["end_seconds"] > 0
    assert row["first_step_seconds_median"] <= row["first_step_seconds"] < row["wall_seconds"]
    assert row["overhead_ratio"] > 1
    # On a busy machine the last look at the memory may come before a process has its libraries.
    assert min(row["first_driver_bytes"], row["last_actor_bytes"]) > 0


@pytest.mark.slow
def test_bench_study_prints_the_rows_of_a_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "study", "--simulate", "trials=10", "workers=4", "points=2", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["finished"] for row in rows] == [10, 11 + 4 * 3]
    assert all(row["mlflow_bytes"] > 0 and row["journal_bytes"] > 0 for row in rows)
