"""Validation: all workers decode a part of a data split, and the translations are scored; the losses on the same sentences."""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.data import Split
from mtnat.decoding.batching import group, pad
from mtnat.errors import ResourceError
from mtnat.evaluation import Score, bleu
from mtnat.model import computing_in, resolve_precision
from mtnat.objective import Loss, Moment
from mtnat.systems import branch_of
from mtnat.training.memory import running_out_raises
from mtnat.training.model import Model
from mtnat.training.workers import Workers

_NOISE_SEED = 1
"""Seed of the noise of validation losses, which is the same in every run."""
_TOKENS_AT_ONCE = 2_048
"""Positions of a batch of validation losses. It is the same in every run, because the noise depends on the batch."""


@dataclass(frozen=True)
class Scored:
    """The translations of a data split and their BLEU score."""

    translations: tuple[str, ...]
    bleu: Score
    seconds: float
    """Wall-clock time of decoding."""


def evaluate_split(model: Model, split: Split, workers: Workers, sentences: int = 0) -> Scored:
    """Decodes a split with the experiment's settings and scores it with sacreBLEU.

    Args:
        sentences: number of sentences to decode, from the first; 0 is all.

    Raises:
        ResourceError: decoding ran out of memory.
    """
    started = time.perf_counter()
    sources = split.sources[:sentences] if sentences else split.sources
    # Modules compiled for training would be compiled again for the shapes of decoding, so decoding runs eagerly.
    eagerly = torch.compiler.set_stance("force_eager") if model.experiment.training.compile else nullcontext()
    tokens = model.experiment.decoding.max_tokens_per_batch
    too_many = f"decoding.max_tokens_per_batch: decoding ran out of memory; got {tokens or 'its default'}; lower it."
    with eagerly, running_out_raises(ResourceError(too_many)):
        shares = workers.gather([line.text for line in model.translate(sources[workers.rank :: workers.size])])
    translations = [""] * len(sources)
    for rank, share in enumerate(shares):
        translations[rank :: workers.size] = share
    seconds = time.perf_counter() - started
    return Scored(tuple(translations), bleu(translations, split.references[: len(sources)]), seconds)


@torch.no_grad()
def split_losses(model: Model, split: Split, workers: Workers, sentences: int = 0) -> dict[str, float]:
    """Computes the mean loss of every part on a split, as in training but without dropout.

    The noise, such as the masked positions, is the same at every step and in every run, so that the losses of two runs of the
    same system differ by their weights only. Sentences that are too long for the model are left out.

    Args:
        sentences: number of sentences, from the first; 0 is all.

    Returns:
        The loss of each part, and as ``loss`` that of the branch that translates, with the weights of its parts. Empty if there
        is no sentence.
    """
    translator, experiment = model.translator, model.experiment
    precision = resolve_precision(experiment.training.precision, workers.device)
    branches = {name: branch_of(translator, name) for name in translator.branches}
    parts = [part for branch in branches.values() for part in branch.parts]
    totals_P2 = [[0.0, 0.0] for _ in parts]
    translator.eval()
    with torch.compiler.set_stance("force_eager") if experiment.training.compile else nullcontext():
        for number, (source_BS, target_BT) in enumerate(_batches(model, split, sentences)):
            if number % workers.size != workers.rank:
                continue
            with computing_in(precision, workers.device):
                found = _losses(model, source_BS, target_BT, _NOISE_SEED + number)
            for total_2, part in zip(totals_P2, parts, strict=True):
                total_2[0] += float(found[part].sum)
                total_2[1] += float(found[part].count)
    everyones_P2 = workers.sum(torch.tensor(totals_P2, dtype=torch.float64, device=workers.device)).tolist()
    totals = dict(zip(parts, everyones_P2, strict=True))
    losses = {f"loss_{part}": total / count for part, (total, count) in totals.items() if count}
    chosen = branches[experiment.decoder]
    if all(f"loss_{part}" in losses for part in chosen.parts):
        losses["loss"] = sum(chosen.weight_of(part) * losses[f"loss_{part}"] for part in chosen.parts)
    return losses


def _losses(model: Model, source_BS: Tensor, target_BT: Tensor, seed: int) -> dict[str, Loss]:
    """Computes the losses of all parts on one batch, which is on the host."""
    translator, steps = model.translator, model.experiment.training.steps
    device = translator.target_tokens.weight.device
    moment = Moment(steps, steps, dropout_seed=seed)
    encoded = translator.encode(source_BS.to(device))
    losses: dict[str, Loss] = {}
    for name in translator.branches:
        branch = branch_of(translator, name)
        noise = branch.draw(source_BS, target_BT, moment, torch.Generator().manual_seed(seed))
        # `only` also computes what a loss needs to know of the noise on the host.
        noise = noise.only(torch.ones(len(source_BS), dtype=torch.bool)).each(lambda tensor: tensor.to(device))
        losses |= {**branch.losses(encoded, noise, moment), **branch.head_losses(encoded, noise)}
    return losses


def _batches(model: Model, split: Split, sentences: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields the sentence pairs that fit the model as tokens [B, S] and [B, T] on the host."""
    count = sentences or len(split.sources)
    sources = model.vocabularies.source.encode(split.sources[:count])
    targets = model.vocabularies.target.encode(split.references[:count])
    most = model.experiment.model.max_positions - 1
    pairs = [pair for pair in zip(sources, targets, strict=True) if all(0 < len(side) <= most for side in pair)]
    for places in group([max(map(len, pair)) for pair in pairs], 1, _TOKENS_AT_ONCE):
        source, target = ([pairs[place][side] for place in places] for side in (0, 1))
        yield pad(source, torch.device("cpu")), pad(target, torch.device("cpu"))
