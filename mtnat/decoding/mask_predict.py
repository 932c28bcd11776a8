"""Mask-predict (Ghazvininejad et al. 2019, section 3): the NAT decoder's search."""

# B sentences, K length candidates, T target, P max_positions, V vocabulary, M masked positions of the whole batch

import torch
from torch import Tensor

from mtnat.decoding.hypotheses import Hypothesis, most_pieces
from mtnat.model import Memory, Translator
from mtnat.tokens import EOS, MASK, PAD, SPECIAL

_CPU_LOGITS, _GPU_LOGITS = 2**21, 2**27
"""Vocabulary logits held at once: 8 MiB near the processor's cache, 512 MiB where starting kernels costs more."""


def mask_predict(translator: Translator, source_BS: Tensor, iterations: int, length_candidates: int) -> list[Hypothesis]:
    """The best hypothesis of each source after exactly `iterations` passes.

    The first pass predicts every piece. Before pass t + 1 of N the ⌊L·(N − t)/N⌋ pieces of L with the lowest scores are masked;
    pass t + 1 predicts those anew, and a piece keeps the log-probability of the pass that last predicted it. Where nothing is
    left to mask (t > N − N/L) the remaining passes are left out, since they would change nothing. Of the likeliest lengths,
    decoded in parallel, the one with the best mean log-probability wins. Special tokens are never predicted.
    """
    encoded = translator.encode(source_BS)
    lengths_BK = _likeliest_lengths(translator.length_logits(encoded), most_pieces(encoded), length_candidates)
    memory = translator.nat_memory(encoded)
    tokens_BKT = _blank(lengths_BK)
    scores_BKT = torch.zeros(tokens_BKT.shape, device=tokens_BKT.device)
    is_piece_BKT = tokens_BKT == MASK
    _predict(translator, memory, tokens_BKT, scores_BKT, is_piece_BKT)
    active = torch.arange(len(source_BS), device=source_BS.device)
    for done in range(1, iterations):
        masks_BK = lengths_BK * (iterations - done) // iterations
        goes_on = masks_BK[active].amax(dim=1) > 0
        if not goes_on.all():
            active, memory = active[goes_on], memory.keep(goes_on.nonzero().squeeze(1))
        if len(active) == 0:
            break
        tokens, scores = tokens_BKT[active], scores_BKT[active]
        _predict(translator, memory, tokens, scores, _worst(scores, is_piece_BKT[active], masks_BK[active]))
        tokens_BKT[active], scores_BKT[active] = tokens, scores
    return _best(tokens_BKT, scores_BKT.sum(dim=2) / lengths_BK, lengths_BK, iterations)


def _likeliest_lengths(logits_BP: Tensor, most_B: Tensor, candidates: int) -> Tensor:
    """The likeliest lengths, at least 1 piece each, [B, K]; K is less than asked for where the model has fewer lengths.

    Lengths above ``most_B`` come after all others: a length head that has just begun to learn would ask for a thousand pieces.
    """
    is_far_BP = torch.arange(logits_BP.shape[1], device=logits_BP.device) > most_B[:, None]
    return (logits_BP - 1e6 * is_far_BP).topk(min(candidates, logits_BP.shape[1] - 1)).indices


def _blank(lengths_BK: Tensor) -> Tensor:
    """The first pass' input [B, K, T]: MASK for each piece, then EOS, then PAD."""
    places_T = torch.arange(int(lengths_BK.max()) + 1, device=lengths_BK.device)
    ends_BK1 = lengths_BK[:, :, None]
    blank_BKT = torch.full((*lengths_BK.shape, len(places_T)), PAD, device=lengths_BK.device)
    return blank_BKT.masked_fill(places_T < ends_BK1, MASK).masked_fill(places_T == ends_BK1, EOS)


def _worst(scores_BKT: Tensor, is_piece_BKT: Tensor, masks_BK: Tensor) -> Tensor:
    """Marks the `masks_BK` pieces with the lowest scores, of equal ones the leftmost, [B, K, T]."""
    order_BKT = scores_BKT.masked_fill(~is_piece_BKT, torch.inf).argsort(dim=2, stable=True)
    is_early_BKT = torch.arange(scores_BKT.shape[2], device=scores_BKT.device) < masks_BK[:, :, None]
    return torch.zeros_like(is_piece_BKT).scatter(2, order_BKT, is_early_BKT)


def _predict(translator: Translator, memory: Memory, tokens_BKT: Tensor, scores_BKT: Tensor, is_masked_BKT: Tensor) -> None:
    """One pass: writes the likeliest pieces, and their log-probabilities, where the mask says."""
    places_M = is_masked_BKT.flatten().nonzero().squeeze(1)
    tokens_BKT.view(-1)[places_M] = MASK
    states_MD = translator.nat_states(memory, tokens_BKT.flatten(0, 1), read_N=places_M)
    scores_M, tokens_M = _likeliest(translator, states_MD)
    tokens_BKT.view(-1)[places_M] = tokens_M
    scores_BKT.view(-1)[places_M] = scores_M


def _likeliest(translator: Translator, states_MD: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probability and the id of the likeliest piece at each position, [M] both, in blocks that stay in the cache."""
    logits = _CPU_LOGITS if states_MD.device.type == "cpu" else _GPU_LOGITS
    scores, tokens = [], []
    for block_MD in torch.split(states_MD, max(1, logits // translator.target_tokens.num_embeddings)):
        logits_MV = translator.vocabulary_logits(block_MD).float()
        logits_MV[:, list(SPECIAL)] = -torch.inf
        best_M, token_M = logits_MV.log_softmax(dim=1).max(dim=1)
        scores.append(best_M)
        tokens.append(token_M)
    return torch.cat(scores), torch.cat(tokens)


def _best(tokens_BKT: Tensor, means_BK: Tensor, lengths_BK: Tensor, iterations: int) -> list[Hypothesis]:
    """Each sentence's candidate with the best mean log-probability; the likelier length where they are equal."""
    scores, winners = means_BK.max(dim=1)
    rows = torch.arange(len(winners), device=winners.device)
    lengths = lengths_BK[rows, winners].tolist()
    tokens = tokens_BKT[rows, winners].tolist()
    return [
        Hypothesis(tuple(row[:length]), score, _passes(length, iterations))
        for row, length, score in zip(tokens, lengths, scores.tolist(), strict=True)
    ]


def _passes(length: int, iterations: int) -> int:
    """Passes of which a hypothesis of that length takes part: the first, and each before which at least one piece is masked."""
    return 1 + sum(length * (iterations - done) // iterations > 0 for done in range(1, iterations))
