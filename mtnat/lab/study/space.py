"""What a study searches: leaves of the experiment, their ranges, and the conditions under which each is searched."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, Protocol

from pydantic import Field

from mtnat.config import Record, nearest, replace, short
from mtnat.errors import ConfigError

Value = Any
"""What YAML can hold at a leaf."""

_LARGEST_INT = 2**53
"""Up to which a float is every whole number."""
_NONE = object()
"""No value, where None is one."""
_OPTIONS = {"float": {"log", "step", "when"}, "int": {"log", "step", "when"}, "choice": {"when"}}


class Suggester(Protocol):
    """The three questions that an Optuna trial answers."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Dimension(Record):
    """How one leaf is searched: between two numbers or among choices."""

    path: str
    """The leaf, from the experiment's root."""
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Whether proposals are spread evenly over the logarithm."""
    step: float | None = None
    """Distance of neighbouring values; None is any value."""
    choices: tuple[Value, ...] = ()
    when: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    """Searched only while each of these leaves has one of its values."""

    def suggest(self, trial: Suggester) -> Value:
        """The value that a trial proposes."""
        if self.kind == "float":
            return trial.suggest_float(self.path, self.low, self.high, step=self.step, log=self.log)
        if self.kind == "int":
            return trial.suggest_int(self.path, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        labels = [as_label(choice) for choice in self.choices]
        return self.choices[labels.index(trial.suggest_categorical(self.path, labels))]

    def contains(self, value: Value) -> bool:
        """Whether a proposal can have this value."""
        if self.kind == "choice":
            return any(_same(value, choice) for choice in self.choices)
        if not _is_number(value, self.kind) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or 1.0)
        return self.step is None or abs(steps - round(steps)) < 1e-8

    @property
    def is_discrete(self) -> bool:
        """Whether its values can be counted."""
        return self.kind != "float" or self.step is not None

    @property
    def shown(self) -> str:
        """Its choices or bounds, for a person."""
        return str(list(self.choices)) if self.kind == "choice" else f"[{self.low:g}, {self.high:g}]"

    @property
    def points(self) -> Iterator[Value]:
        """Every value, in order, of a discrete dimension."""
        if self.kind == "choice":
            yield from self.choices
            return
        # In decimals, as a person would count: 0.1, 0.2, 0.3 and not 0.30000000000000004.
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step or 1.0))
        for number in range(int((high - low) / step) + 1):
            yield (int if self.kind == "int" else float)(low + number * step)

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values whose fitness speaks for all: every choice, or both ends."""
        if self.kind == "choice":
            return self.choices
        return (self.low, self.high) if self.kind == "float" else (int(self.low), int(self.high))

    def is_active(self, settings: Mapping[str, Value]) -> bool:
        """Whether the conditions hold."""
        return all(
            path in settings and any(_same(settings[path], value) for value in values) for path, values in self.when.items()
        )


class Space(Record):
    """All dimensions of a study's search, each after those its conditions name."""

    dimensions: tuple[Dimension, ...] = ()

    def draw(self, trial: Suggester) -> dict[str, Value]:
        """The settings that a trial proposes, conditions respected."""
        settings: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.is_active(settings):
                settings[dimension.path] = dimension.suggest(trial)
        return settings

    def grid(self) -> Iterator[dict[str, Value]]:
        """Every combination of a discrete space once, conditions respected; the last dimension changes fastest."""

        def walk(settings: dict[str, Value], dimensions: tuple[Dimension, ...]) -> Iterator[dict[str, Value]]:
            if not dimensions:
                yield settings
            elif dimensions[0].is_active(settings):
                for value in dimensions[0].points:
                    yield from walk(settings | {dimensions[0].path: value}, dimensions[1:])
            else:
                yield from walk(settings, dimensions[1:])

        return walk({}, self.dimensions)

    def grid_size(self, most: int) -> int:
        """How many combinations the grid has, counted no further than ``most``."""
        return sum(1 for _ in islice(self.grid(), most))

    def recover(self, record: Record, base: Record) -> dict[str, Value] | None:
        """The settings by which a proposal turns ``base`` into ``record``; None where none could."""
        values, settings = leaves(record), dict[str, Value]()
        for dimension in self.dimensions:
            if not dimension.is_active(settings):
                continue
            value = values.get(dimension.path)
            if dimension.kind == "choice":
                fitting = (
                    choice for choice in dimension.choices if _same(value, choice) or _has(record, dimension.path, choice)
                )
                if (choice := next(fitting, _NONE)) is _NONE:
                    return None
                settings[dimension.path] = choice
            elif dimension.contains(value):
                settings[dimension.path] = value
            else:
                return None
        with suppress(ConfigError):
            return settings if replace(base, settings) == record else None
        return None

    def corners(self) -> Iterator[tuple[Dimension, dict[str, Value]]]:
        """Each extreme value of each dimension, with settings that meet its conditions."""
        by_path = {dimension.path: dimension for dimension in self.dimensions}

        def conditions(dimension: Dimension) -> dict[str, Value]:
            settings: dict[str, Value] = {}
            for path, values in dimension.when.items():
                settings |= conditions(by_path[path]) | {path: values[0]}
            return settings

        for dimension in self.dimensions:
            for value in dimension.extremes:
                yield dimension, conditions(dimension) | {dimension.path: value}


