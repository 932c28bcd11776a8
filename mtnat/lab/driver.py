"""A study from its file to its answer."""

import logging
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import ray
import torch
from ray import tune
from rich.console import Console

from mtnat.config import replace, write_yaml
from mtnat.data import prepare
from mtnat.errors import ResourceError
from mtnat.evaluation import paired_bootstrap
from mtnat.lab.agenda import Agenda, Run
from mtnat.lab.console import TerminalScreen, show_end
from mtnat.lab.folder import StudyFolder, read_hypotheses
from mtnat.lab.interruption import Interruption
from mtnat.lab.leaderboard import Leaderboard, make_leaderboard, markdown
from mtnat.lab.listener import Listener
from mtnat.lab.models import default_uri
from mtnat.lab.options import Options
from mtnat.lab.proposals import OptunaProposer
from mtnat.lab.search import AgendaSearcher
from mtnat.lab.study import Resources, Study, cores, read_study, resource_problems
from mtnat.lab.tracking import Tracker
from mtnat.lab.trial import MOST_FAILURES, trainable
from mtnat.training.checkpoints import write_whole

MLFLOW_EXPERIMENT = "mtnat"


def run_study(options: Options, console: Console, interruption: Interruption) -> Leaderboard:
    """Runs a study, or goes on with it, until it has its answer.

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
        leaderboard = Leaderboard.model_validate_json(folder.leaderboard.read_bytes())
    show_end(console, leaderboard, folder.path, _mlflow_command(options))
    return leaderboard


def _run(study: Study, folder: StudyFolder, options: Options, console: Console, interruption: Interruption) -> None:
    started = time.monotonic()
    console.print(f"{study.question}", markup=False, highlight=False)
    # MLflow takes seconds to make its database, and Ray to start: they do so side by side.
    with ThreadPoolExecutor(1) as background, _ray(options) as cluster:
        opening = background.submit(_open_tracker, _tracking_uri(options))
        if problems := list(resource_problems(study.resources, cluster.get("CPU", 0), cluster.get("GPU", 0))):
            raise ResourceError(problems)
        most_at_once = _most_at_once(study.resources, cluster)
        proposer = OptunaProposer(study.space, folder.journal, seed=study.experiment.seed, trials=study.trials)
        agenda = Agenda(study, proposer, folder.results())
        tracker = opening.result()
        with _parent(tracker, folder, study), TerminalScreen(console, agenda, most_at_once) as screen:
            listener = Listener(agenda, folder, tracker, screen, interruption, _commit())
            listener.catch_up()
            try:
                _execute(study, folder, agenda, listener, most_at_once)
            except BaseException:
                listener.kill()
                raise
        _conclude(study, folder, agenda, tracker, time.monotonic() - started)


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
            failure_config=tune.FailureConfig(max_failures=MOST_FAILURES),
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(folder.executor, ignore_errors=True)


def _conclude(study: Study, folder: StudyFolder, agenda: Agenda, tracker: Tracker, seconds: float) -> None:
    """Writes what the study ended with; the leaderboard last, because it says that the study is finished."""
    test_set = study.experiment.data.corpus or " → ".join(study.experiment.data.test or ())
    leaderboard = make_leaderboard(folder.name, study, agenda, _comparer(study, folder), test_set, seconds)
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
    write_whole(folder.leaderboard, leaderboard.model_dump_json(indent=1).encode())
    for path in (folder.study, folder.report, folder.leaderboard, folder.best_experiment):
        if path.exists():
            tracker.keep(folder.id, path)
    tracker.tag(folder.id, {"answer": leaderboard.answer})


def _comparer(study: Study, folder: StudyFolder) -> Callable[[Run, Run], float]:
    """The paired bootstrap on two runs' translations of the test set."""

    @cache
    def references() -> tuple[str, ...]:
        return prepare(study.experiment.data).test.references

    def compare(run: Run, other: Run) -> float:
        system, baseline = (read_hypotheses(folder.run(one.id)) for one in (run, other))
        return paired_bootstrap(system, baseline, references()).p_value

    return compare


@contextmanager
def _parent(tracker: Tracker, folder: StudyFolder, study: Study) -> Iterator[None]:
    """The study's own run, under which the others are nested."""
    tracker.begin(folder.id, folder.name, tags={"study": folder.name, "question": study.question, "commit": _commit()})
    try:
        yield
    except BaseException as error:
        tracker.end(folder.id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    tracker.end(folder.id, "FINISHED")


@contextmanager
def _ray(options: Options) -> Iterator[dict[str, float]]:
    """Ray while the study runs, and the cluster's resources."""
    os.environ |= {
        # Actors are to find what the driver finds: the same folder, the same corpora.
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "MTNAT_DATA": str(Path(os.environ.get("MTNAT_DATA") or "data").absolute()),
        # Ray Train's controller, which starts inside a trial, lets workers report no more often than this.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        "RAY_AIR_NEW_OUTPUT": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": str(int(options.verbose)),
    }
    level = logging.INFO if options.verbose else logging.CRITICAL
    if options.address is None:
        ray.init(
            address="local",
            num_cpus=cores(),
            include_dashboard=False,
            log_to_driver=options.verbose,
            logging_level=level,
        )
    else:
        ray.init(address=options.address, log_to_driver=options.verbose, logging_level=level)
    logging.getLogger("ray").setLevel(level)
    try:
        yield ray.cluster_resources()  # type: ignore[no-untyped-call]
    finally:
        ray.shutdown()


def _most_at_once(resources: Resources, cluster: dict[str, float]) -> int:
    """How many runs the cluster holds side by side."""
    by_cpus = cluster.get("CPU", 0) // (resources.workers * resources.cpus_per_worker)
    gpus = resources.workers * resources.gpus_per_worker
    return max(1, int(min(by_cpus, cluster.get("GPU", 0) // gpus) if gpus else by_cpus))


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
