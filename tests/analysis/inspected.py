"""Small untrained models of every system, and a sentence of their vocabulary."""

import random
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch

from mtnat.config import replace
from mtnat.data.vocabulary import Vocabularies, Vocabulary
from mtnat.model import TargetDecoder, Translator
from mtnat.model.layers import DecoderLayer
from mtnat.systems import branch_of
from mtnat.systems.registry import SYSTEMS, kind_of
from mtnat.testing.system_contract import EXPERIMENT
from mtnat.training import Model

SENTENCE = "the old cat sees a green house."
WORDS = re.findall(r"\w+", "the small dog sees a red house and my old cat sleeps in our green garden")
ONLY_AT, BOTH, ONLY_NAT = ({"objective.schedule": {"kind": "constant", "value": value}} for value in (0.0, 0.5, 1.0))
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    **{kind_of(system): {"system.kind": kind_of(system), **BOTH} for system in SYSTEMS},
    **{f"{kind_of(system)} alone": {"system.kind": kind_of(system), **ONLY_NAT} for system in SYSTEMS},
    "transformer": ONLY_AT,
    "the AT decoder of both": {**BOTH, "decoding.decoder": "at"},
    "shared decoder": {"model.shared_decoder": True, **BOTH},
    "shared layers": {"model.shared_decoder_layers": True, **BOTH},
    "shared layers of the NAD": {"system.kind": "nad-ad", "model.shared_decoder_layers": True, **BOTH},
    "fast mask-predict, reranked": {
        "decoding": {"iterations": 8, "length_candidates": 4, "narrow_after": 1, "narrow_to": 2, "rerank": "at"},
        **BOTH,
    },
    "fallback": {"decoding.fallback_below": 0.0, **BOTH},
    "no fallback": {"decoding.fallback_below": -1e9, **BOTH},
    "several lengths": {"system.kind": "vanilla-nat", "decoding.length_candidates": 3, **BOTH},
    "prefix beam of CTC": {"system.kind": "ctc", "decoding.prefix_beam": 3, **BOTH},
    "joint Viterbi": {"system.kind": "da-transformer", "decoding.path": "joint-viterbi", **BOTH},
    "prefix beam of the graph": {"system.kind": "da-transformer", "decoding.prefix_beam": 3, **BOTH},
    "several drafts": {"system.kind": "levenshtein", "decoding.length_candidates": 3, **BOTH},
    "two vocabularies": {"data.joint_vocabulary": False, **BOTH},
}
"""Settings of experiments by what is particular to them."""


@cache
def _vocabulary(seed: int) -> Vocabulary:
    generator = random.Random(seed)
    return Vocabulary.train([" ".join(generator.choices(WORDS, k=8)) + "." for _ in range(200)], 64)


@cache
def model_of(name: str) -> Model:
    """An untrained model. Its positions hold 63 pieces."""
    experiment = replace(EXPERIMENT, dict(SETTINGS[name]))
    joint = experiment.data.joint_vocabulary
    source, target = _vocabulary(1), _vocabulary(1 if joint else 2)
    torch.manual_seed(1)
    translator = experiment.translator_of(len(source), len(target), joint=joint)
    return Model(experiment, translator.eval(), Vocabularies(source, target, joint=joint))


def decoder_of(translator: Translator, name: str) -> TargetDecoder:
    """The only decoder of a branch."""
    [decoder] = [each for each in branch_of(translator, name).modules() if isinstance(each, TargetDecoder)]
    return decoder


def layers_of(translator: Translator, name: str) -> list[DecoderLayer]:
    """The layers of the only decoder of a branch."""
    return [layer for layer in decoder_of(translator, name).stack.layers if isinstance(layer, DecoderLayer)]
