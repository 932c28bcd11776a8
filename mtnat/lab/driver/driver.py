"""Runs a study from its first run to its answer, on a cluster and with a tracker that the caller has opened."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from rich.console import Console

from mtnat.config import replace, write_yaml
from mtnat.errors import StudyError
from mtnat.files import write_whole
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.room import Patience, Room
from mtnat.lab.driver.keys import withhold_keys
from mtnat.lab.driver.listener import Listener, Pulse
from mtnat.lab.driver.run_book import RunBook
from mtnat.lab.driver.runs_under_way import RunsUnderWay
from mtnat.lab.driver.screen import TerminalScreen
from mtnat.lab.driver.searcher import AgendaSearcher
from mtnat.lab.driver.sharing import share
from mtnat.lab.driver.text_models import Means
from mtnat.lab.driver.text_writer import TextWriter, WrittenText, students
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.outputs.mending import mend_runs
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import Storage, study_storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.plan.proposer import NoProposals
from mtnat.lab.plan.restoring import restore_proposals
from mtnat.lab.plan.warm_start import take_over
from mtnat.lab.report.latex import table_latex
from mtnat.lab.report.markdown import leaderboard_markdown, table_markdown
from mtnat.lab.results.analysis import EncoderAnalysis, read_analysis
from mtnat.lab.results.fidelity_scores import read_fidelity
from mtnat.lab.results.judge import RunJudge
from mtnat.lab.results.leaderboard import Leaderboard, make_leaderboard
from mtnat.lab.results.paper_table import make_table
from mtnat.lab.study.record import Study
from mtnat.lab.study.resources import Resources, workers_at_once
from mtnat.lab.tracking.tracker import Tracker
from mtnat.lab.worker.sessions import trainable
from mtnat.training import Shards


class Driver:
    """Runs studies on one cluster, with one tracker."""

    def __init__(
        self,
        tracker: Tracker,
        tracking_uri: str,
        storage: str | None,
        room: Room,
        reconnect: Callable[[], None],
        console: Console,
        interruption: Interruption,
        *,
        resends: bool = False,
    ) -> None:
        """
        Args:
            storage: URI of the storage for files of runs; None uses the study's folder.
            reconnect: releases everything that this process has on the cluster, and connects again.
            resends: record all runs again, because the tracker may lack some of what they recorded.
        """
        withhold_keys()
        self._tracker, self._tracking_uri, self._storage = tracker, tracking_uri, storage
        self._room, self._reconnect = room, reconnect
        self._console, self._interruption = console, interruption
        self._resends = resends

    def tabulate(self, study: Study, folder: StudyFolder) -> None:
        """Runs the study of each column, one after the other, and writes the table."""
        with self._tracked(folder, study):
            leaderboards: dict[str, Leaderboard] = {}
            for name, part in study.parts.items():
                column = folder.column(name)
                if not column.is_finished or self._resends:
                    self._console.print(f"{name}:", markup=False, highlight=False)
                    column.begin(part, resume=True)
                    self.answer(part, column, folder, tuple(map(folder.column, leaderboards)))
                leaderboards[name] = read_record(Leaderboard, column.leaderboard)
            table = make_table(folder.name, study, leaderboards)
            write_whole(folder.table_markdown, table_markdown(table).encode())
            write_whole(folder.table_latex, table_latex(table).encode())
            for path in (folder.study, folder.table_markdown, folder.table_latex):
                self._tracker.keep(folder.id, path)
            write_whole(folder.table, table.model_dump_json(indent=1).encode())

    def answer(
        self,
        study: Study,
        folder: StudyFolder,
        parent: StudyFolder | None = None,
        earlier: tuple[StudyFolder, ...] = (),
    ) -> None:
        """Runs a study, beginning with the training text that its models write, and writes its leaderboard.

        Args:
            parent: the folder of the study of which this one is a column.
            earlier: its columns that have ended.
        """
        for sentence in mend_runs(folder):
            self._say(sentence)
        clock = Clock(folder.clock)
        notes: list[str] = []
        if ended := len(folder.results()):
            self._console.print(f"resumed: {ended} {'run has' if ended == 1 else 'runs have'} ended before", highlight=False)
        with self._tracked(folder, study, parent):
            texts: list[WrittenText] = []
            for text in TextWriter(study, folder, self._means(study, folder, clock, earlier)).texts():
                self._keep_text(folder, text)
                texts.append(text)
                notes.append(text.summary)
            study = students(study, *texts)
            taken = take_over(study, folder)
            for sentence in taken.sentences:
                self._say(f"warm start: {sentence}")
            notes += taken.sentences
            proposer = make_proposer(study, folder.journal)
            for sentence in restore_proposals(proposer, study, folder):
                self._say(sentence)
            study_storage(self._storage, folder).fetch_all()
            hours = study.budget.hours
            agenda = Agenda(
                study,
                proposer,
                folder.results(),
                inherited=taken.trials,
                is_spent=lambda: hours is not None and clock.seconds >= hours * 3600,
                is_settled=lambda: self._look(conclusion(), len(agenda.seeds)),
            )
            test_set = study.experiment.data.name_of("test")
            judge = RunJudge(study, folder)

            def conclusion() -> Leaderboard:
                return make_leaderboard(
                    folder.name,
                    study,
                    agenda,
                    judge,
                    test_set=test_set,
                    seconds=clock.seconds,
                    notes=notes,
                    fidelity=read_fidelity(study, agenda, folder),
                    analysis=read_analysis(study, agenda, folder),
                )

            self._carry_out(study, folder, agenda, clock)
            clock.save()
            _conclude(conclusion(), folder, agenda, self._tracker)

    def _look(self, leaderboard: Leaderboard, seeds: int) -> bool:
        """Prints the answer at a look, and returns whether it is settled."""
        self._say(f"after {seeds} seeds: {leaderboard.answer}")
        return leaderboard.is_settled

    def _say(self, sentence: str) -> None:
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def _means(self, study: Study, folder: StudyFolder, clock: Clock, earlier: tuple[StudyFolder, ...]) -> Means:
        train, share = partial(self._train_model, folder, clock), partial(self._share, study.resources)
        return Means(train, share, self._tracking_uri, earlier)

    def _share(self, resources: Resources, work: Shards[Any], model: str, verb: str) -> None:
        workers = workers_at_once(resources, self._room.machines)
        share(work, model, verb, resources=resources, workers=workers, console=self._console, check=self._interruption.check)

    def _train_model(self, folder: StudyFolder, clock: Clock, study: Study) -> dict[str, Result]:
        agenda = Agenda(study, NoProposals(), folder.results())
        self._carry_out(study, folder, agenda, clock)
        runs = [agenda.runs(trial).full for trial in agenda.trials.values()]
        return {run.id: agenda.results[run.id] for run in runs}

    def _carry_out(self, study: Study, folder: StudyFolder, agenda: Agenda, clock: Clock) -> None:
        """Runs all runs of an agenda."""
        names_hosts = len(self._room.machines) > 1
        with TerminalScreen(self._console, agenda, self._room.runs, names_hosts=names_hosts) as screen:
            patience = Patience(study.resources, self._room)
            storage = study_storage(self._storage, folder)
            runs = RunsUnderWay(agenda, storage, RunBook(self._tracker, folder, _commit()), patience, screen)
            listener = Listener(runs, Pulse(self._interruption, clock, patience, screen))
            runs.catch_up(everything=self._resends)
            try:
                while True:
                    try:
                        _run_on_tune(study.resources, storage, agenda, listener, patience)
                        if not agenda.is_finished:  # Tune ends at some signals as if all had been done
                            raise StudyError(f"{folder.path}: Ray Tune has ended before the study; continue it with --resume.")
                        break
                    except RuntimeError as error:
                        # Tune raises this if Ray has ended one of its actors for lack of memory, or with its machine.
                        if not isinstance(error.__cause__, ray.exceptions.RayError):
                            raise
                        self._reconnect()
                        runs.lose_all(str(error.__cause__).split("\n", 1)[0])
            except BaseException:
                runs.kill()
                raise

    def _keep_text(self, folder: StudyFolder, text: WrittenText) -> None:
        """Records a written text as an artifact and as a training set of the study."""
        for path in (Path(text.file), text.record_in(folder)):
            self._tracker.keep(folder.id, path)
        self._tracker.use(folder.id, text.origin, text.key, text.file)
        self._tracker.log(folder.id, 0, text.figures)

    @contextmanager
    def _tracked(self, folder: StudyFolder, study: Study, parent: StudyFolder | None = None) -> Iterator[None]:
        """Opens the study's own run in the tracker, under which the others are nested."""
        tags = {"study": folder.name, "question": study.question, "commit": _commit()}
        self._tracker.begin(folder.id, folder.name, parent=parent.id if parent else None, tags=tags)
        try:
            self._tracker.keep(folder.id, folder.study)  # at the beginning, to learn whether files can be kept
            yield
        except BaseException:
            self._tracker.end(folder.id, "KILLED" if self._interruption.is_wanted else "FAILED")
            raise
        self._tracker.end(folder.id, "FINISHED")


