"""``python -m mtnat bench``: measurements."""

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from mtnat import bench
from mtnat.cli.model import MODEL_HELP, open_model
from mtnat.cli.testset import add_test_set, named_test_set, own_test_set
from mtnat.config import Record, build, read_value

Options = TypeVar("Options", bound=Record)


def add(parser: argparse.ArgumentParser) -> None:
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

    decode = subjects.add_parser("decode", help="how fast one model translates with each of its searches, and how well")
    decode.add_argument("--model", required=True, help=MODEL_HELP)
    add_test_set(decode)
    decode.add_argument("--sentences", type=int, metavar="N", help="only the first N (default: all)")
    decode.add_argument("--latency-sentences", type=int, metavar="N", help="also translated one at a time (default: 100)")
    decode.add_argument("--rounds", type=int, help="how often all systems are measured in turn (default: 1)")
    decode.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16", "fp16"],
        help="of all systems (default: fp32, and of the fast presets their own)",
    )
    decode.add_argument("--threads", type=int, help="of PyTorch (default: its own choice)")
    decode.add_argument("--picture", type=Path, metavar="FILE", help="draw quality against speed: .png, .svg or .pdf")
    decode.set_defaults(command=_bench_decode)

    study = subjects.add_parser("study", help="what the platform adds to the training of a study's trials")
    study.add_argument("--trials", type=int, help="proposals of the study (default: 12)")
    study.add_argument("--seconds", type=float, help="how long each trains; 0 for next to no time (default: 30)")
    study.add_argument(
        "--simulate",
        nargs="+",
        metavar="NAME=NUMBER",
        help="instead, a study whose training is made up: trials=10000 workers=1000, minutes of a run, points on its curves",
    )
    study.set_defaults(command=_bench_study)

    for subject in (train, data, decode, study):
        subject.add_argument("--json", action="store_true", help="a line of JSON for each row instead of a table")


def _bench_train(options: argparse.Namespace) -> int:
    with _noting() as note:
        bench.show(bench.bench_train(_given(bench.TrainOptions, options), note), as_json=options.json)
    return 0


def _bench_data(options: argparse.Namespace) -> int:
    with _noting() as note:
        bench.show([bench.bench_data(_given(bench.DataOptions, options), note)], as_json=options.json)
    return 0


def _bench_decode(options: argparse.Namespace) -> int:
    given = _given(bench.DecodeOptions, options)
    test = named_test_set(options)
    with _noting() as note:
        model = open_model(options.model)
        rows = bench.bench_decode(given, model, test or own_test_set(model, options.split or "test"), note)
    bench.show(rows if options.json else [bench.named(row) for row in rows], as_json=options.json)
    return 0


def _bench_study(options: argparse.Namespace) -> int:
    # Their import takes seconds, and needs mtnat[study].
    from mtnat.lab.bench import StudyBenchOptions, bench_study
    from mtnat.lab.simulation import SimulationOptions, simulate

    with _noting() as note:
        if options.simulate:
            made_up = dict(text.partition("=")[::2] for text in options.simulate)
            numbers = {name: read_value(text, f"--simulate {name}") for name, text in made_up.items()}
            simulated = build(SimulationOptions, numbers, "--simulate")
            rows = [figures.model_dump() for figures in simulate(simulated, note)]
        else:
            rows = [bench_study(_given(StudyBenchOptions, options), note).model_dump()]
        bench.show(rows, as_json=options.json)
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
