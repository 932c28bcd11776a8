"""Writes a study file to begin with, for a corpus and a machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtnat.config import to_yaml
from mtnat.data.config import DataConfig

SCHEMAS = Path(__file__).parents[2] / "schemas"
"""The folder of the JSON schemas of study and experiment files."""


@dataclass(frozen=True)
class Size:
    """The size of the model and of its training."""

    most_pairs: float
    """The largest corpus, in training pairs, that this size is for."""
    about: str
    vocabulary_size: int
    model: Mapping[str, Any]
    steps: int
    max_tokens_per_batch: int
    peak_learning_rate: float
    warmup_steps: int
    validations: int
    """Number of validations of a run."""
    valid_sentences: int
    batches_per_step: int = 1


_TINY = {"width": 128, "heads": 4, "feed_forward": 256, "encoder_layers": 1, "decoder_layers": 2, "dropout": 0.1, "norm": "pre"}
_SMALL = {"width": 256, "heads": 4, "feed_forward": 1024, "encoder_layers": 3, "decoder_layers": 3, "norm": "pre"}
_BASE = {"width": 512, "heads": 8, "feed_forward": 2048, "encoder_layers": 6, "decoder_layers": 6}
_ANY = float("inf")
CPU = (
    Size(5_000, "a very small model and a few hundred steps", 2_000, _TINY, 400, 384, 2e-3, 100, 2, 100),
    Size(25_000, "a very small model and a few hundred steps", 3_000, _TINY, 500, 384, 2e-3, 100, 2, 100),
    Size(_ANY, "a small model and a short training", 8_000, _SMALL | {"dropout": 0.1}, 1_000, 1_792, 2e-3, 200, 2, 100),
)
GPU = (
    Size(25_000, "a small model and a few thousand steps", 3_000, _SMALL | {"dropout": 0.1}, 3_000, 4_096, 1e-3, 500, 6, 500),
    Size(
        300_000, "a small model and a few thousand steps", 8_000, _SMALL | {"dropout": 0.3}, 5_000, 8_192, 1e-3, 1_000, 10, 500
    ),
    Size(
        2e6,
        "the paper's model and a short training",
        16_000,
        _BASE | {"dropout": 0.3},
        30_000,
        8_192,
        5e-4,
        4_000,
        15,
        1_000,
        2,
    ),
    Size(
        _ANY,
        "the paper's model and a third of its steps",
        32_000,
        _BASE | {"dropout": 0.1},
        100_000,
        16_384,
        5e-4,
        10_000,
        25,
        0,
        2,
    ),
)


def size_for(pairs: int, *, has_gpu: bool) -> Size:
    """Returns the size that suits a number of training pairs and the machine."""
    return next(size for size in (GPU if has_gpu else CPU) if pairs <= size.most_pairs)


def draft(about: str, data: DataConfig, pairs: int, size: Size, *, has_gpu: bool, command: str) -> str:
    """Returns the text of a study file, with comments.

    Args:
        about: the corpus in a few words.
        data: the corpus and its vocabulary.
        pairs: its number of training pairs.
        command: the command that runs the study.
    """
    machine = "with a GPU" if has_gpu else "without a GPU"
    saving = "" if has_gpu else ", at_fraction: 0.5"
    why_saving = "" if has_gpu else " With at_fraction 0.5\n  # the AT decoder sees half of the sentences, which saves time."
    where = "" if data.corpus else "\n  # The paths are relative to $MTNAT_DATA, or else to data/."
    resources = {"workers": 1, "cpus_per_worker": 1, **({"gpus_per_worker": 1} if has_gpu else {})}
    question = f"Does an annealed AT decoder improve Mask-Predict on {about}, and which schedule translates best?"
    return f"""\
# yaml-language-server: $schema={(SCHEMAS / "study.schema.json").as_uri()}

# The question that the study answers. The answer at its end refers to it.
{to_yaml({"question": question})}
# The settings that all trials share. They suit {pairs:,} training pairs on a machine {machine}:
# {size.about}. With more time, raise training.steps first.
experiment:
  # The text and its vocabulary. The search is scored on valid; test is scored once, at the end.{where}
  data:{_block(data.model_dump(mode="json", exclude_unset=True), 4)}
  # A Transformer. The NAT decoder and the AT decoder share its encoder.
  model: {_line(dict(size.model))}
  # The weight λ of the NAT loss rises from 0 to 1 during training (importance annealing).{why_saving}
  objective: {{schedule: {{kind: linear}}{saving}}}
  training:
    steps: {size.steps}
    max_tokens_per_batch: {size.max_tokens_per_batch}
    batches_per_step: {size.batches_per_step}
    peak_learning_rate: {size.peak_learning_rate}
    warmup_steps: {size.warmup_steps}
    validate_every: {size.steps // size.validations}
    valid_sentences: {size.valid_sentences}
    keep_checkpoints: 1
  seed: 1

# Trials that always run: the settings in which each differs from the experiment.
baselines:
  mask-predict: {{objective.schedule: {{kind: constant, value: 1.0}}}}               # without an AT decoder
  importance annealing: {{objective.schedule: {{kind: linear}}}}                     # as in the experiment
  ctc: {{system.kind: ctc, objective.schedule: {{kind: constant, value: 1.0}}}}      # translates in one pass

# What the search varies, and the number of its proposals: the shape of λ.
search:
  objective.schedule.kind: {{choice: [power, cosine, sigmoid]}}
  objective.schedule.exponent: {{float: [0.5, 4.0], log: true, when: {{objective.schedule.kind: power}}}}
trials: 4
metric: valid.bleu

# The best proposal and all baselines are trained with these seeds, and each run is scored on the test text.
# The seed of the search is not among them, because it chose the proposal.
confirm: {{top: 1, seeds: [2, 3, 4], against: mask-predict}}

# What one run takes. As many runs go on at the same time as the machine holds.
resources: {_line(resources)}

# {command} --dry-run    shows the runs and estimates the time
# {command}
"""


def _line(data: Mapping[str, Any]) -> str:
    return to_yaml(data, one_line=True).strip()


def _block(data: Mapping[str, Any], spaces: int) -> str:
    """Returns settings as lines, each value on its line."""
    lines = [f"{name}: {to_yaml({'v': value}, one_line=True).strip()[4:-1]}" for name, value in data.items()]
    return "".join(f"\n{' ' * spaces}{line}" for line in lines)
