"""Validation: all workers decode a part of a data split, and the translations are scored; the losses on the same sentences."""

import time
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from mtnat.data import Split
from mtnat.errors import ResourceError
from mtnat.evaluation import Score, bleu
from mtnat.model import computing_in, resolve_precision
from mtnat.objective import Loss, Moment
from mtnat.systems import branch_of
from mtnat.tokens import EOS, PAD
from mtnat.training.memory import running_out_raises
from mtnat.training.model import Model
from mtnat.training.workers import Workers

_NOISE_SEED = 1
"""Seed of the noise of validation losses, which is the same in every run."""
_AT_ONCE = 32
"""Sentences of a batch of validation losses."""


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
    steps = experiment.training.steps
    precision = resolve_precision(experiment.training.precision, workers.device)
    batches = _batches(model, split, sentences)
    branches = {name: branch_of(translator, name) for name in translator.branches}
    parts = [part for branch in branches.values() for part in branch.parts]
    totals_P2 = torch.zeros(len(parts), 2, dtype=torch.float64, device=workers.device)
    translator.eval()
    with torch.compiler.set_stance("force_eager") if experiment.training.compile else nullcontext():
        for number in range(workers.rank, len(batches), workers.size):
            source_BS, target_BT = batches[number]
            moment = Moment(steps, steps, dropout_seed=number)
            found: dict[str, Loss] = {}
            with computing_in(precision, workers.device):
                encoded = translator.encode(source_BS.to(workers.device))
                for branch in branches.values():
                    generator = torch.Generator().manual_seed(_NOISE_SEED + number)
                    noise = branch.draw(source_BS, target_BT, moment, generator)
                    # `only` also computes what a loss needs to know of the noise on the host.
                    noise = noise.only(torch.ones(len(source_BS), dtype=torch.bool))
                    noise = noise.each(lambda tensor: tensor.to(workers.device))
                    found.update(branch.losses(encoded, noise, moment))
                    found.update(branch.head_losses(encoded, noise))
            totals_P2 += torch.stack([_sum_and_count(found[part], workers.device) for part in parts])
    totals_P2 = workers.sum(totals_P2)
    losses = {f"loss_{part}": total / count for part, (total, count) in zip(parts, totals_P2.tolist(), strict=True) if count}
    chosen = branches[experiment.decoder]
    if all(f"loss_{part}" in losses for part in chosen.parts):
        losses["loss"] = sum(chosen.weight_of(part) * losses[f"loss_{part}"] for part in chosen.parts)
    return losses


def _sum_and_count(loss: Loss, device: torch.device) -> Tensor:
    return torch.stack([torch.as_tensor(value, device=device).double() for value in (loss.sum, loss.count)])


def _batches(model: Model, split: Split, sentences: int) -> list[tuple[Tensor, Tensor]]:
    """Returns the sentence pairs that fit the model as tokens [B, S] and [B, T], pairs of similar lengths together."""
    count = sentences or len(split.sources)
    sources = model.vocabularies.source.encode(split.sources[:count])
    targets = model.vocabularies.target.encode(split.references[:count])
    most = model.experiment.model.max_positions - 1
    pairs = [pair for pair in zip(sources, targets, strict=True) if all(0 < len(side) <= most for side in pair)]
    pairs.sort(key=lambda pair: (len(pair[1]), len(pair[0])))
    groups = [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]
    return [(_padded([source for source, _ in group]), _padded([target for _, target in group])) for group in groups]


def _padded(rows: list[list[int]]) -> Tensor:
    width = max(map(len, rows)) + 1
    return torch.tensor([[*row, EOS, *[PAD] * (width - len(row) - 1)] for row in rows])
