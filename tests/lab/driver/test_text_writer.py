"""The training text that a study's models write before its trials, with the models trained in this process, without Ray."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import study

from mtnat.config import read_yaml, replace
from mtnat.data import prepare
from mtnat.data.training_text import open_corpus
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

WORDS = {"a": "ein", "red": "rotes", "blue": "blaues", "house": "Haus", "car": "Auto", "stands": "steht", "here": "hier"}
SHORT = {
    "data": {split: [f"{split}.en", f"{split}.de"] for split in ("train", "valid", "test")} | {"vocabulary_size": 64},
    "model": {"width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
    "training": {"steps": 4, "warmup_steps": 1, "validate_every": 4},
    "decoding": {"beam": 1},
}
"""An experiment that trains in a moment on the files of a desk."""
AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}
LINES = 100


class Desk:
    """A study's folder, and what its models have done."""

    def __init__(self, folder: Path) -> None:
        self.folder = StudyFolder(folder / "study")
        self.folder.path.mkdir(exist_ok=True)
        self.trained: list[str] = []
        self.worked: list[tuple[str, str, int]] = []
        """Name of the model, what it did, and the number of shards that this took."""
        self.is_killed: Callable[[str], bool] = lambda model: False

    def write(self, a_study: Study, *earlier: StudyFolder) -> list[WrittenText]:
        means = Means(self.train, self.share, "sqlite:///none.db", earlier)
        return list(TextWriter(a_study, self.folder, means).texts())

    def train(self, a_study: Study) -> dict[str, Result]:
        agenda = Agenda(a_study, NoProposals(), self.folder.results())
        while run := agenda.next():
            self.trained.append(run.id)
            folder = self.folder.run(run.id)
            list(fit(run.experiment, prepare(run.experiment.data), folder, workers=Alone("cpu")))
            result = Result(run=run.id, valid=read_yaml(folder / SUMMARY)["final/valid_bleu"])
            write_result(folder, result)
            agenda.end(result)
        return dict(agenda.results)

    def share(self, work: Shards[Any], model: str, verb: str) -> None:
        if self.is_killed(model):
            raise StudyError(f"{model} is killed.")
        self.worked.append((model, verb, len(list(work.work()))))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    dice = random.Random(1)
    for name, lines in {"train": LINES, "valid": 4, "test": 4}.items():
        sources = [dice.choices(list(WORDS), k=dice.randint(2, 8)) for _ in range(lines)]
        for language, texts in {"en": sources, "de": [[WORDS[word] for word in words] for words in sources]}.items():
            (tmp_path / f"{name}.{language}").write_text("".join(f"{' '.join(words)}\n" for words in texts))
    return Desk(tmp_path)


def tiny(**changes: Any) -> Study:
    alone = {"search": {}, "trials": 0, "confirm": None, "baselines": {"linear": {}}}
    return study(experiment=SHORT, **alone | changes)


def lines(path: Path) -> list[str]:
    return path.read_text().split("\n")[:-1]


def written(text: WrittenText) -> list[str]:
    return gzip.decompress(Path(text.file).read_bytes()).decode().split("\n")[:-1]


