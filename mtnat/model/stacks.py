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
    """A batch of sources after the encoder."""

    states_BSD: Tensor
    is_padding_BS: Tensor
    mask: Tensor | None
    """What attention may see of the states, or None for all of them; see `visible`."""

    def only(self, rows: Tensor | None) -> "Encoded":
        """Selects sentences; None selects all of them."""
        if rows is None:
            return self
        mask = None if self.mask is None else self.mask.index_select(0, rows)
        return Encoded(self.states_BSD.index_select(0, rows), self.is_padding_BS.index_select(0, rows), mask)


class Memory(NamedTuple):
    """What a decoder reads of a batch of sources, computed once."""

    layers: tuple[KeysValues, ...]
    mask: Tensor | None

    def keep(self, rows: Tensor) -> "Memory":
        """Only these sentences."""
        layers = tuple(KeysValues(*(part.index_select(0, rows) for part in layer)) for layer in self.layers)
        return Memory(layers, None if self.mask is None else self.mask.index_select(0, rows))


class AtCache:
    """The state of decoding K hypotheses of each of B sentences one token at a time."""

    def __init__(self, memory: Memory, beam: int) -> None:
        self.memory = memory
        self.pasts = [Past() for _ in memory.layers]
        self.beam = beam
        self.sees_BKS: Tensor | None = None

    @property
    def position(self) -> int:
        """Tokens read so far."""
        return self.pasts[0].steps

    def mask(self) -> Tensor | None:
        """Makes the newest tokens visible, each to its own hypothesis; the mask [B, 1, K, steps·K] of all so far."""
        if self.beam == 1:
            return None
        keys = self.memory.layers[0].keys_BSHE
        own = torch.eye(self.beam, dtype=torch.bool, device=keys.device).expand(keys.shape[0], -1, -1)
        self.sees_BKS = own if self.sees_BKS is None else torch.cat((self.sees_BKS, own), dim=2)
        return self.sees_BKS[:, None]

    def reorder(self, parents_BK: Tensor) -> None:
        """Makes hypothesis k of each sentence the continuation of its hypothesis ``parents_BK[:, k]``."""
        if self.sees_BKS is not None:
            self.sees_BKS = self.sees_BKS.gather(1, parents_BK[:, :, None].expand_as(self.sees_BKS))

    def keep(self, rows: Tensor) -> None:
        """Keeps only these sentences."""
        self.memory = self.memory.keep(rows)
        self.sees_BKS = None if self.sees_BKS is None else self.sees_BKS.index_select(0, rows)
        for past in self.pasts:
            past.keep(rows)


def _last_norm(config: ModelConfig) -> nn.Module:
    """Pre-norm layers leave their sum unnormalised, so a stack of them ends with a norm of its own."""
    return nn.LayerNorm(config.width) if config.norm == "pre" else nn.Identity()


class Encoder(nn.Module):
    """The shared encoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.positions = Positions(config)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.norm = _last_norm(config)

    def forward(self, tokens_BSD: Tensor, mask: Tensor | None) -> Tensor:
        """From token embeddings to states, [B, S, D]; the mask hides padding."""
        states = self.positions(tokens_BSD)
        for layer in self.layers:
            states = layer(states, mask)
        output: Tensor = self.norm(states)
        return output


class Decoder(nn.Module):
    """A stack of decoder layers, autoregressive (causal) or not.

    Two decoders that are given the same layers share their weights; positions and the last normalisation stay their own.
    """

    def __init__(self, config: ModelConfig, *, causal: bool, layers: nn.ModuleList | None = None) -> None:
        super().__init__()
        self.causal = causal
        self.positions = Positions(config)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers)) if layers is None else layers
        self.norm = _last_norm(config)

    def remember(self, encoded: Encoded) -> Memory:
        """Computes every layer's keys and values of the encoder's states."""
        layers = cast("Iterable[DecoderLayer]", self.layers)
        return Memory(tuple(layer.cross_attention.remember(encoded.states_BSD) for layer in layers), encoded.mask)

    def forward(self, input_BTD: Tensor, mask: Tensor | None, memory: Memory, read_N: Tensor | None = None) -> Tensor:
        """Computes states [B, T, D] from embedded input.

        Args:
            mask: hides padding of the input; see `visible`. A causal decoder ignores it, because padding is on the right.
            read_N: flat indices into B·T. The result then has the states of these positions only, [N, D].
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
        """Computes the states after one more token of each hypothesis, [B, K, D]; the cache remembers that token."""
        states = self.positions.at(tokens_BKD, cache.position)
        mask = cache.mask()
        for layer, read, past in zip(self.layers, cache.memory.layers, cache.pasts, strict=True):
            states = layer(states, mask, read, cache.memory.mask, past=past)
        output: Tensor = self.norm(states)
        return output
