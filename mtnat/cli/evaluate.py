"""``mtnat evaluate``: scores a model on a test set, or compares two models."""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtnat.cli.model import decoding_of
from mtnat.cli.testset import named_test_set, own_test_set, target_language
from mtnat.console import OutputConsole
from mtnat.data import Split
from mtnat.data.training_text import text_files
from mtnat.decoding import DecoderName, Decoding
from mtnat.errors import UserError
from mtnat.evaluation import Comparison, LengthBucket, MetricName, Score, paired_bootstrap
from mtnat.evaluation.measures import NEAR_PIECES
from mtnat.evaluation.tokenized import check_tokenizer, tokenized_bleu
from mtnat.files import check_not_an_input, check_writable, write_whole
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model
from mtnat.training.evaluation import Evaluation, evaluate

SAMPLES = 1000
"""Number of resamples of the paired bootstrap."""
_METRICS: Mapping[MetricName, str] = {"bleu": "BLEU", "chrf": "chrF", "ter": "TER, lower is better"}
_TOKENIZED: Mapping[str, str] = {"tokenized_bleu": "tokenized BLEU", "tokenized_bleu_lowercase": "tokenized, lower-cased"}


@dataclass(frozen=True)
class _System:
    name: str
    model: Model
    decoding: Decoding
    decoder: DecoderName


def run(options: argparse.Namespace) -> int:
    """Scores one model or compares two."""
    split = named_test_set(options, languages_alone=options.tokenized)
    names = [options.model, options.against] if options.against else [options.model]
    systems = [_opened(name, options) for name in names]
    split = split or own_test_set(systems[0].model, options.split or "test")
    language = target_language(options, systems[0].model) if options.tokenized else None
    if language:
        check_tokenizer(language)
    if options.output:
        given = [path for path in (options.source, options.reference) if path]
        check_not_an_input("--output", options.output, given or text_files(systems[0].model.experiment.data))
        check_writable("--output", options.output)
    evaluations = [_evaluated(system, split) for system in systems]
    if options.output:
        _write(options.output, evaluations[0].translations)
    comparisons = _compared(evaluations, split) if options.against else {}
    tokenized = [_tokenized(evaluation, split, language) for evaluation in evaluations] if language else []
    if options.json:
        print(json.dumps(_record(names, evaluations, tokenized, comparisons, split)))
    else:
        _show(names, evaluations, tokenized, comparisons, split)
    return 0


def _opened(name: str, options: argparse.Namespace) -> _System:
    """Opens a model with the requested decoder and settings, and checks them by translating no lines."""
    model = open_model(name)
    try:
        decoding, decoder = decoding_of(options, model)
        model.translate([], decoding, decoder)
    except UserError as error:
        if not options.against:
            raise
        raise UserError(f"{name}: {problem}" for problem in error.problems) from None
    return _System(name, model, decoding, decoder)


def _evaluated(system: _System, split: Split) -> Evaluation:
    with _status(f"translating {len(split.sources):,} sentences with {system.name}"):
        return evaluate(system.model, split.sources, split.references, system.decoding, system.decoder)


def _compared(evaluations: Sequence[Evaluation], split: Split) -> dict[MetricName, Comparison]:
    system, baseline = (evaluation.translations for evaluation in evaluations)
    texts = (system, baseline, split.references)
    with _status("resampling the test set"):
        return {metric: paired_bootstrap(*texts, metric=metric, samples=SAMPLES) for metric in _METRICS}


def _tokenized(evaluation: Evaluation, split: Split, language: str) -> dict[str, Score]:
    """Returns the scores that `--tokenized` adds, by their names in JSON."""
    texts = (evaluation.translations, split.references, language)
    return {name: tokenized_bleu(*texts, lowercase=name != "tokenized_bleu") for name in _TOKENIZED}


def _status(text: str) -> AbstractContextManager[object]:
    """Shows a status line on standard error while the context is open, on a terminal only."""
    notes = Console(stderr=True)
    return notes.status(Text(text)) if notes.is_terminal else nullcontext()


def _write(path: Path, lines: Sequence[str]) -> None:
    try:
        write_whole(path, "".join(f"{line}\n" for line in lines).encode())
    except OSError as error:
        raise UserError(f"--output {path}: cannot be written ({error.strerror}); give another path.") from None


def _record(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    tokenized: Sequence[Mapping[str, Score]],
    comparisons: Mapping[MetricName, Comparison],
    split: Split,
) -> dict[str, Any]:
    """Returns all figures as the JSON object."""
    record: dict[str, Any] = {"test_set": split.name, "sentences": len(split.sources)}
    for key, name, evaluation in zip(("model", "against"), names, evaluations, strict=False):
        figures = dataclasses.asdict(evaluation)
        del figures["translations"]
        record[key] = {"name": name, **figures, "decoding": evaluation.decoding.model_dump(mode="json", exclude={"decoder"})}
    for key, scores in zip(("model", "against"), tokenized, strict=False):
        record[key] |= {name: dataclasses.asdict(score) for name, score in scores.items()}
    if comparisons:
        record["comparison"] = {
            metric: {
                "difference": comparison.difference,
                "low": comparison.low,
                "high": comparison.high,
                "p_value": comparison.p_value,
            }
            for metric, comparison in comparisons.items()
        }
    return record


