"""Small translators with the branches of Mask-Predict, and their branches by type."""

import torch
from torch import Generator, Tensor

from mtnat.model import ModelConfig, Translator
from mtnat.objective import Draw, Moment, MultiTaskObjective, ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems import AtBranch, MaskPredict, MaskPredictBranch, branch_of

BOTH = ObjectiveConfig(schedule=Constant(value=0.5))
"""An objective that trains both branches with the same weight."""
ONLY_AT = ObjectiveConfig(schedule=Constant(value=0.0))
ONLY_NAT = ObjectiveConfig(schedule=Constant(value=1.0))


def translator_of(
    model: ModelConfig,
    vocabulary: int,
    objective: ObjectiveConfig = BOTH,
    *,
    source_vocabulary: int | None = None,
    kind: type[Translator] = Translator,
) -> Translator:
    """A translator with the branches that the objective trains.

    Args:
        source_vocabulary: size of a source vocabulary of its own; by default the vocabulary is joint.
    """
    return kind(
        model,
        source_vocabulary_size=source_vocabulary or vocabulary,
        target_vocabulary_size=vocabulary,
        joint=source_vocabulary is None,
        branches=lambda tokens: MaskPredict().branches(model, objective, tokens),
    )


def objective_of(translator: Translator, config: ObjectiveConfig) -> MultiTaskObjective:
    """Eq. 1 over the branches of a translator."""
    system = MaskPredict()
    untrained = system.untrained_branches(translator.config, config, translator.target_tokens)
    return MultiTaskObjective(translator, config, system.weights, untrained)


def at(translator: Translator) -> AtBranch:
    branch = branch_of(translator, "at")
    assert isinstance(branch, AtBranch)
    return branch


def nat(translator: Translator) -> MaskPredictBranch:
    branch = branch_of(translator, "nat")
    assert isinstance(branch, MaskPredictBranch)
    return branch


def draw_of(objective: MultiTaskObjective, source_BS: Tensor, target_BT: Tensor, seed: int = 1, step: int = 0) -> Draw:
    """A batch with noise, drawn at a step of 100."""
    return objective.draw(source_BS, target_BT, Moment(step, 100), Generator().manual_seed(seed))


def gradients(translator: Translator) -> dict[str, Tensor]:
    """Every parameter's gradient by name, 0 where it has none."""
    named = translator.named_parameters()
    return {name: torch.zeros_like(each) if each.grad is None else each.grad.clone() for name, each in named}
