"""The links of a directed acyclic graph: the probabilities of its transitions (Huang et al. 2022)."""

# B graphs, b graphs of one block, G vertices, D width, H heads, F features of a head

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtnat.model import ModelConfig
from mtnat.model.linear import Linear

BITS = 1 / math.log(2)
"""Bits of a nat. Powers of 2 replace those of e where exponents may be −inf or very small: PyTorch's `exp` is then slow on a
CPU (measured: 5 to 13 ns per number instead of 1 ns)."""
_BYTES_AT_ONCE = {"cpu": 1 << 20}
"""Bytes for one number of each pair of vertices of a block of graphs."""
_BYTES_AT_ONCE_ELSEWHERE = 1 << 30


class Links(nn.Module):
    """Predicts the transition from every vertex to each later one.

    Each head is an attention of a vertex to the later vertices. The transition probability is a mixture of the heads, whose
    weights depend on the vertex that is left: ``E_ij = Σ_h g_ih · softmax_j(q_ih · k_jh / √F)``, j > i.

    A vertex enters as its state next to a learned embedding of its position. The embedding is scaled by √D, as are those of the
    decoders here and unlike in the authors' code, so that states and positions have entries of the same size.
    """

    def __init__(self, config: ModelConfig, heads: int) -> None:
        """Creates the heads.

        Args:
            config: size of the decoder; ``max_positions`` is the size of the largest graph.
            heads: H; a head has ``width // heads`` features, at least 1.
        """
        super().__init__()
        self.heads = heads
        self.features = max(1, config.width // heads)
        self.positions = nn.Embedding(config.max_positions, config.width)
        # The projection of a state next to a position is the sum of two projections. That of the positions is the same in all
        # graphs, and so is computed once.
        size = heads * (2 * self.features + 1)
        self.of_states, self.of_positions = (Linear(config.width, size) for _ in range(2))

    def forward(self, states_BGD: Tensor, vertices_B: Tensor) -> Tensor:
        """Computes the log-probabilities of the transitions in float32 (float64 for states in float64), [B, G, G].

        Row i is the distribution over the successors of vertex i. The last vertex of a graph has none: its row and those of the
        padding are −inf, as are all transitions backwards and to the padding.

        Args:
            vertices_B: number of vertices of each graph.
        """
        vertices, width = states_BGD.shape[1:]
        of_states, of_positions = (
            self.of_states(states_BGD),
            self.of_positions(self.positions.weight[:vertices] * math.sqrt(width)),
        )
        dtype = torch.promote_types(of_states.dtype, torch.float32)
        projected = of_states.to(dtype) + of_positions.to(dtype)
        product = self.heads * self.features
        queries, keys, gates_BGH = projected.split((product, product, self.heads), dim=2)
        shape = (self.heads, self.features)
        return log_links(queries.unflatten(2, shape), keys.unflatten(2, shape), gates_BGH.log_softmax(2), vertices_B)

    def flops(self, vertices: int, pairs: int) -> int:
        """Counts a forward pass. As in causal attention, only products with later vertices count; positions do not.

        Args:
            vertices: number of vertices of all graphs.
            pairs: number of pairs of vertices, the sum of G² over all graphs.
        """
        projection = 2 * self.of_states.weight.numel() * vertices
        return projection + self.heads * self.features * pairs


def log_links(queries_BGHF: Tensor, keys_BGHF: Tensor, log_gates_BGH: Tensor, vertices_B: Tensor) -> Tensor:
    """Computes the logarithm of the mixture of all heads, [B, G, G]; see `Links`.

    One head of a block of graphs at a time is computed, and the backward pass computes it again. Memory is thus that of the
    result and its gradient, [B, G, G] each, whatever the number of heads.
    """
    with torch.autocast(queries_BGHF.device.type, enabled=False):
        result: Tensor = _LogLinks.apply(queries_BGHF, keys_BGHF, log_gates_BGH, vertices_B)  # type: ignore[no-untyped-call]
    return result


class _LogLinks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries_BGHF: Tensor, keys_BGHF: Tensor, log_gates_BGH: Tensor, vertices_B: Tensor) -> Tensor:
        batch, vertices, heads, _ = queries_BGHF.shape
        links_BGG = queries_BGHF.new_empty(batch, vertices, vertices)
        for block in blocks_of_graphs(links_BGG):
            is_link_bGG, penalty_bGG = _is_link(links_BGG[block], vertices_B[block])
            mixture_bGG = links_BGG[block].fill_(-torch.inf)
            for head in range(heads):
                log_head_bGG = _head(queries_BGHF[block, :, head], keys_BGHF[block, :, head], penalty_bGG)
                torch.logaddexp(mixture_bGG, log_head_bGG.add_(log_gates_BGH[block, :, head, None]), out=mixture_bGG)
            mixture_bGG.masked_fill_(~is_link_bGG, -torch.inf)
        ctx.save_for_backward(queries_BGHF, keys_BGHF, log_gates_BGH, vertices_B, links_BGG)
        return links_BGG

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_BGG: Tensor) -> tuple[Tensor | None, ...]:
        queries_BGHF, keys_BGHF, log_gates_BGH, vertices_B, links_BGG = ctx.saved_tensors
        # `of_x` is the gradient with respect to x.
        of_queries, of_keys, of_gates = (torch.empty_like(each) for each in (queries_BGHF, keys_BGHF, log_gates_BGH))
        scale = queries_BGHF.shape[3] ** -0.5
        with torch.autocast(queries_BGHF.device.type, enabled=False):
            for block in blocks_of_graphs(links_BGG):
                is_link_bGG, penalty_bGG = _is_link(links_BGG[block], vertices_B[block])
                upstream_bGG = upstream_BGG[block].masked_fill(~is_link_bGG, 0)
                mixture_bGG = links_BGG[block].masked_fill(~is_link_bGG, 0)  # −inf − (−inf) would not be a number
                for head in range(queries_BGHF.shape[2]):
                    queries_bGF, keys_bGF = queries_BGHF[block, :, head], keys_BGHF[block, :, head]
                    log_head_bGG = _head(queries_bGF, keys_bGF, penalty_bGG)
                    # The share of a head in a transition is its posterior probability.
                    share_bGG = log_head_bGG.sub(mixture_bGG).add_(log_gates_BGH[block, :, head, None]).mul_(BITS).exp2_()
                    of_head_bGG = share_bGG.mul_(upstream_bGG)
                    of_gate_bG1 = of_head_bGG.sum(2, keepdim=True)
                    of_scores_bGG = of_head_bGG.addcmul_(log_head_bGG.mul_(BITS).exp2_(), of_gate_bG1, value=-1)
                    of_gates[block, :, head] = of_gate_bG1.squeeze(2)
                    of_queries[block, :, head] = torch.bmm(of_scores_bGG, keys_bGF) * scale
                    of_keys[block, :, head] = torch.bmm(of_scores_bGG.transpose(1, 2), queries_bGF) * scale
        return of_queries, of_keys, of_gates, None


