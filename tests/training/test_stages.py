"""Training in stages of different text: exact resuming, the text of each update, micro-batches and workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mtnat.config import build, replace
from mtnat.data import BatchStream, Dataset, Position, prepare
from mtnat.data.corpus import open_raw_corpus
from mtnat.errors import ConfigError, DataError
from mtnat.experiment import Experiment
from mtnat.testing.processes import processes
from mtnat.training import Alone, Distributed, Feed, Progress, fit

CPU = Alone("cpu")
STAGES = [{"text": "raw", "share": 2}, {"text": "bidirectional", "share": 2}, {"text": "distilled", "share": 3}]
RAW: dict[str, Any] = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 200, "vocabulary_size": 250},
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
        "steps": 14,
        "max_tokens_per_batch": 512,
        "peak_learning_rate": 1e-3,
        "warmup_steps": 2,
        "log_every": 1,
        "validate_every": 1,
        "valid_sentences": 2,
        "precision": "fp32",
        "keep_checkpoints": 14,
    },
    "decoding": {"iterations": 1, "length_candidates": 1},
}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """An experiment whose stages end after 4, 8 and 14 of 14 updates. The written sides are those of the corpus, with the words
    in another order and one word more."""
    folder = tmp_path_factory.mktemp("text")
    raw = build(Experiment, RAW)
    pairs = list(open_raw_corpus(raw.data, folder).pairs("train"))
    for name, side in (("distilled.de", 1), ("reverse.en", 0)):
        turned = [" ".join(["a", *reversed(pair[side].split())]) for pair in pairs]
        (folder / name).write_text("".join(f"{line}\n" for line in turned))
    texts = {"data.distilled": str(folder / "distilled.de"), "data.reverse_distilled": str(folder / "reverse.en")}
    return replace(raw, {**texts, "data.stages": STAGES})


@pytest.fixture(scope="module")
def dataset(experiment: Experiment) -> Dataset:
    return prepare(experiment.data)


def curves(points: list[Progress]) -> list[tuple[int, dict[str, float]]]:
    """The points without what depends on the clock."""
    timed = ("seconds", "per_second")
    return [(point.step, {k: v for k, v in point.metrics.items() if not k.endswith(timed)}) for point in points]


def state(folder: Path, step: int) -> Mapping[str, Any]:
    found: Mapping[str, Any] = torch.load(folder / "checkpoints" / f"step-{step:08d}.pt")
    return found


@pytest.fixture(scope="module")
def whole(experiment: Experiment, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    """The folder and the points of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, list(fit(experiment, dataset, folder, workers=CPU))


def test_the_stages_share_the_vocabulary_of_the_corpus_own_text(experiment: Experiment, dataset: Dataset) -> None:
    raw = prepare(build(Experiment, RAW).data)
    assert dataset.vocabularies.fingerprint == raw.vocabularies.fingerprint
    assert dataset.train.folder == raw.train.folder  # tokenised once, also for other runs
    assert [len(store) for store in dataset.stages] == [200, 400, 200]
    assert dataset.fingerprint != raw.fingerprint
    other = prepare(replace(experiment, {"data.stages": [STAGES[0], STAGES[2]]}).data)
    assert other.fingerprint != dataset.fingerprint
    assert [len(store) for store in other.stages] == [200, 200]
    assert other.train.folder == raw.train.folder


def test_each_update_has_the_text_of_its_stage(experiment: Experiment, dataset: Dataset) -> None:
    assert experiment.stage_ends == (4, 8, 14)
    objective = experiment.build_objective(experiment.build_translator(dataset.vocabularies))
    with Feed(experiment, objective, dataset.train, CPU, later=dataset.later) as feed:
        works = [feed.next() for _ in range(14)]
    position = Position()
    for store, begin, end in zip(dataset.stages, (0, 4, 8), (4, 8, 14), strict=True):
        stream = BatchStream(store, max_tokens=512, seed=experiment.seed, position=position)
        for work in works[begin:end]:
            ((_, batch),) = stream.next_step()
            assert torch.equal(work.draws[0].source_BS, batch.source_BS)
            assert torch.equal(work.draws[0].noise["at"].tensors["target"], batch.target_BT)
        assert works[end - 1].position == stream.position
        position = Position(stream.position.epoch + 1)


