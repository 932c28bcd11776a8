"""YAML 1.2 to plain data and back. A document keeps the line of each of its settings."""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.composer import MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.tag import Tag

from mtnat.errors import ConfigError

MOST_CHARACTERS = 2**18
"""Maximum length of a file; the parser needs some seconds for it."""
MOST_ENTRIES = 20_000
"""Maximum number of settings and items of a document, with aliases expanded."""
MOST_DEPTH = 50
"""Maximum number of nested levels of a document."""

_TAG = "tag:yaml.org,2002:"
_MAP, _SEQ, _INT, _FLOAT, _MERGE, _VALUE = (f"{_TAG}{name}" for name in ("map", "seq", "int", "float", "merge", "value"))
_CORE_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)[eE][-+]?\d+")
_TOO_DEEP = f"it is nested deeper than {MOST_DEPTH} levels"
_MISREAD = re.compile(r"^[:?]|^(y|n|yes|no|on|off)$", re.IGNORECASE)
"""Text that must be quoted, because braces or readers of YAML 1.1 change its meaning."""
_LARGEST = 2**63
_MOST_DIGITS, _LONGEST_REASON = 100, 200
_LONGEST_NAME = 1024
"""YAML's limit of the length of a name that is not preceded by `? `."""
_WIDTH = 2**30
"""Line width so large that ruamel.yaml never folds a line: folding loses spaces."""


@dataclass(frozen=True)
class Place:
    """The place of a setting in a file, with the places of the settings inside it."""

    line: int
    """Line of the setting's name or of an item's first character, from 1."""
    inside: dict[str, "Place"] = field(default_factory=dict)
    """Places of the inner settings, by name, or by number in a sequence."""


class Document(dict[str, Any]):
    """The mapping in a YAML file as plain data, with the place of each setting."""

    def __init__(self, settings: Mapping[str, Any], path: str | Path, place: Place) -> None:
        super().__init__(settings)
        self.path, self.place = path, place

    def at(self, names: Iterable[object], problem: str) -> str:
        """Adds the file and the line to a problem: the line of the setting at path `names`, or of its innermost existing
        parent."""
        place = self.place
        for name in names:
            if str(name) not in place.inside:
                break
            place = place.inside[str(name)]
        return f"{self.path}, line {place.line}: {problem}"

    def told(self, problem: str, bases: Sequence[Sequence[str]] = ((),)) -> str:
        """Adds the file and the line to a problem: the line of the setting whose dotted path begins the sentence.

        Args:
            bases: settings, as names from the root, that the path may be relative to. The first base that contains the first
                setting of the path is used.
        """
        for base in bases:
            start = self.place
            for name in base:
                start = start.inside.get(name, Place(start.line))
            place = _begun_with(problem, start)
            if place is not start:
                return f"{self.path}, line {place.line}: {problem}"
        return f"{self.path}, line {self.place.line}: {problem}"


def read_yaml(path: str | Path) -> Document:
    """Reads the mapping in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or is not a mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MOST_CHARACTERS + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a YAML file.") from None
    except (OSError, ValueError) as error:  # ValueError: bytes that are not UTF-8, or a path with a NUL
        raise ConfigError(f"{path}: cannot be read ({error}); give a readable YAML file.") from None
    if len(text) > MOST_CHARACTERS:
        raise ConfigError(f"{path}: must not be longer than {MOST_CHARACTERS:,} characters; give a smaller file.")
    data, place = _parsed(text, lambda line, problem: f"{path}, line {line}: is not valid YAML ({problem}); correct that line.")
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}, line {place.line}: must hold `name: value` lines; got {short(data)}; `mtnat new` writes a study file."
        )
    return Document(data, path, place)


def read_value(text: str, where: str) -> Any:
    """Parses a text such as ``2`` or ``[a, b]`` as a value in a YAML file.

    Args:
        where: beginning of the sentence that describes a problem.

    Raises:
        ConfigError: the text is not YAML.
    """
    return _parsed(text, lambda _, problem: f"{where}: is not valid YAML ({problem}); correct it.")[0]


def to_yaml(data: object, *, one_line: bool = False) -> str:
    """Returns plain data as YAML that reads back equal."""
    yaml = _yaml()
    yaml.default_flow_style = one_line
    yaml.width = _WIDTH
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def short(value: object) -> str:
    """Returns a value as it is shown in a message, at most 60 characters long."""
    if isinstance(value, float) and value != value:
        return "nan"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Resolver(VersionedResolver):
    """Resolver that also reads YAML 1.2 floats such as ``.5e1``, which ruamel.yaml reads as text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0] and _CORE_FLOAT.fullmatch(value):
            return Tag(suffix=_FLOAT)
        return super().resolve(kind, value, implicit)


