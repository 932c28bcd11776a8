"""The contract of `mtnat.testing` fails for systems that break it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pytest
import torch
from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, MaskPredictDecoding
from mtnat.model import Encoded, ModelConfig
from mtnat.objective import Loss, Moment, Noise, ObjectiveConfig
from mtnat.systems import Branch, MaskPredictBranch, System
from mtnat.testing.system_contract import SETTINGS, SystemContract

ALONE, BESIDE_AT = SETTINGS["alone"], SETTINGS["with shared layers"]


class Scaled(MaskPredictBranch):
    """Mask-Predict whose loss is multiplied by a parameter of its own."""

    def __init__(self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding) -> None:
        super().__init__(model, objective, tokens)
        self.scale = nn.Parameter(torch.ones(()))

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        loss = super().losses(encoded, noise, moment)["nat"]
        return {"nat": Loss(loss.sum * self.scale, loss.count)}


class Forgetful(Scaled):
    """`reads` lacks a parameter that the loss reads."""

    def reads(self) -> list[Tensor]:
        return [weight for weight in super().reads() if weight is not self.scale]


class HalfForgetful(Scaled):
    """`reads` lacks the embeddings, which get another gradient from the encoder."""

    def reads(self) -> list[Tensor]:
        return [*self.parameters()]


class Averaging(Scaled):
    """Averages over the sentences that it is given, so that the parts of a batch do not add up to it."""

    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        loss = super().losses(encoded, noise, moment)["nat"]
        return {"nat": Loss(loss.sum / noise.sentences, loss.count)}


class Careless(Scaled):
    """Draws its noise from PyTorch's global generator."""

    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        return super().draw(source_BS, target_BT, moment, torch.default_generator)


class Broken(System):
    """A system with one of these branches."""

    decodings: ClassVar[tuple[type[Decoding], ...]] = (MaskPredictDecoding,)
    branch: ClassVar[type[Scaled]] = Scaled

    kind: Literal["broken"] = "broken"

    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        return self.branch(model, objective, tokens)


def contract(branch: type[Scaled]) -> SystemContract:
    made = SystemContract()
    made.system = type("OneBroken", (Broken,), {"branch": branch, "__module__": __name__, "__annotations__": {}})()
    made.decoding = MaskPredictDecoding(iterations=2, length_candidates=3)
    return made


@pytest.mark.parametrize("settings", [ALONE, BESIDE_AT])
def test_a_branch_that_keeps_the_contract_passes(settings: Mapping[str, Any]) -> None:
    kept = contract(Scaled)
    kept.test_every_parameter_of_the_translator_gets_a_gradient(settings)
    kept.test_the_gradients_are_those_of_an_ordinary_backward_pass(settings)
    kept.test_the_micro_batches_of_a_batch_add_up_to_it(settings, 3)
    kept.test_the_noise_depends_on_the_generator_alone(settings)


@pytest.mark.parametrize("settings", [ALONE, BESIDE_AT])
def test_a_parameter_that_the_loss_reads_and_reads_does_not_list_is_found(settings: Mapping[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"no gradient: \['branches\.nat\.scale'\].*`Branch\.reads` does not list them"):
        contract(Forgetful).test_every_parameter_of_the_translator_gets_a_gradient(settings)


def test_a_gradient_that_lacks_a_part_is_found() -> None:
    broken = contract(HalfForgetful)
    broken.test_every_parameter_of_the_translator_gets_a_gradient(ALONE)
    with pytest.raises(AssertionError, match="target_tokens"):
        broken.test_the_gradients_are_those_of_an_ordinary_backward_pass(ALONE)


def test_a_sum_that_is_an_average_is_found() -> None:
    with pytest.raises(AssertionError):
        contract(Averaging).test_the_micro_batches_of_a_batch_add_up_to_it(ALONE, 3)


def test_noise_from_another_generator_is_found() -> None:
    with pytest.raises(AssertionError, match="global generator"):
        contract(Careless).test_the_noise_depends_on_the_generator_alone(ALONE)
