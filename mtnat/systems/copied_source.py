"""Single-pass translation from a copy of the source (Gu et al. 2018): the vanilla NAT, without fertilities."""

# B batch, R sentences that the branch sees, S source, K length candidates, T target, P max_positions, D width, N pieces

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, Hypothesis
from mtnat.decoding.batching import group, token_budget
from mtnat.decoding.hypotheses import ranked
from mtnat.decoding.logits import likeliest_pieces
from mtnat.decoding.mask_predict import likeliest_lengths
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.model import Encoded, Memory, ModelConfig, Tap, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.layers import visible
from mtnat.model.lengths import LengthHead
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum
from mtnat.systems.branch import Branch
from mtnat.systems.mask_predict import LengthHeadBranch
from mtnat.systems.system import System
from mtnat.tokens import EOS, PAD

Copy = Literal["uniform", "soft"]

SOFTNESS = 0.3
"""Temperature of the soft copy in the authors' code of Li et al. 2019."""


class SinglePassDecoding(Decoding):
    """Decoding in one pass, with one or several target lengths, of which the best is chosen; see `SinglePassSearch`.

    The papers of the copied-source systems decode 2B − 1 lengths around the predicted one and let an AT model choose among
    them, which is ``{length_candidates: 2B − 1, lengths: around, rerank: at}``. They rescore with the AT teacher; here the AT
    decoder of the same model rescores.
    """

    candidates: ClassVar[str | None] = "length_candidates"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"length_candidates": 1, "lengths": "around", "rerank": "none", "precision": "fp32"},
        "fast": {"length_candidates": 1, "lengths": "around", "rerank": "none", "precision": "auto"},
    }

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "1 length": presets["paper"],
        "fast": presets["fast"],
        "9 lengths": {**presets["paper"], "length_candidates": 9},
    }

    kind: Literal["single-pass"] = "single-pass"
    length_candidates: int = Field(1, ge=1, le=50)
    """Number of target lengths that are decoded in parallel."""
    lengths: Literal["around", "likeliest", "source"] = "around"
    """Which lengths they are. around: the likeliest length and its neighbours, as in the authors' code. likeliest: the
    likeliest lengths. source: the number of source pieces plus `length_offset` and its neighbours (Wang et al. 2019)."""
    length_offset: int = Field(0, ge=-100, le=100)
    """Number of target pieces minus source pieces for `lengths: source`."""


