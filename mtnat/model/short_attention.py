"""Attention over short sequences for training on the CPU."""

# B batch, T queries, S keys, H heads, E features of a head

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def short_attention(queries_BTHE: Tensor, keys_BSHE: Tensor, values_BSHE: Tensor, mask_BTS: Tensor | None) -> Tensor:
    """Computes softmax(QKᵀ/√E)·V, [B, T, H, E], by one batched matrix product per head; in float32 even under autocast.

    PyTorch's fused kernel multiplies the small matrices of each sentence separately, which two threads do hardly faster than
    one (measured by ``measurements/attention.py``). This implementation keeps all attention weights for the backward pass, so
    its memory grows with T·S: use it for short sequences only.

    Args:
        mask_BTS: broadcast to [B, T, S]; True where a query sees a key. Every query must see at least one key.
    """
    result: Tensor = _ShortAttention.apply(queries_BTHE, keys_BSHE, values_BSHE, mask_BTS)  # type: ignore[no-untyped-call]
    return result


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, mask_BTS: Tensor | None) -> Tensor:
        batch, length, heads, features = queries.shape
        # One product per head: `queries[:, :, head]` is a strided view that bmm accepts. A single product over batch and heads
        # would first have to copy each operand.
        # The weights are stored transposed, keys before queries, because the softmax then runs along a strided dimension. A
        # softmax over fewer than sixteen contiguous numbers takes four times as long.
        weights_HBST = queries.new_empty(heads, batch, keys.shape[1], length)
        for head, weight_BST in enumerate(weights_HBST):
            weight_BST.baddbmm_(keys[:, :, head], queries[:, :, head].transpose(1, 2), beta=0, alpha=features**-0.5)
        if mask_BTS is not None:
            weights_HBST.masked_fill_(~mask_BTS.transpose(-2, -1), float("-inf"))
        torch.softmax(weights_HBST, 2, out=weights_HBST)
        mixed_HBTE = queries.new_empty(heads, batch, length, features)
        for head, mixed_BTE in enumerate(mixed_HBTE):
            torch.bmm(weights_HBST[head].transpose(1, 2), values[:, :, head], out=mixed_BTE)
        ctx.save_for_backward(queries, keys, values, weights_HBST)
        return mixed_HBTE.permute(1, 2, 0, 3).contiguous()

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, weights_HBST = ctx.saved_tensors
        batch, length, heads, features = queries.shape
        # `of_x` is the gradient with respect to x.
        of_weights_HBST = torch.empty_like(weights_HBST)
        of_queries_HBTE = queries.new_empty(heads, batch, length, features)
        of_keys_HBSE, of_values_HBSE = queries.new_empty(2, heads, batch, keys.shape[1], features)
        for head in range(heads):
            torch.bmm(values[:, :, head], upstream[:, :, head].transpose(1, 2), out=of_weights_HBST[head])
            torch.bmm(weights_HBST[head], upstream[:, :, head], out=of_values_HBSE[head])
        of_scores_HBST = torch.ops.aten._softmax_backward_data(of_weights_HBST, weights_HBST, 2, weights_HBST.dtype)
        scale = features**-0.5
        for head, of_score_BST in enumerate(of_scores_HBST):
            of_queries_HBTE[head].baddbmm_(of_score_BST.transpose(1, 2), keys[:, :, head], beta=0, alpha=scale)
            of_keys_HBSE[head].baddbmm_(of_score_BST, queries[:, :, head], beta=0, alpha=scale)
        return *(gradient.permute(1, 2, 0, 3) for gradient in (of_queries_HBTE, of_keys_HBSE, of_values_HBSE)), None
