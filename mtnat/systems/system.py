"""A system: the branches of a translator and their weights in the objective."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mtnat.config import Record
from mtnat.data import DataConfig
from mtnat.decoding import Decoding
from mtnat.model import ModelConfig, TargetDecoder
from mtnat.objective import ObjectiveConfig
from mtnat.objective.schedules import Constant
from mtnat.systems.at import AtBranch
from mtnat.systems.branch import Branch
from mtnat.systems.raw_prior import prior_tables

BranchName = Literal["at", "nat"]


class System(Record, ABC):
    """A kind of non-autoregressive translation, with the settings of its NAT branch. An AT branch may be trained with it.

    A subclass is one entry of ``system: {kind: …}`` in an experiment. It has a field ``kind`` with its name as the only value,
    and its own settings as further fields.
    """

    decodings: ClassVar[tuple[type[Decoding], ...]]
    """The kinds of ``decoding:`` that can decode with the NAT branch, the default first."""
    is_aligned: ClassVar[bool] = False
    """Whether state t of the NAT decoder predicts piece t of the target, as in the AT decoder. The settings that relate the
    predictions of both decoders need it; its branch then has an `aligned_part`."""

    needs_teacher: ClassVar[bool] = False
    """Whether the NAT branch reads a frozen AT model in training. It is then a `TaughtBranch`."""

    @property
    def teacher_folder(self) -> str | None:
        """Model folder of the frozen model; None is the teacher of the study that runs the experiment."""
        return None

    @property
    def default_decoding(self) -> Decoding:
        """The decoding of an experiment that does not set it. If an experiment sets a part of it, the other settings are those
        of this decoding."""
        return self.decodings[0]()

    @abstractmethod
    def nat_branch(
        self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding, layers: nn.ModuleList | None
    ) -> Branch:
        """Builds the NAT branch. PyTorch's global generator draws its weights.

        Args:
            tokens: the target embeddings.
            layers: decoder layers to share with the AT branch; None builds new layers.
        """

    def prepare(self, objective: ObjectiveConfig, data: DataConfig, cache: Path) -> Mapping[str, Tensor]:
        """Prepares tables from the training text, on the host. Every branch gets them before the training, by `Branch.use`.

        They must depend on the arguments and the text only, because a resumed run prepares them again. By default this is the
        table of the raw-data prior, if the objective asks for it and trains the NAT branch, and nothing otherwise.

        Args:
            cache: the folder of prepared corpora, in which a system may store what takes long.

        Raises:
            DataError: the corpus cannot be read, or the cache cannot be written.
        """
        return prior_tables(objective, data, cache) if objective.raw_prior and "nat" in self.trained(objective) else {}

    def branches(self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding) -> Mapping[str, Branch]:
        """Builds the branches that the objective trains, the auxiliary AT branch first."""
        names = self.trained(objective)
        built: dict[str, Branch] = {}
        layers: nn.ModuleList | None = None
        if "at" in names:
            at = AtBranch(model, objective, tokens)
            built["at"] = at
            layers = at.decoder.stack.layers if model.shared_decoder_layers or model.shared_decoder else None
        if "nat" in names:
            built["nat"] = self.nat_branch(model, objective, tokens, layers)
        if len(built) > 1 and model.shared_decoder:
            [of_at], [of_nat] = (
                [each for each in branch.modules() if isinstance(each, TargetDecoder)] for branch in built.values()
            )
            of_nat.stack.share(of_at.stack)
        return built

    def untrained_branches(self, model: ModelConfig, objective: ObjectiveConfig, tokens: nn.Embedding) -> Mapping[str, Branch]:
        """Builds the branches that are not trained, on the meta device, which allocates no weights; see
        `MultiTaskObjective`."""
        both = objective.model_copy(update={"schedule": Constant(value=0.5)})
        trained = self.trained(objective)
        with torch.device("meta"), _WithoutRandomValues():
            return {name: branch for name, branch in self.branches(model, both, tokens).items() if name not in trained}

    def weights(self, nat_weight: float) -> Mapping[str, float]:
        """Returns the weight of each branch's loss for a λ (Hao et al. 2021, Eq. 1)."""
        return {"at": 1 - nat_weight, "nat": nat_weight}

    def trained(self, objective: ObjectiveConfig) -> tuple[BranchName, ...]:
        """Returns the names of the branches that the objective trains, in the order of `branches`: those with a weight
        above 0 at some update."""
        names: tuple[BranchName, ...] = ("at", "nat")
        extremes = [self.weights(value) for value in objective.schedule.bounds]
        return tuple(name for name in names if any(weights[name] > 0 for weights in extremes))


class _WithoutRandomValues(TorchFunctionMode):
    """A context in which weights are not drawn. On the meta device they have no values, but to draw them PyTorch imports its
    compiler, which takes several seconds in every process."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return (kwargs or {}).get("tensor", *args[:1])
        return func(*args, **(kwargs or {}))
