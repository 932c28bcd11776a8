"""The table of a study with columns, as a paper prints it: Markdown, LaTeX, JSON."""

from collections.abc import Mapping
from statistics import fmean

from mtnat.config import Record
from mtnat.evaluation import Mark
from mtnat.lab.leaderboard import Leaderboard
from mtnat.lab.rows import Row
from mtnat.lab.study import Study

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
"""Characters that LaTeX does not print as they are."""
_NOTHING = "–"
_SACREBLEU, _TOKENIZED, _PUBLISHED = "sacreBLEU", "tokenized", "published"


class Cell(Record):
    """A system in a column."""

    bleu: float | None = None
    """sacreBLEU on the test set, mean over seeds; on the validation set where the study has no confirm phase."""
    mark: Mark = ""
    tokenized: float | None = None
    """Tokenized BLEU, mean over seeds: what `published` may be looked at beside."""
    published: float | None = None
    """The figure that others printed."""
    interval: float | None = None
    """Half of the 95 % interval of `bleu` over seeds (Student's t); None with one seed."""
    p_value_over_seeds: float | None = None
    """Of the difference that `mark` is about, over seeds and sentences together; None with one seed."""
    seeds: int = 0


class TableRow(Record):
    """A system."""

    name: str
    cells: dict[str, Cell]
    """By column."""


class Column(Record):
    """What a column's figures are."""

    test_set: str
    signature: str | None
    tokenized_signature: str | None


class Table(Record):
    """``table.json``."""

    study: str
    question: str
    against: str | None
    """The baseline that marks refer to, in the same column."""
    published: str | None
    """Where the figures in grey are from."""
    answers: dict[str, str]
    """Each column's answer."""
    notes: dict[str, tuple[str, ...]]
    """Each column's."""
    columns: dict[str, Column]
    rows: tuple[TableRow, ...]


def make_table(name: str, study: Study, leaderboards: Mapping[str, Leaderboard]) -> Table:
    """The table of leaderboards by column: baselines in the order of the file. Each column has proposals of its own, which it
    leaves out."""
    by_column = {column: {row.name: row for row in board.rows} for column, board in leaderboards.items()}
    published = study.published.bleu if study.published else {}
    rows = tuple(
        TableRow(
            name=name,
            cells={column: _cell(found.get(name), published.get(name, {}).get(column)) for column, found in by_column.items()},
        )
        for name in study.baselines
    )
    return Table(
        study=name,
        question=study.question,
        against=study.confirm.against if study.confirm else None,
        published=study.published.source if study.published else None,
        answers={column: board.answer for column, board in leaderboards.items()},
        notes={column: board.notes for column, board in leaderboards.items() if board.notes},
        columns={column: _column(board) for column, board in leaderboards.items()},
        rows=rows,
    )


def markdown(table: Table) -> str:
    """The table as a page for people."""
    titles = [f"{column}: {title}" for column in table.columns for title in titles_of(table)]
    lines = [
        f"# {table.study}",
        "",
        f"**{table.question}**",
        "",
        *(f"- {column}: {answer}" for column, answer in table.answers.items()),
        "",
        f"| | {' | '.join(titles)} |",
        f"|---|{'---:|' * len(titles)}",
    ]
    for row in table.rows:
        texts = [
            f'<span style="color:gray">{text}</span>' if title == _PUBLISHED else text
            for column in table.columns
            for title, text in figures(row.cells[column], table).items()
        ]
        lines.append(f"| {row.name} | {' | '.join(texts)} |")
    return "\n".join([*lines, "", *(f"{note}\n" for note in _notes(table))])


def latex(table: Table) -> str:
    """The table for a paper; needs the packages booktabs and xcolor."""
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
            f"\\textcolor{{gray}}{{{_escaped(text)}}}" if title == _PUBLISHED else _escaped(text)
            for column in table.columns
            for title, text in figures(row.cells[column], table).items()
        ]
        lines.append(f"{_escaped(row.name)} & {' & '.join(texts)} \\\\")
    caption = _escaped(" ".join([table.question, *_notes(table)]))
    lines += ["\\bottomrule", "\\end{tabular}", f"\\caption{{{caption}}}", "\\end{table}", ""]
    return "\n".join(lines)


def _cell(row: Row | None, published: float | None) -> Cell:
    if row is None:
        return Cell(published=published)
    tokenized = fmean(row.tokenized) if row.tokenized else None
    return Cell(
        bleu=row.mean,
        mark=row.mark,
        tokenized=tokenized,
        published=published,
        interval=(row.interval[1] - row.interval[0]) / 2 if row.interval else None,
        p_value_over_seeds=row.p_value_over_seeds,
        seeds=len(row.seeds),
    )


def _column(board: Leaderboard) -> Column:
    tokenized = next((row.tokenized_signature for row in board.rows if row.tokenized_signature), None)
    return Column(test_set=board.test_set or "validation set", signature=board.signature, tokenized_signature=tokenized)


def titles_of(table: Table) -> list[str]:
    """Of the figures in each column."""
    return [_SACREBLEU, _TOKENIZED, *([_PUBLISHED] if table.published else [])]


def figures(cell: Cell, table: Table) -> dict[str, str]:
    """A cell's figures as text, by title."""

    def number(value: float | None) -> str:
        return _NOTHING if value is None else f"{value:.2f}"

    interval = f" ± {cell.interval:.1f}" if cell.interval is not None else ""
    texts = [f"{number(cell.bleu)}{cell.mark}{interval}", number(cell.tokenized), number(cell.published)]
    return dict(zip(titles_of(table), texts, strict=False))


def _notes(table: Table) -> list[str]:
    """What the figures are, and what may not be compared."""
    notes = [f"BLEU on {column.test_set} in column {name}." for name, column in table.columns.items()]
    notes += _comparison_notes(table)
    for kind, signatures in (
        ("sacreBLEU", {name: column.signature for name, column in table.columns.items()}),
        ("Tokenized BLEU", {name: column.tokenized_signature for name, column in table.columns.items()}),
    ):
        for signature in dict.fromkeys(filter(None, signatures.values())):
            names = [name for name, own in signatures.items() if own == signature]
            notes.append(f"{kind} ({', '.join(names)}): {signature}.")
    notes += [f"{column}: {note}" for column, said in table.notes.items() for note in said]
    if table.published:
        notes.append(f"In grey, {published_note(table.published)}")
    return notes


def _comparison_notes(table: Table) -> list[str]:
    """What the means, the marks and the tests are."""
    seeds = sorted({cell.seeds for row in table.rows for cell in row.cells.values() if cell.seeds})
    several = seeds != [1]
    notes = []
    if seeds:
        spread = "; ±: 95 % of the mean (Student's t)" if several else ""
        notes.append(f"Means over {' or '.join(map(str, seeds))} seed{'s' if several else ''}{spread}.")
    if table.against:
        over = " for each seed, twice the median p over seeds" if several else ""
        notes.append(
            f"Against {table.against} in the same column: ↑ better at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse (paired bootstrap, "
            f"1000 resamples{over})."
        )
    for name in table.columns:
        found = {row.name: row.cells[name].p_value_over_seeds for row in table.rows}
        if told := [f"{system} p = {p_value:.3f}" for system, p_value in found.items() if p_value is not None]:
            notes.append(
                f"{name}, the same difference over seeds and sentences together (sentences resampled, seeds as in a t-test): "
                f"{', '.join(told)}."
            )
    return notes


def published_note(source: str) -> str:
    """What figures from elsewhere are good for."""
    return f"published elsewhere: {source}. Other text, other training: to be looked at beside ours, not to be compared."


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
