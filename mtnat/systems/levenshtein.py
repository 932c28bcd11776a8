"""The Levenshtein Transformer (Gu et al. 2019), which inserts what is missing from a text and deletes what is wrong."""

# B batch, R sentences that the branch sees, T target, N placeholders, D width, P classes of the number of placeholders

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.decoding import Decoding
from mtnat.model import Encoded, ModelConfig
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum, draw_masks
from mtnat.systems.branch import Branch
from mtnat.systems.edit_decoder import EditDecoder
from mtnat.systems.edit_script import edit_script, insertion_counts, without
from mtnat.systems.levenshtein_search import LevenshteinDecoding, LevenshteinSearch
from mtnat.systems.system import System
from mtnat.tokens import BOS, MASK, PAD

_NO_LOSS = -100
"""Label of a position without a loss."""


class Levenshtein(System):
    """The Levenshtein Transformer: a decoder that alternates between deletion and insertion, trained on states that its own
    insertions and random deletions produce.

    Its loss is the weighted mean of three means: over gaps, placeholders and tokens. The authors' loss is their sum, three
    times as large with equal weights. As a mean it has the scale of one loss per token, so that λ has the same meaning as for
    other systems.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (LevenshteinDecoding,)

    kind: Literal["levenshtein"] = "levenshtein"
    max_placeholders: int = Field(255, ge=1, le=1023)
    """Maximum number of placeholders that one pass inserts into a gap between two tokens; the head has one class more (authors'
    code: 255). A gap that lacks more pieces is trained to get this many."""
    from_empty: float = Field(0.0, ge=0, le=1)
    """Fraction of the sentences for which insertion is learned from an empty text, in addition to those whose random deletion
    leaves nothing (authors' code: 0; Gu et al. 2019: 0.5, remembered, not confirmed)."""
    from_whole: float = Field(0.0, ge=0, lt=1)
    """Fraction of the sentences for which insertion is learned from the whole target, to which nothing has to be added. 0, as
    in the authors' code, deletes at least one piece of every target: the placeholder head then never sees a finished text, and
    may add pieces to one."""
    fill: Literal["argmax", "sample"] = "argmax"
    """How the text for the deletion loss gets its pieces: the model's likeliest pieces, or a sample from the model (authors'
    code: argmax, with sample as an option)."""
    placeholder_label_smoothing: float = Field(0.01, ge=0, lt=1)
    """Label smoothing of the number of placeholders (authors' code). `objective.label_smoothing` applies to the pieces; the
    deletion has none."""
    placeholder_weight: float = Field(1.0, gt=0)
    """Weight of the loss of the numbers of placeholders, relative to that of the pieces."""
    deletion_weight: float = Field(1.0, gt=0)
    """Weight of the deletion loss, relative to that of the pieces."""

    @model_validator(mode="after")
    def _fractions_add_up(self) -> Self:
        if self.from_empty + self.from_whole > 1:
            raise ValueError(
                "from_empty and from_whole must add up to at most 1; "
                f"got {self.from_empty} and {self.from_whole}; lower one of them"
            )
        return self

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return LevenshteinBranch(self, model, objective, tokens, layers)


class LevenshteinBranch(Branch):
    """A branch that learns three tasks with one decoder (Gu et al. 2019, section 4).

    1. Pieces are deleted from the target at random: their number is uniform from 1 to all. The placeholder head predicts for
       each gap between two tokens that are left how many pieces are missing.
    2. In the target with placeholders for the missing pieces, the decoder predicts these pieces.
    3. The placeholders are replaced by the pieces that task 2 predicts, without a gradient. The deletion head predicts which
       tokens of this text have to be deleted on the way to the target.

    The labels are those of the shortest edit script; see `edit_script`. In a run of equal pieces it takes the first ones for
    those that are left, whichever were deleted.

    Tasks 1 to 3 are the authors' code, which trains all three on every sentence; BOS and EOS have deletion losses too, with the
    label to keep. The paper describes a mixture of states. In translation the initial text is empty: insertion is also learned
    from it (`from_empty`), and deletion as well, which teaches nothing because there is nothing to delete, and is left out.
    Insertion is not learned from what the model's own deletions leave. `from_whole` is an addition.

    An update runs the decoder three times with a gradient, and keeps the activations of all three until the backward pass.
    """

    parts: ClassVar[tuple[str, ...]] = ("placeholders", "tokens", "deletion")
    measures: ClassVar[tuple[str, ...]] = ("deleted",)

    def __init__(
        self,
        system: Levenshtein,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(tokens)
        self.decoder = EditDecoder(model, tokens, most_placeholders=system.max_placeholders, layers=layers)
        self._system = system
        self._label_smoothing = objective.label_smoothing

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part; the three weights add up to 1."""
        weights = {"tokens": 1.0, "placeholders": self._system.placeholder_weight, "deletion": self._system.deletion_weight}
        return weights[part] / sum(weights.values())

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the deleted pieces, and labels the gaps and the missing pieces.

        No tensor contains BOS, which `losses` puts before all texts. Gap t lies before token t of what is left.
        """
        batch, width = target_BT.shape
        lengths_B = lengths_of(target_BT) - 1
        is_piece_BT = torch.arange(width) < lengths_B[:, None]
        is_deleted_BT = draw_masks(lengths_B, width, generator)
        # The lowest numbers stand for an empty text, the highest ones for the whole target.
        start_B1 = torch.rand(batch, 1, generator=generator)
        is_deleted_BT |= (start_B1 < self._system.from_empty) & is_piece_BT
        is_deleted_BT &= start_B1 < 1 - self._system.from_whole
        left_BT = without(is_deleted_BT, target_BT, PAD)
        is_missing_BT = edit_script(left_BT, target_BT).is_inserted_BY
        counts_BT = insertion_counts(is_missing_BT, target_BT != PAD).clamp(max=self._system.max_placeholders)
        tensors = {
            "left": left_BT,
            "counts": counts_BT.masked_fill(left_BT == PAD, _NO_LOSS),
            "masked": target_BT.masked_fill(is_missing_BT, MASK),
            "is_missing": is_missing_BT,
            "target": target_BT,
        }
        if self._system.fill == "sample":
            tensors["uniform"] = torch.rand(batch, width, generator=generator)
        return Noise(
            tensors=tensors,
            predictions={
                "placeholders": lengths_of(left_BT),
                "tokens": is_missing_BT.sum(1),
                "deletion": lengths_B + 2,
            },
            read="is_missing",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the three losses, and the fraction of the pieces of the model's own text that have to be deleted."""
        memory = self.decoder.remember(encoded.only(noise.rows_R))
        target_RT, counts_RT, missing_N = noise.tensors["target"], noise.tensors["counts"], noise.positions_N
        assert missing_N is not None

        states_RUD = self.decoder.states(memory, _after_bos(noise.tensors["left"]), "left" in noise.padded)
        logits_RTP = self.decoder.placeholder_logits(states_RUD)
        placeholders = _cross_entropy(logits_RTP, counts_RT, self._system.placeholder_label_smoothing)

        # BOS shifts the position of token t of each sentence by one, and those of later sentences once more.
        positions_N = missing_N + missing_N.div(target_RT.shape[1], rounding_mode="floor") + 1
        states_ND = self.decoder.states(memory, _after_bos(noise.tensors["masked"]), "masked" in noise.padded, positions_N)
        targets_N = target_RT.flatten().index_select(0, missing_N)
        tokens = cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)

        filled_RT = self._filled(noise, states_ND.detach(), missing_N)
        is_deleted_RT = edit_script(filled_RT, target_RT).is_deleted_BX
        states_RUD = self.decoder.states(memory, _after_bos(filled_RT), "masked" in noise.padded)
        labels_RU = _after_bos(is_deleted_RT.long().masked_fill(filled_RT == PAD, _NO_LOSS), 0)
        deletion = _cross_entropy(self.decoder.deletion_logits(states_RUD), labels_RU, 0.0)

        sentences, tokens_left = len(target_RT), (target_RT != PAD).sum()
        return {
            "placeholders": Loss(placeholders, (counts_RT != _NO_LOSS).sum()),
            "tokens": Loss(tokens, len(missing_N)),
            "deletion": Loss(deletion, tokens_left + sentences),
            "deleted": Loss(is_deleted_RT.sum().float(), tokens_left - sentences),
        }

    def _filled(self, noise: Noise, states_ND: Tensor, missing_N: Tensor) -> Tensor:
        """Replaces the placeholders by pieces that the model predicts, [R, T]."""
        uniform_N = None
        if "uniform" in noise.tensors:
            uniform_N = noise.tensors["uniform"].flatten().index_select(0, missing_N)
        _, pieces_N = self.decoder.fill(states_ND, uniform_N)
        masked_RT = noise.tensors["masked"]
        return masked_RT.flatten().index_copy(0, missing_N, pieces_N).view_as(masked_RT)

    def search(self, decoding: Decoding) -> LevenshteinSearch:
        """Returns the search."""
        assert isinstance(decoding, LevenshteinDecoding)
        return LevenshteinSearch(self.decoder, decoding)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the three passes. The predictions of the pieces count once more, for the text of the deletion loss."""
        left_R, target_R = lengths_of(noise.tensors["left"]) + 1, lengths_of(noise.tensors["target"]) + 1
        missing_R = noise.tensors["is_missing"].sum(1)
        passes = work.nat_pass(source_R, left_R, left_R) + work.nat_pass(source_R, target_R, missing_R)
        passes += work.nat_pass(source_R, target_R, target_R)
        heads = self.decoder.head_flops(work, int(target_R.sum()), int(left_R.sum()) - len(left_R))
        predictions = work.vocabulary(int(missing_R.sum()))
        return 3 * (work.memory(source_R) + passes + heads + predictions) + predictions


def _after_bos(tokens_RT: Tensor, first: int = BOS) -> Tensor:
    """Puts a column before the first one: BOS, or its label."""
    return functional.pad(tokens_RT, (1, 0), value=first)


def _cross_entropy(logits_RTP: Tensor, labels_RT: Tensor, label_smoothing: float) -> Tensor:
    """Sums the cross-entropy in float32 over the positions with a label; the smoothing is uniform over the classes."""
    return functional.cross_entropy(
        logits_RTP.flatten(0, 1),
        labels_RT.flatten(),
        ignore_index=_NO_LOSS,
        reduction="sum",
        label_smoothing=label_smoothing,
    )
