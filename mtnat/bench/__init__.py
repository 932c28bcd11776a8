"""Measurements: what training costs, and what data costs."""

from mtnat.bench.data import DataOptions, bench_data
from mtnat.bench.report import show
from mtnat.bench.train import TrainOptions, bench_train

__all__ = ["DataOptions", "TrainOptions", "bench_data", "bench_train", "show"]
