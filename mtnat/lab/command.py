"""``python tune.py``: the command line of the study platform."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from mtnat.errors import SmokeError, UserError
from mtnat.lab.driver.interruption import Interruption
from mtnat.lab.study.options import Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a study. Returns the exit code: 0, or 1 for a smoke run with a failure, 2 for bad input, 130 after Ctrl-C."""
    options = _options(arguments)
    if options.address is None:
        # Despite its name, this variable makes Ray listen on the loopback interface only. Ray reads it when it is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from mtnat.lab.start import run_study

    interruption = Interruption()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interruption)
    try:
        # A file or a pipe has no width, and the leaderboard needs one.
        run_study(options, Console(width=None if sys.stdout.isatty() else 140), interruption)
    except BaseException as error:
        code, words = ended_by(error, interruption, options)
        print(words, file=sys.stderr)
        return code
    return 0


def ended_by(error: BaseException, interruption: Interruption, options: Options) -> tuple[int, str]:
    """Returns the exit code and the message for a study that did not finish; an unexpected error is raised again."""
    if interruption.is_wanted:  # libraries turn a KeyboardInterrupt into errors of their own
        if options.dry_run or options.smoke:
            return 130, "Stopped."
        return 130, f"Stopped; `python tune.py {options.study} --resume` continues where it stopped."
    if isinstance(error, UserError):
        return 2, "\n".join(error.problems)
    if isinstance(error, SmokeError):
        return 1, str(error)
    raise error


def _options(arguments: Sequence[str] | None) -> Options:
    parser = argparse.ArgumentParser(
        prog="python tune.py", description="Runs the study in a YAML file and answers its question."
    )
    parser.add_argument("study", type=Path, metavar="STUDY", help="a YAML file, such as studies/quickstart.yaml")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--resume", action="store_true", help="continue a study that was interrupted")
    ways.add_argument(
        "--dry-run", action="store_true", help="show the trials, the runs and the estimated time, without starting anything"
    )
    ways.add_argument("--smoke", action="store_true", help="run the whole study with everything reduced, to test that it runs")
    parser.add_argument(
        "--outputs", type=Path, default=Path("outputs"), help="folder in which the study's folder is created (default: outputs)"
    )
    parser.add_argument("--tracking-uri", help="of MLflow (default: $MLFLOW_TRACKING_URI, or mlflow.db in this folder)")
    parser.add_argument(
        "--address",
        default=os.environ.get("RAY_ADDRESS") or "local",
        help="of a running Ray cluster: auto or HOST:PORT (default: $RAY_ADDRESS, or local: this machine)",
    )
    parser.add_argument("--storage", metavar="URI", help="s3://…, gs://…, for machines without a shared folder")
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray")
    options = Options(**vars(parser.parse_args(arguments)))
    return replace(options, address=None) if options.address == "local" else options
