"""DA-Transformer against enumeration of all paths and against cases worked by hand (Huang et al. 2022; Shao et al. 2022)."""

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from mtnat.config import build as build_record
from mtnat.decoding import Hypothesis, decode
from mtnat.errors import ConfigError
from mtnat.model import Memory, ModelConfig, Translator
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, logit_blocks
from mtnat.systems import AtBranch, DagDecoding, DaTransformer, DaTransformerBranch, branch_of, search_of
from mtnat.systems.da_transformer import Vertices, forced_at
from mtnat.systems.dag_links import Links, log_links
from mtnat.systems.dag_loss import best_alignment, path_log_probability, token_log_probabilities
from mtnat.systems.dag_search import greedy_paths, joint_viterbi_paths, prefix_beam_search
from mtnat.tokens import BOS, EOS, MASK, PAD, SPECIAL

INF = math.inf
VOCABULARY = 14
START, END = Moment(0, 100, 3), Moment(100, 100, 3)

# The graph that is worked by hand: four vertices, the first of which emits s and the last e.

S, X, W, Q, Z, E = range(6)
LINKS = torch.tensor([[[0, 0.5, 0.3, 0.2], [0, 0, 0.6, 0.4], [0, 0, 0, 1.0], [0, 0, 0, 0]]], dtype=torch.float64).log()
EMISSIONS = torch.zeros(4, 6, dtype=torch.float64)
EMISSIONS[0, S] = EMISSIONS[3, E] = 1
EMISSIONS[1, [X, W, Q]] = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
EMISSIONS[2, [Z, X, Q]] = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
FOUR = torch.tensor([4])


def hand_tokens(sentence: Sequence[int]) -> Tensor:
    """Log-probabilities [1, M, G] of the tokens of a sentence at the vertices of the graph that is worked by hand."""
    return EMISSIONS[:, list(sentence)].T.log()[None]


def hand_probability(*sentence: int) -> float:
    return path_log_probability(hand_tokens(sentence), LINKS, torch.tensor([len(sentence)]), FOUR).exp().item()


@pytest.mark.parametrize(
    ("sentence", "probability"),
    [
        ((S, E), 0.2),
        ((S, X, E), 0.1 + 0.075),
        ((S, Z, E), 0.15),
        ((S, Q, E), 0.115),
        ((S, X, Z, E), 0.075),
        ((S, X, X, E), 0.0375),
    ],
)
def test_the_probabilities_worked_by_hand(sentence: tuple[int, ...], probability: float) -> None:
    assert hand_probability(*sentence) == pytest.approx(probability)


def test_the_loss_per_token_worked_by_hand() -> None:
    assert -math.log(hand_probability(S, X, E)) == pytest.approx(1.742969, abs=1e-6)
    assert -math.log(hand_probability(S, X, E)) / 3 == pytest.approx(0.580990, abs=1e-6)


def test_the_probabilities_of_all_outputs_add_up_to_1() -> None:
    total = 0.0
    for length in range(1, 5):
        outputs_BM = torch.tensor(list(itertools.product(range(6), repeat=length)))
        batch = len(outputs_BM)
        tokens_BMG = EMISSIONS.T.log()[outputs_BM]
        lengths, sizes = torch.full((batch,), length), FOUR.expand(batch)
        total += path_log_probability(tokens_BMG, LINKS.expand(batch, -1, -1), lengths, sizes).exp().sum().item()
    assert total == pytest.approx(1)


def test_the_best_alignment_worked_by_hand() -> None:
    assert best_alignment(hand_tokens((S, X, E)), LINKS, torch.tensor([3]), FOUR).tolist() == [[0, 1, 3]]


def test_a_token_that_is_forced_to_a_vertex_leaves_only_the_paths_through_it() -> None:
    """x at vertex 2 is certain: only 0-2-3 is left, whose transitions have probability .3 · 1."""
    is_forced = torch.tensor([[False, True, False]])
    tokens = forced_at(hand_tokens((S, X, E)), torch.tensor([[0, 2, 0]]), is_forced)
    assert path_log_probability(tokens, LINKS, torch.tensor([3]), FOUR).item() == pytest.approx(math.log(0.3))


# Sums over paths


