"""The records of runs in the tracker, and the files of runs that are kept."""

import shutil
from collections.abc import Mapping

from mtnat.config import write_yaml
from mtnat.lab.outputs.curves import read_curves
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, StudyFolder
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.study.space import leaves
from mtnat.lab.tracking.tracker import Tracker
from mtnat.training.fit import MODEL

ARTIFACTS = {"experiment.yaml": "", MODEL: MODEL, "validation.txt": "", HYPOTHESES_FILE: ""}
"""Files and folders of a run's folder that are kept as artifacts, and the artifact folder of each."""


class RunBook:
    """Records the runs of one study in the tracker. A call that is repeated after a kill changes nothing."""

    def __init__(self, tracker: Tracker, folder: StudyFolder, commit: str) -> None:
        """
        Args:
            commit: of the code that runs.
        """
        self._tracker, self._folder = tracker, folder
        self._tags = {"study": folder.name, "commit": commit}
        self._open: dict[str, Run] = {}
        """Runs that the tracker holds as running, by id."""

    def key(self, run: Run) -> str:
        """The tracker's key of a run."""
        return f"{self._folder.id}/{run.id}"

    def begin(self, run: Run) -> None:
        """Begins a run in the tracker; adds the points of an interrupted run that the tracker does not have yet."""
        phase = "search" if run.phase == "search" else "confirm"  # a run whose speed is measured stays one of that phase
        own = {"trial": run.trial, "kind": run.kind, "phase": phase, "seed": str(run.experiment.seed)}
        own |= {"rung": str(run.rung)} if run.rung else {}
        params = {path: value for path, value in leaves(run.experiment).items() if value is not None}
        self._tracker.begin(self.key(run), run.name, parent=self._folder.id, params=params, tags=self._tags | own)
        self._open[run.id] = run
        for step, metrics in read_curves(self._folder.run(run.id)):
            self.log(run, step, metrics)

    def log(self, run: Run, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to a run's curves."""
        self._tracker.log(self.key(run), step, metrics)

    def close(self, run: Run, result: Result, *, keeps_model: bool) -> None:
        """Keeps the files of a run that has ended, and closes it in the tracker.

        Args:
            keeps_model: otherwise the model is removed first.
        """
        folder = self._folder.run(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "experiment.yaml").exists():
            (folder / "experiment.yaml").write_text(write_yaml(run.experiment), encoding="utf-8")
        if not keeps_model:
            shutil.rmtree(folder / MODEL, ignore_errors=True)
        for name, target in ARTIFACTS.items():
            if (folder / name).exists():
                self._tracker.keep(self.key(run), folder / name, target)
        tags = {"data_hash": result.data_hash, "host": result.host, "failed": result.failed, "pruned": result.pruned}
        self._tracker.tag(self.key(run), {name: str(value) for name, value in tags.items() if value})
        if result.data_hash:
            data = run.experiment.data
            train = data.name_of("train")
            name = train if data.text == "raw" else f"{train}, {data.text}"
            self._tracker.use(self.key(run), name, result.data_hash, data.text_file or train)
        self._tracker.end(self.key(run), "FAILED" if result.failed else "FINISHED")
        del self._open[run.id]

    def is_closed(self, run: Run) -> bool:
        """Whether the tracker holds the run as ended."""
        return self._tracker.status(self.key(run)) in ("FINISHED", "FAILED")

    def drop_model(self, run: Run) -> None:
        """Removes the model of a run from the disk and from the tracker."""
        if (model := self._folder.run(run.id) / MODEL).exists():
            shutil.rmtree(model)
            self._tracker.drop(self.key(run), MODEL)

    def kill(self) -> None:
        """Marks every run that is not closed as killed, including runs that were being closed."""
        for run in self._open.values():
            self._tracker.end(self.key(run), "KILLED")
