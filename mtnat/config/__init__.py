"""YAML to frozen, strict records; every problem of a file at once, each with its line, its path and its remedy."""

from mtnat.config.documents import Document, read_value, read_yaml, short, to_yaml
from mtnat.config.records import Record, build, leaf_types, nearest, replace, write_yaml

__all__ = [
    "Document",
    "Record",
    "build",
    "leaf_types",
    "nearest",
    "read_value",
    "read_yaml",
    "replace",
    "short",
    "to_yaml",
    "write_yaml",
]
