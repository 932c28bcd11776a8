"""Warm start: finished trials of other studies are copied if this study could have made them itself."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from mtnat.config import Record, build, read_yaml, replace
from mtnat.errors import ConfigError, StudyError
from mtnat.experiment import Experiment
from mtnat.files import write_whole
from mtnat.lab.outputs.folder import STOP_FILE, StudyFolder, read_record, read_result, write_result
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.study.record import Settings, Study, slug
from mtnat.lab.study.searching import METRICS
from mtnat.lab.study.space import Space, Value, leaves
from mtnat.training.fit import CHECKPOINTS, MODEL, SUMMARY
from mtnat.training.model import EXPERIMENT

WARM_START = "warm_start.json"
"""File in a study's folder: the trials that it has taken over."""


class WarmStart(Record):
    """The trials that a study has taken over from others."""

    trials: dict[str, Settings] = Field(default_factory=dict)
    """Settings by name in this study: ``<other study>/<trial>``."""
    baselines: dict[str, str] = Field(default_factory=dict)
    """Baselines that another study has trained: the trial's name there by the baseline's name here."""
    refused: tuple[str, ...] = ()
    """Why other trials do not fit, one sentence each."""

    @property
    def sentences(self) -> list[str]:
        """What was taken over and what was not, for reports."""
        taken = [*self.trials, *(f"{other} (here {name})" for name, other in self.baselines.items())]
        return [*([f"Taken over and not trained here: {', '.join(taken)}."] if taken else []), *self.refused]


def take_over(study: Study, folder: StudyFolder) -> WarmStart:
    """Copies the runs of other studies' trials that this study could have made itself. It happens once, at the first start.

    Raises:
        ConfigError: another study's file cannot be read.
        StudyError: a newer version of mtnat wrote the folder of another study, or it is damaged.
    """
    if taken := _read(folder):
        return taken
    visit = _Visit(study, folder)
    for path in study.warm_start:
        for other, other_study in _studies(StudyFolder(Path(path))):
            visit.look_through(other, other_study)
    taken = WarmStart(trials=visit.trials, baselines=visit.baselines, refused=tuple(visit.refused))
    if study.warm_start:
        write_whole(folder.path / WARM_START, taken.model_dump_json(indent=1).encode())
    return taken


class _Visit:
    """Goes through the other studies one by one, and copies what fits."""

    def __init__(self, study: Study, folder: StudyFolder) -> None:
        self._study, self._folder = study, folder
        self._space = study.space
        self._baselines = {name: replace(study.experiment, settings) for name, settings in study.baselines.items()}
        self._names: dict[str, str] = {}
        """The name of the trial that has an experiment, by the experiment's content."""
        self.trials: dict[str, Settings] = {}
        self.baselines: dict[str, str] = {}
        self.refused: list[str] = []

    def look_through(self, other: StudyFolder, other_study: Study) -> None:
        """Takes over the trials of one study that fit."""
        for name, run_folder in _search_runs(other, other_study):
            try:
                result = read_result(run_folder)
            except StudyError:
                self.refused.append(f"{other.name}/{name}: its result is damaged or of another version.")
                continue
            if result and (reason := self._take(f"{other.name}/{name}", run_folder, result)):
                self.refused.append(f"{other.name}/{name}: {reason}.")

    def _take(self, name: str, run_folder: Path, result: Result) -> str | None:
        """Takes over one trial, or returns why it does not fit."""
        if reason := self._is_unfinished(result):
            return reason
        try:
            experiment = build(Experiment, read_yaml(run_folder / EXPERIMENT))
        except ConfigError as error:
            return f"its experiment is of another version ({error.problems[0].rstrip('.')})"
        if same := self._names.get(experiment.model_dump_json()):
            return f"is the same as {same}"
        baseline = next((name for name, own in self._baselines.items() if own == experiment), None)
        if baseline is not None:
            self.baselines[baseline] = name
            self._copy(Run(trial=baseline, kind="baseline", phase="search", experiment=experiment), run_folder, result)
        elif (settings := self._space.recover(experiment, self._study.experiment)) is not None and self._study.search:
            self.trials[name] = settings
            self._copy(Run(trial=name, kind="trial", phase="search", experiment=experiment), run_folder, result)
        else:
            return _difference(self._study.experiment, self._space, experiment)
        self._names[experiment.model_dump_json()] = name
        return None

    def _is_unfinished(self, result: Result) -> str | None:
        if result.pruned is not None:
            return f"was ended at step {result.pruned}"
        if result.failed:
            return "has failed"
        for metric in self._study.objectives:
            value = getattr(result, METRICS[metric].field)
            if value is None or not math.isfinite(value):
                return f"has no {metric}"
        return None

    def _copy(self, run: Run, source: Path, result: Result) -> None:
        """Copies a run's folder atomically."""
        target = self._folder.run(run.id)
        if target.exists():
            return
        partial = self._folder.path / ".taking-over"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(source, partial, ignore=shutil.ignore_patterns(CHECKPOINTS, STOP_FILE, "*.lock", ".*"))
        if not (partial / MODEL).exists():
            # The other study has removed the model. Without the summary, the run is trained again if its test score is needed.
            (partial / SUMMARY).unlink(missing_ok=True)
        # The GPU time was spent by the other study, and does not count towards the budget of this one.
        write_result(partial, result.model_copy(update={"run": run.id, "gpu_seconds": 0.0, "joules": None}))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(target)


def _read(folder: StudyFolder) -> WarmStart | None:
    """Returns what a study has taken over; None before its first start."""
    record = folder.path / WARM_START
    return read_record(WarmStart, record) if record.exists() else None


def _studies(folder: StudyFolder) -> Iterator[tuple[StudyFolder, Study]]:
    """Yields the study of a folder, or the study of each of its columns."""
    study = folder.read_study()
    if not study.columns:
        yield folder, study
    for name in study.columns:
        column = folder.column(name)
        if column.study.exists():
            yield column, column.read_study()


def _search_runs(folder: StudyFolder, study: Study) -> Iterator[tuple[str, Path]]:
    """Yields the full runs of a study's search phase: the trial's name and the run's folder."""
    own = {slug(name): name for name in [*study.baselines, *((_read(folder) or WarmStart()).trials)]}
    text_models = set(map(slug, study.text_models))
    suffix = f"-seed{study.experiment.seed}"
    for run_folder in sorted(folder.path.glob(f"runs/*{suffix}")):
        trial = run_folder.name.removesuffix(suffix)
        if trial not in text_models:
            yield own.get(trial, trial), run_folder


def _difference(base: Experiment, space: Space, experiment: Experiment) -> str:
    """Returns a description of the first leaf whose value this study could not have."""
    values, settings = leaves(experiment), dict[str, Value]()
    for dimension in space.dimensions:
        if dimension.is_active(settings) and dimension.contains(values.get(dimension.path)):
            settings[dimension.path] = values[dimension.path]
    searched = {dimension.path: dimension for dimension in space.dimensions}
    try:
        here = leaves(replace(base, settings))
    except ConfigError:
        here = leaves(base)
    for path in dict.fromkeys([*values, *here]):
        if path not in values or path not in here or values[path] != here[path]:
            theirs = f"{path} is {values[path]}" if path in values else f"{path} is not set"
            if path in searched:
                return f"{theirs}, here it is searched over {searched[path].shown}"
            return f"{theirs}, here {here.get(path, 'it is not set')}"
    return "its combination of settings cannot be proposed here"
