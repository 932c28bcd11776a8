"""Groups of models: the trainings of one method with several seeds."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from mtnat.analysis.probing.features import architecture
from mtnat.errors import UserError
from mtnat.training import Model

_MOST_NAMED = 5
"""Number of settings that a note lists."""


def check_groups(groups: Mapping[str, Mapping[str, Model]]) -> list[str]:
    """Checks that the models of each group can be the seeds of one training method.

    Args:
        groups: the models of each group, by the folder or address of the model.

    Returns:
        A note for each group whose models differ in other settings than the seed.

    Raises:
        UserError: two models of a group have different encoders, or are one training.
    """
    notes = []
    for group, models in groups.items():
        for (one, first), (other, second) in combinations(models.items(), 2):
            if architecture(first) != architecture(second):
                raise UserError(
                    f"--model {group}: {one} and {other} have different architectures or "
                    "vocabularies; give them different names."
                )
            if first.experiment == second.experiment:
                raise UserError(
                    f"--model {group}: {one} and {other} have equal settings and the seed {first.experiment.seed}, and are one "
                    "training; give models of different seeds."
                )
        if different := _different(list(models.values())):
            listed = ", ".join(different[:_MOST_NAMED]) + (" and others" if different[_MOST_NAMED:] else "")
            notes.append(
                f"{group}: its models differ not only in the seed but in {listed}; seeds of one method have equal settings"
            )
    return notes


def _different(models: Sequence[Model]) -> list[str]:
    """Returns the paths of the settings other than the seed in which models differ."""
    first, *others = (dict(_flat(model.experiment.model_dump(mode="json"))) for model in models)
    paths = {path: None for settings in (first, *others) for path in settings}
    return [path for path in paths if path != "seed" and any(each.get(path) != first.get(path) for each in others)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
