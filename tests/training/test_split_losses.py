"""Losses on the validation set, with the same noise at every step of every run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import Dataset, Split, prepare
from mtnat.experiment import Experiment
from mtnat.systems import branch_of
from mtnat.training import Alone, Model, fit
from mtnat.training.validation import split_losses

CPU = Alone("cpu")
EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
        "objective": {"label_smoothing": 0.0},
        "training": {"steps": 4, "max_tokens_per_batch": 256, "warmup_steps": 2, "validate_every": 2, "precision": "fp32"},
        "decoding": {"iterations": 2, "length_candidates": 2},
    },
)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepare(EXPERIMENT.data)


def untrained(dataset: Dataset, experiment: Experiment = EXPERIMENT) -> Model:
    torch.manual_seed(1)
    return Model(experiment, experiment.build_translator(dataset.vocabularies), dataset.vocabularies)


SYSTEMS: dict[str, dict[str, Any]] = {
    "mask-predict": {},
    "glat": {"system.kind": "glat", "decoding": {"iterations": 1}},
    "ctc": {"system.kind": "ctc", "decoding": {"kind": "ctc"}},
    "at": {"objective.schedule": {"kind": "constant", "value": 0.0}},
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_losses_are_the_same_at_each_call_and_do_not_depend_on_random_numbers(dataset: Dataset, name: str) -> None:
    model = untrained(dataset, replace(EXPERIMENT, SYSTEMS[name]))
    found = split_losses(model, dataset.valid, CPU, 40)
    torch.manual_seed(99)
    model.translator.train()  # whose dropout must not count
    assert split_losses(model, dataset.valid, CPU, 40) == found
    parts = [part for branch in model.translator.branches for part in branch_of(model.translator, branch).parts]
    assert found.keys() == {"loss", *(f"loss_{part}" for part in parts)}
    assert all(value > 0 for value in found.values())


def test_the_loss_is_that_of_the_branch_that_translates_with_the_weights_of_its_parts(dataset: Dataset) -> None:
    found = split_losses(untrained(dataset), dataset.valid, CPU, 40)
    assert found["loss"] == pytest.approx(found["loss_nat"] + 0.1 * found["loss_length"])
    at = split_losses(untrained(dataset, replace(EXPERIMENT, {"decoding.decoder": "at"})), dataset.valid, CPU, 40)
    assert at["loss"] == at["loss_at"] == found["loss_at"]


def test_the_loss_is_the_mean_over_predictions_and_not_over_batches(dataset: Dataset) -> None:
    """The AT loss of each sentence by itself, weighted with its number of tokens, gives that of the batches with padding."""
    model = untrained(dataset)
    split = dataset.valid
    whole = split_losses(model, split, CPU, 40)["loss_at"]
    total, tokens = 0.0, 0
    for source, reference in zip(split.sources[:40], split.references[:40], strict=True):
        count = len(dataset.vocabularies.target.encode([reference])[0]) + 1
        total += count * split_losses(model, Split("one", (source,), (reference,)), CPU)["loss_at"]
        tokens += count
    assert whole == pytest.approx(total / tokens, rel=1e-5)


def test_sentences_that_are_too_long_are_left_out(dataset: Dataset) -> None:
    long = "the house " * 200
    usual = Split("usual", dataset.valid.sources[:5], dataset.valid.references[:5])
    longer = Split("longer", (*usual.sources, long, "a house"), (*usual.references, "ein Haus", long))
    model = untrained(dataset)
    assert split_losses(model, longer, CPU) == split_losses(model, usual, CPU)
    assert split_losses(model, Split("long", (long,), (long,)), CPU) == {}


def test_a_run_reports_the_losses_of_each_validation_and_that_of_its_model(dataset: Dataset, tmp_path: Path) -> None:
    points = list(fit(EXPERIMENT, dataset, tmp_path, workers=CPU))
    validated = {point.step: point.metrics for point in points if "valid/bleu" in point.metrics}
    assert all(
        {"valid/loss", "valid/loss_at", "valid/loss_nat", "valid/loss_length"} <= metrics.keys()
        for metrics in validated.values()
    )
    last = points[-1].metrics
    assert last["final/valid_loss"] == validated[int(last["final/step"])]["valid/loss"]
