"""Warm start from other studies: trials that fit are taken over, the others are refused with a reason."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtnat.config import build, read_yaml, replace, write_yaml
from mtnat.data import prepare
from mtnat.errors import StudyError
from mtnat.experiment import Experiment
from mtnat.formats import FORMAT_FILE
from mtnat.lab.outputs.folder import StudyFolder, read_result, write_result
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.optuna_proposer import OptunaProposer
from mtnat.lab.plan.warm_start import WARM_START, take_over
from mtnat.lab.study.record import Settings, Study
from mtnat.training import fit, load_model

RATE, NORM = "training.peak_learning_rate", "model.norm"
EXPERIMENT: dict[str, Any] = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
    "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
    "training": {"steps": 4, "warmup_steps": 1, "max_tokens_per_batch": 256, "validate_every": 2, "valid_sentences": 4},
    "decoding": {"iterations": 2, "length_candidates": 2},
    "seed": 1,
}


def study(**changes: Any) -> Study:
    data = {
        "question": "Which?",
        "experiment": EXPERIMENT,
        "baselines": {"as it is": {}},
        "search": {RATE: {"float": [1e-4, 1e-2]}, NORM: {"choice": ["pre", "post"]}},
        "trials": 3,
    }
    return build(Study, data | changes)


def begun(path: Path, study: Study) -> StudyFolder:
    folder = StudyFolder(path)
    folder.begin(study, resume=False)
    return folder


def ended(folder: StudyFolder, study: Study, name: str, settings: Settings, **result: Any) -> Run:
    """Writes the folder that an ended run leaves."""
    experiment = replace(study.experiment, settings)
    kind: Any = "baseline" if name in study.baselines else "trial"
    run = Run(trial=name, kind=kind, phase="search", experiment=experiment)
    write_result(folder.run(run.id), Result(run=run.id, **({"valid": 20.0, "seconds": 9.0} | result)))
    (folder.run(run.id) / "experiment.yaml").write_text(write_yaml(experiment))
    (folder.run(run.id) / "validation.txt").write_text("Ein Hund.\n")
    return run


def test_fitting_trials_are_taken_over_and_the_others_are_refused_with_a_reason(tmp_path: Path) -> None:
    theirs = study(baselines={"theirs": {"decoding.iterations": 4}, "plain": {}})
    other = begun(tmp_path / "other", theirs)
    ended(other, theirs, "trial-01", {RATE: 5e-3, NORM: "post"}, gpu_seconds=100.0)
    ended(other, theirs, "trial-02", {RATE: 5e-2, NORM: "pre"})
    ended(other, theirs, "trial-03", {RATE: 5e-3, "training.steps": 9})
    ended(other, theirs, "trial-04", {RATE: 5e-3}, pruned=2)
    ended(other, theirs, "trial-05", {RATE: 6e-3}, valid=None, failed="it diverged")
    ended(other, theirs, "plain", {})
    ended(other, theirs, "theirs", {"decoding.iterations": 4})
    ended(other, theirs, "trial-01", {RATE: 5e-3, NORM: "post", "seed": 2})  # of its confirm phase
    ours = study(warm_start=[str(other.path)])
    folder = begun(tmp_path / "ours", ours)

    taken = take_over(ours, folder)
    assert taken.trials == {"other/trial-01": {RATE: 5e-3, NORM: "post"}}
    assert taken.baselines == {"as it is": "other/plain"}
    assert taken.refused == (
        "other/theirs: decoding.iterations is 4, here 2.",
        "other/trial-02: training.peak_learning_rate is 0.05, here it is searched over [0.0001, 0.01].",
        "other/trial-03: training.steps is 9, here 4.",
        "other/trial-04: was ended at step 2.",
        "other/trial-05: has failed.",
    )
    results = folder.results()
    assert sorted(results) == ["as-it-is-seed1", "other-trial-01-seed1"]
    assert results["other-trial-01-seed1"].valid == 20.0
    assert results["other-trial-01-seed1"].gpu_seconds == 0.0
    assert (folder.run("other-trial-01-seed1") / "validation.txt").read_text() == "Ein Hund.\n"
    assert json.loads((folder.path / WARM_START).read_text())["trials"] == taken.trials


@pytest.mark.parametrize("killed_at", ["before the copy is whole", "before the record is written"])
def test_a_warm_start_continues_after_a_kill(tmp_path: Path, killed_at: str) -> None:
    theirs = study()
    other = begun(tmp_path / "other", theirs)
    ended(other, theirs, "trial-01", {RATE: 5e-3})
    ours = study(warm_start=[str(other.path)])
    folder = begun(tmp_path / "ours", ours)
    if killed_at == "before the copy is whole":
        half = folder.path / ".taking-over"
        half.mkdir()
        (half / "run.json").write_text(Result(run="half").model_dump_json())
        assert folder.results() == {}
    else:
        take_over(ours, folder)
        (folder.path / WARM_START).unlink()
    taken = take_over(ours, folder)
    assert list(folder.results()) == ["other-trial-01-seed1"]
    ended(other, theirs, "trial-02", {RATE: 6e-3})
    assert take_over(ours, folder) == taken  # what the other study does later changes nothing


def test_a_warm_start_takes_trials_from_columns_and_from_warm_started_studies(tmp_path: Path) -> None:
    first = begun(tmp_path / "first", study())
    ended(first, study(), "trial-01", {RATE: 5e-3})
    theirs = study(warm_start=[str(first.path)])
    second = begun(tmp_path / "second", theirs)
    take_over(theirs, second)
    table = study(columns={"En De": {}})
    columns = begun(tmp_path / "table", table)
    column = begun(columns.column("En De").path, table.parts["En De"])
    ended(column, table.parts["En De"], "trial-07", {RATE: 7e-3})

    ours = study(warm_start=[str(second.path), str(columns.path), str(first.path)])
    taken = take_over(ours, begun(tmp_path / "ours", ours))
    assert list(taken.trials) == ["second/first/trial-01", "table/En De/trial-07"]
    assert taken.refused == ("first/trial-01: is the same as second/first/trial-01.",)


def test_a_trial_without_a_value_for_a_metric_is_refused(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", study())
    ended(other, study(), "trial-01", {RATE: 5e-3})
    ended(other, study(), "trial-02", {RATE: 6e-3}, decode_seconds=2.0)
    ours = study(warm_start=[str(other.path)], metrics=[{"valid.bleu": "max"}, {"decode.seconds": "min"}])
    taken = take_over(ours, begun(tmp_path / "ours", ours))
    assert list(taken.trials) == ["other/trial-02"]
    assert taken.refused == ("other/trial-01: has no decode.seconds.",)


def test_the_search_ranks_inherited_trials_and_does_not_repeat_them(tmp_path: Path) -> None:
    norms = {"search": {NORM: {"choice": ["pre", "post"]}}, "baselines": {"none": {"model.dropout": 0.0}}}
    other = begun(tmp_path / "other", study(**norms))
    ended(other, study(**norms), "trial-01", {NORM: "post"})
    ours = study(**norms, warm_start=[str(other.path)], trials=2)
    folder = begun(tmp_path / "ours", ours)
    taken = take_over(ours, folder)
    proposer = OptunaProposer(
        ours.space, folder.journal, sampler=ours.sampler, seed=1, trials=2, directions=["max"], total_steps=4
    )
    agenda = Agenda(ours, proposer, folder.results(), inherited=taken.trials)
    assert [run.trial for run in _all(agenda)] == ["none", "trial-01"]
    assert agenda.trials["trial-01"].settings == {NORM: "pre"}
    assert "other/trial-01" in [trial.name for trial in agenda.ranked()]


def test_a_study_of_a_newer_format_is_not_taken_over(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", study())
    ended(other, study(), "trial-01", {RATE: 5e-3})
    (other.path / FORMAT_FILE).write_text('{"format": 2, "mtnat": "0.9.0"}')
    ours = study(warm_start=[str(other.path)])
    folder = begun(tmp_path / "ours", ours)
    with pytest.raises(StudyError, match=r"has format 2, and this version of mtnat reads format 1; install mtnat 0\.9\.0"):
        take_over(ours, folder)
    assert not (folder.path / WARM_START).exists()


def test_a_study_without_a_format_is_taken_over(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", study())
    ended(other, study(), "trial-01", {RATE: 5e-3})
    (other.path / FORMAT_FILE).unlink()
    ours = study(warm_start=[str(other.path)])
    assert list(take_over(ours, begun(tmp_path / "ours", ours)).trials) == ["other/trial-01"]


def test_a_result_of_another_version_is_refused(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", study())
    run = ended(other, study(), "trial-01", {RATE: 5e-3})
    (other.run(run.id) / "run.json").write_text('{"run": "trial-01-seed1", "perplexity": 9.0}')
    ours = study(warm_start=[str(other.path)])
    taken = take_over(ours, begun(tmp_path / "ours", ours))
    assert taken.refused == ("other/trial-01: its result is damaged or of another version.",)


def _all(agenda: Agenda) -> Iterator[Run]:
    while run := agenda.next():
        yield run


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study with one trial that was really trained."""
    folder = begun(tmp_path_factory.mktemp("studies") / "other", study())
    run = ended(folder, study(), "trial-01", {RATE: 5e-3})
    *_, last = fit(run.experiment, prepare(run.experiment.data), folder.run(run.id))
    write_result(folder.run(run.id), Result(run=run.id, valid=last.metrics["final/valid_bleu"]))
    return folder