class CopiedSource(System):
    """Settings of the systems whose decoder reads a copy of the source."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (SinglePassDecoding,)

    copy_source: Copy = "uniform"
    """How the source is copied to the decoder's positions. uniform: each position reads one source token, in order and evenly
    spaced (Gu et al. 2018). soft: each position reads a mean of the source embeddings, weighted by their distance (Li et al.
    2019)."""


class VanillaNat(CopiedSource):
    """Single-pass translation from a copied source, trained by cross-entropy alone (Gu et al. 2018, without fertilities).

    This is the row "NAT" of the tables in the papers that follow it.
    """

    kind: Literal["vanilla-nat"] = "vanilla-nat"

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return CopiedSourceBranch(self, model, objective, tokens, layers)


class CopiedSourceBranch(LengthHeadBranch):
    """A branch that predicts every piece in one pass, from a copy of the source as the decoder's input.

    Position t of T reads the source piece at t·(S − 1)/(T − 1) of S, rounded, and the position after the last piece reads the
    source's EOS. The authors' codes of Li et al. 2019 and Guo et al. 2020 read t·S/T, which can lie behind the last piece.

    Unlike Gu et al. 2018, the decoder has neither positional attention nor a mask that hides a position from itself, and a
    length head instead of fertilities, as in the other systems here, so that systems differ in their objective and not in
    their size. EOS follows from the length and has no loss.
    """

    def __init__(
        self,
        system: CopiedSource,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(model, objective, tokens, layers)
        self.copy: Copy = system.copy_source

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws nothing."""
        lengths_B = lengths_of(target_BT) - 1
        return Noise(
            tensors={
                "target": target_BT,
                "lengths": lengths_B,
                "is_piece": torch.arange(target_BT.shape[1]) < lengths_B[:, None],
            },
            predictions={"nat": lengths_B, "length": torch.ones_like(lengths_B)},
            head_tensors={"lengths": lengths_B},
            read="is_piece",
        )

    def reads(self) -> list[Tensor]:
        """Lists the source embeddings too, which the decoder's input copies."""
        return [*super().reads(), *self.source_weights()]

    def input(self, encoded: Encoded, lengths_RK: Tensor, width: int) -> Tensor:
        """Returns the embedded copies of the source for K targets of each source, [R·K, width, D].

        Args:
            lengths_RK: number of target pieces, at least 1.
            width: number of positions, more than the longest target has pieces.
        """
        return copied_input(self.source_tokens, encoded, lengths_RK, width, self.copy)

    def states(
        self,
        encoded: Encoded,
        memory: Memory,
        lengths_RK: Tensor,
        width: int,
        is_padded: bool | None = None,
        read_N: Tensor | None = None,
        tap: Tap | None = None,
    ) -> Tensor:
        """Computes the decoder's states [R·K, width, D]; with `read_N` only those of these flat positions, [N, D].

        Args:
            memory: what the decoder remembers of the sources.
            lengths_RK: number of target pieces; see `input`.
            width: number of positions.
            is_padded: whether some target has fewer positions than `width`; see `visible` for None.
            tap: gets the states and the cross-attention of every layer.
        """
        is_padding_LT = torch.arange(width, device=lengths_RK.device) > lengths_RK.flatten()[:, None]
        mask = visible(is_padding_LT, self.decoder.always_masks or is_padded)
        states: Tensor = self.decoder.stack(self.input(encoded, lengths_RK, width), mask, memory, read_N, tap=tap)
        return states

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of every piece."""
        states_ND = self.target_states(encoded.only(noise.rows_R), noise, noise.positions_N)
        return {"nat": self.cross_entropy(states_ND, noise)}

    def target_states(self, encoded: Encoded, noise: Noise, read_N: Tensor | None = None, tap: Tap | None = None) -> Tensor:
        """Computes the states of targets of the right length; see `states`.

        Args:
            encoded: the sentences that the branch sees.
        """
        lengths_R1, width = noise.tensors["lengths"][:, None], noise.tensors["target"].shape[1]
        is_padded = "target" in noise.padded
        return self.states(encoded, self.decoder.remember(encoded), lengths_R1, width, is_padded, read_N, tap)

    def cross_entropy(self, states_ND: Tensor, noise: Noise) -> Loss:
        """Computes the label-smoothed cross-entropy of the pieces from their states."""
        assert noise.positions_N is not None
        targets_N = noise.tensors["target"].flatten().index_select(0, noise.positions_N)
        total = cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)
        return Loss(total, len(targets_N))

    def search(self, decoding: Decoding) -> "SinglePassSearch":
        """Returns decoding in one pass."""
        assert isinstance(decoding, SinglePassDecoding)
        return SinglePassSearch(self, decoding)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts all positions, except in the last layer, where only pieces are computed. A soft copy counts as well."""
        pieces_R = noise.tensors["lengths"]
        predictions = work.vocabulary(int(pieces_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        return 3 * (work.memory(source_R) + self.pass_flops(work, source_R, pieces_R, pieces_R) + predictions)

    def pass_flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, read_B: Tensor) -> int:
        """Counts a forward pass of the decoder over copied sources, without its memory and its predictions.

        Args:
            pieces_B: number of pieces of each target.
            read_B: number of positions that the last layer computes.
        """
        copies = 2 * work.config.width * int((source_B * (pieces_B + 1)).sum()) if self.copy == "soft" else 0
        return copies + work.nat_pass(source_B, pieces_B + 1, read_B)


class SinglePassBranch(Protocol):
    """What `SinglePassSearch` needs of a branch; see `CopiedSourceBranch`."""

    decoder: TargetDecoder
    length_head: LengthHead

    def length_logits(self, encoded: Encoded) -> Tensor: ...

    def states(
        self, encoded: Encoded, memory: Memory, lengths_RK: Tensor, width: int, *, read_N: Tensor | None = None
    ) -> Tensor: ...

    def pass_flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, read_B: Tensor) -> int: ...


