"""Frozen, strict records. All problems of their settings are reported at once, each with path and remedy."""

import copy
import difflib
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from mtnat.config.documents import Document, short, to_yaml
from mtnat.errors import ConfigError

RecordType = TypeVar("RecordType", bound="Record")

_NO_TEXT = "[key]"
"""The element that pydantic appends to a location if a name in a mapping is not text."""


class Record(BaseModel):
    """A frozen, strict, keyword-only set of settings. The docstring of a field is its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


@dataclass(frozen=True)
class DefaultKind:
    """Annotation of a union of records with a discriminator ``kind``: the kind of a mapping that does not name it."""

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Adds the kind before the union is validated."""
        return core_schema.no_info_before_validator_function(self._added, handler(source))

    def _added(self, value: Any) -> Any:
        return {"kind": self.kind, **value} if isinstance(value, Mapping) and "kind" not in value else value


def write_yaml(record: Record) -> str:
    """Returns a record as YAML, from which `build` makes an equal record."""
    return to_yaml(record.model_dump(mode="json"))


def build(record_type: type[RecordType], data: object, where: str = "") -> RecordType:
    """Builds a record from plain data.

    Args:
        data: the settings. If this is a `Document`, each problem is reported with its line.
        where: prefix of the path in every problem, such as ``experiment``.

    Raises:
        ConfigError: the settings are not valid; the error lists all problems.
    """
    try:
        return record_type.model_validate(data)
    except ValidationError as error:
        problems = _problems(record_type, error, where)
        located = (data.at(names, problem) if isinstance(data, Document) else problem for names, problem in problems)
        raise ConfigError(dict.fromkeys(located)) from None


def replace(record: RecordType, settings: Mapping[str, Any], where: str = "") -> RecordType:
    """Returns a copy of the record with settings (or whole sub-records) replaced by dotted path.

    A new ``….kind`` resets the other settings of its sub-record to their defaults, because they belong to the old kind.
    A setting that was set neither in the record nor here has its default, which may depend on other settings.

    Raises:
        ConfigError: a path does not exist or a value is not valid.
    """
    data = record.model_dump(mode="json")
    astray: list[str] = []
    for path in sorted(settings, key=lambda path: (path.count("."), not path.endswith(".kind"), path)):
        *parents, leaf = path.split(".")
        node: Any = data
        for name in parents:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            hint = nearest(path, leaf_types(type(record))) or "; leave it out."
            astray.append(f"{_join(where, path)}: there is no such setting{hint}")
            continue
        if leaf == "kind" and node.get("kind") != settings[path]:
            node.clear()
        node[leaf] = copy.deepcopy(settings[path])
    if astray:
        raise ConfigError(astray)
    _leave_out_defaults(record, data, settings)
    return build(type(record), data, where)


def _leave_out_defaults(
    record: Record, data: dict[str, Any], settings: Iterable[str], prefix: str = "", *, needs_kind: bool = False
) -> None:
    """Removes the settings that were not set, neither in the record nor by one of the paths."""
    for name, field in type(record).model_fields.items():
        path = f"{prefix}{name}"
        if any(each == path for each in settings) or (name == "kind" and needs_kind):
            continue
        value = getattr(record, name)
        if isinstance(value, Record) and isinstance(data.get(name), dict):
            has_default = any(isinstance(each, DefaultKind) for each in field.metadata)
            _leave_out_defaults(value, data[name], settings, f"{path}.", needs_kind=not has_default)
        if name not in record.model_fields_set and not any(each.startswith(f"{path}.") for each in settings):
            data.pop(name, None)


