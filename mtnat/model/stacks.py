"""The encoder and the decoder: stacks of layers."""

# B batch, S source, T target, D width, K beam

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mtnat.model.attention import KeysValues, Past, Places
from mtnat.model.config import ModelConfig
from mtnat.model.layers import DecoderLayer, EncoderLayer, Positions


class Encoded(NamedTuple):
    """The encoder's output for a batch of sources."""

    states_BSD: Tensor
    is_padding_BS: Tensor
    mask: Tensor | None
    """The attention mask that hides padding, or None if there is no padding; see `visible`."""

    def only(self, rows: Tensor | None) -> "Encoded":
        """Selects sentences; None selects all of them."""
        if rows is None:
            return self
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Encoded(self.states_BSD.index_select(0, rows), self.is_padding_BS.index_select(0, rows), mask)


class Memory(NamedTuple):
    """The cross-attention keys and values of a batch of sources, by decoder layer; computed once per batch."""

    layers: tuple[KeysValues, ...]
    mask: Tensor | None

    def keep(self, rows: Tensor) -> "Memory":
        """Selects sentences."""
        layers = tuple(KeysValues(*(part.index_select(0, rows) for part in layer)) for layer in self.layers)
        return Memory(layers, None if self.mask is None else self.mask.index_select(0, rows))


class AtCache:
    """The decoder's state while it decodes K hypotheses of each of B sentences, one token at a time."""

    def __init__(self, memory: Memory, beam: int) -> None:
        self.memory = memory
        self.pasts = [Past() for _ in memory.layers]
        self.beam = beam
        self.sees_BKS: Tensor | None = None

    @property
    def position(self) -> int:
        """The number of tokens read so far."""
        return self.pasts[0].steps

    def mask(self) -> Tensor | None:
        """Makes each newest token visible to its own hypothesis and returns the mask of all tokens so far, [B, 1, K, steps·K].

        With a beam of 1 every token is visible and the mask is None.
        """
        if self.beam == 1:
            return None
        keys = self.memory.layers[0].keys_BSHE
        own = torch.eye(self.beam, dtype=torch.bool, device=keys.device).expand(keys.shape[0], -1, -1)
        self.sees_BKS = own if self.sees_BKS is None else torch.cat((self.sees_BKS, own), dim=2)
        return self.sees_BKS[:, None]

    def reorder(self, parents_BK: Tensor) -> None:
        """Makes hypothesis k of each sentence a continuation of hypothesis ``parents_BK[:, k]``.

        Only the mask changes: hypothesis k inherits the visible tokens of its parent, and no keys or values move.
        """
        if self.sees_BKS is not None:
            self.sees_BKS = self.sees_BKS.gather(1, parents_BK[:, :, None].expand_as(self.sees_BKS))

    def keep(self, rows: Tensor) -> None:
        """Keeps only these sentences."""
        self.memory = self.memory.keep(rows)
        self.sees_BKS = None if self.sees_BKS is None else self.sees_BKS.index_select(0, rows)
        for past in self.pasts:
            past.keep(rows)


def _last_norm(config: ModelConfig) -> nn.Module:
    """Returns the normalisation after the last layer, which only pre-norm stacks need: their residual sum is unnormalised."""
    return nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()


class Encoder(nn.Module):
    """The shared encoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.positions = Positions(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = _last_norm(config)

    def forward(self, tokens_BSD: Tensor, mask: Tensor | None) -> Tensor:
        """Computes the states [B, S, D] of token embeddings; the mask hides padding."""
        states = self.positions(tokens_BSD)
        for layer in self.layers:
            states = layer(states, mask)
        output: Tensor = self.norm(states)
        return output


class Decoder(nn.Module):
    """A stack of decoder layers, autoregressive (causal) or not.

    Two decoders built from the same layers share the layers' weights. Position embeddings and the final normalisation stay
    separate.
    """

    def __init__(self, config: ModelConfig, *, causal: bool, layers: nn.ModuleList | None = None) -> None:
        super().__init__()
        self.causal = causal
        self.positions = Positions(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers)) if layers is None else layers
        self.norm = _last_norm(config)

    def share(self, other: "Decoder") -> None:
        """Replaces all weights by those of another decoder of the same size; whether each is causal stays as it is."""
        self.positions, self.layers, self.norm = other.positions, other.layers, other.norm

    def remember(self, encoded: Encoded) -> Memory:
        """Computes the cross-attention keys and values of the encoder states for every layer."""
        layers = cast("Iterable[DecoderLayer]", self.layers)
        return Memory(tuple(layer.cross_attention.remember(encoded.states_BSD) for layer in layers), encoded.mask)

    def forward(self, input_BTD: Tensor, mask: Tensor | None, memory: Memory, read_N: Tensor | None = None) -> Tensor:
        """Computes states [B, T, D] from embedded input.

        Args:
            mask: hides padding of the input; see `visible`. A causal decoder ignores it, because padding is on the right.
            read_N: flat indices into B·T. The last layer then computes these positions only, and the result is [N, D].
        """
        assert read_N is None or not self.causal
        states = self.positions(input_BTD)
        places = None if read_N is None else Places(read_N, *input_BTD.shape[:2])
        last = len(self.layers) - 1
        for number, (layer, read) in enumerate(zip(self.layers, memory.layers, strict=True)):
            at = places if number == last else None
            states = layer(states, mask, read, memory.mask, causal=self.causal, places=at)
        output: Tensor = self.norm(states)
        return output

    def step(self, tokens_BKD: Tensor, cache: AtCache) -> Tensor:
        """Computes the states [B, K, D] of one more token of each hypothesis and adds its keys and values to the cache."""
        states = self.positions.at(tokens_BKD, cache.position)
        mask = cache.mask()
        for layer, read, past in zip(self.layers, cache.memory.layers, cache.pasts, strict=True):
            states = layer(states, mask, read, cache.memory.mask, past=past)
        output: Tensor = self.norm(states)
        return output
