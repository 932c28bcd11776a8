"""The notes below a leaderboard or a table: what the figures are and how to compare them."""

from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table


def leaderboard_notes(leaderboard: Leaderboard) -> list[str]:
    """Returns the notes of a leaderboard."""
    rows = leaderboard.rows
    tokenized = next((row.tokenized_signature for row in rows if row.tokenized_signature), None)
    against = next((row.against for row in rows if row.against), None)
    notes = [
        f"BLEU on {leaderboard.test_set or 'the validation set'}: {leaderboard.signature}." if leaderboard.signature else "",
        f"Tokenized BLEU, for comparison with papers that report it: {tokenized}." if tokenized else "",
        f"Compared with {against}: ↑ better at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse (paired bootstrap, 1000 resamples per seed; "
        "p is twice the median over seeds, where a seed with the opposite sign counts as 1). p over seeds and the interval of "
        "the difference: sentences are resampled, seeds are treated as in a t-test."
        if against
        else "",
        "Seeds needed: with this number of seeds, a paired t-test over seeds finds the difference at p < 0.05 in four cases "
        "out of five. It is a rough estimate from the seeds at hand. If there are that many seeds and p over seeds is not "
        "below 0.05, more test sentences are needed."
        if any(row.seeds_needed is not None for row in rows)
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
    if table.published:
        notes.append(f"In grey, {published_note(table.published)}")
    return notes


def _comparison_notes(table: Table) -> list[str]:
    """Returns the notes on means, marks and tests."""
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
                f"{name}, the same difference over seeds and sentences together (sentences are resampled, seeds are treated as "
                "in a t-test): "
                f"{', '.join(told)}."
            )
    return notes


def published_note(source: str) -> str:
    """Returns the note on published figures."""
    return f"published elsewhere: {source}. Other text and other training: not comparable with ours."
