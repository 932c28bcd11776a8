"""The part of the study file on what the encoders represent."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mtnat.analysis.encoders import Unit
from mtnat.analysis.probing import FOLDS, Pooling
from mtnat.analysis.probing.tasks import SENTENCES
from mtnat.config import Record


class SimilarityOverTraining(Record):
    """Compares the encoder of every confirmed run with those of other runs after the same numbers of steps, and in the end
    (Hao et al. 2021, Figure 2). The states of the top layers are compared, on the first sentences of the training text.
    Encoders of the same seed are compared only if there is no other seed: they have the same batches and may begin with the
    same weights."""

    against: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    """Baselines whose encoders all others are compared with. Each trial is also compared with its own other seeds, which shows
    how similar two trainings of one system are."""
    sentences: int = Field(2_000, ge=2)
    """Number of sentences."""
    unit: Unit = "piece"
    """What is compared: the states of pieces, or their means over sentences. Trials with different vocabularies need the
    latter."""


class ProbingInTheEnd(Record):
    """Trains classifiers of linguistic properties on the encodings of every confirmed run (Hao et al. 2021, Tables 1 and 4)."""

    tasks: str | None = None
    """Folder of tasks, as for `mtnat probe`. Left out, the ten tasks of the embedded grammar for its English sentences, and for
    other corpora the three tasks that can be made of the training text."""
    sentences: int = Field(SENTENCES, ge=2 * FOLDS)
    """Largest number of sentences of a task."""
    epochs: int = Field(4, ge=1)
    """Passes of a classifier over its sentences."""
    layer: int = -1
    """Number of the encoder layer, from 0 (the embeddings); −1 is the top layer."""
    pooling: Pooling = "mean"
    """How the states of a sentence become one vector."""
    over_training: bool = False
    """Whether the encoders that are kept every so many steps are probed too, which multiplies the time."""


class Analysis(Record):
    """What the encoders of all confirmed runs represent. It is computed when all of them have ended."""

    every: int | None = Field(None, ge=1)
    """Number of steps between two encoders that a run keeps. Left out, only the final models are analysed."""
    similarity: SimilarityOverTraining | None = None
    """Left out, encoders are not compared."""
    probing: ProbingInTheEnd | None = None
    """Left out, encoders are not probed."""

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        if self.similarity is None and self.probing is None:
            raise ValueError("must contain similarity or probing")
        return self

    @model_validator(mode="after")
    def _steps_are_used(self) -> Self:
        if self.every is not None and self.similarity is None and not (self.probing and self.probing.over_training):
            raise ValueError("every: nothing is computed over training; add similarity or probing.over_training, or drop it")
        if self.every is None and self.probing and self.probing.over_training:
            raise ValueError("probing.over_training: needs every, the steps at which encoders are kept")
        return self
