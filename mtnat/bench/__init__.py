"""Measurements of the speed and memory of training, of data loading and of translation, and of the marks of a study."""

from mtnat.bench.data import DataOptions, bench_data
from mtnat.bench.decode import DecodeOptions, bench_decode
from mtnat.bench.report import show
from mtnat.bench.searches import named
from mtnat.bench.significance import SignificanceOptions, bench_significance
from mtnat.bench.train import TrainOptions, bench_train

__all__ = [
    "DataOptions",
    "DecodeOptions",
    "SignificanceOptions",
    "TrainOptions",
    "bench_data",
    "bench_decode",
    "bench_significance",
    "bench_train",
    "named",
    "show",
]
