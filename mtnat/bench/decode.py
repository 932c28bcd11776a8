"""`bench decode`: measures the speed and the quality of a model with each of its searches."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Field

from mtnat.bench.device import device_name, wait_for
from mtnat.bench.picture import check_picture, draw
from mtnat.bench.product import Product
from mtnat.bench.report import Row
from mtnat.bench.searches import SearchSetting, name_of, searches_of
from mtnat.config import Record
from mtnat.data import Split
from mtnat.decoding import FallbackSearch, TranslatedLine
from mtnat.evaluation import Score, bleu
from mtnat.model import Precision, precision_name, resolve_precision
from mtnat.model.flops import ModelFlops
from mtnat.training import Model

_PRODUCT_ROWS = 4_096
_WARM_UP_LINES = 16
_WARM_UP_SINGLES = 3


class DecodeOptions(Record):
    """Options of `bench decode`."""

    model: str
    """Name of the model as given on the command line; used in the title of the plot."""
    sentences: int | None = Field(None, ge=1)
    """Number of sentences, from the first one; by default all."""
    latency_sentences: int = Field(100, ge=1)
    """Number of sentences that are also translated one at a time, at even spacing."""
    rounds: int = Field(1, ge=1)
    """Number of measurements of each setting, in turn; the median is reported."""
    precision: Precision | None = None
    """Precision of all settings. By default fp32, and for the presets `fast` and `fastest` that of the preset."""
    threads: int | None = Field(None, ge=1)
    """Threads of PyTorch; by default PyTorch's own choice."""
    picture: Path | None = None
    """File for a plot of quality against speed."""


@dataclass
class _Measured:
    """Figures of one setting, an item for each round."""

    seconds: list[float] = field(default_factory=list)
    """Time to translate all sentences."""
    latency_seconds: list[float] = field(default_factory=list)
    """Median time to translate a single sentence."""
    product_seconds: list[float] = field(default_factory=list)
    """Time of a matrix product, measured in between."""
    found: list[TranslatedLine] = field(default_factory=list)
    """The translations, which are equal in all rounds."""


def bench_decode(options: DecodeOptions, model: Model, test: Split, say: Callable[[str], None]) -> list[Row]:
    """Measures each search that the model supports and returns a row for each; draws the plot if requested.

    Args:
        test: the sentences to translate, with references for the score.
        say: receives progress messages, a line at a time.

    Raises:
        UserError: if the plot cannot be drawn.
    """
    if options.picture:
        check_picture(options.picture)
    test = Split(test.name, test.sources[: options.sentences], test.references[: options.sentences])
    settings = searches_of(model, options.precision)
    for decoder in ("at", "nat"):
        if decoder not in model.experiment.branches:
            say(f"the model has no {decoder.upper()} decoder; searches that need one are left out")
    with _threads(options.threads):
        bench = _Bench(model, test, settings, options.latency_sentences)
        measured = [_Measured() for _ in settings]
        # All settings are measured in turn, so that a change in the machine's speed affects all of them.
        for number in range(1, options.rounds + 1):
            for setting, so_far in zip(settings, measured, strict=True):
                bench.measure(setting, so_far)
                pace = f"{len(test.sources) / so_far.seconds[-1]:,.1f} sentences/s"
                latency = f"{so_far.latency_seconds[-1] * 1e3:,.1f} ms for one"
                say(f"round {number} of {options.rounds}: {name_of(setting.described)}: {pace}, {latency}")
        scores = [bleu([line.text for line in figures.found], test.references) for figures in measured]
        rows = [bench.row(*figures) for figures in zip(settings, measured, scores, strict=True)]
    say(f"BLEU on {test.name}: {scores[0].signature}")
    if options.picture:
        draw(rows, _title(options.model, test.name, rows), options.picture)
        say(f"picture: {options.picture}")
    return rows


