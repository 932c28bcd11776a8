"""A study from its file to its answer."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from ray import tune
from rich.console import Console

from mtnat.config import replace, write_yaml
from mtnat.errors import ResourceError
from mtnat.files import write_whole
from mtnat.lab.agenda import Agenda, NoProposals, Result, Run
from mtnat.lab.clock import Clock
from mtnat.lab.cluster import ray_cluster, runs_at_once, workers_at_once
from mtnat.lab.console import TerminalScreen, show_end, show_table
from mtnat.lab.folder import StudyFolder
from mtnat.lab.interruption import Interruption
from mtnat.lab.judge import RunJudge
from mtnat.lab.leaderboard import Leaderboard, make_leaderboard
from mtnat.lab.listener import Listener
from mtnat.lab.models import default_uri
from mtnat.lab.options import Options
from mtnat.lab.page import markdown
from mtnat.lab.picture import draw_front
from mtnat.lab.proposals import OptunaProposer
from mtnat.lab.resources import cores, resource_problems
from mtnat.lab.search import AgendaSearcher
from mtnat.lab.signals import read_fidelity
from mtnat.lab.study import Study, Teacher
from mtnat.lab.study_file import read_study
from mtnat.lab.table import Table, make_table
from mtnat.lab.table import latex as table_as_latex
from mtnat.lab.table import markdown as table_as_markdown
from mtnat.lab.teacher import DistilledText, distil, fetched_teacher, known_text, students, trained_teacher
from mtnat.lab.tracking import Tracker
from mtnat.lab.trial import trainable
from mtnat.lab.warm_start import take_over

MLFLOW_EXPERIMENT = "mtnat"


def run_study(options: Options, console: Console, interruption: Interruption) -> None:
    """Runs a study, or goes on with it, until it has its answer, and shows that.

    Raises:
        UserError: something in the file, the folder or the machine is wrong; nothing has been started then.
        KeyboardInterrupt: a person stopped it; it can be resumed.
    """
    is_local = options.address is None
    study = read_study(options.study, cores() if is_local else None, torch.cuda.device_count() if is_local else None)
    folder = StudyFolder(options.outputs / options.study.stem)
    with folder.held():
        folder.begin(study, resume=options.resume)
        if not folder.is_finished:
            _run(study, folder, options, console, interruption)
        if study.columns:
            show_table(console, Table.model_validate_json(folder.table.read_bytes()), folder, _mlflow_command(options))
        else:
            leaderboard = Leaderboard.model_validate_json(folder.leaderboard.read_bytes())
            show_end(console, leaderboard, folder, _mlflow_command(options))


def _run(study: Study, folder: StudyFolder, options: Options, console: Console, interruption: Interruption) -> None:
    console.print(f"{study.question}", markup=False, highlight=False)
    # MLflow takes seconds to make its database, and Ray to start: they do so side by side.
    with ThreadPoolExecutor(1) as background, ray_cluster(options) as cluster:
        opening = background.submit(_open_tracker, _tracking_uri(options))
        if problems := list(resource_problems(study.resources, cluster.get("CPU", 0), cluster.get("GPU", 0))):
            raise ResourceError(problems)
        driver = Driver(opening.result(), _tracking_uri(options), cluster, console, interruption)
        if study.columns:
            driver.tabulate(study, folder)
        else:
            driver.answer(study, folder)


class Driver:
    """Carries studies out, on one cluster, told to one tracker."""

    def __init__(
        self,
        tracker: Tracker,
        tracking_uri: str,
        cluster: Mapping[str, float],
        console: Console,
        interruption: Interruption,
    ) -> None:
        self._tracker, self._tracking_uri = tracker, tracking_uri
        self._cluster, self._console, self._interruption = cluster, console, interruption

    def tabulate(self, study: Study, folder: StudyFolder) -> None:
        """Answers the study of each column, one after the other, and makes the table."""
        with self._tracked(folder, study):
            leaderboards: dict[str, Leaderboard] = {}
            for name, part in study.parts.items():
                column = folder.column(name)
                if not column.is_finished:
                    self._console.print(f"{name}:", markup=False, highlight=False)
                    column.begin(part, resume=True)
                    self.answer(part, column, parent=folder)
                leaderboards[name] = Leaderboard.model_validate_json(column.leaderboard.read_bytes())
            table = make_table(folder.name, study, leaderboards)
            write_whole(folder.table_markdown, table_as_markdown(table).encode())
            write_whole(folder.table_latex, table_as_latex(table).encode())
            for path in (folder.study, folder.table_markdown, folder.table_latex):
                self._tracker.keep(folder.id, path)
            write_whole(folder.table, table.model_dump_json(indent=1).encode())

    def answer(self, study: Study, folder: StudyFolder, parent: StudyFolder | None = None) -> None:
        """Carries a study out to its leaderboard; where it has a teacher, that comes first."""
        clock = Clock(folder.clock)
        notes: list[str] = []
        with self._tracked(folder, study, parent):
            if study.teacher:
                text = known_text(folder) or self._distil(study, study.teacher, folder, clock)
                self._keep_distilled(folder, text)
                study = students(study, text)
                notes.append(text.summary)
            taken = take_over(study, folder)
            for sentence in taken.sentences:
                self._console.print(f"warm start: {sentence}", markup=False, highlight=False, soft_wrap=True)
            notes += taken.sentences
            proposer = OptunaProposer(
                study.space,
                folder.journal,
                sampler=study.sampler,
                seed=study.experiment.seed if study.sampler.seed is None else study.sampler.seed,
                trials=study.proposals,
                directions=list(study.objectives.values()),
                pruner=study.pruner,
                total_steps=study.experiment.training.steps,
            )
            hours = study.budget.hours
            agenda = Agenda(
                study,
                proposer,
                folder.results(),
                inherited=taken.trials,
                is_spent=lambda: hours is not None and clock.seconds >= hours * 3600,
            )
            self._carry_out(study, folder, agenda, clock)
            test_set = study.experiment.data.name_of("test")
            judge = RunJudge(study, folder)
            clock.save()
            leaderboard = make_leaderboard(
                folder.name,
                study,
                agenda,
                judge,
                test_set=test_set,
                seconds=clock.seconds,
                notes=notes,
                fidelity=read_fidelity(study, agenda, folder),
            )
            _conclude(leaderboard, folder, agenda, self._tracker)

    def _distil(self, study: Study, teacher: Teacher, folder: StudyFolder, clock: Clock) -> DistilledText:
        finished = (
            fetched_teacher(teacher.model, folder, self._tracking_uri)
            if teacher.model
            else trained_teacher(study, teacher, folder, partial(self._train_teacher, folder, clock))
        )
        workers = workers_at_once(study.resources, self._cluster)
        return distil(study, finished, folder, workers, self._console, self._interruption.check)

    def _train_teacher(self, folder: StudyFolder, clock: Clock, study: Study) -> dict[str, Result]:
        agenda = Agenda(study, NoProposals(), folder.results())
        self._carry_out(study, folder, agenda, clock)
        return {run.id: agenda.results[run.id] for run in map(agenda.search_run, agenda.trials.values())}

    def _carry_out(self, study: Study, folder: StudyFolder, agenda: Agenda, clock: Clock) -> None:
        """Runs all that an agenda holds."""
        most_at_once = runs_at_once(study.resources, self._cluster)
        with TerminalScreen(self._console, agenda, most_at_once) as screen:
            listener = Listener(agenda, folder, self._tracker, screen, self._interruption, clock, _commit())
            listener.catch_up()
            try:
                _execute(study, folder, agenda, listener, most_at_once)
            except BaseException:
                listener.kill()
                raise

    def _keep_distilled(self, folder: StudyFolder, text: DistilledText) -> None:
        """The distilled text is an artifact of the study, and its training set."""
        for path in (Path(text.targets), folder.distillation):
            self._tracker.keep(folder.id, path)
        self._tracker.use(folder.id, f"distilled by {text.teacher}", text.key, text.targets)
        self._tracker.log(folder.id, 0, text.figures)

    @contextmanager
    def _tracked(self, folder: StudyFolder, study: Study, parent: StudyFolder | None = None) -> Iterator[None]:
        """The study's own run, under which the others are nested."""
        tags = {"study": folder.name, "question": study.question, "commit": _commit()}
        self._tracker.begin(folder.id, folder.name, parent=parent.id if parent else None, tags=tags)
        try:
            yield
        except BaseException:
            self._tracker.end(folder.id, "KILLED" if self._interruption.is_wanted else "FAILED")
            raise
        self._tracker.end(folder.id, "FINISHED")


