"""How a translator turns a source into a hypothesis."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from mtnat.config import Record
from mtnat.model import Precision


class DecodingConfig(Record):
    """Mask-predict for the NAT decoder, beam search for the AT decoder."""

    decoder: Literal["auto", "nat", "at"] = "auto"
    """Which decoder translates; auto is the NAT decoder where the objective trains one."""
    iterations: int = Field(10, ge=1, le=100)
    """Passes of the NAT decoder, the first one included."""
    pieces_per_iteration: float = Field(0.0, ge=0)
    """Fewer passes for short targets: one for so many pieces of the likeliest length, `iterations` at most; 0 is `iterations`
    for all."""
    length_candidates: int = Field(5, ge=1, le=50)
    """Target lengths tried in parallel, the likeliest first."""
    narrow_after: int = Field(0, ge=0, le=100)
    """After so many passes only the best length candidates go on; 0 is never."""
    narrow_to: int = Field(1, ge=1, le=50)
    """How many then go on, those with the best mean log-probability so far."""
    stop_unchanged: int = Field(0, ge=0, le=100)
    """A sentence is finished when so many passes in a row have changed no piece of its candidates; 0 is never."""
    rerank: Literal["none", "at"] = "none"
    """Who chooses among the length candidates: none is the NAT decoder's mean log-probability, at is the AT decoder, which
    scores them all in one parallel pass after the last one."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam of the AT decoder; 1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """Exponent of the length by which an AT hypothesis' log-probability is divided, also when reranking."""
    precision: Precision = "fp32"
    """Autocast as in training.precision; unlike there fp32, because rounding to bf16 changes a translation now and then."""
    max_tokens_per_batch: int | None = Field(None, ge=64)
    """Positions decoded together, padding, beam or length candidates included; by default 2,048 on a CPU (8,192 of
    the AT decoder) and 32,768 on a GPU."""


_PAPER: Mapping[str, Any] = {
    "iterations": 10,
    "length_candidates": 5,
    "pieces_per_iteration": 0.0,
    "narrow_after": 0,
    "stop_unchanged": 0,
    "rerank": "none",
    "precision": "fp32",
}
_NARROW: Mapping[str, Any] = {**_PAPER, "narrow_after": 1, "precision": "auto"}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": _PAPER,
    "fast": {**_NARROW, "iterations": 8, "length_candidates": 4, "narrow_to": 2},
    "fastest": {**_NARROW, "iterations": 4, "length_candidates": 3, "narrow_to": 1},
}
"""Settings that belong together, by name: the paper's (Hao et al. 2021, A.1); nearly as good in a third of the time, better
where the AT decoder reranks; and faster than beam search."""
