"""`bench decode`: how fast one model translates with each of its searches, and how well."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from pydantic import Field

from mtnat.bench.device import device_name, wait_for
from mtnat.bench.flops import ModelWork
from mtnat.bench.picture import check_picture, draw
from mtnat.bench.product import Product
from mtnat.bench.report import Row
from mtnat.bench.systems import System, name_of, systems_of
from mtnat.config import Record
from mtnat.data import Split
from mtnat.decoding import TranslatedLine
from mtnat.evaluation import Score, bleu
from mtnat.model import Precision, precision_name, resolve_precision
from mtnat.training import Model

_PRODUCT_ROWS = 4_096
_WARM_UP_LINES = 16
_WARM_UP_SINGLES = 3


class DecodeOptions(Record):
    """What `bench decode` measures, and how long."""

    model: str
    """As the command line was given it; for the picture's title."""
    sentences: int | None = Field(None, ge=1)
    """How many, the first ones; by default all."""
    latency_sentences: int = Field(100, ge=1)
    """How many are also translated one at a time, evenly spread over the others."""
    rounds: int = Field(1, ge=1)
    """How often all systems are measured in turn; a median is taken."""
    precision: Precision | None = None
    """Of all systems; by default fp32, and of the presets `fast` and `fastest` their own."""
    threads: int | None = Field(None, ge=1)
    """By default what PyTorch takes."""
    picture: Path | None = None
    """Where to draw quality against speed."""


@dataclass
class _Measured:
    """One system's figures, an item for each round."""

    seconds: list[float] = field(default_factory=list)
    """Of all sentences."""
    latency_seconds: list[float] = field(default_factory=list)
    """The median of single sentences."""
    product_seconds: list[float] = field(default_factory=list)
    """Of a matrix product in the meantime."""
    found: list[TranslatedLine] = field(default_factory=list)
    """The same in every round."""


def bench_decode(options: DecodeOptions, model: Model, test: Split, say: Callable[[str], None]) -> list[Row]:
    """A row for each search that the model can do; draws the picture if there is to be one.

    Args:
        test: what is translated, and scored against its references.
        say: is told what goes on, a line at a time.

    Raises:
        UserError: the picture cannot be drawn.
    """
    if options.picture:
        check_picture(options.picture)
    test = Split(test.name, test.sources[: options.sentences], test.references[: options.sentences])
    systems = systems_of(model.experiment, options.precision)
    objective = model.experiment.objective
    for decoder, is_there in (("AT", objective.trains_at), ("NAT", objective.trains_nat)):
        if not is_there:
            say(f"the model has no {decoder} decoder; what needs one is left out")
    with _threads(options.threads):
        bench = _Bench(model, test, systems, options.latency_sentences)
        measured = [_Measured() for _ in systems]
        # In turn, so that a machine that grows slower does so for all of them.
        for number in range(1, options.rounds + 1):
            for system, so_far in zip(systems, measured, strict=True):
                bench.measure(system, so_far)
                pace = f"{len(test.sources) / so_far.seconds[-1]:,.1f} sentences/s"
                latency = f"{so_far.latency_seconds[-1] * 1e3:,.1f} ms for one"
                say(f"round {number} of {options.rounds}: {name_of(system.described)}: {pace}, {latency}")
        scores = [bleu([line.text for line in figures.found], test.references) for figures in measured]
        rows = [bench.row(*figures) for figures in zip(systems, measured, scores, strict=True)]
    say(f"BLEU on {test.name}: {scores[0].signature}")
    if options.picture:
        draw(rows, _title(options.model, test.name, rows), options.picture)
        say(f"picture: {options.picture}")
    return rows


class _Bench:
    """Measures one system after the other on the same model and sentences."""

    def __init__(self, model: Model, test: Split, systems: Sequence[System], latency_sentences: int) -> None:
        self._model, self._test = model, test
        self._device = model.translator.target_tokens.weight.device
        self._work = ModelWork(model.experiment.model, len(model.vocabularies.target))
        self._products = {
            precision: Product(
                _PRODUCT_ROWS,
                model.experiment.model.width,
                len(model.vocabularies.target),
                precision=precision,
                device=self._device,
            )
            for precision in {self._precision(system) for system in systems}
        }
        count = min(latency_sentences, len(test.sources))
        self._singles = [test.sources[number * len(test.sources) // count] for number in range(count)]

    def measure(self, system: System, so_far: _Measured) -> None:
        """One round: all sentences, then some of them one at a time; a product before, between and after."""
        product = self._products[self._precision(system)]
        products = [product.seconds()]
        # The longest, which need the most memory.
        self._timed(system, sorted(self._test.sources, key=len)[-_WARM_UP_LINES:])
        seconds, so_far.found = self._timed(system, self._test.sources)
        so_far.seconds.append(seconds)
        products.append(product.seconds())
        for line in self._singles[:_WARM_UP_SINGLES]:
            self._timed(system, [line])
        so_far.latency_seconds.append(statistics.median(self._timed(system, [line])[0] for line in self._singles))
        products.append(product.seconds())
        so_far.product_seconds.append(statistics.mean(products))

    def row(self, system: System, measured: _Measured, score: Score) -> Row:
        """All rounds of a system."""
        sentences, precision = len(self._test.sources), self._precision(system)
        gflop = self._flops(system, measured.found) / sentences / 1e9
        product_pace = self._products[precision].flops / statistics.median(measured.product_seconds)
        return {
            **system.described,
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

    def _precision(self, system: System) -> torch.dtype:
        return resolve_precision(system.config.precision, self._device)

    def _timed(self, system: System, lines: Sequence[str]) -> tuple[float, list[TranslatedLine]]:
        """Seconds from lines to lines, and what became of them."""
        wait_for(self._device)
        started = time.perf_counter()
        found = self._model.translate(lines, system.config, system.decoder)
        wait_for(self._device)
        return time.perf_counter() - started, found

    def _flops(self, system: System, found: Sequence[TranslatedLine]) -> int:
        """The model's own work for all sentences; one that was translated in parts counts as that many equal ones."""
        lengths = [
            (-(-line.pieces // line.parts), -(-len(best.tokens) // line.parts), best.passes)
            for line in found
            for best in line.translations[:1] * line.parts
            if line.pieces  # nothing is computed for an empty line
        ]
        if not lengths:
            return 0
        source_B, pieces_B, passes_B = torch.tensor(lengths).unbind(1)
        if system.decoder == "at":
            return self._work.beam_search(source_B + 1, passes_B, system.config.beam)
        return self._work.mask_predict(source_B + 1, pieces_B, passes_B, system.config)


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
