"""The systems and kinds of decoding that an experiment can name: those of this package and those of plug-ins."""

import warnings
from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field

from mtnat.decoding import Decoding
from mtnat.systems.ctc import Ctc
from mtnat.systems.glat import Glat
from mtnat.systems.mask_predict import MaskPredict
from mtnat.systems.system import System

GROUP = "mtnat.systems"
"""The entry-point group under which a package offers systems, each a subclass of `System`."""
BUILT_IN: tuple[type[System], ...] = (MaskPredict, Glat, Ctc)


def kind_of(record: type[System] | type[Decoding]) -> str:
    """Returns the name by which a study file chooses a system or a kind of decoding."""
    return str(record.model_fields["kind"].default)


def _plug_ins() -> list[type[System]]:
    """Loads the systems of other packages. A system that cannot be used is left out with a warning."""
    found: list[type[System]] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            system = entry.load()
        except Exception as error:  # the code of another package may raise any exception
            warnings.warn(f"the system {entry.value} cannot be loaded and is left out: {error}", stacklevel=2)
            continue
        problem = _problem(system, [*BUILT_IN, *found])
        if problem:
            warnings.warn(f"the system {entry.value} is left out: {problem}", stacklevel=2)
        else:
            found.append(system)
    return found


def _problem(system: object, others: list[type[System]]) -> str | None:
    """Returns why a class cannot be used as a system, or None if it can."""
    if not (isinstance(system, type) and issubclass(system, System)):
        return "it must be a subclass of mtnat.systems.System"
    field = system.model_fields.get("kind")
    if field is None or not isinstance(field.default, str):
        return 'it needs a field such as kind: Literal["mine"] = "mine"'
    if field.default in map(kind_of, others):
        return f"another system has the kind {field.default!r}"
    return None


SYSTEMS: tuple[type[System], ...] = (*BUILT_IN, *_plug_ins())
"""All systems: built-in ones, then those of plug-ins."""
DECODINGS: tuple[type[Decoding], ...] = tuple(dict.fromkeys(kind for system in SYSTEMS for kind in system.decodings))
"""All kinds of decoding of these systems."""


def _default_kind(kind: str) -> BeforeValidator:
    """Returns a validator that adds the default ``kind`` where it is missing, so that older study files stay valid."""
    return BeforeValidator(lambda value: {"kind": kind, **value} if isinstance(value, dict) and "kind" not in value else value)


def _union(members: tuple[type[Any], ...], default: type[Any]) -> Any:
    return Annotated[reduce(or_, members), Field(discriminator="kind"), _default_kind(kind_of(default))]


if TYPE_CHECKING:
    AnySystem = System
    AnyDecoding = Decoding
else:
    AnySystem = _union(SYSTEMS, MaskPredict)
    AnyDecoding = _union(DECODINGS, MaskPredict.decodings[0])
