"""The settings of the training objective."""

from typing import Literal, Self

from pydantic import Field, model_validator

from mtnat.config import Record
from mtnat.objective.schedules import Linear, Schedule


class ObjectiveConfig(Record):
    """``L = λ(t)·L_nat + (1 − λ(t))·L_at`` (Hao et al. 2021, Eq. 1)."""

    schedule: Schedule = Linear()
    """λ(t), the weight of the NAT loss at step t. Constant 0 trains the AT branch alone (Transformer). Constant 1 trains the
    system's NAT branch alone. Any other constant trains both with a fixed λ (Multi-Task NAT). Linear trains both with
    importance annealing."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Label smoothing of the token cross-entropies, uniform over the vocabulary (authors' script). The loss of CTC has none."""
    length_weight: float = Field(0.1, ge=0)
    """Weight of the length loss inside L_nat (Ghazvininejad et al. 2019). CTC predicts no length and has no such loss."""
    encoder_passes: int = Field(1, ge=1, le=2)
    """Number of encoder passes per batch: 1 shares one pass between both decoders and is faster; 2 runs one for each decoder,
    as in the authors' code."""
    at_fraction: float = Field(1.0, gt=0, le=1)
    """Fraction of the sentences of a batch on which the AT decoder is trained."""
    estimator: Literal["weighted", "sampled"] = "weighted"
    """How a step estimates Eq. 1. weighted trains both decoders on every sentence. sampled trains the NAT decoder on a sentence
    with probability λ(t) and the AT decoder otherwise, which gives the same gradient on average at lower cost."""
    interaction: Literal["none", "at-to-nat", "nat-to-at", "both"] = "none"
    """Decoder interaction, which the paper names as future work: on-line distillation at the pieces that both decoders predict,
    which are the masked ones. at-to-nat adds KL(p_at || p_nat) to the loss, nat-to-at KL(p_nat || p_at), and both adds both."""
    interaction_weight: float = Field(0.5, ge=0)
    """Weight of each divergence, times the mean weight of the branches that it trains: λ(t) for at-to-nat, 1 − λ(t) for
    nat-to-at, and 1/2 if it is not detached."""
    interaction_temperature: float = Field(1.0, gt=0)
    """Temperature τ of both distributions; the divergence is multiplied by τ²."""
    interaction_detached: bool = True
    """Whether a divergence trains its student only. If not, it trains both decoders, which then need memory at the same time.
    JANUS (Liang et al. 2022) is both and not detached."""
    raw_prior: bool = False
    """Whether the NAT decoder learns the translations of source pieces in the raw text early in training (raw-data prior, Ding
    et al. 2021): the loss of a masked piece is (1 − l)·CE + l·KL(Q || p_nat), where Q are the translations of its source piece,
    and l falls from 1 to 0 in the first half of the training. With `data.distilled`, Q still comes from the corpus's own
    targets."""
    raw_prior_temperature: float = Field(2.0, gt=0)
    """Temperature τ of the raw-data prior: Q is proportional to p(target piece | source piece)^(1/τ) (authors' script: 2)."""
    raw_prior_translations: int = Field(16, ge=1, le=1_000)
    """Maximum number of translations of a source piece in Q, the likeliest ones."""

    @property
    def directions(self) -> tuple[tuple[str, str], ...]:
        """The branches that interact, as pairs of teacher and student."""
        to_nat, to_at = ("at", "nat"), ("nat", "at")
        return {"none": (), "at-to-nat": (to_nat,), "nat-to-at": (to_at,), "both": (to_nat, to_at)}[self.interaction]

    @model_validator(mode="after")
    def _interacts_on_the_same_sentences(self) -> Self:
        if self.directions and self.estimator == "sampled":
            raise ValueError(
                "interaction: needs both decoders on the same sentences, but the estimator sampled gives each sentence to one; "
                "set estimator: weighted"
            )
        return self
