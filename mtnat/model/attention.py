"""Multi-head attention, with cached keys and values for decoding one token at a time."""

# B batch, T queries, S keys, N chosen queries, D width, H heads, E features of a head, K beam

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mtnat.model.config import ModelConfig
from mtnat.model.linear import Linear, linear
from mtnat.model.short_attention import short_attention

_SHORT = 64
"""Most keys in training on the CPU of which all probabilities are kept for the backward pass."""


class KeysValues(NamedTuple):
    """What attention reads."""

    keys_BSHE: Tensor
    values_BSHE: Tensor


class Places(NamedTuple):
    """Some positions of a batch of sequences."""

    flat_N: Tensor
    """Indices into B·T."""
    batch: int
    length: int

    def pack(self, states_BTD: Tensor) -> Tensor:
        """What stands at these positions, [N, D]."""
        return states_BTD.flatten(0, 1).index_select(0, self.flat_N)

    def spread(self, states_ND: Tensor) -> Tensor:
        """The reverse, [B, T, D], zeros elsewhere."""
        zeros = states_ND.new_zeros(self.batch * self.length, states_ND.shape[1])
        return zeros.index_copy(0, self.flat_N, states_ND).view(self.batch, self.length, -1)


class Past:
    """One layer's keys and values of the tokens decoded so far, of every place in the beam.

    A reordered beam copies nothing: a key stays where it was written and each hypothesis sees those of its own ancestors.
    """

    def __init__(self) -> None:
        self.steps = 0
        self._store_BTK2HE: Tensor | None = None

    def extend(self, now: KeysValues) -> KeysValues:
        """Appends one step's K keys and values, and returns all of them, [B, steps·K, H, E]."""
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
        """The store with space for another step; it doubles, so that appending costs constant time on average."""
        old = self._store_BTK2HE
        if old is None or old.shape[1] == self.steps:
            batch, *rest = now_BK2HE.shape
            new = now_BK2HE.new_empty(batch, max(16, 2 * self.steps), *rest)
            if old is not None:
                new[:, : self.steps] = old
            self._store_BTK2HE = old = new
        return old


class _Heads(nn.Module):
    """What self- and cross-attention share: the attention itself and the output projection."""

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
        """softmax(QKᵀ/√E)·V and the output projection, [B, T, D], or [N, D] of the places alone.

        The mask, broadcast to [B, H, T, S], is True where seen.
        """
        dropout = self.dropout if self.training else 0.0
        mixed_BTD = _mixed(queries_BTHE, memory, mask, causal=causal, dropout=dropout).flatten(2)
        output: Tensor = self.output(mixed_BTD if places is None else places.pack(mixed_BTD))
        return output


def _mixed(queries_BTHE: Tensor, memory: KeysValues, mask: Tensor | None, *, causal: bool, dropout: float) -> Tensor:
    """softmax(QKᵀ/√E)·V, [B, T, H, E].

    In float32 for training on the CPU: the fused kernel's backward pass there took 5.0 (16 tokens) to 1.7 times (128) as long
    in bfloat16. Elsewhere in whatever the projections came out in.
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
    """Attention of a sequence to itself."""

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
        """Attends from every position to the sequence.

        Args:
            mask: hides padding; a causal call ignores it.
            causal: whether each position sees itself and earlier positions only. One set of weights serves both kinds of call,
                so that an AT and a NAT decoder can share their layers.
            past: keys and values of earlier steps. The states are then those of K hypotheses' newest tokens, [B, K, D], and the
                mask says which keys each hypothesis sees.
            places: the only positions that attend, [N, D]. Not for causal calls.
        """
        if places is not None:
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
        # Padding is on the right, so no causal query that anyone reads can see it: causality needs no mask besides.
        return self.attend(queries, now, None if causal else mask, causal=causal)


class CrossAttention(_Heads):
    """Attention of the target to the encoder's states."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.queries = Linear(config.width, config.width)
        self.keys_values = Linear(config.width, 2 * config.width)

    def remember(self, encoder_states_BSD: Tensor) -> KeysValues:
        """The keys and values of a batch of sources, which every pass and every hypothesis reads."""
        return KeysValues(*self.keys_values(encoder_states_BSD).unflatten(-1, (2, self.heads, -1)).unbind(2))

    def forward(self, states: Tensor, memory: KeysValues, mask: Tensor | None, places: Places | None = None) -> Tensor:
        """[B·K, T, D] to the same shape: K targets of one source, side by side, read one copy of its keys and values.

        With places the states are of those positions alone, [N, D].
        """
        queries = self.queries(states) if places is None else places.spread(self.queries(states))
        by_source = queries.view(memory.keys_BSHE.shape[0], -1, self.heads, states.shape[-1] // self.heads)
        return self.attend(by_source, memory, mask, places=places).view(states.shape)
