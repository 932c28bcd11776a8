"""How a translator turns a source into a hypothesis."""

from typing import Literal

from pydantic import Field

from mtnat.config import Record


class DecodingConfig(Record):
    """Mask-predict for the NAT decoder, beam search for the AT decoder."""

    decoder: Literal["auto", "nat", "at"] = "auto"
    """Which decoder translates; auto is the NAT decoder where the objective trains one."""
    iterations: int = Field(10, ge=1, le=100)
    """Passes of the NAT decoder, the first one included."""
    length_candidates: int = Field(5, ge=1, le=50)
    """Target lengths tried in parallel, the likeliest first."""
    beam: int = Field(5, ge=1, le=100)
    """Beam of the AT decoder; 1 is greedy search."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """Exponent of the length by which an AT hypothesis' log-probability is divided."""
    max_tokens_per_batch: int = Field(8192, ge=64)
    """Positions decoded together, padding, beam or length candidates included."""