def _is_link(links_BGG: Tensor, vertices_B: Tensor) -> tuple[Tensor, Tensor]:
    """Returns True for the transitions to a later vertex of the same graph, [B, G, G], and what to add to the scores of a head.

    The number for the others is not −inf, with which the softmax of a vertex without a successor would not be a number.
    """
    numbers_G = torch.arange(links_BGG.shape[1], device=vertices_B.device)
    is_link_BGG = (numbers_G > numbers_G[:, None]) & (numbers_G < vertices_B[:, None, None])
    return is_link_BGG, torch.zeros_like(links_BGG).masked_fill_(~is_link_BGG, torch.finfo(links_BGG.dtype).min / 4)


def _head(queries_BGF: Tensor, keys_BGF: Tensor, penalty_BGG: Tensor) -> Tensor:
    """Computes the log-probabilities of one head. The row of a vertex without a successor has numbers without a meaning."""
    scores_BGG = torch.baddbmm(penalty_BGG, queries_BGF, keys_BGF.transpose(1, 2), alpha=queries_BGF.shape[2] ** -0.5)
    return scores_BGG.log_softmax(2)


def blocks_of_graphs(links_BGG: Tensor) -> Iterator[slice]:
    """Yields blocks of graphs. On a CPU the numbers that one step computes for a block fit the cache."""
    batch, vertices, _ = links_BGG.shape
    number_of_bytes = _BYTES_AT_ONCE.get(links_BGG.device.type, _BYTES_AT_ONCE_ELSEWHERE)
    size = max(1, number_of_bytes // (links_BGG.element_size() * vertices**2))
    for start in range(0, max(1, batch), size):
        yield slice(start, min(start + size, batch))