def _run_on_tune(resources: Resources, storage: Storage, agenda: Agenda, listener: Listener, patience: Patience) -> None:
    """Runs the agenda with Ray Tune until it is finished."""
    run_one = partial(trainable, storage=storage, resources=resources)
    # Workers of Ray Train request their own cores, so the actor that starts them needs almost nothing.
    request = (
        {"node:__internal_head__": 0.001}
        if resources.uses_ray_train
        else {"cpu": resources.cpus_per_worker, "gpu": resources.gpus_per_worker}
    )
    storage.clear_executor()
    # By default Tune starts only a few actors at a time; here the searcher limits the number of runs.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "1000"
    tune.Tuner(
        tune.with_resources(run_one, request),
        tune_config=tune.TuneConfig(
            search_alg=AgendaSearcher(agenda, lambda: patience.places),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=tune.RunConfig(
            name="study",
            storage_path=storage.executor,
            callbacks=[listener],
            failure_config=tune.FailureConfig(max_failures=0),  # failed runs start again through the agenda
            verbose=0,
        ),
    ).fit()
    storage.clear_executor()


def _conclude(leaderboard: Leaderboard, folder: StudyFolder, agenda: Agenda, tracker: Tracker) -> None:
    """Writes the results of the study. The leaderboard is written last, because its file marks the study as finished."""
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
    write_whole(folder.report, leaderboard_markdown(leaderboard).encode())
    if leaderboard.fidelity:
        write_whole(folder.fidelity, leaderboard.fidelity.model_dump_json(indent=1).encode())
    if any(row.on_front for row in leaderboard.rows):
        from mtnat.lab.report.front_plot import draw_front  # matplotlib takes a second to import, and few studies need it

        draw_front(leaderboard, folder.pareto)
    if any(row.speed for row in leaderboard.rows):
        from mtnat.lab.report.speed_plot import draw_speed

        draw_speed(leaderboard, folder.speed)
    if leaderboard.analysis:
        _draw_analysis(leaderboard.analysis, folder)
    pictures = (folder.pareto, folder.speed, folder.similarity, folder.probing)
    for path in (folder.study, folder.report, folder.best_experiment, folder.fidelity, *pictures):
        if path.exists():
            tracker.keep(folder.id, path)
    tracker.tag(folder.id, {"answer": leaderboard.answer})
    write_whole(folder.leaderboard, leaderboard.model_dump_json(indent=1).encode())
    tracker.keep(folder.id, folder.leaderboard)


def _draw_analysis(analysis: EncoderAnalysis, folder: StudyFolder) -> None:
    """Draws the plots for which the analysis has figures."""
    from mtnat.lab.report.analysis_plots import draw_probing, draw_similarity

    if any(len(each.steps) > 1 for each in analysis.similarities):
        draw_similarity(analysis, folder.similarity)
    if analysis.tasks:
        draw_probing(analysis, folder.probing)


def _commit() -> str:
    """Returns the commit of this code; "unknown" outside of a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