@dataclass(frozen=True)
class SinglePassSearch:
    """Decoding in one pass with one or several lengths; see `SinglePassDecoding`.

    Candidates are ranked by log P(length) + log P(pieces), divided by their number of pieces; for equal scores the length that
    is nearer to the predicted one, or likelier, comes first.

    Unlike in mask-predict, the score includes the probability of the length. A decoder that reads a copied source is as sure of
    the pieces of a wrong length, because it has seen right lengths only: one that had learned to copy 50 of 50 sentences copied
    14 of them if it chose among three lengths without this term.
    """

    branch: SinglePassBranch
    config: SinglePassDecoding
    copies = 1  # `__call__` groups the candidates itself
    is_stepwise = False

    @property
    def most(self) -> tuple[str, int]:
        return "length_candidates", self.config.length_candidates

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source; they have different lengths."""
        lengths_BK = self.lengths(encoded)
        hypotheses: dict[int, list[Hypothesis]] = {}
        longest, device = lengths_BK.amax(dim=1).tolist(), lengths_BK.device
        # Sources of equal length can have targets of very different lengths, so they are grouped again.
        for rows in group(longest, lengths_BK.shape[1], token_budget(self.config.max_tokens_per_batch, device)):
            rows_A = torch.tensor(rows, device=device)
            found = self.decode(encoded.only(rows_A), lengths_BK[rows_A], n_best)
            hypotheses |= dict(zip(rows, found, strict=True))
        return [hypotheses[row] for row in range(len(lengths_BK))]

    def lengths(self, encoded: Encoded) -> Tensor:
        """Returns the numbers of pieces of the candidates, all different for a source, the first choice first, [B, K]."""
        head, positions = self.branch.length_head, self.branch.decoder.config.max_positions
        if self.config.lengths == "source":
            pieces_B = (~encoded.is_padding_BS).sum(1) - 1
            return nearest_lengths(pieces_B + self.config.length_offset, self.config.length_candidates, positions)
        if self.config.lengths == "likeliest":
            return likeliest_lengths(head, encoded, self.config.length_candidates)
        likeliest_B = likeliest_lengths(head, encoded, 1).squeeze(1)
        return nearest_lengths(likeliest_B, self.config.length_candidates, positions)

    def decode(self, encoded: Encoded, lengths_BK: Tensor, n_best: int) -> list[list[Hypothesis]]:
        """Predicts all pieces of targets of these lengths, and returns the best hypotheses of each source."""
        width = int(lengths_BK.max()) + 1
        is_piece_BKT = torch.arange(width, device=lengths_BK.device) < lengths_BK[:, :, None]
        places_N = is_piece_BKT.flatten().nonzero().squeeze(1)
        memory = self.branch.decoder.remember(encoded)
        states_ND = self.branch.states(encoded, memory, lengths_BK, width, read_N=places_N)
        scores_N, pieces_N = likeliest_pieces(self.branch.decoder, states_ND)
        tokens_BKT = torch.full_like(is_piece_BKT, EOS, dtype=torch.long).masked_scatter(is_piece_BKT, pieces_N)
        scores_BKT = torch.zeros(is_piece_BKT.shape, device=lengths_BK.device).masked_scatter(is_piece_BKT, scores_N)
        of_lengths_BK = self.branch.length_logits(encoded).log_softmax(1).gather(1, lengths_BK)
        scores_BK = (of_lengths_BK + scores_BKT.sum(2)) / lengths_BK
        return ranked(tokens_BKT, lengths_BK, scores_BK, torch.ones_like(lengths_BK), n_best)

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs the decoder for the length of the translation."""
        decoder, pieces = self.branch.decoder, len(found.tokens)
        lengths_11 = torch.tensor([[pieces]], device=encoded.states_BSD.device)
        states_1TD = self.branch.states(encoded, decoder.remember(encoded), lengths_11, pieces + 1)
        scores_T, _ = likeliest_pieces(decoder, states_1TD[0, :pieces])
        of_pieces = zip(found.tokens, range(pieces), scores_T.tolist(), strict=True)
        positions = (*(Position(*piece) for piece in of_pieces), Position(EOS))
        return Replay((Reading("NAT decoder", decoder, positions),), "probability of the piece")

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts one pass for each candidate.

        All candidates of a source count as if they had the length of the best one.
        """
        candidates = min(self.config.length_candidates, self.branch.decoder.config.max_positions - 1)
        one = self.branch.pass_flops(work, source_B, pieces_B, pieces_B) + work.vocabulary(int(pieces_B.sum()))
        return work.encoder(source_B) + work.lengths(len(source_B)) + work.memory(source_B) + candidates * one


def copied_input(tokens: nn.Embedding, encoded: Encoded, lengths_BK: Tensor, width: int, copy: Copy) -> Tensor:
    """Returns the embedded copies of the sources for K targets of each source, [B·K, width, D].

    Args:
        tokens: the source embeddings.
        lengths_BK: number of target pieces, at least 1.
        width: number of positions.
    """
    assert encoded.source_BS is not None
    if copy == "uniform":
        copied: Tensor = tokens(uniform_copy(encoded.source_BS, lengths_BK, width).flatten(0, 1))
        return copied
    embedded_BSD: Tensor = tokens(encoded.source_BS)
    weights_BKTS = soft_copy(encoded.is_padding_BS, lengths_BK, width)
    return (weights_BKTS.flatten(1, 2) @ embedded_BSD).view(-1, width, embedded_BSD.shape[2])


def uniform_copy(source_BS: Tensor, lengths_BK: Tensor, width: int) -> Tensor:
    """Returns the source tokens that the positions of targets of these lengths read, [B, K, width].

    Position t of a target with T pieces reads source piece t·(S − 1)/(T − 1), rounded (halves up), where S is the number of
    source pieces; a target with one piece reads the first. Position T reads EOS, and the positions after it PAD.
    """
    last_BK1 = lengths_BK[:, :, None] - 1
    pieces_B11 = ((source_BS != PAD).sum(1) - 1)[:, None, None]
    places_T = torch.arange(width, device=source_BS.device)
    # In whole numbers, so that halves are rounded alike on every device.
    index_BKT = (2 * places_T * (pieces_B11 - 1) + last_BK1) // (2 * last_BK1.clamp(min=1))
    index_BKT = torch.where(places_T <= last_BK1, index_BKT, pieces_B11)
    copied_BKT = source_BS.gather(1, index_BKT.flatten(1)).view(index_BKT.shape)
    return copied_BKT.masked_fill(places_T > last_BK1 + 1, PAD)


def soft_copy(is_padding_BS: Tensor, lengths_BK: Tensor, width: int) -> Tensor:
    """Returns the weights of the source tokens at the positions of targets of these lengths, float32 [B, K, width, S].

    With the centre c = t·(S − 1)/(T − 1) that `uniform_copy` rounds, position t reads source piece s with weight
    softmax(−(c − s)²/0.3). Position T reads EOS, and the positions after it nothing.
    """
    last_BK11 = lengths_BK[:, :, None, None] - 1
    pieces_B111 = ((~is_padding_BS).sum(1) - 1)[:, None, None, None]
    places_T1 = torch.arange(width, device=lengths_BK.device)[:, None]
    sources_S = torch.arange(is_padding_BS.shape[1], device=lengths_BK.device)
    centres_BKT1 = places_T1 * (pieces_B111 - 1) / last_BK11.clamp(min=1)
    scores_BKTS = -((centres_BKT1 - sources_S) ** 2) / SOFTNESS
    weights_BKTS = scores_BKTS.masked_fill(sources_S >= pieces_B111, -torch.inf).softmax(3)
    is_end_BKTS = (places_T1 == last_BK11 + 1) & (sources_S == pieces_B111)
    return torch.where(places_T1 <= last_BK11, weights_BKTS, is_end_BKTS.float())


def nearest_lengths(lengths_B: Tensor, candidates: int, positions: int) -> Tensor:
    """Returns the lengths from 1 to ``positions − 1`` that are nearest to the given ones, the nearest first, [B, K].

    Of two equally near lengths the shorter comes first. K is smaller than `candidates` if there are fewer lengths.
    """
    lengths_P = torch.arange(1, positions, device=lengths_B.device)
    difference_BP = lengths_P - lengths_B[:, None]
    distance_BP = 2 * difference_BP.abs() + (difference_BP > 0)
    return distance_BP.topk(min(candidates, positions - 1), largest=False).indices + 1
