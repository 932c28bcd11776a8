"""Training as a user relies on it: reproducible, resumable bit for bit, the same on any number of workers."""

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mtnat.config import build, replace
from mtnat.data import Dataset, prepare
from mtnat.errors import ConfigError, DivergedError, ModelError, StudyError
from mtnat.experiment import Experiment
from mtnat.formats import CHECKPOINT_FORMAT
from mtnat.objective.noise import Moment
from mtnat.testing.processes import processes
from mtnat.training import Alone, Distributed, Progress, Updater, evaluate_split, fit, load_model

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


def checkpoints(folder: Path) -> set[int]:
    return {int(path.stem.removeprefix("step-")) for path in (folder / "checkpoints").glob("*.pt")}


def read(folder: Path, step: int) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(folder / "checkpoints" / f"step-{step:08d}.pt")
    return state


def equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_progress_has_every_curve_and_the_run_leaves_a_model(dataset: Dataset, tmp_path: Path) -> None:
    points = train(TINY, dataset, tmp_path)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6, 6]
    assert {"train/loss", "train/loss_at", "train/loss_nat", "train/loss_length", "train/lambda", "train/learning_rate"} <= set(
        points[1].metrics
    )
    assert "train/loss_nat" not in points[0].metrics  # λ(0) = 0: the NAT decoder has not run yet
    assert [point.metrics["train/lambda"] for point in points[:-1]] == pytest.approx([step / 6 for step in range(6)])
    for name, weights in {
        "at": [1 - step / 6 for step in range(6)],
        "nat": [step / 6 for step in range(6)],
        "length": [step / 60 for step in range(6)],
    }.items():
        assert [point.metrics[f"train/weight_{name}"] for point in points[:-1]] == pytest.approx(weights)
    assert ["valid/bleu" in point.metrics for point in points] == [False, True] * 3 + [False]
    assert [point.finished for point in points] == [False] * 6 + [True]
    model = load_model(tmp_path / "model")
    again = evaluate_split(model, dataset.valid, CPU, TINY.training.valid_sentences)
    assert again.bleu.value == points[-1].metrics["final/valid_bleu"] == max(p.metrics.get("valid/bleu", 0) for p in points)
    assert list(again.translations) == (tmp_path / "validation.txt").read_text().split("\n")[:-1]


@pytest.mark.parametrize("killed_after", [3, 4, 6])
@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_a_resumed_run_is_bit_identical_to_an_uninterrupted_run(
    dataset: Dataset, tmp_path: Path, killed_after: int, ema_decay: float
) -> None:
    experiment = replace(TINY, {"training.ema_decay": ema_decay})
    whole = train(experiment, dataset, tmp_path / "whole")
    interrupted = fit(experiment, dataset, tmp_path / "resumed", workers=CPU)
    before = [next(interrupted) for _ in range(killed_after)]
    interrupted.close()
    after = train(experiment, dataset, tmp_path / "resumed")
    assert after[0].step == killed_after // 2 * 2 + (killed_after < 6)
    merged = dict(curves(before)) | dict(curves(after))
    assert merged == dict(curves(whole))
    assert equal(*(torch.load(tmp_path / name / "model" / "weights.pt") for name in ("whole", "resumed")))
    states = [read(tmp_path / name, 6) for name in ("whole", "resumed")]
    for kind in ("weights", "trained_weights") if ema_decay else ("weights",):
        assert equal(*(state[kind] for state in states))


def test_a_finished_run_is_not_trained_again(dataset: Dataset, tmp_path: Path) -> None:
    last = train(TINY, dataset, tmp_path)[-1]
    shutil.rmtree(tmp_path / "checkpoints")
    assert train(TINY, dataset, tmp_path) == [last]


def test_a_folder_belongs_to_one_experiment(dataset: Dataset, tmp_path: Path) -> None:
    next(fit(TINY, dataset, tmp_path, workers=CPU))
    with pytest.raises(StudyError, match="another experiment"):
        next(fit(replace(TINY, {"seed": 2}), dataset, tmp_path, workers=CPU))


def interrupted(dataset: Dataset, folder: Path) -> Path:
    """The newest checkpoint of a run that was interrupted."""
    points = fit(TINY, dataset, folder, workers=CPU)
    for _ in range(3):
        next(points)
    points.close()
    (path,) = (folder / "checkpoints").glob("*.pt")
    return path


