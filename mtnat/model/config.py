"""The size and shape of a translator."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record


class ModelConfig(Record):
    """A Transformer (Vaswani et al. 2017); the defaults are the paper's base model (A.1)."""

    width: int = Field(512, ge=8, le=8192)
    """Features of a token, in every layer."""
    heads: int = Field(8, ge=1)
    """Attention heads; must divide the width."""
    feed_forward: int = Field(2048, ge=8)
    """Features inside a layer's feed-forward part."""
    encoder_layers: int = Field(6, ge=1, le=100)
    """Layers of the shared encoder."""
    decoder_layers: int = Field(6, ge=1, le=100)
    """Layers of each decoder."""
    shared_decoder_layers: bool = False
    """Whether the AT and the NAT decoder use the same layers; positions, heads and the last normalisation stay separate. The
    authors' code has the flag (`--share-decoder`), their script does not set it; the paper names it as future work."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout of embeddings and of every residual branch."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout of attention weights."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout inside the feed-forward part."""
    activation: Literal["relu", "gelu"] = "relu"
    """Non-linearity of the feed-forward part."""
    norm: Literal["pre", "post"] = "post"
    """Layer normalisation before each branch, or after each sum as in Vaswani et al. 2017."""
    positions: Literal["learned", "sinusoidal"] = "learned"
    """Position embeddings; learned is what the NAT decoder of Ghazvininejad et al. 2019 uses."""
    max_positions: int = Field(1024, ge=8, le=65_536)
    """Longest source or target, in tokens; also the classes of an absolute length head."""
    length_prediction: Literal["offset", "absolute"] = "offset"
    """The length head's classes: target minus source length, or (Ghazvininejad et al. 2019) the target length itself.

    Unlike the paper the default is the offset, because it needs far fewer updates to become right on small corpora."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width; got width {self.width} and heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width must be even; got {self.width}")
        return self
