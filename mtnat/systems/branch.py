"""A branch: a decoder with its heads, as training and decoding see it."""

# B sentences of a batch, R those that a branch sees, S source, T target

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, cast

from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, Search
from mtnat.model import Encoded, Translator
from mtnat.model.flops import ModelFlops
from mtnat.objective import Loss, Moment, Noise


class Branch(nn.Module, ABC):
    """A decoder with its heads. It draws its noise, computes its losses, searches for translations and counts its work.

    Every parameter that a loss reads must be a parameter of the module, or the target embeddings; others get no gradient.
    `mtnat.testing.system_contract.SystemContract` checks this, and what else a branch promises.
    """

    parts: ClassVar[tuple[str, ...]]
    """Names of the parts of its loss, unique in a system. Each has its own curve, ``train/loss_<part>``."""
    head_parts: ClassVar[tuple[str, ...]] = ()
    """Those of them that `head_losses` computes."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Names of ratios that `losses` returns besides its parts, for curves ``train/<measure>``; they have no weight."""
    is_autoregressive: ClassVar[bool] = False
    """Whether it decodes one token at a time."""

    def __init__(self, tokens: nn.Embedding) -> None:
        """Takes the target embeddings, which belong to the translator."""
        super().__init__()
        self._tokens = (tokens,)  # a tuple, so that PyTorch does not register the embeddings a second time
        self.fraction = 1.0
        """Share of a batch's sentences that the branch sees."""

    @property
    def tokens(self) -> nn.Embedding:
        """The target embeddings."""
        return self._tokens[0]

    @abstractmethod
    def draw(self, source_BS: Tensor, target_BT: Tensor, generator: Generator) -> Noise:
        """Draws the noise of every sentence of a batch, on the host.

        Args:
            source_BS: token ids, EOS at the end, PAD after it.
            target_BT: likewise.
            generator: the only source of randomness.
        """

    @abstractmethod
    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the losses through the decoder, and the measures, for the sentences that the branch sees.

        The objective differentiates them as soon as they are computed, so that the decoders need memory one after the other.

        Args:
            encoded: all sentences of the batch; ``encoded.only(noise.rows_R)`` are those that the branch sees, at least one.
        """

    def head_losses(self, encoded: Encoded, noise: Noise) -> Mapping[str, Loss]:
        """Computes the losses of heads that read the encoder's states alone, for all sentences of the batch."""
        return {}

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part within the branch's loss."""
        return 1.0

    def reads(self) -> list[Tensor]:
        """Lists every parameter that `losses` may read."""
        return [*self.parameters(), self.tokens.weight]

    @abstractmethod
    def search(self, decoding: Decoding, translator: Translator) -> Search:
        """Returns the search that finds this branch's translations.

        Args:
            translator: whose other branches may score the candidates.
        """

    @abstractmethod
    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the operations of the forward and the backward pass of `losses` and `head_losses`.

        Args:
            source_R: lengths of the sources that the branch sees, EOS included.
        """

    @abstractmethod
    def compile_stacks(self) -> None:
        """Compiles the decoder in place, for any shape."""


def branch_of(translator: Translator, name: str) -> Branch:
    """Returns a translator's branch by name.

    Raises:
        ModelError: the model was trained without it.
    """
    return cast("Branch", translator.branch(name))
