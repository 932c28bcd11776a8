"""YAML files to frozen, strict records. All problems of a file are reported at once, each with line, path and remedy."""

from mtnat.config.documents import Document, read_value, read_yaml, short, to_yaml
from mtnat.config.records import DefaultKind, Record, build, leaf_types, nearest, replace, write_yaml

__all__ = [
    "DefaultKind",
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
