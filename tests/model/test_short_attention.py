"""Attention over short sequences equals PyTorch's attention, forward and backward."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mtnat.model import ModelConfig
from mtnat.model import attention as attention_module
from mtnat.model.attention import CrossAttention, SelfAttention
from mtnat.model.short_attention import short_attention

SENTENCES, HEADS, FEATURES = 6, 4, 8


def random_parts(queries: int, keys: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Queries [B, T, H, E], and keys and values as one projection yields them, [B, S, 2, H, E]."""
    torch.manual_seed(queries + keys)
    asking = torch.randn(SENTENCES, queries, HEADS, FEATURES, dtype=dtype, requires_grad=True)
    read = torch.randn(SENTENCES, keys, 2, HEADS, FEATURES, dtype=dtype, requires_grad=True)
    return asking, read


def library(asking: Tensor, read: Tensor, mask_BTS: Tensor | None) -> Tensor:
    """PyTorch's own attention."""
    keys, values = (part.transpose(1, 2) for part in read.unbind(2))
    mask = None if mask_BTS is None else mask_BTS.expand(SENTENCES, asking.shape[1], -1)[:, None]
    mixed: Tensor = functional.scaled_dot_product_attention(asking.transpose(1, 2), keys, values, attn_mask=mask)
    return mixed.transpose(1, 2)


def padding(keys: int) -> Tensor:
    """Sentences of different lengths, [B, 1, S], True where there is a token."""
    lengths_B = torch.randint(1, keys + 1, (SENTENCES,))
    return (torch.arange(keys) < lengths_B[:, None])[:, None]


@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (7, 7), (5, 12), (16, 3), (30, 33)])
@pytest.mark.parametrize("mask", ["none", "padding", "past"])
def test_values_and_gradients_of_short_attention_equal_those_of_pytorch(queries: int, keys: int, mask: str) -> None:
    asking, read = random_parts(queries, keys)
    past = torch.ones(queries, keys, dtype=torch.bool).tril()
    seen = {"none": None, "padding": padding(keys), "past": past[None]}[mask]
    upstream = torch.randn(SENTENCES, queries, HEADS, FEATURES, dtype=torch.float64)
    keys_BSHE, values_BSHE = read.unbind(2)
    mixed, expected = short_attention(asking, keys_BSHE, values_BSHE, seen), library(asking, read, seen)
    torch.testing.assert_close(mixed, expected)
    gradients = torch.autograd.grad(mixed, (asking, read), upstream)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (asking, read), upstream))


def test_short_attention_computes_in_float32_under_autocast() -> None:
    asking, read = random_parts(9, 11, torch.bfloat16)
    keys_BSHE, values_BSHE = read.unbind(2)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = short_attention(asking, keys_BSHE, values_BSHE, None)
        # As where a decoder is differentiated while the forward pass still goes on.
        gradients = torch.autograd.grad(mixed, (asking, read), torch.ones_like(mixed))
    expected = library(asking.float(), read.float(), None)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, (asking, read), torch.ones_like(expected)))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_layers_give_equal_results_with_and_without_short_attention(
    causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    config = ModelConfig(width=32, heads=HEADS)
    to_itself, to_source = SelfAttention(config), CrossAttention(config)
    states, source = torch.randn(SENTENCES, 9, 32), torch.randn(SENTENCES, 12, 32)
    parameters = [*to_itself.parameters(), *to_source.parameters()]
    own_mask, source_mask = (None if causal else padding(9)[:, None]), padding(12)[:, None]

    def answer() -> tuple[Tensor, ...]:
        mixed = to_source(to_itself(states, own_mask, causal=causal), to_source.remember(source), source_mask)
        return mixed, *torch.autograd.grad(mixed.square().sum(), parameters)

    short = answer()
    monkeypatch.setattr(attention_module, "short_attention", lambda *_: pytest.fail("used although no sequence is short"))
    monkeypatch.setattr(attention_module, "_SHORT", 0)
    torch.testing.assert_close(short, answer())
