import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from mtnat.experiment import TrainingConfig
from mtnat.training.optimizer import build_optimizer, learning_rate

CONFIG = TrainingConfig(steps=1000, warmup_steps=100, peak_learning_rate=1e-3, initial_learning_rate=1e-7)


@pytest.mark.parametrize(("step", "expected"), [(0, 1e-7), (50, 5.0005e-4), (100, 1e-3), (400, 5e-4), (900, 1e-3 / 3)])
def test_the_learning_rate_warms_up_then_falls_with_the_inverse_square_root(step: int, expected: float) -> None:
    assert learning_rate(step, CONFIG) == pytest.approx(expected)


def test_without_warm_up_the_first_update_has_the_peak() -> None:
    config = CONFIG.model_copy(update={"warmup_steps": 0})
    assert [learning_rate(step, config) for step in (0, 1, 4)] == pytest.approx([1e-3, 1e-3, 5e-4])


def test_weight_decay_applies_only_to_matrices() -> None:
    optimizer = build_optimizer(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), CONFIG)
    assert [(group["weight_decay"], [tuple(p.shape) for p in group["params"]]) for group in optimizer.param_groups] == [
        (0.01, [(2, 3)]),
        (0.0, [(2,), (2,), (2,)]),
    ]


def test_updates_are_those_of_pytorch_and_continue_from_a_saved_state() -> None:
    torch.manual_seed(1)
    ours, theirs = (nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    own = build_optimizer(ours, CONFIG)
    groups: list[dict[str, Any]] = [{"params": [theirs.weight]}, {"params": [theirs.bias], "weight_decay": 0.0}]
    reference = torch.optim.AdamW(
        groups,
        betas=CONFIG.adam_betas,
        eps=CONFIG.adam_epsilon,
        fused=True,
    )
    for step in range(4):
        if step == 2:
            saved = own.state_dict()
            own = build_optimizer(ours, CONFIG)
            own.load_state_dict(saved)
        for module, optimizer in ((ours, own), (theirs, reference)):
            for group in optimizer.param_groups:
                group["lr"] = 0.1
            optimizer.zero_grad()
            module(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))


@pytest.mark.slow
def test_training_does_not_import_pytorchs_compiler() -> None:
    """The import takes several seconds, in every process that trains."""
    code = """
import sys
from mtnat.config import build
from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.training import fit
from pathlib import Path
from tempfile import TemporaryDirectory

data = {"corpus": "grammar-en-de", "corpus_size": 200, "vocabulary_size": 200, "max_length": 64}
model = {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 64}
training = {"steps": 2, "warmup_steps": 1, "validate_every": 1, "valid_sentences": 2}
experiment = build(Experiment, {
    "data": data, "model": model, "training": training, "objective": {"schedule": {"kind": "constant", "value": 1.0}},
})
with TemporaryDirectory() as folder:
    list(fit(experiment, prepare(experiment.data), Path(folder)))
assert "torch._dynamo" not in sys.modules
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr == ""
