"""The names of the figures of encoders in the curves of a run."""

from collections.abc import Callable, Mapping

from mtnat.analysis.similarity import Similarity
from mtnat.lab.study.record import slug

MEASURES: Mapping[str, Callable[[Similarity], float]] = {
    "mean_cca": lambda found: found.mean_cca,
    "svcca": lambda found: found.svcca,
    "pwcca": lambda found: found.pwcca[0],
    "cka": lambda found: found.cka,
    "chance": lambda found: found.mean_cca_chance,
}
"""The measures of similarity by name. PWCCA has the weights of the run itself; chance is the level of mean CCA for independent
noise."""
_FINAL = "final/"


def similarity_name(trial: str, measure: str, *, is_final: bool) -> str:
    """Returns the name of the similarity to the encoders of a trial: the mean over its runs."""
    return f"{_FINAL if is_final else ''}similarity/{slug(trial)}/{measure}"


def probing_name(task: str, *, is_final: bool) -> str:
    """Returns the name of the accuracy on a task."""
    return f"{_FINAL if is_final else ''}probing/{slug(task)}"
