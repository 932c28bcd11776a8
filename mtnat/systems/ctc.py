"""CTC (Libovický and Helcl 2018; Saharia et al. 2020): one pass over an upsampled source, without length prediction."""

# B batch, R sentences that the branch sees, S source, U upsampled source, T target, D width,
# V vocabulary, L labels: the vocabulary and the blank

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.decoding import Decoding, Hypothesis
from mtnat.decoding.logits import blocks_of_logits
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.model import Encoded, ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.layers import visible
from mtnat.model.linear import Linear
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems.branch import Branch
from mtnat.systems.ctc_loss import ctc_loss_sum
from mtnat.systems.ctc_paths import collapse, prefix_beam_search
from mtnat.systems.system import System
from mtnat.tokens import SPECIAL


class CtcDecoding(Decoding):
    """Decoding of CTC: the likeliest alignment, or prefix beam search, which sums over the alignments of each translation."""

    candidates: ClassVar[str | None] = "prefix_beam"

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"prefix_beam": 1, "rerank": "none", "precision": "fp32"},
        "fast": {"prefix_beam": 1, "rerank": "none", "precision": "auto"},
    }

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "likeliest labels": presets["paper"],
        "fast": presets["fast"],
        "prefix beam 5": {**presets["paper"], "prefix_beam": 5},
    }

    kind: Literal["ctc"] = "ctc"
    prefix_beam: int = Field(1, ge=1, le=1_000)
    """Number of translations that prefix beam search keeps at each position. 1 decodes greedily instead: the likeliest label at
    each position, with repeats merged and then blanks dropped."""
    prefix_candidates: int = Field(8, ge=1, le=100)
    """Number of pieces that prefix beam search tries at each position, the likeliest ones, in addition to the blank."""


