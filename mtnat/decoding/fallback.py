"""A choice between two decoders for each sentence: the AT decoder translates where the NAT decoder's translation scores badly.

Hao et al. 2021 leave it to future work to use the AT decoder, which NAT inference drops. The rule here is that of a cascade: a
cheap system answers, and an expensive one replaces the answers whose score is below a threshold.
"""

# B sentences, A sentences that fall back

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mtnat.decoding.batching import group, token_budget
from mtnat.decoding.beam import BeamSearch
from mtnat.decoding.config import Decoding
from mtnat.decoding.hypotheses import Hypothesis
from mtnat.decoding.replay import Replay
from mtnat.decoding.rerank import hypothesis_scores, rerank_flops
from mtnat.decoding.search import WrappedSearch
from mtnat.model import Encoded
from mtnat.model.flops import ModelFlops


@dataclass(frozen=True)
class FallbackSearch(WrappedSearch):
    """A NAT search, and beam search for the sources whose best NAT translation scores below `fallback_below`.

    The encoder runs once. All hypotheses of a source come from one of the two searches.
    """

    beam: BeamSearch
    config: Decoding

    @property
    def most(self) -> tuple[str, int]:
        return min(self.search.most, self.beam.most, key=lambda setting: setting[1])

    def __call__(self, encoded: Encoded, n_best: int = 1) -> list[list[Hypothesis]]:
        """Finds the best hypotheses of each source."""
        found = self.search(encoded, n_best)
        scores = self._scores(encoded, [hypotheses[0] for hypotheses in found])
        assert self.config.fallback_below is not None
        rejected = [row for row, score in enumerate(scores) if score < self.config.fallback_below]
        for rows in self._groups(encoded, rejected):
            part = encoded.only(torch.tensor(rows, device=encoded.states_BSD.device))
            for row, hypotheses in zip(rows, self.beam(part, n_best), strict=True):
                before = found[row][0].passes
                found[row] = [replace(each, passes=before + each.passes, fallback_passes=each.passes) for each in hypotheses]
        return found

    def replay(self, encoded: Encoded, found: Hypothesis) -> Replay | None:
        """Replays the search that found the translation."""
        return self.beam.replay(encoded, found) if found.fallback_passes else super().replay(encoded, found)

    def _scores(self, encoded: Encoded, best: list[Hypothesis]) -> list[float]:
        """Returns the score of each source's best hypothesis that decides."""
        if not self._scores_again:
            return [hypothesis.score for hypothesis in best]
        return hypothesis_scores(self.beam.decoder, encoded, [[each] for each in best], self.beam.length_penalty)[:, 0].tolist()

    @property
    def _scores_again(self) -> bool:
        """Whether the AT decoder scores the translations in a pass of its own; a search that reranks has done it."""
        return self.config.fallback_score == "at" and self.config.rerank == "none"

    def _groups(self, encoded: Encoded, rows: list[int]) -> list[list[int]]:
        """Groups rows so that their beams fit into memory."""
        lengths = (~encoded.is_padding_BS).sum(1).tolist()
        device = encoded.states_BSD.device
        budget = token_budget(self.config.max_tokens_per_batch, device, stepwise=self.beam.is_stepwise)
        grouped = group([lengths[row] - 1 for row in rows], self.beam.copies, budget)
        return [[rows[place] for place in places] for places in grouped]

    def flops(
        self,
        work: ModelFlops,
        source_B: Tensor,
        pieces_B: Tensor,
        passes_B: Tensor,
        fallback_passes_B: Tensor | None = None,
    ) -> int:
        """Counts both searches, and the AT decoder's pass over the NAT translations if its score decides.

        The rejected translations count as if they had the length of the ones that replace them.

        Args:
            fallback_passes_B: see `Hypothesis.fallback_passes`; None if no source has fallen back.
        """
        steps_B = torch.zeros_like(passes_B) if fallback_passes_B is None else fallback_passes_B
        total = self.search.flops(work, source_B, pieces_B, passes_B - steps_B)
        if self._scores_again:
            total += rerank_flops(work, source_B, pieces_B, 1)
        has_fallen_B = steps_B > 0
        source_A = source_B[has_fallen_B]
        again = self.beam.flops(work, source_A, pieces_B[has_fallen_B], steps_B[has_fallen_B])
        return total + again - work.encoder(source_A)
