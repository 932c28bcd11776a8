"""One update: what it takes, what it leaves alone."""

import math
import os
import sys
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from mtnat.config import build, replace
from mtnat.data import Dataset, Position, prepare
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.objective import MultiTaskObjective
from mtnat.systems.registry import BUILT_IN, kind_of
from mtnat.training import Alone, Feed, Updater
from mtnat.training.teacher import stand_in_teacher
from mtnat.training.window import CURVES, Window

EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "dropout": 0.1,
            "max_positions": 128,
        },
        "objective": {"schedule": {"kind": "step"}},
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "peak_learning_rate": 1e-2,
            "warmup_steps": 0,
            "precision": "fp32",
        },
    },
)
CPU = Alone("cpu")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepare(EXPERIMENT.data)


def objective_of(dataset: Dataset, experiment: Experiment = EXPERIMENT) -> MultiTaskObjective:
    torch.manual_seed(1)
    return experiment.build_objective(experiment.build_translator(dataset.vocabularies).train())


def updater(dataset: Dataset, experiment: Experiment = EXPERIMENT) -> Updater:
    return Updater(experiment, objective_of(dataset, experiment), CPU)


def weights(updater: Updater) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in updater.objective.named_parameters()}


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> set[str]:
    return {name for name, weight in before.items() if not torch.equal(weight, after[name])}


def told(updater: Updater, curves: Tensor) -> dict[str, float]:
    return dict(zip(updater.curves, curves.tolist(), strict=True))


def test_a_decoder_whose_weight_is_0_is_left_as_it_is(dataset: Dataset) -> None:
    one = updater(dataset)
    with Feed(EXPERIMENT, one.module, dataset.train, CPU) as feed:
        for step in range(6):
            before = weights(one)
            curves = told(one, one.step(feed.next()))
            moved = {name.removeprefix("translator.branches.") for name in changed(before, weights(one))}
            ran, idle = ("at", "nat") if step < 3 else ("nat", "at")
            assert any(name.startswith(f"{ran}.decoder.") for name in moved)
            assert not any(name.startswith(f"{idle}.") for name in moved)
            assert any("length_head" in name for name in moved) == (ran == "nat")
            assert curves[f"count_{ran}"] > 0
            assert curves[f"count_{idle}"] == 0


def first_update(dataset: Dataset, estimator: str, value: float) -> tuple[Tensor, Tensor]:
    """Returns what the first update with a constant λ adds to the NAT decoder's own weights, and to those of the encoder."""
    settings = {
        "model.dropout": 0.0,
        "objective": {"schedule": {"kind": "constant", "value": value}, "estimator": estimator},
        "training.clip_norm": 0.0,
    }
    experiment = replace(EXPERIMENT, settings)
    one = updater(dataset, experiment)
    before = weights(one)
    with Feed(experiment, one.module, dataset.train, CPU) as feed:
        one.step(feed.next())
    moves = {name: weight - before[name] for name, weight in weights(one).items()}
    decoder, encoder = (
        torch.cat([move.flatten() for name, move in moves.items() if name.startswith(f"translator.{part}.")])
        for part in ("branches.nat.decoder", "encoder")
    )
    return decoder, encoder


def test_adam_cancels_lambda_in_a_decoders_own_weights_but_not_in_the_encoder(dataset: Dataset) -> None:
    """Adam divides a gradient by its own size, so λ changes the update only where the gradients of both losses add up, or where
    it changes more than the size: with the estimator `sampled`, λ is the share of the sentences that the decoder sees."""

    def difference(first: Tensor, second: Tensor) -> float:
        return float((first - second).norm() / first.norm())

    half, twentieth = (first_update(dataset, "weighted", value) for value in (0.5, 0.05))
    assert difference(half[0], twentieth[0]) < 0.1
    assert difference(half[1], twentieth[1]) > 0.3
    half, twentieth = (first_update(dataset, "sampled", value) for value in (0.5, 0.05))
    assert difference(half[0], twentieth[0]) > 0.3


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_an_update_that_is_not_finite_is_skipped_and_counted(dataset: Dataset, precision: str) -> None:
    one = updater(dataset, replace(EXPERIMENT, {"training.precision": precision}))
    bias = one.objective.get_parameter("translator.encoder.layers.0.feed_forward.outer.bias")
    with Feed(EXPERIMENT, one.module, dataset.train, CPU) as feed:
        for _ in range(2):
            one.step(feed.next())
        with torch.no_grad():
            bias[0] = math.inf
        before = weights(one)
        in_a_row = [told(one, one.step(feed.next()))["skipped_in_a_row"] for _ in range(2)]
        assert in_a_row == [1, 2]
        assert not changed(before, weights(one))
        with torch.no_grad():
            bias[0] = 0
        before = weights(one)
        assert told(one, one.step(feed.next()))["skipped_in_a_row"] == 0
        assert changed(before, weights(one))
        assert all(weight.isfinite().all() for weight in weights(one).values())