def parse_space(data: Mapping[str, Any], leaves: Sequence[str], fixed: Mapping[str, str]) -> tuple[Space, list[str]]:
    """The space that a study file's ``search`` describes, and every problem in it, one sentence each.

    Args:
        leaves: every dotted path that exists.
        fixed: paths that no study may vary, with the reason.
    """
    problems: list[str] = []
    dimensions: dict[str, Dimension] = {}
    for path, text in data.items():
        found = _path_problems(path, leaves, fixed)
        dimension = _parse_dimension(path, text, found)
        if dimension:
            dimensions[path] = dimension
        problems += found
    for path in dimensions:
        problems += [
            f"search.{path}: lies inside search.{outer}, so one leaf would be searched twice; drop one of them."
            for outer in dimensions
            if path.startswith(f"{outer}.")
        ]
        problems += _condition_problems(dimensions[path], dimensions, data)
    ordered = _in_order(dimensions)
    if cyclic := [path for path in dimensions if path not in {dimension.path for dimension in ordered}]:
        if not problems:
            problems.append(f"search: the conditions of {' and '.join(cyclic)} wait for each other; drop one `when`.")
        return Space(), problems
    return Space(dimensions=tuple(ordered)), problems


def path_problem(path: str, leaves: Sequence[str], fixed: Mapping[str, str], where: str) -> str | None:
    """Why a dotted path cannot be set, or None."""
    if path not in leaves:
        hint = nearest(path, leaves) or "; name a leaf of the experiment, such as objective.schedule.kind."
        return f"{where}.{path}: the experiment has no such setting{hint}"
    return next(
        (f"{where}.{path}: {why}" for leaf, why in fixed.items() if path == leaf or leaf.startswith(f"{path}.")),
        None,
    )


def _path_problems(path: str, leaves: Sequence[str], fixed: Mapping[str, str]) -> list[str]:
    problem = path_problem(path, leaves, fixed, "search")
    return [problem] if problem else []


def _parse_dimension(path: str, data: object, problems: list[str]) -> Dimension | None:
    """The search at one leaf; None, and sentences added to ``problems``, where it is wrong."""
    where = f"search.{path}"
    kinds = [kind for kind in _OPTIONS if isinstance(data, Mapping) and kind in data]
    if not isinstance(data, Mapping) or len(kinds) != 1:
        problems.append(f"{where}: must have one of float: [low, high], int: [low, high] or choice: […]; got {short(data)}.")
        return None
    (kind,) = kinds
    before = len(problems)
    for name in data:
        if name != kind and name not in _OPTIONS[kind]:
            hint = nearest(str(name), _OPTIONS[kind]) or f"; known here: {', '.join(sorted(_OPTIONS[kind]))}."
            problems.append(f"{where}.{name} is unknown{hint}")
    fields: dict[str, Any] = {"path": path, "kind": kind, "when": _parse_when(data.get("when", {}), where, problems)}
    if kind == "choice":
        fields["choices"] = _parse_choices(data[kind], where, problems)
    else:
        fields |= _parse_range(kind, data, where, problems)
    return Dimension(**fields) if len(problems) == before else None


def _parse_choices(choices: object, where: str, problems: list[str]) -> tuple[Value, ...]:
    if not isinstance(choices, list) or not choices:
        problems.append(f"{where}.choice: must be a list of values; got {short(choices)}.")
        return ()
    if len({as_label(choice) for choice in choices}) < len(choices):
        problems.append(f"{where}.choice: holds a value twice; got {short(choices)}.")
    return tuple(choices)


