"""`bench data`: measures the time and memory of preparing a corpus, and the speed of loading batches."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mtnat.bench.children import in_child
from mtnat.bench.memory import FamilyPeak
from mtnat.bench.report import Row
from mtnat.bench.sizes import MULTI30K_FILES, require_files
from mtnat.bench.text import repeat_text, write_text
from mtnat.config import Record, build
from mtnat.data import BatchStream, DataConfig, EpochPlan, TokenStore, padding_share, prepare
from mtnat.data.corpus import SPLITS, open_raw_corpus
from mtnat.errors import MtnatError, UserError
from mtnat.experiment import Experiment
from mtnat.model import ModelConfig
from mtnat.tokens import SPECIAL
from mtnat.training import Alone, Feed

CORPORA: Mapping[str, Mapping[str, Any]] = {
    "multi30k": {**MULTI30K_FILES, "vocabulary_size": 8_000},
    "tatoeba": {
        "train": ["tatoeba_en_de/train.en.gz", "tatoeba_en_de/train.de.gz"],
        "valid": ["tatoeba_en_de/dev.en.gz", "tatoeba_en_de/dev.de.gz"],
        "test": ["tatoeba_en_de/test.en.gz", "tatoeba_en_de/test.de.gz"],
        "vocabulary_size": 8_000,
    },
    "grammar": {"corpus": "grammar-en-de", "vocabulary_size": 800},
}
"""Name of a corpus → `data` of an experiment."""
MAX_TOKENS = 4_096
MAX_TOKENS_OF_SHARES = (1_024, 2_048, 4_096, 8_192)
"""Batch sizes, in positions, for which the share of padding is reported."""

_SEED = 1
_OPENINGS = 5
_PLANS = 3
_FEED_SECONDS = 3.0
_WORKERS, _BATCHES_PER_STEP, _STEPS = 2, 4, 50
_PAIRS_FOR_A_PIECE = 2


class DataOptions(Record):
    """Options of `bench data`."""

    corpus: Literal["multi30k", "tatoeba", "grammar"] = "multi30k"
    """Corpus of the training text."""
    pairs: int | None = Field(None, ge=1_000)
    """Number of pairs; the text is repeated or truncated to it. By default, all pairs of the corpus."""


@dataclass(frozen=True)
class _Prepared:
    seconds: float
    peak_memory_bytes: int
    store: Path


def bench_data(options: DataOptions, say: Callable[[str], None]) -> Row:
    """Measures the preparation and the loading of a corpus and returns one row of figures.

    Args:
        say: receives progress messages, a line at a time.

    Raises:
        UserError: if the corpus is missing.
        MtnatError: if a measurement failed.
    """
    with tempfile.TemporaryDirectory(prefix="mtnat-bench-") as name:
        folder = Path(name)
        say(f"{options.corpus}: writing the text")
        config, pairs = _corpus_of(options, folder)
        try:
            say(f"{options.corpus}: preparing {pairs:,} pairs")
            prepared = in_child(_prepare, config, folder / "cache")
            say(f"{options.corpus}: reading batches")
            figures = in_child(_read, config, prepared.store)
        except UserError:
            raise
        except MtnatError as error:
            raise MtnatError(
                f"bench data: {options.corpus} was not measured, {error}; if memory ran out, use fewer --pairs."
            ) from None
    return {
        "corpus": options.corpus,
        "pairs": pairs,
        "prepare_seconds": round(prepared.seconds, 4),
        "pairs_per_second": round(pairs / prepared.seconds, 1),
        "peak_memory_bytes": prepared.peak_memory_bytes,
        **figures,
    }


def _corpus_of(options: DataOptions, folder: Path) -> tuple[DataConfig, int]:
    """Writes a corpus as text files into a folder; returns its settings and the number of training pairs."""
    data = CORPORA[options.corpus]
    require_files(data, "or take --corpus grammar, which needs no files")
    corpus = open_raw_corpus(build(DataConfig, data), folder / "cache-of-text")
    files = {split: (folder / f"{split}.source", folder / f"{split}.target") for split in SPLITS}
    lines = write_text(islice(corpus.pairs("train"), options.pairs), files["train"])
    pairs = options.pairs or lines
    for file in files["train"]:
        repeat_text(file, lines, pairs)
    for split in ("valid", "test"):
        write_text(corpus.pairs(split), files[split])
    # A short text does not support a large vocabulary.
    vocabulary_size = min(data["vocabulary_size"], pairs // _PAIRS_FOR_A_PIECE)
    settings: dict[str, object] = {split: [str(file) for file in pair] for split, pair in files.items()}
    return build(DataConfig, {**settings, "vocabulary_size": vocabulary_size}), pairs


def _prepare(config: DataConfig, cache: Path) -> _Prepared:
    """Measures the preparation of the text; runs in a child process."""
    with FamilyPeak() as peak:
        started = time.perf_counter()
        dataset = prepare(config, cache)
        seconds = time.perf_counter() - started
    return _Prepared(seconds, peak.bytes, dataset.train.folder)


def _read(config: DataConfig, folder: Path) -> Row:
    """Measures the loading of batches; runs in a child process."""
    store = TokenStore(folder)
    lengths_N2 = store.lengths_N2
    shares = {
        str(max_tokens): round(padding_share(lengths_N2, _plan(store, max_tokens)), 4) for max_tokens in MAX_TOKENS_OF_SHARES
    }
    batches, tokens, seconds = _feed_alone(config, store)
    return {
        "open_seconds": round(_median_seconds(lambda: TokenStore(folder), _OPENINGS), 6),
        "epoch_plan_seconds": round(_median_seconds(lambda: _plan(store, MAX_TOKENS), _PLANS), 4),
        "batches_per_second": round(batches / seconds, 1),
        "target_tokens_per_second": round(tokens / seconds, 1),
        "padding_share": shares[str(MAX_TOKENS)],
        "padding_shares": shares,
        "worker_imbalance": round(_imbalance(store), 4),
    }


def _feed_alone(config: DataConfig, store: TokenStore) -> tuple[int, int, float]:
    """Loads batches without training on them; returns their number, their target tokens and the seconds."""
    experiment = build(
        Experiment,
        {
            "data": config.model_dump(mode="json"),
            "objective": {"schedule": {"kind": "constant", "value": 0.5}},
            "training": {"max_tokens_per_batch": MAX_TOKENS},
            "seed": _SEED,
        },
    )
    batches = tokens = 0
    # Branches draw noise without their weights, so a small model does.
    small = experiment.model_copy(update={"model": ModelConfig(width=8, heads=1, feed_forward=8)})
    objective = small.build_objective(small.translator_of(len(SPECIAL), len(SPECIAL), joint=True))
    with Feed(experiment, objective, store, Alone()) as feed:
        feed.next()
        started = time.perf_counter()
        while (seconds := time.perf_counter() - started) < _FEED_SECONDS or not batches:
            work = feed.next()
            batches += len(work.draws)
            tokens += work.target_tokens
    return batches, tokens, seconds


def _imbalance(store: TokenStore) -> float:
    """Returns the ratio of the most target tokens of a worker to the mean over workers, averaged over `_STEPS` steps."""
    streams = [
        BatchStream(store, max_tokens=MAX_TOKENS, seed=_SEED, batches_per_step=_BATCHES_PER_STEP, rank=rank, workers=_WORKERS)
        for rank in range(_WORKERS)
    ]
    ratios = []
    for _ in range(_STEPS):
        tokens = [sum(batch.target_tokens for _, batch in stream.next_step()) for stream in streams]
        ratios.append(max(tokens) / statistics.mean(tokens))
    return statistics.mean(ratios)


def _plan(store: TokenStore, max_tokens: int) -> EpochPlan:
    return EpochPlan(store.lengths_N2, max_tokens=max_tokens, seed=_SEED, epoch=0)


def _median_seconds(act: Callable[[], object], times: int) -> float:
    def seconds() -> float:
        started = time.perf_counter()
        act()
        return time.perf_counter() - started

    return statistics.median(seconds() for _ in range(times))
