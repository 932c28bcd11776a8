"""Hint-based training (Li et al. 2019): a single-pass NAT that learns from the states and the attention of an AT model."""

# B batch, R sentences that the branch sees, S source, T target, D width, H heads

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.model import Encoded, ModelConfig, Tap
from mtnat.model.flops import ModelFlops
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems.at import shift_right
from mtnat.systems.branch import Branch
from mtnat.systems.copied_source import CopiedSource, CopiedSourceBranch
from mtnat.systems.taught import TaughtBranch

_LEAST_DISTANCE = 1e-6
"""Lower bound of 1 − d, where −log(1 − d) and its gradient would be infinite."""


class HintNat(CopiedSource):
    """Hint-based training of a NAT (Li et al. 2019): L = L_nll + λ·L_hid + μ·L_align.

    The hints come from a trained AT model, the teacher, which reads the same source and the target's earlier tokens. L_hid
    makes two states of a layer less similar where they are similar and the teacher's are not. L_align is the divergence of the
    cross-attention from the teacher's.

    The weights λ = 5 and μ = 1 are those of the paper, in notes on its text that we read. The thresholds 0.1 and 0.9 are not
    confirmed by a source that we could read. The authors' code is no model for the losses: its hints compare the student's
    states with its own, and its weights are 0.
    """

    kind: Literal["hint-nat"] = "hint-nat"
    teacher: str | None = None
    """Model folder of the teacher, which must have an AT decoder, the student's vocabulary, and as many decoder layers and
    heads. It is needed for training only. If left out, it is the teacher of the study that runs the experiment."""
    hidden_weight: float = Field(5.0, ge=0)
    """λ, the weight of the hints from hidden states, relative to the cross-entropy."""
    alignment_weight: float = Field(1.0, ge=0)
    """μ, the weight of the hints from the attention, relative to the cross-entropy."""
    student_threshold: float = Field(0.1, ge=-1, le=1)
    """Two states of the student count as similar if their cosine is at least this."""
    teacher_threshold: float = Field(0.9, ge=-1, le=1)
    """Two states of the teacher count as different if their cosine is at most this."""

    needs_teacher: ClassVar[bool] = True

    @property
    def teacher_folder(self) -> str | None:
        """Model folder of the teacher."""
        return self.teacher

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return HintNatBranch(self, model, objective, tokens, layers)


