"""Training by two workers with losses that relate both branches, or that read the raw text."""

from pathlib import Path

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.testing.processes import processes
from mtnat.training import Alone, Distributed, fit

EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300, "max_length": 64},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "dropout": 0.1,
            "max_positions": 64,
        },
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "batches_per_step": 2,
            "peak_learning_rate": 1e-3,
            "warmup_steps": 2,
            "log_every": 1,
            "validate_every": 2,
            "valid_sentences": 4,
            "precision": "fp32",
        },
    },
)
WAYS = {
    name: replace(EXPERIMENT, {f"objective.{setting}": value for setting, value in settings.items()} | {"system.kind": system})
    for name, system, settings in (
        ("at to nat", "mask-predict", {"interaction": "at-to-nat", "at_fraction": 0.5}),
        ("both, not detached", "glat", {"interaction": "both", "interaction_detached": False, "encoder_passes": 2}),
        ("raw prior", "mask-predict", {"raw_prior": True, "interaction": "nat-to-at"}),
    )
}


def losses(experiment: Experiment, cache: Path, folder: Path, workers: Alone | Distributed) -> list[dict[str, float]]:
    """The curves of the parts of the loss."""
    points = fit(experiment, prepare(experiment.data, cache), folder, workers=workers)
    return [{name: value for name, value in point.metrics.items() if name.startswith("train/loss")} for point in points]


def train_as_rank(rank: int, cache: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    workers = Distributed("cpu")
    found = {name: losses(each, cache, folder / "together" / name, workers) for name, each in WAYS.items()}
    if workers.leads:
        torch.save(found, folder / "losses.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    ranks = [processes().Process(target=train_as_rank, args=(rank, cache, tmp_path)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    alone = {name: losses(each, cache, tmp_path / "alone" / name, Alone("cpu")) for name, each in WAYS.items()}
    for process in ranks:
        process.join()
        assert process.exitcode == 0
    together = torch.load(tmp_path / "losses.pt")
    for name, points in alone.items():
        assert "train/loss_nat" in points[2]
        for ours, theirs in zip(points, together[name], strict=True):
            assert theirs == pytest.approx(ours, rel=1e-4), name
