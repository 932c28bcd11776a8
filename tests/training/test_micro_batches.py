"""Training with micro-batches equals training with whole batches, up to rounding."""

from pathlib import Path
from typing import Any

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import Dataset, prepare
from mtnat.experiment import Experiment
from mtnat.testing.processes import processes
from mtnat.training import Alone, Distributed, Feed, Progress, Updater, fit

EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "dropout": 0.0,
            "max_positions": 128,
        },
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "peak_learning_rate": 1e-3,
            "warmup_steps": 2,
            "log_every": 1,
            "validate_every": 6,
            "valid_sentences": 6,
            "precision": "fp32",
        },
        "decoding": {"iterations": 2, "length_candidates": 2},
    },
)
CPU = Alone("cpu")
HALF = {"kind": "constant", "value": 0.5}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepare(EXPERIMENT.data)


def train(experiment: Experiment, dataset: Dataset, folder: Path, micro_batches: int) -> list[Progress]:
    return list(fit(experiment, dataset, folder, workers=CPU, micro_batches=micro_batches))


@pytest.mark.parametrize("micro_batches", [2, 5, 64])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective.schedule": {"kind": "constant", "value": 0.0}},
        {"objective.schedule": {"kind": "constant", "value": 1.0}},
        {"objective.schedule": HALF, "objective.at_fraction": 0.2},
        {"objective.estimator": "sampled"},
        {"objective.encoder_passes": 2, "training.batches_per_step": 2},
        {"objective.estimator": "sampled", "training.batches_per_step": 2, "training.precision": "fp16"},
    ],
    ids=str,
)
def test_training_metrics_with_micro_batches_equal_those_with_whole_batches(
    dataset: Dataset, tmp_path: Path, settings: dict[str, Any], micro_batches: int
) -> None:
    experiment = replace(EXPERIMENT, settings)
    whole = train(experiment, dataset, tmp_path / "whole", 1)
    cut = train(experiment, dataset, tmp_path / "cut", micro_batches)
    tolerance = 5e-3 if experiment.training.precision == "fp16" else 1e-5
    for ours, theirs in zip(cut[:-1], whole[:-1], strict=True):
        names = {name for name in theirs.metrics if name.startswith("train/") and "second" not in name}
        assert names == {name for name in ours.metrics if name.startswith("train/") and "second" not in name}
        for name in names:
            assert ours.metrics[name] == pytest.approx(theirs.metrics[name], rel=tolerance), name


def test_the_gradient_of_an_update_with_micro_batches_equals_that_of_the_whole_batch(dataset: Dataset) -> None:
    gradients = []
    for micro_batches in (1, 3):
        torch.manual_seed(1)
        translator = EXPERIMENT.build_translator(dataset.vocabularies).train()
        updater = Updater(EXPERIMENT, EXPERIMENT.build_objective(translator), CPU, micro_batches=micro_batches)
        with Feed(EXPERIMENT, updater.module, dataset.train, CPU, step=3, micro_batches=micro_batches) as feed:
            work = feed.next()
            assert len(work.draws) == len(work.dropout_seeds) == micro_batches
            updater.step(work)
        gradients.append({name: weight.grad for name, weight in translator.named_parameters()})
    whole, cut = gradients
    for name, gradient in whole.items():
        assert gradient is not None
        torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-6)


def test_micro_batches_change_only_the_random_numbers_of_dropout(dataset: Dataset) -> None:
    works = []
    objective = EXPERIMENT.build_objective(EXPERIMENT.build_translator(dataset.vocabularies))
    for micro_batches in (1, 2):
        with Feed(EXPERIMENT, objective, dataset.train, CPU, micro_batches=micro_batches) as feed:
            works.append(feed.next())
    whole, cut = works
    assert whole.dropout_seeds[0] == cut.dropout_seeds[0]
    assert len(set(cut.dropout_seeds)) == 2
    inputs = [[draw.noise["nat"].tensors["input"] for draw in work.draws] for work in (cut, whole)]
    assert torch.equal(torch.cat(inputs[0]), inputs[1][0])
    assert (cut.divisors, cut.target_tokens, cut.position) == (whole.divisors, whole.target_tokens, whole.position)


def test_a_run_can_be_resumed_with_another_number_of_micro_batches(dataset: Dataset, tmp_path: Path) -> None:
    experiment = replace(EXPERIMENT, {"training.validate_every": 2})
    whole = train(experiment, dataset, tmp_path / "whole", 1)
    interrupted = fit(experiment, dataset, tmp_path / "resumed", workers=CPU)
    before = [next(interrupted) for _ in range(4)]
    interrupted.close()
    resumed = before + train(experiment, dataset, tmp_path / "resumed", 4)
    losses = [[point.metrics["train/loss"] for point in points[:-1]] for points in (resumed, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_memory_for_the_backward_pass_shrinks_with_more_micro_batches(dataset: Dataset) -> None:
    held = {micro_batches: _most_bytes_held(dataset, micro_batches) for micro_batches in (1, 2, 8)}
    assert held[2] < 0.6 * held[1]
    assert held[8] < 0.25 * held[1]


def _most_bytes_held(dataset: Dataset, micro_batches: int) -> int:
    """The most bytes held for the backward pass in one update, not counting weights."""
    translator = EXPERIMENT.build_translator(dataset.vocabularies).train()
    updater = Updater(EXPERIMENT, EXPERIMENT.build_objective(translator), CPU, micro_batches=micro_batches)
    weights = {weight.untyped_storage().data_ptr() for weight in translator.parameters()}
    held, most = 0, 0

    class Held:
        def __init__(self, tensor: torch.Tensor) -> None:
            nonlocal held, most
            self.tensor = tensor
            self.bytes = 0 if tensor.untyped_storage().data_ptr() in weights else tensor.nbytes
            held += self.bytes
            most = max(most, held)

        def __del__(self) -> None:
            nonlocal held
            held -= self.bytes

    with (
        Feed(EXPERIMENT, updater.module, dataset.train, CPU, micro_batches=micro_batches) as feed,
        torch.autograd.graph.saved_tensors_hooks(Held, lambda packed: packed.tensor),
    ):
        updater.step(feed.next())
    assert held == 0
    return most


@pytest.mark.parametrize("settings", [{}, {"objective.schedule": HALF, "objective.at_fraction": 0.1}], ids=str)
def test_two_workers_with_micro_batches_update_like_one_worker_without(
    dataset: Dataset, tmp_path: Path, settings: dict[str, Any]
) -> None:
    experiment = replace(EXPERIMENT, {"training.batches_per_step": 2} | settings)
    alone = train(experiment, dataset, tmp_path / "alone", 1)
    ranks = [processes().Process(target=_train_as_rank, args=(rank, experiment, str(tmp_path))) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    losses = [point.metrics["train/loss"] for point in alone[:-1]]
    assert torch.load(tmp_path / "losses.pt") == pytest.approx(losses, rel=1e-5)
    ours, theirs = (torch.load(tmp_path / name / "model" / "weights.pt") for name in ("alone", "together"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-4)


def _train_as_rank(rank: int, experiment: Experiment, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    workers = Distributed("cpu")
    points = list(fit(experiment, prepare(experiment.data), Path(folder) / "together", workers=workers, micro_batches=7))
    if workers.leads:
        torch.save([point.metrics["train/loss"] for point in points[:-1]], f"{folder}/losses.pt")
    torch.distributed.destroy_process_group()
