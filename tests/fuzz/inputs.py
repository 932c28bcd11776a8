"""Hostile and foolish inputs: sound files with damage, and values that nobody should write.

Each test draws $MTNAT_FUZZ inputs, each of which may take at most five seconds. Without it, a test draws a few and the time is
not checked, because other tests may run beside it.
"""

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from mtnat.errors import MtnatError

INPUTS = os.environ.get("MTNAT_FUZZ")
settings.register_profile(
    "mtnat",
    max_examples=int(INPUTS or 20),
    derandomize=INPUTS is None,  # a short run draws the same inputs each time
    deadline=timedelta(seconds=5) if INPUTS else None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mtnat")
MOST_MEMORY = 500 * 1024
"""KiB that an input may take beyond the process's largest size before it."""

TEXTS = (
    "",
    " ",
    "x",
    "[/x]",
    ":warning:",
    "\0",
    "\n",
    "\ud800",
    "é̂",
    "名" * 90,
    "a/b",
    "../..",
    "/",
    "~",
    "${HOME}",
    "%s",
    "{0}",
    "1e-3",
)
NUMBERS = (0, -1, 1, 2, 3.5, -0.0, 1e308, 1e-308, float("inf"), float("nan"), 2**31, 2**63, 2**70, 10**300, True)
RANGES: tuple[dict[str, Any], ...] = (
    {"float": [0.0, 1.0]},
    {"float": [1.0, 0.0]},
    {"float": [0.0, float("inf")]},
    {"int": [0, 2**70]},
    {"int": [1, 8], "log": True},
    {"int": [1, 8], "step": 0},
    {"choice": []},
    {"choice": [1, "a", None, {"kind": "linear"}]},
    {"choice": "abc"},
)
ODD = st.one_of(
    st.none(),
    st.sampled_from(TEXTS),
    st.sampled_from(NUMBERS),
    st.sampled_from(RANGES),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
    st.recursive(
        st.sampled_from([*TEXTS[:3], *NUMBERS[:5], None]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kind", "value", "a"]), inner, max_size=3),
        max_leaves=8,
    ),
)
"""Any value of a setting."""


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Checks that the process grows by no more than `MOST_MEMORY`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    finally:
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY


@contextmanager
def may_be_refused() -> Iterator[None]:
    """Accepts an error that tells a user in words what is wrong, without a part of a traceback. Checks the memory too."""
    try:
        with bounded_memory():
            yield
    except MtnatError as error:
        text = str(error)
        if not text or "Traceback" in text or 'File "' in text:
            raise AssertionError(f"is no sentence: {text}") from error


@st.composite
def damaged(draw: DrawFn, sound: bytes) -> bytes:
    """Draws a file with some bytes changed, left out, repeated or added, or cut short."""
    content = sound
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(content)))
        end = min(len(content), place + draw(st.sampled_from([1, 1, 2, 8, 64, 4096])))
        match draw(st.sampled_from(["change", "leave out", "repeat", "add", "cut", "zero"])):
            case "change":
                content = (
                    content[:place]
                    + bytes(byte ^ draw(st.sampled_from([1, 32, 128])) for byte in content[place:end][:8])
                    + content[place:end][8:]
                    + content[end:]
                )
            case "leave out":
                content = content[:place] + content[end:]
            case "repeat":
                content = content[:end] + content[place:]
            case "add":
                content = content[:place] + draw(st.binary(max_size=8)) + content[place:]
            case "cut":
                content = content[:place]
            case "zero":
                content = content[:place] + bytes(end - place) + content[end:]
    return content


def _places(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the path of every value in nested mappings and sequences."""
    found = [path] if path else []
    if isinstance(data, Mapping):
        for name, value in data.items():
            found += _places(value, (*path, name))
    elif isinstance(data, Sequence) and not isinstance(data, str):
        for number, value in enumerate(data):
            found += _places(value, (*path, number))
    return found


@st.composite
def odd_documents(draw: DrawFn, sound: Mapping[str, Any], names: SearchStrategy[str]) -> dict[str, Any]:
    """Draws a document in which some values are replaced, removed or added.

    Args:
        names: of settings that are added.
    """
    document: dict[str, Any] = deepcopy(dict(sound))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(document)
        if not places:
            break
        *path, last = draw(st.sampled_from(places))
        parent: Any = document
        for part in path:
            parent = parent[part]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                parent[last] = deepcopy(draw(ODD))
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(names)] = deepcopy(draw(ODD))
            case "add":
                parent.append(deepcopy(draw(ODD)))
    return document
