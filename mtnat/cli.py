"""``python -m mtnat``: one experiment at a time, without Ray, MLflow or Optuna."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mtnat import bench, training
from mtnat.config import Record, build, read_yaml, replace
from mtnat.data import prepare
from mtnat.errors import MtnatError, ResourceError, UserError
from mtnat.experiment import Experiment

Options = TypeVar("Options", bound=Record)

LINES_AT_ONCE = 1024
"""Lines of a stream that are sorted by length and translated together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, 1 where a run failed, 2 for bad input, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        exit_code: int = options.command(options)
    except UserError as error:
        print("\n".join(f"mtnat: {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except MtnatError as error:
        print(f"mtnat: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output has had enough; keep Python from complaining about it again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("mtnat: stopped; the same command goes on with a training from its last checkpoint.", file=sys.stderr)
        return 130
    return exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mtnat", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train one experiment, or go on with it")
    train.add_argument("experiment", type=Path, help="a YAML file, such as outputs/quickstart/best.yaml")
    train.add_argument("--output", type=Path, help="the run's folder (default: outputs/<name of the file>)")
    train.set_defaults(command=_train)

    translate = commands.add_parser("translate", help="translate lines from standard input, or of a file")
    translate.add_argument("input", type=Path, nargs="?", help="a text file, one sentence a line (default: standard input)")
    translate.add_argument("--model", type=Path, required=True, help="a model folder, such as outputs/quickstart/best")
    translate.add_argument("--output", type=Path, help="where to write (default: standard output)")
    translate.add_argument("--decoder", choices=["nat", "at"], help="another decoder than the experiment's")
    translate.add_argument("--iterations", type=int, help="passes of the NAT decoder")
    translate.add_argument("--length-candidates", type=int, help="target lengths tried by the NAT decoder")
    translate.add_argument("--beam", type=int, help="beam of the AT decoder; 1 is greedy")
    translate.set_defaults(command=_translate)
    _add_bench(commands.add_parser("bench", help="measure training or data on this machine"))
    return parser


def _add_bench(parser: argparse.ArgumentParser) -> None:
    """The measurements; left-out options have the defaults of their records."""
    subjects = parser.add_subparsers(required=True, metavar="SUBJECT")

    train = subjects.add_parser("train", help="what each system costs, and how well it uses the machine")
    train.add_argument("--size", choices=["small", "base", "tiny"], help="of model, batch and text (default: small)")
    train.add_argument("--steps", type=int, help="updates timed in each process (default: 8)")
    train.add_argument("--rounds", type=int, help="how often all systems are measured in turn (default: 2)")
    train.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="as training.precision (default: auto)")
    train.add_argument("--compile", action="store_true", help="as training.compile")
    train.add_argument("--threads", type=int, help="of each worker (default: all, or 1 with several workers)")
    train.add_argument("--workers", type=int, help="compare so many with one, on the same batches (default: 1)")
    train.add_argument("--random-text", action="store_true", help="needs no corpus: random tokens of similar lengths")
    train.set_defaults(command=_bench_train)

    data = subjects.add_parser("data", help="how long a corpus takes to prepare, and how fast batches come from it")
    data.add_argument("--corpus", choices=["multi30k", "tatoeba", "grammar"], help="whose text (default: multi30k)")
    data.add_argument("--pairs", type=int, help="the text repeated or cut off (default: as it is)")
    data.set_defaults(command=_bench_data)

    for subject in (train, data):
        subject.add_argument("--json", action="store_true", help="a line of JSON for each row instead of a table")


def _train(options: argparse.Namespace) -> int:
    experiment = build(Experiment, read_yaml(options.experiment))
    folder = options.output or Path("outputs") / options.experiment.stem
    dataset = prepare(experiment.data)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written ({error.strerror}); give another folder with --output.") from None
    workers = _workers()
    console = Console(stderr=True, quiet=not workers.leads)
    console.print(f"{len(dataset.train):,} training pairs, {dataset.left_out:,} left out; writing to {folder}", highlight=False)
    for progress in _shown(training.fit(experiment, dataset, folder, workers=workers), experiment, console):
        if progress.finished and workers.leads:
            print(f"valid BLEU {progress.metrics['final/valid_bleu']:.2f}")
            print(f"python -m mtnat translate --model {folder / 'model'} < input.txt")
    return 0


def _workers() -> training.Workers:
    """This process, or its place in the group that torchrun started."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return training.Alone()
    device = training.default_device(int(os.environ["LOCAL_RANK"]))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return training.Distributed(device)


def _shown(points: Iterator[training.Progress], experiment: Experiment, console: Console) -> Iterator[training.Progress]:
    """Passes the points on, a bar on a terminal, and a line for each validation everywhere."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=experiment.training.steps, state="")
        for point in points:
            metrics = point.metrics
            if "train/loss" in metrics:
                state = "loss {train/loss:.3f}, λ {train/lambda:.2f}, {train/tokens_per_second:,.0f} tokens/s".format(**metrics)
                bar.update(task, completed=point.step, state=state)
                if "valid/bleu" in metrics or not console.is_terminal:
                    valid = f", valid BLEU {metrics['valid/bleu']:.2f}" if "valid/bleu" in metrics else ""
                    bar.console.print(f"step {point.step:,} of {point.total_steps:,}: {state}{valid}", highlight=False)
            yield point


def _translate(options: argparse.Namespace) -> int:
    model = training.load_model(options.model, training.default_device())
    named = {"iterations": options.iterations, "length_candidates": options.length_candidates, "beam": options.beam}
    decoding = replace(model.experiment.decoding, {name: value for name, value in named.items() if value is not None})
    objective = model.experiment.objective
    if (options.decoder == "at" and not objective.trains_at) or (options.decoder == "nat" and not objective.trains_nat):
        raise UserError(f"--decoder {options.decoder}: {options.model} was trained without that decoder; leave the option out.")
    try:
        source = options.input.open("rb") if options.input else sys.stdin.buffer
        sink = options.output.open("wb") if options.output else sys.stdout.buffer
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be opened ({error.strerror}); give another path.") from None
    with source, sink:
        # Bytes, so that only "\n" ends a line, and a broken character is replaced instead of ending the stream.
        lines = (line.decode("utf-8", errors="replace").rstrip("\r\n") for line in source)
        while chunk := list(islice(lines, LINES_AT_ONCE)):
            sink.write("".join(f"{line}\n" for line in model.translate(chunk, decoding, options.decoder)).encode())
            sink.flush()
    return 0


def _bench_train(options: argparse.Namespace) -> int:
    with _noting() as note:
        bench.show(bench.bench_train(_given(bench.TrainOptions, options), note), as_json=options.json)
    return 0


def _bench_data(options: argparse.Namespace) -> int:
    with _noting() as note:
        bench.show([bench.bench_data(_given(bench.DataOptions, options), note)], as_json=options.json)
    return 0


def _given(record_type: type[Options], options: argparse.Namespace) -> Options:
    """A record of the options that were given."""
    given = {name: getattr(options, name) for name in record_type.model_fields}
    return build(record_type, {name: value for name, value in given.items() if value is not None})


@contextmanager
def _noting() -> Iterator[Callable[[str], None]]:
    """Notes on standard error; a measurement that is ended from outside cleans up as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield lambda note: Console(stderr=True).print(note, markup=False, highlight=False, soft_wrap=True)
    finally:
        signal.signal(signal.SIGTERM, before)