def leaf_types(record_type: type[Record], prefix: str = "") -> dict[str, list[Any]]:
    """Returns every setting that a dotted path can name, with its types; there are several if kinds share a name."""
    found: dict[str, list[Any]] = {}
    for name, field in record_type.model_fields.items():
        path = f"{prefix}{name}"
        found.setdefault(path, []).append(field.annotation)
        for part in _sub_records(field.annotation):
            for inner, types_ in leaf_types(part, f"{path}.").items():
                found.setdefault(inner, []).extend(types_)
    return found


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` if a known name is similar, otherwise an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _sub_records(annotation: Any) -> list[type[Record]]:
    """Returns the record types inside an annotation such as ``Annotated[A | B, …]``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [part for inner in typing.get_args(annotation) for part in _sub_records(inner)]
    return []


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _problems(record_type: type[Record], error: ValidationError, where: str) -> Iterator[tuple[list[str], str]]:
    """Yields the path of each problem that pydantic found, as names, and a sentence that describes it."""
    found = error.errors(include_url=False)
    broken = {tuple(problem["loc"]) for problem in found}
    for problem in found:
        if problem["type"] == "default_factory_not_called":
            continue  # a default that depends on another setting, whose problem is reported itself
        if any(place[: len(problem["loc"])] == problem["loc"] for place in broken - {problem["loc"]}):
            continue  # "too few items" of a sequence, which only follows from a broken item that is reported itself
        owner, names = _place(record_type, problem["loc"])
        sentence = re.sub(r"\s+", " ", _sentence(problem, owner, _join(where, *names), names))
        yield [*names, *_blamed(problem)], sentence if sentence.endswith(("?", ".")) else f"{sentence}."


def _blamed(problem: ErrorDetails) -> list[str]:
    """Returns the names that lead from a problem's location to the setting that it concerns."""
    match problem["type"]:
        case "union_tag_invalid":
            return ["kind"]
        case "value_error":
            return str(problem["ctx"]["error"]).split()[0].rstrip(":").split(".")
        case _:
            return []


def _sentence(problem: ErrorDetails, owner: type[Record] | None, path: str, names: list[str]) -> str:
    """Returns a sentence for the problem at `path`, whose last name is, or should be, a field of `owner`."""
    got = problem.get("input")
    match problem["type"]:
        case "extra_forbidden":
            return f"{path} is unknown{_hint(names[-1], list(owner.model_fields) if owner else [])}"
        case "missing":
            return f"{path} is missing; add it"
        case "union_tag_invalid":
            tag, tags = str(problem["ctx"]["tag"]), str(problem["ctx"]["expected_tags"]).replace("'", "").split(", ")
            return f"{path}.kind: '{tag}' is unknown{_hint(tag, tags)}"
        case "union_tag_not_found":
            return f"{path}: needs `kind: …`; got {short(got)}"
        case "value_error":
            message = str(problem["ctx"]["error"])
            about_a_field = owner is not None and message.split()[0].rstrip(":") in leaf_types(owner)
            return f"{path}{'.' if about_a_field else ': '}{message}" if path else message
        case _ if problem["type"] == "invalid_key" or names[-1:] == [_NO_TEXT]:
            inside = path.removesuffix(".".join(names[-2 if names[-1] == _NO_TEXT else -1 :])).rstrip(".")
            return f"{inside or 'the file'}: a name must be text; got {short(got)}; put it in quotes"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"{path or 'the file'}: must be `name: value` lines; got {short(got)}"
        case _:
            rule = re.sub(r"^(Input|Value) should |^\w+ should ", "", problem["msg"])
            return f"{path}: must {rule if rule.startswith(('be ', 'have ')) else f'be {rule}'}; got {short(got)}"


def _hint(name: str, known: list[str]) -> str:
    return nearest(name, known) or f"; known here: {', '.join(known)}"


def _place(record_type: type[Record], location: tuple[int | str, ...]) -> tuple[type[Record] | None, list[str]]:
    """Returns the innermost record of a pydantic location, and the names of the location without the tags of unions."""
    owner: type[Record] | None = record_type
    here: Any = record_type
    names: list[str] = []
    for part in location:
        here, kinds = _unwrapped(here)
        if kinds:  # this element is the tag by which pydantic names a member of a union; it is not in the file
            here = next((kind for kind in _sub_records(here) if _tag(kind) == part), None)
            owner = here or owner
            continue
        names.append(str(part))
        if isinstance(here, type) and issubclass(here, Record):
            owner, field = here, here.model_fields.get(str(part))
            here = field.annotation if field else None
        else:
            inner = typing.get_args(here)
            here = inner[-1 if typing.get_origin(here) in (dict, Mapping) else 0] if inner else None
    here, _ = _unwrapped(here)
    return (here if isinstance(here, type) and issubclass(here, Record) else owner), names


def _unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """Returns an annotation without ``Annotated`` and ``| None``, and its members if it is a union of several types."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, []
    members = [part for part in typing.get_args(annotation) if part is not types.NoneType]
    return _unwrapped(members[0]) if len(members) == 1 else (annotation, members)


def _tag(record_type: type[Record]) -> str | None:
    """Returns the value of a record's `kind` field, by which pydantic names it inside a union."""
    field = record_type.model_fields.get("kind")
    return str(field.default) if field else None
