"""``mtnat translate``: translates text line by line."""

import argparse
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mtnat.cli.model import decoding_of
from mtnat.cli.passes import pass_line
from mtnat.data.corpus import check_line_end
from mtnat.decoding import Search, TranslatedLine, trace, traceable
from mtnat.errors import UserError
from mtnat.files import check_not_an_input, is_compressed
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model

PROMPT = "> "


def run(options: argparse.Namespace) -> int:
    """Translates files, a stream, or lines typed at a prompt."""
    if options.lines_at_once < 1:
        raise UserError(f"--lines-at-once: must be at least 1; got {options.lines_at_once}.")
    model = open_model(options.model)
    config, decoder = decoding_of(options, model)
    search = model.search(config, decoder)
    if options.trace and (not traceable(search) or options.json or options.n_best):
        given = [name for name, value in (("--json", options.json), ("--n-best", options.n_best)) if value]
        if not traceable(search):
            given = ["--decoder at"] if options.decoder == "at" else ["--trace"]
        raise UserError(f"--trace: shows only the passes of mask-predict; leave out {' and '.join(given)}.")
    model.translate([], config, decoder, options.n_best or 1)  # raises for an invalid setting before any input is read
    notes = Console(stderr=True)
    with ExitStack() as stack:
        is_typed = not options.inputs and sys.stdin.isatty()
        lines = _typed(notes) if is_typed else _lines(options.inputs, stack)
        total = _count(options.inputs) if notes.is_terminal and not is_typed else None
        sink = _sink(options.output, options.inputs, stack)
        shows_bar = notes.is_terminal and not is_typed and (options.output is not None or not sys.stdout.isatty())
        done = 0
        with _bar(notes) if shows_bar else nullcontext() as bar:
            task = bar.add_task("lines", total=total) if bar else None
            while chunk := list(islice(lines, 1 if is_typed or options.trace else options.lines_at_once)):
                if options.trace:
                    _show_trace(model, chunk[0], search, sink)
                else:
                    found = model.translate(chunk, config, decoder, options.n_best or 1)
                    _report_parts(found, done, model, notes)
                    sink.write("".join(_written(found, chunk, done, options)).encode())
                sink.flush()
                done += len(chunk)
                if bar and task is not None:
                    bar.update(task, completed=done)
    return 0


def _lines(inputs: list[Path], stack: ExitStack) -> Iterator[str]:
    """Yields the lines of all inputs. Only "\\n" ends a line, and bytes that are not UTF-8 become U+FFFD."""
    files = [_opened(path, stack) for path in inputs] or [sys.stdin.buffer]
    return (line.decode("utf-8", errors="replace").rstrip("\r\n") for file in files for line in _readable(file))


def _readable(file: BinaryIO) -> Iterator[bytes]:
    name = getattr(file, "name", "the input")  # a stream in memory has none
    try:
        for number, line in enumerate(file):
            if number == 0:
                check_line_end(name, line)
            yield line
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{name}: cannot be read ({error}); give a whole file, plain text or .gz.") from None


def _opened(path: Path, stack: ExitStack) -> BinaryIO:
    try:
        file = stack.enter_context(path.open("rb"))
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); give another path.") from None
    return cast("BinaryIO", stack.enter_context(gzip.GzipFile(fileobj=file))) if is_compressed(path) else file


def _sink(path: Path | None, inputs: list[Path], stack: ExitStack) -> BinaryIO:
    if path is None:
        return sys.stdout.buffer
    check_not_an_input("--output", path, inputs or [0])  # 0: standard input
    try:
        return stack.enter_context(path.open("wb"))
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}); give another path.") from None


def _count(inputs: list[Path]) -> int | None:
    """Returns the number of lines of the files, or of a file that is the standard input; None for a pipe."""
    if inputs:
        with ExitStack() as stack:
            return sum(1 for _ in _lines(inputs, stack))
    stream = sys.stdin.buffer
    if not stream.seekable():
        return None
    start = stream.tell()
    total = sum(1 for _ in stream)
    stream.seek(start)
    return total


def _typed(notes: Console) -> Iterator[str]:
    """Yields the lines that a person types, until Ctrl-D."""
    notes.print("One sentence a line; Ctrl-D ends.", highlight=False)
    with suppress(ImportError):
        import_module("readline")  # gives `input` line editing and a history
    assert isinstance(sys.stdin, io.TextIOWrapper)
    sys.stdin.reconfigure(errors="replace")
    while True:
        try:
            yield input(PROMPT if sys.stdout.isatty() else "")  # no prompt into a redirected output
        except EOFError:
            notes.print()
            return


def _bar(notes: Console) -> Progress:
    columns = (TextColumn("translating"), BarColumn(), MofNCompleteColumn(), TextColumn("lines"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True)


def _report_parts(found: list[TranslatedLine], done: int, model: Model, notes: Console) -> None:
    """Prints a note for each line that was too long for the model."""
    most = model.experiment.model.max_positions - 1
    for number, line in enumerate(found, done + 1):
        if line.parts > 1:
            notes.print(
                f"line {number}: {line.pieces:,} pieces exceed the model's {most:,}; translated in {line.parts:,} parts",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def _written(found: Iterable[TranslatedLine], sources: list[str], done: int, options: argparse.Namespace) -> Iterator[str]:
    """Yields the output for some lines; `done` is the number of lines before them."""
    for number, (line, source) in enumerate(zip(found, sources, strict=True), done):
        if options.json:
            translations = [
                {"text": each.text, "score": each.score, "length": len(each.tokens), "passes": each.passes}
                for each in line.translations
            ]
            record = {"source": source, "pieces": line.pieces, "parts": line.parts, "translations": translations}
            yield json.dumps(record, ensure_ascii=False) + "\n"
        elif options.n_best:
            yield from (f"{number} ||| {each.text} ||| {each.score:.4f}\n" for each in line.translations)
        else:
            yield f"{line.text}\n"


def _show_trace(model: Model, line: str, search: Search, sink: BinaryIO) -> None:
    """Writes the passes over a line, then its translation."""
    console = Console(force_terminal=sink.isatty(), highlight=False)
    parts = trace(model.translator, model.vocabularies, line, search)
    for number, part in enumerate(parts, 1):
        if len(parts) > 1:
            sink.write(f"part {number} of {len(parts)}\n".encode())
        for each in part.passes:
            with console.capture() as shown:
                console.print(pass_line(each), soft_wrap=True)
            sink.write(shown.get().encode())
    sink.write(f"{' '.join(part.text for part in parts)}\n\n".encode())
