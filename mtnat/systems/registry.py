"""The systems and kinds of decoding that an experiment can name: those of this package and those of plug-ins."""

import warnings
from functools import reduce
from importlib.metadata import entry_points
from inspect import isabstract
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mtnat.config import DefaultKind
from mtnat.decoding import Decoding
from mtnat.systems.copied_source import VanillaNat
from mtnat.systems.ctc import Ctc
from mtnat.systems.curriculum import FclNat
from mtnat.systems.da_transformer import DaTransformer
from mtnat.systems.glat import Glat
from mtnat.systems.hints import HintNat
from mtnat.systems.levenshtein import Levenshtein
from mtnat.systems.mask_predict import MaskPredict
from mtnat.systems.nad_ad import NadAd
from mtnat.systems.nat_reg import NatReg
from mtnat.systems.system import System

GROUP = "mtnat.systems"
"""The entry-point group under which a package offers systems, each a subclass of `System`."""
BUILT_IN: tuple[type[System], ...] = (
    MaskPredict,
    Glat,
    Ctc,
    Levenshtein,
    DaTransformer,
    VanillaNat,
    NatReg,
    FclNat,
    HintNat,
    NadAd,
)


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
            warnings.warn(f"the system {entry.value} is left out: it cannot be loaded ({error})", stacklevel=2)
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
    if isabstract(system):
        return f"it lacks {', '.join(sorted(system.__abstractmethods__))}"
    decodings = getattr(system, "decodings", None)
    if not (isinstance(decodings, tuple) and decodings and all(_is_a(each, Decoding) for each in decodings)):
        return "it needs decodings, a tuple of subclasses of mtnat.decoding.Decoding"
    for record in (system, *decodings):
        field = record.model_fields.get("kind")
        if field is None or field.annotation != Literal[field.default]:
            return f'{record.__name__} needs a field such as kind: Literal["mine"] = "mine"'
    if kind_of(system) in map(kind_of, others):
        return f"another system has the kind {kind_of(system)!r}"
    known = {kind_of(each): each for other in others for each in other.decodings}
    for each in decodings:
        if known.setdefault(kind_of(each), each) is not each:
            return f"another decoding has the kind {kind_of(each)!r}"
    return None


def _is_a(value: object, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


SYSTEMS: tuple[type[System], ...] = (*BUILT_IN, *_plug_ins())
"""All systems: built-in ones, then those of plug-ins."""
DECODINGS: tuple[type[Decoding], ...] = tuple(dict.fromkeys(kind for system in SYSTEMS for kind in system.decodings))
"""All kinds of decoding of these systems."""


def _union(members: tuple[type[Any], ...], default: type[Any]) -> Any:
    return Annotated[reduce(or_, members), Field(discriminator="kind"), DefaultKind(kind_of(default))]


if TYPE_CHECKING:
    AnySystem = System
    AnyDecoding = Decoding
else:
    AnySystem = _union(SYSTEMS, MaskPredict)
    AnyDecoding = _union(DECODINGS, MaskPredict.decodings[0])
