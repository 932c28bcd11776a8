"""Draws the pictures of the documentation: ``python docs/scripts/pictures.py``.

The picture of the quick start shows measurements/results/quickstart.json; those of the rooms show the floors in
tests/test_architecture.py. `--check` writes nothing, and fails if a picture is not what the command would draw.
"""

import argparse
import ast
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from textwrap import wrap

from mtnat.files import write_whole
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.rows import Row

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
WIDTH = 640
DARK, GREY, BLUE, LIGHT, PALE = "#24292f", "#6e7781", "#3f51b5", "#9fa8da", "#e8eaf6"


def main() -> int:
    """Draws or checks the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only report whether the pictures are up to date")
    options = parser.parse_args()
    floors = assigned(ROOT / "tests" / "test_architecture.py", ["FLOORS", "LAB_FLOORS"])
    stored = json.loads((ROOT / "measurements" / "results" / "quickstart.json").read_text(encoding="utf-8"))
    pictures = {
        "quickstart.svg": leaderboard_picture(Leaderboard.model_validate_json(json.dumps(stored["columns"][""]))),
        "rooms.svg": rooms_picture(floors["FLOORS"]),
        "lab-rooms.svg": rooms_picture(floors["LAB_FLOORS"]),
    }
    is_up_to_date = True
    for name, lines in pictures.items():
        path, drawn = PICTURES / name, "".join(f"{line}\n" for line in lines).encode()
        if path.exists() and path.read_bytes() == drawn:
            continue
        is_up_to_date = False
        if options.check:
            print(f"{name}: is not what is drawn now; run python docs/scripts/pictures.py.", file=sys.stderr)
        else:
            PICTURES.mkdir(exist_ok=True)
            write_whole(path, drawn)
    return 0 if is_up_to_date or not options.check else 1


def assigned(file: Path, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Returns the dictionaries that a module assigns to some names, without importing it."""
    wanted = set(names)
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in wanted
    }


def leaderboard_picture(board: Leaderboard) -> Iterator[str]:
    """Yields the picture of the confirmed rows of a leaderboard: mean, interval and seeds on the test set."""
    rows = [row for row in board.rows if row.confirmed]
    question = wrap(board.question, 58)
    head = 24 * len(question)
    top, step, left, right = head + 60, 64, 20, WIDTH - 90
    largest = 10 * (1 + int(max(_highest(row) for row in rows)) // 10)
    bottom = top + step * len(rows)

    def x(bleu: float) -> float:
        return round(left + (right - left) * bleu / largest, 1)

    yield from _begin(bottom + 44, board.question)
    for number, line in enumerate(question):
        yield _text(left, 30 + 24 * number, line, size=16, weight="bold")
    yield _text(
        left, head + 30, "BLEU on the test set: mean (bar), seeds (dots), 95 % interval over the seeds (line)", color=GREY
    )
    for tick in range(0, largest + 1, 10):
        yield f'<line x1="{x(tick)}" y1="{top - 10}" x2="{x(tick)}" y2="{bottom}" stroke="#d0d7de"/>'
        yield _text(x(tick), bottom + 22, str(tick), color=GREY, anchor="middle")
    for number, row in enumerate(rows):
        y = top + step * number
        assert row.mean is not None
        yield _text(left, y + 12, row.described if row.kind == "trial" else f"{row.name} ({row.kind})")
        fill = BLUE if row.mark else LIGHT
        yield f'<rect x="{left}" y="{y + 20}" width="{x(row.mean) - left}" height="26" fill="{fill}"/>'
        if row.interval:
            low, high = map(x, row.interval)
            yield f'<line x1="{low}" y1="{y + 33}" x2="{high}" y2="{y + 33}" stroke="{DARK}" stroke-width="2"/>'
        for score in row.scores:
            yield f'<circle cx="{x(score)}" cy="{y + 33}" r="4" fill="#fff" stroke="{DARK}" stroke-width="1.5"/>'
        yield _text(x(_highest(row)) + 12, y + 39, f"{row.mean:.1f} {row.mark}", size=17, weight="bold")
    yield "</svg>"


def rooms_picture(floors: Mapping[str, int]) -> Iterator[str]:
    """Yields the picture of a house: a band for each floor, the highest on top, and a box for each room."""
    bands: dict[int, list[str]] = {}
    for room, floor in sorted(floors.items(), key=lambda item: -item[1]):
        bands.setdefault(floor, []).append(room)
    step, left = 46, 66
    yield from _begin(step * len(bands) + 12, "Rooms by floor, the highest on top; an import only goes down")
    for number, (floor, rooms) in enumerate(bands.items()):
        y = 6 + step * number
        yield f'<rect x="6" y="{y}" width="{WIDTH - 12}" height="{step - 4}" fill="#f6f8fa"/>'
        yield _text(18, y + 27, str(floor), color=GREY, size=16)
        yield from _boxes(rooms, left, WIDTH - 14, y + 6, step - 16)
    yield "</svg>"


def _boxes(rooms: Sequence[str], left: int, right: int, y: int, height: int) -> Iterator[str]:
    """Yields the boxes of a floor, side by side."""
    gap = 8
    width = min(200, (right - left - gap * (len(rooms) - 1)) // len(rooms))
    for number, room in enumerate(rooms):
        x = left + (width + gap) * number
        yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{PALE}" stroke="{BLUE}"/>'
        yield _text(x + width / 2, y + height / 2 + 5, room, anchor="middle")


def _highest(row: Row) -> float:
    """Returns the largest BLEU that a row shows."""
    return max(*row.scores, *(row.interval or ()), row.mean or 0.0)


def _begin(height: int, title: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\">"
    )
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'


def _text(
    x: float, y: float, words: str, *, color: str = DARK, size: int = 14, weight: str = "normal", anchor: str = "start"
) -> str:
    where = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}"'
    return f'<text {where} fill="{color}" font-size="{size}" font-weight="{weight}">{escape(words)}</text>'


if __name__ == "__main__":
    sys.exit(main())
