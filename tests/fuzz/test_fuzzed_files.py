"""Whatever a file contains, it is read, or refused in a sentence: no other error, no hang, no memory without bound."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inputs import ODD, bounded_memory, damaged, may_be_refused, odd_documents
from small_study import TINY

from mtnat.analysis.probing import read_tasks
from mtnat.config import build, replace, to_yaml, write_yaml
from mtnat.config import read_yaml as read_document
from mtnat.corpora.statistics import describe
from mtnat.data import DataConfig, prepare
from mtnat.data.corpus import read_lines
from mtnat.errors import StudyError
from mtnat.experiment import Experiment
from mtnat.lab.outputs.curves import CURVES_FILE, append_point, read_curves, write_point
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder, read_record, read_result, write_result
from mtnat.lab.outputs.mending import mend_runs
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.study.reading import read_study
from mtnat.lab.study.record import LEAVES, Study
from mtnat.training import Alone, fit, load_model
from mtnat.training.checkpoints import Checkpoints
from mtnat.training.fit import CHECKPOINTS, MODEL

EXPERIMENT: dict[str, Any] = {
    **TINY,
    "objective": {"schedule": {"kind": "linear"}, "estimator": "weighted"},
    "decoding": {"kind": "mask-predict", "iterations": 2, "length_candidates": 2},
    "system": {"kind": "glat"},
    "seed": 1,
}
STUDY: dict[str, Any] = {
    "question": "Which?",
    "experiment": EXPERIMENT,
    "baselines": {"fixed": {"objective.schedule": {"kind": "constant", "value": 0.5}}, "linear": {}},
    "search": {
        "objective.schedule.kind": {"choice": ["linear", "power"]},
        "objective.schedule.exponent": {"float": [0.1, 10.0], "log": True, "when": {"objective.schedule.kind": "power"}},
        "model.width": {"int": [16, 64], "step": 16},
    },
    "trials": 3,
    "sampler": {"kind": "tpe", "startup_trials": 2},
    "pruner": {"kind": "median", "first_step": 2},
    "budget": {"hours": 1.0},
    "metric": "valid.bleu",
    "confirm": {"top": 1, "seeds": [2, 3], "against": "linear", "speed_sentences": 10},
    "analysis": {"every": 2, "probing": {"sentences": 100}, "similarity": {"against": ["linear"]}},
    "resources": {"workers": 1, "cpus_per_worker": 1},
}
TASK = "".join(
    f"{'tr' if number % 5 else 'te'}\t{'A' if number % 2 else 'B'}\ta sentence of {number}\n" for number in range(60)
).encode()
NAMES = st.sampled_from([*LEAVES, *STUDY, *EXPERIMENT, *EXPERIMENT["model"], *EXPERIMENT["training"], "kind", "<<"]) | st.text(
    max_size=6
)


@pytest.fixture(scope="module", autouse=True)
def _corpora() -> Iterator[None]:
    """A folder without corpora, and a cache that is removed. It has the corpus of a study file that leaves out the size."""
    folder = Path(tempfile.mkdtemp())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MTNAT_DATA", str(folder / "text"))
        patch.setenv("MTNAT_CACHE", str(folder / "cache"))
        prepare(DataConfig(corpus="grammar-en-de", vocabulary_size=200, max_length=32))
        yield
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    yield folder
    shutil.rmtree(folder)


@cache
def trained() -> Path:
    """The folder of a run with a checkpoint and a model."""
    folder = Path(tempfile.mkdtemp())
    experiment = build(Experiment, EXPERIMENT)
    list(fit(experiment, prepare(experiment.data), folder, workers=Alone()))
    return folder


def check_study(path: Path) -> None:
    with may_be_refused():
        study = read_study(path, 2.0, 0.0)
        kept = path.with_name("kept.yaml")
        kept.write_text(write_yaml(study))
        assert build(Study, read_document(kept)) == study


def test_the_sound_inputs_are_accepted(place: Path) -> None:
    (place / "study.yaml").write_text(to_yaml(STUDY))
    (place / "tasks").mkdir()
    (place / "tasks" / "length.txt").write_bytes(TASK)
    assert read_study(place / "study.yaml", 2.0, 0.0).proposals == 3
    assert read_tasks(place / "tasks")
    assert load_model(trained() / MODEL)
    assert Checkpoints(trained() / CHECKPOINTS).set_aside((trained() / "experiment.yaml").read_text()) == []
    (place / "journal").write_bytes(journal())
    assert len(make_proposer(build(Study, STUDY), place / "journal").known()) == 3


@given(odd_documents(STUDY, NAMES))
def test_a_study_file_with_odd_values_is_accepted_and_kept_or_refused(place: Path, document: dict[str, Any]) -> None:
    (place / "study.yaml").write_text(to_yaml(document), encoding="utf-8", errors="surrogatepass")
    check_study(place / "study.yaml")


@given(damaged(to_yaml(STUDY).encode()))
def test_a_damaged_study_file_is_accepted_and_kept_or_refused(place: Path, content: bytes) -> None:
    (place / "study.yaml").write_bytes(content)
    check_study(place / "study.yaml")


@given(odd_documents(EXPERIMENT, NAMES))
def test_an_experiment_with_odd_values_is_accepted_and_kept_or_refused(place: Path, document: dict[str, Any]) -> None:
    (place / "experiment.yaml").write_text(to_yaml(document), encoding="utf-8", errors="surrogatepass")
    with may_be_refused():
        experiment = build(Experiment, read_document(place / "experiment.yaml"))
        (place / "kept.yaml").write_text(write_yaml(experiment))
        assert build(Experiment, read_document(place / "kept.yaml")) == experiment


@given(st.dictionaries(NAMES, ODD, max_size=3))
def test_odd_settings_are_applied_or_refused(settings: dict[str, Any]) -> None:
    with may_be_refused():
        replace(build(Experiment, EXPERIMENT), settings)


@given(st.binary(max_size=400) | damaged("ein Haus\nzwei Häuser\n".encode() * 9) | damaged(b"a house\r\n" * 20))
def test_any_text_is_read_and_described_or_refused(place: Path, content: bytes) -> None:
    (place / "text.en").write_bytes(content)
    (place / "text.de").write_bytes(content[::-1])
    with may_be_refused():
        list(read_lines(place / "text.en"))
    with may_be_refused():
        describe(place / "text.en", place / "text.de")


@given(damaged(b"a red house\n" * 40 + b"the blue car\n" * 40))
def test_a_corpus_of_any_text_is_prepared_or_refused(place: Path, content: bytes) -> None:
    names = (str(place / "corpus.en"), str(place / "corpus.de"))
    for name in names:
        Path(name).write_bytes(content)
    with may_be_refused():
        prepare(DataConfig(train=names, valid=names, test=names, vocabulary_size=64), place / "cache")
    shutil.rmtree(place / "cache", ignore_errors=True)


@given(damaged(TASK) | st.binary(max_size=200))
def test_any_file_of_a_probing_task_is_read_or_refused(place: Path, content: bytes) -> None:
    (place / "tasks").mkdir(exist_ok=True)
    (place / "tasks" / "length.txt").write_bytes(content)
    with may_be_refused():
        read_tasks(place / "tasks")


@given(st.data())
def test_a_damaged_checkpoint_is_set_aside_and_a_sound_one_is_read(place: Path, data: st.DataObject) -> None:
    shutil.rmtree(place / CHECKPOINTS, ignore_errors=True)
    shutil.copytree(trained() / CHECKPOINTS, place / CHECKPOINTS)
    checkpoints = Checkpoints(place / CHECKPOINTS)
    first = checkpoints.path(checkpoints.steps()[0])
    first.write_bytes(data.draw(damaged(first.read_bytes())))
    with may_be_refused():  # if a newer version has written it
        said = checkpoints.set_aside((trained() / "experiment.yaml").read_text())
        assert all(str(place) in sentence for sentence in said)
        assert [checkpoints.read(step)["step"] for step in checkpoints.steps()] == checkpoints.steps()


@given(st.data())
def test_a_damaged_model_is_loaded_or_refused(place: Path, data: st.DataObject) -> None:
    shutil.rmtree(place / MODEL, ignore_errors=True)
    shutil.copytree(trained() / MODEL, place / MODEL)
    files = sorted(path for path in (place / MODEL).rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files))
    file.write_bytes(data.draw(damaged(file.read_bytes())))
    with may_be_refused():
        load_model(place / MODEL)


@cache
def journal() -> bytes:
    """The journal of a search with three proposals."""
    folder = Path(tempfile.mkdtemp())
    proposer = make_proposer(build(Study, STUDY), folder / "journal")
    for number in range(1, 4):
        proposer.ask(f"trial-{number:02}", lambda settings: True)
        proposer.tell(f"trial-{number:02}", [float(number)])
    content = (folder / "journal").read_bytes()
    shutil.rmtree(folder)
    return content


@given(st.data())
def test_a_damaged_journal_continues_with_the_proposals_that_it_has(place: Path, data: st.DataObject) -> None:
    file = place / "journal"
    file.write_bytes(data.draw(damaged(journal())))
    with bounded_memory():
        proposer = make_proposer(build(Study, STUDY), file)
    known = dict(proposer.known())
    again = make_proposer(build(Study, STUDY), file)
    assert dict(again.known()) == known
    assert again.damaged_line is None


RESULT = Result(run="a-seed1", valid=12.0, test=11.0, seconds=3.0, signature="nrefs:1")


@given(damaged(RESULT.model_dump_json(indent=1).encode()))
def test_a_damaged_result_is_read_or_set_aside(place: Path, content: bytes) -> None:
    folder = StudyFolder(place / "s")
    shutil.rmtree(folder.path, ignore_errors=True)
    write_result(folder.run("a-seed1"), RESULT)
    (folder.run("a-seed1") / RESULT_FILE).write_bytes(content)
    for sentence in mend_runs(folder):
        assert "set aside as damaged-" in sentence
    result = read_result(folder.run("a-seed1"))
    assert result is None or result.run == "a-seed1"


@given(damaged("".join(write_point(step, {"train/loss": 1.0, "valid/bleu": 2.0}) + "\n" for step in range(1, 9)).encode()))
def test_damaged_curves_are_read_without_the_damaged_lines(place: Path, content: bytes) -> None:
    (place / CURVES_FILE).write_bytes(content)
    append_point(place, write_point(9, {"train/loss": 3.0}))
    with bounded_memory():
        *_, (step, metrics) = read_curves(place)
    assert (step, metrics) == (9, {"train/loss": 3.0})


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*Leaderboard.model_fields, "x"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_any_leaderboard_is_read_or_refused(place: Path, content: object) -> None:
    (place / "leaderboard.json").write_text(json.dumps(content))
    with pytest.raises(StudyError):
        read_record(Leaderboard, place / "leaderboard.json")
