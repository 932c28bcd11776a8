"""A look inside a translator while it translates one sentence."""

from mtnat.analysis.inspection.attention import recorded_attention
from mtnat.analysis.inspection.inspect import inspect_sentence
from mtnat.analysis.inspection.page import page_of, percent
from mtnat.analysis.inspection.records import (
    AttentionMaps,
    AtTranslation,
    InspectedPass,
    InspectedPosition,
    Inspection,
    Part,
    Piece,
    Verdict,
    record_of,
)

__all__ = [
    "AtTranslation",
    "AttentionMaps",
    "InspectedPass",
    "InspectedPosition",
    "Inspection",
    "Part",
    "Piece",
    "Verdict",
    "inspect_sentence",
    "page_of",
    "percent",
    "record_of",
    "recorded_attention",
]
