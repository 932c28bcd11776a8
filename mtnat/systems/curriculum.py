"""FCL-NAT (Guo et al. 2020): one decoder that is first autoregressive and becomes non-autoregressive by a curriculum."""

# B batch, R sentences that the branch sees, T target, D width

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from mtnat.model import Encoded, ModelConfig
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems.at import shift_right
from mtnat.systems.branch import Branch
from mtnat.systems.copied_source import CopiedSource, CopiedSourceBranch
from mtnat.tokens import PAD

Pace = Literal["log", "linear", "ladder", "inverse-log"]

UNITS, LADDER_STEPS = 200, 10
"""K, the length of the curriculum in the units of the authors' code (10,000 updates), which bends the logarithmic paces; and
the number of steps of its ladder."""


class FclNat(CopiedSource):
    """Fine-tuning by curriculum learning (Guo et al. 2020), within one run and with the same weights throughout.

    Until `curriculum_start` the decoder is trained as an AT decoder: it reads the target shifted by one position under a causal
    mask. In the curriculum a growing share p of its input is replaced by the copied source, still under the causal mask. From
    `curriculum_end` on it is the vanilla NAT: it reads the copied source alone, and every position sees every other one. So the
    input changes token by token, and the mask at once.

    The authors' script switches to the full mask when p is 0.45. From then on the token that a position has to predict can be
    read at the next position, where it was not replaced, until the end of the training. Here the full mask begins when p is 1.
    The paper's numbers of updates are not confirmed by a source that we could read. The script's AT phase is the first
    twentieth of the updates; the defaults are ours.
    """

    kind: Literal["fcl-nat"] = "fcl-nat"
    curriculum_start: float = Field(0.25, ge=0, lt=1)
    """Share of the updates before the curriculum starts, in which the decoder is autoregressive."""
    curriculum_end: float = Field(0.75, gt=0, lt=1)
    """Share of the updates after which the curriculum has ended and the decoder is non-autoregressive."""
    pace: Pace = "log"
    """How p grows from 0 to 1 with the share u of the curriculum that is done: log is ln(1 + 199·u) / ln 200, linear is u,
    ladder is u rounded down to tenths, inverse-log is 1 − ln(200 − 199·u) / ln 200 (authors' code, where K = 200)."""
    whole_targets: bool = True
    """Whether each sentence keeps its whole input with probability 1 − p, as in the authors' code. p then acts twice: as this
    probability and as the share of replaced positions. If false, it is the share alone."""

    @model_validator(mode="after")
    def _starts_before_it_ends(self) -> Self:
        if self.curriculum_start >= self.curriculum_end:
            raise ValueError(
                f"curriculum_start must be below curriculum_end; got {self.curriculum_start} and {self.curriculum_end}"
            )
        return self

    def is_causal(self, moment: Moment) -> bool:
        """Returns whether the decoder is trained under the causal mask at a moment."""
        return moment.progress < self.curriculum_end

    def rate(self, moment: Moment) -> float:
        """Returns p, the share of the input that is replaced by the copied source at a moment."""
        done = (moment.progress - self.curriculum_start) / (self.curriculum_end - self.curriculum_start)
        if done <= 0 or done >= 1:
            return float(done >= 1)
        match self.pace:
            case "log":
                return math.log1p((UNITS - 1) * done) / math.log(UNITS)
            case "linear":
                return done
            case "ladder":
                return math.floor(LADDER_STEPS * done) / LADDER_STEPS
            case "inverse-log":
                return 1 - math.log(UNITS - (UNITS - 1) * done) / math.log(UNITS)

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return FclNatBranch(self, model, objective, tokens, layers)


class FclNatBranch(CopiedSourceBranch):
    """The branch of the vanilla NAT, whose decoder begins as an AT decoder.

    Position t predicts piece t in every phase. Under the causal mask the position after the last piece predicts EOS; in the NAT
    phase EOS follows from the length and has no loss.

    Unlike in the authors' code, the replaced positions are drawn for each sentence and not for the whole batch, so that no
    sentence depends on others. The length head is trained from the beginning. Validation decodes in one pass at all times, so
    its scores say little before the NAT phase: `training.patience` must be longer than the phases before it.

    An AT branch beside it is a decoder of its own, also during the AT phase.
    """

    measures: ClassVar[tuple[str, ...]] = ("replaced",)

    def __init__(
        self,
        system: FclNat,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(system, model, objective, tokens, layers)
        self._system = system

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the positions whose input is replaced by the copied source. The NAT phase draws nothing."""
        noise = super().draw(source_BS, target_BT, moment, generator)
        if not self._system.is_causal(moment):
            return noise
        rate, positions_B = self._system.rate(moment), lengths_of(target_BT)
        is_position_BT = target_BT != PAD
        order_BT = torch.rand(target_BT.shape, generator=generator).masked_fill_(~is_position_BT, 2.0)
        is_mixed_B = torch.rand(len(target_BT), generator=generator) < (rate if self._system.whole_targets else 2.0)
        counts_B = (rate * positions_B + 0.5).long() * is_mixed_B
        return Noise(
            tensors={
                "input": shift_right(target_BT),
                "is_replaced": order_BT.argsort(1).argsort(1) < counts_B[:, None],
                "is_position": is_position_BT,
                "target": target_BT,
                "lengths": noise.tensors["lengths"],
            },
            predictions={**noise.predictions, "nat": positions_B},
            head_tensors=noise.head_tensors,
            read="is_position",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the cross-entropy of the pieces, and before the NAT phase of EOS too."""
        if "input" not in noise.tensors:
            all_R = noise.tensors["lengths"]
            return {**super().losses(encoded, noise, moment), "replaced": Loss(all_R.sum().float(), all_R.sum())}
        assert noise.positions_N is not None
        is_replaced_RT, is_position_RT = noise.tensors["is_replaced"], noise.tensors["is_position"]
        states_RTD = self.causal_states(
            encoded.only(noise.rows_R), noise.tensors["lengths"], noise.tensors["input"], is_replaced_RT
        )
        states_ND = states_RTD.flatten(0, 1).index_select(0, noise.positions_N)
        return {
            "nat": self.cross_entropy(states_ND, noise),
            "replaced": Loss(is_replaced_RT.sum().float(), is_position_RT.sum()),
        }

    def causal_states(self, encoded: Encoded, lengths_R: Tensor, input_RT: Tensor, is_replaced_RT: Tensor) -> Tensor:
        """Computes the states under the causal mask, [R, T, D].

        Args:
            input_RT: BOS and the pieces.
            is_replaced_RT: the positions that read the copied source instead.
        """
        copied_RTD = self.input(encoded, lengths_R[:, None], input_RT.shape[1])
        mixed_RTD = torch.where(is_replaced_RT[:, :, None], copied_RTD, self.tokens(input_RT))
        states: Tensor = self.decoder.stack(mixed_RTD, None, self.decoder.remember(encoded), causal=True)
        return states

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts a causal pass over all positions, or in the NAT phase the vanilla NAT."""
        if "input" not in noise.tensors:
            return super().flops(work, source_R, noise)
        target_R = lengths_of(noise.tensors["target"])
        predictions = work.vocabulary(int(target_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        return 3 * (work.memory(source_R) + work.at_pass(source_R, target_R) + predictions)
