"""Data rejuvenation (Jiao et al. 2020): the targets of the training pairs that a model predicts worst are rewritten.

1. The *identification model*, trained on all pairs, scores each pair by teacher forcing (`PairScores`).
2. The pairs with the lowest scores are *inactive* (`inactive_pairs`), the others *active*.
3. The *rejuvenation model*, trained on the active pairs only (`DataConfig.selected`), translates the sources of the others.
4. The final training text has these translations in place of the inactive targets (`write_rejuvenated`).

Unlike the authors' code, the text keeps the order of the corpus instead of that of the scores, so that each line still belongs
to a line of the corpus; the batches of an epoch are shuffled anyway. Their code also drops the pairs that it could not score.
Here they are active, as are pairs whose score is not a number, which their code gives the log-probability −100.
"""

# N training pairs, R pairs that are scored together, T target

import gzip
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from mtnat.data.corpus import TextPair, read_lines
from mtnat.data.dataset import default_cache
from mtnat.decoding import Decoding
from mtnat.decoding.batching import group, pad, token_budget
from mtnat.decoding.teacher_forcing import forced_log_probabilities, sentence_scores
from mtnat.errors import DataError
from mtnat.files import is_compressed, whole_file
from mtnat.model import computing_in, resolve_precision
from mtnat.systems import AtBranch, branch_of
from mtnat.tokens import PAD
from mtnat.training.distillation import SourceText
from mtnat.training.model import Model
from mtnat.training.shards import LINES_PER_SHARD, Shards, Text, model_digest, teaching

# Part of every key. Raise it when a change of the code makes an equal model give different scores.
_FORMAT = 1


class PairScores(Shards[TextPair]):
    """A model's scores of training pairs, in a cache folder named by the hash of model and pairs."""

    def __init__(
        self,
        model: Path,
        pairs: Text[TextPair],
        decoding: Decoding,
        *,
        lines_per_shard: int = LINES_PER_SHARD,
        cache: Path | None = None,
    ) -> None:
        """Prepares the scoring; nothing is scored yet.

        Args:
            model: the folder of the identification model.
            decoding: its `precision` and `max_tokens_per_batch` are used.

        Raises:
            ModelError: the folder contains no model with an AT decoder.
        """
        self._decoding = decoding
        parts = [_FORMAT, lines_per_shard, model_digest(teaching(model)), pairs.digest, pairs.lines, decoding.precision]
        self.key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        """Hash of everything that determines the scores."""
        folder = (cache or default_cache()) / "scored" / self.key
        super().__init__(model, pairs, folder, "scores.gz", lines_per_shard)

    def lines_for(self, model: Model, items: list[TextPair]) -> list[str]:
        """Returns the scores of a shard."""
        return [repr(score) for score in score_pairs(model, items, self._decoding)]

    def scores(self) -> npt.NDArray[np.float64]:
        """Returns the scores of all pairs, float64 [N], once they are complete; NaN for a pair without one."""
        return np.fromiter(map(float, read_lines(self.result)), np.float64)


@torch.inference_mode()
def score_pairs(model: Model, pairs: Sequence[TextPair], decoding: Decoding) -> list[float]:
    """Computes exp of the mean log-probability of the target tokens of each pair, EOS counted.

    The probabilities are those of teacher forcing, over the whole vocabulary. The batching only changes how sums are rounded.

    Returns:
        A score from 0 to 1 for each pair; NaN for a pair with an empty side, or with a side that is too long for the model.

    Raises:
        ModelError: the model was trained without an AT decoder.
    """
    translator, branch = model.translator, branch_of(model.translator, "at")
    assert isinstance(branch, AtBranch)
    device = translator.target_tokens.weight.device
    precision = resolve_precision(decoding.precision, device)
    sources = model.vocabularies.source.encode([source for source, _ in pairs])
    targets = model.vocabularies.target.encode([target for _, target in pairs])
    most = translator.config.max_positions - 1
    fitting = [row for row in range(len(pairs)) if 0 < len(sources[row]) <= most and 0 < len(targets[row]) <= most]
    longest = [max(len(sources[row]), len(targets[row])) for row in fitting]
    scores = [math.nan] * len(pairs)
    for places in group(longest, 1, token_budget(decoding.max_tokens_per_batch, device)):
        rows = [fitting[place] for place in places]
        target_RT = pad([targets[row] for row in rows], device)
        is_token_RT = target_RT != PAD
        with computing_in(precision, device):
            encoded = translator.encode(pad([sources[row] for row in rows], device))
            found_RT = forced_log_probabilities(branch.decoder, encoded, target_RT, is_token_RT)
        for row, score in zip(rows, sentence_scores(found_RT, is_token_RT).tolist(), strict=True):
            scores[row] = score
    return scores


def inactive_pairs(scores_N: npt.NDArray[np.float64], share: float) -> npt.NDArray[np.bool_]:
    """Returns which pairs are inactive, [N]: the given share of the pairs that have a score, those with the lowest scores.

    The number is rounded down, as in the authors' code, but it is at least one. Of equal scores the first ones count as lower.

    Raises:
        DataError: no pair has a score.
    """
    scored = np.flatnonzero(~np.isnan(scores_N))
    if not len(scored):
        raise DataError(
            "rejuvenation: no training pair could be scored; raise model.max_positions of the identification model."
        )
    count = max(1, math.floor(round(share * len(scored), 6)))  # rounded, because 0.29 · 100 is 28.999999999999996
    is_inactive_N = np.zeros(len(scores_N), np.bool_)
    is_inactive_N[scored[np.argsort(scores_N[scored], kind="stable")[:count]]] = True
    return is_inactive_N


def write_selection(is_active_N: npt.NDArray[np.bool_], path: Path) -> None:
    """Writes a file for `DataConfig.selected`, compressed if its name ends in .gz."""
    _write_lines(("1" if is_active else "0" for is_active in is_active_N), path)


def inactive_sources(pairs: Text[TextPair], is_inactive_N: npt.NDArray[np.bool_]) -> SourceText:
    """Returns the sources of the inactive pairs, in the order of the corpus."""
    digest = hashlib.sha256(pairs.digest.encode() + is_inactive_N.tobytes()).hexdigest()
    count = int(is_inactive_N.sum())
    return SourceText(lambda: (source for source, _ in compress(pairs.read(), is_inactive_N)), count, digest)


def write_rejuvenated(
    pairs: Text[TextPair], is_inactive_N: npt.NDArray[np.bool_], translations: Iterable[str], path: Path
) -> None:
    """Writes the targets of the final text, in the order of the corpus: a translation for each inactive pair, and the corpus's
    own target for each other pair. The file is compressed if its name ends in .gz."""
    rewritten = iter(translations)
    targets = (
        next(rewritten) if is_inactive else target for (_, target), is_inactive in zip(pairs.read(), is_inactive_N, strict=True)
    )
    _write_lines(targets, path)


def _write_lines(lines: Iterable[str], path: Path) -> None:
    """Writes lines atomically, compressed if the name ends in .gz."""
    with whole_file(path) as raw, ExitStack() as stack:
        file: BinaryIO | gzip.GzipFile = raw
        if is_compressed(path):
            file = stack.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
        for line in lines:
            file.write(f"{line}\n".encode())
