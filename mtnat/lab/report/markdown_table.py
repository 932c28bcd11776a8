"""Tables in Markdown."""

from collections.abc import Iterator, Sequence


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, are_figures: bool = False) -> Iterator[str]:
    """Yields the lines of a Markdown table.

    Args:
        are_figures: aligns all columns but the first to the right.
    """
    alignments = ["---:" if are_figures and number else "---" for number in range(len(titles))]
    yield _line(titles)
    yield f"|{'|'.join(alignments)}|"
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    escaped = [cell.replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(escaped)} |"
