"""The AT branch: the autoregressive decoder, which is the auxiliary task of every system and the Transformer baseline."""

# B batch, R sentences that the branch sees, T target, N positions with a loss

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, Search
from mtnat.decoding.beam import BeamSearch
from mtnat.model import Encoded, ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, Predictions, cross_entropy_sum
from mtnat.systems.branch import Branch
from mtnat.tokens import BOS, EOS, PAD


class AtBranch(Branch):
    """A branch that predicts every token from the source and the tokens before it (Vaswani et al. 2017)."""

    parts: ClassVar[tuple[str, ...]] = ("at",)
    aligned_part: ClassVar[str | None] = "at"

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding) -> None:
        super().__init__(tokens)
        self.decoder = TargetDecoder(model, tokens, causal=True)
        self.fraction = objective.at_fraction
        self._label_smoothing = objective.label_smoothing

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws nothing. The decoder reads BOS and the pieces, and predicts the pieces and EOS."""
        is_token_BT = target_BT != PAD
        return Noise(
            tensors={"input": shift_right(target_BT), "target": target_BT, "is_token": is_token_BT},
            predictions={"at": is_token_BT.sum(1)},
            read="is_token",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of every token."""
        assert noise.positions_N is not None
        states_RTD = self.decoder.states(encoded.only(noise.rows_R), noise.tensors["input"])
        targets_N = noise.tensors["target"].flatten().index_select(0, noise.positions_N)
        states_ND = states_RTD.flatten(0, 1).index_select(0, noise.positions_N)
        total = cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)
        return {"at": Loss(total, len(targets_N), Predictions(states_ND, noise.positions_N, states_RTD.shape[1]))}

    def search(self, decoding: Decoding) -> Search:
        """Returns beam search."""
        return BeamSearch(self.decoder, beam=decoding.beam, length_penalty=decoding.length_penalty)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts every position of the targets. Causal self-attention counts half of its score matrix."""
        target_R = lengths_of(noise.tensors["input"])
        return 3 * (work.memory(source_R) + work.at_pass(source_R, target_R) + work.vocabulary(int(target_R.sum())))


def shift_right(target_BT: Tensor) -> Tensor:
    """Returns the AT decoder's input: BOS before the pieces, EOS dropped."""
    shifted_BT = target_BT.roll(1, dims=1)
    shifted_BT[:, 0] = BOS
    return torch.where(shifted_BT == EOS, PAD, shifted_BT)
