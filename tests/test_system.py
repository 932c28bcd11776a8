"""The whole core on the embedded corpus: data, model, objective, training, decoding and scores."""

from pathlib import Path

import pytest

from mtnat.config import build, replace
from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.training import Alone, Model, evaluate_split, fit, load_model

EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "vocabulary_size": 3000, "max_length": 64},
        "model": {
            "width": 128,
            "heads": 4,
            "feed_forward": 256,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "dropout": 0.0,
            "norm": "pre",
            "max_positions": 64,
        },
        "objective": {"schedule": {"kind": "linear"}, "at_fraction": 0.5},
        "training": {
            "steps": 350,
            "max_tokens_per_batch": 384,
            "peak_learning_rate": 2e-3,
            "warmup_steps": 100,
            "validate_every": 350,
            "valid_sentences": 10,
        },
        "decoding": {"iterations": 10, "length_candidates": 3},
    },
)


@pytest.mark.slow
def test_after_half_a_minute_of_training_one_pass_scores_below_ten_passes_and_greedy_search(tmp_path: Path) -> None:
    dataset = prepare(EXPERIMENT.data)
    workers = Alone("cpu")
    *_, last = fit(EXPERIMENT, dataset, tmp_path, workers=workers)
    assert last.finished
    model = load_model(tmp_path / "model")

    def bleu(**decoding: object) -> float:
        changed = replace(EXPERIMENT, {f"decoding.{name}": value for name, value in decoding.items()})
        return evaluate_split(Model(changed, model.translator, model.vocabularies), dataset.test, workers, 100).bleu.value

    one_pass, ten_passes, greedy = bleu(iterations=1), bleu(iterations=10), bleu(decoder="at", beam=1)
    assert one_pass < ten_passes
    assert one_pass < greedy
    assert min(ten_passes, greedy) > 10  # an untrained model, or one that reads the wrong positions, has less than 2
