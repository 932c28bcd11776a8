"""Searches for translations in a directed acyclic graph, given its links and the likeliest pieces of its vertices."""

# B sentences, G vertices, M vertices of a path, L numbers of pieces, C pieces that are tried at a vertex, U different pieces of
# a graph, K prefixes, N best translations, X any number

import torch
from torch import Tensor
from torch.nn import functional

from mtnat.systems.dag_loss import best_sums, trace_back

Found = tuple[tuple[int, ...], float]
"""The vertices of a path without the first and the last, or the pieces of a translation; and its log-probability."""


def greedy_paths(links_BGG: Tensor, scores_BG: Tensor, vertices_B: Tensor, lookahead_weight: float) -> list[Found]:
    """Follows the best transition from vertex to vertex (Huang et al. 2022).

    Greedy decoding (weight 0) takes the likeliest transition. Lookahead takes the transition whose log-probability, plus the
    weighted log-probability of the likeliest piece of the vertex that it leads to, is highest.

    Args:
        links_BGG: log-probabilities of the transitions.
        scores_BG: log-probability of the likeliest piece of each vertex; those of the first and the last are ignored.
        vertices_B: number of vertices of each graph.
        lookahead_weight: β.

    Returns:
        For each graph the vertices between the first and the last, and the log-probability of the path and its pieces.
    """
    scores_BG = _inner(scores_BG, vertices_B, 0.0)
    next_BG = (links_BGG + lookahead_weight * scores_BG[:, None]).argmax(2)
    # Each step in log-probabilities: the transition and the piece that it leads to.
    steps_BG = links_BGG.gather(2, next_BG[:, :, None]).squeeze(2) + scores_BG.gather(1, next_BG)
    found = []
    for following, steps, vertices in zip(next_BG.tolist(), steps_BG.tolist(), vertices_B.tolist(), strict=True):
        path, total, vertex = [], 0.0, 0
        while vertex != vertices - 1:
            total += steps[vertex]
            vertex = following[vertex]
            path.append(vertex)
        found.append((tuple(path[:-1]), total))
    return found


def joint_viterbi_paths(
    links_BGG: Tensor, scores_BG: Tensor, vertices_B: Tensor, limits_B: Tensor, length_penalty: float
) -> list[Found]:
    """Finds the path and pieces with the highest log-probability / length^penalty (Shao et al. 2022, Joint-Viterbi).

    The best path of each length is found exactly. The length is the number of pieces, at least 1: those of the first and the
    last vertex do not count. For equal quotients the shorter path is taken.

    Args:
        limits_B: number of pieces of the longest translation. A graph with limit 0 has the path without a piece.

    Returns:
        For each graph the vertices between the first and the last, and the log-probability of the path and its pieces.
    """
    # −inf at the first vertex changes nothing, because no link leads back to it.
    scores_BG = _inner(scores_BG, vertices_B, 0.0)
    most = int(limits_B.max())
    best_MBG = best_sums(scores_BG[:, None].expand(-1, most + 2, -1), links_BGG)
    ends_LB1 = (vertices_B - 1)[:, None].expand(most + 1, -1, 1)
    totals_BL = best_MBG[1:].gather(2, ends_LB1).squeeze(2).transpose(0, 1)  # column l is the best path with l pieces
    lengths_L = torch.arange(most + 1, device=links_BGG.device)
    is_allowed_BL = (lengths_L <= limits_B[:, None]) & ((lengths_L > 0) | (limits_B[:, None] == 0))
    quotients_BL = (totals_BL / lengths_L.clamp(min=1) ** length_penalty).masked_fill_(~is_allowed_BL, -torch.inf)
    length_B = quotients_BL.argmax(1)
    places_BM = trace_back(best_MBG, links_BGG, length_B + 2, vertices_B)
    totals_B = totals_BL.gather(1, length_B[:, None]).squeeze(1)
    rows = zip(places_BM.tolist(), length_B.tolist(), totals_B.tolist(), strict=True)
    return [(tuple(places[1 : length + 1]), total) for places, length, total in rows]


