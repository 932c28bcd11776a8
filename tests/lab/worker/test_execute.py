"""One run as Tune's actor or a Ray Train worker performs it, without either of them."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from mtnat.analysis.encoders import compare_encoders, readable_sentences
from mtnat.config import build, replace
from mtnat.experiment import Experiment
from mtnat.lab.outputs.curves import read_curves, read_point
from mtnat.lab.outputs.folder import STOP_FILE, StudyFolder, read_result
from mtnat.lab.outputs.micro_batches import MOST_MICRO_BATCHES, double_micro_batches, read_micro_batches, write_micro_batches
from mtnat.lab.outputs.probed import read_probed
from mtnat.lab.outputs.runs import AnalysisPlan, Result, Run
from mtnat.lab.study.resources import Resources
from mtnat.lab.worker.execute import MICRO_BATCHES, POINT, RESULT, execute
from mtnat.training import Alone, Workers, load_model, training_sources

CPU = Alone("cpu")
EXPERIMENT = build(
    Experiment,
    {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1},
        "training": {
            "steps": 6,
            "max_tokens_per_batch": 256,
            "warmup_steps": 2,
            "log_every": 1,
            "validate_every": 2,
            "valid_sentences": 4,
        },
        "decoding": {"iterations": 2, "length_candidates": 2},
    },
)


class One(Alone):
    """A single process that reports two workers."""

    size = 2


class Listening:
    """A session of one worker that passes each report to a callback."""

    def __init__(
        self,
        workers: Workers = CPU,
        hears: Callable[[int, Mapping[str, float]], None] = lambda step, metrics: None,
        gpus: float = 0,
    ) -> None:
        self.workers = workers
        self.resources = Resources(gpus_per_worker=gpus)
        self.reports: list[Mapping[str, Any]] = []
        self.checkpoints: list[int] = []
        """Steps after which a checkpoint was reported."""
        self._hears = hears
        self.others = Path()
        """Where the runs are that this one is compared with."""

    def report(self, report: Mapping[str, Any], *, has_checkpoint: bool = False) -> None:
        self.reports.append(report)
        if has_checkpoint:
            self.checkpoints.append(read_point(report[POINT])[0])
        if POINT in report:
            self._hears(*read_point(report[POINT]))

    def bring(self, run: str) -> Path:
        return self.others / run

    @property
    def points(self) -> list[tuple[int, dict[str, float]]]:
        return [read_point(report[POINT]) for report in self.reports if POINT in report]

    def seen(self, metric: str) -> list[tuple[int, float]]:
        return [(step, metrics[metric]) for step, metrics in self.points if metric in metrics]


def run_of(experiment: Experiment = EXPERIMENT, phase: str = "search") -> Run:
    return Run.model_validate({"trial": "one", "kind": "trial", "phase": phase, "experiment": experiment})


def performed(folder: Path, session: Listening, run: Run | None = None) -> Result:
    """The result of a run, which is both written and reported."""
    run = run or run_of()
    execute(run, StudyFolder(folder), session)
    result = read_result(StudyFolder(folder).run(run.id))
    assert result is not None
    assert session.reports[-1] == {RESULT: result.model_dump_json()}
    return result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of the run that these tests perform."""
    return StudyFolder(tmp_path).run(run_of().id)


def test_an_ended_run_has_its_costs_leaves_no_checkpoints_and_can_be_scored_later(tmp_path: Path, runs: Path) -> None:
    session = Listening(gpus=0.5)
    result = performed(tmp_path, session)
    assert {path.name for path in runs.iterdir()} >= {"model", "summary.yaml", "curves.jsonl", "run.json"}
    assert not (runs / "checkpoints").exists()
    assert not (runs / "error.txt").exists()
    _, last = session.points[-2]
    assert result.valid == last["final/valid_bleu"]
    assert (result.tokens, result.parameters) == (last["final/tokens"], last["final/parameters"])
    assert (result.train_seconds, result.decode_seconds) == (last["final/seconds"], last["final/decode_seconds"])
    assert 0 < last["final/seconds"] + last["final/decode_seconds"] < result.seconds
    assert result.gpu_seconds == pytest.approx(result.seconds / 2)
    assert result.joules is None  # there is no GPU to measure
    assert result.micro_batches == 1
    assert session.seen("cost/seconds") == [(6, result.seconds)]
    assert session.seen("cost/tokens") == [(6, result.tokens)]
    assert session.checkpoints == [step for step, _ in session.seen("valid/bleu")] != []

    weights = (runs / "model" / "weights.pt").read_bytes()
    tested = performed(tmp_path, Listening(), run_of(phase="confirm"))
    assert tested.test is not None
    assert tested.speed is None
    timed = run_of(phase="speed").model_copy(update={"speed_sentences": 3})
    scored = performed(tmp_path, timing := Listening(), timed)
    assert scored.test == tested.test
    assert scored.speed is not None
    assert (
        scored.speed.layers == 1 + scored.speed.passes <= 1 + 2
    )  # one layer of the encoder and one of the decoder, two passes
    assert scored.speed.latency > 0
    assert timing.seen("test/latency") == [(6, scored.speed.latency)]
    assert scored.seconds > result.seconds
    assert (scored.valid, scored.tokens, scored.decode_seconds) == (result.valid, result.tokens, result.decode_seconds)
    assert (runs / "model" / "weights.pt").read_bytes() == weights


