"""Encoders that a run keeps while it trains."""

import shutil
from pathlib import Path

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import prepare
from mtnat.errors import ModelError
from mtnat.experiment import Experiment
from mtnat.training import Alone, fit, load_model
from mtnat.training.kept_encoders import ENCODERS, KeptEncoders

TINY = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "warmup_steps": 2,
            "validate_every": 4,
            "valid_sentences": 4,
            "model": "last",
        },
        "decoding": {"iterations": 2, "length_candidates": 2},
    },
)
CPU = Alone("cpu")


def trained(folder: Path, experiment: Experiment = TINY) -> KeptEncoders:
    for _ in fit(experiment, prepare(experiment.data), folder, workers=CPU, encoder_every=3):
        pass
    return KeptEncoders(folder / ENCODERS)


@pytest.mark.parametrize("joint", [True, False])
def test_the_encoder_after_the_last_step_is_that_of_the_last_model(tmp_path: Path, joint: bool) -> None:
    kept = trained(tmp_path, replace(TINY, {"data.joint_vocabulary": joint}))
    model = load_model(tmp_path / "model")
    assert kept.steps() == [3, 6]
    source = torch.randint(5, 50, (2, 7))
    states = {step: kept.read(step, model).translator.eval().encoder_layers(source)[-1] for step in kept.steps()}
    final = model.translator.eval().encoder_layers(source)[-1]
    torch.testing.assert_close(states[6], final, rtol=0, atol=0)
    assert not torch.allclose(states[3], final)
    torch.testing.assert_close(model.translator.encoder_layers(source)[-1], final)  # reading changes no model


def test_a_resumed_run_keeps_the_same_encoders(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    for progress in fit(TINY, prepare(TINY.data), tmp_path / "cut", workers=CPU, encoder_every=3):
        if progress.step == 4:
            break
    shutil.rmtree(tmp_path / "cut" / ENCODERS)  # the checkpoint of step 4 is behind the encoder of step 3
    resumed = trained(tmp_path / "cut")
    assert resumed.steps() == [6]
    model = load_model(tmp_path / "cut" / "model")
    one, two = (kept.read(6, model).translator.state_dict() for kept in (whole, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_an_encoder_of_another_model_or_a_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    kept = trained(tmp_path / "one")
    other = replace(TINY, {"model.width": 32})
    trained(tmp_path / "other", other)
    with pytest.raises(ModelError, match="is no encoder of this run's model; remove it"):
        kept.read(3, load_model(tmp_path / "other" / "model"))
    next((tmp_path / "one" / ENCODERS).glob("*3.pt")).write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"cannot be read .*; remove it to leave this step out"):
        kept.read(3, load_model(tmp_path / "one" / "model"))
