"""The analysis of encoders as a section of a Markdown page."""

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

from mtnat.lab.outputs.probed import Folds
from mtnat.lab.report.markdown_table import markdown_table
from mtnat.lab.results.analysis import EncoderAnalysis

_MEASURES = {"mean CCA": "mean_cca", "chance": "chance", "SVCCA": "svcca", "PWCCA": "pwcca", "CKA": "cka"}
"""The measures of the table by title."""


def analysis_section(analysis: EncoderAnalysis) -> list[str]:
    """Returns the lines of the section on the encoders."""
    lines = ["## What the encoders represent", ""]
    if analysis.similarities:
        lines += [*similarity_table(analysis), "", similarity_note(), ""]
    if analysis.tasks:
        lines += [*probing_table(analysis), "", probing_note(analysis), ""]
    return lines


def similarity_table(analysis: EncoderAnalysis) -> Iterator[str]:
    """Yields the lines of the table on the similarity of the final encoders."""
    rows = [
        [
            each.trial,
            "its own other seeds" if each.trial == each.against else each.against,
            *(_mean(each.final[measure]) for measure in _MEASURES.values()),
            " ".join(map(str, each.seeds)),
        ]
        for each in analysis.similarities
    ]
    return markdown_table(("encoder of", "compared with", *_MEASURES, "seeds"), rows)


def similarity_note() -> str:
    """Returns what the figures of similarity are."""
    return (
        "Similarity of the top encoder layers of the final models: mean ± standard deviation over the seeds of the trial on "
        "the left, for each of which it is the mean over the runs of the other trial. Encoders of the same seed are not "
        "compared if there are others. The similarity of a trial to its own other seeds shows how similar two trainings of one "
        "system are. Chance: mean CCA of independent noise. PWCCA has the weights of the trial on the left."
    )


def probing_table(analysis: EncoderAnalysis) -> Iterator[str]:
    """Yields the lines of the table on probing tasks."""
    trials = [each.trial for each in analysis.tasks[0].trials]
    titles = ("task", "classes", "majority", "bag of words", "untrained", *trials)
    rows = [
        [
            task.task,
            str(task.classes),
            f"{100 * fmean(task.majority):.1f}",
            f"{100 * fmean(task.bag_of_words):.1f}",
            _percent([folds for each in task.trials for folds in each.untrained]),
            *(f"{_percent(each.final)}{each.mark}" for each in task.trials),
        ]
        for task in analysis.tasks
    ]
    return markdown_table(titles, rows)


def probing_note(analysis: EncoderAnalysis) -> str:
    """Returns what the figures of probing are."""
    tests = sum(each.p_value_adjusted is not None for task in analysis.tasks for each in task.trials)
    note = (
        "Accuracy in percent: mean ± standard deviation over the seeds of the translation models; for each of them it is the "
        "mean over ten folds. Untrained: the encoders of all trials and seeds before the training. "
    )
    if tests:
        note += (
            f"↑ better than {analysis.against} at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse (Welch's t-test over seeds, with the "
            f"variance of the folds; adjusted for {tests} comparison{'s' if tests > 1 else ''}, Holm 1979). "
        )
    gains = analysis.gains()
    if not gains:
        return f"{note}No cell has a mark, because one seed does not tell whether other seeds would agree."
    found = [
        f"{trial} in {len(of_trial.settled)} of {len(of_trial.settled) + len(of_trial.others)} tasks"
        + (f" (not {', '.join(of_trial.others)})" if of_trial.settled and of_trial.others else "")
        for trial, of_trial in gains.items()
    ]
    (comparisons,) = {of_trial.comparisons for of_trial in gains.values()}
    return f"{note}Above the untrained encoders at p < 0.05 (adjusted for {comparisons} comparisons): {'; '.join(found)}."


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def _percent(accuracies: Sequence[Folds]) -> str:
    """Returns the mean of accuracies in percent, with their standard deviation over the seeds."""
    means = [100 * fmean(folds) for folds in accuracies]
    if not means:
        return ""
    return f"{fmean(means):.1f}" + (f" ± {stdev(means):.1f}" if len(means) > 1 else "")