def test_a_run_whose_speed_cannot_be_measured_keeps_its_scores(tmp_path: Path, runs: Path) -> None:
    tested = performed(tmp_path, Listening(), run_of(phase="confirm"))
    (runs / "model" / "weights.pt").write_bytes(b"damaged")
    timed = performed(tmp_path, Listening(), run_of(phase="speed").model_copy(update={"speed_sentences": 3}))
    assert (timed.failed, timed.speed) == (None, None)
    assert "weights.pt" in (timed.unmeasured or "")
    assert (timed.test, timed.valid) == (tested.test, tested.valid) != (None, None)


def analysed_run(seed: int, **parts: Any) -> Run:
    plan = {"settings": {"every": 2, **parts}, "others": {"one": (f"one-seed{3 - seed}",)}, "has_context": seed == 1}
    return run_of(replace(EXPERIMENT, {"seed": seed})).model_copy(
        update={"encoder_every": 2, "analysis": AnalysisPlan.model_validate(plan)}
    )


def phase(run: Run, name: str) -> Run:
    return run.model_copy(update={"phase": name})


def test_an_encoder_is_compared_with_another_one_over_training(tmp_path: Path) -> None:
    one, two = (analysed_run(seed, similarity={"against": ("one",), "sentences": 50}) for seed in (1, 2))
    tested = [performed(tmp_path, Listening(), phase(run, "confirm")) for run in (one, two)]
    session = Listening()
    session.others = tmp_path / "runs"
    result = performed(tmp_path, session, phase(one, "analysis"))
    assert (result.is_analysed, result.unmeasured, result.test) == (True, None, tested[0].test)
    assert result.seconds == tested[0].seconds  # the analysis is none of the costs of the trial
    curve = dict(session.seen("similarity/one/cka"))
    assert list(curve) == [0, 2, 4, 6]  # before the training, and at each kept encoder
    assert all(0 < value <= 1 for value in curve.values())
    assert curve[0] != curve[6]
    models = [load_model(tmp_path / "runs" / run.id / "model") for run in (one, two)]
    lines = list(islice(training_sources(EXPERIMENT.data).read(), 50))
    [pair] = compare_encoders(models, ["a", "b"], readable_sentences(models, ["a", "b"], lines, "piece"))
    assert dict(session.seen("final/similarity/one/pwcca")) == pytest.approx({6: pair.similarity.pwcca[0]})
    mirrored = Listening()
    mirrored.others = tmp_path / "runs"
    performed(tmp_path, mirrored, phase(two, "analysis"))
    assert dict(mirrored.seen("similarity/one/cka")) == pytest.approx(curve)


def test_an_interrupted_analysis_continues_with_the_figures_that_it_lacks(tmp_path: Path) -> None:
    class KilledError(BaseException):
        pass

    def kill(step: int, metrics: Mapping[str, float]) -> None:
        if "similarity/one/cka" in metrics and step == 2:
            raise KilledError

    one, two = (analysed_run(seed, similarity={"against": ("one",), "sentences": 50}) for seed in (1, 2))
    for run in (one, two):
        performed(tmp_path, Listening(), phase(run, "confirm"))
    session = Listening(hears=kill)
    session.others = tmp_path / "runs"
    with pytest.raises(KilledError):
        execute(phase(one, "analysis"), StudyFolder(tmp_path), session)
    resumed = Listening()
    resumed.others = tmp_path / "runs"
    assert performed(tmp_path, resumed, phase(one, "analysis")).is_analysed
    assert [step for step, _ in resumed.seen("similarity/one/cka")] == [4, 6]
    points = [step for step, metrics in read_curves(tmp_path / "runs" / one.id) if "similarity/one/cka" in metrics]
    assert points == [0, 2, 4, 6]


