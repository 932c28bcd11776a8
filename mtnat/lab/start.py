"""Starts a study: reads its file, then shows, reduces or runs it, and prints the result."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import torch
from rich.console import Console

from mtnat.errors import ConfigError, NoAnswerError, SmokeError, StudyError
from mtnat.lab.cluster.connection import choose_temporary_folder, job_problems, ray_cluster
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.room import Room, wait_for_room
from mtnat.lab.driver.driver import Driver
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
from mtnat.lab.tracking.address import check_address, check_answers, chosen_uri, way_to_compare, without_password
from mtnat.lab.tracking.patient_tracker import PatientTracker

MLFLOW_EXPERIMENT, MLFLOW_SMOKE_EXPERIMENT = "mtnat", "mtnat smoke"


def run_study(options: Options, console: Console, interruption: Interruption) -> None:
    """Runs or resumes a study until it has its answer, and shows it.

    Raises:
        UserError: there is a problem with the file, the folder or the machine; nothing has been started.
        NoAnswerError: no run ended well.
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
    uri = chosen_uri(options.tracking_uri)
    check_address(uri)
    if problems := list(job_problems(options.outputs, uri)):
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
        records = not folder.is_finished or folder.unsent.exists()
        if records:  # what the study needs, before it is begun
            check_answers(uri)
            if is_local:
                choose_temporary_folder()
        folder.begin(study, resume=options.resume)
        if records:
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
        folder.clear_smoke()
        text = folder.path / "text"
        small = smoke(study, text, write_text(study, text))
        folder.begin(small, resume=False)
        console.print("smoke: every kind of run, with a few steps; the scores mean nothing", highlight=False)
        try:
            _run(small, folder, options, console, interruption)
        except StudyError as error:
            raise SmokeError(f"smoke: the study does not run: {error}") from None
        with suppress(NoAnswerError):  # the failures below say more
            _show(small, folder, options, console)
        failed = failures(small, folder)
    if failed:
        raise SmokeError("\n".join([f"smoke: runs failed, {len(failed)} of them:", *failed]))
    seconds = time.monotonic() - started
    console.print(f"\nsmoke: the whole study ran in {seconds:.0f} s; its scores mean nothing", highlight=False)


def _show(study: Study, folder: StudyFolder, options: Options, console: Console) -> None:
    """Shows the result of a finished study.

    Raises:
        NoAnswerError: no run of the study, or of one of its columns, ended well.
    """
    compare = way_to_compare(chosen_uri(options.tracking_uri))
    if study.columns:
        show_table(console, read_record(Table, folder.table), folder, compare)
        places = [folder.column(name) for name in study.columns]
    else:
        show_end(console, read_record(Leaderboard, folder.leaderboard), folder, compare)
        places = [folder]
    if unanswered := [place for place in places if read_record(Leaderboard, place.leaderboard).winner is None]:
        names = ", ".join(place.name for place in unanswered)
        raise NoAnswerError(f"{names}: no run ended well, so there is no answer; {unanswered[0].report} has the reasons.")


def _run(study: Study, folder: StudyFolder, options: Options, console: Console, interruption: Interruption) -> None:
    console.print(f"{study.question}", markup=False, highlight=False)
    # MLflow takes seconds to create its database, and Ray to start, so they do it at the same time.
    uri = chosen_uri(options.tracking_uri)
    with ThreadPoolExecutor(1) as background, ray_cluster(options, study.resources, interruption) as connection:
        experiment = MLFLOW_SMOKE_EXPERIMENT if options.smoke else MLFLOW_EXPERIMENT
        opening = background.submit(_open_tracker, uri, experiment, folder, partial(_say, console))
        minutes = study.resources.start_minutes if options.address else 0
        wait_for_room(study.resources, minutes, partial(console.print, highlight=False), interruption.check)
        room = Room(study.resources)
        tracker = opening.result()
        resends = folder.unsent.exists()
        driver = Driver(tracker, uri, options.storage, room, connection.reopen, console, interruption, resends=resends)
        if study.columns:
            driver.tabulate(study, folder)
        else:
            driver.answer(study, folder)
        if not tracker.settle():
            _say(console, f"MLflow lacks a part of this study; when it answers again, `{options.resume_command}` sends it.")


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _open_tracker(uri: str, experiment: str, folder: StudyFolder, say: Callable[[str], None]) -> PatientTracker:
    # These imports take seconds, during which Ray starts.
    from mtnat.lab.tracking.mlflow_tracker import is_refusal
    from mtnat.lab.tracking.opening import open_tracker

    tracker = open_tracker(uri, experiment)
    return PatientTracker(tracker, f"MLflow at {without_password(uri)}", folder.unsent, say, is_refusal=is_refusal)
