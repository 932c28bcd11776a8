"""The raw-data prior (Ding et al. 2021): early in training, the NAT decoder learns the translations of words in the raw text.

Distilled targets have fewer translations of a word than the corpus's own, and lose rare ones. The prior exposes the decoder to
those of the raw text: the loss of a piece is ``(1 − l)·CE + l·KL(Q || P)``, where Q is the distribution over target pieces that
are translations of the source piece in the raw text, and l falls from 1 to 0 in the first half of the training.
"""

# B batch, S source, T target, N positions with a loss, V vocabulary, K translations of a source piece, P sentence pairs

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mtnat.data import DataConfig, TokenStore, prepare
from mtnat.errors import DataError
from mtnat.evaluation.ibm_model_1 import NULL, Couples, translation_table
from mtnat.files import locked, whole_file
from mtnat.objective import Moment, ObjectiveConfig
from mtnat.objective.soft_targets import soft_cross_entropy_sum
from mtnat.tokens import PAD

# Part of every key. Raise it if a change of the code makes another table of the same text.
_FORMAT = 1
_ITERATIONS = 5
MOST_LINKS = 100_000_000
"""Maximum number of links, each a target piece with a source piece of its pair, from which the table is estimated. A larger
corpus is sampled at even spacing. 100 million links are 130,000 pairs of 28 pieces; they take about a minute and 2 GB."""


def prior_weight(moment: Moment) -> float:
    """Returns l = ln(I / (2(i + 1))) / ln(I / 2) at update i of I: 1 at the first update, 0 from half of the training on."""
    total, reached = moment.total_steps, 2 * (moment.step + 1)
    return math.log(total / reached) / math.log(total / 2) if reached < total else 0.0


def prior_tables(objective: ObjectiveConfig, data: DataConfig, cache: Path) -> Mapping[str, Tensor]:
    """Estimates p(target piece | source piece) from the raw training text, or reads it from the cache.

    The raw text is the corpus with its own targets, even if `data.distilled` names others for training. If several processes
    ask for the same table at once, one of them estimates it and the others wait.

    Returns:
        `tokens` [V, K] and `probabilities` [V, K]: the likeliest translations of each source piece, PAD with probability 0 if
        it has fewer; `null` [V]: p(target piece | NULL). V is the size of the source or the target vocabulary.

    Raises:
        DataError: the corpus cannot be read, or the cache cannot be written.
    """
    raw = prepare(data.model_copy(update={"distilled": None}), cache)
    most = objective.raw_prior_translations
    # The name of the store's folder is a hash of the text and the tokenisation.
    parts = [_FORMAT, raw.train.folder.name, most, _ITERATIONS, MOST_LINKS]
    path = cache / "priors" / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]}.npz"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock")):
            if not path.exists():
                table = _table(raw.train, len(raw.vocabularies.source), len(raw.vocabularies.target), most)
                with whole_file(path) as file:
                    np.savez(file, tokens=table["tokens"], probabilities=table["probabilities"], null=table["null"])
        with np.load(path) as saved:
            return {name: torch.from_numpy(saved[name]) for name in ("tokens", "probabilities", "null")}
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: is damaged ({error}); remove it.") from None
    except OSError as error:
        raise DataError(f"{cache}: cannot be written ({error.strerror}); set $MTNAT_CACHE to a folder with room.") from None


