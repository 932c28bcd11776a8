"""The leaderboard as people read it: a page, and the cells of a table."""

from statistics import fmean

from mtnat.lab.answer import plain
from mtnat.lab.fidelity import section
from mtnat.lab.leaderboard import Leaderboard
from mtnat.lab.rows import Row


def markdown(leaderboard: Leaderboard) -> str:
    """The leaderboard as a page for people."""
    rows = grid(leaderboard)
    titles = list(rows[0]) if rows else []
    lines = [
        f"# {leaderboard.study}",
        "",
        f"**{leaderboard.question}**",
        "",
        leaderboard.answer,
        "",
        f"| {' | '.join('' if title == 'name' else title for title in titles)} |",
        "|---" * len(titles) + "|",
        *(f"| {' | '.join(row.values())} |" for row in rows),
        "",
        *(f"{note}\n" for note in _notes(leaderboard)),
        *(section(leaderboard.fidelity) if leaderboard.fidelity else []),
    ]
    return "\n".join(lines)


def grid(leaderboard: Leaderboard) -> list[dict[str, str]]:
    """Rows as text by title, without columns in which nothing stands."""
    rows = [_cells(row, leaderboard) for row in leaderboard.rows]
    return [{title: text for title, text in row.items() if any(each[title] for each in rows)} for row in rows]


def _notes(leaderboard: Leaderboard) -> list[str]:
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


def _cells(row: Row, leaderboard: Leaderboard) -> dict[str, str]:
    """A row as text, by title."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    others = [name for name in leaderboard.objectives if name != "valid.bleu"]
    return {
        "name": row.name,
        "kind": row.kind,
        "BLEU": _score(row),
        "95 %": f"{row.interval[0]:.1f} … {row.interval[1]:.1f}" if row.interval else "",
        "tokenized": number(fmean(row.tokenized) if row.tokenized else None, ".2f"),
        "difference": number(row.difference, "+.2f"),
        "p": number(row.p_value, ".3f"),
        "95 % of difference": f"{row.difference_interval[0]:+.1f} … {row.difference_interval[1]:+.1f}"
        if row.difference_interval
        else "",
        "p over seeds": number(row.p_value_over_seeds, ".3f"),
        "seeds needed": "" if row.seeds_needed is None else str(row.seeds_needed).replace("more than ", "> "),
        "valid": number(row.valid, ".2f") if row.is_full else "",
        **{name: plain(name, row.metrics[name]) if name in row.metrics else "" for name in others},
        "front": "●" if row.on_front else "",
        "seeds": " ".join(map(str, row.seeds)),
        "seconds": f"{row.spent.seconds:.0f}",
        "GPU-hours": number(row.spent.gpu_seconds / 3600 or None, ".2f"),
        "tokens": number(row.spent.tokens, ",d") if row.spent.tokens is not None else "",
        "Wh": number(None if row.spent.joules is None else row.spent.joules / 3600, ".1f"),
    }


def _score(row: Row) -> str:
    if row.mean is None:
        return "failed"
    if row.pruned is not None:
        return f"{row.mean:.2f} (pruned at step {row.pruned})"
    if row.rung is not None:
        return f"{row.mean:.2f} (valid, T = {row.rung})"
    return f"{row.mean:.2f}{row.mark}" if row.confirmed else f"{row.mean:.2f} (valid)"
