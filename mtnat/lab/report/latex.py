"""The table of a study with columns in LaTeX."""

from mtnat.lab.report.cells import PUBLISHED, figures, titles_of
from mtnat.lab.report.notes import table_notes
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
    """Returns the table for a paper; it needs the packages booktabs and xcolor."""
    titles = titles_of(table)
    width = len(titles)
    spans = [f"\\multicolumn{{{width}}}{{c}}{{{_escaped(column)}}}" for column in table.columns]
    rules = [f"\\cmidrule(lr){{{2 + width * i}-{1 + width * (i + 1)}}}" for i in range(len(table.columns))]
    lines = [
        "% needs \\usepackage{booktabs,xcolor}",
        "\\begin{table}",
        "\\centering",
        f"\\begin{{tabular}}{{l{'r' * (width * len(table.columns))}}}",
        "\\toprule",
        f" & {' & '.join(spans)} \\\\",
        " ".join(rules),
        f" & {' & '.join(titles * len(table.columns))} \\\\",
        "\\midrule",
    ]
    for row in table.rows:
        texts = [
            f"\\textcolor{{gray}}{{{_escaped(text)}}}" if title == PUBLISHED else _escaped(text)
            for column in table.columns
            for title, text in figures(row.cells[column], table).items()
        ]
        lines.append(f"{_escaped(row.name)} & {' & '.join(texts)} \\\\")
    caption = _escaped(" ".join([table.question, *table_notes(table)]))
    lines += ["\\bottomrule", "\\end{tabular}", f"\\caption{{{caption}}}", "\\end{table}", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
