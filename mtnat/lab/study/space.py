"""The search space: leaves of the experiment, their ranges, and the conditions under which each is searched."""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from typing import Any, Literal, Protocol

from pydantic import Field

from mtnat.config import Record, replace
from mtnat.errors import ConfigError

Value = Any
"""Any value of a leaf in YAML."""

_NONE = object()
"""The absence of a value, for None is one."""


class Suggester(Protocol):
    """The methods of an Optuna trial that are used here."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False) -> float: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int: ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...


class Dimension(Record):
    """One searched leaf: a range of numbers, or a list of choices."""

    path: str
    """The leaf, from the experiment's root."""
    kind: Literal["float", "int", "choice"]
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    """Whether the logarithm is searched evenly."""
    step: float | None = None
    """Distance between neighbouring values; None for a continuous range."""
    choices: tuple[Value, ...] = ()
    when: dict[str, tuple[Value, ...]] = Field(default_factory=dict)
    """Condition: the leaf is searched only if each of these other leaves has one of the given values."""

    def suggest(self, trial: Suggester) -> Value:
        """Returns the value that a trial proposes."""
        if self.kind == "float":
            return trial.suggest_float(self.path, self.low, self.high, step=self.step, log=self.log)
        if self.kind == "int":
            return trial.suggest_int(self.path, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        labels = [as_label(choice) for choice in self.choices]
        return self.choices[labels.index(trial.suggest_categorical(self.path, labels))]

    def contains(self, value: Value) -> bool:
        """Returns whether a proposal can have this value."""
        if self.kind == "choice":
            return any(_same(value, choice) for choice in self.choices)
        if not is_number(value, self.kind) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / (self.step or 1.0)
        return self.step is None or abs(steps - round(steps)) < 1e-8

    @property
    def is_discrete(self) -> bool:
        """Whether the number of values is finite."""
        return self.kind != "float" or self.step is not None

    @property
    def shown(self) -> str:
        """The choices or bounds as text for messages."""
        return str(list(self.choices)) if self.kind == "choice" else f"[{self.low:g}, {self.high:g}]"

    @property
    def points(self) -> Iterator[Value]:
        """Every value, in order, of a discrete dimension."""
        if self.kind == "choice":
            yield from self.choices
            return
        # In decimal arithmetic: 0.1, 0.2, 0.3 and not 0.30000000000000004.
        low, high, step = (Decimal(str(number)) for number in (self.low, self.high, self.step or 1.0))
        for number in range(int((high - low) / step) + 1):
            yield (int if self.kind == "int" else float)(low + number * step)

    @property
    def extremes(self) -> tuple[Value, ...]:
        """The values that are checked for all: every choice, or both ends of the range."""
        if self.kind == "choice":
            return self.choices
        return (self.low, self.high) if self.kind == "float" else (int(self.low), int(self.high))

    def is_active(self, settings: Mapping[str, Value]) -> bool:
        """Returns whether the conditions hold."""
        return all(
            path in settings and any(_same(settings[path], value) for value in values) for path, values in self.when.items()
        )


class Space(Record):
    """All dimensions of a search, each after the ones that its conditions refer to."""

    dimensions: tuple[Dimension, ...] = ()

    def draw(self, trial: Suggester) -> dict[str, Value]:
        """Returns the settings that a trial proposes. Dimensions whose conditions do not hold are left out."""
        settings: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.is_active(settings):
                settings[dimension.path] = dimension.suggest(trial)
        return settings

    def grid(self) -> Iterator[dict[str, Value]]:
        """Yields every combination of a discrete space once, under its conditions; the last dimension changes fastest."""

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
        """Returns the number of combinations of the grid, counted up to ``most``."""
        return sum(1 for _ in islice(self.grid(), most))

    def recover(self, record: Record, base: Record) -> dict[str, Value] | None:
        """Returns the settings with which a proposal turns ``base`` into ``record``; None if no proposal can."""
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
        """Yields each extreme value of each dimension, with settings under which its conditions hold."""
        by_path = {dimension.path: dimension for dimension in self.dimensions}

        def conditions(dimension: Dimension) -> dict[str, Value]:
            settings: dict[str, Value] = {}
            for path, values in dimension.when.items():
                settings |= conditions(by_path[path]) | {path: values[0]}
            return settings

        for dimension in self.dimensions:
            for value in dimension.extremes:
                yield dimension, conditions(dimension) | {dimension.path: value}


def leaves(record: Record) -> dict[str, Value]:
    """Returns the value of every leaf of a record by dotted path."""

    def walk(node: object, path: str) -> Iterator[tuple[str, Value]]:
        if isinstance(node, dict):
            for name, inner in node.items():
                yield from walk(inner, f"{path}.{name}" if path else name)
        else:
            yield path, node

    return dict(walk(record.model_dump(mode="json"), ""))


def _has(record: Record, path: str, choice: Value) -> bool:
    """Returns whether a record has the value of a choice, such as a schedule whose defaults the choice leaves out."""
    with suppress(ConfigError):
        return replace(record, {path: choice}) == record
    return False


def as_label(choice: Value) -> Value:
    """Returns a choice as Optuna can store it: a string, a number or None as it is, anything else as its text."""
    return choice if isinstance(choice, str | float | None) or type(choice) is int else repr(choice)


def is_number(value: object, kind: str) -> bool:
    """Returns whether a value is a number of a kind, int or float."""
    return not isinstance(value, bool) and isinstance(value, int if kind == "int" else (int, float)) and math.isfinite(value)


def _same(one: Value, other: Value) -> bool:
    """Returns whether two values are equal; unlike in Python, True is not 1."""
    return bool(as_label(one) == as_label(other)) or (is_number(one, "float") and is_number(other, "float") and one == other)
