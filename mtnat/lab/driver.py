"""A study from its file to its answer."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray
import torch
from ray import tune
from rich.console import Console

from mtnat.config import replace, write_yaml
from mtnat.errors import ConfigError, SmokeError, StudyError
from mtnat.files import write_whole
from mtnat.lab.agenda import Agenda, NoProposals, Result, Run
from mtnat.lab.clock import Clock
from mtnat.lab.cluster import Patience, Room, job_problems, ray_cluster, reconnect, wait_for_room
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
from mtnat.lab.preview import preview
from mtnat.lab.proposals import make_proposer
from mtnat.lab.resources import cores, workers_at_once
from mtnat.lab.search import AgendaSearcher
from mtnat.lab.signals import read_fidelity
from mtnat.lab.smoke import failures, smoke, write_text
from mtnat.lab.storage import Storage, open_uri, study_storage
from mtnat.lab.study import Study, Teacher
from mtnat.lab.study_file import read_study
from mtnat.lab.table import Table, make_table
from mtnat.lab.table import latex as table_as_latex
from mtnat.lab.table import markdown as table_as_markdown
from mtnat.lab.teacher import DistilledText, distil, fetched_teacher, known_text, students, trained_teacher
from mtnat.lab.tracking import Tracker
from mtnat.lab.trial import trainable
from mtnat.lab.warm_start import take_over

MLFLOW_EXPERIMENT, MLFLOW_SMOKE_EXPERIMENT = "mtnat", "mtnat smoke"


def run_study(options: Options, console: Console, interruption: Interruption) -> None:
    """Runs a study, or goes on with it, until it has its answer, and shows that.

    Raises:
        UserError: something in the file, the folder or the machine is wrong; nothing has been started then.
        KeyboardInterrupt: a person stopped it; it can be resumed.
    """
    is_local = options.address is None
    study = read_study(options.study, cores() if is_local else None, torch.cuda.device_count() if is_local else None)
    if options.dry_run:
        preview(study, options, console)
        return
    if problems := list(job_problems(options.outputs, _tracking_uri(options))):
        raise ConfigError(problems)
    if options.storage:
        open_uri(options.storage)
        if study.teacher:
            raise ConfigError(
                "--storage: a study with a teacher needs --outputs on a folder that all machines see; drop --storage."
            )
    if options.smoke:
        _smoke(study, options, console, interruption)
        return
    folder = StudyFolder(options.outputs / options.study.stem)
    with folder.held():
        folder.begin(study, resume=options.resume)
        if not folder.is_finished:
            _run(study, folder, options, console, interruption)
        _show(study, folder, options, console)


def _smoke(study: Study, options: Options, console: Console, interruption: Interruption) -> None:
    """Runs the study with everything cut down, in a folder of its own that is made anew.

    Raises:
        SmokeError: it does not run.
    """
    started = time.monotonic()
    folder = StudyFolder(options.outputs / f"{options.study.stem}-smoke")
    with folder.held():
        folder.clear()
        text = folder.path / "text"
        small = smoke(study, text, write_text(study, text))
        folder.begin(small, resume=False)
        try:
            _run(small, folder, options, console, interruption)
        except StudyError as error:
            raise SmokeError(f"smoke: the study does not run: {error}") from None
        _show(small, folder, options, console)
        failed = failures(small, folder)
    if failed:
        raise SmokeError("\n".join([f"smoke: runs failed, {len(failed)} of them:", *failed]))
    seconds = time.monotonic() - started
    console.print(f"\nsmoke: the whole study ran in {seconds:.0f} s; its scores mean nothing", highlight=False)


def _show(study: Study, folder: StudyFolder, options: Options, console: Console) -> None:
    """What a finished study ended with."""
    if study.columns:
        show_table(console, Table.model_validate_json(folder.table.read_bytes()), folder, _mlflow_command(options))
    else:
        leaderboard = Leaderboard.model_validate_json(folder.leaderboard.read_bytes())
        show_end(console, leaderboard, folder, _mlflow_command(options))


def _run(study: Study, folder: StudyFolder, options: Options, console: Console, interruption: Interruption) -> None:
    console.print(f"{study.question}", markup=False, highlight=False)
    # MLflow takes seconds to make its database, and Ray to start: they do so side by side.
    with ThreadPoolExecutor(1) as background, ray_cluster(options, study.resources):
        experiment = MLFLOW_SMOKE_EXPERIMENT if options.smoke else MLFLOW_EXPERIMENT
        opening = background.submit(_open_tracker, _tracking_uri(options), experiment)
        minutes = study.resources.start_minutes if options.address else 0
        wait_for_room(study.resources, minutes, partial(console.print, highlight=False), interruption.check)
        room = Room(study.resources)
        again = partial(reconnect, options, study.resources)
        driver = Driver(opening.result(), _tracking_uri(options), options.storage, room, again, console, interruption)
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
        storage: str | None,
        room: Room,
        reconnect: Callable[[], None],
        console: Console,
        interruption: Interruption,
    ) -> None:
        """
        Args:
            storage: URI of where runs are exchanged; None is the study's folder.
            reconnect: frees the cluster of all that this process has there.
        """
        self._tracker, self._tracking_uri, self._storage = tracker, tracking_uri, storage
        self._room, self._reconnect = room, reconnect
        self._console, self._interruption = console, interruption

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
            proposer = make_proposer(study, folder.journal)
            study_storage(self._storage, folder).fetch_all()
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
        workers = workers_at_once(study.resources, self._room.machines)
        return distil(study, finished, folder, workers, self._console, self._interruption.check)

    def _train_teacher(self, folder: StudyFolder, clock: Clock, study: Study) -> dict[str, Result]:
        agenda = Agenda(study, NoProposals(), folder.results())
        self._carry_out(study, folder, agenda, clock)
        return {run.id: agenda.results[run.id] for run in map(agenda.search_run, agenda.trials.values())}

    def _carry_out(self, study: Study, folder: StudyFolder, agenda: Agenda, clock: Clock) -> None:
        """Runs all that an agenda holds."""
        with TerminalScreen(self._console, agenda, self._room.runs) as screen:
            patience = Patience(study.resources, self._room)
            storage = study_storage(self._storage, folder)
            listener = Listener(agenda, folder, storage, self._tracker, screen, self._interruption, clock, patience, _commit())
            listener.catch_up()
            try:
                while True:
                    try:
                        _execute(study, storage, agenda, listener, self._room)
                        break
                    except RuntimeError as error:
                        # So Tune gives up where Ray has ended one of its actors for want of memory, or with its machine.
                        if not isinstance(error.__cause__, ray.exceptions.RayError):
                            raise
                        self._reconnect()
                        listener.lost(str(error.__cause__).split("\n", 1)[0])
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


def _execute(study: Study, storage: Storage, agenda: Agenda, listener: Listener, room: Room) -> None:
    """Lets Tune run the agenda to its end."""
    resources = study.resources
    run_one = partial(trainable, storage=storage, resources=resources)
    # Several workers ask for their own cores; the actor that starts them only has to be somewhere.
    request = (
        {"node:__internal_head__": 0.001}
        if resources.uses_ray_train
        else {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}
    )
    storage.clear_executor()
    # Tune starts actors one after the other unless told how many may be under way; here the searcher sees to that.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1000"
    tune.Tuner(
        tune.with_resources(run_one, request),
        tune_config=tune.TuneConfig(
            search_alg=AgendaSearcher(agenda, lambda: room.runs),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=storage.executor,
            callbacks=[listener],
            failure_config=tune.FailureConfig(max_failures=0),  # the listener starts it again
            verbose=0,
        ),
    ).fit()
    storage.clear_executor()


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


def _open_tracker(uri: str, experiment: str) -> Tracker:
    from mtnat.lab.mlflow_tracker import MlflowTracker  # its import takes seconds in which Ray starts

    return MlflowTracker(uri, experiment, _beside(uri))


def _beside(uri: str) -> str | None:
    """Where the files of a bare database lie: a server knows its own, and MLflow's default depends on who asks from where."""
    database = uri.removeprefix("sqlite:///")
    return (Path(database).absolute().parent / "mlartifacts").as_uri() if database != uri else None


def _commit() -> str:
    """The commit of the code that runs, "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
