"""The notes below a leaderboard or a table: what the figures are and how to compare them."""

from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table

_MARKS = "↑ better at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse"


def leaderboard_notes(leaderboard: Leaderboard) -> list[str]:
    """Returns the notes of a leaderboard."""
    rows = leaderboard.rows
    tokenized = next((row.tokenized_signature for row in rows if row.tokenized_signature), None)
    against = next((row.against for row in rows if row.against), None)
    notes = [
        f"BLEU on {leaderboard.test_set or 'the validation set'}: {leaderboard.signature}." if leaderboard.signature else "",
        f"Tokenized BLEU, for comparison with papers that report it: {tokenized}." if tokenized else "",
        f"Compared with {against}: {_MARKS}. {_tested(sum(row.p_value_adjusted is not None for row in rows))}"
        if any(row.p_value_adjusted is not None for row in rows)
        else "",
        "The p of these models only is that of the paired bootstrap over sentences (Hao et al. 2021, A.4; 1000 resamples per "
        "seed, twice the median over seeds; a seed with the opposite sign counts as 1). It does not cover other seeds."
        if against
        else "",
        "No row has a mark, because one seed does not tell whether other seeds would agree."
        if against and all(row.p_value_adjusted is None for row in rows)
        else "",
        "Seeds needed: with this number of seeds, a paired t-test over seeds finds the difference at p < 0.05 in four cases "
        "out of five. It is a rough estimate from the seeds at hand. If there are that many seeds and p is not below 0.05, "
        "more test sentences are needed."
        if any(row.seeds_needed is not None for row in rows)
        else "",
        "valid.loss is the loss of the branch that translates; it is comparable between trials of one system only."
        if "valid.loss" in leaderboard.objectives
        else "",
        "Speed: sentences/s are those of the whole test set in batches, ms for one is the median of sentences that are "
        "translated one at a time, both by the model of the first seed, on the device of the runs and while no other run of "
        "the study was in progress. Layers in sequence do not depend on the machine: those of the encoder, and those of the "
        "decoder for every pass."
        if any(row.speed for row in rows)
        else "",
        "Rows marked (valid) were not confirmed: one seed, validation set." if any(not row.confirmed for row in rows) else "",
        "Rows with a step or a T after their score were not trained to their end; only rows with the same one are comparable."
        if any(not row.is_full for row in rows)
        else "",
        *leaderboard.notes,
        *(f"{row.name} failed: {row.failed}" for row in rows if row.failed),
    ]
    notes += [
        f"{row.name}: {', '.join(f'{path} = {value}' for path, value in row.settings.items())}"
        for row in rows
        if row.kind == "trial"
    ]
    return list(filter(None, notes))


def table_notes(table: Table) -> list[str]:
    """Returns the notes of a table."""
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
    return notes


def _comparison_notes(table: Table) -> list[str]:
    """Returns the notes on means, marks and tests."""
    seeds = sorted({cell.seeds for row in table.rows for cell in row.cells.values() if cell.seeds})
    several = seeds != [1]
    notes = []
    if seeds:
        spread = "; ±: 95 % of the mean (Student's t)" if several else ""
        notes.append(f"Means over {' or '.join(map(str, seeds))} seed{'s' if several else ''}{spread}.")
    compared = {
        name: {row.name: cell.p_value_adjusted for row in table.rows if (cell := row.cells[name]).p_value_adjusted is not None}
        for name in table.columns
    }
    if table.against and any(compared.values()):
        most = max(map(len, compared.values()))
        notes.append(f"Against {table.against} in the same column: {_MARKS}. {_tested(most)}")
    elif table.against:
        notes.append("No cell has a mark, because one seed does not tell whether other seeds would agree.")
    for name, found in compared.items():
        if found:
            notes.append(f"{name}: {', '.join(f'{system} p = {p_value:.3f}' for system, p_value in found.items())}.")
    return notes


def _tested(comparisons: int) -> str:
    """Returns the sentence on the test behind the marks."""
    adjusted = f", adjusted for {comparisons} comparisons (Holm 1979)" if comparisons > 1 else ""
    return (
        "p and the interval of the difference are over seeds and sentences together: sentences are resampled, seeds are "
        f"treated as in a t-test (hierarchical bootstrap, 1000 resamples). p is two-sided{adjusted}."
    )


def published_note(source: str) -> str:
    """Returns the note on published figures."""
    return f"Published elsewhere: {source}. Other text and other training: not comparable with ours."
