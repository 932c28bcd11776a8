"""The root record: everything that decides what one run computes, and nothing about where it runs."""

from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator

from mtnat.config import Record
from mtnat.data.config import DataConfig
from mtnat.data.vocabulary import Vocabularies
from mtnat.decoding import MaskPredictDecoding
from mtnat.model import ModelConfig, Precision, Translator
from mtnat.objective import MultiTaskObjective, ObjectiveConfig
from mtnat.systems import BranchName, MaskPredict
from mtnat.systems.registry import AnyDecoding, AnySystem, kind_of


class TrainingConfig(Record):
    """How the objective is minimised; the defaults are the paper's (A.1)."""

    steps: int = Field(300_000, ge=1)
    """T, the number of optimizer updates."""
    max_tokens_per_batch: int = Field(8192, ge=16)
    """Positions of one batch, padding included: sentences times the longest side."""
    batches_per_step: int = Field(1, ge=1)
    """Batches whose gradients make one update. Workers share them, so the number of workers never changes the result."""
    peak_learning_rate: float = Field(5e-4, gt=0)
    """Learning rate at the end of the warm-up."""
    initial_learning_rate: float = Field(1e-7, ge=0)
    """Learning rate at the first update."""
    warmup_steps: int = Field(10_000, ge=0)
    """Updates over which the learning rate rises; afterwards it falls with the inverse square root of the step."""
    adam_betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.98)
    """Adam's decay rates."""
    adam_epsilon: float = Field(1e-6, gt=0)
    """Adam's ε."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay (AdamW), of matrices only."""
    clip_norm: float = Field(1.0, ge=0)
    """Largest gradient norm; 0 does not clip."""
    precision: Precision = "auto"
    """Autocast of the forward pass; weights stay float32. auto is bf16 where the processor
    has it in hardware, fp16 on older GPUs, else fp32."""
    compile: bool = False
    """Compiles the model's layers before training: faster steps after a minute or two; worth it for long runs on a GPU."""
    most_skipped_steps: int = Field(20, ge=0)
    """Most updates in a row that may be skipped because their gradient is not finite; more end the run."""
    log_every: int = Field(50, ge=1)
    """Updates between two points of the training curves."""
    validate_every: int = Field(2_000, ge=1)
    """Updates between two validations, each of which writes a checkpoint; the last step is always validated."""
    valid_sentences: int = Field(0, ge=0)
    """Number of validation sentences that are decoded, the first ones; 0 is all."""
    keep_checkpoints: int = Field(5, ge=1)
    """Number of the last checkpoints that stay on disk besides the best one, or, for `average_best`, of the best ones besides
    the last; also the number of checkpoints in an average (A.1: 5)."""
    model: Literal["best", "last", "average_last", "average_best"] = "best"
    """The weights a run ends with: those of the best validation score, of the last step, or the mean of the last or the best
    checkpoints."""
    patience: int = Field(0, ge=0)
    """Number of validations in a row without a better score after which a run stops early; 0 is never. T, and with it every
    schedule, stays that of `steps`."""
    ema_decay: float = Field(0.0, ge=0, lt=1)
    """Decay, per update, of an exponential moving average of the weights, which then is what is validated, averaged and saved;
    it looks back about 1 / (1 − decay) updates. 0 is off."""

    @model_validator(mode="after")
    def _warmup_fits(self) -> Self:
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps must be below steps; got {self.warmup_steps} and {self.steps}")
        return self


class Experiment(Record):
    """What one run computes. Equal experiments on equal hardware give equal numbers."""

    data: DataConfig
    model: ModelConfig = ModelConfig()
    system: AnySystem = MaskPredict()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig
    decoding: AnyDecoding = MaskPredictDecoding()
    seed: int = Field(1, ge=0, lt=2**31)
    """Seed of initial weights, batch order, masks and dropout."""

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
        if not isinstance(self.decoding, self.system.decodings):
            fitting = " or ".join(f"decoding: {{kind: {kind_of(kind)}}}" for kind in self.system.decodings)
            raise ValueError(
                f"decoding.kind: {kind_of(type(self.decoding))} does not decode the system {kind_of(type(self.system))}; "
                f"set {fitting}"
            )
        if self.data.max_length > self.model.max_positions:
            raise ValueError(
                "data.max_length must not exceed model.max_positions; "
                f"got {self.data.max_length} and {self.model.max_positions}"
            )
        return self

    @property
    def branches(self) -> tuple[BranchName, ...]:
        """Names of the branches that the objective trains."""
        return self.system.trained(self.objective)

    @property
    def decoder(self) -> BranchName:
        """The branch that translates, with ``auto`` resolved."""
        return self.branches[-1] if self.decoding.decoder == "auto" else self.decoding.decoder

    @property
    def can_teach(self) -> bool:
        """Whether it trains an AT decoder, which a teacher translates with."""
        return "at" in self.branches

    def build_translator(self, vocabularies: Vocabularies) -> Translator:
        """Builds a translator with only the branches the objective trains; PyTorch's global generator draws its weights."""
        return self.translator_of(len(vocabularies.source), len(vocabularies.target), joint=vocabularies.joint)

    def build_objective(self, translator: Translator) -> MultiTaskObjective:
        """Builds Eq. 1 over a translator's branches."""
        absent = self.system.untrained_branches(self.model, self.objective, translator.target_tokens)
        return MultiTaskObjective(translator, self.objective, self.system.weights, absent)

    @property
    def parameters(self) -> int:
        """Weights of the translator, counted without making them."""
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
