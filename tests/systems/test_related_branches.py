"""Training by two workers with losses that relate both branches, or that read the raw text."""

from pathlib import Path

import pytest

from mtnat.config import replace
from mtnat.testing.system_contract import EXPERIMENT
from mtnat.testing.two_workers import assert_two_workers_equal_one

SHARED = {"model.dropout": 0.1, "training.batches_per_step": 2}
WAYS = {
    name: replace(
        EXPERIMENT, SHARED | {f"objective.{setting}": value for setting, value in settings.items()} | {"system.kind": system}
    )
    for name, system, settings in (
        ("at to nat", "mask-predict", {"interaction": "at-to-nat", "at_fraction": 0.5}),
        ("both, not detached", "glat", {"interaction": "both", "interaction_detached": False, "encoder_passes": 2}),
        ("raw prior", "mask-predict", {"raw_prior": True, "interaction": "nat-to-at"}),
    )
}


@pytest.mark.slow
def test_two_workers_equal_one(tmp_path: Path) -> None:
    for points in assert_two_workers_equal_one(WAYS, tmp_path / "cache", tmp_path).values():
        assert "train/loss_nat" in points[2]
