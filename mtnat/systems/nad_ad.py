"""Encoder-NAD-AD (Zhou et al. 2020), our reading: an AT decoder that also reads the states of a NAT decoder."""

# B batch, R sentences that the branch sees, S source, C canvas of the NAD, T target, D width, N tokens of the targets

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Generator, Tensor, nn

from mtnat.decoding import BeamSearch, Decoding, Search
from mtnat.decoding.config import DecoderName
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.logits import FORBIDDEN_TO_AT, likeliest_pieces
from mtnat.decoding.replay import Position, Reading, Replay
from mtnat.model import Encoded, Memory, ModelConfig, TargetDecoder
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.layers import visible
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum
from mtnat.systems.at import shift_right
from mtnat.systems.branch import Branch
from mtnat.systems.copied_source import CopiedSource, copied_input
from mtnat.systems.places import places_of
from mtnat.tokens import EOS, PAD


class NadAdDecoding(Decoding):
    """Decoding of Encoder-NAD-AD: one pass of the NAD, then beam search with the AD."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"beam": 5, "precision": "fp32"},
        "fast": {"beam": 5, "precision": "auto"},
    }

    compared: ClassVar[Mapping[str, Mapping[str, Any]]] = {**presets, "greedy": {**presets["paper"], "beam": 1}}

    kind: Literal["nad-ad"] = "nad-ad"

    def settings_of(self, decoder: DecoderName) -> tuple[str, ...]:
        """Returns the settings of beam search, with which both decoders translate."""
        return super().settings_of("at")

    @model_validator(mode="after")
    def _needs_no_reranker(self) -> Self:
        if self.rerank != "none":
            raise ValueError("rerank: is for NAT searches, but the AD of nad-ad is an AT decoder itself; leave it out")
        return self


class NadAd(CopiedSource):
    """Encoder-NAD-AD (Zhou et al. 2020): an autoregressive decoder (AD) that attends to the encoder and to the states of a
    non-autoregressive decoder (NAD).

    It translates as slowly as an AT decoder and aims at its quality: it is no rival of NAT systems in speed. Only the paper's
    abstract was readable. What follows is our reading of it: how both attentions are joined, the loss of the NAD and its
    weight, and the number of the NAD's positions.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]] = (NadAdDecoding,)

    kind: Literal["nad-ad"] = "nad-ad"
    nad_weight: float = Field(0.5, ge=0)
    """Weight of the cross-entropy of the NAD, relative to that of the AD."""
    extra_positions: int = Field(4, ge=0, le=1_000)
    """Number of positions of the NAD beyond the number of source tokens. Both in training and in translation its positions do
    not depend on the target, so that they do not tell the AD how long it is. Target pieces beyond them have no NAD loss; the
    curve `train/beyond` is their share."""

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return NadAdBranch(self, model, objective, tokens, layers)


class AdDecoder(TargetDecoder):
    """A causal decoder whose layers attend to the encoder and to the NAD; the outputs of both attentions are added."""

    def __init__(self, config: ModelConfig, tokens: nn.Embedding, nad: Callable[[Encoded], Encoded]) -> None:
        """Builds the stack.

        Args:
            nad: computes the states of the NAD.
        """
        super().__init__(config, tokens, causal=True, has_second_memory=True)
        self._nad = nad

    def remember(self, encoded: Encoded) -> Memory:
        """Runs the NAD once, and computes the keys and values of both memories."""
        return self.stack.remember(encoded, self._nad(encoded))