def random_graphs(seed: int, batch: int = 6, most: int = 6) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens [B, M, G], links [B, G, G], lengths and sizes of ragged graphs in float64; some tokens cannot stand somewhere."""
    generator = torch.Generator().manual_seed(seed)
    vertices_B = torch.randint(2, most + 1, (batch,), generator=generator)
    lengths_B = torch.randint(2, most + 1, (batch,), generator=generator).minimum(vertices_B)
    tokens_BMG = torch.randn(batch, most, most, generator=generator, dtype=torch.float64).sub_(1)
    tokens_BMG = tokens_BMG.masked_fill(torch.rand(batch, most, most, generator=generator) < 0.1, -INF)
    return tokens_BMG, random_links(generator, vertices_B, most), lengths_B, vertices_B


def random_links(generator: torch.Generator, vertices_B: Tensor, most: int) -> Tensor:
    """Log-probabilities of transitions."""
    numbers = torch.arange(most)
    is_link = (numbers > numbers[:, None]) & (numbers < vertices_B[:, None, None])
    scores = (2 * torch.randn(len(vertices_B), most, most, generator=generator, dtype=torch.float64)).masked_fill(
        ~is_link, -INF
    )
    return scores.log_softmax(2).masked_fill(~is_link, -INF)


def paths_of(length: int, vertices: int) -> list[tuple[int, ...]]:
    """All paths of a number of vertices from the first to the last vertex."""
    return [(0, *inner, vertices - 1) for inner in itertools.combinations(range(1, vertices - 1), length - 2)]


def path_score(tokens_MG: Tensor, links_GG: Tensor, path: Sequence[int]) -> Tensor:
    """Log-probability of a path and its tokens."""
    emitted = tokens_MG[range(len(path)), list(path)].sum()
    return emitted + links_GG[list(path[:-1]), list(path[1:])].sum()


def enumerated(tokens_MG: Tensor, links_GG: Tensor, length: int, vertices: int) -> Tensor:
    """Log of the sum over all paths."""
    scores = [path_score(tokens_MG, links_GG, path) for path in paths_of(length, vertices)]
    finite = [score for score in scores if score > -INF]
    return torch.stack(finite).logsumexp(0) if finite else torch.tensor(-INF, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_paths_and_their_gradients_are_those_of_all_paths(seed: int) -> None:
    tokens, links, lengths, vertices = random_graphs(seed)
    weights = torch.randn(len(lengths), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def found(totals: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        ours, others = tokens.clone().requires_grad_(), links.clone().requires_grad_()
        totals_B = totals(ours, others)
        has_path_B = totals_B.isfinite()
        (totals_B[has_path_B] * weights[has_path_B]).sum().backward()  # type: ignore[no-untyped-call]
        assert ours.grad is not None
        assert others.grad is not None
        return totals_B.detach(), ours.grad, others.grad

    def by_enumeration(ours: Tensor, others: Tensor) -> Tensor:
        rows = zip(ours, others, lengths.tolist(), vertices.tolist(), strict=True)
        return torch.stack([enumerated(*row) for row in rows])

    totals, of_tokens, of_links = found(lambda ours, others: path_log_probability(ours, others, lengths, vertices))
    expected, of_tokens_too, of_links_too = found(by_enumeration)
    assert totals.isfinite().any()
    torch.testing.assert_close(totals, expected)
    torch.testing.assert_close(of_tokens, of_tokens_too)
    torch.testing.assert_close(of_links, of_links_too)


def test_the_gradients_of_sums_over_paths_agree_with_differences() -> None:
    _, _, lengths, vertices = random_graphs(3, batch=4, most=5)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(4, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(4, 5, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    is_link = torch.ones(5, 5, dtype=torch.bool).triu(1)

    def totals(tokens: Tensor, scores: Tensor) -> Tensor:
        return path_log_probability(tokens, scores.masked_fill(~is_link, -INF), lengths, vertices)

    assert torch.autograd.gradcheck(totals, (tokens, scores))


@pytest.mark.parametrize("seed", range(8))
def test_the_best_alignment_is_the_best_of_all_paths(seed: int) -> None:
    tokens, links, lengths, vertices = random_graphs(seed)
    found = best_alignment(tokens, links, lengths, vertices).tolist()
    compared = 0
    for row, (length, size) in enumerate(zip(lengths.tolist(), vertices.tolist(), strict=True)):
        scores = {path: path_score(tokens[row], links[row], path).item() for path in paths_of(length, size)}
        best = max(scores, key=lambda path: scores[path])
        if scores[best] > -INF:
            compared += 1
            assert tuple(found[row][:length]) == best
    assert compared >= 3


def test_a_graph_without_a_path_has_probability_0_and_no_gradient() -> None:
    """A target with more tokens than vertices, beside one that fits."""
    generator, vertices = torch.Generator().manual_seed(2), torch.tensor([4, 6])
    links = random_links(generator, vertices, 6).requires_grad_()
    tokens = torch.randn(2, 6, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    totals = path_log_probability(tokens, links, torch.tensor([5, 3]), vertices)
    assert totals[0] == -INF
    assert totals[1].isfinite()
    totals.masked_fill(totals == -INF, 0).sum().backward()  # type: ignore[no-untyped-call]
    for given in (tokens, links):
        assert given.grad is not None
        assert not given.grad[0].any()
        assert given.grad[1].any()
        assert given.grad.isfinite().all()


def test_sums_over_paths_stay_exact_where_probabilities_underflow() -> None:
    """Each token has probability e^−200, and each transition away from the best path e^−500."""
    most, length = 12, 8
    links = torch.full((1, most, most), -500.0).masked_fill(~torch.ones(most, most, dtype=torch.bool).triu(1), -INF)
    path = [0, 1, 2, 4, 5, 7, 9, 11]
    for here, there in itertools.pairwise(path):
        links[0, here, there] = -0.1
    tokens = torch.full((1, length, most), -200.0)
    total = path_log_probability(tokens, links, torch.tensor([length]), torch.tensor([most]))
    assert total.item() == pytest.approx(-200 * length - 0.1 * (length - 1), abs=1e-3)
    assert best_alignment(tokens, links, torch.tensor([length]), torch.tensor([most])).tolist() == [path]


# Log-probabilities of the target's tokens


def random_states() -> tuple[Tensor, Tensor, Tensor]:
    """States, output embeddings and tokens to read, some of them twice."""
    generator = torch.Generator().manual_seed(3)
    states_ND = torch.randn(30, 16, generator=generator).requires_grad_()
    weight_VD = torch.randn(41, 16, generator=generator).requires_grad_()
    return states_ND, weight_VD, torch.randint(0, 41, (30, 50), generator=generator)


@pytest.mark.parametrize("rows", [1, 7, 30])
def test_token_log_probabilities_and_their_gradients_are_those_of_a_softmax(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 4 * 41 * rows)
    states, weight, columns = random_states()
    upstream = torch.randn(30, 50, generator=torch.Generator().manual_seed(5))
    found = token_log_probabilities(states, weight, columns)
    (found * upstream).sum().backward()  # type: ignore[no-untyped-call]
    plain_states, plain_weight = (each.detach().double().requires_grad_() for each in random_states()[:2])
    plain = (plain_states @ plain_weight.T).log_softmax(1).gather(1, columns)
    (plain * upstream).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found.double(), plain, rtol=1e-5, atol=1e-5)
    for ours, theirs in ((states.grad, plain_states.grad), (weight.grad, plain_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert (ours - theirs).abs().max() < 2e-5 * theirs.abs().max()


def test_under_autocast_products_are_rounded_and_log_probabilities_are_float32() -> None:
    states, weight, columns = random_states()
    with torch.autocast("cpu", torch.bfloat16):
        found = token_log_probabilities(states, weight, columns)
    found.sum().backward()  # type: ignore[no-untyped-call]
    exact_states, exact_weight, _ = random_states()
    exact = token_log_probabilities(exact_states, exact_weight, columns)
    exact.sum().backward()  # type: ignore[no-untyped-call]
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() < 0.02 * exact.norm()
    for ours, theirs in ((states.grad, exact_states.grad), (weight.grad, exact_weight.grad)):
        assert ours is not None
        assert theirs is not None
        assert 0 < (ours - theirs).norm() < 0.03 * theirs.norm()


# Links


def random_heads(seed: int = 0, batch: int = 3, most: int = 6, heads: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, log-weights of the heads and sizes of ragged graphs, in float64."""
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, batch, most, heads, 4, generator=generator, dtype=torch.float64)
    gates = torch.randn(batch, most, heads, generator=generator, dtype=torch.float64).log_softmax(2)
    return queries.clone(), keys.clone(), gates, torch.tensor([most, 4, 2])