def _show(
    names: Sequence[str],
    evaluations: Sequence[Evaluation],
    tokenized: Sequence[Mapping[str, Score]],
    comparisons: Mapping[MetricName, Comparison],
    split: Split,
) -> None:
    """Prints all figures as tables."""
    console = OutputConsole(highlight=False)
    console.print(_heading(names, evaluations, split))
    console.print()
    console.print(_figures(evaluations, tokenized, comparisons))
    if comparisons:
        console.print(
            f"\np: paired bootstrap over sentences ({SAMPLES:,} resamples); it compares these two models, not their seeds"
        )
    console.print()
    signatures = {_METRICS[metric].partition(",")[0]: score.signature for metric, score in _scores(evaluations[0]).items()}
    if tokenized:
        signatures |= {label: tokenized[0][name].signature for name, label in _TOKENIZED.items()}
    width = max(map(len, signatures)) + 1
    for label, signature in signatures.items():
        console.print(f"{label:<{width}} {signature}", soft_wrap=True)


def _heading(names: Sequence[str], evaluations: Sequence[Evaluation], split: Split) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("test set", f"{split.name}: {len(split.sources):,} sentences")
    for role, name, evaluation in zip(("model", "against"), names, evaluations, strict=False):
        table.add_row(role, name)
        table.add_row("", _described(evaluation))
    return table


def _figures(
    evaluations: Sequence[Evaluation], tokenized: Sequence[Mapping[str, Score]], comparisons: Mapping[MetricName, Comparison]
) -> Table:
    """Returns a table with a row for each figure, a column for each model, and columns for the comparison."""
    table = Table(box=None, pad_edge=False, show_header=bool(comparisons))
    table.add_column()
    for heading in ("model", "against", "difference", "95 % interval", "p") if comparisons else ("model",):
        table.add_column(heading, justify="right", no_wrap=True)
    for metric, label in _METRICS.items():
        values = [f"{_scores(evaluation)[metric].value:.2f}" for evaluation in evaluations]
        table.add_row(label, *values, *(_difference(comparisons[metric]) if comparisons else ()))
    if tokenized:
        table.add_row()
        for name, label in _TOKENIZED.items():
            table.add_row(label, *(f"{scores[name].value:.2f}" for scores in tokenized))
    has_fallback = any(evaluation.decoding.fallback_below is not None for evaluation in evaluations)
    for groups in zip(*(_groups(evaluation, has_fallback=has_fallback) for evaluation in evaluations), strict=True):
        table.add_row()
        for label in groups[0]:
            table.add_row(label, *(group[label] for group in groups))
    return table


def _difference(comparison: Comparison) -> tuple[str, str, str]:
    p_value = "<0.001" if comparison.p_value < 0.001 else f"{comparison.p_value:.3f}"
    return f"{comparison.difference:+.2f}", f"{comparison.low:+.2f} to {comparison.high:+.2f}", p_value


def _groups(evaluation: Evaluation, *, has_fallback: bool) -> tuple[dict[str, str], ...]:
    """Returns the figures without a significance test, in groups. Labels are short enough for a terminal of 80 columns."""
    buckets = {f"BLEU, {_words(bucket)} ({bucket.sentences:,})": f"{bucket.bleu:.2f}" for bucket in evaluation.bleu_by_length}
    repeats = {
        "repeated pieces": f"{evaluation.repeated:.2%}",
        "repeated in references": f"{evaluation.repeated_in_references:.2%}",
    }
    lengths = {
        "lengths exact": f"{evaluation.lengths.exact:.1%}",
        f"lengths within {NEAR_PIECES} pieces": f"{evaluation.lengths.near:.1%}",
        "length ratio": f"{evaluation.lengths.ratio:.3f}",
    }
    speed = {
        "passes, mean": f"{evaluation.passes:.1f}",
        **({"translated by AT": f"{evaluation.fallback:.1%}"} if has_fallback else {}),
        "seconds": f"{evaluation.seconds:,.1f}",
        "sentences per second": f"{evaluation.sentences_per_second:,.1f}",
    }
    return buckets, repeats, lengths, speed


def _words(bucket: LengthBucket) -> str:
    longest = f"–{bucket.longest}" if bucket.longest else "+"
    return f"{bucket.shortest}{longest} words"


def _scores(evaluation: Evaluation) -> dict[MetricName, Score]:
    return {"bleu": evaluation.bleu, "chrf": evaluation.chrf, "ter": evaluation.ter}


def _described(evaluation: Evaluation) -> str:
    """Returns a description of the decoding, such as ``nat decoder: iterations 10, length candidates 5``."""
    settings, defaults = evaluation.decoding.model_dump(), type(evaluation.decoding)().model_dump()
    names = evaluation.decoding.settings_of(evaluation.decoder)
    shown = [name for name in names if name in names[:2] or settings[name] != defaults[name]]
    return f"{evaluation.decoder} decoder: " + ", ".join(f"{name.replace('_', ' ')} {settings[name]}" for name in shown)