def prefix_beam_search(
    links_BGG: Tensor,
    scores_BGC: Tensor,
    pieces_BGC: Tensor,
    vertices_B: Tensor,
    limits_B: Tensor,
    *,
    beam: int,
    length_penalty: float,
) -> list[list[Found]]:
    """Finds the translations with the highest log-probability / length^penalty, where all paths of a translation add up.

    A hypothesis is a prefix of pieces with the probability of all its paths, by the vertex where they end. Step l extends the
    prefixes with l pieces by one piece and keeps the `beam` likeliest ones. Each prefix also is a translation: its paths that
    continue to the last vertex add up to its probability. The length counts the pieces and the end.

    The search is exact if the beam drops no prefix and every piece is tried at every vertex. All graphs and prefixes are
    extended together by matrix products of probabilities; each prefix has its own scale, so that only paths whose probability
    is 10⁻³⁸ of that of other paths of the same prefix get lost.

    Unlike the search of Huang et al. 2022, which goes through the graph vertex by vertex, keeps 10 prefixes of each length and
    200 in all, and drops unlikely successors of a vertex, this one goes from length to length. So it compares prefixes of equal
    length only, and each prefix has all its paths when it is compared. There is no external language model.

    Args:
        links_BGG: log-probabilities of the transitions.
        scores_BGC: log-probabilities of the pieces that are tried at each vertex; those of the first and the last are ignored.
        pieces_BGC: their ids.
        vertices_B: number of vertices of each graph.
        limits_B: number of pieces of the longest translation.

    Returns:
        At least 1 and at most `beam` translations of each graph with their log-probabilities, in descending order of the
        quotient.
    """
    batch, vertices = scores_BGC.shape[:2]
    emission_BGU, piece_BU = _distinct(_inner(scores_BGC, vertices_B, -torch.inf), pieces_BGC)
    transition_BGG = links_BGG.exp()
    log_end_BG = links_BGG.gather(2, (vertices_B - 1)[:, None, None].expand(-1, vertices, 1)).squeeze(2)
    # The probability of a prefix whose paths end at a vertex is exp(log_BK) · mass_BKG; the masses of a prefix add up to 1.
    log_BK = links_BGG.new_zeros(batch, 1)
    mass_BKG = functional.one_hot(torch.zeros_like(log_BK, dtype=torch.long), vertices).to(links_BGG.dtype)
    ended: list[Tensor] = []  # for each length the log-probability of the prefixes as translations, [B, K]
    grown: list[tuple[Tensor, Tensor]] = []  # for each length but 0 the parents and last pieces of the prefixes, [B, K] each
    most = int(limits_B.max())
    for length in range(most + 1):
        log_BK = log_BK.masked_fill((length > limits_B)[:, None], -torch.inf)
        # In logarithms, because the last vertex may be so unlikely that its probability is 0 in float32.
        ended.append(log_BK + (mass_BKG.log() + log_end_BG[:, None]).logsumexp(2))
        if length == most or not _can_improve(ended, log_BK, limits_B, beam, length_penalty):
            break
        arrived_BKG = torch.bmm(mass_BKG, transition_BGG)
        log_BKU = torch.bmm(arrived_BKG, emission_BGU).log_().add_(log_BK[:, :, None])
        log_BK, extensions_BK = log_BKU.flatten(1).topk(min(beam, log_BKU[0].numel()))
        parents_BK = extensions_BK.div(piece_BU.shape[1], rounding_mode="floor")
        kinds_BK = extensions_BK % piece_BU.shape[1]
        grown.append((parents_BK, piece_BU.gather(1, kinds_BK)))
        mass_BKG = arrived_BKG.gather(1, parents_BK[:, :, None].expand(-1, -1, vertices))
        mass_BKG = mass_BKG * emission_BGU.transpose(1, 2).gather(1, kinds_BK[:, :, None].expand(-1, -1, vertices))
        mass_BKG = mass_BKG / mass_BKG.sum(2, keepdim=True).clamp(min=torch.finfo(mass_BKG.dtype).tiny)
    return _best(ended, grown, beam, length_penalty)


