"""Training as a user relies on it: reproducible, resumable bit for bit, the same on any number of workers."""

import multiprocessing
import shutil
from pathlib import Path

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import Dataset, prepare
from mtnat.errors import ConfigError, DivergedError, StudyError
from mtnat.experiment import Experiment
from mtnat.training import Alone, Distributed, Progress, evaluate_split, fit, load_model

TINY = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {
            "width": 16,
            "heads": 2,
            "feed_forward": 32,
            "encoder_layers": 1,
            "decoder_layers": 1,
            "dropout": 0.1,
            "max_positions": 128,
        },
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "peak_learning_rate": 1e-3,
            "warmup_steps": 2,
            "log_every": 1,
            "validate_every": 2,
            "valid_sentences": 6,
            "precision": "fp32",
        },
        "decoding": {"iterations": 2, "length_candidates": 2},
    },
)
CPU = Alone("cpu")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return prepare(TINY.data)


def train(experiment: Experiment, dataset: Dataset, folder: Path) -> list[Progress]:
    return list(fit(experiment, dataset, folder, workers=CPU))


def curves(points: list[Progress]) -> list[tuple[int, dict[str, float]]]:
    """The points without what depends on the clock."""
    timed = ("seconds", "per_second")
    return [(point.step, {k: v for k, v in point.metrics.items() if not k.endswith(timed)}) for point in points]


def test_progress_has_every_curve_and_the_run_leaves_a_model(dataset: Dataset, tmp_path: Path) -> None:
    points = train(TINY, dataset, tmp_path)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6, 6]
    assert {"train/loss", "train/loss_at", "train/loss_nat", "train/loss_length", "train/lambda", "train/learning_rate"} <= set(
        points[1].metrics
    )
    assert "train/loss_nat" not in points[0].metrics  # λ(0) = 0: the NAT decoder has not run yet
    assert [point.metrics["train/lambda"] for point in points[:-1]] == pytest.approx([step / 6 for step in range(6)])
    assert ["valid/bleu" in point.metrics for point in points] == [False, True] * 3 + [False]
    assert [point.finished for point in points] == [False] * 6 + [True]
    model = load_model(tmp_path / "model")
    again = evaluate_split(model, dataset.valid, CPU, TINY.training.valid_sentences)
    assert again.bleu.value == points[-1].metrics["final/valid_bleu"] == max(p.metrics.get("valid/bleu", 0) for p in points)
    assert list(again.translations) == (tmp_path / "validation.txt").read_text().split("\n")[:-1]


