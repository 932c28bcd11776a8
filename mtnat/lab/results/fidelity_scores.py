"""Collects the scores of shorter trainings from a study's folder."""

from pathlib import Path

from mtnat.lab.outputs.curves import read_curves
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.runs import VALID, Trial
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.results.fidelity import Fidelity, Kind, Scores, rate
from mtnat.lab.study.record import Study


def read_fidelity(study: Study, agenda: Agenda, folder: StudyFolder) -> Fidelity | None:
    """Returns how well the rungs of a study's horizon rank the trials, and how well the same steps of the full runs do.

    Returns None without a horizon, and with too few trials.
    """
    if study.horizon is None:
        return None
    *shorter, steps = study.horizon.steps
    trials = [
        trial
        for trial in agenda.trials.values()
        if trial.experiment.decoder == study.experiment.decoder and _is_trained(trial, agenda)
    ]
    full = {trial.name: agenda.results[agenda.runs(trial).full.id].valid or 0.0 for trial in trials}
    curves = {trial.name: _validations(folder.run(agenda.runs(trial).full.id)) for trial in trials}
    signals: dict[tuple[Kind, int], Scores] = {}
    for rung in shorter:
        at_end = {trial.name: score for trial in trials if (score := _rung_score(trial, agenda, rung)) is not None}
        names = [name for name in full if name in at_end]
        common = set.intersection(*(set(curves[name]) for name in names)) if names else set()
        if reached := [step for step in common if step <= rung]:
            signals["in flight", max(reached)] = {name: curves[name][max(reached)] for name in names}
        signals["horizon", rung] = at_end
    return rate(full, signals, steps=steps, survivors_only=study.horizon.keep < 1)


def _is_trained(trial: Trial, agenda: Agenda) -> bool:
    """Returns whether the trial has a full run with a score."""
    result = agenda.results.get(agenda.runs(trial).full.id)
    return result is not None and result.valid is not None and result.pruned is None


def _rung_score(trial: Trial, agenda: Agenda, rung: int) -> float | None:
    ids = [run.id for run in agenda.runs(trial).rungs if run.rung == rung]
    return next((agenda.results[run_id].valid for run_id in ids if run_id in agenda.results), None)


def _validations(run_folder: Path) -> dict[int, float]:
    """Returns BLEU on the validation set by step; for a step that was repeated, the later value."""
    return {step: metrics[VALID] for step, metrics in read_curves(run_folder) if VALID in metrics}
