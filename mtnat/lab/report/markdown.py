"""Reports in Markdown: a leaderboard, and the table of a study with columns."""

from collections.abc import Iterator

from mtnat.lab.report.analysis import analysis_section
from mtnat.lab.report.cells import TITLES, figures, leaderboard_rows, published_rows
from mtnat.lab.report.markdown_table import markdown_table
from mtnat.lab.report.notes import leaderboard_notes, published_note, table_notes
from mtnat.lab.results.fidelity import Fidelity, sentences
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table


def leaderboard_markdown(leaderboard: Leaderboard) -> str:
    """Returns the leaderboard as a Markdown page."""
    rows = leaderboard_rows(leaderboard)
    titles = list(rows[0]) if rows else []
    lines = [
        f"# {leaderboard.study}",
        "",
        f"**{leaderboard.question}**",
        "",
        leaderboard.answer,
        "",
        *markdown_table(["" if title == "name" else title for title in titles], [list(row.values()) for row in rows]),
        "",
        *(f"{note}\n" for note in leaderboard_notes(leaderboard)),
        *(fidelity_section(leaderboard.fidelity) if leaderboard.fidelity else []),
        *(analysis_section(leaderboard.analysis) if leaderboard.analysis else []),
    ]
    return "\n".join(lines)


def table_markdown(table: Table) -> str:
    """Returns the table as a Markdown page."""
    titles = ["", *(f"{column}: {title}" for column in table.columns for title in TITLES)]
    rows = [[row.name, *(text for column in table.columns for text in figures(row.cells[column]))] for row in table.rows]
    lines = [
        f"# {table.study}",
        "",
        f"**{table.question}**",
        "",
        *(f"- {column}: {answer}" for column, answer in table.answers.items()),
        "",
        *markdown_table(titles, rows, are_figures=True),
        "",
        *(f"{note}\n" for note in table_notes(table)),
    ]
    if table.published:
        published = markdown_table(["", *table.columns], published_rows(table), are_figures=True)
        lines += ["## Published figures", "", published_note(table.published), "", *published, ""]
    return "\n".join(lines)


def fidelity_section(fidelity: Fidelity) -> list[str]:
    """Returns the lines of the section on fidelity."""
    return [
        "## How well less training ranks the trials",
        "",
        *(f"{sentence}\n" for sentence in sentences(fidelity)),
        *fidelity_table(fidelity),
        "",
        f"τ: Kendall's, with the validation BLEU of the {len(fidelity.full)} full runs of {fidelity.steps} steps; p: of τ = 0; "
        "95 %: trials are resampled, and the interval is too narrow for few trials. Regret: the loss in BLEU if only the "
        "signal's choice is trained to the end. Place of the best: the rank that the signal gives to the trial with the best "
        "full run. Scores in flight are from the full runs themselves and share their random variation; the shorter runs do "
        "not.",
        "",
    ]


def fidelity_table(fidelity: Fidelity) -> Iterator[str]:
    """Returns the lines of the table on fidelity."""
    titles = ("", "step", "share of the steps", "τ", "95 %", "p", "its choice", "regret, BLEU", "place of the best")
    rows = [
        (
            signal.kind,
            f"{signal.steps}",
            f"{signal.share:.0%}",
            "" if signal.tau is None else f"{signal.tau:.2f}",
            f"{signal.interval[0]:.2f} … {signal.interval[1]:.2f}" if signal.interval else "",
            "" if signal.p_value is None else f"{signal.p_value:.3f}",
            ", ".join(signal.choice),
            f"{signal.regret:.2f}",
            f"{signal.place_of_best} of {len(fidelity.full)}",
        )
        for signal in fidelity.signals
    ]
    return markdown_table(titles, rows)
