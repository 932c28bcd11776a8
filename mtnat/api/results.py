"""The results of a study as pandas data frames."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtnat.config import build, read_yaml
from mtnat.data import prepare
from mtnat.errors import StudyError
from mtnat.experiment import Experiment
from mtnat.lab.outputs.curves import read_curves
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, StudyFolder, read_hypotheses, read_record, read_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.study.record import Study, slug
from mtnat.lab.study.space import leaves
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model
from mtnat.training.model import EXPERIMENT

if TYPE_CHECKING:
    import pandas

_SCORES = {"valid": "valid_bleu", "test": "test_bleu"}
"""Names in the frames of fields of `Result` whose own name does not say what they measure."""
_NOT_SETTINGS = {"seed", "training.steps", "training.warmup_steps"}
"""Settings in which the runs of one trial may differ."""


def open_study(folder: str | Path) -> "StudyResults":
    """Opens the folder of a study, such as ``outputs/quickstart``. The study may still be running.

    Raises:
        StudyError: the folder is not that of a study.
        UserError: its study file cannot be read.
    """
    study = StudyFolder(Path(folder))
    if not study.study.exists():
        raise StudyError(f"{folder}: is not a study's folder, study.yaml is missing; give one such as outputs/quickstart.")
    return StudyResults(study)


class StudyResults:
    """The results of a study, read from its folder each time they are asked for.

    A frame of a study with `columns` begins with a column named ``column``.
    """

    def __init__(self, folder: StudyFolder) -> None:
        self.folder = folder.path
        self.study: Study = folder.read_study()
        """The study file."""
        names = list(self.study.columns)
        self._parts = {name: folder.column(name) for name in names} if names else {"": folder}

    def __repr__(self) -> str:
        return f"StudyResults({str(self.folder)!r}, {self.study.question!r})"

    @property
    def is_finished(self) -> bool:
        """Whether the study has its answer, in all of its columns."""
        return all(part.leaderboard.exists() for part in self._parts.values())

    @property
    def answers(self) -> dict[str, str]:
        """The answer of each finished column; a study without columns has one answer, under an empty name."""
        return {name: board.answer for name, board in self._leaderboards()}

    @property
    def best(self) -> Model:
        """The model of the winner's best seed on the validation set. For a study with columns, `open_model` loads the ``best``
        of a column's folder.

        Raises:
            ModelError: the study has no winner yet.
        """
        return open_model(next(iter(self._parts.values())).best_model)

    def scores(self) -> "pandas.DataFrame":
        """Returns the leaderboard: one row per trial. It is empty before the study is finished.

        ``bleu`` is the mean over ``seeds`` on the test set if ``is_confirmed``, otherwise on the validation set, and ``text``
        is the training text. ``p`` is over seeds and sentences together, ``p_adjusted`` is adjusted for the number of rows, and
        ``p_these_models`` is that of the paired bootstrap, which says nothing about other seeds. The mark follows
        ``p_adjusted``.
        """
        rows = []
        for column, board in self._leaderboards():
            for row in board.rows:
                low, high = row.interval or (None, None)
                difference_low, difference_high = row.difference_interval or (None, None)
                rows.append(
                    {
                        **self._column(column),
                        "trial": row.name,
                        "kind": row.kind,
                        "text": row.text,
                        "is_winner": row.name == board.winner,
                        "is_confirmed": row.confirmed,
                        "bleu": row.mean,
                        "low": low,
                        "high": high,
                        "against": row.against,
                        "difference": row.difference,
                        "difference_low": difference_low,
                        "difference_high": difference_high,
                        "p": row.p_value_over_seeds,
                        "p_adjusted": row.p_value_adjusted,
                        "p_these_models": row.p_value,
                        "mark": row.mark,
                        "valid_bleu": row.valid,
                        "seeds": row.seeds,
                        "settings": row.settings,
                    }
                )
        return _frame(rows, [*self._column(""), "trial", "kind", "bleu"])

    def runs(self) -> "pandas.DataFrame":
        """Returns one row per ended run: its trial, seed, scores and costs, and every setting in which the runs differ, by
        dotted path."""
        runs = list(self._runs())
        found = [leaves(run.experiment) for run in runs]
        paths = dict.fromkeys(path for settings in found for path in settings if path not in _NOT_SETTINGS)
        different = [path for path in paths if len({repr(settings.get(path)) for settings in found}) > 1]
        rows = []
        for run, settings in zip(runs, found, strict=True):
            if result := run.result:
                figures = {_SCORES.get(name, name): value for name, value in result.model_dump(exclude={"run"}).items()}
                rows.append({**self._names(run), **figures, **{path: settings.get(path) for path in different}})
        return _frame(rows, [*self._column(""), "trial", "kind", "seed", "steps"])

    def curves(self, metrics: Iterable[str] | None = None) -> "pandas.DataFrame":
        """Returns one row per point of a curve: ``trial``, ``seed``, ``step``, ``metric``, ``value``. Runs in progress are
        included.

        Args:
            metrics: names of curves, such as ``valid/bleu``; by default all of them.
        """
        wanted = None if metrics is None else {*metrics}
        rows = [
            {**self._names(run), "step": step, "metric": metric, "value": value}
            for run in self._runs()
            for step, point in read_curves(run.path)
            for metric, value in point.items()
            if wanted is None or metric in wanted
        ]
        return _frame(rows, [*self._column(""), "trial", "kind", "seed", "steps", "step", "metric", "value"])

    def translations(self) -> "pandas.DataFrame":
        """Returns one row per sentence of the test set and confirmed run: ``source``, ``reference``, ``translation``.

        The corpus is prepared first if it is not in the cache.
        """
        rows = []
        for run in self._runs():
            if (run.path / HYPOTHESES_FILE).exists():
                test = prepare(run.experiment.data).test
                texts = zip(test.sources, test.references, read_hypotheses(run.path), strict=True)
                rows += [
                    {
                        **self._names(run),
                        "sentence": number,
                        "source": source,
                        "reference": reference,
                        "translation": translation,
                    }
                    for number, (source, reference, translation) in enumerate(texts, 1)
                ]
        return _frame(rows, [*self._column(""), "trial", "seed", "sentence", "source", "reference", "translation"])

    def _runs(self) -> Iterator["_Run"]:
        """Yields the runs that have begun, the columns in the order of the study."""
        for column, part in self._parts.items():
            board = _board(part)
            names = [*self.study.baselines, *(row.name for row in board.rows)] if board else list(self.study.baselines)
            by_slug = {slug(name): name for name in names}
            for path in sorted(part.path.glob(f"runs/*/{EXPERIMENT}")):
                experiment = build(Experiment, read_yaml(path))
                # The folder of a run is named after its trial, its seed and its rung; see `Run.id`.
                trial = path.parent.name.rpartition(f"-seed{experiment.seed}")[0]
                yield _Run(column, by_slug.get(trial, trial), path.parent, experiment)

    def _leaderboards(self) -> Iterator[tuple[str, Leaderboard]]:
        for name, part in self._parts.items():
            if board := _board(part):
                yield name, board

    def _column(self, name: str) -> dict[str, Any]:
        return {"column": name} if self.study.columns else {}

    def _names(self, run: "_Run") -> dict[str, Any]:
        is_teacher = run.trial in map(slug, self.study.text_models)
        kind = "baseline" if run.trial in self.study.baselines else "teacher" if is_teacher else "trial"
        steps, seed = run.experiment.training.steps, run.experiment.seed
        return {**self._column(run.column), "trial": run.trial, "kind": kind, "seed": seed, "steps": steps}


@dataclass(frozen=True)
class _Run:
    """A run that has begun."""

    column: str
    trial: str
    path: Path
    experiment: Experiment

    @property
    def result(self) -> Result | None:
        """The result, once the run has ended."""
        return read_result(self.path)


def _board(part: StudyFolder) -> Leaderboard | None:
    """Returns the leaderboard of a study or of a column; None if it is not finished."""
    return read_record(Leaderboard, part.leaderboard) if part.leaderboard.exists() else None


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> "pandas.DataFrame":
    """Returns the rows as a frame; one without rows has the columns that every such frame has."""
    try:
        import pandas  # the core does not need it
    except ImportError:
        raise StudyError("data frames need pandas; install mtnat[study].") from None
    return pandas.DataFrame(rows, columns=None if rows else columns)
