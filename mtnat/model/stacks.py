"""The encoder and the decoder: stacks of layers."""

# B batch, S source, T target, D width, K beam

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mtnat.model.attention import KeysValues, Past, Places, Tap
from mtnat.model.config import ModelConfig
from mtnat.model.layers import DecoderLayer, EncoderLayer, Positions


class Encoded(NamedTuple):
    """The encoder's output for a batch of sources."""

    states_BSD: Tensor
    is_padding_BS: Tensor
    mask: Tensor | None
    """The attention mask that hides padding, or None if there is no padding; see `visible`."""
    source_BS: Tensor | None = None
    """The source tokens that were encoded, for a decoder that copies them into its input; None if there are none."""

    def only(self, rows: Tensor | None) -> "Encoded":
        """Selects sentences; None selects all of them."""
        if rows is None:
            return self
        return Encoded(
            self.states_BSD.index_select(0, rows),
            self.is_padding_BS.index_select(0, rows),
            None if self.mask is None else self.mask.index_select(0, rows),
            None if self.source_BS is None else self.source_BS.index_select(0, rows),
        )


class Memory(NamedTuple):
    """The cross-attention keys and values of a batch of sources, by decoder layer; computed once per batch."""

    layers: tuple[KeysValues, ...]
    mask: Tensor | None
    second: "Memory | None" = None
    """A second memory, for layers that read one."""

    def keep(self, rows: Tensor) -> "Memory":
        """Selects sentences."""
        layers = tuple(KeysValues(*(part.index_select(0, rows) for part in layer)) for layer in self.layers)
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Memory(layers, mask, None if self.second is None else self.second.keep(rows))

    def seconds(self) -> list[tuple[KeysValues, Tensor | None] | None]:
        """Returns the second memory of each layer with its mask, or None for each."""
        if self.second is None:
            return [None] * len(self.layers)
        return [(layer, self.second.mask) for layer in self.second.layers]


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
        return self.all_layers(tokens_BSD, mask)[-1]

    def all_layers(self, tokens_BSD: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Computes the embeddings with their positions, and the output of every layer, [B, S, D] each. The last one is
        normalised as the decoders read it."""
        states = [self.positions(tokens_BSD)]
        for layer in self.layers:
            states.append(layer(states[-1], mask))
        states[-1] = self.norm(states[-1])
        return states


class Decoder(nn.Module):
    """A stack of decoder layers, autoregressive (causal) or not.

    Two decoders built from the same layers share the layers' weights. Position embeddings and the final normalisation stay
    separate.
    """

    def __init__(
        self, config: ModelConfig, *, causal: bool, layers: nn.ModuleList | None = None, has_second_memory: bool = False
    ) -> None:
        """Builds the layers.

        Args:
            causal: whether each position sees only itself and earlier positions, unless a call says otherwise.
            layers: layers to share with another decoder; by default new ones are built.
            has_second_memory: whether new layers attend to a second memory too.
        """
        super().__init__()
        self.causal = causal
        self.positions = Positions(config)
        if layers is None:
            built = (DecoderLayer(config, has_second_memory=has_second_memory) for _ in range(config.decoder_layers))
            layers = nn.ModuleList(built)
        self.layers = layers
        self.norm = _last_norm(config)

    def share(self, other: "Decoder") -> None:
        """Replaces all weights by those of another decoder of the same size; whether each is causal stays as it is."""
        self.positions, self.layers, self.norm = other.positions, other.layers, other.norm

    def remember(self, encoded: Encoded, second: Encoded | None = None) -> Memory:
        """Computes the cross-attention keys and values of the encoder states for every layer.

        Args:
            second: states that layers with a second memory read too.
        """
        layers = list(cast("Iterable[DecoderLayer]", self.layers))
        memory = Memory(tuple(layer.cross_attention.remember(encoded.states_BSD) for layer in layers), encoded.mask)
        if second is None:
            return memory
        attentions = [layer.second_attention for layer in layers if layer.second_attention is not None]
        keys_values = tuple(attention.remember(second.states_BSD) for attention in attentions)
        return memory._replace(second=Memory(keys_values, second.mask))

    def forward(
        self,
        input_BTD: Tensor,
        mask: Tensor | None,
        memory: Memory,
        read_N: Tensor | None = None,
        *,
        causal: bool | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Computes states [B, T, D] from embedded input.

        Args:
            mask: hides padding of the input; see `visible`. A causal decoder ignores it, because padding is on the right.
            read_N: flat indices into B·T. The last layer then computes these positions only, and the result is [N, D].
            causal: whether each position sees only itself and earlier positions; by default as the decoder was built.
            tap: gets the states and the cross-attention of every layer.
        """
        causal = self.causal if causal is None else causal
        assert read_N is None or not causal
        states = self.positions(input_BTD)
        places = None if read_N is None else Places(read_N, *input_BTD.shape[:2])
        last = len(self.layers) - 1
        layers = zip(self.layers, memory.layers, memory.seconds(), strict=True)
        for number, (layer, read, second) in enumerate(layers):
            at = places if number == last else None
            states = layer(states, mask, read, memory.mask, second, causal=causal, places=at, tap=tap)
        output: Tensor = self.norm(states)
        return output

    def step(self, tokens_BKD: Tensor, cache: AtCache) -> Tensor:
        """Computes the states [B, K, D] of one more token of each hypothesis and adds its keys and values to the cache."""
        states = self.positions.at(tokens_BKD, cache.position)
        mask = cache.mask()
        memory = cache.memory
        for layer, read, second, past in zip(self.layers, memory.layers, memory.seconds(), cache.pasts, strict=True):
            states = layer(states, mask, read, memory.mask, second, past=past)
        output: Tensor = self.norm(states)
        return output
