"""Reads the search space from a study file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from mtnat.config import nearest, short
from mtnat.lab.study.space import Dimension, Space, Value, as_label, is_number

_OPTIONS = {"float": {"log", "step", "when"}, "int": {"log", "step", "when"}, "choice": {"when"}}
"""The options of each kind of dimension."""
_LARGEST_INT = 2**53
"""The largest integer up to which a float represents every integer."""


def parse_space(data: Mapping[str, Any], leaves: Sequence[str], fixed: Mapping[str, str]) -> tuple[Space, list[str]]:
    """Returns the space that a study file's ``search`` describes, and every problem in it, one sentence each.

    Args:
        leaves: every dotted path that exists.
        fixed: paths that no study may vary, each with the reason.
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
    """Returns why a dotted path cannot be set; None if it can."""
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
    """Returns the dimension at one leaf; if it is not valid, adds sentences to ``problems`` and returns None."""
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
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(is_number(bound, kind) for bound in bounds):
        name = "whole numbers" if kind == "int" else "finite numbers"
        problems.append(f"{where}.{kind}: must be two {name}, [low, high]; got {short(bounds)}.")
        return {}
    low, high = bounds
    before = len(problems)
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
    if step is not None and (not is_number(step, kind) or step <= 0):
        problems.append(f"{where}.step: must be a {'whole ' if kind == 'int' else ''}number above 0; got {short(step)}.")
    elif step is not None and log:
        problems.append(f"{where}.step: does not go together with log; drop one of them.")
    elif step is not None and step > high - low > 0:
        problems.append(f"{where}.step: must not exceed high minus low; got {short(step)}.")
    elif step is not None and low < high:
        first, end, by = (Fraction(str(number)) for number in (low, high, step))  # as floats, 0.3 is no multiple of 0.1
        last = first + (end - first) // by * by
        if last != end:
            ends = int(last) if kind == "int" else float(last)
            problems.append(f"{where}.step: must lead from {low} to {high}, but ends at {ends}; change the step or the range.")
    if len(problems) > before:  # a number may be too large for float, or none
        return {}
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
    """Yields the problems of the leaves and values that a dimension's conditions refer to."""
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


def _in_order(dimensions: Mapping[str, Dimension]) -> list[Dimension]:
    """Returns the dimensions in topological order of their conditions; those in a cycle, or behind one, are left out."""
    ordered: dict[str, Dimension] = {}
    waiting = dict(dimensions)
    while ready := [dimension for dimension in waiting.values() if all(path in ordered for path in dimension.when)]:
        for dimension in ready:
            ordered[dimension.path] = waiting.pop(dimension.path)
    return list(ordered.values())