def _inner(scores: Tensor, vertices_B: Tensor, otherwise: float) -> Tensor:
    """Returns the scores [B, G] or [B, G, C] with another value at the first and the last vertex and at the padding."""
    numbers_G = torch.arange(scores.shape[1], device=scores.device)
    is_outer_BG = (numbers_G == 0) | (numbers_G >= vertices_B[:, None] - 1)
    return scores.masked_fill(is_outer_BG if scores.ndim == 2 else is_outer_BG[:, :, None], otherwise)


def _distinct(scores_BGC: Tensor, pieces_BGC: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers the different pieces of each graph.

    Returns:
        the probability of each piece at each vertex, [B, G, U], 0 where it is not tried, and the ids of the pieces, [B, U].
    """
    sorted_BX, order_BX = pieces_BGC.flatten(1).sort(1)
    is_new_BX = functional.pad(sorted_BX[:, 1:] != sorted_BX[:, :-1], (1, 0), value=True)
    numbers_BX = is_new_BX.cumsum(1) - 1
    different = int(numbers_BX.max()) + 1
    numbers_BGC = torch.empty_like(numbers_BX).scatter_(1, order_BX, numbers_BX).view_as(pieces_BGC)
    emission_BGU = scores_BGC.new_zeros(*scores_BGC.shape[:2], different).scatter_(2, numbers_BGC, scores_BGC.exp())
    piece_BU = sorted_BX.new_zeros(len(sorted_BX), different).scatter_(1, numbers_BX, sorted_BX)
    return emission_BGU, piece_BU


def _can_improve(ended: list[Tensor], log_BK: Tensor, limits_B: Tensor, beam: int, length_penalty: float) -> bool:
    """Returns whether an extension of a prefix can enter the best translations of its graph.

    An extension is no likelier than its prefix. A negative log-probability divided by the largest length is the highest
    quotient.
    """
    quotients_BX = _quotients(ended, length_penalty)
    if quotients_BX.shape[1] < beam:
        return True
    worst_B = quotients_BX.topk(beam).values[:, -1]
    could_reach_B = log_BK.amax(1) / (limits_B + 1) ** length_penalty
    return bool((could_reach_B > worst_B).any())


def _quotients(ended: list[Tensor], length_penalty: float) -> Tensor:
    """Divides the log-probabilities of the translations of each length by length^penalty; returns those of all lengths."""
    return torch.cat([ended_BK / (length + 1) ** length_penalty for length, ended_BK in enumerate(ended)], dim=1)


def _best(ended: list[Tensor], grown: list[tuple[Tensor, Tensor]], beam: int, length_penalty: float) -> list[list[Found]]:
    """Returns the best translations of each graph, with their log-probabilities."""
    quotients_BX = _quotients(ended, length_penalty)
    order_BN = quotients_BX.argsort(dim=1, descending=True, stable=True)[:, :beam]
    totals_BN = torch.cat(ended, dim=1).gather(1, order_BN)
    places = [(length, number) for length, ended_BK in enumerate(ended) for number in range(ended_BK.shape[1])]
    history = [(parents_BK.tolist(), pieces_BK.tolist()) for parents_BK, pieces_BK in grown]

    def pieces_of(row: int, length: int, number: int) -> tuple[int, ...]:
        pieces = []
        for parents, last in reversed(history[:length]):
            pieces.append(last[row][number])
            number = parents[row][number]
        return tuple(reversed(pieces))

    return [
        [(pieces_of(row, *places[place]), total) for place, total in zip(order, totals, strict=True) if total > -torch.inf]
        for row, (order, totals) in enumerate(zip(order_BN.tolist(), totals_BN.tolist(), strict=True))
    ]
