"""Writes the tables of studies/README.md and measurements/RESULTS.md, and the answer in README.md, from stored results.

    python tune.py studies/annealing.yaml
    python measurements/printed_tables.py --store outputs/annealing
    python -m mtnat bench significance --json > measurements/results/significance.jsonl
    python measurements/printed_tables.py

`--store` copies the leaderboards of a study's folder and its pictures of speed and of encoders to measurements/results/; the
figures of a measurement are stored there as it prints them with `--json`. From everything that is stored, the command writes
the parts of the pages between `<!-- begin NAME -->` and `<!-- end NAME -->`. Nothing in them is typed by hand, so no table
differs from its results. `--check` writes nothing, and fails if a page is not what the command would write.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from mtnat.bench.report import Row, texts_of
from mtnat.config import Record
from mtnat.errors import UserError
from mtnat.files import write_whole
from mtnat.lab.outputs.folder import StudyFolder, read_record
from mtnat.lab.report.analysis import probing_note, probing_table, similarity_note, similarity_table
from mtnat.lab.report.cells import leaderboard_rows
from mtnat.lab.report.markdown import fidelity_table
from mtnat.lab.report.markdown_table import markdown_table
from mtnat.lab.results.analysis import EncoderAnalysis
from mtnat.lab.results.fidelity import sentences
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.study.resources import cores
from mtnat.model.precision import precision_name, resolve_precision

HERE = Path(__file__).parent
STUDIES, RESULTS = HERE.parent / "studies", HERE / "results"
PICTURES = ("speed.png", "similarity.png", "probing.png")
"""Pictures of a study that are stored."""
ANSWERS = "answers"
"""Name of the part with the question and the answer of every study."""
_PART = re.compile(r"(<!-- begin (?P<name>[^ ]+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)
MOST_NAMED = 3
"""The most proposals that are named although they were not confirmed."""
_TITLES = {"name": "", "difference": "against {against}"}
_LEFT_OUT = frozenset({"kind", "tokenized", "tokens", "Wh", "GPU-hours", "seconds"})


class Stored(Record):
    """The stored result of a study: ``measurements/results/<study>.json``."""

    path: str
    """The study file, relative to ``studies/``."""
    commit: str
    machine: str
    columns: dict[str, Leaderboard]
    """The leaderboards by column; that of a study without columns has an empty name."""


def main() -> int:
    """Stores results, and writes or checks the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, metavar="FOLDER", action="append", default=[], help="folder of a finished study")
    parser.add_argument("--machine", help="on which the studies ran (default: this one)")
    parser.add_argument("--check", action="store_true", help="only report whether the page is up to date")
    options = parser.parse_args()
    for folder in options.store:
        stored = read_folder(folder, options.machine or _machine())
        RESULTS.mkdir(exist_ok=True)
        write_whole(RESULTS / f"{folder.name}.json", stored.model_dump_json(indent=1).encode())
        for picture in (found for name in PICTURES for found in sorted([*folder.glob(name), *folder.glob(f"*/{name}")])):
            name = "-".join(picture.relative_to(folder.parent).parent.parts)
            write_whole(RESULTS / f"{name}-{picture.name}", picture.read_bytes())
    studies = {path.stem: Stored.model_validate_json(path.read_bytes()) for path in sorted(RESULTS.glob("*.json"))}
    measured = {path.stem: path.read_text().splitlines() for path in sorted(RESULTS.glob("*.jsonl"))}
    pages: dict[Path, dict[str, Iterable[str]]] = {
        STUDIES / "README.md": {
            ANSWERS: answers_part(studies),
            **{name: study_part(result) for name, result in studies.items()},
        },
        HERE.parent / "README.md": {"quickstart-answer": [studies["quickstart"].columns[""].answer]},
        HERE / "RESULTS.md": {name: measurement_part(list(map(json.loads, lines))) for name, lines in measured.items()},
    }
    is_up_to_date = True
    for page, parts in pages.items():
        before = page.read_text(encoding="utf-8")
        after = filled(before, parts)
        if options.check and after != before:
            is_up_to_date = False
            print(
                f"{page.name}: is not what the stored results give; run python measurements/printed_tables.py.", file=sys.stderr
            )
        elif after != before:
            write_whole(page, after.encode())
    return 0 if is_up_to_date else 1


