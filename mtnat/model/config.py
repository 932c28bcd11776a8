"""The size and shape of a translator."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record


class ModelConfig(Record):
    """A Transformer (Vaswani et al. 2017); the defaults are the paper's base model (A.1)."""

    width: int = Field(512, ge=8, le=8192)
    """Model dimension: features of a token in every layer."""
    heads: int = Field(8, ge=1)
    """Number of attention heads; must divide `width`."""
    feed_forward: int = Field(2048, ge=8)
    """Inner dimension of the feed-forward sublayer."""
    encoder_layers: int = Field(6, ge=1, le=100)
    """Number of layers of the shared encoder."""
    decoder_layers: int = Field(6, ge=1, le=100)
    """Number of layers of each decoder."""
    shared_decoder_layers: bool = False
    """Whether the AT and the NAT decoder share their layers. Position embeddings, output heads and the final layer
    normalisation stay separate. The paper names this as future work; the authors' code has the flag `--share-decoder`, which
    their script does not set."""
    shared_decoder: bool = False
    """Whether the AT and the NAT decoder are one decoder, so that they share the position embeddings and the final layer
    normalisation as well as the layers. They then differ only in what they read and in whether self-attention is causal; the
    length head is still that of the NAT decoder."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout probability of the embeddings and of every sublayer's output."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability of the attention weights."""
    activation_dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout probability inside the feed-forward sublayer."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation function of the feed-forward sublayer."""
    norm: Literal["pre", "post"] = "post"
    """Place of the layer normalisation: pre is before each sublayer, post is after each residual sum (Vaswani et al. 2017)."""
    positions: Literal["learned", "sinusoidal"] = "learned"
    """Kind of position embeddings; the NAT decoder of Ghazvininejad et al. 2019 uses learned ones."""
    max_positions: int = Field(1024, ge=8, le=65_536)
    """Maximum length of a source or a target, in tokens; also the number of classes of an absolute length head."""
    length_prediction: Literal["offset", "absolute"] = "offset"
    """What the length head predicts: offset is the target length minus the source length, absolute is the target length
    (Ghazvininejad et al. 2019). Unlike the paper, the default is offset, because it learns in far fewer updates on small
    corpora."""

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width; got width {self.width} and heads {self.heads}")
        if self.width % 2:
            raise ValueError(f"width must be even; got {self.width}")
        return self
