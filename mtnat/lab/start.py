"""Starts a study: reads its file, then shows, reduces or runs it, and prints the result."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from mtnat.errors import ConfigError, SmokeError, StudyError
from mtnat.lab.cluster.connection import job_problems, ray_cluster, reconnect
from mtnat.lab.cluster.room import Room, wait_for_room
from mtnat.lab.driver.driver import Driver
from mtnat.lab.driver.interruption import Interruption
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.outputs.storage import open_uri
from mtnat.lab.rehearsal.dry_run import dry_run
from mtnat.lab.rehearsal.smoke import failures, smoke, write_text
from mtnat.lab.report.terminal import show_end, show_table
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table
from mtnat.lab.study.options import Options
from mtnat.lab.study.reading import read_study
from mtnat.lab.study.record import WRITERS, Study
from mtnat.lab.study.resources import cores
from mtnat.lab.tracking.models import default_uri
from mtnat.lab.tracking.tracker import Tracker
from mtnat.process import typed

MLFLOW_EXPERIMENT, MLFLOW_SMOKE_EXPERIMENT = "mtnat", "mtnat smoke"


def run_study(options: Options, console: Console, interruption: Interruption) -> None:
    """Runs or resumes a study until it has its answer, and shows it.

    Raises:
        UserError: there is a problem with the file, the folder or the machine; nothing has been started.
        KeyboardInterrupt: the study was stopped; it can be resumed.
    """
    is_local = options.address is None
    cpus, gpus = (cores(), torch.cuda.device_count()) if is_local else (None, None)
    folder = StudyFolder(options.outputs / options.study.stem)
    if not (options.dry_run or options.smoke):  # they do not read this folder
        folder.check_format()
    study = read_study(options.study, cpus, gpus, is_begun=options.resume and folder.study.exists())
    if options.dry_run:
        dry_run(study, options, console)
        return
    if problems := list(job_problems(options.outputs, _tracking_uri(options))):
        raise ConfigError(problems)
    if options.storage:
        open_uri(options.storage)
        if parts := " and ".join(part for part in WRITERS if getattr(study, part)):
            raise ConfigError(
                f"--storage: a study with a {parts} needs --outputs on a folder that all machines see; drop --storage."
            )
    if options.smoke:
        _smoke(study, options, console, interruption)
        return
    with folder.held():
        folder.begin(study, resume=options.resume)
        if not folder.is_finished:
            _run(study, folder, options, console, interruption)
        _show(study, folder, options, console)


def _smoke(study: Study, options: Options, console: Console, interruption: Interruption) -> None:
    """Runs a reduced copy of the study in a separate folder, which is emptied first.

    Raises:
        SmokeError: the study does not run.
    """
    started = time.monotonic()
    folder = StudyFolder(options.outputs / f"{options.study.stem}-smoke")
    with folder.held():
        folder.clear()
        text = folder.path / "text"
        small = smoke(study, text, write_text(study, text))
        folder.begin(small, resume=False)
        console.print("smoke: every kind of run, with a few steps; the scores mean nothing", highlight=False)
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
    """Shows the result of a finished study."""
    if study.columns:
        show_table(console, read_record(Table, folder.table), folder, _mlflow_command(options))
    else:
        leaderboard = read_record(Leaderboard, folder.leaderboard)
        show_end(console, leaderboard, folder, _mlflow_command(options))


def _run(study: Study, folder: StudyFolder, options: Options, console: Console, interruption: Interruption) -> None:
    console.print(f"{study.question}", markup=False, highlight=False)
    # MLflow takes seconds to create its database, and Ray to start, so they do it at the same time.
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


def _tracking_uri(options: Options) -> str:
    return options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def _mlflow_command(options: Options) -> str:
    """Returns the command that shows the study's runs."""
    uri = _tracking_uri(options)
    is_found_by_default = uri == default_uri() and not options.tracking_uri
    return f"{typed('mlflow')} ui" + ("" if is_found_by_default else f" --backend-store-uri {uri}")


def _open_tracker(uri: str, experiment: str) -> Tracker:
    from mtnat.lab.tracking.mlflow_tracker import MlflowTracker  # its import takes seconds, during which Ray starts

    return MlflowTracker(uri, experiment, _beside(uri))


def _beside(uri: str) -> str | None:
    """Returns the URI of the artifacts beside a database. A server has its own, and MLflow's default for a database is relative
    to the current folder of each process."""
    database = uri.removeprefix("sqlite:///")
    return (Path(database).absolute().parent / "mlartifacts").as_uri() if database != uri else None
