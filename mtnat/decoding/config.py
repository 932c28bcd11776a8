"""Settings of decoding that all kinds of search have in common."""

from abc import ABC
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record
from mtnat.model import Precision

DecoderName = Literal["nat", "at"]


class Decoding(Record, ABC):
    """Settings of a search. This class has those of the AT decoder's beam search; a subclass adds those of one NAT search.

    A subclass has a field ``kind`` with its name as the only value.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named combinations of settings for ``--preset``."""

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named combinations of settings that `bench decode` compares."""

    candidates: ClassVar[str | None] = None
    """The setting that says how many translations the search has to choose from. If it is named, `rerank` needs at least 2."""

    decoder: Literal["auto", "nat", "at"] = "auto"
    """The decoder that translates; auto is the NAT decoder if the objective trains one, otherwise the AT decoder."""
    rerank: Literal["none", "at"] = "none"
    """How the best candidate of a NAT search is chosen: none uses the search's own score; at uses the AT decoder, which scores
    all candidates in one parallel pass after the search."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam size of the AT decoder; 1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """Exponent α of the length normalisation: the AT decoder scores a hypothesis by log-probability / length^α, also when it
    reranks."""
    fallback_below: float | None = None
    """Score of the NAT decoder's translation of a source below which the AT decoder's beam search translates it instead; none
    keeps all of the NAT decoder's translations. It needs a model with both decoders."""
    fallback_score: Literal["search", "at"] = "search"
    """The score that `fallback_below` is compared with: search is the one by which the search ranks its candidates
    (mask-predict: the mean log-probability of the pieces; with rerank: at, the AT decoder's score); at is the AT decoder's
    score of the translation, log-probability / length^α, which takes one parallel pass more."""
    precision: Precision = "fp32"
    """Autocast of decoding; see training.precision. The default is fp32, because rounding to bf16 changes some translations."""
    max_tokens_per_batch: int | None = Field(None, ge=64)
    """Maximum number of positions decoded together, including padding and the beam or the length candidates. The default is
    2,048 on a CPU (8,192 for the AT decoder) and 32,768 on a GPU."""

    @model_validator(mode="after")
    def _has_candidates(self) -> Self:
        if self.rerank != "none" and self.candidates and getattr(self, self.candidates) == 1:
            raise ValueError(
                f"rerank: at needs several translations to choose from; got {self.candidates} 1; raise it to 2 or more"
            )
        return self

    def settings_of(self, decoder: DecoderName) -> tuple[str, ...]:
        """Returns the names of the settings that determine a decoder's translations, the most important first."""
        if decoder == "at":
            return "beam", "length_penalty", "precision"
        own = [name for name in type(self).model_fields if name not in Decoding.model_fields and name != "kind"]
        fallback = [] if self.fallback_below is None else ["fallback_below", "fallback_score", "beam"]
        at = ["length_penalty"] if self.rerank == "at" or fallback else []
        return *own, "rerank", *fallback, *at, "precision"
