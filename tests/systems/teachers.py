"""Untrained AT models as teachers."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from copied_translators import MODEL, translator_of

from mtnat.config import build, replace
from mtnat.data import Dataset, prepare
from mtnat.experiment import Experiment
from mtnat.model import ModelConfig, Translator
from mtnat.objective import ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems import MaskPredict
from mtnat.training import Model, save_model

ONLY_AT = ObjectiveConfig(schedule=Constant(value=0.0))
EXPERIMENT = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 64},
    "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 2, "max_positions": 64},
    "system": {"kind": "hint-nat"},
    "training": {
        "steps": 4,
        "max_tokens_per_batch": 256,
        "warmup_steps": 1,
        "log_every": 1,
        "validate_every": 2,
        "valid_sentences": 4,
        "precision": "fp32",
    },
}
"""A small experiment whose system needs a teacher."""


@cache
def dataset() -> Dataset:
    """The corpus of the experiment."""
    return prepare(build(Experiment, EXPERIMENT).data)


def teacher_of(model: ModelConfig = MODEL, *, std: float = 0.3, vocabulary: int | None = None) -> Translator:
    """A teacher in memory, with random weights."""
    if vocabulary is None:
        return translator_of(MaskPredict(), model, objective=ONLY_AT, std=std)
    torch.manual_seed(3)
    return Translator(
        model,
        source_vocabulary_size=vocabulary,
        target_vocabulary_size=vocabulary,
        joint=True,
        branches=lambda tokens: MaskPredict().branches(model, ONLY_AT, tokens),
    )


def saved_teacher(folder: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """The folder of an AT model for the experiment, with some settings changed."""
    alone = {"objective.schedule": {"kind": "constant", "value": 0.0}, "system": {"kind": "mask-predict"}}
    experiment = replace(build(Experiment, EXPERIMENT), {**alone, **(settings or {})})
    vocabularies = prepare(experiment.data).vocabularies
    torch.manual_seed(5)
    save_model(Model(experiment, experiment.build_translator(vocabularies), vocabularies), folder)
    return folder
