"""Transformer layers, position embeddings and the padding mask."""

# B batch, T target or source positions, D width

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtnat.model.attention import CrossAttention, KeysValues, Past, Places, SelfAttention, Tap
from mtnat.model.config import ModelConfig
from mtnat.model.dropout import Dropout
from mtnat.model.linear import Linear


class Residual(nn.Module):
    """A residual connection around a sublayer f: x + dropout(f(norm(x))) for pre-norm, norm(x + dropout(f(x))) for post-norm.

    Under autocast the sum and the layer normalisation stay float32.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.before = config.norm == "pre"
        self.norm = nn.LayerNorm(config.width)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Tensor, sublayer: Callable[[Tensor], Tensor], places: Places | None = None) -> Tensor:
        """Applies a sublayer and the residual connection.

        With `places` the sublayer returns states of these positions only, and so does this method, [N, D].
        """
        kept = states if places is None else places.pack(states)
        if self.before:
            total: Tensor = self.dropout(sublayer(self.norm(states)), onto=kept)
        else:
            total = self.norm(self.dropout(sublayer(states), onto=kept))
        return total


class FeedForward(nn.Module):
    """The position-wise feed-forward sublayer: two linear layers with an activation between them."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.inner = Linear(config.width, config.feed_forward)
        self.activation = nn.ReLU(inplace=True) if config.activation == "relu" else nn.GELU()
        self.dropout = Dropout(config.activation_dropout)
        self.outer = Linear(config.feed_forward, config.width)

    def forward(self, states: Tensor) -> Tensor:
        # With more than two dimensions the linear layer returns a view, and an in-place activation copies a view's gradient.
        inner = self.activation(self.inner(states.flatten(0, -2)))
        output: Tensor = self.outer(self.dropout(inner)).view(states.shape)
        return output


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward sublayers."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.feed_forward = FeedForward(config)
        self.around_self, self.around_feed_forward = (Residual(config) for _ in range(2))

    def forward(self, states_BSD: Tensor, mask: Tensor | None) -> Tensor:
        states = self.around_self(states_BSD, lambda x: self.self_attention(x, mask))
        output: Tensor = self.around_feed_forward(states, self.feed_forward)
        return output


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward sublayers. An argument of the call makes self-attention causal.

    A layer can attend to a second memory too. The outputs of both attentions are added within one sublayer.
    """

    def __init__(self, config: ModelConfig, *, has_second_memory: bool = False) -> None:
        super().__init__()
        self.self_attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config)
        self.second_attention = CrossAttention(config) if has_second_memory else None
        self.feed_forward = FeedForward(config)
        self.around_self, self.around_cross, self.around_feed_forward = (Residual(config) for _ in range(3))

    def forward(
        self,
        states_BTD: Tensor,
        mask: Tensor | None,
        memory: KeysValues,
        memory_mask: Tensor | None,
        second: tuple[KeysValues, Tensor | None] | None = None,
        *,
        causal: bool = False,
        past: Past | None = None,
        places: Places | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Computes the states of the layer.

        Args:
            second: the second memory and its mask, for a layer that has one.
        """

        def attended(x: Tensor) -> Tensor:
            found: Tensor = self.cross_attention(x, memory, memory_mask, places, tap)
            if self.second_attention is not None:
                assert second is not None
                found = found + self.second_attention(x, *second, places)
            return found

        states = self.around_self(
            states_BTD, lambda x: self.self_attention(x, mask, causal=causal, past=past, places=places), places
        )
        states = self.around_cross(states, attended)
        output: Tensor = self.around_feed_forward(states, self.feed_forward)
        if tap is not None:
            tap.states.append(output)
        return output


class Positions(nn.Module):
    """Adds position embeddings to token embeddings and scales them.

    Token embeddings are also the output matrix and are therefore initialised with standard deviation 1/√D. The factor √D brings
    them to 1. Unlike fairseq, learned position embeddings are scaled by √D as well: in a row of MASK tokens only the position
    distinguishes one input from another. Unscaled, it starts so small that the NAT decoder needed about twice as many updates
    to learn to reverse a sentence. The sinusoids of Vaswani et al. 2017 are not scaled.
    """

    sinusoids_TD: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.scale = math.sqrt(config.width)
        self.learned = nn.Embedding(config.max_positions, config.width) if config.positions == "learned" else None
        if self.learned is None:
            self.register_buffer("sinusoids_TD", sinusoids(config.max_positions, config.width), persistent=False)
        self.dropout = Dropout(config.dropout)

    def forward(self, tokens_BTD: Tensor) -> Tensor:
        """Embeds tokens at positions 0, 1, …, T − 1."""
        length = tokens_BTD.shape[1]
        return self._placed(tokens_BTD, slice(0, length))

    def at(self, tokens_BKD: Tensor, position: int) -> Tensor:
        """Embeds tokens that all have the same position."""
        return self._placed(tokens_BKD, slice(position, position + 1))

    def _placed(self, tokens: Tensor, where: slice) -> Tensor:
        if self.learned is None:
            states = torch.add(self.sinusoids_TD[where], tokens, alpha=self.scale)
        else:
            states = (tokens + self.learned.weight[where]) * self.scale
        output: Tensor = self.dropout(states)
        return output


def sinusoids(positions: int, width: int) -> Tensor:
    """Returns sinusoidal position embeddings [positions, width]: sin in even features, cos in odd ones.

    Source: Vaswani et al. 2017, section 3.5.
    """
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(positions)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def visible(is_padding_BS: Tensor, is_padded: bool | None = None) -> Tensor | None:
    """Returns the attention mask [B, 1, 1, S] that hides padding, or None if there is no padding.

    Args:
        is_padding_BS: True at padding.
        is_padded: whether there is any padding. If None, the CPU checks; other devices assume padding, because a check would
            make the host wait for the device.
    """
    if is_padded is None:
        is_padded = is_padding_BS.device.type != "cpu" or bool(is_padding_BS.any())
    return ~is_padding_BS[:, None, None, :] if is_padded else None