def test_a_window_averages_what_was_taken_and_counts_the_rest() -> None:
    def curves(**values: float) -> Tensor:
        return torch.tensor([values.get(name, 0.0) for name in names], dtype=torch.float64)

    names = (*CURVES, "sum_at", "sum_nat", "sum_glanced", "count_at", "count_nat", "count_glanced")
    window = Window(
        names,
        ("at", "nat"),
        ("glanced",),
        curves=[
            curves(loss=4, gradient_norm=1, target_tokens=10, sum_at=30, count_at=10),
            curves(loss=math.nan, gradient_norm=math.inf, skipped_in_a_row=1, target_tokens=10, sum_at=math.nan, count_at=10),
            curves(loss=2, gradient_norm=3, target_tokens=20, sum_at=20, count_at=15, sum_glanced=3, count_glanced=4),
        ],
    )
    means = window.close().read()
    assert means.values == {"loss": 3, "gradient_norm": 2, "loss_at": 2, "glanced": 0.75}
    assert (means.target_tokens, means.skipped, means.skipped_in_a_row) == (40, 1, 1)
    assert window.curves == []


def test_the_feed_prepares_the_same_for_any_thread_from_any_position(dataset: Dataset) -> None:
    objective = objective_of(dataset)
    with Feed(EXPERIMENT, objective, dataset.train, CPU) as feed:
        whole = [feed.next() for _ in range(5)]
    assert [work.step for work in whole] == list(range(5))
    with Feed(EXPERIMENT, objective, dataset.train, CPU, step=3, position=whole[2].position) as feed:
        later = feed.next()
    assert whole[2].position != Position()
    assert (later.step, later.position, later.dropout_seeds) == (3, whole[3].position, whole[3].dropout_seeds)
    for ours, theirs in zip(later.draws, whole[3].draws, strict=True):
        assert torch.equal(ours.source_BS, theirs.source_BS)
        assert torch.equal(ours.noise["nat"].tensors["input"], theirs.noise["nat"].tensors["input"])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_baseline_trains_on_what_a_multi_task_run_of_the_same_seed_has(dataset: Dataset, value: float) -> None:
    name = "nat" if value else "at"
    settings = {"objective.at_fraction": 0.4, "training.batches_per_step": 2}
    alone, both = (
        replace(EXPERIMENT, settings | {"objective.schedule": {"kind": "constant", "value": share}}) for share in (value, 0.5)
    )
    drawn = []
    for experiment in (alone, both):
        with Feed(experiment, objective_of(dataset, experiment), dataset.train, CPU) as feed:
            drawn.append([draw for _ in range(4) for draw in feed.next().draws])
    for ours, theirs in zip(*drawn, strict=True):
        assert list(ours.noise) == [name]
        assert torch.equal(ours.source_BS, theirs.source_BS)
        seen, seen_beside = ours.noise[name], theirs.noise[name]
        assert (seen.rows_R is None) == (seen_beside.rows_R is None)
        assert seen.rows_R is None or torch.equal(seen.rows_R, seen_beside.rows_R)
        assert all(torch.equal(tensor, seen_beside.tensors[key]) for key, tensor in seen.tensors.items())
    if name == "at":
        assert any(draw.noise[name].rows_R is not None for draw in drawn[0])


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, to count threads")
def test_the_feed_computes_in_one_thread_however_many_train() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        large = replace(EXPERIMENT, {"data.corpus_size": 3_000, "training.max_tokens_per_batch": 4_096})
        dataset = prepare(large.data)
        objective = objective_of(dataset, large)
        torch.ones(1 << 20).exp()  # for which this thread gets its helper
        before = set(os.listdir("/proc/self/task"))
        with Feed(large, objective, dataset.train, CPU) as feed:
            for _ in range(6):
                feed.next()
            assert len(set(os.listdir("/proc/self/task")) - before) == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_an_error_during_preparation_is_raised_where_the_work_is_taken(dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        Feed(EXPERIMENT.model_copy(update={"seed": -1}), objective_of(dataset), dataset.train, CPU).next()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("system", [kind_of(system) for system in BUILT_IN])
def test_no_step_waits_for_the_gpu(dataset: Dataset, system: str) -> None:
    experiment, workers = replace(EXPERIMENT, {"system.kind": system}), Alone("cuda")
    torch.manual_seed(1)

    def new(experiment: Experiment) -> Translator:
        return experiment.build_translator(dataset.vocabularies).train().to("cuda")

    translator = new(experiment)
    stand_in_teacher(experiment, translator, new)
    one = Updater(experiment, experiment.build_objective(translator), workers)
    with Feed(experiment, one.module, dataset.train, workers) as feed:
        one.step(feed.next())
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(4):
                curves = one.step(feed.next())
            window = Window(one.curves, one.module.parts, curves=[curves]).close()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert window.read().values["loss"] > 0
