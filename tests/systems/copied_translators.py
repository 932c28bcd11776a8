"""Small translators with a system whose decoder reads a copy of the source."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mtnat.model import ModelConfig, Translator
from mtnat.objective import Moment, MultiTaskObjective, Noise, ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems import Branch, System
from mtnat.tokens import EOS, PAD

VOCABULARY = 12
MODEL = ModelConfig(
    width=8, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=2, dropout=0.0, norm="pre", max_positions=16
)
BOTH = ObjectiveConfig(schedule=Constant(value=0.5))
NOW = Moment(0, 100, 1)


def translator_of(
    system: System,
    model: ModelConfig = MODEL,
    *,
    source_vocabulary: int | None = None,
    objective: ObjectiveConfig = BOTH,
    std: float = 0.4,
) -> Translator:
    """A translator with an AT branch and the system's branch, with weights so large that its predictions differ."""
    torch.manual_seed(1)
    translator = Translator(
        model,
        source_vocabulary_size=source_vocabulary or VOCABULARY,
        target_vocabulary_size=VOCABULARY,
        joint=source_vocabulary is None,
        branches=lambda tokens: system.branches(model, objective, tokens),
    )
    for parameter in translator.parameters():
        nn.init.normal_(parameter, std=std)
    return translator.eval()


def objective_of(translator: Translator, system: System, config: ObjectiveConfig = BOTH) -> MultiTaskObjective:
    """Eq. 1 over the branches of a translator."""
    untrained = system.untrained_branches(translator.config, config, translator.target_tokens)
    return MultiTaskObjective(translator, config, system.weights, untrained)


def rows(*sentences: Sequence[int]) -> Tensor:
    """Sentences with EOS, padded to a rectangle."""
    width = max(map(len, sentences)) + 1
    return torch.tensor([[*row, EOS, *[PAD] * (width - len(row) - 1)] for row in sentences])


def noise_of(branch: Branch, source_BS: Tensor, target_BT: Tensor, moment: Moment = NOW, seed: int = 1) -> Noise:
    """The noise of all sentences."""
    noise = branch.draw(source_BS, target_BT, moment, torch.Generator().manual_seed(seed))
    return noise.only(torch.ones(len(target_BT), dtype=torch.bool))
