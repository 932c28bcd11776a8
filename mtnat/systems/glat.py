"""GLAT, the glancing Transformer (Qian et al. 2021): single-pass decoding, trained with glances at the target."""

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
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems.branch import Branch
from mtnat.systems.mask_predict import LengthBranch
from mtnat.systems.system import System
from mtnat.tokens import MASK, SPECIAL


class Glat(System):
    """Glancing training (Qian et al. 2021, section 3): the more errors pass 1 makes, the more of the target pass 2 sees.

    It is decoded in one pass, unless ``decoding.iterations`` says otherwise.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)
    is_aligned: ClassVar[bool] = True

    kind: Literal["glat"] = "glat"
    start_ratio: float = Field(0.5, ge=0, le=1)
    """Glancing ratio at the first step: number of target pieces shown to the second pass, divided by the number of pieces that
    the first pass gets wrong."""
    end_ratio: float = Field(0.3, ge=0, le=1)
    """Glancing ratio at the last step; the ratio changes linearly in between (authors' code: 0.5 to 0.3)."""

    @property
    def default_decoding(self) -> Decoding:
        return MaskPredictDecoding(iterations=1)

    def ratio(self, moment: Moment) -> float:
        """Returns the glancing ratio at a moment of training."""
        return self.start_ratio + (self.end_ratio - self.start_ratio) * moment.progress

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return GlatBranch(self, model, objective, tokens, layers)


class GlatBranch(LengthBranch):
    """A branch that predicts every piece in one pass from an input of MASK tokens only.

    In training the decoder runs twice with the same dropout. Pass 1 sees MASK for every piece and has no gradient. If it gets d
    pieces wrong, ⌊r·d⌋ positions are drawn uniformly from *all* pieces of the sentence, correct ones included, where r is the
    glancing ratio. Pass 2 sees the target pieces at these positions. The loss is the cross-entropy of pass 2 at all other
    pieces.

    Differences from the authors' code: The input is MASK instead of a weighted copy of the source, as in the decoder of
    Mask-Predict. EOS follows from the length and has no loss. The sum over the batch is divided by the number of all pieces and
    not by the number of positions with a loss, which is known only after pass 1; the curve ``train/loss_nat`` is the mean over
    the positions with a loss. The length loss has the same weight as in Mask-Predict.
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

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws a random order of the pieces of each sentence; pass 2 sees the first ones in this order."""
        lengths_B = lengths_of(target_BT) - 1
        is_piece_BT = torch.arange(target_BT.shape[1]) < lengths_B[:, None]
        order_BT = torch.rand(target_BT.shape, generator=generator).masked_fill_(~is_piece_BT, 2.0)
        return Noise(
            tensors={
                "input": target_BT.masked_fill(is_piece_BT, MASK),
                "target": target_BT,
                "is_piece": is_piece_BT,
                "rank": order_BT.argsort(1).argsort(1),
                **self.links(source_BS, target_BT, moment),
            },
            predictions={"nat": lengths_B, "length": lengths_B.new_ones(len(lengths_B))},
            head_tensors={"lengths": lengths_B},
            read="is_piece",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of the pieces that were not shown.

        On a GPU this waits once for the device, because the positions with a loss depend on pass 1.
        """
        assert noise.positions_N is not None
        target_RT, is_piece_RT, is_padded = noise.tensors["target"], noise.tensors["is_piece"], "input" in noise.padded
        memory = self.decoder.remember(encoded.only(noise.rows_R))
        # Equal seeds give both passes the same dropout, so that they differ in the input only. With the encoder's seed, decoder
        # and encoder would drop the same elements.
        dropout_seed = moment.seed_of("glat")
        torch.manual_seed(dropout_seed)
        is_wrong_RT = self._is_wrong(memory, noise, is_padded)
        is_shown_RT = is_piece_RT & (noise.tensors["rank"] < (is_wrong_RT.sum(1) * self._system.ratio(moment)).long()[:, None])
        torch.manual_seed(dropout_seed)
        input_RT = torch.where(is_shown_RT, target_RT, noise.tensors["input"])
        # The last layer computes the shown pieces too, because its dropout depends on which positions it computes.
        states_MD = self.decoder.states(memory, input_RT, is_padded, noise.positions_N)
        is_shown_M = is_shown_RT.flatten().index_select(0, noise.positions_N)
        hidden_N = (~is_shown_M).nonzero().squeeze(1)
        states_ND = states_MD.index_select(0, hidden_N)
        return {
            "nat": self.token_loss(states_ND, noise.positions_N.index_select(0, hidden_N), noise, moment),
            "glanced": Loss(is_shown_RT.sum().float(), is_piece_RT.sum()),
        }

    @torch.no_grad()
    def _is_wrong(self, memory: Memory, noise: Noise, is_padded: bool) -> Tensor:
        """Runs pass 1; returns True for the pieces that it predicts wrongly, [R, T]."""
        positions_M = noise.positions_N
        assert positions_M is not None
        target_RT = noise.tensors["target"]
        states_MD = self.decoder.states(memory, noise.tensors["input"], is_padded, positions_M)
        guesses_M = torch.cat([logits_mV.argmax(1) for logits_mV in blocks_of_logits(self.decoder, states_MD, SPECIAL)])
        guesses_RT = target_RT.flatten().index_copy(0, positions_M, guesses_M).view_as(target_RT)
        return guesses_RT != target_RT

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the forward pass of pass 1, and both passes of pass 2 as if every piece had a loss."""
        pieces_R = noise.tensors["is_piece"].sum(1)
        decoder = work.nat_pass(source_R, lengths_of(noise.tensors["input"]), pieces_R) + work.vocabulary(int(pieces_R.sum()))
        once = work.memory(source_R) + work.lengths(len(noise.head_tensors["lengths"]))
        return decoder + 3 * (decoder + once)