def _tracking_uri(options: Options) -> str:
    return options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def _mlflow_command(options: Options) -> str:
    """By which a person looks at the study's runs."""
    uri = _tracking_uri(options)
    return "mlflow ui" if uri == default_uri() else f"mlflow ui --backend-store-uri {uri}"


def _execute(study: Study, folder: StudyFolder, agenda: Agenda, listener: Listener, most_at_once: int) -> None:
    """Lets Tune run the agenda to its end."""
    resources = study.resources
    run_one = partial(trainable, study_folder=folder.path, resources=resources)
    # Several workers ask for their own cores; the actor that starts them only has to be somewhere.
    request = (
        {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}
        if resources.workers == 1
        else {"node:__internal_head__": 0.001}
    )
    shutil.rmtree(folder.executor, ignore_errors=True)
    # Tune starts actors one after the other unless told how many may be under way.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most_at_once)
    tune.Tuner(
        tune.with_resources(run_one, request),
        tune_config=tune.TuneConfig(
            search_alg=AgendaSearcher(agenda, most_at_once),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=str(folder.executor),
            callbacks=[listener],
            failure_config=tune.FailureConfig(max_failures=0),  # the listener starts it again
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(folder.executor, ignore_errors=True)


def _conclude(leaderboard: Leaderboard, folder: StudyFolder, agenda: Agenda, tracker: Tracker) -> None:
    """Writes what the study ended with; the leaderboard last, because it says that the study is finished."""
    if leaderboard.winner is not None and leaderboard.best_seed is not None:
        trial = agenda.trials[leaderboard.winner]
        best = Run(
            trial=trial.name,
            kind=trial.kind,
            phase="search",
            experiment=replace(trial.experiment, {"seed": leaderboard.best_seed}),
        )
        write_whole(folder.best_experiment, write_yaml(best.experiment).encode())
        shutil.rmtree(folder.best_model, ignore_errors=True)
        shutil.copytree(folder.run(best.id) / "model", folder.best_model)
    write_whole(folder.report, markdown(leaderboard).encode())
    if leaderboard.fidelity:
        write_whole(folder.fidelity, leaderboard.fidelity.model_dump_json(indent=1).encode())
    if any(row.on_front for row in leaderboard.rows):
        draw_front(leaderboard, folder.pareto)
    for path in (folder.study, folder.report, folder.best_experiment, folder.fidelity, folder.pareto):
        if path.exists():
            tracker.keep(folder.id, path)
    tracker.tag(folder.id, {"answer": leaderboard.answer})
    write_whole(folder.leaderboard, leaderboard.model_dump_json(indent=1).encode())
    tracker.keep(folder.id, folder.leaderboard)


def _open_tracker(uri: str) -> Tracker:
    from mtnat.lab.mlflow_tracker import MlflowTracker  # its import takes seconds in which Ray starts

    # A server knows where its files lie; of a bare database we say it, since its default depends on who asks from where.
    return MlflowTracker(uri, MLFLOW_EXPERIMENT, (Path.cwd() / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None)


def _commit() -> str:
    """The commit of the code that runs, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