def test_an_encoder_is_probed_before_and_after_the_training_and_in_between(tmp_path: Path) -> None:
    run = analysed_run(1, probing={"sentences": 300, "epochs": 1, "over_training": True})
    performed(tmp_path, Listening(), phase(run, "confirm"))
    performed(tmp_path, session := Listening(), phase(run, "analysis"))
    assert [step for step, _ in session.seen("probing/tense")] == [0, 2, 4, 6]
    (final,) = session.seen("final/probing/tense")
    assert final[0] == 6
    probed = {task.task: task for task in read_probed(tmp_path / "runs" / run.id)}
    assert len(probed) == 10
    tense = probed["tense"]
    assert len(tense.final) == len(tense.majority or ()) == 10
    assert fmean(tense.final) == final[1]
    assert fmean(tense.untrained) == dict(session.seen("probing/tense"))[0]


def test_a_run_whose_encoder_cannot_be_analysed_keeps_its_scores_and_says_why(tmp_path: Path) -> None:
    run = analysed_run(1, similarity={"against": ["one"]})
    tested = performed(tmp_path, Listening(), phase(run, "confirm"))
    session = Listening()
    session.others = tmp_path / "elsewhere"
    result = performed(tmp_path, session, phase(run, "analysis"))
    assert (result.is_analysed, result.failed, result.test) == (False, None, tested.test)
    assert "one-seed2" in (result.unmeasured or "")


def test_the_measured_validation_time_survives_an_interruption(tmp_path: Path, runs: Path) -> None:
    class KilledError(BaseException):
        pass

    def kill(step: int, metrics: Mapping[str, float]) -> None:
        if step == 6 and "valid/seconds" in metrics:
            raise KilledError

    session = Listening(hears=kill)
    with pytest.raises(KilledError):
        performed(tmp_path, session)
    assert (runs / "checkpoints").exists()
    result = performed(tmp_path, resumed := Listening())
    assert resumed.seen("train/loss") == []
    assert result.decode_seconds == session.seen("valid/seconds")[-1][1]
    assert result.train_seconds == session.seen("train/seconds")[-1][1]


@pytest.mark.parametrize("written", [0, 40], ids=["nothing of it", "a part of it"])
def test_the_point_of_a_checkpoint_is_not_lost_if_the_process_is_killed_before_it_is_written(
    tmp_path: Path, runs: Path, written: int
) -> None:
    class KilledError(BaseException):
        pass

    def kill(step: int, metrics: Mapping[str, float]) -> None:
        if step == 4:
            raise KilledError

    session = Listening(hears=kill)
    with pytest.raises(KilledError):
        performed(tmp_path, session)
    *lines, last = (runs / "curves.jsonl").read_text().splitlines(keepends=True)
    (runs / "curves.jsonl").write_text("".join(lines) + last[:written])
    performed(tmp_path, resumed := Listening())
    assert resumed.points[0] == session.points[-1]
    assert [step for step, _ in resumed.seen("train/loss")] == [4, 5, 6]
    assert [step for step, metrics in read_curves(runs) if "train/loss" in metrics] == [1, 2, 3, 4, 5, 6]


def test_a_stop_request_ends_a_run_as_pruned(tmp_path: Path, runs: Path) -> None:
    def stop(step: int, metrics: Mapping[str, float]) -> None:
        if "valid/bleu" in metrics:
            (runs / STOP_FILE).touch()

    session = Listening(hears=stop)
    result = performed(tmp_path, session)
    assert [step for step, _ in session.seen("train/loss")] == [1, 2]
    assert (result.pruned, result.failed) == (2, None)
    assert result.valid == session.seen("valid/bleu")[-1][1]
    assert result.data_hash
    assert result.tokens == session.seen("train/tokens")[-1][1]
    assert not (runs / "model").exists()
    assert not (runs / "checkpoints").exists()


def test_a_run_killed_after_a_stop_request_does_not_train_again(tmp_path: Path, runs: Path) -> None:
    class KilledError(BaseException):
        pass

    def stop_and_kill(step: int, metrics: Mapping[str, float]) -> None:
        if step == 3:
            (runs / STOP_FILE).touch()
            raise KilledError

    session = Listening(hears=stop_and_kill)
    with pytest.raises(KilledError):
        performed(tmp_path, session)
    result = performed(tmp_path, again := Listening())
    assert again.seen("train/loss") == []
    assert (result.pruned, result.valid) == (3, session.seen("valid/bleu")[-1][1])


def test_a_stop_request_takes_effect_only_between_the_first_score_and_the_last_step(tmp_path: Path, runs: Path) -> None:
    runs.mkdir(parents=True)
    (runs / STOP_FILE).touch()
    early = performed(tmp_path, Listening())
    assert early.pruned == 2
    late = replace(EXPERIMENT, {"training.validate_every": 6, "seed": 2})
    (StudyFolder(tmp_path).run(run_of(late).id)).mkdir()
    (StudyFolder(tmp_path).run(run_of(late).id) / STOP_FILE).touch()
    result = performed(tmp_path, Listening(), run_of(late))
    assert (result.pruned, result.failed) == (None, None)


