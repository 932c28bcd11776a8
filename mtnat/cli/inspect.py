"""``mtnat inspect``: shows how a model translates a sentence."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mtnat.analysis.inspection import Inspection, Part, inspect_sentence, page_of, percent, record_of
from mtnat.cli.model import decoding_of
from mtnat.cli.passes import pass_line
from mtnat.console import OutputConsole
from mtnat.errors import UserError
from mtnat.files import check_writable
from mtnat.lab.tracking.models import open_model

SUFFIXES = (".html", ".htm")


def run(options: argparse.Namespace) -> int:
    """Translates a sentence, prints what was found, and writes the page."""
    # Bytes of the command line that are not UTF-8 become U+FFFD, as in the lines that `mtnat translate` reads.
    sentence = options.sentence.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="replace")
    if not sentence.strip():
        raise UserError("sentence: is empty; give one to translate, in quotes.")
    if options.page:
        if options.page.suffix not in SUFFIXES:
            raise UserError(f"--page {options.page}: must end with {' or '.join(SUFFIXES)}; give another name.")
        check_writable("--page", options.page)
    model = open_model(options.model)
    found = inspect_sentence(model, sentence, *decoding_of(options, model))
    if options.json:
        print(json.dumps({"model": options.model, **record_of(found)}, ensure_ascii=False))
    else:
        _show(found)
    if options.page:
        _write(options.page, page_of(found, options.model))
        Console(stderr=True).print(f"page: {options.page}", markup=False, highlight=False, soft_wrap=True)
    return 0


def _write(path: Path, page: str) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:  # such as a full disk
        raise UserError(f"--page {path}: cannot be written ({error.strerror}); give another path.") from None


def _show(found: Inspection) -> None:
    console = OutputConsole(highlight=False)
    for number, part in enumerate(found.parts, 1):
        if len(found.parts) > 1:
            console.print(f"part {number} of {len(found.parts)}")
        console.print(_heading(found, part))
        console.print()
        for each in part.passes:
            console.print(pass_line(each), soft_wrap=True)
        if part.passes:
            console.print()
        console.print(_pieces(part))
        console.print(_notes(part), soft_wrap=True)
        if number < len(found.parts):
            console.print()


def _heading(found: Inspection, part: Part) -> Table:
    """Returns the source and the translations with their scores."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("source", " ".join(part.source))
    decoder = "AT, to which the search fell back" if part.fell_back else found.decoder.upper()
    scores = [f"score {part.score:.3f}"]
    if part.at and found.decoder != "at":
        scores.append(f"the AT decoder scores it {part.at.score_of_translation:.3f}")
    table.add_row(f"{found.system}, {decoder}", f"{part.text} ({', '.join(scores)})")
    if part.at and found.decoder != "at":
        table.add_row("AT, beam search", f"{part.at.text} (score {part.at.score:.3f})")
    return table


def _pieces(part: Part) -> Table:
    """Returns the table of the pieces."""
    has_own, attended = any(piece.log_probability is not None for piece in part.pieces), _attended(part)
    table = Table(box=None, pad_edge=False)
    table.add_column("piece", overflow="fold")
    headings = [*(["confidence"] if has_own else []), *(["AT", "rank"] if part.at else [])]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    if part.at:
        table.add_column("AT's choice", overflow="fold")
    if attended:
        table.add_column("attends most to", overflow="fold")
    ends = [("end", None, part.at.end, None)] if part.at else []
    rows = [(piece.text, piece.log_probability, piece.verdict, index) for index, piece in enumerate(part.pieces)]
    for text, score, verdict, index in (*rows, *ends):
        cells = [text, *([percent(score)] if has_own else [])]
        if verdict:
            choice = "" if verdict.rank == 1 else f"{verdict.choice} ({percent(verdict.choice_log_probability)})"
            cells += [percent(verdict.log_probability), str(verdict.rank), choice]
        if attended and index is not None:
            cells.append(attended.get(index, ""))
        table.add_row(*cells)
    return table


def _attended(part: Part) -> dict[int, str]:
    """Returns the source piece that the top layer attends to most, on average over its heads, by index of the piece."""
    maps = next((each for each in part.attention if each.name.endswith("cross-attention")), None)
    if maps is None or maps.weights_LHTS is None:
        return {}
    best_T = maps.weights_LHTS[-1].mean(0).argmax(1).tolist()
    rows = zip(maps.row_pieces, best_T, strict=True)
    found: dict[int, str] = {}
    for piece, column in rows:
        if piece is not None:
            found.setdefault(piece, maps.column_names[column])
    return found


def _notes(part: Part) -> str:
    notes = [f"confidence: {part.confidence}."] if part.confidence else []
    if part.at:
        notes.append("AT: probability that the AT decoder gives the piece after the pieces before it.")
    return "\n".join(notes)