class RawPrior:
    """The prior of a branch: the translations of each source piece, and which source piece a target piece translates.

    Differences from the paper: The prior is that of the word alignments alone (WAD); the paper combines it with the output of a
    NAT model trained on the raw text. The table is that of IBM Model 1 on pieces, and a target piece is linked with the piece
    of its source that has the highest p(target piece | source piece), Model 1's best link; how the paper aligns the training
    pairs is not confirmed by a source that we could read. A piece that NULL explains better, or that is among the kept
    translations of none of its source pieces, has no prior, and its loss is the cross-entropy. With temperature τ, Q is
    proportional to p^(1/τ) over the kept translations. The authors' script divides probabilities instead of log-probabilities
    by τ = 2 before a softmax over the whole vocabulary, which makes Q nearly uniform.
    """

    def __init__(self, tables: Mapping[str, Tensor], temperature: float, device: torch.device) -> None:
        """Creates a prior.

        Args:
            tables: see `prior_tables`.
            device: device of the losses.
        """
        self._tokens_VK, self._p_VK, self._null_V = (tables[name] for name in ("tokens", "probabilities", "null"))
        q_VK = self._p_VK ** (1 / temperature)
        q_VK = q_VK / q_VK.sum(1, keepdim=True).clamp(min=torch.finfo(q_VK.dtype).tiny)
        entropy_V = -torch.xlogy(q_VK, q_VK).sum(1)
        self._tokens, self._q, self._entropy = (each.to(device) for each in (self._tokens_VK.long(), q_VK, entropy_V))

    def links(self, source_BS: Tensor, target_BT: Tensor) -> Tensor:
        """Returns the source piece that each target piece translates, PAD if none, [B, T]; on the host.

        It compares each target piece with the K translations of each source piece of its sentence, B·S·T·K comparisons.
        """
        tokens_BSK, p_BSK = self._tokens_VK[source_BS], self._p_VK[source_BS]
        p_BST = torch.zeros(*source_BS.shape, target_BT.shape[1])
        for rank in range(tokens_BSK.shape[2]):  # a loop, because [B, S, T, K] would need K times the memory
            is_rank_BST = tokens_BSK[:, :, rank, None] == target_BT[:, None, :]
            p_BST += p_BSK[:, :, rank, None] * is_rank_BST
        p_BT, place_BT = p_BST.max(1)
        return source_BS.gather(1, place_BT).masked_fill_(p_BT <= self._null_V[target_BT], PAD)

    def loss(
        self,
        states_ND: Tensor,
        weight_VD: Tensor,
        target_N: Tensor,
        link_N: Tensor,
        share: float,
        label_smoothing: float,
    ) -> Tensor:
        """Computes (1 − l)·CE + l·KL(Q || P), summed over the positions; CE alone at positions without a link.

        Args:
            link_N: the source piece of each position, see `links`.
            share: l.
            label_smoothing: ε of CE.
        """
        share_N = share * (link_N != PAD)
        tokens_NK, q_NK = self._tokens.index_select(0, link_N), self._q.index_select(0, link_N)
        tokens_NC = torch.cat((target_N[:, None], tokens_NK), 1)
        confidence_N = (1 - share_N) * (1 - label_smoothing)
        probabilities_NC = torch.cat((confidence_N[:, None], share_N[:, None] * q_NK), 1)
        uniform_N = (1 - share_N) * label_smoothing
        total = soft_cross_entropy_sum(states_ND, weight_VD, tokens_NC, probabilities_NC, uniform_N)
        return total - (share_N * self._entropy.index_select(0, link_N)).sum()


def _table(store: TokenStore, source_pieces: int, target_pieces: int, most: int) -> dict[str, npt.NDArray[Any]]:
    """Returns the arrays of `prior_tables`."""
    sources, targets, lengths_P2 = _pieces(store)
    couples = translation_table(sources, targets, lengths_P2[:, 0], lengths_P2[:, 1], _ITERATIONS)
    null = np.zeros(target_pieces, np.float32)
    of_null = couples.source_C == NULL
    null[couples.target_C[of_null]] = couples.p_C[of_null]
    tokens, p = _likeliest(couples, source_pieces, most)
    return {"tokens": tokens, "probabilities": p, "null": null}


def _pieces(store: TokenStore) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Returns the running source and target pieces of the pairs, or of an even sample of them, and the lengths [P, 2]; without
    EOS."""
    lengths_P2 = store.lengths_N2.astype(np.int64) - 1
    links = int(((lengths_P2[:, 0] + 1) * lengths_P2[:, 1]).sum())
    pairs = len(store) if links <= MOST_LINKS else max(1, len(store) * MOST_LINKS // links)
    chosen_P = np.arange(pairs) * len(store) // pairs
    lengths_P2 = lengths_P2[chosen_P]
    start_P = store.starts_N[chosen_P]
    sources = store.tokens[_ranges(start_P, lengths_P2[:, 0])]
    targets = store.tokens[_ranges(start_P + lengths_P2[:, 0] + 1, lengths_P2[:, 1])]
    return sources, targets, lengths_P2


def _ranges(start_P: npt.NDArray[np.int64], length_P: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Returns the numbers start, …, start + length − 1 of each pair, one after the other."""
    first_P = np.cumsum(length_P) - length_P
    return np.asarray(np.arange(int(length_P.sum())) + np.repeat(start_P - first_P, length_P))


def _likeliest(couples: Couples, source_pieces: int, most: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Returns the likeliest translations of each source piece and their probabilities, the likeliest first, [V, K] each."""
    order_C = np.lexsort((couples.target_C, -couples.p_C, couples.source_C))
    source_C = couples.source_C[order_C]
    rank_C = np.arange(len(source_C)) - np.searchsorted(source_C, source_C)
    is_kept_C = (rank_C < most) & (source_C != NULL)
    place = source_C[is_kept_C], rank_C[is_kept_C]
    tokens, p = np.full((source_pieces, most), PAD, np.int32), np.zeros((source_pieces, most), np.float32)
    tokens[place] = couples.target_C[order_C][is_kept_C]
    p[place] = couples.p_C[order_C][is_kept_C]
    return tokens, p