def test_rejuvenation_rewrites_a_tenth_of_the_targets_with_two_models(desk: Desk, tmp_path: Path) -> None:
    a_study = tiny(rejuvenation={"settings": AT, "beam": 1})
    (text,) = desk.write(a_study)
    assert desk.trained == ["identification-seed1", "rejuvenation-seed1"]
    assert desk.worked == [("identification", "score", 1), ("rejuvenation", "translate", 1)]
    active = gzip.decompress((desk.folder.path / "active.gz").read_bytes()).decode().split()
    assert (len(active), active.count("0")) == (LINES, LINES // 10)
    own, found = lines(tmp_path / "train.de"), written(text)
    assert [own[line] for line in range(LINES) if active[line] == "1"] == [
        found[line] for line in range(LINES) if active[line] == "1"
    ]
    assert sum(mine != theirs for mine, theirs in zip(own, found, strict=True)) == LINES // 10
    assert "Rejuvenation rewrote the targets of 10 of 100 training pairs" in text.summary
    assert text.figures["rejuvenation/inactive_pairs"] == 10.0
    assert text.file.endswith("rejuvenated.de.gz")

    trials = students(a_study, text).experiment.data
    assert (trials.rejuvenated, trials.distilled, trials.text) == (text.file, None, "rejuvenated")
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

    Path(text.file).unlink()
    with pytest.raises(
        StudyError, match=r"rejuvenated.de.gz: is gone, or the study's folder was moved; put it back, or remove"
    ):
        desk.write(a_study)


def test_a_teacher_of_an_earlier_column_is_used_if_it_is_equal(desk: Desk) -> None:
    a_study = tiny(teacher={"settings": AT, "beam": 1})
    column = desk.folder = StudyFolder(desk.folder.path / "first")
    desk.folder.path.mkdir()
    (first,) = desk.write(a_study)
    desk.folder = StudyFolder(column.path.parent / "second")
    desk.folder.path.mkdir()
    (second,) = desk.write(a_study, column)
    assert desk.trained == ["teacher-seed1"]
    assert written(second) == written(first)
    assert second.origin == "distilled by first/teacher-seed1"
    assert desk.folder.teacher_model() == column.run("teacher-seed1") / "model"

    desk.folder = StudyFolder(column.path.parent / "third")
    desk.folder.path.mkdir()
    desk.write(tiny(teacher={"settings": {**AT, "training.weight_decay": 0.5}, "beam": 1}), column)
    assert desk.trained == ["teacher-seed1"] * 2  # another experiment


def test_the_teacher_is_the_identification_model_unless_another_is_given(desk: Desk) -> None:
    a_study = tiny(teacher={"settings": AT, "beam": 1}, rejuvenation={"beam": 1})
    distilled, rejuvenated = desk.write(a_study)
    assert desk.trained == ["teacher-seed1", "rejuvenation-seed1"]
    assert "teacher-seed1 gave scores" in rejuvenated.summary
    data = students(a_study, distilled, rejuvenated).experiment.data
    assert (data.text, data.distilled, data.rejuvenated) == ("distilled", distilled.file, rejuvenated.file)


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


STAGES = [{"text": "raw", "share": 1}, {"text": "bidirectional", "share": 1}, {"text": "distilled", "share": 2}]


class TestReverseTeacher:
    def test_it_translates_the_targets_and_its_text_joins_that_of_the_teacher(self, desk: Desk) -> None:
        a_study = tiny(
            teacher={"settings": AT, "beam": 1},
            reverse_teacher={"beam": 1},
            baselines={"plain": {}, "lexical frequency": {"data.stages": STAGES}},
        )
        distilled, reverse = desk.write(a_study)
        assert desk.trained == ["teacher-seed1", "reverse-teacher-seed1"]
        assert desk.worked == [("teacher", "translate", 1), ("reverse teacher", "translate", 1)]
        assert reverse.file.endswith("reverse.en.gz")
        assert len(written(reverse)) == LINES
        model = read_yaml(desk.folder.run("reverse-teacher-seed1") / "experiment.yaml")
        assert model["data"]["train"] == ["train.de", "train.en"]
        assert (model["data"]["stages"], model["decoding"]["decoder"]) == ([], "auto")

        trials = students(a_study, distilled, reverse)
        staged = replace(trials.experiment, trials.baselines["lexical frequency"])
        assert (staged.data.distilled, staged.data.reverse_distilled) == (distilled.file, reverse.file)
        assert staged.data.text == "raw, then bidirectional, then distilled"
        assert replace(trials.experiment, trials.baselines["plain"]).data.text == "distilled"
        raw, both, last = (len(store) + store.left_out for store in prepare(staged.data).stages)
        assert (raw, last) == (LINES, LINES)
        assert both == reverse.figures["reverse_distillation/bidirectional_pairs"]
        assert LINES < both <= 2 * LINES
        assert f"made of {LINES} training targets" in reverse.summary

        assert desk.write(a_study) == [distilled, reverse]
        assert len(desk.trained) == 2

    def test_its_sources_belong_to_the_corpus_targets_and_not_the_other_way_round(self, desk: Desk) -> None:
        """The reverse teacher is given the German lines, and what it writes becomes the English side."""
        given: list[str] = []
        share = desk.share

        def spy(work: Shards[Any], model: str, verb: str) -> None:
            if model == "reverse teacher":
                given.extend(work.text.read())
            share(work, model, verb)

        a_study = tiny(teacher={"settings": AT, "beam": 1}, reverse_teacher={"beam": 1})
        means = Means(desk.train, spy, "sqlite:///none.db")
        texts = list(TextWriter(a_study, desk.folder, means).texts())
        assert {word for line in given for word in line.split()} == set(WORDS.values())
        data = students(a_study, *texts).experiment.data
        reverse = written(texts[1])
        pairs = list(open_corpus(data, desk.folder.path, "bidirectional").pairs("train"))[-5:]
        for source, target in pairs:
            assert target in given
            assert source in reverse

    def test_a_baseline_that_is_the_teacher_keeps_its_experiment(self, desk: Desk) -> None:
        baselines = {"transformer": {**AT, "data.distilled": None}, "staged": {"data.stages": STAGES}}
        a_study = tiny(teacher={"settings": AT, "beam": 1}, reverse_teacher={"beam": 1}, baselines=baselines)
        texts = desk.write(a_study)
        assert desk.trained == ["transformer-seed1", "reverse-teacher-seed1"]
        trials = students(a_study, *texts)
        again = replace(trials.experiment, trials.baselines["transformer"])
        assert again == replace(a_study.experiment, a_study.baselines["transformer"])

    def test_the_teachers_are_trained_on_the_corpus_own_text_if_all_trials_have_stages(self, desk: Desk) -> None:
        staged = {"experiment": replace(tiny().experiment, {"data.stages": STAGES})}
        a_study = tiny(teacher={"settings": AT, "beam": 1}, reverse_teacher={"beam": 1}).model_copy(update=staged)
        texts = desk.write(a_study)
        for run in ("teacher-seed1", "reverse-teacher-seed1"):
            assert read_yaml(desk.folder.run(run) / "experiment.yaml")["data"]["stages"] == []
        assert students(a_study, *texts).experiment.data.texts == ("raw", "bidirectional", "distilled")

    def test_a_column_on_the_corpus_own_text_has_no_teachers(self) -> None:
        columns = {"raw": {"data.distilled": None, "data.stages": []}, "staged": {"data.stages": STAGES}}
        parts = tiny(teacher={"settings": AT}, reverse_teacher={}, columns=columns).parts
        assert parts["raw"].written == ()
        assert parts["staged"].written == ("data.distilled", "data.reverse_distilled")
        assert parts["staged"].reverse_teacher is not None
        assert parts["staged"].reverse_teacher.settings == AT
