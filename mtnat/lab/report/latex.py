"""The table of a study with columns in LaTeX."""

from collections.abc import Iterator, Sequence

from mtnat.lab.report.cells import TITLES, figures, published_rows
from mtnat.lab.report.notes import published_note, table_notes
from mtnat.lab.results.paper_table import Table

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "λ": r"$\lambda$",
    "→": r"$\rightarrow$",
    "–": "--",
    "±": r"$\pm$",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "↑": r"$^{\uparrow}$",
    "⇑": r"$^{\Uparrow}$",
    "↓": r"$^{\downarrow}$",
    "⇓": r"$^{\Downarrow}$",
}
"""Replacements for characters that LaTeX does not print as they are."""


def table_latex(table: Table) -> str:
    """Returns the table for a paper, and that of the published figures; they need the package booktabs."""
    rows = [[row.name, *(text for column in table.columns for text in figures(row.cells[column]))] for row in table.rows]
    lines = [
        "% needs \\usepackage{booktabs}",
        *_table(list(table.columns), TITLES, rows, " ".join([table.question, *table_notes(table)])),
    ]
    if table.published:
        lines += _table(list(table.columns), (), published_rows(table), published_note(table.published))
    return "\n".join([*lines, ""])


def _table(columns: Sequence[str], titles: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> Iterator[str]:
    """Yields the lines of a table.

    Args:
        titles: titles of the figures inside each column; none if a column has one figure.
    """
    width = len(titles) or 1
    heads = [f"\\multicolumn{{{width}}}{{c}}{{{_escaped(column)}}}" for column in columns]
    yield from ("\\begin{table}", "\\centering", f"\\begin{{tabular}}{{l{'r' * (width * len(columns))}}}", "\\toprule")
    yield f" & {' & '.join(heads)} \\\\"
    if titles:
        yield " ".join(f"\\cmidrule(lr){{{2 + width * i}-{1 + width * (i + 1)}}}" for i in range(len(columns)))
        yield f" & {' & '.join([*titles] * len(columns))} \\\\"
    yield "\\midrule"
    for row in rows:
        yield f"{' & '.join(map(_escaped, row))} \\\\"
    yield from ("\\bottomrule", "\\end{tabular}", f"\\caption{{{_escaped(caption)}}}", "\\end{table}")


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
