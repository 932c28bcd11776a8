"""``mtnat bench``: measurements."""

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console

from mtnat import bench
from mtnat.cli.testset import named_test_set, own_test_set
from mtnat.config import Record, build, read_value
from mtnat.lab.command import check_packages
from mtnat.lab.tracking.models import open_model

Options = TypeVar("Options", bound=Record)


def train(options: argparse.Namespace) -> int:
    """Measures training."""
    with _notes() as note:
        bench.show(bench.bench_train(_given(bench.TrainOptions, options), note), as_json=options.json)
    return 0


def data(options: argparse.Namespace) -> int:
    """Measures the preparation of a corpus and the loading of batches."""
    with _notes() as note:
        bench.show([bench.bench_data(_given(bench.DataOptions, options), note)], as_json=options.json)
    return 0


def decode(options: argparse.Namespace) -> int:
    """Measures the searches of a model."""
    given = _given(bench.DecodeOptions, options)
    test = named_test_set(options)
    with _notes() as note:
        model = open_model(options.model)
        rows = bench.bench_decode(given, model, test or own_test_set(model, options.split or "test"), note)
    bench.show(rows if options.json else [bench.named(row) for row in rows], as_json=options.json)
    return 0


def study(options: argparse.Namespace) -> int:
    """Measures, or simulates, the study platform."""
    check_packages("bench study")
    # Imported after the check, because they need these packages.
    from mtnat.lab.overhead.measured import StudyBenchOptions, bench_study
    from mtnat.lab.overhead.simulated import SimulationOptions, simulate

    with _notes() as note:
        if options.simulate:
            made_up = dict(text.partition("=")[::2] for text in options.simulate)
            numbers = {name: read_value(text, f"--simulate {name}") for name, text in made_up.items()}
            simulated = build(SimulationOptions, numbers, "--simulate")
            rows = [figures.model_dump() for figures in simulate(simulated, note)]
        else:
            rows = [bench_study(_given(StudyBenchOptions, options), note).model_dump()]
        bench.show(rows, as_json=options.json)
    return 0


def significance(options: argparse.Namespace) -> int:
    """Simulates the marks of studies."""
    with _notes() as note:
        bench.show(bench.bench_significance(_given(bench.SignificanceOptions, options), note), as_json=options.json)
    return 0


def _given(record_type: type[Options], options: argparse.Namespace) -> Options:
    """Builds a record from the options that were given."""
    given = {name: getattr(options, name) for name in record_type.model_fields}
    return build(record_type, {name: value for name, value in given.items() if value is not None})


@contextmanager
def _notes() -> Iterator[Callable[[str], None]]:
    """Yields a function that prints a note on standard error.

    Meanwhile SIGTERM acts like Ctrl-C, so that a measurement that is terminated ends its child processes.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield lambda note: Console(stderr=True).print(note, markup=False, highlight=False, soft_wrap=True)
    finally:
        signal.signal(signal.SIGTERM, before)
