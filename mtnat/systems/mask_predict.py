"""Mask-Predict (Ghazvininejad et al. 2019): a conditional masked language model, decoded by mask-predict."""

# B batch, R sentences that the branch sees, T target, N masked positions

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.decoding import Decoding, MaskPredictDecoding, MaskPredictSearch
from mtnat.model import Encoded, ModelConfig, TargetDecoder, Translator
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.lengths import LengthHead
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum, draw_masks
from mtnat.systems.at import reranker_of
from mtnat.systems.branch import Branch
from mtnat.systems.system import System
from mtnat.tokens import MASK


class LengthHeadBranch(Branch):
    """A branch whose decoder needs the target length, which a length head predicts."""

    parts: ClassVar[tuple[str, ...]] = ("nat", "length")
    head_parts: ClassVar[tuple[str, ...]] = ("length",)

    def __init__(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None = None
    ) -> None:
        super().__init__(tokens)
        self.decoder = TargetDecoder(model, tokens, causal=False, layers=layers)
        self.length_head = LengthHead(model)
        self._label_smoothing, self._length_weight = objective.label_smoothing, objective.length_weight

    def head_losses(self, encoded: Encoded, noise: Noise) -> Mapping[str, Loss]:
        """Computes the cross-entropy of the target length."""
        logits_BP = self.length_logits(encoded).float()
        lengths_B = noise.head_tensors["lengths"]
        return {"length": Loss(functional.cross_entropy(logits_BP, lengths_B, reduction="sum"), len(lengths_B))}

    def length_logits(self, encoded: Encoded) -> Tensor:
        """Computes logits [B, max_positions] of the target length without EOS: column l is length l, column 0 is −inf."""
        logits_BP: Tensor = self.length_head(encoded.states_BSD, encoded.is_padding_BS)
        return logits_BP

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part; the length loss has its own weight inside L_nat (Ghazvininejad et al. 2019)."""
        return self._length_weight if part == "length" else 1.0


class LengthBranch(LengthHeadBranch):
    """A branch with a length head that is decoded by mask-predict."""

    def search(self, decoding: Decoding, translator: Translator) -> MaskPredictSearch:
        """Returns mask-predict, with the AT decoder as its reranker if the settings ask for it."""
        assert isinstance(decoding, MaskPredictDecoding)
        return MaskPredictSearch(self.decoder, self.length_head, decoding, reranker_of(translator, decoding))


class MaskPredictBranch(LengthBranch):
    """A branch that predicts masked pieces from the source and the pieces that are not masked."""

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the masked pieces. EOS is never masked, because the length is given."""
        lengths_B = lengths_of(target_BT) - 1
        is_masked_BT = draw_masks(lengths_B, target_BT.shape[1], generator)
        return Noise(
            tensors={"input": target_BT.masked_fill(is_masked_BT, MASK), "target": target_BT, "is_masked": is_masked_BT},
            predictions={"nat": is_masked_BT.sum(1), "length": lengths_B.new_ones(len(lengths_B))},
            head_tensors={"lengths": lengths_B},
            read="is_masked",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of the masked pieces. Logits are computed at these positions only."""
        positions_N = noise.positions_N
        assert positions_N is not None
        states_ND = self.decoder.states(
            encoded.only(noise.rows_R), noise.tensors["input"], "input" in noise.padded, positions_N
        )
        targets_N = noise.tensors["target"].flatten().index_select(0, positions_N)
        total = cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)
        return {"nat": Loss(total, len(targets_N))}

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts all positions, except in the last layer, where only masked positions are computed."""
        masked_R = noise.tensors["is_masked"].sum(1)
        decoder = work.nat_pass(source_R, lengths_of(noise.tensors["input"]), masked_R)
        predictions = work.vocabulary(int(masked_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        return 3 * (work.memory(source_R) + decoder + predictions)


class MaskPredict(System):
    """The conditional masked language model (CMLM) with mask-predict: the NAT decoder of the paper."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)

    kind: Literal["mask-predict"] = "mask-predict"

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return MaskPredictBranch(model, objective, tokens, layers)
