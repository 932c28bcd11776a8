"""The training text that a study's models write before its trials, with the models trained in this process, without Ray."""

import gzip
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from small_study import TINY, study

from mtnat.config import read_yaml
from mtnat.data import prepare
from mtnat.data.corpus import open_raw_corpus
from mtnat.errors import StudyError
from mtnat.lab.driver.text_models import Means
from mtnat.lab.driver.text_writer import TextWriter, WrittenText, students
from mtnat.lab.outputs.folder import StudyFolder, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.proposer import NoProposals
from mtnat.lab.study.record import Study
from mtnat.training import Alone, Shards, fit
from mtnat.training.fit import SUMMARY

LONG = {**TINY, "data": {**TINY["data"], "max_length": 128}, "model": {**TINY["model"], "max_positions": 128}}
"""An experiment whose model can score every pair."""
AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}
LINES = 200


class Desk:
    """A study's folder, and what its models have done."""

    def __init__(self, folder: Path) -> None:
        self.folder = StudyFolder(folder / "study")
        self.folder.path.mkdir(exist_ok=True)
        self.trained: list[str] = []
        self.worked: list[tuple[str, str, int]] = []
        """Name of the model, what it did, and the number of shards that this took."""
        self.is_killed: Callable[[str], bool] = lambda model: False

    def write(self, a_study: Study) -> list[WrittenText]:
        return list(TextWriter(a_study, self.folder, Means(self._train, self._share, "sqlite:///none.db")).texts())

    def _train(self, a_study: Study) -> dict[str, Result]:
        agenda = Agenda(a_study, NoProposals(), self.folder.results())
        while run := agenda.next():
            self.trained.append(run.id)
            folder = self.folder.run(run.id)
            list(fit(run.experiment, prepare(run.experiment.data), folder, workers=Alone("cpu")))
            result = Result(run=run.id, valid=read_yaml(folder / SUMMARY)["final/valid_bleu"])
            write_result(folder, result)
            agenda.end(result)
        return dict(agenda.results)

    def _share(self, work: Shards[Any], model: str, verb: str) -> None:
        if self.is_killed(model):
            raise StudyError(f"{model} is killed.")
        self.worked.append((model, verb, len(list(work.work()))))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))
    return Desk(tmp_path)


def tiny(**changes: Any) -> Study:
    alone = {"search": {}, "trials": 0, "confirm": None, "baselines": {"linear": {}}}
    return study(experiment=LONG, **alone | changes)


def own_targets(tmp_path: Path) -> list[str]:
    corpus = open_raw_corpus(tiny().experiment.data, tmp_path)
    return [target for _, target in islice(corpus.pairs("train"), LINES)]


def written(text: WrittenText) -> list[str]:
    return gzip.decompress(Path(text.targets).read_bytes()).decode().split("\n")[:-1]


def test_rejuvenation_rewrites_a_tenth_of_the_targets_with_two_models(desk: Desk, tmp_path: Path) -> None:
    a_study = tiny(rejuvenation={"settings": AT, "beam": 1})
    (text,) = desk.write(a_study)
    assert desk.trained == ["identification-seed1", "rejuvenation-seed1"]
    assert desk.worked == [("identification", "score", 1), ("rejuvenation", "translate", 1)]
    active = gzip.decompress((desk.folder.path / "active.gz").read_bytes()).decode().split()
    assert (len(active), active.count("0")) == (LINES, LINES // 10)
    own, found = own_targets(tmp_path), written(text)
    assert [own[line] for line in range(LINES) if active[line] == "1"] == [
        found[line] for line in range(LINES) if active[line] == "1"
    ]
    assert sum(mine != theirs for mine, theirs in zip(own, found, strict=True)) == LINES // 10
    assert "Rejuvenation rewrote the targets of 20 of 200 training pairs" in text.summary
    assert text.figures["rejuvenation/inactive_pairs"] == 20.0
    assert text.targets.endswith("rejuvenated.de.gz")

    trials = students(a_study, text).experiment.data
    assert (trials.rejuvenated, trials.distilled, trials.text) == (text.targets, None, "rejuvenated")
    model = read_yaml(desk.folder.run("rejuvenation-seed1") / "experiment.yaml")
    assert model["data"]["selected"] == str(desk.folder.path / "active.gz")


def test_a_resumed_study_repeats_nothing_that_was_finished(desk: Desk) -> None:
    a_study = tiny(rejuvenation={"settings": AT, "beam": 1})
    desk.is_killed = lambda model: model == "rejuvenation"
    with pytest.raises(StudyError, match="killed"):
        desk.write(a_study)
    desk.is_killed = lambda model: False
    (text,) = desk.write(a_study)
    assert desk.trained == ["identification-seed1", "rejuvenation-seed1"]  # once each
    assert desk.worked == [("identification", "score", 1), ("identification", "score", 0), ("rejuvenation", "translate", 1)]
    assert desk.write(a_study) == [text]
    assert len(desk.worked) == 3

    Path(text.targets).unlink()
    with pytest.raises(StudyError, match=r"rejuvenated.de.gz: is gone, or the study's folder was moved; put it back, or remove"):
        desk.write(a_study)


def test_the_teacher_is_the_identification_model_unless_another_is_given(desk: Desk) -> None:
    a_study = tiny(teacher={"settings": AT, "beam": 1}, rejuvenation={"beam": 1})
    distilled, rejuvenated = desk.write(a_study)
    assert desk.trained == ["teacher-seed1", "rejuvenation-seed1"]
    assert "teacher-seed1 gave scores" in rejuvenated.summary
    data = students(a_study, distilled, rejuvenated).experiment.data
    assert (data.text, data.distilled, data.rejuvenated) == ("distilled", distilled.targets, rejuvenated.targets)


def test_a_baseline_on_the_corpus_own_text_is_the_identification_model_if_it_is_equal(desk: Desk) -> None:
    baselines = {"transformer": {**AT, "data.rejuvenated": None}, "linear": {}}
    desk.write(tiny(rejuvenation={"settings": AT, "beam": 1}, baselines=baselines))
    assert desk.trained == ["transformer-seed1", "rejuvenation-seed1"]


def test_a_finished_model_can_identify(desk: Desk, model: Path) -> None:
    (text,) = desk.write(tiny(rejuvenation={"settings": AT, "model": str(model), "beam": 1}))
    assert desk.trained == ["rejuvenation-seed1"]
    assert f"{model} gave scores" in text.summary


def test_a_study_without_such_models_is_unchanged(desk: Desk) -> None:
    assert desk.write(tiny()) == []
    assert students(tiny()) == tiny()
    assert (desk.trained, desk.worked) == ([], [])


def test_a_column_without_rejuvenation_trains_no_models_for_it() -> None:
    columns = {"raw": {"data.rejuvenated": None}, "rejuvenated": {}, "not distilled": {"data.distilled": None}}
    parts = tiny(teacher={"settings": AT}, rejuvenation={}, columns=columns).parts
    assert parts["raw"].written == ("data.distilled",)
    assert parts["rejuvenated"].written == ("data.distilled", "data.rejuvenated")
    assert parts["not distilled"].written == ("data.rejuvenated",)
    assert parts["not distilled"].rejuvenation is not None
    assert parts["not distilled"].rejuvenation.settings == AT  # those of the teacher, which this column does not have
