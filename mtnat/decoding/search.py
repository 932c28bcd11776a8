"""What every search offers to decoding."""

# B sentences, S source

from typing import Protocol

from torch import Tensor

from mtnat.decoding.hypotheses import Hypothesis
from mtnat.model import Encoded
from mtnat.model.flops import ModelFlops


class Search(Protocol):
    """Finds the best translations of encoded sources with one decoder."""

    @property
    def copies(self) -> int:
        """How many decoder positions it holds at once for each position of a source."""
        ...

    @property
    def is_stepwise(self) -> bool:
        """Whether it computes one position of each hypothesis at a time, so that more sentences fit into a batch."""
        ...

    @property
    def most(self) -> tuple[str, int]:
        """The setting that limits how many hypotheses a source can have, and that limit."""
        ...

    def __call__(self, encoded: Encoded, n_best: int) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each source, the best first, at least one and at most `n_best`."""
        ...

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts the operations of decoding, the encoder included.

        Args:
            source_B: lengths with EOS.
            pieces_B: lengths of the best hypotheses without EOS, none of them 0.
            passes_B: passes that these hypotheses took.
        """
        ...
