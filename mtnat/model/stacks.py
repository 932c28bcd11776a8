"""The encoder and the decoder: stacks of layers."""

# B batch, S source, T target, D width, K beam

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from mtnat.model.attention import KeysValues, Past, Places
from mtnat.model.config import ModelConfig
from mtnat.model.layers import DecoderLayer, EncoderLayer, Positions


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
    """The AT decoder (causal) or the NAT decoder (not causal)."""

    def __init__(self, config: ModelConfig, causal: bool) -> None:
        super().__init__()
        self.positions = Positions(config)
        self.layers = nn.ModuleList(DecoderLayer(config, causal) for _ in range(config.decoder_layers))
        self.norm = _last_norm(config)

    def remember(self, states_BSD: Tensor, mask: Tensor | None) -> Memory:
        """Every layer's keys and values of the encoder's states, of which the mask hides the padding."""
        layers = cast("Iterable[DecoderLayer]", self.layers)
        return Memory(tuple(layer.cross_attention.remember(states_BSD) for layer in layers), mask)

    def forward(self, tokens_BTD: Tensor, mask: Tensor | None, memory: Memory, read_N: Tensor | None = None) -> Tensor:
        """From the input's token embeddings to states, [B, T, D]; the mask hides padding and is not looked at when causal.

        Given flat indices into B·T, the last layer answers for those positions alone, [N, D].
        """
        states = self.positions(tokens_BTD)
        places = None if read_N is None else Places(read_N, *tokens_BTD.shape[:2])
        last = len(self.layers) - 1
        for number, (layer, read) in enumerate(zip(self.layers, memory.layers, strict=True)):
            states = layer(states, mask, read, memory.mask, places=places if number == last else None)
        output: Tensor = self.norm(states)
        return output

    def step(self, tokens_BKD: Tensor, cache: AtCache) -> Tensor:
        """The states after one more token of each hypothesis, [B, K, D]; the cache remembers that token."""
        states = self.positions.at(tokens_BKD, cache.position)
        mask = cache.mask()
        for layer, read, past in zip(self.layers, cache.memory.layers, cache.pasts, strict=True):
            states = layer(states, mask, read, cache.memory.mask, past)
        output: Tensor = self.norm(states)
        return output