@pytest.mark.parametrize("killed_after", [2, 4, 6, 8, 11])
def test_a_run_is_resumed_exactly_in_the_middle_and_at_the_end_of_each_stage(
    experiment: Experiment, dataset: Dataset, whole: tuple[Path, list[Progress]], tmp_path: Path, killed_after: int
) -> None:
    interrupted = fit(experiment, dataset, tmp_path, workers=CPU)
    before = [next(interrupted) for _ in range(killed_after)]
    interrupted.close()
    after = list(fit(experiment, dataset, tmp_path, workers=CPU))
    assert after[0].step == killed_after + 1
    assert curves([*before, *after]) == curves(whole[1])
    ours, theirs = state(tmp_path, 14), state(whole[0], 14)
    assert all(torch.equal(ours["weights"][name], weight) for name, weight in theirs["weights"].items())
    moments = [
        [moment for each in found["updater"]["optimizer"]["state"].values() for moment in each.values()]
        for found in (ours, theirs)
    ]
    assert all(torch.equal(one, other) for one, other in zip(*moments, strict=True))


def test_the_optimizer_continues_over_the_stages_and_the_curves_show_them(
    experiment: Experiment, whole: tuple[Path, list[Progress]]
) -> None:
    folder, points = whole
    assert [point.metrics["train/stage"] for point in points[:-1]] == [1.0] * 4 + [2.0] * 4 + [3.0] * 6
    rates = [point.metrics["train/learning_rate"] for point in points[:-1]]
    assert rates[2:] == sorted(rates[2:], reverse=True)  # no second warm-up
    steps = [float(next(iter(state(folder, step)["updater"]["optimizer"]["state"].values()))["step"]) for step in (9, 14)]
    assert steps == [9.0, 14.0]


def test_the_final_weights_are_of_the_last_stage_and_only_it_can_end_early(
    experiment: Experiment, dataset: Dataset, tmp_path: Path
) -> None:
    still = {"training.peak_learning_rate": 1e-20, "training.initial_learning_rate": 0.0, "training.warmup_steps": 0}
    patient = replace(experiment, still | {"training.patience": 2})
    points = list(fit(patient, dataset, tmp_path, workers=CPU))
    # No validation is better than the one before. The first one of the last stage is that of update 9.
    assert points[-1].metrics["final/trained_steps"] == 11
    assert points[-1].metrics["final/step"] == 9


def test_micro_batches_compute_the_same_losses_in_every_stage(experiment: Experiment, dataset: Dataset, tmp_path: Path) -> None:
    exact = replace(experiment, {"model.dropout": 0.0, "training.validate_every": 14})
    one = list(fit(exact, dataset, tmp_path / "one", workers=CPU))
    two = list(fit(exact, dataset, tmp_path / "two", workers=CPU, micro_batches=2))
    for point, reference in zip(two[:-1], one[:-1], strict=True):
        assert point.metrics["train/loss"] == pytest.approx(reference.metrics["train/loss"], abs=1e-4)


def test_two_workers_train_on_the_same_stages_as_one(experiment: Experiment, dataset: Dataset, tmp_path: Path) -> None:
    shared = replace(experiment, {"training.batches_per_step": 2, "training.validate_every": 14})
    alone = list(fit(shared, dataset, tmp_path / "alone", workers=CPU))
    ranks = [processes().Process(target=_train_as_rank, args=(rank, shared, str(tmp_path))) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    together = torch.load(tmp_path / "rank0.pt")
    assert [step for step, _ in together] == [point.step for point in alone]
    for (_, metrics), point in zip(together[:-1], alone[:-1], strict=True):
        assert metrics["train/stage"] == point.metrics["train/stage"]
        assert metrics["train/loss"] == pytest.approx(point.metrics["train/loss"], abs=1e-4)


def _train_as_rank(rank: int, experiment: Experiment, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
    points = list(fit(experiment, prepare(experiment.data), Path(folder) / "together", workers=Distributed("cpu")))
    torch.save(curves(points), f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_a_run_too_short_for_its_stages_is_refused(experiment: Experiment) -> None:
    with pytest.raises(ConfigError) as raised:
        replace(experiment, {"training.steps": 3, "data.stages": [{"text": "raw", "share": 0.1}, STAGES[1], STAGES[2]]})
    assert raised.value.problems == ("data.stages must have at least one step each; got [0, 1, 2] of 3 steps.",)


def test_a_sentence_of_a_later_stage_that_is_too_long_is_reported_before_the_first_update(
    experiment: Experiment, dataset: Dataset, tmp_path: Path
) -> None:
    longest = [int(store.lengths_N2.max()) for store in dataset.stages]
    assert longest[1] > longest[0]
    small = replace(experiment, {"training.max_tokens_per_batch": longest[0]})
    with pytest.raises(DataError, match=rf"must hold the longest sentence, {longest[1]} tokens; got {longest[0]}"):
        next(fit(small, dataset, tmp_path, workers=CPU))