def read_folder(folder: Path, machine: str) -> Stored:
    """Returns the result of the finished study in a folder.

    Raises:
        StudyError: the study is damaged, or a newer version of mtnat wrote it.
    """
    found = list(STUDIES.rglob(f"{folder.name}.yaml"))
    if not found:
        raise SystemExit(f"{folder}: no file in studies/ has this name.")
    StudyFolder(folder).check_format()
    boards = {}
    for file in sorted([*folder.glob("leaderboard.json"), *folder.glob("*/leaderboard.json")]):
        StudyFolder(file.parent).check_format()
        board = read_record(Leaderboard, file)
        boards["" if file.parent == folder else board.study.partition("/")[2]] = board
    if not boards:
        raise SystemExit(f"{folder}: has no leaderboard.json; the study is not finished.")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True)
    path = found[0].relative_to(STUDIES).as_posix()
    return Stored(path=path, commit=commit.stdout.strip(), machine=machine, columns=boards)


def filled(page: str, parts: Mapping[str, Iterable[str]]) -> str:
    """Returns a page with its parts written again.

    Args:
        parts: the lines of each part.

    Raises:
        SystemExit: the page lacks a part, or has another one.
    """
    if missing := parts.keys() ^ {found["name"] for found in _PART.finditer(page)}:
        raise SystemExit(f"parts without a result, or results without a part: {', '.join(sorted(missing))}.")
    return _PART.sub(lambda found: found[1] + "".join(line + "\n" for line in parts[found["name"]]) + found[3], page)


def measurement_part(rows: Sequence[Row]) -> Iterator[str]:
    """Yields the table of a measurement."""
    texts = texts_of(rows)
    yield f"In all rows: {texts.title}."
    yield ""
    yield from markdown_table(texts.labels, texts.rows, are_figures=True)


def answers_part(results: Mapping[str, Stored]) -> Iterator[str]:
    """Yields the table with the question and the answer of every study."""
    rows = [
        (
            f"[{result.path}]({result.path})",
            next(iter(result.columns.values())).question,
            "<br>".join(f"{name}: {board.answer}" if name else board.answer for name, board in result.columns.items()),
        )
        for result in results.values()
    ]
    yield from markdown_table(["study", "question", "answer"], rows)


def study_part(result: Stored) -> Iterator[str]:
    """Yields the tables of a study."""
    yield f"`python tune.py studies/{result.path}`, {_origin(result)}."
    yield ""
    for name, board in result.columns.items():
        if name:
            yield f"**{name}**"
            yield ""
        yield from _board(board)
        yield ""


def _board(board: Leaderboard) -> Iterator[str]:
    rows = [row for row, text in zip(leaderboard_rows(board), board.rows, strict=True) if text.confirmed or not board.test_set]
    if board.fidelity:
        yield from (f"{sentence}\n" for sentence in sentences(board.fidelity))
        yield from fidelity_table(board.fidelity)
        return
    against = next((row.against for row in board.rows if row.against), None)
    titles = [title for title in rows[0] if title not in _LEFT_OUT and any(row[title] for row in rows)]
    yield from markdown_table(
        [_TITLES.get(title, title).format(against=against) for title in titles],
        [[row[title] for title in titles] for row in rows],
        are_figures=True,
    )
    for note in (*_settings(board), *_unconfirmed(board), *board.notes):
        yield ""
        yield note
    yield from _encoders(board.analysis) if board.analysis else ()


def _encoders(analysis: EncoderAnalysis) -> Iterator[str]:
    if analysis.similarities:
        yield ""
        yield from similarity_table(analysis)
        yield ""
        yield similarity_note()
    if analysis.tasks:
        yield ""
        yield from probing_table(analysis)
        yield ""
        yield probing_note(analysis)


def _settings(board: Leaderboard) -> Iterator[str]:
    """Yields what the confirmed proposals are."""
    for row in board.rows:
        if row.kind == "trial" and row.confirmed:
            yield f"{row.described}."


def _unconfirmed(board: Leaderboard) -> Iterator[str]:
    others = [row for row in board.rows if board.test_set and not row.confirmed and row.mean is not None]
    for row in others if len(others) <= MOST_NAMED else ():
        yield f"Not confirmed: {row.described}, with {row.mean:.1f} BLEU on the validation set."
    if len(others) > MOST_NAMED:
        low, high = (chosen(row.mean or 0.0 for row in others) for chosen in (min, max))
        yield f"Not confirmed: {len(others)} proposals with {low:.1f} to {high:.1f} BLEU on the validation set."


def _origin(result: Stored) -> str:
    boards = result.columns.values()
    signatures = ", ".join(dict.fromkeys(f"`{board.signature}`" for board in boards if board.signature))
    return f"on {result.machine}, with commit {result.commit}. The sacreBLEU signature is {signatures}"


def _machine() -> str:
    """Returns the number of this machine's cores, its processor, and the precision that `auto` selects on it."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = found[1].strip() if found else platform.processor()
    precision = precision_name(resolve_precision("auto", torch.device("cpu")))
    return f"{cores()} cores of an {processor} processor ({precision})"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        sys.exit(2)
