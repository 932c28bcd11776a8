"""YAML to frozen, strict records; every problem of a file at once, each with its path and its remedy."""

import difflib
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mtnat.errors import ConfigError

RecordType = TypeVar("RecordType", bound="Record")


class Record(BaseModel):
    """A frozen, strict, keyword-only set of settings; a field's docstring is its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False, ser_json_inf_nan="strings"
    )


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML 1.2 numbers (``1e-3`` is a float) and no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_UniqueKeyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)$"), list("-+.0123456789")
)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable YAML file.") from None
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not valid YAML ({reason}); mend that line.") from None
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: must hold `name: value` lines, not {type(data).__name__}; see studies/quickstart.yaml.")
    return data


def write_yaml(record: Record) -> str:
    """A record as YAML that `build` reads back to an equal record."""
    return yaml.safe_dump(record.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def build(record_type: type[RecordType], data: object, where: str = "") -> RecordType:
    """The record that `data` describes.

    Args:
        where: prefix of every problem's path, such as ``experiment``.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        return record_type.model_validate(data)
    except ValidationError as error:
        raise ConfigError(_problems(record_type, error, where)) from None


def replace(record: RecordType, settings: Mapping[str, Any], where: str = "") -> RecordType:
    """The record with leaves (or whole sub-records) set by dotted path.

    Choosing another ``….kind`` starts that sub-record afresh, since its other settings belonged to the old kind.

    Raises:
        ConfigError: a path does not exist or a value does not fit.
    """
    data = record.model_dump(mode="json")
    for path in sorted(settings, key=lambda path: (path.count("."), not path.endswith(".kind"), path)):
        *parents, leaf = path.split(".")
        node: Any = data
        for name in parents:
            node = node.setdefault(name, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise ConfigError(f"{_join(where, path)}: there is no such setting; name a leaf of the experiment.")
        if leaf == "kind" and node.get("kind") != settings[path]:
            node.clear()
        node[leaf] = settings[path]
    return build(type(record), data, where)


def leaf_types(record_type: type[Record], prefix: str = "") -> dict[str, list[Any]]:
    """Every setting that a dotted path can name, with the types it may take (several where kinds share a name)."""
    found: dict[str, list[Any]] = {}
    for name, field in record_type.model_fields.items():
        path = f"{prefix}{name}"
        found.setdefault(path, []).append(field.annotation)
        for part in _sub_records(field.annotation):
            for inner, types_ in leaf_types(part, f"{path}.").items():
                found.setdefault(inner, []).extend(types_)
    return found


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` where a known name is close, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""


def _sub_records(annotation: Any) -> list[type[Record]]:
    """The record types inside an annotation such as ``Annotated[A | B, …]``."""
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        return [part for inner in typing.get_args(annotation) for part in _sub_records(inner)]
    return []


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _problems(record_type: type[Record], error: ValidationError, where: str) -> list[str]:
    """One sentence for each thing pydantic found."""
    sentences: list[str] = []
    for problem in error.errors(include_url=False):
        owner, names = _owner(record_type, [str(part) for part in problem["loc"]])
        path = _join(where, *names)
        got = problem.get("input")
        match problem["type"]:
            case "extra_forbidden":
                known = list(owner.model_fields) if owner else []
                hint = nearest(names[-1], known) or f"; known here: {', '.join(known)}"
                sentence = f"{path} is unknown{hint}"
            case "missing":
                sentence = f"{path} is missing; add it"
            case "union_tag_invalid":
                context = problem["ctx"]
                known = [tag.strip().strip("'") for tag in str(context["expected_tags"]).split(",")]
                sentence = f"{path}.kind: '{context['tag']}' is unknown{nearest(str(context['tag']), known)}; kinds: {', '.join(known)}"
            case "union_tag_not_found":
                sentence = f"{path}: needs `kind: …`; got {_short(got)}"
            case "value_error":
                message = str(problem["ctx"]["error"])
                sentence = f"{path}: {message}" if path else message
            case _:
                message = problem["msg"].removeprefix("Input should be ").removeprefix("Value should ")
                sentence = f"{path}: must be {message}; got {_short(got)}"
        sentence = re.sub(r"\s+", " ", sentence)
        sentences.append(sentence if sentence.endswith(("?", ".")) else f"{sentence}.")
    return list(dict.fromkeys(sentences))


def _owner(record_type: type[Record], location: list[str]) -> tuple[type[Record] | None, list[str]]:
    """The record that holds a pydantic location's last name, and the location without union tags."""
    owners: list[type[Record]] = [record_type]
    names: list[str] = []
    for depth, part in enumerate(location):
        field = next((owner.model_fields[part] for owner in owners if part in owner.model_fields), None)
        names.append(part)
        if depth == len(location) - 1:
            break
        inner = _sub_records(field.annotation) if field else []
        if field and not inner:
            names += [rest for rest in location[depth + 1 :] if rest.isdigit()]
            return owners[0], names
        if inner:
            owners = inner
        elif names[-1] == part and any(_tag(owner) == part for owner in owners):
            names.pop()
            owners = [owner for owner in owners if _tag(owner) == part]
    return (owners[0] if owners else None), names


def _tag(record_type: type[Record]) -> str | None:
    """The value of a kind's `kind` field, by which pydantic names it inside a union."""
    field = record_type.model_fields.get("kind")
    return str(field.default) if field else None


def _short(value: object) -> str:
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
