"""DA-Transformer (Huang et al. 2022): one pass predicts a directed acyclic graph whose paths are the translations."""

# B batch, R sentences that the branch sees, S source, T target, M tokens of a path: those of the first vertex and of the
# target, G vertices, D width, C pieces that are tried at a vertex, N vertices of all graphs, n those of one block

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.decoding import Decoding, Hypothesis
from mtnat.decoding.hypotheses import most_pieces
from mtnat.decoding.logits import blocks_of_logits
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.model import Encoded, Memory, ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems.branch import Branch
from mtnat.systems.dag_links import Links
from mtnat.systems.dag_loss import best_alignment, path_log_probability, token_log_probabilities
from mtnat.systems.dag_search import Found, greedy_paths, joint_viterbi_paths, prefix_beam_search
from mtnat.systems.system import System
from mtnat.tokens import BOS, EOS, MASK, PAD, SPECIAL

_PAPER: Mapping[str, Any] = {
    "path": "lookahead",
    "lookahead_weight": 1.0,
    "prefix_beam": 1,
    "drop_repeats": True,
    "rerank": "none",
    "precision": "fp32",
}


class DagDecoding(Decoding):
    """Decoding of DA-Transformer: one path through the graph, or prefix beam search, which sums over the paths of each
    translation. There is no external language model."""

    candidates: ClassVar[str | None] = "prefix_beam"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": _PAPER, "fast": {**_PAPER, "precision": "auto"}}

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "greedy": {**_PAPER, "path": "greedy"},
        "lookahead": _PAPER,
        "fast": presets["fast"],
        "joint-Viterbi": {**_PAPER, "path": "joint-viterbi"},
        "prefix beam 10": {**_PAPER, "prefix_beam": 10},
    }

    kind: Literal["dag"] = "dag"
    path: Literal["greedy", "lookahead", "joint-viterbi"] = "lookahead"
    """How a path is chosen if `prefix_beam` is 1. greedy follows the likeliest transition from each vertex; lookahead the
    transition with the highest probability times that of the likeliest piece of the next vertex; joint-viterbi finds the path
    and pieces with the highest log-probability / length^`path_length_penalty` (Shao et al. 2022)."""
    lookahead_weight: float = Field(1.0, ge=0, le=10)
    """Weight β of the log-probability of the piece in lookahead decoding."""
    prefix_beam: int = Field(1, ge=1, le=1_000)
    """Number of translations of each length that prefix beam search keeps. 1 decodes one path instead; see `path`."""
    prefix_candidates: int = Field(5, ge=1, le=100)
    """Number of pieces that prefix beam search tries at each vertex, the likeliest ones (authors' code: 5)."""
    path_length_penalty: float = Field(1.0, ge=0, le=5)
    """Exponent of the length by which joint-viterbi and prefix beam search divide the log-probability (authors' code: 1 for
    Viterbi and 1.1 for beam search). It controls the length of translations and should be tuned on validation text."""
    drop_repeats: bool = True
    """Whether a piece that equals the piece before it is dropped, as in the authors' code. This repairs the typical error of
    parallel prediction, but also drops legitimate doubles."""