def test_links_are_a_mixture_of_softmaxes_over_later_vertices() -> None:
    queries, keys, gates, vertices = random_heads()
    links = log_links(queries, keys, gates, vertices).exp()
    for row, size in enumerate(vertices.tolist()):
        for here in range(6):
            expected = torch.zeros(6, dtype=torch.float64)
            for head in range(3):
                if here < size - 1:
                    scores = torch.stack([queries[row, here, head] @ keys[row, there, head] for there in range(here + 1, size)])
                    expected[here + 1 : size] += gates[row, here, head].exp() * (scores / 2).softmax(0)
            torch.testing.assert_close(links[row, here], expected)


def test_the_gradients_of_links_agree_with_differences() -> None:
    queries, keys, gates, vertices = random_heads()
    is_link = log_links(queries, keys, gates, vertices).isfinite()

    def links(queries: Tensor, keys: Tensor, gates: Tensor) -> Tensor:
        return log_links(queries, keys, gates, vertices)[is_link]

    assert torch.autograd.gradcheck(links, tuple(each.requires_grad_() for each in (queries, keys, gates)))


def test_links_that_are_almost_impossible_have_finite_gradients() -> None:
    vertices = random_heads()[3]
    queries, keys, gates = (each.float() for each in random_heads()[:3])
    queries = (1e4 * queries).requires_grad_()
    links = log_links(queries, keys.requires_grad_(), gates.requires_grad_(), vertices)
    assert not links.isnan().any()
    tokens = torch.full((3, 3, 6), -1.0)
    path_log_probability(tokens, links, torch.tensor([3, 3, 2]), vertices).sum().backward()  # type: ignore[no-untyped-call]
    assert all(each.grad is not None and each.grad.isfinite().all() for each in (queries, keys, gates))


@pytest.mark.parametrize("heads", [1, 2, 3, 64])
def test_any_number_of_heads_fits_the_width(heads: int) -> None:
    model = ModelConfig(width=16, heads=2, max_positions=16)
    links = Links(model, heads)
    states = torch.randn(2, 9, 16)
    found = links(states, torch.tensor([9, 5]))
    sums = found.exp().sum(2)
    torch.testing.assert_close(sums[0], torch.tensor([1.0] * 8 + [0]))
    torch.testing.assert_close(sums[1], torch.tensor([1.0] * 4 + [0] * 5))


def test_operations_of_links_by_hand() -> None:
    """Two heads of 8 features: per vertex a projection of 16×34, per pair of vertices and head 8 products and 8 additions."""
    links = Links(ModelConfig(width=16, heads=2, max_positions=16), 2)
    pairs_forwards = 3 * 8**2 / 2
    assert links.flops(3 * 8, 3 * 8**2) == 3 * 8 * 2 * 16 * 34 + pairs_forwards * 2 * 8 * 2


# The searches