def test_a_diverged_run_keeps_its_costs(tmp_path: Path) -> None:
    settings = {"peak_learning_rate": 1e18, "warmup_steps": 0, "clip_norm": 0.0, "most_skipped_steps": 1, "validate_every": 6}
    hopeless = replace(EXPERIMENT, {f"training.{name}": value for name, value in settings.items()})
    result = performed(tmp_path, Listening(), run_of(hopeless))
    assert "not finite" in (result.failed or "")
    assert result.tokens
    assert result.seconds > 0


def test_a_run_uses_the_number_of_micro_batches_that_the_driver_has_doubled(tmp_path: Path, runs: Path) -> None:
    runs.mkdir(parents=True)
    double_micro_batches(runs)
    double_micro_batches(runs)
    session = Listening()
    assert performed(tmp_path, session).micro_batches == 4
    assert session.reports[0] == {MICRO_BATCHES: 4}
    write_micro_batches(runs, MOST_MICRO_BATCHES)
    double_micro_batches(runs)
    assert read_micro_batches(runs) == MOST_MICRO_BATCHES


TIGHT = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_execute import WIDE, Listening, One, run_of
from mtnat.config import replace
from mtnat.data import prepare
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.worker.execute import execute
from mtnat.training import Alone
import torch
import torch._dynamo  # PyTorch may import it when memory has run out, and then it fails by half

torch.set_num_threads(1)
prepare(WIDE.data)
size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + {mebibytes} * 2**20, -1))
execute(run_of(replace(WIDE, {changes!r})), StudyFolder(Path(sys.argv[1])), Listening({workers}))
"""
WIDE = replace(
    EXPERIMENT,
    {
        "data.corpus_size": 2000,
        "model.feed_forward": 4096,
        "model.dropout": 0.0,
        "training.max_tokens_per_batch": 8192,
        "training.steps": 3,
        "training.precision": "fp32",
        "objective.schedule": {"kind": "constant", "value": 0.5},
    },
)
"""An update of 8,192 positions, for which each feed-forward layer holds 128 MiB of float32 several times over."""


def in_tight_memory(folder: Path, changes: Mapping[str, Any], workers: str = 'Alone("cpu")') -> tuple[Result | None, str]:
    """The result of a run in a process limited to 600 MiB of additional memory, and its errors."""
    code = TIGHT.format(tests=str(Path(__file__).parent), mebibytes=600, changes=dict(changes), workers=workers)
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}  # otherwise threads reserve address space that they never use
    command = [sys.executable, "-c", code, str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    return read_result(StudyFolder(folder).run(run_of(WIDE).id)), ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on a process's memory")
def test_a_run_that_exceeds_memory_continues_in_micro_batches_with_the_same_losses(tmp_path: Path) -> None:
    tight, _ = in_tight_memory(tmp_path / "tight", {})
    assert tight is not None
    assert tight.failed is None
    assert tight.micro_batches > 1
    whole = performed(tmp_path / "whole", session := Listening(), run_of(WIDE))
    assert whole.micro_batches == 1
    losses = {
        step: metrics["train/loss"]
        for step, metrics in read_curves(StudyFolder(tmp_path / "tight").run(run_of(WIDE).id))
        if "train/loss" in metrics
    }
    assert losses == pytest.approx(dict(session.seen("train/loss")), rel=1e-4)
    assert tight.tokens == whole.tokens


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on a process's memory")
def test_decoding_that_exceeds_memory_names_the_setting_to_lower(tmp_path: Path) -> None:
    changes = {"decoding.max_tokens_per_batch": 10**6, "decoding.length_candidates": 50, "training.valid_sentences": 0}
    result, _ = in_tight_memory(tmp_path, changes | {"training.max_tokens_per_batch": 256})
    assert result is not None
    assert "decoding.max_tokens_per_batch: decoding ran out of memory; got 1000000; lower it." in (result.failed or "")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on a process's memory")
def test_a_worker_that_runs_out_of_memory_doubles_the_micro_batches_and_ends(tmp_path: Path) -> None:
    result, errors = in_tight_memory(tmp_path, {"training.batches_per_step": 2}, 'One("cpu")')
    assert result is None
    assert "\nmtnat.errors.OutOfMemoryError: training.max_tokens_per_batch" in errors
    assert read_micro_batches(StudyFolder(tmp_path).run(run_of(WIDE).id)) == 2
