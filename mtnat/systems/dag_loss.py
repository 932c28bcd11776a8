"""Sums and maxima over the paths of a directed acyclic graph, and the loss of DA-Transformer (Huang et al. 2022)."""

# B sentences, M tokens of a target, those of the first and the last vertex included, G vertices, N vertices of all graphs,
# C tokens that are read at a vertex, R vertices of one block, b graphs of one block, D width, V vocabulary

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mtnat.objective.logit_blocks import LogitBlocks, product_dtype, rows_at_once
from mtnat.systems.dag_links import BITS, blocks_of_graphs


def token_log_probabilities(states_ND: Tensor, weight_VD: Tensor, columns_NC: Tensor) -> Tensor:
    """Computes ``log softmax(states·weightᵀ)`` of some tokens at each vertex, float32, [N, C].

    A graph has many more vertices than its target has tokens, so the log-probabilities of the whole vocabulary are never in
    memory: both the forward and the backward pass compute the logits of one block of vertices at a time.

    Args:
        columns_NC: ids of the tokens; they may repeat.
    """
    dtype = product_dtype(weight_VD)
    with torch.autocast(states_ND.device.type, enabled=False):
        result: Tensor = _TokenLogProbabilities.apply(states_ND, weight_VD, columns_NC, dtype)  # type: ignore[no-untyped-call]
    return result


class _TokenLogProbabilities(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, weight_VD: Tensor, columns_NC: Tensor, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(states_ND, weight_VD, columns_NC)
        ctx.dtype = dtype
        result_NC = states_ND.new_empty(columns_NC.shape, dtype=torch.float32)
        rows = min(rows_at_once(states_ND, weight_VD), len(states_ND))
        blocks = LogitBlocks(states_ND, weight_VD, dtype, rows, wants_gradient=False)
        for start in range(0, len(states_ND), max(1, rows)):
            stop = min(start + rows, len(states_ND))
            logits_RC, normaliser_R, _ = blocks.read(start, stop, columns_NC[start:stop])
            result_NC[start:stop] = logits_RC - normaliser_R[:, None]
        return result_NC

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_NC: Tensor) -> tuple[Tensor | None, ...]:
        states_ND, weight_VD, columns_NC = ctx.saved_tensors
        rows = min(rows_at_once(states_ND, weight_VD), len(states_ND))
        with torch.autocast(states_ND.device.type, enabled=False):
            blocks = LogitBlocks(states_ND, weight_VD, ctx.dtype, rows, wants_gradient=True)
            for start in range(0, len(states_ND), max(1, rows)):
                stop = min(start + rows, len(states_ND))
                columns_RC, upstream_RC = columns_NC[start:stop], upstream_NC[start:stop].float()
                _, _, errors_RV = blocks.read(start, stop, columns_RC)
                # With respect to the logits, the gradient of log p_c is onehot(c) − p.
                errors_RV.mul_(-upstream_RC.sum(1, keepdim=True)).scatter_add_(1, columns_RC, upstream_RC)
                blocks.add_gradient(start, stop, errors_RV)
        return blocks.gradient_ND, blocks.gradient_VD, None, None


def path_log_probability(tokens_BMG: Tensor, links_BGG: Tensor, lengths_B: Tensor, vertices_B: Tensor) -> Tensor:
    """Computes the log-probability of each target, summed over all paths of its graph that emit it, [B].

    A path starts at vertex 0 with the first token and ends at the last vertex with the last token. The sums
    ``f_k(v) = log P(y_k | v) + logsumexp_u (f_{k−1}(u) + log E_uv)`` take M steps over all transitions, B·M·G² operations.
    They are computed in logarithms, so that no path gets lost. The backward pass computes the posterior probabilities of tokens
    and transitions from the sums in both directions. No step is kept: memory is that of a few tensors [B, M, G] and, on a CPU,
    of the gradient of the links, [B, G, G].

    The result is −inf, with gradients of 0, if a graph has no path for its target, such as a graph with fewer vertices than
    the target has tokens.

    Args:
        tokens_BMG: log-probability of token k at vertex v; −inf if it cannot stand there. Must not be NaN or +inf.
        links_BGG: log-probability of the transition from u to v; −inf unless v > u.
        lengths_B: number of tokens of each target, at least 1; further tokens are ignored.
        vertices_B: number of vertices of each graph.
    """
    result: Tensor = _PathLogProbability.apply(tokens_BMG, links_BGG, lengths_B, vertices_B)  # type: ignore[no-untyped-call]
    return result


