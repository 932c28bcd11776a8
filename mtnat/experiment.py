"""The root record: every setting that determines the result of a run, and none about where it runs."""

from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator

from mtnat.config import Record
from mtnat.data import Dataset
from mtnat.data.config import DataConfig
from mtnat.data.vocabulary import Vocabularies
from mtnat.model import ModelConfig, Precision, Translator
from mtnat.objective import MultiTaskObjective, ObjectiveConfig
from mtnat.systems import BranchName, MaskPredict, branch_of
from mtnat.systems.registry import AnyDecoding, AnySystem, kind_of

Beta = Annotated[float, Field(ge=0, lt=1)]
"""A decay rate of Adam."""


class TrainingConfig(Record):
    """Settings of training; the defaults are the paper's (A.1)."""

    steps: int = Field(300_000, ge=1)
    """T, the number of optimizer updates."""
    max_tokens_per_batch: int = Field(8192, ge=16)
    """Maximum size of a batch in positions, including padding: number of sentences times the longest source or target."""
    batches_per_step: int = Field(1, ge=1)
    """Number of batches whose gradients are summed for one update. The workers divide them among themselves, so the number of
    workers does not change the result."""
    peak_learning_rate: float = Field(5e-4, gt=0)
    """Learning rate at the end of the warm-up."""
    initial_learning_rate: float = Field(1e-7, ge=0)
    """Learning rate at the first update."""
    warmup_steps: int = Field(10_000, ge=0)
    """Number of updates of linear warm-up; afterwards the learning rate falls with the inverse square root of the step."""
    adam_betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.98)
    """β₁ and β₂ of Adam."""
    adam_epsilon: float = Field(1e-6, gt=0)
    """ε of Adam."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay (AdamW), applied to matrices only."""
    clip_norm: float = Field(1.0, ge=0)
    """Maximum gradient norm; larger gradients are scaled down. 0 disables clipping. Not in the paper; fairseq's default is 25,
    which clips far fewer updates."""
    precision: Precision = "auto"
    """Autocast of the forward pass; weights stay float32. auto is bf16 if the processor supports it in hardware, otherwise fp16
    on a GPU and fp32 on a CPU."""
    compile: bool = False
    """Whether the layers are compiled before training. This takes a minute or two and makes steps faster, which pays off for
    long runs on a GPU."""
    most_skipped_steps: int = Field(20, ge=0)
    """Maximum number of consecutive updates that are skipped because of a non-finite gradient; the run fails beyond it."""
    log_every: int = Field(50, ge=1)
    """Number of updates between two points of the training curves."""
    validate_every: int = Field(2_000, ge=1)
    """Number of updates between two validations; each writes a checkpoint. The last step is always validated."""
    valid_sentences: int = Field(0, ge=0)
    """Number of validation sentences that are decoded, from the first; 0 is all."""
    keep_checkpoints: int = Field(5, ge=1)
    """Number of checkpoints kept on disk: the last ones and the best one, or, for `average_best`, the best ones and the last
    one. Also the number of checkpoints in an average (A.1: 5)."""
    model: Literal["best", "last", "average_last", "average_best"] = "best"
    """The final weights of a run: best is the checkpoint with the best validation score, last the last one, average_last and
    average_best the mean of the last or of the best `keep_checkpoints` checkpoints. The paper averages the last five (A.1)."""
    patience: int = Field(0, ge=0)
    """Number of consecutive validations without a better score after which a run stops early; 0 disables early stopping. T, and
    with it every schedule, still follows `steps`."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay per update of an exponential moving average of the weights, which covers about 1 / (1 − decay) updates. If set, the
    averaged weights are the ones that are validated, averaged and saved. 0 disables it."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps must be below steps; got {self.warmup_steps} and {self.steps}")
        return self


class Experiment(Record):
    """All settings of one run. Equal experiments on equal hardware give equal results."""

    data: DataConfig
    """The corpus and its vocabulary."""
    model: ModelConfig = ModelConfig()
    """The size and shape of the Transformer."""
    system: AnySystem = MaskPredict()
    """The kind of non-autoregressive translation."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """The losses and their weights."""
    training: TrainingConfig
    """The length of the training, its batches and its optimizer."""
    decoding: AnyDecoding = Field(default_factory=lambda settings: settings["system"].default_decoding)
    """The search that translates; left out, that of the system."""
    seed: int = Field(1, ge=0, lt=2**31)
    """Seed of the initial weights, the batch order, the masks and dropout."""

    @field_validator("decoding", mode="before")
    @classmethod
    def _decodes_as_its_system(cls, decoding: Any, info: ValidationInfo) -> Any:
        """Adds the settings in which the system's default decoding differs from the defaults of its kind."""
        if not (isinstance(decoding, Mapping) and "system" in info.data):
            return decoding
        default = info.data["system"].default_decoding
        kind = kind_of(type(default))
        if decoding.get("kind", kind) != kind:
            return decoding
        return {"kind": kind, **default.model_dump(mode="json", exclude_defaults=True), **decoding}

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.decoding.decoder not in ("auto", *self.branches):
            chosen = self.decoding.decoder
            raise ValueError(
                f"decoding.decoder: {chosen} needs an objective that trains the {chosen.upper()} decoder; "
                f"got one that trains {' and '.join(self.branches)} only"
            )
        if self.decoding.rerank != "none" and len(self.branches) < 2:
            raise ValueError("decoding.rerank: at needs an objective that trains both decoders; got one of them alone")
        if self.decoding.fallback_below is not None and len(self.branches) < 2:
            raise ValueError(
                "decoding.fallback_below: needs an objective that trains both decoders; got one of them alone; leave it out"
            )
        if self.model.shared_decoder and not self.system.is_aligned:
            raise ValueError(
                "model.shared_decoder: needs a system whose decoder has a position for each target piece; "
                f"got {kind_of(type(self.system))}; set shared_decoder_layers: true instead"
            )
        if self.objective.directions and len(self.branches) < 2:
            raise ValueError(
                f"objective.interaction: {self.objective.interaction} needs an objective that trains both decoders; "
                "got one of them alone; set interaction: none"
            )
        if self.objective.directions and not self.system.is_aligned:
            raise ValueError(
                f"objective.interaction: {self.objective.interaction} needs a system whose decoder has a position for each "
                f"target piece; got {kind_of(type(self.system))}; set interaction: none"
            )
        if self.objective.raw_prior and not self.system.is_aligned:
            raise ValueError(
                "objective.raw_prior: needs a system whose decoder has a position for each target piece; "
                f"got {kind_of(type(self.system))}; set raw_prior: false"
            )
        if not isinstance(self.decoding, self.system.decodings):
            fitting = " or ".join(f"decoding: {{kind: {kind_of(kind)}}}" for kind in self.system.decodings)
            raise ValueError(
                f"decoding.kind: {kind_of(type(self.decoding))} does not decode the system {kind_of(type(self.system))}; "
                f"set {fitting}"
            )
        if 0 in (lengths := [end - start for start, end in pairwise((0, *self.stage_ends))]):
            raise ValueError(f"data.stages must have at least one step each; got {lengths} of {self.training.steps} steps")
        if self.data.max_length > self.model.max_positions:
            raise ValueError(
                "data.max_length must not exceed model.max_positions; "
                f"got {self.data.max_length} and {self.model.max_positions}"
            )
        return self

    @property
    def branches(self) -> tuple[BranchName, ...]:
        """Names of the branches that the objective trains, the AT branch first."""
        return self.system.trained(self.objective)

    @property
    def decoder(self) -> BranchName:
        """The branch that translates, with ``auto`` resolved."""
        return self.branches[-1] if self.decoding.decoder == "auto" else self.decoding.decoder

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """The number of updates after which each stage of the training text ends; only T if there are no stages."""
        return self.data.stage_ends(self.training.steps)

    def stage_of(self, step: int) -> int:
        """Returns the stage of the training text, from 0, in the update after this many updates."""
        return bisect_right(self.stage_ends[:-1], step)

    @property
    def can_teach(self) -> bool:
        """Whether the experiment trains an AT decoder, which a teacher needs."""
        return "at" in self.branches

    @property
    def reads_teacher(self) -> bool:
        """Whether the loss of its NAT decoder needs a frozen teacher."""
        return self.system.needs_teacher and "nat" in self.branches

    def build_translator(self, vocabularies: Vocabularies) -> Translator:
        """Builds a translator with the branches that the objective trains. PyTorch's global generator draws its weights."""
        return self.translator_of(len(vocabularies.source), len(vocabularies.target), joint=vocabularies.joint)

    def build_objective(self, translator: Translator, dataset: Dataset | None = None) -> MultiTaskObjective:
        """Builds Eq. 1 over a translator's branches.

        Args:
            dataset: the prepared data of this experiment, from which the system's tables are made and whose cache keeps them.
                It may be omitted if the system needs no tables.
        """
        if dataset is not None:
            tables = self.system.prepare(self.objective, self.data, dataset.cache)
            for name in translator.branches if tables else ():
                branch_of(translator, name).use(tables)
        absent = self.system.untrained_branches(self.model, self.objective, translator.target_tokens)
        return MultiTaskObjective(translator, self.objective, self.system.weights, absent)

    @property
    def parameters(self) -> int:
        """Number of parameters of the translator, counted without allocating them."""
        with torch.device("meta"):
            pieces = self.data.vocabulary_size
            translator = self.translator_of(pieces, pieces, joint=self.data.joint_vocabulary)
        return sum(weight.numel() for weight in translator.parameters())

    def translator_of(self, source_pieces: int, target_pieces: int, *, joint: bool) -> Translator:
        """Builds a translator for vocabularies of these sizes."""
        return Translator(
            self.model,
            source_vocabulary_size=source_pieces,
            target_vocabulary_size=target_pieces,
            joint=joint,
            branches=lambda tokens: self.system.branches(self.model, self.objective, tokens),
        )
