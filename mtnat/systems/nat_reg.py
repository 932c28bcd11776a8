"""NAT-REG (Wang et al. 2019): a single-pass NAT with two regularisers of the decoder's last states."""

# B batch, R sentences that the branch sees, S source, T target, D width, V vocabulary, N pieces

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from mtnat.model import Decoder, Encoded, ModelConfig
from mtnat.model.flops import ModelFlops, lengths_of
from mtnat.model.layers import visible
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig, cross_entropy_sum
from mtnat.systems.at import shift_right
from mtnat.systems.branch import Branch
from mtnat.systems.copied_source import CopiedSource, CopiedSourceBranch
from mtnat.systems.places import places_of
from mtnat.tokens import PAD


class NatReg(CopiedSource):
    """NAT with auxiliary regularisation (Wang et al. 2019): L = L_nll + a·L_sim + b·L_rec.

    L_sim makes neighbouring states different where the target tokens are, against repeated translations. L_rec makes the states
    keep the whole source, against incomplete ones. Both regularisers are described in the paper's abstract. Their formulas and
    the weights a = 2 and b = 0.5 are not confirmed by a source that we could read; a study should search the weights.
    """

    kind: Literal["nat-reg"] = "nat-reg"
    similarity_weight: float = Field(2.0, ge=0)
    """a, the weight of the similarity of neighbouring states, relative to the cross-entropy."""
    reconstruction_weight: float = Field(0.5, ge=0)
    """b, the weight of the cross-entropy of the source, which a second decoder reconstructs from the states. Its decoder is
    trained along, saved with the model, and not used for translation."""

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return NatRegBranch(self, model, objective, tokens, layers)


class NatRegBranch(CopiedSourceBranch):
    """The branch of the vanilla NAT, and a backward decoder that reads its states.

    The parts of the loss are means of their own: of the pieces, of the pairs of neighbouring pieces, and of the source's
    tokens. The weights of the regularisers therefore do not depend on how long a target is.

    Unlike the paper, as far as we know it: The encoder and the backward decoder are not initialised from AT models, but trained
    from the beginning. The backward decoder has the size of the other decoders. The state of the position after the last piece,
    which has no loss here, is hidden from it.

    The states attend to the source, so the reconstruction can become easy without better translations: compare
    ``train/loss_reconstruction`` with the validation score.
    """

    parts: ClassVar[tuple[str, ...]] = ("nat", "similarity", "reconstruction", "length")

    def __init__(
        self,
        system: NatReg,
        model: ModelConfig,
        objective: ObjectiveConfig,
        tokens: nn.Embedding,
        layers: nn.ModuleList | None = None,
    ) -> None:
        super().__init__(system, model, objective, tokens, layers)
        self.backward_decoder = Decoder(model, causal=True)
        self._weights = {"similarity": system.similarity_weight, "reconstruction": system.reconstruction_weight}

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part: a, b, that of the length, or 1."""
        return self._weights.get(part, super().weight_of(part))

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws nothing."""
        noise = super().draw(source_BS, target_BT, moment, generator)
        sources_B = lengths_of(source_BS)
        predictions = {"similarity": noise.tensors["lengths"] - 1, "reconstruction": sources_B}
        return Noise(
            tensors=noise.tensors,
            predictions={**noise.predictions, **predictions},
            head_tensors=noise.head_tensors,
            host_tensors={"sources": sources_B},
            read=noise.read,
        )

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the cross-entropy of every piece and both regularisers."""
        assert noise.positions_N is not None
        encoded = encoded.only(noise.rows_R)
        states_RTD = self.target_states(encoded, noise)
        states_ND = states_RTD.flatten(0, 1).index_select(0, noise.positions_N)
        return {
            "nat": self.cross_entropy(states_ND, noise),
            "similarity": self._similarity(states_ND, noise),
            "reconstruction": self._reconstruction(encoded, states_RTD, noise),
        }

    def _similarity(self, states_ND: Tensor, noise: Noise) -> Loss:
        assert noise.positions_N is not None
        target_RT = noise.tensors["target"]
        targets_N = target_RT.flatten().index_select(0, noise.positions_N)
        sentences_N = noise.positions_N // target_RT.shape[1]
        are_neighbours = sentences_N[1:] == sentences_N[:-1]
        similarities = neighbour_similarities(states_ND, targets_N, self.tokens.weight)
        return Loss((similarities * are_neighbours).sum(), are_neighbours.sum())

    def _reconstruction(self, encoded: Encoded, states_RTD: Tensor, noise: Noise) -> Loss:
        """Computes the cross-entropy of the source, given the tokens before each and the decoder's states."""
        source_RS = encoded.source_BS
        assert source_RS is not None
        is_hidden_RT = ~noise.tensors["is_piece"]
        memory = self.backward_decoder.remember(Encoded(states_RTD, is_hidden_RT, visible(is_hidden_RT, True)))
        states_RSD = self.backward_decoder(self.source_tokens(shift_right(source_RS)), None, memory)
        count = int(noise.host_tensors["sources"].sum())
        places = places_of(source_RS != PAD, count)
        states, targets = (each.flatten(0, 1).index_select(0, places) for each in (states_RSD, source_RS[:, :, None]))
        total = cross_entropy_sum(states, self.source_tokens.weight, targets.squeeze(1), self._label_smoothing)
        return Loss(total, count)

    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the vanilla NAT with all positions in its last layer, and the backward decoder."""
        pieces_R = noise.tensors["lengths"]
        forward = self.pass_flops(work, source_R, pieces_R, pieces_R + 1) + work.memory(source_R)
        backward = work.memory(pieces_R) + work.at_pass(pieces_R, source_R)
        predictions = work.vocabulary(int(pieces_R.sum() + source_R.sum())) + work.lengths(len(noise.head_tensors["lengths"]))
        return 3 * (forward + backward + predictions)

    def compile_stacks(self) -> None:
        """Compiles both decoders."""
        super().compile_stacks()
        self.backward_decoder.compile(dynamic=True)


def neighbour_similarities(states_ND: Tensor, tokens_N: Tensor, weight_VD: Tensor) -> Tensor:
    """Computes 1 + cos(hₜ, hₜ₊₁)·(1 − cos(eₜ, eₜ₊₁)) of neighbouring states h and the embeddings e of their tokens, [N − 1].

    The embeddings get no gradient. For equal tokens the value is 1, whatever the states are. It is 2 for equal states of tokens
    with orthogonal embeddings.
    """
    states_ND, embedded_ND = states_ND.float(), weight_VD.detach().float().index_select(0, tokens_N)
    of_states = functional.cosine_similarity(states_ND[:-1], states_ND[1:])
    of_tokens = functional.cosine_similarity(embedded_ND[:-1], embedded_ND[1:])
    # Rounding must not give equal tokens a gradient.
    difference = torch.where(tokens_N[:-1] == tokens_N[1:], 0.0, 1 - of_tokens)
    return 1 + of_states * difference
