"""How a translator turns a source into a hypothesis: the settings that every kind of search has."""

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from mtnat.config import Record
from mtnat.model import Precision

DecoderName = Literal["nat", "at"]


class Decoding(Record, ABC):
    """Settings of the search: here those of beam search, which the AT decoder has; subclasses add those of one NAT search.

    A subclass has a field ``kind`` with its name as the only value.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that belong together, by name, for ``--preset``."""

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings that `bench decode` compares, by a readable name."""

    decoder: Literal["auto", "nat", "at"] = "auto"
    """Which decoder translates; auto is the NAT decoder where the objective trains one."""
    rerank: Literal["none", "at"] = "none"
    """What chooses among the candidates of a NAT search: none is the search's own score, at is the AT decoder, which scores all
    of them in one parallel pass after the last one."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam of the AT decoder; 1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """Exponent of the length by which an AT hypothesis' log-probability is divided, also when reranking."""
    precision: Precision = "fp32"
    """Autocast as in training.precision; unlike there fp32, because rounding to bf16 changes a translation now and then."""
    max_tokens_per_batch: int | None = Field(None, ge=64)
    """Positions decoded together, padding, beam or length candidates included; by default 2,048 on a CPU (8,192 for the
    AT decoder) and 32,768 on a GPU."""

    def settings_of(self, decoder: DecoderName) -> tuple[str, ...]:
        """Names the settings that determine a decoder's translations, the most important first."""
        if decoder == "at":
            return "beam", "length_penalty", "precision"
        own = [name for name in type(self).model_fields if name not in Decoding.model_fields and name != "kind"]
        return *own, "rerank", "precision"
