"""What a reader must know beside the figures of a leaderboard or a table."""

from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table


def leaderboard_notes(leaderboard: Leaderboard) -> list[str]:
    """What the figures are, and what else a reader must know."""
    rows = leaderboard.rows
    tokenized = next((row.tokenized_signature for row in rows if row.tokenized_signature), None)
    against = next((row.against for row in rows if row.against), None)
    notes = [
        f"BLEU on {leaderboard.test_set or 'the validation set'}: {leaderboard.signature}." if leaderboard.signature else "",
        f"Tokenized BLEU, for comparison with papers that print it: {tokenized}." if tokenized else "",
        f"Compared with {against}: ↑ better at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse (paired bootstrap, 1000 resamples per seed, "
        "twice the median p over seeds, of those that point the other way 1). p over seeds and the difference's interval: the "
        "sentences resampled, the seeds as in a t-test."
        if against
        else "",
        "Seeds needed: as many show such a difference at p < 0.05 four times out of five (paired t-test over seeds); it rests "
        "on the seeds there are, so it is a rough figure. Where there are so many and p over seeds is not below 0.05, test "
        "sentences are what lacks."
        if any(row.seeds_needed is not None for row in rows)
        else "",
        "Rows marked (valid) were not confirmed: one seed, validation set." if any(not row.confirmed for row in rows) else "",
        "Rows with a step or a T behind their score were not trained to their end; only rows with the same one compare."
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
