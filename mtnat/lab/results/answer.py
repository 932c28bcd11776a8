"""The answer of a study in sentences that claim no more than the figures support."""

from collections.abc import Mapping, Sequence

from mtnat.lab.results.rows import Row
from mtnat.lab.results.words import plain, with_unit
from mtnat.lab.study.record import Study
from mtnat.lab.study.searching import Direction

MOST_NAMED = 6
"""The most members of a front that the answer names; the leaderboard marks all of them."""


def answer(winner: Row | None, rows: Sequence[Row], study: Study) -> str:
    """Returns what the study found, and with several metrics also their front."""
    found = f"{_found(winner, rows, study)}{_text(winner)}"
    front = [row for row in rows if row.on_front]
    return f"{found} {front_sentence(front, study.objectives)}" if front else found


def _found(winner: Row | None, rows: Sequence[Row], study: Study) -> str:
    if winner is None or winner.mean is None:
        return "There is no answer: no run ended well; leaderboard.json has the reasons."
    if not winner.confirmed:
        loss = f"a loss of {plain('valid.loss', metric_of(winner, 'valid.loss'))} and " if study.metric == "valid.loss" else ""
        return (
            f"{winner.described} is best on the validation set with {loss}{winner.mean:.1f} BLEU; that was one seed and no "
            "test set, so add `confirm` to the study to test it."
        )
    seeds = f"{len(winner.seeds)} seeds" if len(winner.seeds) > 1 else "1 seed"
    score = f"{winner.mean:.1f} BLEU on the test set ({seeds})"
    assert study.confirm is not None
    against = study.confirm.against
    if winner.name == against:
        return f"{against} itself is best on the validation set, with {score}; nothing that was tried does better there."
    if winner.difference is None or winner.p_value is None:
        return f"{winner.described} is best on the validation set, with {score}; {against} has no score to compare with."
    if winner.p_value_adjusted is None:
        return (
            f"{winner.described} is best on the validation set, with {score}, {winner.difference:+.1f} against {against} "
            f"({_p(winner.p_value)} for these two models). One seed does not tell whether other seeds would agree; add seeds "
            "to confirm.seeds."
        )
    mark = f"{winner.mark}, " if winner.mark else ""
    compared = f"{winner.difference:+.1f} against {against} ({mark}{_p(winner.p_value_adjusted)} over seeds and sentences)"
    if winner.mark in ("⇑", "↑"):
        return f"{winner.described}, best on the validation set, translates better than {against}: {score}, {compared}."
    if winner.mark:
        return (
            f"{winner.described} is best on the validation set, but worse than {against} on the test set: {score}, {compared}."
        )
    if any(row.mark for row in rows):
        found = (
            f"{winner.described} is best on the validation set, but not significantly better than {against} at 0.05: {score}"
        )
    else:
        found = (
            f"No difference to {against} is significant at 0.05; {winner.described} is best on the validation set, with {score}"
        )
    return f"{found}, {compared}.{_more_seeds(winner)}"


def front_sentence(front: Sequence[Row], objectives: Mapping[str, Direction]) -> str:
    """Returns a sentence with the members of a front, the best by the first metric first."""
    first, *others = objectives
    order = sorted(front, key=lambda row: metric_of(row, first), reverse=objectives[first] == "max")
    names = [f"{row.name} ({', '.join(with_unit(name, metric_of(row, name)) for name in objectives)})" for row in order]
    metrics = f"{', '.join([first, *others[:-1]])} and {others[-1]}"
    if len(names) == 1:
        return f"{names[0]} is alone on the front of {metrics}: no other is better in any of them."
    more = f"; and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"On the front of {metrics}: {'; '.join(names[:MOST_NAMED])}{more}."


def metric_of(row: Row, metric: str) -> float:
    """Returns the value of a metric, which the row must have."""
    value = row.valid if metric == "valid.bleu" else row.metrics[metric]
    assert value is not None
    return value


def _text(winner: Row | None) -> str:
    """Returns a sentence on the training text of the winner, if it is not the corpus's own."""
    if winner is None or winner.mean is None or winner.text in (None, "raw"):
        return ""
    return f" {winner.name} was trained on this text: {winner.text}."


def _more_seeds(winner: Row) -> str:
    """Returns a sentence with the number of seeds that would show the difference, if that is more than there were."""
    needed = winner.seeds_needed
    if needed is None or (isinstance(needed, int) and needed <= len(winner.seeds)):
        return ""
    number = f"About {needed}" if isinstance(needed, int) else needed.capitalize()
    return f" {number} seeds would be needed to see a difference of this size."


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