class _PathLogProbability(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tokens_BMG: Tensor, links_BGG: Tensor, lengths_B: Tensor, vertices_B: Tensor) -> Tensor:
        parts = [_forward_sums(tokens_BMG[block] * BITS, links_BGG[block] * BITS) for block in blocks_of_graphs(links_BGG)]
        sums_MBG = torch.cat(parts, dim=1)
        numbers_B = torch.arange(len(lengths_B), device=lengths_B.device)
        totals_B = sums_MBG[lengths_B - 1, numbers_B, vertices_B - 1]
        ctx.save_for_backward(tokens_BMG, links_BGG, lengths_B, vertices_B, sums_MBG, totals_B)
        return totals_B / BITS

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream_B: Tensor) -> tuple[Tensor | None, ...]:
        tokens_BMG, links_BGG, lengths_B, vertices_B, sums_MBG, totals_B = ctx.saved_tensors
        of_tokens_BMG, of_links_BGG = torch.empty_like(tokens_BMG), torch.zeros_like(links_BGG)
        numbers_G = torch.arange(tokens_BMG.shape[2], device=tokens_BMG.device)
        end_BG = torch.zeros_like(sums_MBG[0]).masked_fill_(numbers_G != vertices_B[:, None] - 1, -torch.inf)
        for block in blocks_of_graphs(links_BGG):
            _posteriors(
                tokens_BMG[block] * BITS,
                links_BGG[block] * BITS,
                lengths_B[block],
                end_BG[block],
                sums_MBG[:, block],
                totals_B[block],
                of_tokens_BMG[block],
                of_links_BGG[block],
            )
        return of_tokens_BMG.mul_(upstream_B[:, None, None]), of_links_BGG.mul_(upstream_B[:, None, None]), None, None


def _forward_sums(tokens_BMG: Tensor, links_BGG: Tensor) -> Tensor:
    """Computes the log-probability, in bits, of all paths to each vertex that emit the first tokens, [M, B, G]."""
    sums_MBG = _first_token(tokens_BMG)
    edges_BGG = torch.empty_like(links_BGG)
    for step in range(1, len(sums_MBG)):
        torch.add(links_BGG, sums_MBG[step - 1][:, :, None], out=edges_BGG)
        most_BG = _finite(edges_BGG.amax(1))
        summed_BG = edges_BGG.sub_(most_BG[:, None]).exp2_().sum(1)
        sums_MBG[step] = summed_BG.log2_().add_(most_BG).add_(tokens_BMG[:, step])
    return sums_MBG