def hand_pieces(count: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities and ids [1, G, C] of the likeliest tokens of the graph that is worked by hand."""
    best = EMISSIONS.topk(count, dim=1)
    return best.values.log()[None], best.indices[None]


def test_greedy_and_lookahead_decoding_worked_by_hand() -> None:
    """Greedy goes to 1 and 2. Lookahead compares .5 · .5, .3 · .5, .2 · 1, and then .6 · .5 and .4 · 1."""
    scores, tokens = (each[:, :, 0] for each in hand_pieces(1))
    for weight, vertices, pieces, probability in ((0.0, (1, 2), [X, Z], 0.075), (1.0, (1,), [X], 0.1)):
        [(path, total)] = greedy_paths(LINKS, scores, FOUR, weight)
        assert path == vertices
        assert tokens[0, list(path)].tolist() == pieces
        assert total == pytest.approx(math.log(probability))


@pytest.mark.parametrize(
    ("penalty", "vertices", "total"), [(0.0, (2,), -1.897120), (1.0, (1, 2), -2.590267), (0.4, (2,), -1.897120)]
)
def test_joint_viterbi_worked_by_hand(penalty: float, vertices: tuple[int, ...], total: float) -> None:
    """s z e has .15 and s x z e .075, with one and two pieces. Two pieces win if ln .075 / 2^β exceeds ln .15."""
    scores = hand_pieces(1)[0][:, :, 0]
    [(path, found)] = joint_viterbi_paths(LINKS, scores, FOUR, torch.tensor([2]), penalty)
    assert path == vertices
    assert found == pytest.approx(total, abs=1e-6)
    if penalty == 1:
        assert found / len(path) == pytest.approx(-1.295134, abs=1e-6)


def test_joint_viterbi_keeps_to_its_limit() -> None:
    scores = hand_pieces(1)[0][:, :, 0]
    assert [joint_viterbi_paths(LINKS, scores, FOUR, torch.tensor([limit]), 1.0)[0][0] for limit in (0, 1)] == [(), (2,)]


def beam_search_by_hand(penalty: float, beam: int = 50, limit: int = 2) -> list[tuple[tuple[int, ...], float]]:
    [best] = prefix_beam_search(LINKS, *hand_pieces(3), FOUR, torch.tensor([limit]), beam=beam, length_penalty=penalty)
    return best


def test_beam_search_worked_by_hand() -> None:
    """Without a penalty the empty translation (s e) is best; per token it is x z, before x."""
    (best, total), *_ = beam_search_by_hand(0.0)
    assert best == ()
    assert total == pytest.approx(math.log(0.2))
    (best, total), (second, less), *_ = beam_search_by_hand(1.0)
    assert (best, second) == ((X, Z), (X,))
    assert [total / 3, less / 2] == pytest.approx([-0.863422, -0.871485], abs=1e-6)


def test_beam_search_adds_up_the_paths_of_a_translation() -> None:
    """x has .1 + .075 by two paths, more than z with .15 by one, which is the likeliest path."""
    found: dict[tuple[int, ...], float] = dict(beam_search_by_hand(0.0))
    assert found[X,] == pytest.approx(math.log(0.175))
    assert found[Z,] == pytest.approx(math.log(0.15))
    assert sum(math.exp(total) for total in found.values()) == pytest.approx(1)


def test_beam_search_keeps_to_its_limit() -> None:
    assert {len(pieces) for pieces, _ in beam_search_by_hand(1.0, limit=1)} == {0, 1}
    assert [pieces for pieces, _ in beam_search_by_hand(1.0, limit=0)] == [()]


def random_pieces(seed: int, vertices_B: Tensor, most: int, vocabulary: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probabilities [B, G, V] of all pieces; and the same in descending order, with their ids."""
    generator = torch.Generator().manual_seed(seed)
    scores = (2 * torch.randn(len(vertices_B), most, vocabulary, generator=generator, dtype=torch.float64)).log_softmax(2)
    return scores, *scores.sort(2, descending=True)


def translations_of(scores_GV: Tensor, links_GG: Tensor, vertices: int, limit: int) -> dict[tuple[int, ...], float]:
    """Log-probability of every translation with a path, by enumeration of paths and pieces."""
    sums: dict[tuple[int, ...], float] = {}
    for length in range(min(limit, vertices - 2) + 1):
        for pieces in itertools.product(range(scores_GV.shape[1]), repeat=length):
            rows = [torch.zeros(len(scores_GV), dtype=torch.float64), *(scores_GV[:, piece] for piece in pieces)]
            tokens_MG = torch.stack([*rows, torch.zeros_like(rows[0])])
            sums[pieces] = enumerated(tokens_MG, links_GG, length + 2, vertices).item()
    return sums


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.3])
@pytest.mark.parametrize("seed", range(3))
def test_beam_search_that_drops_nothing_is_exact(seed: int, penalty: float) -> None:
    vertices, limits = torch.tensor([6, 4, 2, 5]), torch.tensor([4, 1, 0, 3])
    links = random_links(torch.Generator().manual_seed(seed), vertices, 6)
    every, scores, pieces = random_pieces(seed, vertices, 6)
    found = prefix_beam_search(links, scores, pieces, vertices, limits, beam=200, length_penalty=penalty)
    for row, best in enumerate(found):
        sums = translations_of(every[row], links[row], int(vertices[row]), int(limits[row]))
        expected = sorted(sums, key=lambda pieces: -sums[pieces] / (len(pieces) + 1) ** penalty)
        assert len(best) == len(sums)
        assert [pieces for pieces, _ in best] == expected
        assert [total for _, total in best] == pytest.approx([sums[pieces] for pieces in expected])


def plain_beam(scores_GV: Tensor, links_GG: Tensor, vertices: int, beam: int, penalty: float) -> list[tuple[int, ...]]:
    """Beam search over prefixes without tensors of several prefixes and without an early end."""
    transitions = links_GG.exp()
    prefixes: dict[tuple[int, ...], torch.Tensor] = {(): torch.eye(len(links_GG), dtype=torch.float64)[0]}
    ended: dict[tuple[int, ...], float] = {}
    for _ in range(vertices - 1):
        for prefix, mass in prefixes.items():
            ended[prefix] = math.log(float(mass @ transitions[:, vertices - 1])) / (len(prefix) + 1) ** penalty
        longer = {}
        for prefix, mass in prefixes.items():
            arrived = (mass @ transitions) * (torch.arange(len(mass)) < vertices - 1)
            for piece in range(scores_GV.shape[1]):
                longer[(*prefix, piece)] = arrived * scores_GV[:, piece].exp()
        prefixes = dict(sorted(longer.items(), key=lambda item: -float(item[1].sum()))[:beam])
        prefixes = {prefix: mass for prefix, mass in prefixes.items() if mass.sum() > 0}
    return sorted(ended, key=lambda prefix: -ended[prefix])[:beam]


