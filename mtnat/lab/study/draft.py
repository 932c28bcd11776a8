"""Writes a study file to begin with, for a corpus and a machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtnat.config import to_yaml
from mtnat.data.config import DataConfig

SCHEMAS = Path(__file__).parents[2] / "schemas"
"""The folder of the JSON schemas of study and experiment files."""


@dataclass(frozen=True, kw_only=True)
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
    Size(
        most_pairs=5_000,
        about="a very small model and a few hundred steps",
        vocabulary_size=2_000,
        model=_TINY,
        steps=400,
        max_tokens_per_batch=384,
        peak_learning_rate=2e-3,
        warmup_steps=100,
        validations=2,
        valid_sentences=100,
    ),
    Size(
        most_pairs=25_000,
        about="a very small model and a few hundred steps",
        vocabulary_size=3_000,
        model=_TINY,
        steps=500,
        max_tokens_per_batch=384,
        peak_learning_rate=2e-3,
        warmup_steps=100,
        validations=2,
        valid_sentences=100,
    ),
    Size(
        most_pairs=_ANY,
        about="a small model and a short training",
        vocabulary_size=8_000,
        model=_SMALL | {"dropout": 0.1},
        steps=1_000,
        max_tokens_per_batch=1_792,
        peak_learning_rate=2e-3,
        warmup_steps=200,
        validations=2,
        valid_sentences=100,
    ),
)
GPU = (
    Size(
        most_pairs=25_000,
        about="a small model and a few thousand steps",
        vocabulary_size=3_000,
        model=_SMALL | {"dropout": 0.1},
        steps=3_000,
        max_tokens_per_batch=4_096,
        peak_learning_rate=1e-3,
        warmup_steps=500,
        validations=6,
        valid_sentences=500,
    ),
    Size(
        most_pairs=300_000,
        about="a small model and a few thousand steps",
        vocabulary_size=8_000,
        model=_SMALL | {"dropout": 0.3},
        steps=5_000,
        max_tokens_per_batch=8_192,
        peak_learning_rate=1e-3,
        warmup_steps=1_000,
        validations=10,
        valid_sentences=500,
    ),
    Size(
        most_pairs=2e6,
        about="the paper's model and a short training",
        vocabulary_size=16_000,
        model=_BASE | {"dropout": 0.3},
        steps=30_000,
        max_tokens_per_batch=8_192,
        peak_learning_rate=5e-4,
        warmup_steps=4_000,
        validations=15,
        valid_sentences=1_000,
        batches_per_step=2,
    ),
    Size(
        most_pairs=_ANY,
        about="the paper's model and a third of its steps",
        vocabulary_size=32_000,
        model=_BASE | {"dropout": 0.1},
        steps=100_000,
        max_tokens_per_batch=16_384,
        peak_learning_rate=5e-4,
        warmup_steps=10_000,
        validations=25,
        valid_sentences=0,
        batches_per_step=2,
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
# {size.about}. With more time, raise training.steps first. With less, use fewer seeds and trials, then fewer steps.
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
