"""``mtnat data``: downloads, cleans, describes and prepares corpora."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

import mtnat.data
from mtnat import corpora
from mtnat.config import build, nearest, read_yaml
from mtnat.console import OutputConsole
from mtnat.corpora import CORPORA, CatalogueEntry, CleanOptions, Listener, SideStatistics, SplitOptions, Statistics
from mtnat.data import Dataset
from mtnat.data.corpus import data_root, read_lines
from mtnat.errors import UserError
from mtnat.evaluation.modality import Modality, modality
from mtnat.experiment import Experiment
from mtnat.lab.study.record import Study
from mtnat.lab.study.shipped import find_study

_NAMED_SET = "sacrebleu/"


def get(options: argparse.Namespace) -> int:
    """Downloads a corpus, or resumes an interrupted download."""
    if options.name is None:
        _show({name: f"{corpus.about}{_size(corpus)}" for name, corpus in CORPORA.items()})
        return 0
    corpus, default = _named(options.name, options.languages)
    folder = options.output or data_root() / default
    with _listening() as listener:
        found = corpora.get(corpus, folder, brought=options.brought, listener=listener)
    for name, digest in found.unchecked.items():
        print(f"mtnat: {name}: was not checked, because no SHA-256 of it is published; it has {digest}", file=sys.stderr)
    _show(
        {
            "folder": f"{found.folder}{' (was there)' if found.was_there else ''}",
            "files": ", ".join(found.files),
            **{f"{split} pairs": f"{count:,}" for split, count in found.pairs.items()},
        }
    )
    return 0


def _named(name: str, languages: str | None) -> tuple[CatalogueEntry, str]:
    """Returns a corpus, and the default name of its folder."""
    if name.startswith(_NAMED_SET):
        name_in_sacrebleu = name.removeprefix(_NAMED_SET)
        if not languages:
            raise UserError(f"{name}: needs --languages, such as en-de.")
        corpora.check_named_set(name_in_sacrebleu, languages, name_as=name, languages_as=f"--languages {languages}")
        return corpora.named_set_corpus(name_in_sacrebleu, languages), f"{name.replace('/', '-')}-{languages}"
    if name not in CORPORA:
        close = nearest(name, CORPORA) or f"; give one of {', '.join(CORPORA)}, or {_NAMED_SET}NAME."
        raise UserError(f"{name}: there is no such corpus{close}")
    if languages:
        raise UserError(f"--languages: is only for sacreBLEU's test sets; {name} is {'-'.join(CORPORA[name].languages)}.")
    return CORPORA[name], name


def _size(corpus: CatalogueEntry) -> str:
    """Returns the known size of the downloads of a corpus, without test sets, such as ``; 1.66 GB``."""
    sizes = [download.size for download in (*corpus.copied, *(part.download for part in corpus.train))]
    if not sizes:
        return ""
    known = sum(size for size in sizes if size)
    return f"; {'over ' if None in sizes else ''}{known / 1e9:,.2f} GB" if known >= 1e7 else f"; {known / 1e6:,.1f} MB"


def clean(options: argparse.Namespace) -> int:
    """Writes the pairs that are fit for training."""
    given = {name: getattr(options, name) for name in CleanOptions.model_fields}
    rules = build(CleanOptions, {name: value for name, value in given.items() if value is not None})
    with _listening() as listener:
        found, paths = corpora.clean(options.source, options.target, options.output, rules, listener)
    if options.json:
        print(json.dumps(dataclasses.asdict(found)))
        return 0
    share = 100 / max(found.read, 1)
    _show(
        {
            "pairs read": f"{found.read:,}",
            **{f"dropped, {rule}": f"{count:,}  {count * share:.2f} %" for rule, count in found.dropped.items()},
            "kept": f"{found.kept:,}  {found.kept * share:.2f} %",
            "of which rewritten": f"{found.rewritten:,}",
            "written to": ", ".join(map(str, paths)),
        }
    )
    return 0


def stats(options: argparse.Namespace) -> int:
    """Describes a parallel text."""
    with _listening() as listener:
        found = corpora.describe(options.source, options.target, listener)
    if options.json:
        more = {"modality": dataclasses.asdict(_modality(options))} if options.modality else {}
        print(json.dumps(dataclasses.asdict(found) | more, ensure_ascii=False))
        return 0
    console = OutputConsole(highlight=False)
    console.print(_sides_table(found))
    console.print()
    _show(_pair_figures(found), "right")
    if options.modality:  # last, because it takes longest, and refuses what is only counted above
        console.print()
        _show(_modality_figures(_modality(options)), "right")
    return 0


def _modality(options: argparse.Namespace) -> Modality:
    return modality(read_lines(options.source), read_lines(options.target))


def _modality_figures(found: Modality) -> dict[str, str]:
    return {
        "conditional entropy of a target word, nats": f"{found.conditional_entropy:.3f}",
        "the same, weighted by source words": f"{found.weighted_entropy:.3f}",
        "standard deviation of target words a source word": f"{found.length_deviation:.3f}",
    }


def _sides_table(found: Statistics) -> Table:
    """Returns a table with a row for each figure that at least one side has."""
    table = Table(box=None, pad_edge=False)
    table.add_column()
    table.add_column("source", justify="right")
    table.add_column("target", justify="right")
    for first, second in zip(_side_figures(found.source), _side_figures(found.target), strict=True):
        for name in first | second:
            table.add_row(name, first.get(name, "0"), second.get(name, "0"))
    return table


def _side_figures(side: SideStatistics) -> tuple[dict[str, str], ...]:
    """Returns the figures of a side, in groups. A side may lack figures that the other side has."""
    counts = {"lines": side.lines, "empty lines": side.empty, "repeated lines": side.repeated}
    sizes = {"words": side.words, "characters": side.characters}
    lengths = {
        "words a line, median": side.median_words,
        "95 % of lines have at most": side.percentile95_words,
        "longest line, words": side.longest_words,
        "longest line, characters": side.longest_characters,
    }
    scripts = {f"{name.capitalize()} letters": count for name, count in side.scripts.items()}
    mean = {"words a line, mean": f"{side.mean_words:.2f}"}
    return _counted(counts | sizes), mean | _counted(lengths), _counted(scripts), _counted(side.faults), _counted(side.signs)


def _pair_figures(found: Statistics) -> dict[str, str]:
    return {
        **_counted(
            {
                "pairs": found.pairs,
                "lines without a partner": found.unpaired,
                "repeated pairs": found.repeated,
                "sources with several targets": found.ambiguous_sources,
                "one side empty": found.one_empty,
                "both sides equal": found.equal,
            }
        ),
        "target words a source word": f"{found.words_ratio:.3f}",
        **_counted({f"one side over {ratio} times as long": count for ratio, count in found.beyond_ratio.items()}),
    }


def split(options: argparse.Namespace) -> int:
    """Divides a text into train, valid and test."""
    given = {name: getattr(options, name) for name in SplitOptions.model_fields}
    how = build(SplitOptions, {name: value for name, value in given.items() if value is not None})
    languages = corpora.language_pair(options.languages) if options.languages else None
    with _listening() as listener:
        found = corpora.split(options.source, options.target, options.output, how, languages, listener)
    _show(
        {
            "pairs read": f"{found.read:,}",
            "dropped, empty": f"{found.empty:,}",
            "dropped, in valid or test": f"{found.shared:,}",
            **{f"{name} pairs": f"{count:,}" for name, count in found.pairs.items()},
            "folder": str(found.folder),
            "files": ", ".join(found.files),
        }
    )
    return 0


def prepare(options: argparse.Namespace) -> int:
    """Prepares the corpora of an experiment or a study."""
    text = read_yaml(find_study(options.experiment))
    if "experiment" in text:
        # The text that a study's models write does not exist yet, but all its trials share the vocabulary of the corpus's own.
        parts = build(Study, text).parts
        settings = {name: part.experiment.data.model_copy(update={"stages": ()}) for name, part in parts.items()}
    else:
        settings = {"": build(Experiment, text).data}
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    for name, data in settings.items():
        begun = perf_counter()
        with console.status(Text(f"preparing {name}")):
            dataset = mtnat.data.prepare(data)
        column = {"column": name} if name else {}
        _show({**column, **_dataset_figures(dataset), "seconds": f"{perf_counter() - begun:,.1f}"})
    return 0


def _dataset_figures(dataset: Dataset) -> dict[str, str]:
    source_tokens, target_tokens = (int(tokens) for tokens in dataset.train.lengths_N2.sum(axis=0))
    vocabularies = dataset.vocabularies
    pieces = f"{len(vocabularies.source):,}"
    size = sum(path.stat().st_size for path in dataset.train.folder.iterdir())
    return {
        "training pairs": ", then ".join(f"{len(store):,}" for store in dataset.stages),
        **_counted({"left out": dataset.left_out}),
        **_counted({"source tokens": source_tokens, "target tokens": target_tokens}),
        **_counted({"valid pairs": len(dataset.valid.sources), "test pairs": len(dataset.test.sources)}),
        "vocabulary": f"{pieces} pieces, joint" if vocabularies.joint else f"{pieces} and {len(vocabularies.target):,} pieces",
        "folder": f"{dataset.train.folder} ({size / 1e6:,.1f} MB)",
    }


def _counted(counts: Mapping[str, int]) -> dict[str, str]:
    return {name: f"{count:,}" for name, count in counts.items()}


def _show(figures: Mapping[str, str], justify: Literal["left", "right"] = "left") -> None:
    """Prints a line for each figure on standard output."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", justify=justify)
    for name, figure in figures.items():
        table.add_row(name, figure)
    OutputConsole(highlight=False).print(table)


@contextmanager
def _listening() -> Iterator[Listener]:
    """Yields a listener that shows the progress as a bar, on a terminal only."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, state="")

        def listener(name: str, done: int, total: int | None) -> None:
            state = f"{done:,}" if total is None else f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
            bar.update(task, description=name, completed=done, total=total, state=state)

        yield listener