@pytest.mark.parametrize("penalty", [0.0, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_a_small_beam_keeps_the_likeliest_prefixes_of_each_length(seed: int, penalty: float) -> None:
    vertices = torch.tensor([9, 6])
    links = random_links(torch.Generator().manual_seed(seed), vertices, 9)
    every, scores, pieces = random_pieces(seed, vertices, 9, vocabulary=5)
    found = prefix_beam_search(links, scores, pieces, vertices, vertices - 2, beam=3, length_penalty=penalty)
    for row, best in enumerate(found):
        assert [pieces for pieces, _ in best] == plain_beam(every[row], links[row], int(vertices[row]), 3, penalty)


@pytest.mark.parametrize("penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_joint_viterbi_finds_the_best_of_all_paths(seed: int, penalty: float) -> None:
    vertices, limits = torch.tensor([7, 4, 6]), torch.tensor([5, 2, 3])
    links = random_links(torch.Generator().manual_seed(seed), vertices, 7)
    scores_BG = random_pieces(seed, vertices, 7)[1][:, :, 0]
    for row, (path, total) in enumerate(joint_viterbi_paths(links, scores_BG, vertices, limits, penalty)):
        scores = {}
        for length in range(1, int(limits[row]) + 1):
            for each in paths_of(length + 2, int(vertices[row])):
                transitions = links[row][list(each[:-1]), list(each[1:])].sum()
                scores[each[1:-1]] = (transitions + scores_BG[row, list(each[1:-1])].sum()).item()
        best = max(scores, key=lambda inner: scores[inner] / len(inner) ** penalty)
        assert path == best
        assert total == pytest.approx(scores[best])


def test_beam_search_finds_a_translation_where_the_end_is_almost_impossible() -> None:
    """The probability e^−200 of the last vertex is 0 in float32."""
    links = torch.tensor([[[-INF, 0.0, -200.0, -200.0], [-INF, -INF, 0.0, -200.0], [-INF] * 3 + [0.0], [-INF] * 4]])
    scores, pieces = torch.zeros(1, 4, 1), torch.full((1, 4, 1), 7)
    found = [
        prefix_beam_search(links, scores, pieces, FOUR, torch.tensor([limit]), beam=2, length_penalty=1.0)[0][0]
        for limit in (0, 1, 2)
    ]
    assert found == [((), -200.0), ((7,), -200.0), ((7, 7), 0.0)]


# The branch


class Guesses(DaTransformerBranch):
    """A branch whose pass 1 runs, and is then taken to have aligned and predicted the target as given."""

    places: Sequence[Sequence[int]] = ()
    is_wrong: Sequence[Sequence[bool]] = ()

    def _aligned(self, memory: Memory, vertices: Vertices, target_RT: Tensor, is_piece_RT: Tensor) -> tuple[Tensor, Tensor]:
        super()._aligned(memory, vertices, target_RT, is_piece_RT)
        return torch.tensor(self.places), torch.tensor(self.is_wrong)


def build(
    system: DaTransformer | None = None,
    *,
    with_at: bool = False,
    std: float | None = 0.3,
    dropout: float = 0.0,
    vocabulary: int = VOCABULARY,
    kind: type[DaTransformerBranch] = DaTransformerBranch,
) -> Translator:
    torch.manual_seed(1)
    model = ModelConfig(
        width=16, heads=2, feed_forward=32, encoder_layers=1, decoder_layers=2, dropout=dropout, norm="pre", max_positions=12
    )
    objective = ObjectiveConfig()
    chosen = system or DaTransformer(upsampling=2, start_ratio=0.0, end_ratio=0.0)

    def branches(tokens: nn.Embedding) -> dict[str, nn.Module]:
        at = {"at": AtBranch(model, objective, tokens)} if with_at else {}
        return {**at, "nat": kind(chosen, model, tokens)}

    translator = Translator(
        model, source_vocabulary_size=vocabulary, target_vocabulary_size=vocabulary, joint=True, branches=branches
    )
    if std is not None:
        for parameter in translator.parameters():
            nn.init.normal_(parameter, std=std)
    return translator


def branch_in(translator: Translator) -> DaTransformerBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, DaTransformerBranch)
    return branch


def rows(*sentences: Sequence[int]) -> Tensor:
    width = max(map(len, sentences)) + 1
    return torch.tensor([[*row, EOS, *[PAD] * (width - len(row) - 1)] for row in sentences])


def noise_of(translator: Translator, source: Tensor, target: Tensor, seed: int = 1) -> Noise:
    noise = branch_in(translator).draw(source, target, START, torch.Generator().manual_seed(seed))
    return noise.only(torch.ones(noise.sentences, dtype=torch.bool))


def losses(translator: Translator, source: Tensor, target: Tensor, moment: Moment = START, seed: int = 1) -> dict[str, Loss]:
    noise = noise_of(translator, source, target, seed)
    return dict(branch_in(translator).losses(translator.encode(source), noise, moment))


def plain_loss(translator: Translator, source: Tensor, target: Sequence[int], shown: dict[int, int] | None = None) -> Tensor:
    """−log p(target) of one sentence by enumeration.

    Args:
        shown: vertices of the target pieces that are shown and certain, by position in the target.
    """
    branch = branch_in(translator)
    encoded = translator.encode(source)
    vertices = branch.vertices(encoded)
    for position, vertex in (shown or {}).items():
        vertices.input_BG[0, vertex] = target[position]
    graph = branch.graph(encoded, vertices)
    log_probabilities_GV = (graph.states_BGD[0] @ branch.tokens.weight.T).log_softmax(1)
    inner = log_probabilities_GV[:, list(target)].T
    for position, vertex in (shown or {}).items():
        inner = inner.clone()
        inner[position] = -INF
        inner[position, vertex] = 0
    edge = torch.zeros(1, inner.shape[1])
    tokens_MG = torch.cat((edge, inner, edge))
    return -enumerated(tokens_MG, graph.links_BGG[0], len(target) + 2, int(graph.vertices_B[0]))


SOURCE, TARGET = rows([7, 8, 9, 10]), [5, 6, 7, 8]
"""Ten vertices at upsampling 2."""


def test_the_input_is_masks_between_the_first_and_the_last_vertex() -> None:
    translator = build(DaTransformer(upsampling=3))
    vertices = branch_in(translator).vertices(translator.encode(rows([7, 8], [9])))
    assert vertices.input_BG.tolist() == [[BOS, *[MASK] * 7, EOS], [BOS, *[MASK] * 4, EOS, *[PAD] * 3]]
    assert vertices.count_B.tolist() == [9, 6]


def test_the_loss_and_its_gradients_are_those_of_all_paths() -> None:
    """With ragged sources and targets, repeated pieces, and a target that does not fit its graph."""
    translator = build()
    source = rows([7, 8, 9], [11], [12, 7], [5])
    targets = ([5, 5, 6], [13], [9, 8, 9], [10, 11, 12])
    found = losses(translator, source, rows(*targets))
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    ours = {name: weight.grad for name, weight in translator.named_parameters()}
    translator.zero_grad(set_to_none=True)
    expected = torch.stack(
        [plain_loss(translator, rows(s), t) for s, t in zip(([7, 8, 9], [11], [12, 7]), targets, strict=False)]
    )
    expected.sum().backward()  # type: ignore[no-untyped-call]
    assert found["nat"].sum.item() == pytest.approx(expected.sum().item(), rel=1e-5)
    assert found["nat"].count == 4 + 2 + 4  # with EOS
    assert (float(found["infeasible"].sum), found["infeasible"].count) == (1, 4)
    for name, weight in translator.named_parameters():
        gradient = ours[name]
        assert (gradient is None) == (weight.grad is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, weight.grad, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize(("pieces", "is_feasible"), [(1, True), (2, True), (3, False)])
def test_a_target_fits_a_graph_with_a_vertex_for_each_piece_and_two_more(pieces: int, is_feasible: bool) -> None:
    """Two source tokens at upsampling 2 have four vertices."""
    translator = build()
    found = losses(translator, rows([7]), rows([5, 6, 5][:pieces]))
    assert bool(found["infeasible"].sum) != is_feasible
    assert found["nat"].count == (pieces + 1 if is_feasible else 0)
    assert (found["nat"].sum.item() > 0) == is_feasible
    found["nat"].sum.backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())
    predictions = branch_in(translator).draw(rows([7]), rows([5, 6, 5][:pieces]), START, torch.Generator()).predictions
    assert predictions["nat"].tolist() == [found["nat"].count]


def test_a_sentence_that_does_not_fit_shows_nothing_and_leaves_the_others_alone() -> None:
    translator = build(DaTransformer(upsampling=2, start_ratio=1.0, end_ratio=1.0))
    both = losses(translator, rows([7], [8, 9, 10]), rows([5, 5, 5, 5], [6, 7]))
    alone = losses(translator, rows([8, 9, 10]), rows([6, 7]))
    assert int(both["glanced"].count) == int(alone["glanced"].count) == 2
    assert both["nat"].count == alone["nat"].count == 3


def test_padding_and_other_sentences_change_no_loss() -> None:
    translator = build()
    sources, targets = ([7, 8, 9, 10], [11], [9, 9]), ([7, 7], [9, 10], [5, 6, 7])
    together = losses(translator, rows(*sources), rows(*targets))["nat"].sum.item()
    alone = [losses(translator, rows(s), rows(t))["nat"].sum.item() for s, t in zip(sources, targets, strict=True)]
    assert together == pytest.approx(sum(alone), rel=1e-5)


def test_blocks_of_vertices_give_the_same_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    translator = build()
    source, target = rows([7, 8, 9], [11], [6, 7], [5, 9]), rows([7, 7], [9, 10], [10], [5, 8])

    def found() -> tuple[float, list[Tensor | None]]:
        translator.zero_grad(set_to_none=True)
        loss = losses(translator, source, target)["nat"].sum
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item(), [None if weight.grad is None else weight.grad.clone() for weight in translator.parameters()]

    whole, gradients = found()
    monkeypatch.setitem(logit_blocks._BYTES_AT_ONCE, "cpu", 1)
    blocks, others = found()
    assert blocks == pytest.approx(whole, rel=1e-5)
    torch.testing.assert_close(others, gradients, rtol=1e-4, atol=1e-6)


def test_under_autocast_the_links_and_the_loss_are_float32() -> None:
    translator = build(std=None)
    exact = losses(translator, SOURCE, rows(TARGET))["nat"].sum
    with torch.autocast("cpu", torch.bfloat16):
        rounded = losses(translator, SOURCE, rows(TARGET))["nat"].sum
        encoded = translator.encode(SOURCE)
        graph = branch_in(translator).graph(encoded, branch_in(translator).vertices(encoded))
    rounded.backward()  # type: ignore[no-untyped-call]
    assert graph.links_BGG.dtype == rounded.dtype == torch.float32
    assert rounded.item() == pytest.approx(exact.item(), rel=0.02)
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in translator.parameters())


def test_every_path_of_a_graph_ends_at_its_last_vertex() -> None:
    """Probabilities to pass each vertex, computed from the links as another loss may do, with gradients."""
    translator = build()
    encoded = translator.encode(rows([7, 8, 9], [11]))
    graph = branch_in(translator).graph(encoded, branch_in(translator).vertices(encoded))
    transitions = graph.links_BGG.exp()
    passed = [torch.ones(2)]
    for vertex in range(1, transitions.shape[1]):
        passed.append((torch.stack(passed, 1) * transitions[:, :vertex, vertex]).sum(1))
    torch.testing.assert_close(passed[7][0], torch.tensor(1.0))
    torch.testing.assert_close(passed[3][1], torch.tensor(1.0))
    torch.stack(passed, 1)[0, 3].backward()  # type: ignore[no-untyped-call]
    weight = branch_in(translator).links.of_states.weight
    assert weight.grad is not None
    assert weight.grad.isfinite().all()
    assert weight.grad.any()


# Glancing


@pytest.mark.parametrize(
    ("ratio", "is_wrong", "shown"),
    [
        (0.5, [False, True, False, True], 1),
        (0.5, [False, True, True, True], 2),  # 1.5 is rounded up, unlike in GLAT
        (0.3, [False, True, False, True], 1),
        (0.2, [False, True, False, True], 0),
        (1.0, [True, True, True, True], 4),
        (0.5, [False, False, False, False], 0),
    ],
)
def test_the_shown_pieces_are_certain_at_the_vertices_of_the_best_alignment(
    ratio: float, is_wrong: list[bool], shown: int
) -> None:
    translator = build(DaTransformer(upsampling=2, start_ratio=ratio, end_ratio=ratio), kind=Guesses)
    branch = branch_in(translator)
    assert isinstance(branch, Guesses)
    branch.places, branch.is_wrong = [[2, 3, 5, 7, 9]], [[*is_wrong, False]]
    noise = noise_of(translator, SOURCE, rows(TARGET))
    found = branch.losses(translator.encode(SOURCE), noise, START)
    assert (float(found["glanced"].sum), int(found["glanced"].count)) == (shown, 4)
    chosen = noise.tensors["rank"][0, :4].argsort()[:shown].tolist()
    places = {position: branch.places[0][position] for position in chosen}
    expected = plain_loss(translator, SOURCE, TARGET, places)
    assert found["nat"].sum.item() == pytest.approx(expected.item(), rel=1e-4)
    assert found["nat"].count == 5


@pytest.mark.parametrize("seed", range(3))
def test_pass_1_aligns_the_target_and_finds_what_the_decoder_predicts_wrongly(seed: int) -> None:
    translator = build(DaTransformer(upsampling=2, start_ratio=1.0, end_ratio=1.0))
    branch = branch_in(translator)
    with torch.no_grad():
        branch.tokens.weight[TARGET[seed]] *= 4  # so that some pieces are right
    encoded = translator.encode(SOURCE)
    graph = branch.graph(encoded, branch.vertices(encoded))
    log_probabilities_GV = (graph.states_BGD[0] @ branch.tokens.weight.T).log_softmax(1)
    edge = torch.zeros(1, 10)
    tokens_MG = torch.cat((edge, log_probabilities_GV[:, TARGET].T, edge))
    best = max(paths_of(6, 10), key=lambda path: path_score(tokens_MG, graph.links_BGG[0], path).item())
    log_probabilities_GV[:, list(SPECIAL)] = -INF
    guesses = log_probabilities_GV[list(best[1:-1])].argmax(1).tolist()
    wrong = sum(guess != piece for guess, piece in zip(guesses, TARGET, strict=True))
    assert losses(translator, SOURCE, rows(TARGET))["glanced"].sum.item() == wrong
    is_piece = torch.tensor([[True] * 4 + [False]])
    places, is_wrong = branch._aligned(branch.decoder.remember(encoded), branch.vertices(encoded), rows(TARGET), is_piece)
    assert places.tolist() == [list(best[1:])]
    assert int(is_wrong.sum()) == wrong


def states_of_passes(translator: Translator) -> list[Tensor]:
    """What the decoder computes in each pass."""
    seen: list[Tensor] = []
    branch = branch_in(translator)
    hook = branch.decoder.stack.register_forward_hook(lambda module, given, states: seen.append(states.detach()))
    losses(translator, SOURCE, rows(TARGET))
    hook.remove()
    return seen


def test_both_passes_have_the_same_dropout() -> None:
    """With embeddings of zeros the input says nothing, so only dropout could tell the passes apart."""
    translator = build(DaTransformer(upsampling=2, start_ratio=1.0), dropout=0.4).train()
    with torch.no_grad():
        translator.target_tokens.weight.zero_()
    first, second = states_of_passes(translator)
    torch.testing.assert_close(first, second)
    assert first.std() > 0.1


def test_without_a_ratio_there_is_one_pass() -> None:
    assert len(states_of_passes(build())) == 1


def test_pass_1_has_no_gradient() -> None:
    """Where nothing is shown, the gradient is that of one pass."""
    gradients = []
    for ratio in (0.0, 1e-6):
        translator = build(DaTransformer(upsampling=2, start_ratio=ratio, end_ratio=ratio))
        losses(translator, SOURCE, rows(TARGET))["nat"].sum.backward()  # type: ignore[no-untyped-call]
        gradients.append([weight.grad for weight in translator.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("step", "ratio"), [(0, 0.5), (25, 0.3), (50, 0.1), (100, 0.1), (300, 0.1)])
def test_the_ratio_falls_linearly_and_stays_at_its_end(step: int, ratio: float) -> None:
    assert DaTransformer(ratio_annealing=0.5).ratio(Moment(step, 100)) == pytest.approx(ratio)


def test_the_ratio_of_the_moment_is_the_one_that_counts() -> None:
    translator = build(DaTransformer(upsampling=2, start_ratio=1.0, end_ratio=0.0, ratio_annealing=1.0), kind=Guesses)
    branch = branch_in(translator)
    assert isinstance(branch, Guesses)
    branch.places, branch.is_wrong = [[1, 3, 5, 7, 9]], [[True] * 4 + [False]]
    shown = [
        losses(translator, SOURCE, rows(TARGET), Moment(step, 100))["glanced"].sum.item() for step in (0, 50, 99, 100, 200)
    ]
    assert shown == [4, 2, 0, 0, 0]


# The search of the system

SOURCES = ([7, 8, 9, 10], [11], [5, 6], [7, 7, 7, 8, 8, 9])


def found(translator: Translator, decoding: DagDecoding, n_best: int = 1) -> list[list[Hypothesis]]:
    return decode(translator, SOURCES, decoding, search_of(translator, "nat", decoding), n_best)


def graph_of(translator: Translator, source: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Links [G, G] and log-probabilities [G, V] of the pieces, renormalised without the special tokens, in float64."""
    encoded = translator.eval().encode(rows(source))
    branch = branch_in(translator)
    graph = branch.graph(encoded, branch.vertices(encoded))
    logits_GV = (graph.states_BGD[0] @ branch.tokens.weight.T).detach().double()
    logits_GV[:, list(SPECIAL)] = -INF
    return graph.links_BGG[0].detach().double(), logits_GV.log_softmax(1)


def followed(links_GG: Tensor, best_G: Tensor, weight: float) -> list[int]:
    """The vertices of lookahead decoding between the first and the last."""
    path = [0]
    last = len(links_GG) - 1
    while path[-1] != last:
        bonus = [0.0 if vertex == last else weight * float(best_G[vertex]) for vertex in range(last + 1)]
        path.append(max(range(path[-1] + 1, last + 1), key=lambda there: float(links_GG[path[-1], there]) + bonus[there]))
    return path[1:-1]


@pytest.mark.parametrize(("path", "weight"), [("greedy", 0.0), ("lookahead", 1.0), ("lookahead", 0.3)])
def test_a_path_is_followed_from_vertex_to_vertex(path: str, weight: float) -> None:
    translator = build(std=0.5)
    decoding = DagDecoding.model_validate({"path": path, "lookahead_weight": weight or 1.0, "drop_repeats": False})
    for source, [hypothesis] in zip(SOURCES, found(translator, decoding), strict=True):
        links, scores = graph_of(translator, source)
        inner = followed(links, scores.amax(1), weight)
        assert list(hypothesis.tokens) == scores[inner].argmax(1).tolist()[:11]
        whole = [0, *inner, len(links) - 1]
        total = links[whole[:-1], whole[1:]].sum() + scores[inner].amax(1).sum()
        assert hypothesis.score == pytest.approx(total.item() / max(1, len(inner)), abs=1e-4)
        assert hypothesis.passes == 1


@pytest.mark.parametrize(("prefix_beam", "path"), [(1, "joint-viterbi"), (500, "lookahead")])
def test_viterbi_and_the_beam_find_what_enumeration_ranks_first(prefix_beam: int, path: str) -> None:
    translator = build(std=0.5, vocabulary=8)
    decoding = DagDecoding.model_validate(
        {"prefix_beam": prefix_beam, "path": path, "path_length_penalty": 0.8, "drop_repeats": False}
    )
    for source in ([5, 6, 7], [7]):
        search = branch_in(translator).search(decoding)
        [best] = decode(translator, [source], decoding, search, search.most[1])
        links, scores = graph_of(translator, source)
        last = len(links) - 1
        sums: dict[tuple[int, ...], float] = {}
        for length in range(last):
            for each in paths_of(length + 2, last + 1):
                transitions = float(links[list(each[:-1]), list(each[1:])].sum())
                inner = list(each[1:-1])
                if prefix_beam == 1:
                    pieces = tuple(scores[inner].argmax(1).tolist())
                    sums[pieces] = max(sums.get(pieces, -INF), transitions + float(scores[inner].amax(1).sum()))
                    continue
                for pieces in itertools.product((5, 6, 7), repeat=length):
                    more = transitions + float(scores[inner, list(pieces)].sum())
                    sums[pieces] = math.log(math.exp(sums.get(pieces, -INF)) + math.exp(more))
        counted = 0 if prefix_beam == 1 else 1
        quotients = {pieces: total / (len(pieces) + counted) ** 0.8 for pieces, total in sums.items() if pieces or counted}
        expected = sorted(quotients, key=lambda pieces: -quotients[pieces])[: len(best)]
        assert [each.tokens for each in best[:20]] == expected[:20]
        assert [each.score for each in best[:20]] == pytest.approx([quotients[pieces] for pieces in expected[:20]], abs=1e-4)


def test_repeats_are_dropped_unless_the_setting_says_otherwise() -> None:
    translator = build(std=0.5)
    with torch.no_grad():
        translator.target_tokens.weight[9] *= 6
    for settings in ({"path": "greedy"}, {"path": "joint-viterbi", "path_length_penalty": 2.0}, {"prefix_beam": 6}):
        kept = found(translator, DagDecoding.model_validate({**settings, "drop_repeats": False}), 1)
        dropped = found(translator, DagDecoding.model_validate(settings), 1)
        assert any(first == second for [best] in kept for first, second in itertools.pairwise(best.tokens))
        for [ours], [others] in zip(dropped, kept, strict=True):
            assert ours.tokens == tuple(piece for piece, _ in itertools.groupby(others.tokens))
            assert ours.score == others.score


def test_translations_that_dropping_repeats_makes_equal_are_one() -> None:
    translator = build(std=0.5)
    with torch.no_grad():
        translator.target_tokens.weight[9] *= 6
    dropped = found(translator, DagDecoding(prefix_beam=12), 12)
    every = found(translator, DagDecoding(prefix_beam=12, drop_repeats=False), 12)
    assert sum(map(len, dropped)) < sum(map(len, every))
    for best, kept in zip(dropped, every, strict=True):
        assert len({each.tokens for each in best}) == len(best)
        assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)
        for each in best:
            same = [
                other.score for other in kept if tuple(piece for piece, _ in itertools.groupby(other.tokens)) == each.tokens
            ]
            assert each.score == max(same)


def test_the_at_decoder_reranks_the_beam_with_the_score_of_beam_search() -> None:
    translator = build(with_at=True, std=0.5)
    plain = found(translator, DagDecoding(prefix_beam=4), n_best=4)
    again = found(translator, DagDecoding(prefix_beam=4, rerank="at", length_penalty=0.7), n_best=4)
    at = branch_of(translator, "at")
    assert isinstance(at, AtBranch)
    for source, ours, others in zip(SOURCES, again, plain, strict=True):
        assert {each.tokens for each in ours} == {each.tokens for each in others}
        assert [each.score for each in ours] == sorted((each.score for each in ours), reverse=True)
        for each in ours:
            logits_TV = at.decoder.logits(translator.eval().encode(rows(source)), torch.tensor([[BOS, *each.tokens]]))[
                0
            ].detach()
            logits_TV[:, [token for token in SPECIAL if token != EOS]] = -INF
            total = logits_TV.log_softmax(1)[range(len(each.tokens) + 1), [*each.tokens, EOS]].sum().item()
            assert each.score == pytest.approx(total / (len(each.tokens) + 1) ** 0.7, abs=1e-4)
    assert [best[0].tokens for best in again] != [best[0].tokens for best in plain]


@pytest.mark.parametrize("settings", [{"path": "greedy"}, {"path": "joint-viterbi"}, {"prefix_beam": 4}])
def test_special_tokens_are_never_predicted_and_translations_fit_the_model(settings: dict[str, object]) -> None:
    translator = build(DaTransformer(upsampling=4), std=0.5)
    with torch.no_grad():
        translator.target_tokens.weight[list(SPECIAL)] *= 5
    decoding = DagDecoding.model_validate({**settings, "drop_repeats": False})
    search = branch_in(translator).search(decoding)
    for source in ([7] * 11, [*range(5, 14), 5, 7], [9]):
        [best] = decode(translator, [source], decoding, search, search.most[1])
        for each in best:
            assert not {*each.tokens} & {*SPECIAL}
            assert len(each.tokens) <= 11


def test_one_path_has_nothing_to_rerank() -> None:
    with pytest.raises(ConfigError, match=r"rerank: at needs several translations to choose from; got prefix_beam 1; raise it"):
        build_record(DagDecoding, {"rerank": "at"})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"upsampling": 0}, r"upsampling: must be greater than or equal to 1; got 0"),
        ({"start_ratio": 1.5}, r"start_ratio: must be less than or equal to 1; got 1\.5"),
        ({"ratio_annealing": 0.0}, r"ratio_annealing: must be greater than 0; got 0\.0"),
        ({"link_heads": 0}, r"link_heads: must be greater than or equal to 1; got 0"),
    ],
)
def test_settings_beyond_their_range_are_refused(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build_record(DaTransformer, settings)


@pytest.mark.parametrize("named", ["presets", "compared"])
def test_the_named_settings_are_valid_and_differ(named: str) -> None:
    built = [build_record(DagDecoding, settings) for settings in getattr(DagDecoding, named).values()]
    assert len({repr(each) for each in built}) == len(built) > 1
