"""Mask-Predict (Ghazvininejad et al. 2019): a conditional masked language model, decoded by mask-predict."""

# B batch, R sentences that the branch sees, T target, N masked positions

from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.decoding import Decoding, MaskPredictDecoding, MaskPredictSearch
from mtnat.model import Encoded, ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.lengths import LengthHead
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, Predictions, cross_entropy_sum, draw_masks
from mtnat.systems.branch import Branch
from mtnat.systems.raw_prior import RawPrior, prior_weight
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
    """A branch with a length head that is decoded by mask-predict. Its targets may be mixed with the raw-data prior."""

    aligned_part: ClassVar[str | None] = "nat"

    def __init__(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None = None
    ) -> None:
        super().__init__(model, objective, tokens, layers)
        self._has_prior, self._prior_temperature = objective.raw_prior, objective.raw_prior_temperature
        self._prior: RawPrior | None = None

    def use(self, tables: Mapping[str, Tensor]) -> None:
        """Takes the table of the raw-data prior."""
        self._prior = RawPrior(tables, self._prior_temperature, self.tokens.weight.device)

    def links(self, source_BS: Tensor, target_BT: Tensor, moment: Moment) -> dict[str, Tensor]:
        """Returns what `token_loss` needs of the raw-data prior as tensors of the noise; nothing while the prior has no
        weight."""
        if self._prior is None or not prior_weight(moment):
            return {}
        return {"link": self._prior.links(source_BS, target_BT)}

    def token_loss(self, states_ND: Tensor, positions_N: Tensor, noise: Noise, moment: Moment) -> Loss:
        """Computes the label-smoothed cross-entropy of target pieces, mixed with the raw-data prior if there is one.

        Args:
            states_ND: the decoder's states.
            positions_N: flat indices into R·T of the pieces that they predict.
            noise: has the target and the tensors of `links`.
        """
        target_RT, weight_VD = noise.tensors["target"], self.tokens.weight
        targets_N = target_RT.flatten().index_select(0, positions_N)
        share = prior_weight(moment) if self._has_prior else 0.0
        if share:
            assert self._prior is not None, "the raw-data prior has no table; see Experiment.build_objective"
            links_N = noise.tensors["link"].flatten().index_select(0, positions_N)
            total = self._prior.loss(states_ND, weight_VD, targets_N, links_N, share, self._label_smoothing)
        else:
            total = cross_entropy_sum(states_ND, weight_VD, targets_N, self._label_smoothing)
        return Loss(total, len(targets_N), Predictions(states_ND, positions_N, target_RT.shape[1]))

    def search(self, decoding: Decoding) -> MaskPredictSearch:
        """Returns mask-predict."""
        assert isinstance(decoding, MaskPredictDecoding)
        return MaskPredictSearch(self.decoder, self.length_head, decoding)


class MaskPredictBranch(LengthBranch):
    """A branch that predicts masked pieces from the source and the pieces that are not masked."""

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the masked pieces; see `masks`."""
        lengths_B = lengths_of(target_BT) - 1
        is_masked_BT = self.masks(lengths_B, target_BT.shape[1], generator)
        return Noise(
            tensors={
                "input": target_BT.masked_fill(is_masked_BT, MASK),
                "target": target_BT,
                "is_masked": is_masked_BT,
                **self.links(source_BS, target_BT, moment),
            },
            predictions={"nat": is_masked_BT.sum(1), "length": lengths_B.new_ones(len(lengths_B))},
            head_tensors={"lengths": lengths_B},
            read="is_masked",
        )

    def masks(self, lengths_B: Tensor, width: int, generator: Generator) -> Tensor:
        """Draws which pieces are masked, bool [B, width]: at least one of each sentence.

        EOS is never masked, because the length is given.

        Args:
            lengths_B: number of pieces of each sentence, without EOS.
        """
        return draw_masks(lengths_B, width, generator)

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the label-smoothed cross-entropy of the masked pieces. Logits are computed at these positions only."""
        positions_N = noise.positions_N
        assert positions_N is not None
        states_ND = self.decoder.states(
            encoded.only(noise.rows_R), noise.tensors["input"], "input" in noise.padded, positions_N
        )
        return {"nat": self.token_loss(states_ND, positions_N, noise, moment)}

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts all positions, except in the last layer, where only masked positions are computed."""
        masked_R = noise.tensors["is_masked"].sum(1)
        decoder = work.nat_pass(source_R, lengths_of(noise.tensors["input"]), masked_R)
        predictions = work.vocabulary(int(masked_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        return 3 * (work.memory(source_R) + decoder + predictions)


class MaskPredict(System):
    """The conditional masked language model (CMLM) with mask-predict: the NAT decoder of the paper."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)
    is_aligned: ClassVar[bool] = True

    kind: Literal["mask-predict"] = "mask-predict"

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return MaskPredictBranch(model, objective, tokens, layers)
