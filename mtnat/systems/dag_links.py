"""The links of a directed acyclic graph: the probabilities of its transitions (Huang et al. 2022)."""

# B sentences, G vertices, D width, H heads, F features of a head

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mtnat.model import ModelConfig
from mtnat.model.linear import Linear


class Links(nn.Module):
    """Predicts the transition from every vertex to each later one.

    Each head is an attention of a vertex to the later vertices. The transition probability is a mixture of the heads, whose
    weights depend on the vertex that is left: ``E_ij = Σ_h g_ih · softmax_j(q_ih · k_jh / √F)``, j > i.

    A vertex enters as its state and a learned embedding of its position. Like the position embeddings of the decoders here, and
    unlike those of the authors, it is scaled by √D, so that states and positions have entries of the same size.
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
        self.projection = Linear(2 * config.width, heads * (2 * self.features + 1))

    def forward(self, states_BGD: Tensor, vertices_B: Tensor) -> Tensor:
        """Computes the log-probabilities of the transitions in float32 (float64 for states in float64), [B, G, G].

        Row i is the distribution over the successors of vertex i. The last vertex of a graph has none: its row and those of the
        padding are −inf, as are all transitions backwards and to the padding.

        Args:
            vertices_B: number of vertices of each graph.
        """
        vertices, width = states_BGD.shape[1:]
        positions_BGD = (self.positions.weight[:vertices] * math.sqrt(width)).expand_as(states_BGD)
        projected = self.projection(torch.cat((states_BGD, positions_BGD), dim=2))
        projected = projected.to(torch.promote_types(projected.dtype, torch.float32))
        product = self.heads * self.features
        queries, keys, gates_BGH = projected.split((product, product, self.heads), dim=2)
        shape = (self.heads, self.features)
        return log_links(queries.unflatten(2, shape), keys.unflatten(2, shape), gates_BGH.log_softmax(2), vertices_B)

    def flops(self, vertices: int, pairs: int) -> int:
        """Counts a forward pass. As in causal attention, only the products with later vertices count.

        Args:
            vertices: number of vertices of all graphs.
            pairs: number of pairs of vertices, the sum of G² over all graphs.
        """
        projection = 2 * self.projection.weight.numel() * vertices
        return projection + self.heads * self.features * pairs


def log_links(queries_BGHF: Tensor, keys_BGHF: Tensor, log_gates_BGH: Tensor, vertices_B: Tensor) -> Tensor:
    """Computes the logarithm of the mixture of all heads, [B, G, G]; see `Links`.

    One head at a time is computed, and the backward pass computes it again. Memory is thus a few times B·G², whatever the
    number of heads.
    """
    with torch.autocast(queries_BGHF.device.type, enabled=False):
        result: Tensor = _LogLinks.apply(queries_BGHF, keys_BGHF, log_gates_BGH, vertices_B)  # type: ignore[no-untyped-call]
    return result


class _LogLinks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, queries_BGHF: Tensor, keys_BGHF: Tensor, log_gates_BGH: Tensor, vertices_B: Tensor) -> Tensor:
        is_link_BGG = _is_link(queries_BGHF.shape[1], vertices_B)
        links_BGG = _head(0, queries_BGHF, keys_BGHF, is_link_BGG).add_(log_gates_BGH[:, :, 0, None])
        for head in range(1, queries_BGHF.shape[2]):
            other_BGG = _head(head, queries_BGHF, keys_BGHF, is_link_BGG).add_(log_gates_BGH[:, :, head, None])
            torch.logaddexp(links_BGG, other_BGG, out=links_BGG)
        links_BGG.masked_fill_(~is_link_BGG, -torch.inf)
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
            is_link_BGG = _is_link(queries_BGHF.shape[1], vertices_B)
            upstream_BGG = upstream_BGG.masked_fill(~is_link_BGG, 0)
            mixture_BGG = links_BGG.masked_fill(~is_link_BGG, 0)  # −inf − (−inf) would not be a number
            for head in range(queries_BGHF.shape[2]):
                log_head_BGG = _head(head, queries_BGHF, keys_BGHF, is_link_BGG)
                # The share of a head in a transition is its posterior probability.
                of_head_BGG = log_head_BGG.sub(mixture_BGG).add_(log_gates_BGH[:, :, head, None]).exp_().mul_(upstream_BGG)
                of_gate_BG1 = of_head_BGG.sum(2, keepdim=True)
                of_gates[:, :, head] = of_gate_BG1.squeeze(2)
                of_scores_BGG = of_head_BGG.sub_(log_head_BGG.exp_().mul_(of_gate_BG1))
                of_queries[:, :, head] = torch.bmm(of_scores_BGG, keys_BGHF[:, :, head]) * scale
                of_keys[:, :, head] = torch.bmm(of_scores_BGG.transpose(1, 2), queries_BGHF[:, :, head]) * scale
        return of_queries, of_keys, of_gates, None


def _is_link(vertices: int, vertices_B: Tensor) -> Tensor:
    """Returns True for the transitions to a later vertex of the same graph, [B, G, G]."""
    numbers_G = torch.arange(vertices, device=vertices_B.device)
    return (numbers_G > numbers_G[:, None]) & (numbers_G < vertices_B[:, None, None])


def _head(head: int, queries_BGHF: Tensor, keys_BGHF: Tensor, is_link_BGG: Tensor) -> Tensor:
    """Computes the log-probabilities of one head. A row without a link has finite numbers without a meaning."""
    queries_BGF, keys_BGF = queries_BGHF[:, :, head], keys_BGHF[:, :, head]
    scores_BGG = torch.bmm(queries_BGF, keys_BGF.transpose(1, 2)).mul_(queries_BGF.shape[2] ** -0.5)
    # Not −inf, with which the softmax of a row without a link would not be a number.
    scores_BGG.masked_fill_(~is_link_BGG, torch.finfo(scores_BGG.dtype).min)
    return scores_BGG.log_softmax(2)