class _Representer(SafeRepresenter):
    """Representer that quotes text that would be read back as something else without quotes."""

    def represent_str(self, data: str) -> Any:
        style = '"' if not data.isprintable() or _MISREAD.search(data) else None
        return self.represent_scalar(f"{_TAG}str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver = _Resolver
    yaml.Representer = _Representer
    yaml.max_depth = MOST_DEPTH
    return yaml


def _parsed(text: str, tell: Callable[[int, str], str]) -> tuple[Any, Place]:
    """Parses a text and returns its data and the places of its settings.

    Args:
        tell: returns the message for a line and its problem.

    Raises:
        ConfigError: the text is not YAML; the error lists every value and name that cannot be read.
    """

    def told(line: int, problem: object) -> str:
        text = " ".join(str(problem).split())
        return tell(line, text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}...")

    yaml = _yaml()
    yaml.composer.warn_double_anchors = False
    try:
        node = yaml.compose(text)
        if node is None:
            return None, Place(1)
        builder = _Builder(yaml.constructor.construct_object)
        value, place = builder.build(node)[:2]
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _TOO_DEEP if isinstance(error, MaxDepthExceededError) else error.problem or error.context
        raise ConfigError(told(mark.line + 1 if mark else 1, problem)) from None
    except ReaderError as error:
        problem = f"the character #x{error.character:04x} is not allowed"
        raise ConfigError(told(text.count("\n", 0, error.position) + 1, problem)) from None
    except (YAMLError, ValueError, LookupError, AssertionError) as error:  # parser bugs on text that is not YAML
        raise ConfigError(told(1, error)) from None
    if builder.problems:
        raise ConfigError(told(line, problem) for line, problem in builder.problems)
    return value, place


def _begun_with(sentence: str, start: Place) -> Place:
    """Finds the innermost setting whose dotted path begins a sentence; names may contain dots."""
    place, rest = start, sentence
    while True:
        ends = [match.start() for match in re.finditer(r"[.: ]|$", rest[: _LONGEST_NAME + 1])]
        end = next((end for end in reversed(ends) if rest[:end] in place.inside), None)
        if end is None:
            return place
        place, rest = place.inside[rest[:end]], rest[end:]
        if not (separator := re.match(r"\.|: ", rest)):
            return place
        rest = rest[separator.end() :]


class _Built(NamedTuple):
    """The result of building a node."""

    value: Any
    place: Place
    size: int
    """Number of entries, including nested ones."""
    depth: int
    """Number of nested levels."""


class _Builder:
    """Builds plain data and places from the nodes of a document."""

    def __init__(self, construct: Callable[[Node], Any]) -> None:
        """Creates a builder.

        Args:
            construct: returns the value of a scalar node.
        """
        self.problems: list[tuple[int, str]] = []
        """Lines and descriptions of the problems found."""
        self._construct = construct
        self._built: dict[Node, _Built] = {}
        self._open: set[Node] = set()
        self._entries = 0

    def build(self, node: Node) -> _Built:
        """Builds a node's value and place. A node with several aliases is built once.

        Raises:
            MarkedYAMLError: the node contains itself, or is too large.
        """
        if node not in self._built:
            if node in self._open:
                raise _refused(node, "it contains itself")
            self._open.add(node)
            built = self._built[node] = self._new(node)
            self._open.remove(node)
            if built.size > MOST_ENTRIES:
                raise _refused(node, f"it holds more than {MOST_ENTRIES:,} settings")
            if built.depth > MOST_DEPTH:
                raise _refused(node, _TOO_DEEP)
        return self._built[node]

    def _new(self, node: Node) -> _Built:
        line = _line(node)
        if isinstance(node, ScalarNode):
            return _Built(self._scalar(node), Place(line), 1, 1)
        if node.tag not in (_MAP, _SEQ):
            self.problems.append((line, f"the tag {node.tag} is unknown"))
        values: dict[Any, Any] = {}
        places: dict[str, Place] = {}
        size = depth = 1
        for name, value_node, place_line in self._entries_of(node):
            inner = self.build(value_node)
            values[name] = inner.value
            # In pydantic's error locations a name True is 1.
            places[str(int(name) if isinstance(name, bool) else name)] = Place(place_line, inner.place.inside)
            size, depth = size + inner.size, max(depth, inner.depth + 1)
        return _Built(values if isinstance(node, MappingNode) else list(values.values()), Place(line, places), size, depth)

    def _entries_of(self, node: Node) -> list[tuple[Any, Node, int]]:
        """Returns name or number, value node and line of each entry; entries of merged mappings come first."""
        entries: dict[Any, tuple[Node, int]] = {}
        if isinstance(node, SequenceNode):
            entries = {number: (item, _line(item)) for number, item in enumerate(node.value)}
        else:
            own: dict[Any, tuple[Node, int]] = {}
            merged: dict[Any, tuple[Node, int]] = {}
            seen: set[Any] = set()
            for name_node, value_node in node.value:
                if not isinstance(name_node, ScalarNode):
                    self.problems.append((_line(name_node), "a name must be plain text"))
                    continue
                name, is_merge = self._scalar(name_node), name_node.tag == _MERGE
                if (name, is_merge) in seen:
                    self.problems.append((_line(name_node), f"{name!r} is given twice"))
                seen.add((name, is_merge))
                if is_merge:
                    merged = self._merged(value_node, node)
                else:
                    own[name] = (value_node, _line(name_node))
            entries = merged | own
        self._entries += len(entries)
        if self._entries > MOST_ENTRIES:
            raise _refused(node, f"the document holds more than {MOST_ENTRIES:,} settings")
        return [(name, value_node, line) for name, (value_node, line) in entries.items()]

    def _merged(self, node: Node, owner: Node) -> dict[Any, tuple[Node, int]]:
        """Returns the entries that ``<<: node`` merges into `owner`. If several mappings have a name, the first one counts."""
        entries: dict[Any, tuple[Node, int]] = {}
        for mapping in dict.fromkeys(node.value if isinstance(node, SequenceNode) else [node]):
            if not isinstance(mapping, MappingNode):
                self.problems.append((_line(mapping), "`<<` takes a mapping or a list of mappings"))
                continue
            if mapping is owner or mapping in self._open:
                raise _refused(mapping, "it contains itself")
            self._open.add(mapping)
            for name, value_node, line in self._entries_of(mapping):
                entries.setdefault(name, (value_node, line))
            self._open.remove(mapping)
        return entries

    def _scalar(self, node: ScalarNode) -> Any:
        """Returns a scalar's value. If it cannot be read, adds a problem and returns None."""
        if node.tag in (_MERGE, _VALUE):  # `<<` as a value and `=` are text
            return node.value
        too_large = node.tag == _INT and len(node.value) > _MOST_DIGITS
        value = None
        try:
            value = None if too_large else self._construct(node)
        except MarkedYAMLError as error:
            self.problems.append((_line(node), error.problem))
        except ValueError as error:  # a date such as 2020-13-45
            self.problems.append((_line(node), str(error)))
        if too_large or (type(value) is int and not -_LARGEST <= value < _LARGEST):
            self.problems.append((_line(node), f"{short(node.value)} is too large: a whole number must be below 2^63"))
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            self.problems.append((_line(node), f"{short(value)} holds a character that no text file can hold"))
        return value


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _refused(node: Node, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