class NadAdBranch(Branch):
    """A joint branch: the NAD is a single-pass decoder over the copied source, and the AD reads its last states.

    The NAD has a position for each source token and some more; see `NadAd.extra_positions`. Position t predicts target piece t,
    and EOS where the target has ended. It sees the source only, so its states are the same in training and in translation.

    With shared decoder layers the NAD has the layers of the AT branch; those of the AD are its own.
    """

    parts: ClassVar[tuple[str, ...]] = ("ad", "nad")
    measures: ClassVar[tuple[str, ...]] = ("beyond",)

    def __init__(
        self,
        system: NadAd,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(tokens)
        self._system, self._label_smoothing = system, objective.label_smoothing
        canvas = model.model_copy(update={"max_positions": model.max_positions + system.extra_positions})
        self.nad = TargetDecoder(canvas, tokens, causal=False, layers=layers)
        self.decoder = AdDecoder(model, tokens, self.nad_states)

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part: that of the NAD, or 1."""
        return self._system.nad_weight if part == "nad" else 1.0

    def reads(self) -> list[Tensor]:
        """Lists the source embeddings too, which the NAD's input copies."""
        return [*super().reads(), *self.source_weights()]

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Lays the targets onto the canvas of the NAD; draws nothing."""
        positions_B, lengths_B = lengths_of(source_BS) + self._system.extra_positions, lengths_of(target_BT) - 1
        places_C = torch.arange(source_BS.shape[1] + self._system.extra_positions)
        pieces_BC = target_BT.gather(1, places_C.clamp(max=target_BT.shape[1] - 1).expand(len(target_BT), -1))
        canvas_BC = pieces_BC.masked_fill(places_C >= lengths_B[:, None], EOS)
        is_token_BT = target_BT != PAD
        return Noise(
            tensors={
                "input": shift_right(target_BT),
                "target": target_BT,
                "is_token": is_token_BT,
                "canvas": canvas_BC.masked_fill(places_C >= positions_B[:, None], PAD),
                "lengths": lengths_B,
            },
            host_tensors={"positions": positions_B},
            predictions={"ad": is_token_BT.sum(1), "nad": positions_B},
            read="is_token",
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the cross-entropy of the AD's tokens and of the NAD's positions."""
        assert noise.positions_N is not None
        encoded = encoded.only(noise.rows_R)
        nad, canvas_RC = self.nad_states(encoded), noise.tensors["canvas"]
        states_RTD = self.decoder.states(self.decoder.stack.remember(encoded, nad), noise.tensors["input"])
        targets_N = noise.tensors["target"].flatten().index_select(0, noise.positions_N)
        states_ND = states_RTD.flatten(0, 1).index_select(0, noise.positions_N)
        count = int(noise.host_tensors["positions"].sum())
        places = places_of(~nad.is_padding_BS, count)
        drafted_RC = canvas_RC[:, : nad.states_BSD.shape[1]]
        states, targets = nad.states_BSD.flatten(0, 1).index_select(0, places), drafted_RC.flatten().index_select(0, places)
        lengths_R, positions_R = noise.tensors["lengths"], (~nad.is_padding_BS).sum(1)
        return {
            "ad": Loss(self._cross_entropy(states_ND, targets_N), len(targets_N)),
            "nad": Loss(self._cross_entropy(states, targets), count),
            "beyond": Loss((lengths_R - positions_R).clamp(min=0).sum().float(), lengths_R.sum()),
        }

    def _cross_entropy(self, states_ND: Tensor, targets_N: Tensor) -> Tensor:
        return cross_entropy_sum(states_ND, self.tokens.weight, targets_N, self._label_smoothing)

    def nad_states(self, encoded: Encoded) -> Encoded:
        """Computes the states of the NAD, [B, C, D], with the mask that hides its padding. It reads the sources only."""
        lengths_B = (~encoded.is_padding_BS).sum(1) + self._system.extra_positions - 1
        width = encoded.is_padding_BS.shape[1] + self._system.extra_positions
        is_padding_BC = torch.arange(width, device=lengths_B.device) > lengths_B[:, None]
        mask = visible(is_padding_BC, self.nad.always_masks or encoded.mask is not None)
        input_BCD = copied_input(self.source_tokens, encoded, lengths_B[:, None], width, self._system.copy_source)
        return Encoded(self.nad.stack(input_BCD, mask, self.nad.remember(encoded)), is_padding_BC, mask)

    def search(self, decoding: Decoding) -> Search:
        """Returns beam search with the AD."""
        return NadAdSearch(self.decoder, decoding.beam, decoding.length_penalty, self)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts both decoders with their memories."""
        target_R = lengths_of(noise.tensors["input"])
        decoder = self.pass_flops(work, source_R, target_R) + work.vocabulary(int(target_R.sum()))
        nad = self.nad_flops(work, source_R) + work.vocabulary(int((source_R + self._system.extra_positions).sum()))
        return 3 * (nad + decoder)

    def nad_flops(self, work: ModelFlops, source_B: Tensor) -> int:
        """Counts a forward pass of the NAD, and the keys and values that the AD needs of it and of the encoder."""
        canvas_B = source_B + self._system.extra_positions
        return 2 * work.memory(source_B) + work.nat_pass(source_B, canvas_B, canvas_B) + work.memory(canvas_B)

    def pass_flops(self, work: ModelFlops, source_B: Tensor, target_B: Tensor) -> int:
        """Counts a forward pass of the AD without its memories and predictions."""
        canvas_B, width = source_B + self._system.extra_positions, work.config.width
        second = 4 * width**2 * int(target_B.sum()) + 4 * width * int((target_B * canvas_B).sum())
        return work.at_pass(source_B, target_B) + work.config.decoder_layers * second


@dataclass(frozen=True)
class NadAdSearch(BeamSearch):
    """Beam search with the AD. The NAD runs once, before the first step."""

    branch: NadAdBranch

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay:
        """Runs the NAD, and then the AD over BOS and the pieces."""
        draft = self.branch.nad_states(encoded)
        scores_C, tokens_C = likeliest_pieces(self.branch.nad, draft.states_BSD[0], FORBIDDEN_TO_AT)
        predictions = zip(tokens_C.tolist(), scores_C.tolist(), strict=True)
        positions = tuple(Position(token, log_probability=score) for token, score in predictions)
        confidence = "probability of the piece given the source, the NAD and the pieces before it"
        return Replay((Reading("NAD", self.branch.nad, positions), self.reading(encoded, found, "AD")), confidence)

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts the encoder, the NAD and all steps of a full beam."""
        steps = self.branch.pass_flops(work, source_B, passes_B) + work.vocabulary(int(passes_B.sum()))
        return work.encoder(source_B) + self.branch.nad_flops(work, source_B) + self.beam * steps
