"""GLAT, the glancing Transformer (Qian et al. 2021): one pass, trained with glances at the answer."""

# B batch, R sentences that the branch sees, T target, M pieces, N pieces with a loss

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.decoding.logits import blocks_of_logits
from mtnat.model import Encoded, Memory, ModelConfig
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum
from mtnat.systems.branch import Branch
from mtnat.systems.mask_predict import LengthBranch
from mtnat.systems.system import System
from mtnat.tokens import MASK, PAD, SPECIAL


class Glat(System):
    """Glancing training (Qian et al. 2021, section 3): the worse the first guess, the more of the answer the second pass sees.

    Decode it with ``decoding.iterations: 1``.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)

    kind: Literal["glat"] = "glat"
    start_ratio: float = Field(0.5, ge=0, le=1)
    """Share of the wrong pieces that are shown at the first step."""
    end_ratio: float = Field(0.3, ge=0, le=1)
    """The same at the last step; in between the share changes linearly (authors' code: 0.5 to 0.3)."""

    def ratio(self, moment: Moment) -> float:
        """Returns the share of the wrong pieces that are shown at this moment."""
        return self.start_ratio + (self.end_ratio - self.start_ratio) * moment.progress

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return GlatBranch(self, model, objective, tokens, layers)


class GlatBranch(LengthBranch):
    """Predicts every piece in one pass from an input of MASK alone.

    In training the decoder runs twice with the same dropout. Pass 1 sees MASK for every piece and has no gradient. Of the d
    pieces that it gets wrong, ⌊r·d⌋ positions are then chosen uniformly among *all* pieces of the sentence, right ones too, and
    pass 2 sees the target there. The loss is the cross-entropy of pass 2 at all other pieces.

    Unlike the authors' code: the input is MASK instead of a weighted copy of the source, so that it is the decoder of
    Mask-Predict; EOS is given with the length and has no loss. The sum over the batch is divided by the number of pieces of all
    its sentences, not by the positions with a loss, which are known only after pass 1. The curve ``train/loss_nat`` is the mean
    over the positions with a loss. The length loss has the weight it has in Mask-Predict.
    """

    measures: ClassVar[tuple[str, ...]] = ("glanced",)

    def __init__(
        self,
        system: Glat,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(model, objective, tokens, layers)
        self._system = system

    def draw(self, source_BS: Tensor, target_BT: Tensor, generator: Generator) -> Noise:
        """Draws the order in which the positions of each sentence are shown."""
        lengths_B = (target_BT != PAD).sum(1) - 1
        is_piece_BT = torch.arange(target_BT.shape[1]) < lengths_B[:, None]
        order_BT = torch.rand(target_BT.shape, generator=generator).masked_fill_(~is_piece_BT, 2.0)
        return Noise(
            tensors={
                "input": target_BT.masked_fill(is_piece_BT, MASK),
                "target": target_BT,
                "is_piece": is_piece_BT,
                "rank": order_BT.argsort(1).argsort(1),
            },
            predictions={"nat": lengths_B, "length": lengths_B.new_ones(len(lengths_B))},
            head_tensors={"lengths": lengths_B},
            read="is_piece",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of the pieces that were not shown.

        On a GPU this waits once for the device, which finds the positions with a loss.
        """
        assert noise.positions_N is not None
        target_RT, is_piece_RT, is_padded = noise.tensors["target"], noise.tensors["is_piece"], "input" in noise.padded
        memory = self.decoder.remember(encoded.only(noise.rows_R))
        # Two passes with the same dropout differ by what the second one is shown, and by nothing else.
        torch.manual_seed(moment.dropout_seed)
        is_wrong_RT = self._is_wrong(memory, noise, is_padded)
        is_shown_RT = is_piece_RT & (noise.tensors["rank"] < (is_wrong_RT.sum(1) * self._system.ratio(moment)).long()[:, None])
        torch.manual_seed(moment.dropout_seed)
        input_RT = torch.where(is_shown_RT, target_RT, noise.tensors["input"])
        # The last layer computes the shown pieces too, because its dropout depends on which positions it computes.
        states_MD = self.decoder.states(memory, input_RT, is_padded, noise.positions_N)
        is_shown_M = is_shown_RT.flatten().index_select(0, noise.positions_N)
        hidden_N = (~is_shown_M).nonzero().squeeze(1)
        states_ND = states_MD.index_select(0, hidden_N)
        targets_N = target_RT.flatten().index_select(0, noise.positions_N.index_select(0, hidden_N))
        total = cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)
        return {
            "nat": Loss(total, len(targets_N)),
            "glanced": Loss(is_shown_RT.sum().float(), is_piece_RT.sum()),
        }

    @torch.no_grad()
    def _is_wrong(self, memory: Memory, noise: Noise, is_padded: bool) -> Tensor:
        """Runs pass 1; True for the pieces whose likeliest prediction is another one, [R, T]."""
        positions_M = noise.positions_N
        assert positions_M is not None
        target_RT = noise.tensors["target"]
        states_MD = self.decoder.states(memory, noise.tensors["input"], is_padded, positions_M)
        guesses_M = torch.cat([logits_mV.argmax(1) for logits_mV in blocks_of_logits(self.decoder, states_MD, SPECIAL)])
        guesses_RT = target_RT.flatten().index_copy(0, positions_M, guesses_M).view_as(target_RT)
        return guesses_RT != target_RT

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts pass 1 forwards, and pass 2 forwards and backwards as if nothing were shown."""
        pieces_R = noise.tensors["is_piece"].sum(1)
        decoder = work.nat_pass(source_R, lengths_of(noise.tensors["input"]), pieces_R) + work.vocabulary(int(pieces_R.sum()))
        once = work.memory(source_R) + work.lengths(len(noise.head_tensors["lengths"]))
        return decoder + 3 * (decoder + once)