class Ctc(System):
    """Connectionist temporal classification (Graves et al. 2006) over the encoder states, each split into several positions.

    The loss is the negative log-probability of all alignments that collapse to the target. It is divided by the number of
    target pieces, so that λ has the same meaning as for other losses per piece. There is no label smoothing.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (CtcDecoding,)

    kind: Literal["ctc"] = "ctc"
    upsampling: int = Field(2, ge=1, le=8)
    """Number of decoder positions for each source token, including EOS (Saharia et al. 2020: 2; Libovický and Helcl 2018: 3). A
    target that needs more positions cannot be aligned and has no loss; the curve `train/infeasible` is the fraction of such
    targets."""

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return CtcBranch(self, model, tokens, layers)


class CtcBranch(Branch):
    """A decoder over the split encoder states (Libovický and Helcl 2018, section 3) that predicts one label per position.

    Unlike in Saharia et al. 2020, its layers attend to the encoder, as in every other system here, so that systems differ in
    their objective and not in their size. The blank is a separate output row and not a token of the vocabulary.
    """

    parts: ClassVar[tuple[str, ...]] = ("nat",)
    measures: ClassVar[tuple[str, ...]] = ("infeasible",)

    def __init__(self, system: Ctc, model: ModelConfig, tokens: nn.Embedding, layers: nn.ModuleList | None = None) -> None:
        super().__init__(tokens)
        self.upsampling = system.upsampling
        self.split = Linear(model.width, system.upsampling * model.width)
        upsampled = model.model_copy(update={"max_positions": system.upsampling * model.max_positions})
        self.decoder = TargetDecoder(upsampled, tokens, causal=False, layers=layers)
        self.blank = nn.Embedding(1, model.width)
        self.most_pieces = model.max_positions - 1

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Finds the targets that can be aligned; draws nothing.

        An alignment needs one position for each piece and one for a blank between each two equal neighbouring pieces.
        """
        lengths_B = lengths_of(target_BT) - 1
        positions_B = self.upsampling * lengths_of(source_BS)
        is_piece_BT = torch.arange(target_BT.shape[1] - 1) < lengths_B[:, None] - 1
        repeats_B = ((target_BT[:, 1:] == target_BT[:, :-1]) & is_piece_BT).sum(1)
        is_feasible_B = lengths_B + repeats_B <= positions_B
        return Noise(
            tensors={"target": target_BT, "is_feasible": is_feasible_B},
            host_tensors={"lengths": lengths_B, "positions": positions_B, "is_feasible": is_feasible_B},
            predictions={"nat": lengths_B * is_feasible_B},
        )

    def states(self, encoded: Encoded) -> Tensor:
        """Computes the decoder's states [B, U, D]. Row k·t + i is position i of source token t, where k is the upsampling."""
        batch, source, width = encoded.states_BSD.shape
        # The decoder scales its input by √D, because it expects token embeddings with standard deviation 1/√D.
        input_BUD = self.split(encoded.states_BSD).view(batch, self.upsampling * source, width) * width**-0.5
        mask = None
        if encoded.mask is not None:
            mask = visible(encoded.is_padding_BS.repeat_interleave(self.upsampling, dim=1), True)
        states_BUD: Tensor = self.decoder.stack(input_BUD, mask, self.decoder.remember(encoded))
        return states_BUD

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes −log p(target) of the sentences that can be aligned."""
        states_RUD = self.states(encoded.only(noise.rows_R))
        is_feasible_R = noise.tensors["is_feasible"]
        # PyTorch's CTC loss reads lengths on the host.
        lengths_R, positions_R, feasible_R = (noise.host_tensors[name] for name in ("lengths", "positions", "is_feasible"))
        weight_LD = torch.cat((self.tokens.weight, self.blank.weight))
        total = ctc_loss_sum(states_RUD, weight_LD, noise.tensors["target"], lengths_R, positions_R, is_feasible_R)
        return {
            "nat": Loss(total, int(lengths_R[feasible_R].sum())),
            "infeasible": Loss((~is_feasible_R).sum().float(), len(is_feasible_R)),
        }

    def _blank_logits(self, states: Tensor) -> Tensor:
        """Computes the logits of the blank, [..., 1]."""
        return functional.linear(states, self.blank.weight)

    @torch.no_grad()
    def likeliest(self, states_MD: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the log-probabilities and ids of the likeliest pieces, [M, count], and the blank's log-probabilities, [M]."""
        scores, tokens, blanks, done = [], [], [], 0
        for logits_mV in blocks_of_logits(self.decoder, states_MD, SPECIAL):
            blank_m1 = self._blank_logits(states_MD[done : done + len(logits_mV)]).float()
            normaliser_m1 = torch.logaddexp(logits_mV.logsumexp(1, keepdim=True), blank_m1)
            best_mC, token_mC = logits_mV.topk(count, dim=1)
            scores.append(best_mC - normaliser_m1)
            tokens.append(token_mC)
            blanks.append((blank_m1 - normaliser_m1).squeeze(1))
            done += len(logits_mV)
        return torch.cat(scores), torch.cat(tokens), torch.cat(blanks)

    def search(self, decoding: Decoding) -> "CtcSearch":
        """Returns the search for labels."""
        assert isinstance(decoding, CtcDecoding)
        return CtcSearch(self, decoding)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts every position of the upsampled sources. The sums over alignments are not matrix products and not counted."""
        return 3 * self.pass_flops(work, source_R)

    def pass_flops(self, work: ModelFlops, source_B: Tensor) -> int:
        """Counts a forward pass without the encoder."""
        upsampled_B = self.upsampling * source_B
        split = 2 * work.config.width**2 * int(upsampled_B.sum())
        decoder = work.memory(source_B) + work.nat_pass(source_B, upsampled_B, upsampled_B)
        return split + decoder + work.vocabulary(int(upsampled_B.sum()))


@dataclass(frozen=True)
class CtcSearch:
    """A search for labels with one decoder pass; see `CtcDecoding`.

    The score of a hypothesis is a log-probability divided by the number of positions: that of the likeliest alignment, or, with
    a beam, that of all alignments in the beam.
    """

    branch: CtcBranch
    config: CtcDecoding
    is_stepwise = False

    @property
    def copies(self) -> int:
        return self.branch.upsampling

    @property
    def most(self) -> tuple[str, int]:
        return "prefix_beam", self.config.prefix_beam

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source."""
        found = self._greedy(encoded) if self.config.prefix_beam == 1 else self._beam(encoded)
        return [hypotheses[:n_best] for hypotheses in found]

    def _greedy(self, encoded: Encoded) -> list[list[Hypothesis]]:
        return [
            [self._hypothesis(collapse(labels, self._blank), sum(scores), len(labels))]
            for labels, scores in self._likeliest_labels(encoded)
        ]

    def _likeliest_labels(self, encoded: Encoded) -> list[tuple[list[int], list[float]]]:
        """Returns the likeliest label at each position of each source, and its log-probability."""
        scores_BU1, tokens_BU1, blanks_BU, positions = self._labels(encoded, 1)
        is_blank_BU = blanks_BU > scores_BU1[:, :, 0]
        labels = torch.where(is_blank_BU, self._blank, tokens_BU1[:, :, 0]).tolist()
        scores = torch.where(is_blank_BU, blanks_BU, scores_BU1[:, :, 0]).tolist()
        return [(row[:length], score[:length]) for row, score, length in zip(labels, scores, positions, strict=True)]

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs the decoder. Only the likeliest labels tell which position gives a piece: prefix beam search adds alignments."""
        [(labels, scores)] = self._likeliest_labels(encoded)
        former, piece, positions = self._blank, -1, []
        for label, score in zip(labels, scores, strict=True):
            piece += label not in (former, self._blank)
            is_piece = label != self._blank and self.config.prefix_beam == 1 and piece < len(found.tokens)
            positions.append(Position(None if label == self._blank else label, piece if is_piece else None, score))
            former = label
        return Replay(
            (Reading("NAT decoder", self.branch.decoder, tuple(positions)),),
            "probability of the label, the highest of the positions that give the piece",
        )

    def _beam(self, encoded: Encoded) -> list[list[Hypothesis]]:
        scores_BUC, tokens_BUC, blanks_BU, positions = self._labels(encoded, self.config.prefix_candidates)
        rows = zip(scores_BUC.tolist(), tokens_BUC.tolist(), blanks_BU.tolist(), positions, strict=True)
        return [
            [
                self._hypothesis(pieces, score, length)
                for pieces, score in prefix_beam_search(
                    tokens[:length], scores[:length], blanks[:length], self.config.prefix_beam, self.branch.most_pieces
                )
            ]
            for scores, tokens, blanks, length in rows
        ]

    def _labels(self, encoded: Encoded, count: int) -> tuple[Tensor, Tensor, Tensor, list[int]]:
        """Returns scores and ids of the likeliest pieces, scores of the blank, and the number of positions of each source."""
        states_BUD = self.branch.states(encoded)
        count = min(count, len(self.branch.tokens.weight) - len(SPECIAL))
        scores_MC, tokens_MC, blanks_M = self.branch.likeliest(states_BUD.flatten(0, 1), count)
        positions = self.branch.upsampling * (~encoded.is_padding_BS).sum(1)
        shape = states_BUD.shape[:2]
        return scores_MC.view(*shape, -1), tokens_MC.view(*shape, -1), blanks_M.view(shape), positions.tolist()

    @property
    def _blank(self) -> int:
        return len(self.branch.tokens.weight)

    def _hypothesis(self, pieces: tuple[int, ...], log_probability: float, positions: int) -> Hypothesis:
        return Hypothesis(pieces[: self.branch.most_pieces], log_probability / positions, passes=1)

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts one pass."""
        return work.encoder(source_B) + self.branch.pass_flops(work, source_B)
