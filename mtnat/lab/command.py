"""``mtnat tune``, also ``python tune.py``: the command line of the study platform."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from mtnat.errors import NoAnswerError, SmokeError, UserError
from mtnat.files import disk_is_full, too_long_a_name
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.study.options import Options
from mtnat.process import permanent_imports, prepare_streams

PACKAGES = ("cmaes", "matplotlib", "mlflow", "optuna", "pyarrow", "ray", "scipy")
"""The packages of the extra ``study`` without which no study runs."""


DEFAULT_OUTPUTS = Path("outputs")


def default_address() -> str:
    """Returns the address of Ray that is used if none is given."""
    return os.environ.get("RAY_ADDRESS") or "local"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a study. Returns the exit code; see `run`."""
    prepare_streams()
    parser = argparse.ArgumentParser(
        prog="python tune.py", description="Runs the study in a YAML file and answers its question."
    )
    add(parser)
    return run(parser.parse_args(arguments))


def add(parser: argparse.ArgumentParser) -> None:
    """Adds the options of the command."""
    parser.add_argument(
        "study",
        type=Path,
        metavar="STUDY",
        help="a YAML file, or the name of a study of mtnat, such as quickstart or paper/table2-grammar",
    )
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--resume", action="store_true", help="continue a study that was interrupted")
    ways.add_argument(
        "--dry-run", action="store_true", help="show the trials, the runs and the estimated time, without starting anything"
    )
    ways.add_argument("--smoke", action="store_true", help="run the whole study with everything reduced, to test that it runs")
    parser.add_argument(
        "--outputs",
        type=Path,
        default=DEFAULT_OUTPUTS,
        metavar="FOLDER",
        help="folder in which the study's folder is created (default: outputs)",
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="of MLflow (default: $MLFLOW_TRACKING_URI, or mlflow.db in this folder)"
    )
    parser.add_argument(
        "--address",
        default=default_address(),
        help="of a running Ray cluster: auto or HOST:PORT (default: $RAY_ADDRESS, or local: this machine)",
    )
    parser.add_argument("--storage", metavar="URI", help="s3://…, gs://…, for machines without a shared folder")
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray")
    parser.set_defaults(command="mtnat.lab.command:run", program=parser.prog)


def run(options: argparse.Namespace) -> int:
    """Runs a study. Returns the exit code: 0, or 1 if all runs or a smoke run failed, 2 for bad input, 130 after Ctrl-C."""
    interruption = Interruption()
    _handle(_stop_at_once)
    how = None
    try:
        check_packages("tune")
        how = options_of(options)
        _run(how, interruption)
    except BaseException as error:
        code, words = ended_by(error, interruption, how)
        print(words, file=sys.stderr)
        if interruption.lost:
            sys.stdout.flush()
            os._exit(code)  # what Ray does at the end of the process would wait for its lost processes
        return code
    return 0


def check_packages(command: str) -> None:
    """Checks that the packages of the study platform are installed.

    Raises:
        UserError: one is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise UserError(f"{command}: needs {', '.join(missing)}; install the study platform: pip install 'mtnat[study]'.")


def _run(options: Options, interruption: Interruption) -> None:
    if options.address is None:
        # Despite its name, this variable makes Ray listen on the loopback interface only. Ray reads it when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with permanent_imports():
        from mtnat.console import OutputConsole
        from mtnat.lab.start import run_study

    _handle(interruption)
    run_study(options, OutputConsole(columns=140), interruption)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)


def _stop_at_once(number: int, frame: FrameType | None) -> None:
    """Ends the process while modules are imported, in which some of them print or replace a KeyboardInterrupt. Nothing has been
    started yet."""
    print("Stopped.", file=sys.stderr, flush=True)
    os._exit(130)


def ended_by(error: BaseException, interruption: Interruption, options: Options | None) -> tuple[int, str]:
    """Returns the exit code and the message for a study that did not finish; an unexpected error is raised again."""
    if interruption.lost:
        return 2, interruption.lost
    if interruption.is_wanted:  # libraries turn a KeyboardInterrupt into errors of their own
        if options is None or options.dry_run or options.smoke:
            return 130, "Stopped."
        return 130, f"Stopped; `{options.resume_command}` continues where it stopped."
    if disk_is_full(error):
        reason = str(error).removesuffix(".")
        return 2, f"{reason}; make room, then `{options.resume_command}` continues." if options else f"{reason}; make room."
    if message := too_long_a_name(error):
        return 2, message
    if isinstance(error, UserError):
        return 2, "\n".join(error.problems)
    if isinstance(error, SmokeError | NoAnswerError):
        return 1, str(error)
    raise error


def options_of(given: argparse.Namespace) -> Options:
    """Returns the options of the study platform.

    Raises:
        UserError: there is no such study.
    """
    from mtnat.lab.study.shipped import find_study  # its import takes a moment
    from mtnat.lab.tracking.address import without_password

    options = {name: value for name, value in vars(given).items() if name not in ("command", "program", "resumes_from")}
    options["address"] = None if given.address == "local" else given.address
    options["study"] = find_study(given.study)
    repeated = {
        "--outputs": str(given.outputs) if given.outputs != DEFAULT_OUTPUTS else None,
        # A password belongs into no output; an address without it fails with a sentence.
        "--tracking-uri": given.tracking_uri and without_password(given.tracking_uri),
        "--address": given.address if given.address != default_address() else None,
        "--storage": given.storage,
    }
    words = [word for name, value in repeated.items() if value for word in (name, value)]
    verbose = ["--verbose"] if given.verbose else []
    return Options(**options, command=(*given.program.split(), str(given.study), *words, *verbose))