class _Bench:
    """Measures settings on the same model and sentences."""

    def __init__(self, model: Model, test: Split, settings: Sequence[SearchSetting], latency_sentences: int) -> None:
        self._model, self._test = model, test
        self._device = model.translator.target_tokens.weight.device
        self._work = ModelFlops(model.experiment.model, len(model.vocabularies.target))
        self._products = {
            precision: Product(
                _PRODUCT_ROWS,
                model.experiment.model.width,
                len(model.vocabularies.target),
                precision=precision,
                device=self._device,
            )
            for precision in {self._precision(setting) for setting in settings}
        }
        count = min(latency_sentences, len(test.sources))
        self._singles = [test.sources[number * len(test.sources) // count] for number in range(count)]

    def measure(self, setting: SearchSetting, so_far: _Measured) -> None:
        """Measures one round: all sentences together, then some one at a time, with matrix products in between."""
        product = self._products[self._precision(setting)]
        products = [product.seconds()]
        # Warm up with the longest sentences, which need the most memory.
        self._timed(setting, sorted(self._test.sources, key=len)[-_WARM_UP_LINES:])
        seconds, so_far.found = self._timed(setting, self._test.sources)
        so_far.seconds.append(seconds)
        products.append(product.seconds())
        for line in self._singles[:_WARM_UP_SINGLES]:
            self._timed(setting, [line])
        so_far.latency_seconds.append(statistics.median(self._timed(setting, [line])[0] for line in self._singles))
        products.append(product.seconds())
        so_far.product_seconds.append(statistics.mean(products))

    def row(self, setting: SearchSetting, measured: _Measured, score: Score) -> Row:
        """Returns the figures of a setting over all rounds."""
        sentences, precision = len(self._test.sources), self._precision(setting)
        gflop = self._flops(setting, measured.found) / sentences / 1e9
        product_pace = self._products[precision].flops / statistics.median(measured.product_seconds)
        return {
            **setting.described,
            "precision": precision_name(precision),
            "sentences_per_second": round(sentences / statistics.median(measured.seconds), 2),
            "latency_ms": round(statistics.median(measured.latency_seconds) * 1e3, 2),
            "bleu": round(score.value, 2),
            "decoder_passes_mean": round(statistics.mean(line.translations[0].passes for line in measured.found), 3),
            "gflop_per_sentence": float(f"{gflop:.4g}"),
            "matmul_gflops": round(product_pace / 1e9, 1),
            "sentences": sentences,
            "device": device_name(self._device),
            "threads": torch.get_num_threads(),
        }

    def _precision(self, setting: SearchSetting) -> torch.dtype:
        return resolve_precision(setting.config.precision, self._device)

    def _timed(self, setting: SearchSetting, lines: Sequence[str]) -> tuple[float, list[TranslatedLine]]:
        """Translates lines; returns the seconds and the translations."""
        wait_for(self._device)
        started = time.perf_counter()
        found = self._model.translate(lines, setting.config, setting.decoder)
        wait_for(self._device)
        return time.perf_counter() - started, found

    def _flops(self, setting: SearchSetting, found: Sequence[TranslatedLine]) -> int:
        """Returns the operations of the model for all sentences. A line translated in parts counts as parts of equal length."""
        lengths = [
            (-(-line.pieces // line.parts), -(-len(best.tokens) // line.parts), best.passes, best.fallback_passes)
            for line in found
            for best in line.translations[:1] * line.parts
            if line.pieces  # an empty line needs no computation
        ]
        if not lengths:
            return 0
        source_B, pieces_B, passes_B, fallback_passes_B = torch.tensor(lengths).unbind(1)
        search = self._model.search(setting.config, setting.decoder)
        if isinstance(search, FallbackSearch):
            return search.flops(self._work, source_B + 1, pieces_B, passes_B, fallback_passes_B)
        return search.flops(self._work, source_B + 1, pieces_B, passes_B)


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _title(model: str, test: str, rows: Sequence[Row]) -> str:
    precisions = " and ".join(dict.fromkeys(str(row["precision"]) for row in rows))
    first = rows[0]
    threads = "1 thread" if first["threads"] == 1 else f"{first['threads']} threads"
    return f"{model}\n{test}\n{first['sentences']:,} sentences in batches; {precisions}, {first['device']}, {threads}"
