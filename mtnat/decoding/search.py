"""The interface of a search."""

# B sentences, S source

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.replay import Replay, replay_of
from mtnat.model import Encoded
from mtnat.model.flops import ModelFlops


class Search(Protocol):
    """A search for the best translations of encoded sources with one decoder."""

    @property
    def copies(self) -> int:
        """Number of decoder positions that the search holds at once for each source position."""
        ...

    @property
    def is_stepwise(self) -> bool:
        """Whether the search computes one position of each hypothesis at a time, so that more sentences fit into a batch."""
        ...

    @property
    def most(self) -> tuple[str, int]:
        """Name and value of the setting that limits the number of hypotheses of a source."""
        ...

    def __call__(self, encoded: Encoded, n_best: int) -> list[list[Hypothesis]]:
        """Returns the best hypotheses of each source, the best first; at least one and at most `n_best`."""
        ...

    def flops(self, work: ModelFlops, source_B: Tensor, pieces_B: Tensor, passes_B: Tensor) -> int:
        """Counts the floating-point operations of decoding, including the encoder.

        Args:
            source_B: lengths of the sources, with EOS.
            pieces_B: lengths of the best hypotheses, without EOS, at least 1.
            passes_B: number of passes of these hypotheses.
        """
        ...


@dataclass(frozen=True)
class WrappedSearch:
    """A base of searches that add something to the hypotheses of another one, and take as much memory as it does."""

    search: Search

    @property
    def copies(self) -> int:
        return self.search.copies

    @property
    def is_stepwise(self) -> bool:
        return self.search.is_stepwise

    @property
    def most(self) -> tuple[str, int]:
        return self.search.most

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay | None:
        """Replays the search inside."""
        return replay_of(self.search, encoded, found)