def _parse_range(kind: str, data: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    bounds, log, step = data[kind], data.get("log", False), data.get("step")
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(_is_number(bound, kind) for bound in bounds):
        name = "whole numbers" if kind == "int" else "finite numbers"
        problems.append(f"{where}.{kind}: must be two {name}, [low, high]; got {short(bounds)}.")
        return {}
    low, high = bounds
    if kind == "int" and max(abs(low), abs(high)) > _LARGEST_INT:
        problems.append(f"{where}.int: must be between -2^53 and 2^53; got {short(bounds)}.")
        return {}
    if not math.isfinite(high - low):
        problems.append(f"{where}.float: high minus low must be a finite number; got {short(bounds)}.")
        return {}
    if low >= high:
        problems.append(f"{where}.{kind}: low must be below high; got {low} and {high}.")
    if not isinstance(log, bool):
        problems.append(f"{where}.log: must be true or false; got {short(log)}.")
    elif log and low <= 0:
        problems.append(f"{where}.log: needs a low bound above 0; got {low}.")
    if step is not None and (not _is_number(step, kind) or step <= 0):
        problems.append(f"{where}.step: must be a {'whole ' if kind == 'int' else ''}number above 0; got {short(step)}.")
    elif step is not None and log:
        problems.append(f"{where}.step: does not go together with log; drop one of them.")
    return {"low": float(low), "high": float(high), "log": log, "step": None if step is None else float(step)}


def _parse_when(when: object, where: str, problems: list[str]) -> dict[str, tuple[Value, ...]]:
    if not isinstance(when, Mapping):
        problems.append(f"{where}.when: must be {{path: value}}; got {short(when)}.")
        return {}
    problems += (
        f"{where}.when: a name must be text; got {short(path)}; put it in quotes." for path in when if not isinstance(path, str)
    )
    named = {path: value for path, value in when.items() if isinstance(path, str)}
    return {path: tuple(value) if isinstance(value, list) else (value,) for path, value in named.items()}


def _condition_problems(dimension: Dimension, dimensions: Mapping[str, Dimension], data: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the leaves and values that a dimension's conditions name."""
    for path, values in dimension.when.items():
        where = f"search.{dimension.path}.when.{path}"
        if path not in data:
            yield f"{where}: is not searched itself, so the condition never changes; search it or drop the condition."
        elif path in dimensions:
            for value in values:
                if not dimensions[path].contains(value):
                    yield f"{where}: can never be {value!r}; it is searched over {dimensions[path].shown}."
            if not values:
                yield f"{where}: needs at least one value."


def leaves(record: Record) -> dict[str, Value]:
    """Every leaf of a record by dotted path."""

    def walk(node: object, path: str) -> Iterator[tuple[str, Value]]:
        if isinstance(node, dict):
            for name, inner in node.items():
                yield from walk(inner, f"{path}.{name}" if path else name)
        else:
            yield path, node

    return dict(walk(record.model_dump(mode="json"), ""))


def _has(record: Record, path: str, choice: Value) -> bool:
    """Whether a record has what a choice stands for there, such as a whole schedule with its defaults left out."""
    with suppress(ConfigError):
        return replace(record, {path: choice}) == record
    return False


def as_label(choice: Value) -> Value:
    """A choice as Optuna can keep it: itself where it is a string, a number or None, else its text."""
    return choice if isinstance(choice, str | float | None) or type(choice) is int else repr(choice)


def _in_order(dimensions: Mapping[str, Dimension]) -> list[Dimension]:
    """Each search after those it depends on; those in a cycle, or behind one, are left out."""
    ordered: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while ready := [dimension for dimension in waiting.values() if all(path in ordered for path in dimension.when)]:
        for dimension in ready:
            ordered[dimension.path] = waiting.pop(dimension.path)
    return list(ordered.values())


def _is_number(value: object, kind: str) -> bool:
    return not isinstance(value, bool) and isinstance(value, int if kind == "int" else (int, float)) and math.isfinite(value)


def _same(one: Value, other: Value) -> bool:
    """Equality in which True is not 1."""
    return bool(as_label(one) == as_label(other)) or (_is_number(one, "float") and _is_number(other, "float") and one == other)
