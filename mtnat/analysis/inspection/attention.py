"""Records attention weights, which the fused attention of the model does not return."""

# B batch, T queries, S keys, H heads, E features of a head

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from mtnat.model.attention import CrossAttention, KeysValues, Places, SelfAttention, log_weights

MOST_WEIGHTS = 40_000
"""Maximum number of weights of one head, T·S, that are recorded: 200 positions that read 200 positions."""
Attention = SelfAttention | CrossAttention


@contextmanager
def recorded_attention(model: nn.Module, most: int = MOST_WEIGHTS) -> Iterator[dict[nn.Module, Tensor]]:
    """Records the weights of every attention of a model while the context is open.

    The dictionary has, for each attention module, the weights of its last call, float32 [B, H, T, S]. They are computed from
    the queries and keys of the call, in addition to the attention itself, whose results do not change. Masked keys have weight
    0, and so has each row of a position that the call did not compute (see `Places`).

    Args:
        most: maximum of T·S. The weights of larger calls are left out.
    """
    found: dict[nn.Module, Tensor] = {}
    modules = [module for module in model.modules() if isinstance(module, Attention)]
    # An attribute of the object hides the method of its class. The model itself needs no check whether it is recorded.
    for module in modules:
        vars(module)["attend"] = partial(_recording, module, found, most)
    try:
        yield found
    finally:
        for module in modules:
            del vars(module)["attend"]


def _recording(
    module: Attention,
    found: dict[nn.Module, Tensor],
    most: int,
    queries_BTHE: Tensor,
    memory: KeysValues,
    mask: Tensor | None,
    *,
    causal: bool = False,
    places: Places | None = None,
) -> Tensor:
    """Computes the attention of a module, and records its weights."""
    queries, keys = queries_BTHE.shape[1], memory.keys_BSHE.shape[1]
    found.pop(module, None)
    if queries * keys <= most:
        device = queries_BTHE.device
        sees = torch.ones(queries, keys, dtype=torch.bool, device=device).tril() if causal else mask
        weights_BHTS = log_weights(queries_BTHE, memory.keys_BSHE, sees).exp()
        if places is not None:
            is_computed = torch.zeros(places.batch * places.length, device=device).index_fill(0, places.flat_N, 1.0)
            weights_BHTS = weights_BHTS * is_computed.view(len(queries_BTHE), 1, queries, 1)
        found[module] = weights_BHTS
    return type(module).attend(module, queries_BTHE, memory, mask, causal=causal, places=places)
