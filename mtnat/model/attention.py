"""Multi-head attention with a cache of keys and values for decoding one token at a time."""

# B batch, T queries, S keys, N chosen queries, D width, H heads, E features of a head, K beam

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtnat.model.config import ModelConfig
from mtnat.model.linear import Linear, linear
from mtnat.model.short_attention import short_attention

_SHORT = 64
"""Maximum number of keys for `short_attention`, which keeps all attention weights for the backward pass."""


class KeysValues(NamedTuple):
    """The keys and values that attention reads."""

    keys_BSHE: Tensor
    values_BSHE: Tensor


class Places(NamedTuple):
    """A selection of N positions in a batch of sequences."""

    flat_N: Tensor
    """Indices into the flattened B·T positions."""
    batch: int
    length: int

    def pack(self, states_BTD: Tensor) -> Tensor:
        """Selects the states of these positions, [N, D]."""
        return states_BTD.flatten(0, 1).index_select(0, self.flat_N)

    def spread(self, states_ND: Tensor) -> Tensor:
        """Writes states back to these positions, [B, T, D]; other positions are zero."""
        zeros = states_ND.new_zeros(self.batch * self.length, states_ND.shape[1])
        return zeros.index_copy(0, self.flat_N, states_ND).view(self.batch, self.length, -1)


@dataclass(frozen=True)
class Tap:
    """What a decoder computed, by layer, for losses that read more than its last states; see `Decoder.forward`.

    The attention weights are computed in addition to the attention itself, whose kernels do not return them.
    """

    states: list[Tensor] = field(default_factory=list)
    """The output of each layer, [B, T, D]."""
    log_attention: list[Tensor] = field(default_factory=list)
    """The logarithms of each layer's cross-attention weights, float32 [B, H, T, S]. Padding has about −10⁹."""


class Past:
    """One layer's keys and values of the tokens decoded so far, for every beam slot.

    Reordering the beam copies nothing. A key stays in the slot where it was written, and `AtCache.mask` makes the keys of a
    hypothesis' ancestors visible to it.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._store_BTK2HE: Tensor | None = None

    def extend(self, now: KeysValues) -> KeysValues:
        """Appends the K keys and values of one step and returns those of all steps, [B, steps·K, H, E]."""
        now_BK2HE = torch.stack(now, dim=2)
        store = self._room(now_BK2HE)
        store[:, self.steps] = now_BK2HE
        self.steps += 1
        return KeysValues(*store[:, : self.steps].flatten(1, 2).unbind(2))

    def keep(self, rows: Tensor) -> None:
        """Keeps only these sentences."""
        if self._store_BTK2HE is not None:
            self._store_BTK2HE = self._store_BTK2HE[:, : self.steps].index_select(0, rows)

    def _room(self, now_BK2HE: Tensor) -> Tensor:
        """Returns the store with space for one more step. Its capacity doubles, so appending takes amortised constant time."""
        old = self._store_BTK2HE
        if old is None or old.shape[1] == self.steps:
            batch, *rest = now_BK2HE.shape
            new = now_BK2HE.new_empty(batch, max(16, 2 * self.steps), *rest)
            if old is not None:
                new[:, : self.steps] = old
            self._store_BTK2HE = old = new
        return old


class _Heads(nn.Module):
    """Base of self- and cross-attention: scaled dot-product attention and the output projection."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.attention_dropout
        self.output = Linear(config.width, config.width)

    def attend(
        self,
        queries_BTHE: Tensor,
        memory: KeysValues,
        mask: Tensor | None,
        *,
        causal: bool = False,
        places: Places | None = None,
    ) -> Tensor:
        """Computes softmax(QKᵀ/√E)·V and the output projection.

        Args:
            mask: broadcast to [B, H, T, S]; True where a query sees a key.
            places: the only positions that the output projection computes.

        Returns:
            States [B, T, D], or [N, D] with `places`.
        """
        dropout = self.dropout if self.training else 0.0
        mixed_BTD = _mixed(queries_BTHE, memory, mask, causal=causal, dropout=dropout).flatten(2)
        output: Tensor = self.output(mixed_BTD if places is None else places.pack(mixed_BTD))
        return output