class DaTransformer(System):
    """The directed acyclic Transformer with glancing training (Huang et al. 2022).

    The loss is the negative log-probability of all paths that emit the target. It is divided by the number of target tokens,
    EOS included, so that λ has the same meaning as for other losses per token. There is no label smoothing.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (DagDecoding,)

    kind: Literal["da-transformer"] = "da-transformer"
    upsampling: int = Field(8, ge=1, le=16)
    """Number of vertices for each source token, including EOS (authors: 8, at which their results were published). Time and
    memory of the decoder grow with it, those of the transitions with its square. A target that has more tokens than there are
    vertices has no path and no loss; the curve `train/infeasible` is the fraction of such targets."""
    link_heads: int | None = Field(None, ge=1, le=64)
    """Number of heads that predict the transitions; the default is `model.heads`."""
    start_ratio: float = Field(0.5, ge=0, le=1)
    """Glancing ratio at the first step: number of target pieces shown to the second pass, divided by the number of pieces that
    the first pass gets wrong. If the ratio is 0 at a step, there is no first pass."""
    end_ratio: float = Field(0.1, ge=0, le=1)
    """Glancing ratio at the end; the ratio changes linearly in between (authors: 0.5 to 0.1)."""
    ratio_annealing: float = Field(0.67, gt=0, le=1)
    """Share of the training over which the ratio changes (authors: 200,000 of 300,000 steps)."""

    def ratio(self, moment: Moment) -> float:
        """Returns the glancing ratio at a moment of training."""
        return self.start_ratio + (self.end_ratio - self.start_ratio) * min(1.0, moment.progress / self.ratio_annealing)

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return DaTransformerBranch(self, model, tokens, layers)


class Graph(NamedTuple):
    """The directed acyclic graphs of a batch of sources."""

    states_BGD: Tensor
    """Decoder states of the vertices, from which the output embeddings predict pieces."""
    links_BGG: Tensor
    """Log-probabilities of the transitions; see `Links`. −inf where there is none."""
    vertices_B: Tensor
    """Number of vertices of each graph. Further ones are padding."""


class Vertices(NamedTuple):
    """The vertices of a batch of graphs before the decoder runs."""

    input_BG: Tensor
    """Input tokens: BOS, MASK for each vertex that emits a piece, EOS, PAD."""
    count_B: Tensor
    is_padded: bool


class DaTransformerBranch(Branch):
    """A decoder over masked vertices, `upsampling` for each source token, and the links between them.

    A path leads from the first vertex to the last one, always forwards. The vertices in between each emit a piece of the
    vocabulary. In training the decoder runs twice with the same dropout. Pass 1 sees MASK everywhere and has no gradient. Its
    likeliest path for the target assigns a vertex to each piece. If the decoder predicts d of the pieces wrongly at their
    vertices, ⌊r·d + ½⌋ pieces are drawn uniformly from all pieces, where r is the glancing ratio. Pass 2 sees them at their
    vertices. Its loss is that of the whole target over all paths in which these pieces stand at their vertices, where they have
    probability 1.

    Differences from the authors' code: The first and the last vertex emit BOS and EOS with probability 1, because nothing else
    can stand there; the authors train these predictions, count them as target tokens and also draw them as glanced ones. The
    input is MASK instead of the unknown token. A source token is a piece or EOS; the authors also count BOS.

    The decoder and the links each have embeddings of ``upsampling · max_positions`` positions.
    """

    parts: ClassVar[tuple[str, ...]] = ("nat",)
    measures: ClassVar[tuple[str, ...]] = ("glanced", "infeasible")

    def __init__(
        self, system: DaTransformer, model: ModelConfig, tokens: nn.Embedding, layers: nn.ModuleList | None = None
    ) -> None:
        super().__init__(tokens)
        self.upsampling = system.upsampling
        upsampled = model.model_copy(update={"max_positions": system.upsampling * model.max_positions})
        self.decoder = TargetDecoder(upsampled, tokens, causal=False, layers=layers)
        self.links = Links(upsampled, system.link_heads or model.heads)
        self.most_pieces = model.max_positions - 1
        self._system = system

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Finds the targets that fit their graph, and draws a random order of the pieces of each sentence; pass 2 sees the
        first ones in this order."""
        tokens_B = lengths_of(target_BT)
        is_piece_BT = torch.arange(target_BT.shape[1]) < tokens_B[:, None] - 1
        order_BT = torch.rand(target_BT.shape, generator=generator).masked_fill_(~is_piece_BT, 2.0)
        # A path has one vertex more than the target has tokens: the first one.
        is_feasible_B = tokens_B + 1 <= self.upsampling * lengths_of(source_BS)
        return Noise(
            tensors={
                "target": target_BT,
                "is_piece": is_piece_BT,
                "rank": order_BT.argsort(1).argsort(1),
                "is_feasible": is_feasible_B,
            },
            host_tensors={"tokens": tokens_B * is_feasible_B},
            predictions={"nat": tokens_B * is_feasible_B},
        )

    def vertices(self, encoded: Encoded) -> Vertices:
        """Returns the input of the decoder and the size of each graph. It does not wait for the device."""
        count_B = self.upsampling * (~encoded.is_padding_BS).sum(1)
        numbers_G = torch.arange(self.upsampling * encoded.is_padding_BS.shape[1], device=count_B.device)
        last_B1 = count_B[:, None] - 1
        input_BG = torch.full((len(count_B), len(numbers_G)), MASK, device=count_B.device)
        input_BG = input_BG.masked_fill(numbers_G == last_B1, EOS).masked_fill(numbers_G > last_B1, PAD)
        input_BG[:, 0] = BOS
        return Vertices(input_BG, count_B, encoded.mask is not None)

    def graph(self, memory: Encoded | Memory, vertices: Vertices) -> Graph:
        """Runs the decoder and predicts the links.

        Args:
            memory: the encoder's output, or the result of the decoder's `remember` for it.
        """
        states_BGD = self.decoder.states(memory, vertices.input_BG, vertices.is_padded)
        return Graph(states_BGD, self.links(states_BGD, vertices.count_B), vertices.count_B)

    def emissions(self, graph: Graph, target_BT: Tensor, is_piece_BT: Tensor) -> Tensor:
        """Computes the log-probability of each token of a path at each vertex, float32, [B, M, G].

        Row 0 is the token of the first vertex. It is 0 there, and so is the row of EOS, because these tokens are certain.
        """
        batch, vertices, _ = graph.states_BGD.shape
        columns_NT = target_BT.repeat_interleave(vertices, dim=0, output_size=batch * vertices)
        scores_NT = token_log_probabilities(graph.states_BGD.flatten(0, 1), self.tokens.weight, columns_NT)
        scores_BTG = scores_NT.view(batch, vertices, -1).transpose(1, 2).masked_fill(~is_piece_BT[:, :, None], 0)
        return functional.pad(scores_BTG, (0, 0, 1, 0))

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes −log p(target) of the sentences that fit their graph."""
        encoded = encoded.only(noise.rows_R)
        target_RT, is_piece_RT, is_feasible_R = (noise.tensors[name] for name in ("target", "is_piece", "is_feasible"))
        memory, vertices = self.decoder.remember(encoded), self.vertices(encoded)
        # Equal seeds give both passes the same dropout, so that they differ in the input only. With the encoder's seed, decoder
        # and encoder would drop the same elements.
        dropout_seed, ratio = moment.seed_of("da-transformer"), self._system.ratio(moment)
        torch.manual_seed(dropout_seed)
        is_glanced_RT = torch.zeros_like(is_piece_RT)
        if ratio > 0:
            places_RT, is_wrong_RT = self._aligned(memory, vertices, target_RT, is_piece_RT)
            glanced_R = (is_wrong_RT.sum(1) * ratio + 0.5).long()
            is_glanced_RT = is_piece_RT & (noise.tensors["rank"] < glanced_R[:, None]) & is_feasible_R[:, None]
            vertices = vertices._replace(input_BG=shown_at(vertices.input_BG, target_RT, places_RT, is_glanced_RT))
            torch.manual_seed(dropout_seed)
        graph = self.graph(memory, vertices)
        tokens_RMG = self.emissions(graph, target_RT, is_piece_RT)
        if ratio > 0:
            tokens_RMG = forced_at(tokens_RMG, functional.pad(places_RT, (1, 0)), functional.pad(is_glanced_RT, (1, 0)))
        lengths_R = is_piece_RT.sum(1) + 2
        totals_R = path_log_probability(tokens_RMG, graph.links_BGG, lengths_R, graph.vertices_B)
        return {
            "nat": Loss(-torch.where(is_feasible_R, totals_R, 0).sum(), int(noise.host_tensors["tokens"].sum())),
            "glanced": Loss(is_glanced_RT.sum().float(), (is_piece_RT & is_feasible_R[:, None]).sum()),
            "infeasible": Loss((~is_feasible_R).sum().float(), len(is_feasible_R)),
        }

    @torch.no_grad()
    def _aligned(self, memory: Memory, vertices: Vertices, target_RT: Tensor, is_piece_RT: Tensor) -> tuple[Tensor, Tensor]:
        """Runs pass 1; returns the vertex of each target token on the likeliest path, and True for the pieces that the decoder
        predicts wrongly there, [R, T] each."""
        graph = self.graph(memory, vertices)
        tokens_RMG = self.emissions(graph, target_RT, is_piece_RT)
        places_RT = best_alignment(tokens_RMG, graph.links_BGG, is_piece_RT.sum(1) + 2, graph.vertices_B)[:, 1:]
        width = graph.states_BGD.shape[2]
        states_ND = graph.states_BGD.gather(1, places_RT[:, :, None].expand(-1, -1, width)).flatten(0, 1)
        guesses_N = torch.cat([logits_nV.argmax(1) for logits_nV in blocks_of_logits(self.decoder, states_ND, SPECIAL)])
        return places_RT, is_piece_RT & (guesses_N.view_as(target_RT) != target_RT)

    @torch.no_grad()
    def likeliest(self, states_ND: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Returns the log-probabilities and ids of the likeliest pieces of each vertex, [N, count]."""
        scores, pieces = [], []
        for logits_nV in blocks_of_logits(self.decoder, states_ND, SPECIAL):
            best_nC, piece_nC = logits_nV.topk(count, dim=1)
            scores.append(best_nC - logits_nV.logsumexp(1, keepdim=True))
            pieces.append(piece_nC)
        return torch.cat(scores), torch.cat(pieces)

    def search(self, decoding: Decoding) -> "DagSearch":
        """Returns the search in the graph."""
        assert isinstance(decoding, DagDecoding)
        return DagSearch(self, decoding)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts both passes, as if every step glanced.

        A step of the sums over paths multiplies a vector by the matrix of transitions, in logarithms, and counts as that. In a
        narrow model with large graphs these sums are a notable part of the work.
        """
        pieces_R = noise.tensors["is_piece"].sum(1)
        once = self.pass_flops(work, source_R) + self.path_flops(source_R, pieces_R)
        total = 3 * (work.memory(source_R) + once)
        if self._system.start_ratio or self._system.end_ratio:
            total += once + work.vocabulary(int(pieces_R.sum()))
        return total

    def pass_flops(self, work: ModelFlops, source_B: Tensor) -> int:
        """Counts a forward pass without the encoder and the memory."""
        vertices_B = self.upsampling * source_B
        vertices = int(vertices_B.sum())
        links = self.links.flops(vertices, int((vertices_B**2).sum()))
        return work.nat_pass(source_B, vertices_B, vertices_B) + links + work.vocabulary(vertices)

    def path_flops(self, source_B: Tensor, pieces_B: Tensor) -> int:
        """Counts the sums over all paths with these numbers of pieces. Transitions backwards do not count."""
        return int(((self.upsampling * source_B) ** 2 * (pieces_B + 1)).sum())


def shown_at(input_BG: Tensor, target_BT: Tensor, places_BT: Tensor, is_shown_BT: Tensor) -> Tensor:
    """Returns the input with the shown target tokens at their vertices."""
    # Tokens that are not shown are written into a column behind the last vertex.
    beyond = input_BG.shape[1]
    return functional.pad(input_BG, (0, 1)).scatter(1, places_BT.masked_fill(~is_shown_BT, beyond), target_BT)[:, :beyond]


def forced_at(tokens_BMG: Tensor, places_BM: Tensor, is_forced_BM: Tensor) -> Tensor:
    """Returns the log-probabilities of the tokens with some tokens forced to their vertices, where they are certain."""
    numbers_G = torch.arange(tokens_BMG.shape[2], device=tokens_BMG.device)
    is_there_BMG = places_BM[:, :, None] == numbers_G
    is_forced_BM1 = is_forced_BM[:, :, None]
    return tokens_BMG.masked_fill(is_forced_BM1 & is_there_BMG, 0).masked_fill(is_forced_BM1 & ~is_there_BMG, -torch.inf)


@dataclass(frozen=True)
class DagSearch:
    """A search in the graph of one decoder pass; see `DagDecoding`.

    The score of a hypothesis is a log-probability divided by length^`path_length_penalty`: that of its path and pieces, where
    the length is the number of pieces; or, with a beam, that of all its paths, where EOS counts too, as in the authors' code.
    Repeats are dropped after the search and do not change the score.
    """

    branch: DaTransformerBranch
    config: DagDecoding
    is_stepwise = False

    @property
    def copies(self) -> int:
        return self.branch.upsampling

    @property
    def most(self) -> tuple[str, int]:
        return "prefix_beam", self.config.prefix_beam

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source.

        Joint-Viterbi and beam search find no translation with more pieces than twice the source has, plus 10. All hypotheses
        have fewer pieces than the model has positions.
        """
        graph, limits_B = self._graph(encoded)
        with torch.autocast(graph.links_BGG.device.type, enabled=False):  # sums over paths need float32
            found = self._path(graph, limits_B) if self.config.prefix_beam == 1 else self._beam(graph, limits_B)
        return [hypotheses[:n_best] for hypotheses in found]

    def _graph(self, encoded: Encoded) -> tuple[Graph, Tensor]:
        """Returns the graphs and the maximum number of pieces of each translation."""
        graph = self.branch.graph(encoded, self.branch.vertices(encoded))
        return graph, torch.minimum(most_pieces(encoded), graph.vertices_B - 2).clamp(max=self.branch.most_pieces)

    def _path(self, graph: Graph, limits_B: Tensor) -> list[list[Hypothesis]]:
        scores_BG1, pieces_BG1 = self._pieces(graph, 1)
        rows = zip(self._paths(graph, scores_BG1.squeeze(2), limits_B), pieces_BG1.squeeze(2).tolist(), strict=True)
        translations = [(tuple(pieces[vertex] for vertex in path), total) for (path, total), pieces in rows]
        return [[self._hypothesis(each, len(each[0]))] for each in translations]

    def _paths(self, graph: Graph, scores_BG: Tensor, limits_B: Tensor) -> list[Found]:
        """Returns the path through each graph, given the log-probability of the likeliest piece of each vertex."""
        config, links_BGG, vertices_B = self.config, graph.links_BGG, graph.vertices_B
        if config.path == "joint-viterbi":
            return joint_viterbi_paths(links_BGG, scores_BG, vertices_B, limits_B, config.path_length_penalty)
        weight = config.lookahead_weight if config.path == "lookahead" else 0.0
        return greedy_paths(links_BGG, scores_BG, vertices_B, weight)

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs the decoder. Only a path tells which vertex gives a piece: prefix beam search adds up paths."""
        graph, limits_B = self._graph(encoded)
        with torch.autocast(graph.links_BGG.device.type, enabled=False):
            scores_BG1, pieces_BG1 = self._pieces(graph, 1)
            [(path, _)] = self._paths(graph, scores_BG1.squeeze(2), limits_B)
        scores, pieces = scores_BG1[0, :, 0].tolist(), pieces_BG1[0, :, 0].tolist()
        places: dict[int, int] = {}  # index of the piece by vertex
        former, piece = None, -1
        for vertex in path if self.config.prefix_beam == 1 else ():
            piece += not (self.config.drop_repeats and pieces[vertex] == former)
            former = pieces[vertex]
            if piece < len(found.tokens):
                places[vertex] = piece
        inner = (Position(pieces[each], places.get(each), scores[each]) for each in range(1, len(pieces) - 1))
        positions = (Position(BOS, reads=BOS), *inner, Position(EOS, reads=EOS))
        return Replay(
            (Reading("NAT decoder", self.branch.decoder, positions),),
            "probability of the piece at its vertex, the highest if vertices repeat it",
        )

    def _beam(self, graph: Graph, limits_B: Tensor) -> list[list[Hypothesis]]:
        config = self.config
        found = prefix_beam_search(
            graph.links_BGG,
            *self._pieces(graph, config.prefix_candidates),
            graph.vertices_B,
            limits_B,
            beam=config.prefix_beam,
            length_penalty=config.path_length_penalty,
        )
        return [_unique([self._hypothesis(each, len(each[0]) + 1) for each in best]) for best in found]

    def _pieces(self, graph: Graph, count: int) -> tuple[Tensor, Tensor]:
        """Returns the log-probabilities and ids of the likeliest pieces of each vertex, [B, G, C]."""
        count = min(count, len(self.branch.tokens.weight) - len(SPECIAL))
        scores_NC, pieces_NC = self.branch.likeliest(graph.states_BGD.flatten(0, 1), count)
        shape = (*graph.states_BGD.shape[:2], count)
        return scores_NC.view(shape), pieces_NC.view(shape)

    def _hypothesis(self, translation: Found, length: int) -> Hypothesis:
        pieces, total = translation
        score = total / max(1, length) ** self.config.path_length_penalty
        if self.config.drop_repeats:
            pieces = tuple(piece for former, piece in zip((None, *pieces), pieces, strict=False) if piece != former)
        return Hypothesis(pieces[: self.branch.most_pieces], score, passes=1)

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts one pass, and the products of the search with the transitions."""
        total = work.encoder(source_B) + work.memory(source_B) + self.branch.pass_flops(work, source_B)
        if self.config.prefix_beam > 1 or self.config.path == "joint-viterbi":
            total += self.config.prefix_beam * self.branch.path_flops(source_B, pieces_B)
        return total


def _unique(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """Keeps the first of equal translations, the best one. Dropping repeats can make translations equal."""
    kept: dict[tuple[int, ...], Hypothesis] = {}
    for each in hypotheses:
        kept.setdefault(each.tokens, each)
    return list(kept.values())