def test_a_checkpoint_without_a_format_is_resumed(dataset: Dataset, tmp_path: Path) -> None:
    path = interrupted(dataset, tmp_path)
    state = torch.load(path)
    assert state.pop("format") == CHECKPOINT_FORMAT
    del state["mtnat"]
    torch.save(state, path)
    assert [point.step for point in train(TINY, dataset, tmp_path)] == [3, 4, 5, 6, 6]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"format": CHECKPOINT_FORMAT + 1, "mtnat": "0.9.0", "step": "of a kind that does not exist yet"},
            "has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer.",
        ),
        ({"updater": {}}, "is of an earlier version of mtnat "),
        ({"weights": {}}, "is of an earlier version of mtnat "),
    ],
)
def test_a_checkpoint_of_another_version_is_refused_and_stays(
    dataset: Dataset, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    path = interrupted(dataset, tmp_path)
    torch.save(torch.load(path) | changes, path)
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}
    with pytest.raises(ModelError) as raised:
        train(TINY, dataset, tmp_path)
    (problem,) = raised.value.problems
    assert problem.startswith(f"{path}: {sentence}")
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def empty(path: Path, _: Path) -> None:
    path.write_bytes(b"")


def cut_short(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Path, _: Path) -> None:
    """A single bit in the middle of the weights, which PyTorch would load."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def folder_instead(path: Path, _: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def of_another_step(path: Path, _: Path) -> None:
    shutil.copy(path.with_name("step-00000002.pt"), path)


def of_another_run(path: Path, other: Path) -> None:
    shutil.copy(other / "checkpoints" / path.name, path)


def without_translations(path: Path, _: Path) -> None:
    path.with_name("step-00000004.valid.txt").unlink()


@pytest.fixture(scope="module")
def other(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of another run that was interrupted after two checkpoints."""
    folder = tmp_path_factory.mktemp("other")
    stopped(replace(TINY, {"seed": 2}), dataset, folder)
    return folder


@pytest.fixture(scope="module")
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> list[Progress]:
    return train(TINY, dataset, tmp_path_factory.mktemp("undisturbed"))


def stopped(experiment: Experiment, dataset: Dataset, folder: Path) -> None:
    """Interrupts a run after its checkpoints of steps 2 and 4."""
    points = fit(experiment, dataset, folder, workers=CPU)
    for _ in range(5):
        next(points)
    points.close()


