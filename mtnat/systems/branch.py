"""A branch: a decoder with its heads, and its interface to training and decoding."""

# B sentences of a batch, R those that a branch sees, S source, T target

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, cast

from torch import Generator, Tensor, nn

from mtnat.decoding import Decoding, Search
from mtnat.model import Encoded, TargetDecoder, Translator
from mtnat.model.flops import ModelFlops
from mtnat.objective import Loss, Moment, Noise


class Branch(nn.Module, ABC):
    """A decoder with its heads. It draws its noise, computes its losses, searches for translations and counts its work.

    Every parameter that a loss reads must be registered in the module or belong to the target embeddings; other parameters get
    no gradient. `mtnat.testing.system_contract.SystemContract` checks this and the other requirements of a branch.
    """

    parts: ClassVar[tuple[str, ...]]
    """Names of the parts of the loss, unique in a system. Each part has a curve ``train/loss_<part>``."""
    head_parts: ClassVar[tuple[str, ...]] = ()
    """Names of the parts that `head_losses` computes."""
    aligned_part: ClassVar[str | None] = None
    """The part whose losses are those of target pieces, one distribution over the vocabulary for each, and whose `Loss` has
    `predictions`. None if there is none; the branch then cannot interact with another one."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Names of ratios that `losses` returns in addition to its parts, for curves ``train/<measure>``. They have no weight."""

    def __init__(self, tokens: nn.Embedding) -> None:
        """Stores the target embeddings, which belong to the translator."""
        super().__init__()
        self._tokens = (tokens,)  # a tuple, so that PyTorch does not register the embeddings a second time
        self._source_tokens = (tokens,)
        self.fraction = 1.0
        """Fraction of the sentences of a batch that the branch sees."""

    @property
    def tokens(self) -> nn.Embedding:
        """The target embeddings."""
        return self._tokens[0]

    def use(self, tables: Mapping[str, Tensor]) -> None:
        """Takes the tables that `System.prepare` has returned, before the training; they are not weights and not saved. The
        default ignores them."""

    @property
    def source_tokens(self) -> nn.Embedding:
        """The source embeddings, which are the target embeddings if the vocabulary is joint. A branch whose losses read them
        lists `source_weights` in `reads`."""
        return self._source_tokens[0]

    def use_source_tokens(self, tokens: nn.Embedding) -> None:
        """Stores source embeddings that differ from the target embeddings; the translator calls this."""
        self._source_tokens = (tokens,)

    def source_weights(self) -> list[Tensor]:
        """Returns the source embeddings as parameters that `reads` does not list yet; none if the vocabulary is joint."""
        return [] if self.source_tokens is self.tokens else [self.source_tokens.weight]

    @abstractmethod
    def draw(self, source_BS: Tensor, target_BT: Tensor, moment: Moment, generator: Generator) -> Noise:
        """Draws the noise of every sentence of a batch, on the host.

        Args:
            source_BS: token ids, EOS at the end, PAD after it. Each row has at least one piece before EOS.
            target_BT: likewise.
            moment: the time in training.
            generator: the only source of randomness.
        """

    @abstractmethod
    def losses(self, encoded: Encoded, noise: Noise, moment: Moment) -> Mapping[str, Loss]:
        """Computes the losses of the decoder and the measures, for the sentences that the branch sees.

        The objective differentiates the losses as soon as they are computed, so that the activations of only one decoder are in
        memory at a time.

        Args:
            encoded: all sentences of the batch. ``encoded.only(noise.rows_R)`` selects the sentences that the branch sees;
                there is at least one.
        """

    def head_losses(self, encoded: Encoded, noise: Noise) -> Mapping[str, Loss]:
        """Computes the losses of heads that read only the encoder states, for all sentences of the batch."""
        return {}

    def weight_of(self, part: str) -> float:
        """Returns the weight of a part within the branch's loss."""
        return 1.0

    def reads(self) -> list[Tensor]:
        """Lists every parameter that `losses` may read."""
        return [*self.parameters(), self.tokens.weight]

    @abstractmethod
    def search(self, decoding: Decoding) -> Search:
        """Returns the search that finds this branch's translations.

        The AT decoder's reranking and its fallback are added by `search_of`.

        Args:
            decoding: one of the system's `decodings`.
        """

    @abstractmethod
    def flops(self, work: ModelFlops, source_R: Tensor, noise: Noise) -> int:
        """Counts the floating-point operations of the forward and the backward pass of `losses` and `head_losses`.

        Args:
            source_R: lengths of the sources that the branch sees, EOS included.
        """

    def compile_stacks(self) -> None:
        """Compiles the decoders in place for dynamic shapes."""
        for module in self.modules():
            if isinstance(module, TargetDecoder):
                module.compile_stack()


def branch_of(translator: Translator, name: str) -> Branch:
    """Returns a translator's branch by name.

    Raises:
        ModelError: the model was trained without this branch.
    """
    return cast("Branch", translator.branch(name))