@pytest.mark.slow
class TestTrained:
    def test_an_inherited_run_has_its_model_and_needs_no_training(self, tmp_path: Path, other: StudyFolder) -> None:
        ours = study(warm_start=[str(other.path)])
        folder = begun(tmp_path / "ours", ours)
        take_over(ours, folder)
        run_folder = folder.run("other-trial-01-seed1")
        experiment = build(Experiment, read_yaml(run_folder / "experiment.yaml"))
        assert load_model(run_folder / "model").experiment == experiment
        theirs = other.run("trial-01-seed1") / "model" / FORMAT_FILE
        assert (run_folder / "model" / FORMAT_FILE).read_bytes() == theirs.read_bytes()
        assert not (run_folder / "checkpoints").exists()
        assert [progress.finished for progress in fit(experiment, prepare(experiment.data), run_folder)] == [True]

    def test_an_inherited_run_without_its_model_can_be_trained_again(self, tmp_path: Path, other: StudyFolder) -> None:
        bare = begun(tmp_path / "bare", study(warm_start=[str(other.path)]))
        take_over(study(warm_start=[str(other.path)]), bare)
        (model,) = bare.path.glob("runs/*/model")
        model.rename(tmp_path / "model")
        ours = study(warm_start=[str(bare.path)])
        folder = begun(tmp_path / "ours", ours)
        take_over(ours, folder)
        run_folder = folder.run("bare-other-trial-01-seed1")
        known = read_result(run_folder)
        assert known
        experiment = build(Experiment, read_yaml(run_folder / "experiment.yaml"))
        *_, last = fit(experiment, prepare(experiment.data), run_folder)
        assert last.metrics["final/valid_bleu"] == known.valid
        assert (run_folder / "model").exists()