@pytest.mark.parametrize("killed_after", [3, 4, 6])
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_one(dataset: Dataset, tmp_path: Path, killed_after: int) -> None:
    whole = train(TINY, dataset, tmp_path / "whole")
    interrupted = fit(TINY, dataset, tmp_path / "resumed", workers=CPU)
    before = [next(interrupted) for _ in range(killed_after)]
    interrupted.close()
    after = train(TINY, dataset, tmp_path / "resumed")
    assert after[0].step == killed_after // 2 * 2 + (killed_after < 6)
    merged = dict(curves(before)) | dict(curves(after))
    assert merged == dict(curves(whole))
    weights = [torch.load(tmp_path / name / "model" / "weights.pt") for name in ("whole", "resumed")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_finished_run_is_not_trained_again(dataset: Dataset, tmp_path: Path) -> None:
    last = train(TINY, dataset, tmp_path)[-1]
    shutil.rmtree(tmp_path / "checkpoints")
    assert train(TINY, dataset, tmp_path) == [last]


def test_a_folder_belongs_to_one_experiment(dataset: Dataset, tmp_path: Path) -> None:
    next(fit(TINY, dataset, tmp_path, workers=CPU))
    with pytest.raises(StudyError, match="another experiment"):
        next(fit(replace(TINY, {"seed": 2}), dataset, tmp_path, workers=CPU))


def test_the_seed_decides_everything(dataset: Dataset, tmp_path: Path) -> None:
    first, again = (curves(train(TINY, dataset, tmp_path / name)) for name in ("first", "again"))
    other = curves(train(replace(TINY, {"seed": 2}), dataset, tmp_path / "other"))
    assert first == again != other


def test_checkpoints_keep_the_last_ones_and_the_best(dataset: Dataset, tmp_path: Path) -> None:
    experiment = replace(TINY, {"training.validate_every": 1, "training.keep_checkpoints": 2})
    points = train(experiment, dataset, tmp_path)
    scores = {point.step: point.metrics["valid/bleu"] for point in points if "valid/bleu" in point.metrics}
    best = max(scores, key=lambda step: (scores[step], -step))
    kept = {int(path.stem.removeprefix("step-")) for path in (tmp_path / "checkpoints").glob("*.pt")}
    assert kept == {5, 6, best}


def test_the_averaged_model_is_the_mean_of_the_kept_checkpoints(dataset: Dataset, tmp_path: Path) -> None:
    experiment = replace(TINY, {"training.model": "average", "training.keep_checkpoints": 2})
    train(experiment, dataset, tmp_path)
    last = [torch.load(tmp_path / "checkpoints" / f"step-{step:08d}.pt")["weights"] for step in (4, 6)]
    model = torch.load(tmp_path / "model" / "weights.pt")
    for name, weight in model.items():
        torch.testing.assert_close(weight, (last[0][name] + last[1][name]) / 2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_follows_float32(dataset: Dataset, tmp_path: Path, precision: str) -> None:
    exact = train(TINY, dataset, tmp_path / "exact")
    half = train(replace(TINY, {"training.precision": precision}), dataset, tmp_path / "half")
    for point, reference in zip(half[:-1], exact[:-1], strict=True):
        assert point.metrics["train/loss"] == pytest.approx(reference.metrics["train/loss"], rel=0.01)


@pytest.mark.slow  # compiles for about a minute
def test_a_compiled_run_follows_an_eager_one_and_compiles_for_no_shape_anew(dataset: Dataset, tmp_path: Path) -> None:
    settings = {
        "model.dropout": 0.0,
        "training.steps": 40,
        "training.validate_every": 40,
        "objective.schedule": {"kind": "cosine"},
    }
    experiment = replace(TINY, settings)
    eager = train(experiment, dataset, tmp_path / "eager")
    compiled = fit(replace(experiment, {"training.compile": True}), dataset, tmp_path / "compiled", workers=CPU)
    points = [next(compiled) for _ in range(20)]  # batches of many widths, with padding and without
    with torch._dynamo.config.patch(error_on_recompile=True):
        points += compiled
    for point, reference in zip(points, eager, strict=True):
        assert point.metrics.get("train/loss") == pytest.approx(reference.metrics.get("train/loss"), abs=1e-4)
    assert points[-1].metrics["final/valid_bleu"] == pytest.approx(eager[-1].metrics["final/valid_bleu"], abs=0.5)


def test_a_diverging_run_ends_with_an_error_that_says_what_to_do(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"peak_learning_rate": 1e18, "warmup_steps": 0, "clip_norm": 0.0, "most_skipped_steps": 2, "validate_every": 6}
    experiment = replace(TINY, {f"training.{name}": value for name, value in settings.items()})
    with pytest.raises(DivergedError, match=r"in 3 updates in a row, until step 4; lower training\.peak_learning_rate"):
        train(experiment, dataset, tmp_path)


def test_a_run_that_allows_it_goes_on_without_the_updates_that_are_not_finite(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"peak_learning_rate": 1e18, "warmup_steps": 0, "clip_norm": 0.0, "log_every": 3, "validate_every": 6}
    points = train(replace(TINY, {f"training.{name}": value for name, value in settings.items()}), dataset, tmp_path)
    assert [point.metrics.get("train/skipped_steps") for point in points] == [2, 5, None]
    assert points[0].metrics["train/loss"] < 10  # of the one update that was taken
    assert "train/loss" not in points[1].metrics
    assert points[-1].metrics["final/skipped_steps"] == 5


@pytest.mark.parametrize(("estimator", "batches"), [("weighted", 2), ("sampled", 4)])
def test_accumulation_in_one_process_updates_the_same_as_two(
    dataset: Dataset, tmp_path: Path, estimator: str, batches: int
) -> None:
    settings = {"training.batches_per_step": batches, "training.steps": 20, "training.validate_every": 20}
    experiment = replace(TINY, settings | {"objective.estimator": estimator})
    alone = train(experiment, dataset, tmp_path / "alone")
    spawning = multiprocessing.get_context("spawn")
    ranks = [spawning.Process(target=_train_as_rank, args=(rank, experiment, str(tmp_path))) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    together = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
    assert together[0] == together[1]
    assert [step for step, _ in together[0]] == [point.step for point in alone]
    for (_, metrics), point in zip(together[0], alone, strict=True):
        for name in ("train/loss", "train/loss_at", "train/loss_nat", "train/loss_length"):
            if name in point.metrics:
                assert metrics[name] == pytest.approx(point.metrics[name], abs=1e-4)


class Pair(Alone):
    """Says that it is one of two, which is all that is asked before training starts."""

    size = 2


def test_workers_that_cannot_share_a_step_evenly_are_told_so(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a multiple of the 2 workers; got 1"):
        next(fit(TINY, dataset, tmp_path, workers=Pair("cpu")))
    assert not list(tmp_path.iterdir())


def _train_as_rank(rank: int, experiment: Experiment, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    points = list(fit(experiment, prepare(experiment.data), Path(folder) / "together", workers=Distributed("cpu")))
    torch.save(
        [(p.step, {k: v for k, v in p.metrics.items() if k.startswith("train/loss")}) for p in points],
        f"{folder}/rank{rank}.pt",
    )
    torch.distributed.destroy_process_group()