def _posteriors(
    tokens_BMG: Tensor,
    links_BGG: Tensor,
    lengths_B: Tensor,
    end_BG: Tensor,
    sums_MBG: Tensor,
    totals_B: Tensor,
    of_tokens_BMG: Tensor,
    of_links_BGG: Tensor,
) -> None:
    """Computes the posterior probabilities of tokens at vertices, and adds up those of transitions over all steps.

    Args:
        end_BG: 0 at the last vertex of each graph, −inf elsewhere.
        sums_MBG: the result of `_forward_sums`.
        totals_B: log-probability of each target, in bits.
        of_tokens_BMG: filled with the posterior probabilities.
        of_links_BGG: the posterior probabilities are added.
    """
    totals_B1 = totals_B.masked_fill(totals_B == -torch.inf, 0)[:, None]
    edges_BGG = torch.empty_like(links_BGG)
    # after_BG: log-probability of the tokens after token `step` and of the transitions to them, by vertex of that token.
    after_BG = torch.full_like(end_BG, -torch.inf)
    for step in range(len(sums_MBG) - 1, -1, -1):
        after_BG = torch.where((lengths_B == step + 1)[:, None], end_BG, after_BG)
        of_tokens_BMG[:, step] = (sums_MBG[step] + after_BG - totals_B1).exp2_()
        if step == 0:
            break
        torch.add(links_BGG, (tokens_BMG[:, step] + after_BG)[:, None, :], out=edges_BGG)
        most_BG = _finite(edges_BGG.amax(2))
        edges_BGG.sub_(most_BG[:, :, None]).exp2_()
        # The posterior of a transition is 2^(sum before it + its edge − total). With the edge relative to the best edge of its
        # vertex, no factor exceeds 1.
        weight_BG = (sums_MBG[step - 1] + most_BG - totals_B1).exp2_()
        of_links_BGG.addcmul_(edges_BGG, weight_BG[:, :, None])
        after_BG = edges_BGG.sum(2).log2_().add_(most_BG)


def best_alignment(tokens_BMG: Tensor, links_BGG: Tensor, lengths_B: Tensor, vertices_B: Tensor) -> Tensor:
    """Finds the likeliest path that emits each target; returns the vertex of each token, [B, M].

    The arguments are those of `path_log_probability`. Tokens beyond the length of a target get the last vertex. The result has
    no meaning for a target without a path.
    """
    return trace_back(best_sums(tokens_BMG, links_BGG), links_BGG, lengths_B, vertices_B)


def best_sums(tokens_BMG: Tensor, links_BGG: Tensor) -> Tensor:
    """Computes the log-probability of the likeliest path to each vertex that emits the first tokens, [M, B, G]."""
    parts = []
    for block in blocks_of_graphs(links_BGG):
        best_MbG, edges_bGG = _first_token(tokens_BMG[block]), torch.empty_like(links_BGG[block])
        for step in range(1, len(best_MbG)):
            torch.add(links_BGG[block], best_MbG[step - 1][:, :, None], out=edges_bGG)
            best_MbG[step] = edges_bGG.amax(1).add_(tokens_BMG[block, step])
        parts.append(best_MbG)
    return torch.cat(parts, dim=1)


def trace_back(best_MBG: Tensor, links_BGG: Tensor, lengths_B: Tensor, vertices_B: Tensor) -> Tensor:
    """Returns the vertices of the path of each graph with this number of tokens that `best_sums` found, [B, M].

    No step has kept its best predecessors: the predecessors of the one vertex on the path are compared again, which costs less.
    """
    length, batch, vertices = best_MBG.shape
    vertex_B = vertices_B - 1
    places_BM = vertex_B[:, None].repeat(1, length)
    for step in range(length - 1, 0, -1):
        places_BM[:, step] = vertex_B
        arriving_BG1 = links_BGG.gather(2, vertex_B[:, None, None].expand(batch, vertices, 1))
        before_B = (arriving_BG1.squeeze(2) + best_MBG[step - 1]).argmax(1)
        vertex_B = torch.where(step < lengths_B, before_B, vertex_B)
    places_BM[:, 0] = vertex_B
    return places_BM


def _first_token(tokens_BMG: Tensor) -> Tensor:
    """Returns −inf, [M, B, G], but for the first token at vertex 0."""
    batch, length, vertices = tokens_BMG.shape
    sums_MBG = tokens_BMG.new_full((length, batch, vertices), -torch.inf)
    sums_MBG[0, :, 0] = tokens_BMG[:, 0, 0]
    return sums_MBG


def _finite(values: Tensor) -> Tensor:
    """Raises −inf to the smallest finite number, so that −inf minus it is −inf and not NaN."""
    return values.clamp(min=torch.finfo(values.dtype).min)