def _mixed(queries_BTHE: Tensor, memory: KeysValues, mask: Tensor | None, *, causal: bool, dropout: float) -> Tensor:
    """Computes softmax(QKᵀ/√E)·V, [B, T, H, E].

    Training on the CPU computes in float32, because the backward pass of PyTorch's fused kernel took 5.0 times (16 tokens) to
    1.7 times (128 tokens) as long in bfloat16. Otherwise the dtype of the projections is kept.
    """
    trains_on_cpu = queries_BTHE.device.type == "cpu" and queries_BTHE.requires_grad
    if trains_on_cpu and dropout == 0 and memory.keys_BSHE.shape[1] <= _SHORT and not torch.compiler.is_compiling():
        if causal:
            length = queries_BTHE.shape[1]
            mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril_()
        return short_attention(queries_BTHE, *memory, None if mask is None else mask.squeeze(1))
    queries, keys, values = (part.transpose(1, 2) for part in (queries_BTHE, *memory))
    with torch.autocast("cpu", enabled=False) if trains_on_cpu else nullcontext():
        dtype = torch.promote_types(queries.dtype, torch.float32) if trains_on_cpu else queries.dtype
        mixed_BHTE = functional.scaled_dot_product_attention(
            queries.to(dtype), keys.to(dtype), values.to(dtype), attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
    return mixed_BHTE.transpose(1, 2)


class SelfAttention(_Heads):
    """Multi-head self-attention."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.queries_keys_values = Linear(config.width, 3 * config.width)

    def forward(
        self,
        states_BTD: Tensor,
        mask: Tensor | None,
        *,
        causal: bool = False,
        past: Past | None = None,
        places: Places | None = None,
    ) -> Tensor:
        """Attends from every position to the whole sequence.

        Args:
            mask: hides padding; a causal call ignores it.
            causal: whether each position sees only itself and earlier positions. This is an argument of the call rather than of
                the module, so that an AT and a NAT decoder can share their layers.
            past: keys and values of earlier steps. The states are then those of the newest token of K hypotheses, [B, K, D],
                and the mask selects the keys that each hypothesis sees.
            places: the only positions whose states are computed; the result is [N, D]. Not for causal calls.
        """
        if places is not None:
            # Queries are needed at the selected positions only; keys and values are needed at all positions.
            width = states_BTD.shape[-1]
            weight, bias = self.queries_keys_values.weight, self.queries_keys_values.bias
            queries_BTD = places.spread(linear(places.pack(states_BTD), weight[:width], bias[:width]))
            keys_values_BT2D = linear(states_BTD, weight[width:], bias[width:])
            keys, values = keys_values_BT2D.view(*states_BTD.shape[:2], 2, self.heads, -1).unbind(2)
            queries_BTHE = queries_BTD.view(*states_BTD.shape[:2], self.heads, -1)
            return self.attend(queries_BTHE, KeysValues(keys, values), mask, places=places)
        queries, keys, values = self.queries_keys_values(states_BTD).unflatten(-1, (3, self.heads, -1)).unbind(2)
        now = KeysValues(keys, values)
        if past is not None:
            return self.attend(queries, past.extend(now), mask)
        # Padding is on the right, so causality already hides it from every query at a real token.
        return self.attend(queries, now, None if causal else mask, causal=causal)


class CrossAttention(_Heads):
    """Multi-head attention from the target to the encoder states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.queries = Linear(config.width, config.width)
        self.keys_values = Linear(config.width, 2 * config.width)

    def remember(self, encoder_states_BSD: Tensor) -> KeysValues:
        """Computes the keys and values of a batch of sources. All passes and all hypotheses of a source reuse them."""
        return KeysValues(*self.keys_values(encoder_states_BSD).unflatten(-1, (2, self.heads, -1)).unbind(2))

    def forward(
        self,
        states: Tensor,
        memory: KeysValues,
        mask: Tensor | None,
        places: Places | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Attends to the sources, from [B·K, T, D] to the same shape.

        The K targets of one source are adjacent rows and read a single copy of its keys and values. With `places` the states
        are those of the selected positions only, [N, D]. A tap gets the attention weights.
        """
        queries = self.queries(states) if places is None else places.spread(self.queries(states))
        by_source = queries.view(memory.keys_BSHE.shape[0], -1, self.heads, states.shape[-1] // self.heads)
        if tap is not None:
            tap.log_attention.append(log_weights(by_source, memory.keys_BSHE, mask))
        return self.attend(by_source, memory, mask, places=places).view(states.shape)


def log_weights(queries_BTHE: Tensor, keys_BSHE: Tensor, mask: Tensor | None) -> Tensor:
    """Computes the logarithm of softmax(QKᵀ/√E), float32 [B, H, T, S]; about −10⁹ where a query does not see a key."""
    with torch.autocast(queries_BTHE.device.type, enabled=False):
        dtype = torch.promote_types(queries_BTHE.dtype, torch.float32)
        queries_BHTE, keys_BHSE = (part.transpose(1, 2).to(dtype) for part in (queries_BTHE, keys_BSHE))
        scores_BHTS = queries_BHTE @ keys_BHSE.transpose(2, 3) * queries_BHTE.shape[3] ** -0.5
        # A finite number instead of −inf: a loss may multiply a probability of 0 by its logarithm.
        masked_BHTS: Tensor = scores_BHTS if mask is None else scores_BHTS.masked_fill(~mask, -1e9)
        return masked_BHTS.log_softmax(3)
