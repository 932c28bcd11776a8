"""Sizes of model, batch and text, and the systems, that `bench train` can measure."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mtnat.bench.text import MULTI30K, WMT, Lengths, random_pairs
from mtnat.config import build
from mtnat.data import TokenStore, prepare, write_store
from mtnat.errors import DataError
from mtnat.experiment import Experiment
from mtnat.systems import registry

SizeName = Literal["small", "base", "tiny"]
_NAT_ALONE = {"schedule": {"kind": "constant", "value": 1.0}}
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "at": {"objective": {"schedule": {"kind": "constant", "value": 0.0}}},
    "nat": {"objective": _NAT_ALONE},
    "multi_task": {"objective": {"schedule": {"kind": "constant", "value": 0.5}}},
    "multi_task_sampled": {"objective": {"schedule": {"kind": "constant", "value": 0.5}, "estimator": "sampled"}},
    **{
        kind.replace("-", "_"): {"objective": _NAT_ALONE, "system": {"kind": kind}}
        for kind in map(registry.kind_of, registry.SYSTEMS)
        if kind != "mask-predict"
    },
}
"""Name of a row of `bench train` → sections of an experiment."""
if TYPE_CHECKING:
    SystemName = str
else:
    SystemName = Literal[tuple(SYSTEMS)]

MULTI30K_FILES = {
    "train": ["multi30k/train.en.gz", "multi30k/train.de.gz"],
    "valid": ["multi30k/val.en.gz", "multi30k/val.de.gz"],
    "test": ["multi30k/test_2016_flickr.en.gz", "multi30k/test_2016_flickr.de.gz"],
}
"""As in measurements/multi30k_equal_tokens.yaml."""

_SEED = 1


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size of model, batch and text."""

    data: Mapping[str, Any]
    """`data` of the experiment. With random text it is unused, but an experiment requires it."""
    model: Mapping[str, Any]
    max_tokens_per_batch: int
    lengths: Lengths
    """Distribution of the lengths of random text."""
    random_pairs: int
    """Number of pairs of random text; enough for batches of similar lengths."""
    batches_per_step: int = 1
    is_always_random: bool = False

    @property
    def vocabulary_size(self) -> int:
        """Number of pieces of the joint vocabulary."""
        return int(self.data["vocabulary_size"])


SIZES: Mapping[SizeName, Size] = {
    "small": Size(
        data={**MULTI30K_FILES, "vocabulary_size": 8_000},
        model={
            "width": 256,
            "heads": 4,
            "feed_forward": 1024,
            "encoder_layers": 3,
            "decoder_layers": 3,
            "dropout": 0.1,
            "norm": "pre",
            "max_positions": 128,
        },
        max_tokens_per_batch=4_096,
        lengths=MULTI30K,
        random_pairs=29_000,
    ),
    "base": Size(  # Hao et al. 2021, A.1: 128K tokens a step
        data={"corpus": "grammar-en-de", "vocabulary_size": 32_000},
        model={},
        max_tokens_per_batch=16_384,
        batches_per_step=8,
        lengths=WMT,
        random_pairs=100_000,
        is_always_random=True,
    ),
    "tiny": Size(
        data={"corpus": "grammar-en-de", "corpus_size": 2_000, "vocabulary_size": 800},
        model={"width": 64, "heads": 4, "feed_forward": 256, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
        max_tokens_per_batch=512,
        lengths=MULTI30K,
        random_pairs=2_000,
    ),
}


def experiment_of(size: Size, system: SystemName, *, precision: str, compiles: bool, batches_per_step: int) -> Experiment:
    """Returns the experiment of a system in a size."""
    training = {
        "max_tokens_per_batch": size.max_tokens_per_batch,
        "batches_per_step": batches_per_step,
        "precision": precision,
        "compile": compiles,
    }
    parts = {"data": size.data, "model": size.model, "training": training, "seed": _SEED, **SYSTEMS[system]}
    return build(Experiment, parts)


def training_text(size: Size, folder: Path, *, is_random: bool) -> TokenStore:
    """Returns the tokenised training pairs of a size; random text is written into `folder`.

    Raises:
        DataError: if the corpus is missing.
    """
    if is_random or size.is_always_random:
        pairs = random_pairs(size.lengths, size.random_pairs, size.vocabulary_size, _SEED)
        return write_store(folder, pairs, largest_vocabulary=size.vocabulary_size, max_length=size.lengths.longest + 1)
    require_files(size.data, "or add --random-text, which needs no files")
    return prepare(experiment_of(size, "nat", precision="fp32", compiles=False, batches_per_step=1).data).train


def require_files(data: Mapping[str, Any], remedy: str) -> None:
    """Checks that the files of a corpus exist.

    Args:
        remedy: end of the message: what to do instead.

    Raises:
        DataError: if a file is missing.
    """
    root = Path(os.environ.get("MTNAT_DATA") or "data")
    missing = [
        root / name for split in ("train", "valid", "test") for name in data.get(split, ()) if not (root / name).is_file()
    ]
    if missing:
        others = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise DataError(f"{missing[0]}{others}: no such file; set $MTNAT_DATA to the folder that holds the corpora, {remedy}.")