DAMAGES = [empty, cut_short, flipped, folder_instead, of_another_step, of_another_run, without_translations]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_continues_before_a_damaged_checkpoint_and_ends_with_the_same_result(
    dataset: Dataset, tmp_path: Path, other: Path, undisturbed: list[Progress], damage: Callable[[Path, Path], None]
) -> None:
    stopped(TINY, dataset, tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000004.pt"
    damage(newest, other)
    said: list[str] = []
    resumed = list(fit(TINY, dataset, tmp_path, workers=CPU, say=said.append))
    (sentence,) = said
    assert sentence.startswith(f"{newest}: ")
    assert sentence.endswith("; set aside as damaged-step-00000004.pt")
    assert curves(resumed) == curves(undisturbed)[2:]


def test_a_run_without_a_good_checkpoint_begins_again(dataset: Dataset, tmp_path: Path, undisturbed: list[Progress]) -> None:
    stopped(TINY, dataset, tmp_path)
    flipped(tmp_path / "checkpoints" / "step-00000002.pt", tmp_path)  # the final weights may be those of an older checkpoint
    (tmp_path / "checkpoints" / "step-notes.pt").touch()
    said: list[str] = []
    assert curves(list(fit(TINY, dataset, tmp_path, workers=CPU, say=said.append))) == curves(undisturbed)
    first, second = said
    assert "step-00000002.pt: cannot be read (its part " in first
    assert second.endswith("step-00000004.pt: follows a damaged checkpoint; set aside as damaged-step-00000004.pt")


def test_the_seed_determines_the_training_curves(dataset: Dataset, tmp_path: Path) -> None:
    first, again = (curves(train(TINY, dataset, tmp_path / name)) for name in ("first", "again"))
    other = curves(train(replace(TINY, {"seed": 2}), dataset, tmp_path / "other"))
    assert first == again != other


@pytest.mark.parametrize("model", ["best", "last", "average_last", "average_best"])
def test_the_model_is_the_mean_of_the_checkpoints_that_the_setting_selects(
    dataset: Dataset, tmp_path: Path, model: str
) -> None:
    settings = {"training.validate_every": 1, "training.keep_checkpoints": 2, "training.model": model}
    points = train(replace(TINY, settings), dataset, tmp_path)
    scores = {point.step: point.metrics["valid/bleu"] for point in points if "valid/bleu" in point.metrics}
    ranked = sorted(scores, key=lambda step: (-scores[step], step))
    assert 6 not in ranked[:2]  # otherwise several choices would give the same model
    makes_it = {"best": ranked[:1], "last": [6], "average_last": [5, 6], "average_best": ranked[:2]}[model]
    assert checkpoints(tmp_path) == ({*ranked[:2], 6} if model == "average_best" else {5, 6, ranked[0]})
    weights = [read(tmp_path, step)["weights"] for step in makes_it]
    for name, weight in torch.load(tmp_path / "model" / "weights.pt").items():
        torch.testing.assert_close(weight, torch.stack([each[name] for each in weights]).mean(0))
    final = points[-1].metrics
    assert (final["final/step"], final["final/trained_steps"]) == (max(makes_it), 6)
    again = evaluate_split(load_model(tmp_path / "model"), dataset.valid, CPU, TINY.training.valid_sentences)
    assert final["final/valid_bleu"] == again.bleu.value
    assert list(again.translations) == (tmp_path / "validation.txt").read_text().split("\n")[:-1]


STANDSTILL = {"training.peak_learning_rate": 1e-20, "training.initial_learning_rate": 0.0, "training.steps": 40}
"""No validation is better than the first one."""


def test_early_stopping_ends_a_run_without_changing_its_schedules(dataset: Dataset, tmp_path: Path) -> None:
    patient = train(replace(TINY, STANDSTILL | {"training.patience": 3}), dataset, tmp_path / "patient")
    assert [(point.step, point.finished) for point in patient] == [(step, False) for step in range(1, 9)] + [(8, True)]
    assert patient[-1].metrics["final/trained_steps"] == 8
    assert patient[-1].metrics["final/step"] == 2
    whole = fit(replace(TINY, STANDSTILL), dataset, tmp_path / "whole", workers=CPU)
    assert curves(patient[:-1]) == curves([next(whole) for _ in range(8)])
    whole.close()
    assert patient[7].metrics["train/lambda"] == 7 / 40
    assert train(replace(TINY, STANDSTILL | {"training.patience": 3}), dataset, tmp_path / "patient") == [patient[-1]]


@pytest.mark.parametrize("killed_after", [5, 6, 8])
def test_the_patience_count_survives_a_kill(dataset: Dataset, tmp_path: Path, killed_after: int) -> None:
    experiment = replace(TINY, STANDSTILL | {"training.patience": 3})
    interrupted = fit(experiment, dataset, tmp_path, workers=CPU)
    for _ in range(killed_after):
        next(interrupted)
    interrupted.close()
    points = train(experiment, dataset, tmp_path)
    assert [point.step for point in points] == [*range(killed_after // 2 * 2 + 1, 9), 8]


def test_the_moving_average_becomes_the_model_and_does_not_affect_the_training(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"training.validate_every": 1, "training.keep_checkpoints": 6, "training.warmup_steps": 0}
    plain = train(replace(TINY, settings), dataset, tmp_path / "plain")
    averaged = train(replace(TINY, settings | {"training.ema_decay": 0.8}), dataset, tmp_path / "averaged")
    losses = [[point.metrics.get("train/loss") for point in points] for points in (plain, averaged)]
    assert losses[0] == losses[1]
    seen: list[dict[str, Tensor]] = []
    for step in range(1, 7):
        state = read(tmp_path / "averaged", step)
        seen.append(state["trained_weights"])
        assert equal(seen[-1], read(tmp_path / "plain", step)["weights"])
        shares = [0.8 ** (step - number) for number in range(1, step + 1)]
        for name, weight in state["weights"].items():
            expected = sum(share * each[name].double() for share, each in zip(shares, seen, strict=True)) / sum(shares)
            torch.testing.assert_close(weight.double(), expected, rtol=0, atol=1e-6)
    best = int(averaged[-1].metrics["final/step"])
    assert equal(torch.load(tmp_path / "averaged" / "model" / "weights.pt"), read(tmp_path / "averaged", best)["weights"])


@pytest.fixture
def overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the gradient of every update after the first one infinite."""
    exact = Updater._loss

    def overflowing(self: Updater, draw: object, scales: object, moment: Moment) -> tuple[Tensor, ...]:
        total, *found = exact(self, draw, scales, moment)
        return total * (math.inf if moment.step else 1.0), *found

    monkeypatch.setattr(Updater, "_loss", overflowing)


@pytest.mark.usefixtures("overflow")
def test_skipped_updates_leave_the_moving_average_as_it_is(dataset: Dataset, tmp_path: Path) -> None:
    points = train(replace(TINY, {"training.validate_every": 6, "training.ema_decay": 0.5}), dataset, tmp_path)
    assert points[-1].metrics["final/skipped_steps"] == 5
    state = read(tmp_path, 6)
    assert equal(state["weights"], state["trained_weights"])  # the one update that was taken, six times


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_losses_in_half_precision_are_close_to_float32(dataset: Dataset, tmp_path: Path, precision: str) -> None:
    exact = train(TINY, dataset, tmp_path / "exact")
    half = train(replace(TINY, {"training.precision": precision}), dataset, tmp_path / "half")
    for point, reference in zip(half[:-1], exact[:-1], strict=True):
        assert point.metrics["train/loss"] == pytest.approx(reference.metrics["train/loss"], rel=0.01)


@pytest.mark.slow  # compiles for about a minute
def test_a_compiled_run_is_close_to_an_eager_run_and_does_not_recompile_for_new_shapes(
    dataset: Dataset, tmp_path: Path
) -> None:
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


def test_a_diverging_run_raises_an_error_with_a_remedy(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"peak_learning_rate": 1e18, "warmup_steps": 0, "clip_norm": 0.0, "most_skipped_steps": 2, "validate_every": 6}
    experiment = replace(TINY, {f"training.{name}": value for name, value in settings.items()})
    with pytest.raises(DivergedError, match=r"in 3 updates in a row, until step 4; lower training\.peak_learning_rate"):
        train(experiment, dataset, tmp_path)


def test_a_model_without_a_finite_validation_loss_has_diverged(dataset: Dataset, tmp_path: Path) -> None:
    settings = {"peak_learning_rate": 1e6, "warmup_steps": 0, "clip_norm": 0.0, "validate_every": 6}
    experiment = replace(TINY, {f"training.{name}": value for name, value in settings.items()})
    with pytest.raises(DivergedError, match="the loss on the validation set was not finite at step 6; lower training"):
        train(experiment, dataset, tmp_path)


@pytest.mark.usefixtures("overflow")
def test_non_finite_updates_are_skipped_and_counted_and_the_user_is_told(dataset: Dataset, tmp_path: Path) -> None:
    said: list[str] = []
    experiment = replace(TINY, {"training.log_every": 3, "training.validate_every": 6})
    points = list(fit(experiment, dataset, tmp_path, workers=CPU, say=said.append))
    assert [point.metrics.get("train/skipped_steps") for point in points] == [2, 5, None]
    assert points[0].metrics["train/loss"] < 10  # of the one update that was taken
    assert "train/loss" not in points[1].metrics
    assert points[-1].metrics["final/skipped_steps"] == 5
    (sentence,) = said
    assert sentence.startswith(
        "5 of 6 updates were skipped, because their gradient was not finite; lower training.peak_learning"
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"training.batches_per_step": 2, "training.ema_decay": 0.9},
        {"training.batches_per_step": 4, "objective.estimator": "sampled"},
        STANDSTILL | {"training.batches_per_step": 2, "training.validate_every": 4, "training.patience": 2},
    ],
)
def test_accumulation_in_one_process_gives_the_same_updates_as_two_processes(
    dataset: Dataset, tmp_path: Path, settings: dict[str, Any]
) -> None:
    experiment = replace(TINY, {"training.steps": 20, "training.validate_every": 20} | settings)
    alone = train(experiment, dataset, tmp_path / "alone")
    ranks = [processes().Process(target=_train_as_rank, args=(rank, experiment, str(tmp_path))) for rank in (0, 1)]
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
    ours, theirs = (torch.load(tmp_path / name / "model" / "weights.pt") for name in ("alone", "together"))
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-3)


class Pair(Alone):
    """A worker that reports a group of two, which is all that training reads before it starts."""

    size = 2


def test_batches_per_step_that_workers_cannot_share_evenly_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a multiple of the 2 workers; got 1"):
        next(fit(TINY, dataset, tmp_path, workers=Pair("cpu")))
    assert not list(tmp_path.iterdir())


def _train_as_rank(rank: int, experiment: Experiment, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    points = list(fit(experiment, prepare(experiment.data), Path(folder) / "together", workers=Distributed("cpu")))
    torch.save(curves(points), f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()