class HintNatBranch(CopiedSourceBranch, TaughtBranch):
    """The branch of the vanilla NAT with two losses that read a teacher.

    L_hid of a sentence is the mean over all layers and all pairs of its pieces; sentences are weighted by their number of
    pieces, those of one piece have none. L_align is the mean over layers, heads and pieces. So all parts are on the scale of
    one target piece. The position after the last piece, which has no cross-entropy here, gets no hint.

    An AT branch beside it is not the teacher.

    The cosines of a layer need R·T² numbers and its attention R·H·T·S. In a batch of 4,096 target tokens in sentences of 128
    tokens, 8 heads and 6 layers the attention needs 0.1 GB, and as much for the gradient.
    """

    parts: ClassVar[tuple[str, ...]] = ("nat", "hidden", "alignment", "length")

    def __init__(
        self,
        system: HintNat,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(system, model, objective, tokens, layers)
        self._system, self._model = system, model

    def problems_of(self, teacher: ModelConfig) -> list[str]:
        """Returns what makes a model unfit as the teacher: its depth, its heads, or its number of positions."""
        found = [
            f"system.teacher: must have as many {name.replace('_', ' ')} as model.{name}; got {theirs} and {ours}; "
            "train a teacher of that shape, or change the model."
            for name in ("decoder_layers", "heads")
            if (theirs := getattr(teacher, name)) != (ours := getattr(self._model, name))
        ]
        if teacher.max_positions < self._model.max_positions:
            found.append(
                "system.teacher: must have at least as many positions as model.max_positions; "
                f"got {teacher.max_positions} and {self._model.max_positions}; lower model.max_positions."
            )
        return found

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part: λ, μ, that of the length, or 1."""
        weights = {"hidden": self._system.hidden_weight, "alignment": self._system.alignment_weight}
        return weights.get(part, super().weight_of(part))

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws nothing. The teacher reads BOS and the pieces."""
        noise = super().draw(source_BS, target_BT, moment, generator)
        lengths_B = noise.tensors["lengths"]
        return Noise(
            tensors={**noise.tensors, "input": shift_right(target_BT)},
            predictions={**noise.predictions, "hidden": lengths_B * (lengths_B > 1), "alignment": lengths_B},
            head_tensors=noise.head_tensors,
            read=noise.read,
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the cross-entropy of every piece and both hints."""
        assert noise.positions_N is not None
        encoded = encoded.only(noise.rows_R)
        teacher, student = self._hints(encoded, noise.tensors["input"]), Tap()
        states_RTD = self.target_states(encoded, noise, tap=student)
        states_ND = states_RTD.flatten(0, 1).index_select(0, noise.positions_N)
        lengths_R, is_piece_RT = noise.tensors["lengths"], noise.tensors["is_piece"]
        thresholds = self._system.student_threshold, self._system.teacher_threshold
        hidden_R = hidden_hints(student.states, teacher.states, is_piece_RT, *thresholds)
        alignment_RT = alignment_hints(student.log_attention, teacher.log_attention)
        return {
            "nat": self.cross_entropy(states_ND, noise),
            "hidden": Loss((hidden_R * lengths_R).sum(), (lengths_R * (lengths_R > 1)).sum()),
            "alignment": Loss((alignment_RT * is_piece_RT).sum(), len(noise.positions_N)),
        }

    @torch.no_grad()
    def _hints(self, encoded: Encoded, input_RT: Tensor) -> Tap:
        """Runs the teacher; its state at position t predicts piece t, as the student's does."""
        assert encoded.source_BS is not None
        decoder, tap = self.teacher_decoder, Tap()
        memory = decoder.remember(self.teacher.encode(encoded.source_BS, encoded.mask is not None))
        decoder.stack(decoder.tokens(input_RT), None, memory, tap=tap)
        return tap

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the vanilla NAT with all positions in its last layer, the forward pass of the teacher, and the hints."""
        pieces_R = noise.tensors["lengths"]
        target_R = pieces_R + 1
        forward = self.pass_flops(work, source_R, pieces_R, target_R) + work.memory(source_R)
        predictions = work.vocabulary(int(pieces_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        teacher = ModelFlops(self.teacher.config if self._teacher else self._model, work.vocabulary_size)
        frozen = teacher.encoder(source_R) + teacher.memory(source_R) + teacher.at_pass(source_R, target_R)
        # Of each layer the attention weights once more, and all cosines.
        products = 2 * self._model.decoder_layers * int((target_R * (source_R + target_R)).sum())
        hints = products * (3 * self._model.width + teacher.config.width)
        return 3 * (forward + predictions) + frozen + hints


def hidden_hints(
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    is_piece_RT: Tensor,
    student_threshold: float,
    teacher_threshold: float,
) -> Tensor:
    """Computes the hints from hidden states, the mean over layers and pairs of pieces, [R]; 0 for a single piece.

    With the cosines d of the states at two positions, a pair costs −log(1 − d_student) if d_student is at least
    `student_threshold` and d_teacher at most `teacher_threshold`, and nothing otherwise. The cost is bounded by that of
    1 − d = 10⁻⁶.

    Args:
        students: the states of each layer, [R, T, D].
        teachers: likewise; their width may differ.
    """
    is_pair_RTT = (is_piece_RT[:, :, None] & is_piece_RT[:, None, :]).triu(1)
    total_R = students[0].new_zeros(len(is_piece_RT), dtype=torch.float32)
    with torch.autocast(is_piece_RT.device.type, enabled=False):
        for student_RTD, teacher_RTD in zip(students, teachers, strict=True):
            student_RTT, teacher_RTT = _cosines(student_RTD), _cosines(teacher_RTD)
            costs_RTT = -(1 - student_RTT).clamp(min=_LEAST_DISTANCE).log()
            is_hinted_RTT = is_pair_RTT & (student_RTT >= student_threshold) & (teacher_RTT <= teacher_threshold)
            total_R = total_R + torch.where(is_hinted_RTT, costs_RTT, 0.0).sum((1, 2))
    return total_R / (len(students) * is_pair_RTT.sum((1, 2)).clamp(min=1))


def _cosines(states_RTD: Tensor) -> Tensor:
    """Computes the cosines of all pairs of states, float32 [R, T, T]."""
    directions_RTD = functional.normalize(states_RTD.float(), dim=2)
    return directions_RTD @ directions_RTD.transpose(1, 2)


def alignment_hints(students: Sequence[Tensor], teachers: Sequence[Tensor]) -> Tensor:
    """Computes KL(teacher ‖ student) of the cross-attention, the mean over layers and heads, [R, T].

    Args:
        students: the logarithms of the attention weights of each layer, [R, H, T, S].
        teachers: likewise.
    """
    of_layers = [
        (teacher_RHTS.exp() * (teacher_RHTS - student_RHTS)).sum(3).mean(1)
        for student_RHTS, teacher_RHTS in zip(students, teachers, strict=True)
    ]
    return torch.stack(of_layers).mean(0)
