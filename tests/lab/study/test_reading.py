"""All problems of a study file are reported at once, each in one sentence."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

import pytest

from mtnat.config import build, read_value, to_yaml, write_yaml
from mtnat.errors import ConfigError
from mtnat.lab.study.reading import read_study
from mtnat.lab.study.record import Study

GOOD: dict[str, Any] = {
    "question": "Which hand-over translates best?",
    "experiment": {
        "data": {"train": ["t.en", "t.de"], "valid": ["t.en", "t.de"], "test": ["t.en", "t.de"], "vocabulary_size": 64},
        "training": {"steps": 20, "warmup_steps": 5, "validate_every": 5},
    },
    "baselines": {"mask-predict": {"objective.schedule": {"kind": "constant", "value": 1.0}}, "linear": {}},
    "search": {
        "objective.schedule.kind": {"choice": ["linear", "power"]},
        "objective.schedule.exponent": {"float": [0.25, 4.0], "log": True, "when": {"objective.schedule.kind": "power"}},
    },
    "trials": 4,
    "confirm": {"top": 2, "seeds": [2, 3, 4], "against": "mask-predict"},
    "resources": {"workers": 1},
}


@pytest.fixture(autouse=True)
def _text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"the {chr(97 + number % 26)}{chr(97 + number // 26 % 26)} sentence has words\n" for number in range(200))
    for side in ("en", "de"):
        (tmp_path / f"t.{side}").write_text(text)
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    monkeypatch.setenv("MTNAT_CACHE", str(tmp_path / "cache"))


def read(tmp_path: Path, data: object, cpus: float | None = None) -> Study:
    file = tmp_path / "study.yaml"
    file.write_text(to_yaml(data))
    return read_study(file, cpus, 0 if cpus else None)


def problems(tmp_path: Path, changes: dict[str, Any], cpus: float | None = None) -> list[str]:
    """The problems reported for the file that `changed` makes."""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, changed(changes), cpus)
    return [told[1] for told in located(tmp_path, caught.value)]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    """The good file with leaves replaced; None removes one."""
    data = deepcopy(GOOD)
    for path, value in changes.items():
        *parents, leaf = path.split("/")
        node = data
        for name in parents:
            node = node.setdefault(name, {})
        if value is None:
            del node[leaf]
        else:
            node[leaf] = value
    return data


def located(tmp_path: Path, error: ConfigError) -> list[tuple[int, str]]:
    """Each problem's line, which all must have, and its sentence."""
    matches = [
        re.fullmatch(rf"{re.escape(str(tmp_path))}/study\.yaml, line (\d+): (.+)", problem) for problem in error.problems
    ]
    assert all(matches), error.problems
    return [(int(match[1]), match[2]) for match in matches if match]


def test_a_valid_study_file_is_read_and_written_back(tmp_path: Path) -> None:
    study = read(tmp_path, GOOD, cpus=2)
    assert [search.path for search in study.space.dimensions] == list(GOOD["search"])
    assert build(Study, read_value(write_yaml(study), "study")) == study


def test_a_study_that_was_begun_with_the_seed_of_the_search_can_be_continued(tmp_path: Path) -> None:
    """Earlier versions allowed it."""
    file = tmp_path / "study.yaml"
    file.write_text(to_yaml(changed({"confirm/seeds": [1, 2]})))
    with pytest.raises(ConfigError, match="contains 1, the seed of the search"):
        read_study(file)
    assert read_study(file, is_begun=True).confirm


def test_a_study_that_confirms_baselines_only_may_use_the_seed_of_the_search(tmp_path: Path) -> None:
    assert read(tmp_path, changed({"confirm/seeds": [1, 2], "confirm/top": 0})).confirm


def test_a_study_that_is_written_and_read_again_gives_each_system_its_own_decoding(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"search": {"system.kind": {"choice": ["glat", "ctc"]}}, "trials": 2}
    study = read(tmp_path, changed(changes))
    again = read_value(write_yaml(study), "study")
    assert isinstance(again, dict)
    assert "decoding" not in again["experiment"]
    assert read(tmp_path, again) == study
    given = read(
        tmp_path, changed(changes | {"search": None, "trials": None, "confirm": None, "experiment/decoding": {"beam": 4}})
    )
    written = read_value(write_yaml(given), "study")
    assert isinstance(written, dict)
    assert written["experiment"]["decoding"] == {"kind": "mask-predict", "beam": 4}


EXPONENT, KIND = "objective.schedule.exponent", "objective.schedule.kind"
LINEAR_POWER = {"choice": ["linear", "power"]}
ASHA = {"kind": "asha", "first_step": 10}
TWO = [{"valid.bleu": "max"}, {"decode.seconds": "min"}]
NOTHING_SEARCHED: dict[str, Any] = {"search": None, "trials": None, "confirm/top": 0}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"qestion": "?"}, "qestion is unknown; did you mean 'question'?"),
        ({"question": None}, "question is missing; add it."),
        ({"trials": "four"}, "trials: must be a valid integer; got 'four'."),
        ({"metric": "test.bleu"}, "metric: must be 'valid.bleu' or 'valid.loss'; got 'test.bleu'."),
        (
            {"metric": "valid.loss", "search/objective.label_smoothing": {"float": [0.0, 0.3]}},
            "search.objective.label_smoothing: changes what the loss measures, so losses cannot be compared; "
            "set metric: valid.bleu.",
        ),
        (
            {"metric": "valid.loss", "search/decoding.iterations": {"int": [1, 10]}},
            "search.decoding.iterations: does not change the loss, by which the trials are compared; set metric: valid.bleu.",
        ),
        ({"experiment/model": {"widht": 8}}, "experiment.model.widht is unknown; did you mean 'width'?"),
        ({"experiment/training/warmup_steps": 30}, "experiment.training.warmup_steps must be below steps; got 30 and 20."),
        (
            {"baselines/linear": {"model.widht": 8}},
            "baselines.linear.model.widht: the experiment has no such setting; did you mean",
        ),
        ({"baselines/linear": {"model.width": 3}}, "baselines.linear: model.width: must be greater than or equal to 8; got 3."),
        ({"baselines/linear": {"seed": 2}}, "baselines.linear.seed: is set by confirm.seeds; drop it here."),
        ({"baselines/Linear!": {}}, "baselines.Linear!: its folder would be that of linear; choose another name."),
        ({"baselines/Trial 02": {}}, "baselines.Trial 02: its folder would be that of a proposal; choose another name."),
        (
            {"search/model.widht": {"int": [8, 16]}},
            "search.model.widht: the experiment has no such setting; did you mean 'model.width'?",
        ),
        (
            {"search/data.test": {"choice": [1]}},
            "search.data.test: all trials of a study are scored on the same text; set it under",
        ),
        ({"search/model.width": {"int": [16, 8]}}, "search.model.width.int: low must be below high; got 16 and 8."),
        (
            {"search/model.width": {"int": [8, 30], "step": 8}},
            "search.model.width.step: must lead from 8 to 30, but ends at 24; change the step or the range.",
        ),
        (
            {"search/model.dropout": {"float": [0.001, 0.01], "step": 0.004}},
            "search.model.dropout.step: must lead from 0.001 to 0.01, but ends at 0.009; change the step or the range.",
        ),
        (
            {"search/model.width": {"int": [8, 16], "step": ""}},
            "search.model.width.step: must be a whole number above 0; got ''.",
        ),
        (
            {"search/model.width": {"int": [8, 16], "step": 2**62}},
            "search.model.width.step: must not exceed high minus low; got 4611686018427387904.",
        ),
        (
            {"search/model.width": {"int": [8, 16.5]}},
            "search.model.width.int: must be two whole numbers, [low, high]; got [8, 16.5].",
        ),
        (
            {"search/model.width": {"ints": [8, 16]}},
            "search.model.width: must have one of float: [low, high], int: [low, high] or",
        ),
        ({"search/model.width": {"int": [8, 16], "lg": True}}, "search.model.width.lg is unknown; did you mean 'log'?"),
        (
            {"search/model.width": {"int": [2, 16]}},
            "search.model.width = 2: model.width: must be greater than or equal to 8; got 2.",
        ),
        (
            {"search/model.dropout": {"float": [0, 0.5], "log": True}},
            "search.model.dropout.log: needs a low bound above 0; got 0.",
        ),
        (
            {"search/model.norm": {"choice": ["pre", "pre"]}},
            "search.model.norm.choice: holds a value twice; got ['pre', 'pre'].",
        ),
        (
            {"search/model.norm": {"choice": ["pre", "mid"]}},
            "search.model.norm = mid: model.norm: must be 'pre' or 'post'; got 'mid'.",
        ),
        (
            {"search": {"objective.schedule": {"choice": [{"kind": "cosine"}]}, KIND: LINEAR_POWER}},
            "search.objective.schedule.kind: lies inside search.objective.schedule, so one leaf would be searched twice;",
        ),
        (
            {f"search/{EXPONENT}/when": {"model.norm": "pre"}},
            f"search.{EXPONENT}.when.model.norm: is not searched itself, so the condition never changes; search it or drop the",
        ),
        (
            {f"search/{EXPONENT}/when": {KIND: "cosine"}},
            f"search.{EXPONENT}.when.{KIND}: can never be 'cosine'; it is searched over ['linear', 'power'].",
        ),
        (
            {f"search/{KIND}": LINEAR_POWER | {"when": {EXPONENT: 1.0}}},
            f"search: the conditions of {KIND} and {EXPONENT} wait for each other; drop one `when`.",
        ),
        ({f"search/{EXPONENT}/when": {}}, f"search.{EXPONENT} = 0.25: objective.schedule.exponent is unknown"),
        ({"trials": None, "confirm/top": 0}, "trials: must be at least 1 where something is searched; got 0."),
        ({"search": None, "confirm/top": 0}, "search: names nothing to vary in 4 trials; add a leaf or drop trials."),
        ({"confirm/against": "mask-predikt"}, "confirm.against: 'mask-predikt' is no baseline; did you mean 'mask-predict'?"),
        (
            {"confirm/looks": [1, 3]},
            "confirm.looks must ascend from 2 or more to the number of seeds, 3; got [1, 3].",
        ),
        (
            {"confirm/looks": [2]},
            "confirm.looks must ascend from 2 or more to the number of seeds, 3; got [2].",
        ),
        ({"confirm/seeds": [3, 2, 3]}, "confirm.seeds must differ; got [3, 2, 3]."),
        ({"analysis": {}}, "analysis: must contain similarity or probing."),
        ({"analysis": {"every": 5, "probing": {}}}, "analysis.every: nothing is computed over training; add similarity or"),
        ({"analysis": {"probing": {"over_training": True}}}, "analysis.probing.over_training: needs every, the steps at which"),
        (
            {"analysis": {"probing": {"sentences": 5}}},
            "analysis.probing.sentences: must be greater than or equal to 20;",
        ),
        ({"analysis": {"similarity": {"against": []}}}, "analysis.similarity.against: must have at least 1"),
        (
            {"analysis": {"similarity": {"against": ["mask-predikt"]}}},
            "analysis.similarity.against: 'mask-predikt' is no baseline; did you mean 'mask-predict'?",
        ),
        (
            {"analysis": {"every": 10**6, "similarity": {"against": ["mask-predict"]}}},
            "analysis.every: must be at most training.steps, ",
        ),
        ({"analysis": {"probing": {"tasks": "nowhere"}}}, "analysis.probing: "),
        ({"confirm": None, "analysis": {"probing": {}}}, "analysis: is of the models of the confirm phase; add confirm, or"),
        (
            {"confirm/seeds": [4, 2], "experiment/seed": 2},
            "confirm.seeds: contains 2, the seed of the search (experiment.seed), whose scores choose the proposals; "
            "give other seeds, such as [1, 3].",
        ),
        ({"confirm/top": 5}, "confirm.top: must not exceed trials; got 5 and 4."),
        (
            {"resources/workers": 2},
            "experiment.training.batches_per_step: must be a multiple of resources.workers; got 1 and 2.",
        ),
        ({"budget": {"trials": 4}}, "trials: is given here and as budget.trials; got 4 and 4; drop one of them."),
        (
            {"search": None, "trials": None, "confirm/top": 0, "baselines": {}, "confirm": None},
            "baselines: there is nothing to run; name a baseline, or a search and trials.",
        ),
        ({"trials": None, "budget": {"trials": 1}}, "confirm.top: must not exceed budget.trials; got 2 and 1."),
        (
            {"budget": {"gpu_hours": 3}},
            "budget.gpu_hours: would never be used up, since resources.gpus_per_worker is 0; got 3;",
        ),
        ({"keep_models": 1}, "keep_models: must not be below confirm.top, whose models are tested; got 1 and 2."),
        ({"warm_start": ["nowhere"]}, "warm_start: nowhere is no study's folder (no study.yaml in it); give one such as"),
        ({"pruner": ASHA | {"kind": "hyberband"}}, "pruner.kind: must be 'asha', 'hyperband' or 'median'; got 'hyberband'."),
        ({"pruner": ASHA | {"first_step": 20}}, "pruner.first_step: must be below experiment.training.steps; got 20 and 20."),
        (
            {"pruner": ASHA | {"first_step": 4}},
            "pruner.first_step: must not be below experiment.training.validate_every, because only validations",
        ),
        (
            {"pruner": ASHA, "horizon": {"steps": [10, 20]}},
            "pruner: cannot be combined with horizon, which ends trials in another way; drop one of them.",
        ),
        (
            {"pruner": ASHA, "metrics": TWO},
            "pruner: compares trials by one metric, but metrics names several; drop one of them.",
        ),
        (
            NOTHING_SEARCHED | {"pruner": ASHA},
            "pruner: chooses among proposals, but nothing is searched; add a search, or drop",
        ),
        (
            NOTHING_SEARCHED | {"horizon": {"steps": [10, 20]}},
            "horizon: chooses among proposals, but nothing is searched; add a search, or drop it.",
        ),
        (
            NOTHING_SEARCHED | {"budget": {"hours": 1}},
            "budget: ends a search, but nothing is searched; add a search, or drop it.",
        ),
        ({"horizon": {"steps": [20, 10]}}, "horizon.steps must be above 0 and ascend; got [20, 10]."),
        ({"horizon": {"steps": [10, 20], "keep": 0}}, "horizon.keep: must be greater than 0; got 0."),
        (
            {"horizon": {"steps": [10, 30]}},
            "horizon.steps: the last one must be experiment.training.steps; got 30 and 20.",
        ),
        (
            {"horizon": {"steps": [1, 20], "keep": 1}},
            "horizon.steps: a rung of 1 has no room for its share of 5 warm-up steps; begin with a longer one.",
        ),
        (
            {"horizon": {"steps": [10, 20], "keep": 0.1}},
            "confirm.top: must not exceed the trials that reach horizon's last rung; got 2 and 1.",
        ),
        (
            {"horizon": {"steps": [10, 20], "keep": 1}, "baselines/linear": {"training.steps": 30}},
            "baselines.linear.training.steps: is set by horizon.steps, from rung to rung; drop it here.",
        ),
        (
            {"horizon": {"steps": [10, 20], "keep": 1}, "search/training.steps": {"int": [20, 30]}},
            "search.training.steps: is set by horizon.steps, from rung to rung; drop it here.",
        ),
        (
            {"horizon": {"steps": [10, 20], "keep": 1}, "metrics": TWO},
            "horizon: compares trials by one metric, but metrics names several; drop one of them.",
        ),
        ({"metrics": TWO[:1]}, "metrics: must have at least 2 items after validation, not 1; got [{'valid.bleu': 'max'}]."),
        ({"metrics": [*TWO, {"decode.second": "max"}]}, "metrics: 'decode.second' is unknown; did you mean 'decode.seconds'?"),
        (
            {"metrics": [*TWO, {"speed": "max"}]},
            "metrics: 'speed' is unknown; known here: valid.bleu, valid.loss, decode.seconds, train.seco",
        ),
        ({"metrics": [TWO[0], {"decode.seconds": "least"}]}, "metrics.1.decode.seconds: must be 'max' or 'min'; got 'least'."),
        ({"metrics": [*TWO, TWO[1]]}, "metrics: names decode.seconds twice; drop one of them."),
        (
            {"metrics": [TWO[0], {"decode.seconds": "min", "train.seconds": "min"}]},
            "metrics.1: must be one metric and its direction, such as valid.bleu: max; got {'decode.seconds': 'min', 'train",
        ),
        ({"metrics": TWO, "metric": "valid.bleu"}, "metric: is given beside metrics; drop one of them."),
        (
            {"metrics": TWO[::-1]},
            "metrics: the first must be valid.bleu: max, because that is what the test set later measures;",
        ),
        (
            {"sampler": {"kind": "cma-es"}},
            "sampler.kind: must be 'tpe', 'random', 'qmc', 'cmaes', 'gp' or 'grid'; got 'cma-es'.",
        ),
        (
            {"sampler": {"kind": "cmaes"}},
            "sampler.kind: cmaes learns from numbers, but no float or int without `when` is searched;",
        ),
        (
            {"sampler": {"kind": "cmaes"}, "search/model.dropout": {"float": [0, 0.5]}, "metrics": TWO},
            "sampler.kind: cmaes knows one metric only; choose tpe, gp or qmc for several.",
        ),
        (
            {"sampler": {"kind": "grid"}},
            f"search.{EXPONENT}: a grid needs step or choice; got float: [0.25, 4]; add step, or list the values as choice.",
        ),
        (
            {"sampler": {"kind": "grid"}, f"search/{EXPONENT}": {"choice": [1, 2], "when": {KIND: "power"}}, "confirm/top": 4}
            | {"trials": None, "keep_models": 9},
            "confirm.top: must not exceed the grid's combinations; got 4 and 3.",
        ),
        (
            {"sampler": {"kind": "grid"}, "trials": None, "search": {"training.clip_norm": {"float": [0, 10], "step": 1e-5}}},
            "trials: the grid has 100000 combinations or more; say how many of them to run, the first ones, or search less.",
        ),
        ({"experiment/data/train": ["t.en", "no.de"]}, "data.train: "),
        ({"experiment/data/vocabulary_size": 9000}, "data.vocabulary_size"),
    ],
)
def test_each_problem_of_a_study_file_is_reported_in_one_sentence(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    found = problems(tmp_path, changes)
    assert len([problem for problem in found if problem.startswith(sentence)]) == 1, found
    assert len(found) == 1, found


@pytest.mark.parametrize(
    "changes",
    [
        {"trials": 0, "budget": {"hours": 2}},
        {"trials": 0, "budget": {"trials": 4, "hours": 2}},
        {"metrics": TWO, "sampler": {"kind": "gp", "seed": 7, "startup_trials": 3}},
        {"pruner": ASHA},
        {"horizon": {"steps": [5, 20], "keep": 0.5}},
        {"trials": 0, "sampler": {"kind": "grid"}, "search": {KIND: LINEAR_POWER}},
    ],
)
def test_valid_ways_to_search_are_accepted(tmp_path: Path, changes: dict[str, Any]) -> None:
    study = read(tmp_path, GOOD | changes)
    assert build(Study, read_value(write_yaml(study), "study")) == study


def test_warm_start_studies_must_have_different_folder_names(tmp_path: Path) -> None:
    folders = [tmp_path / parent / "same" for parent in "ab"]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "study.yaml").touch()
    assert problems(tmp_path, {"warm_start": [str(folder) for folder in folders]}) == [
        f"warm_start: {folder} has a name that another study there has, so their trials would too; rename it."
        for folder in folders
    ]


def test_a_warm_start_study_of_a_newer_format_is_reported(tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    folder.mkdir()
    (folder / "format.json").write_text('{"format": 2, "mtnat": "0.9.0"}')
    assert problems(tmp_path, {"warm_start": [str(folder)]}) == [
        f"warm_start: {folder}: has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer."
    ]


def test_resources_beyond_those_of_the_machine_are_reported(tmp_path: Path) -> None:
    changes = {
        "resources": {"workers": 2, "cpus_per_worker": 2, "gpus_per_worker": 1},
        "experiment/training/batches_per_step": 2,
    }
    assert problems(tmp_path, changes, cpus=2) == [
        "resources.gpus_per_worker: must not exceed what one machine has; got 1, but the machine has 0.",
        "resources.workers: a run needs 2 that take 2 cores each, but there is room for 1; lower either.",
    ]


def test_all_problems_of_a_study_file_are_reported_at_once(tmp_path: Path) -> None:
    changes = {
        "metric": "bleu",
        "experiment/data/train": ["no.en", "t.de"],
        "baselines/linear": {"model.heads": 3},
        "search/model.width": {"int": [16, 8]},
        "confirm/against": "nobody",
        "resources/workers": 9,
    }
    found = problems(tmp_path, changes, cpus=2)
    for start in (
        "metric",
        "data.train",
        "baselines.linear",
        "search.model.width",
        "confirm.against",
        "resources",
        "experiment.",
    ):
        assert any(problem.startswith(start) for problem in found), start


def test_setting_names_are_checked_even_if_the_experiment_is_invalid(tmp_path: Path) -> None:
    found = problems(tmp_path, {"experiment/model": {"width": "wide"}, "baselines/linear": {"model.widht": 8}})
    assert [problem.split(":")[0] for problem in found] == ["experiment.model.width", "baselines.linear.model.widht"]


def test_a_file_with_wrong_types_and_without_a_question_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="question is missing"):
        read(tmp_path, {"baselines": 3, "search": [1], "confirm": "yes"})


AT = {"objective.schedule": {"kind": "constant", "value": 0.0}}
NAT = {"schedule": {"kind": "constant", "value": 1.0}}


class TestColumns:
    def test_each_column_is_a_study_of_its_own(self, tmp_path: Path) -> None:
        turned = ["t.de", "t.en"]
        columns = {"en-de": {}, "de-en": {f"data.{split}": turned for split in ("train", "valid", "test")}}
        parts = read(tmp_path, GOOD | {"columns": columns}).parts
        assert list(parts) == ["en-de", "de-en"]
        assert parts["de-en"].experiment.data.train == ("t.de", "t.en")
        assert parts["en-de"] == read(tmp_path, GOOD)

    def test_problems_of_a_column_are_reported(self, tmp_path: Path) -> None:
        assert problems(tmp_path, {"columns": {"a": {"seed": 3}, "b": {"data.trian": ["t.en", "t.de"]}}}) == [
            "columns.a.seed: is set by confirm.seeds; drop it here.",
            "columns.b.data.trian: the experiment has no such setting; did you mean 'data.train'?",
        ]
        (found,) = problems(tmp_path, {"columns": {"a": {}, "b": {"data.test": ["no.en", "t.de"]}}})
        assert found.startswith("data.test: ")
        assert "no.en: no such file" in found
        assert problems(tmp_path, {"columns": {"a b": {}, "a-b": {}}}) == [
            "columns.a-b: its folder would be that of a b; choose another name."
        ]

    def test_published_figures_must_belong_to_a_baseline_and_a_column(self, tmp_path: Path) -> None:
        published = {"source": "S", "bleu": {"linaer": {"en": 1.0}, "linear": {"en": 1.0, "de": 2.0}}}
        assert problems(tmp_path, {"published": published}) == [
            "published: is shown in the table of a study with columns; add columns, or drop it."
        ]
        assert problems(tmp_path, {"published": published, "columns": {"en": {}}}) == [
            "published.bleu.linaer: is no baseline; did you mean 'linear'?",
            "published.bleu.linear.de: is no column; columns: en.",
        ]


class TestTeacher:
    def test_a_teacher_needs_an_at_decoder(self, tmp_path: Path) -> None:
        nat = {"objective.schedule": {"kind": "constant", "value": 1.0}}
        assert problems(tmp_path, {"teacher": {"settings": nat}}) == [
            "teacher.settings: must train an AT decoder, which a teacher translates with; "
            "add objective.schedule: {kind: constant, value: 0.0}."
        ]

    def test_a_teacher_has_either_settings_or_a_finished_model(self, tmp_path: Path) -> None:
        assert problems(tmp_path, {"teacher": {"settings": AT, "model": "m"}}) == [
            "teacher: takes either settings to train with or a finished model; got both, model: m."
        ]
        (found,) = problems(tmp_path, {"teacher": {"model": "nowhere"}})
        assert found.startswith("teacher.model: nowhere: is not a model folder")
        (tmp_path / "format.json").write_text('{"format": 2, "mtnat": "0.9.0"}')
        assert problems(tmp_path, {"teacher": {"model": str(tmp_path)}}) == [
            f"teacher.model: {tmp_path}: has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer."
        ]

    def test_a_baseline_may_not_replace_the_teachers_text_or_use_its_folder_name(self, tmp_path: Path) -> None:
        baselines = GOOD["baselines"] | {"own": {"data.distilled": "t.de"}, "raw": {"data.distilled": None}}
        assert problems(tmp_path, {"teacher": {"settings": AT}, "baselines": baselines}) == [
            "baselines.own.data.distilled: is what the teacher writes; a baseline may say null, for the corpus's own targets."
        ]
        assert problems(tmp_path, {"teacher": {"settings": AT}, "baselines/teacher": {}}) == [
            "baselines.teacher: its folder would be that of the teacher; choose another name."
        ]

    def test_a_teacher_translates_only_the_training_text_of_the_experiment(self, tmp_path: Path) -> None:
        other = {"data.train": ["t.en", "t.de"]}
        baselines = GOOD["baselines"] | {"other": other, "other, raw": other | {"data.distilled": None}}
        assert problems(tmp_path, {"teacher": {"settings": AT}, "baselines": baselines}) == [
            "baselines.other.data.train: the teacher translates the experiment's training text; "
            "add data.distilled: null, or drop it."
        ]
        (found,) = problems(tmp_path, {"teacher": {"settings": AT}, "experiment/data/distilled": "t.de"})
        assert found == (
            "experiment.data.distilled: is what the teacher writes; a baseline may say null, for the corpus's own targets."
        )

    def test_missing_files_are_reported_with_the_problems_of_other_settings(self, tmp_path: Path) -> None:
        found = problems(tmp_path, {"experiment/training/steps": -1, "experiment/data/valid": ["v.en", "v.de"]})
        assert any("training.steps" in problem for problem in found)
        assert [problem for problem in found if "v.en" in problem or "v.de" in problem]

    def test_a_system_that_reads_a_teacher_names_one_or_has_that_of_the_study(self, tmp_path: Path, model: Path) -> None:
        """Its problem is at the line of the baseline that chooses the system."""
        hints = {"system.kind": "hint-nat"}
        missing = problems(tmp_path, {"baselines/hints": hints})
        assert len(missing) == 1
        assert missing[0].startswith("system.teacher: is missing; give the folder of a model with an AT decoder, such as")
        (found,) = problems(tmp_path, {"baselines/hints": hints | {"system.teacher": "nowhere"}})
        assert found.startswith("system.teacher: nowhere: is not a model folder")
        assert read(tmp_path, changed({"baselines/hints": hints, "teacher": {"settings": AT}})).teacher is not None
        assert read(tmp_path, changed({"baselines/hints": hints | {"system.teacher": str(model)}})).teacher is None

    def test_a_column_without_the_teachers_text_keeps_it_for_systems_that_read_it(self, tmp_path: Path) -> None:
        columns = {"raw": {"data.distilled": None}, "distilled": {}}
        study = changed({"teacher": {"settings": AT}, "columns": columns})
        assert read(tmp_path, study).parts["raw"].teacher is None
        study["baselines"]["hints"] = {"system.kind": "hint-nat"}
        parts = read(tmp_path, study).parts
        teachers = {name: part.teacher for name, part in parts.items()}
        assert {name: teacher and teacher.translates for name, teacher in teachers.items()} == {"raw": False, "distilled": True}
        assert [part.written for part in parts.values()] == [(), ("data.distilled",)]

    def test_a_teacher_that_does_not_translate_leaves_the_text_alone(self, tmp_path: Path) -> None:
        teacher = {"settings": AT, "translates": False}
        assert read(tmp_path, changed({"teacher": teacher, "baselines/own": {"data.train": ["t.en", "t.de"]}})).written == ()
        assert problems(tmp_path, {"teacher": teacher, "reverse_teacher": {}}) == [
            "teacher.translates: false leaves reverse_teacher without a text that its own is joined with; drop one of them."
        ]

    def test_a_finished_teacher_must_have_the_translation_direction_of_the_text(self, tmp_path: Path, model: Path) -> None:
        turned = {f"data.{split}": ["t.de", "t.en"] for split in ("train", "valid", "test")}
        changes = {"teacher": {"model": str(model)}, "columns": {"en-de": {}, "de-en": turned}}
        assert problems(tmp_path, changes) == [
            "teacher.model: translates en-de, but the text is de-en; train the teacher here, by settings."
        ]
        assert read(tmp_path, GOOD | {"teacher": {"model": str(model)}}).teacher is not None


class TestRejuvenation:
    def test_both_models_need_an_at_decoder(self, tmp_path: Path) -> None:
        nat = {"objective.schedule": NAT["schedule"]}
        said = "which scores and rewrites the text; add objective.schedule: {kind: constant, value: 0.0}."
        for changes in ({"rejuvenation": {"settings": nat}}, {"rejuvenation": {}, "experiment/objective": NAT}):
            assert problems(tmp_path, changes) == [f"rejuvenation.settings: must train an AT decoder, {said}"]
        assert read(tmp_path, GOOD | {"rejuvenation": {"settings": AT}}).written == ("data.rejuvenated",)

    def test_without_settings_it_has_those_of_the_teacher(self, tmp_path: Path) -> None:
        study = read(tmp_path, GOOD | {"teacher": {"settings": AT}, "rejuvenation": {}})
        assert study.complete_rejuvenation is not None
        assert (study.complete_rejuvenation.settings, study.complete_rejuvenation.model) == (AT, None)
        nat = {"objective.schedule": {"kind": "constant", "value": 1.0}}
        (found,) = problems(tmp_path, {"teacher": {"settings": nat}, "rejuvenation": {}})
        assert found.startswith("teacher.settings: must train an AT decoder")

    def test_a_finished_identification_model_must_fit_the_text(self, tmp_path: Path, model: Path) -> None:
        (found,) = problems(tmp_path, {"rejuvenation": {"settings": AT, "model": "nowhere"}})
        assert found.startswith("rejuvenation.model: nowhere: is not a model folder")
        turned = {f"data.{split}": ["t.de", "t.en"] for split in ("train", "valid", "test")}
        changes = {"rejuvenation": {"settings": AT, "model": str(model)}, "columns": {"de-en": turned}}
        assert problems(tmp_path, changes) == [
            "rejuvenation.model: translates en-de, but the text is de-en; train the identification model here, by settings."
        ]
        assert read(tmp_path, GOOD | {"rejuvenation": {"settings": AT, "model": str(model)}}).rejuvenation is not None

    def test_a_baseline_may_not_replace_its_text_or_use_the_folders_of_its_models(self, tmp_path: Path) -> None:
        own = {
            "own": {"data.rejuvenated": "t.de"},
            "raw": {"data.rejuvenated": None},
            "other": {"data.train": ["t.en", "t.de"]},
        }
        assert problems(tmp_path, {"rejuvenation": {"settings": AT}, "baselines": GOOD["baselines"] | own}) == [
            "baselines.own.data.rejuvenated: is what rejuvenation writes; "
            "a baseline may say null, for the corpus's own targets.",
            "baselines.other.data.train: rejuvenation rewrites the experiment's training text; "
            "add data.rejuvenated: null, or drop it.",
        ]
        for name in ("identification", "rejuvenation"):
            assert problems(tmp_path, {"rejuvenation": {"settings": AT}, f"baselines/{name}": {}}) == [
                f"baselines.{name}: its folder would be that of the {name if name == 'rejuvenation' else f'{name} model'}; "
                "choose another name."
            ]

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_the_inactive_share_leaves_pairs_on_both_sides(self, tmp_path: Path, share: float) -> None:
        (found,) = problems(tmp_path, {"rejuvenation": {"settings": AT, "inactive": share}})
        assert found.startswith("rejuvenation.inactive: must be ")


STAGED = [{"text": "raw", "share": 2}, {"text": "bidirectional", "share": 2}, {"text": "distilled", "share": 3}]


class TestStages:
    TEACHERS: ClassVar[dict[str, Any]] = {"teacher": {"settings": AT}, "reverse_teacher": {}}

    def test_stages_of_text_that_the_study_writes_are_accepted(self, tmp_path: Path) -> None:
        baselines = GOOD["baselines"] | {"lexical frequency": {"data.stages": STAGED}}
        assert read(tmp_path, GOOD | self.TEACHERS | {"baselines": baselines}).written == (
            "data.distilled",
            "data.reverse_distilled",
        )
        searched = {"data.stages": {"choice": [[], STAGED]}}
        assert read(tmp_path, GOOD | self.TEACHERS | {"search": searched, "trials": 2}).search

    def test_stages_need_text_that_a_file_has_or_the_study_writes(self, tmp_path: Path) -> None:
        staged = GOOD["baselines"] | {"staged": {"data.stages": STAGED}}
        assert problems(tmp_path, {"baselines": staged, "teacher": {"settings": AT}}) == [
            "baselines.staged.data.stages: bidirectional needs data.reverse_distilled; add reverse_teacher to the study, "
            "or drop this stage."
        ]
        own = {"experiment/data/distilled": "t.de", "experiment/data/reverse_distilled": "t.en", "baselines": staged}
        assert read(tmp_path, changed(own)).written == ()
        assert problems(tmp_path, {"experiment/data/stages": STAGED, "teacher": {"settings": AT}}) == [
            "experiment.data.stages: bidirectional needs data.reverse_distilled; add reverse_teacher to the study, "
            "or drop this stage."
        ]
        assert problems(
            tmp_path, {"search": {"data.stages": {"choice": [[], STAGED]}}, "teacher": {"settings": AT}, "trials": 2}
        ) == [
            "search.data.stages: bidirectional needs data.reverse_distilled; add reverse_teacher to the study, "
            "or drop this stage."
        ]

    def test_a_trial_that_drops_the_text_of_its_stages_is_one_sentence(self, tmp_path: Path) -> None:
        raw = GOOD["baselines"] | {"raw": {"data.distilled": None}}
        changes = self.TEACHERS | {"experiment/data/stages": [STAGED[0], STAGED[2]], "baselines": raw}
        assert problems(tmp_path, changes) == [
            "baselines.raw.data.stages: distilled needs data.distilled, which is set to null; add data.stages: [], "
            "or drop this stage."
        ]
        fine = raw | {"raw": {"data.distilled": None, "data.stages": []}}
        assert read(tmp_path, changed(changes | {"baselines": fine})).baselines

    def test_a_reverse_teacher_needs_a_teacher_and_the_opposite_direction(self, tmp_path: Path, model: Path) -> None:
        assert problems(tmp_path, {"reverse_teacher": {"settings": AT}}) == [
            "reverse_teacher: needs a teacher, whose text its own is joined with; add teacher, or drop it."
        ]
        assert problems(tmp_path, {"teacher": {"settings": AT}, "reverse_teacher": {"model": str(model)}}) == [
            "reverse_teacher.model: translates en-de, but a reverse teacher translates de-en; "
            "train the reverse teacher here, by settings."
        ]
        turned = {f"data.{split}": ["t.de", "t.en"] for split in ("train", "valid", "test")}
        columns = {"teacher": {"settings": AT}, "reverse_teacher": {"model": str(model)}, "columns": {"de-en": turned}}
        assert read(tmp_path, GOOD | columns).reverse_teacher is not None
        assert problems(tmp_path, {"teacher": {"settings": AT}, "reverse_teacher": {"settings": AT, "model": "m"}}) == [
            "reverse_teacher: takes either settings to train with or a finished model; got both, model: m."
        ]

    def test_the_models_have_the_text_and_the_direction_of_the_experiment(self, tmp_path: Path) -> None:
        given = {**AT, "data.train": ["t.en", "t.de"], "data.distilled": None}
        assert problems(tmp_path, {"teacher": {"settings": given}, "reverse_teacher": {}}) == [
            "teacher.settings.data.train: has the wrong direction for the reverse teacher, which has the same settings; "
            "give reverse_teacher.settings."
        ]
        assert problems(tmp_path, {"teacher": {"settings": AT}, "reverse_teacher": {"settings": given}}) == [
            "reverse_teacher.settings.data.train: the reverse teacher is trained on the experiment's training text; drop it."
        ]
        assert problems(tmp_path, {"teacher": {"settings": {**AT, "data.stages": STAGED}}}) == [
            "teacher.settings.data.stages: these models are trained on the corpus's own text; drop it."
        ]

    def test_stages_need_a_step_each_also_in_the_rungs_of_a_horizon(self, tmp_path: Path) -> None:
        short = [{"text": "raw", "share": 0.001}, {"text": "distilled", "share": 1}]
        (found,) = problems(tmp_path, {"teacher": {"settings": AT}, "baselines/short": {"data.stages": short}})
        assert found == "baselines.short: data.stages must have at least one step each; got [0, 20] of 20 steps."
        staged = [{"text": "raw", "share": 1}, {"text": "distilled", "share": 10}]
        (found,) = problems(
            tmp_path,
            {
                "teacher": {"settings": AT},
                "experiment/data/stages": staged,
                "experiment/training/warmup_steps": 0,
                "horizon": {"steps": [4, 20]},
            },
        )
        assert found == "horizon.steps: a rung of 4 has no room for a step of each of its stages; begin with a longer one."

    @pytest.mark.parametrize(
        ("stage", "problem"),
        [
            (
                {"text": "distiled", "share": 1},
                "text: must be 'raw', 'distilled', 'rejuvenated' or 'bidirectional'; got 'distiled'.",
            ),
            ({"text": "raw", "share": 0}, "share: must be greater than 0; got 0."),
            ({"text": "raw"}, "share is missing; add it."),
        ],
    )
    def test_a_wrong_stage_is_one_sentence(self, tmp_path: Path, stage: dict[str, Any], problem: str) -> None:
        (found,) = problems(tmp_path, {"experiment/data/stages": [stage]})
        assert found.endswith(problem)
        assert found.startswith("experiment.data.stages.0.")


LINES = """\
question: Does it hold?
experiment:
  data:
    train: [no.en, t.de]
    valid: [t.en, t.de]
    test: [t.en, t.de]
  model: {widht: 8}
  training:
    steps: 20
    warmup_steps: 30
baselines:
  mask-predict:
    objective.schedule:
      kind: constant
      value: 1.0
  "1. linear: old":
    seed: 3
  linear:
    model.widht: 8
search:
  model.width:
    int: [16, 8]
  model.dropout:
    float: [0.0, .inf]
trials: 0
confirm: {seeds: [1], against: nobody}
resources:
  workers: 9
"""


class TestLines:
    def problems(self, tmp_path: Path, text: str, cpus: float | None = None) -> list[tuple[int, str]]:
        file = tmp_path / "study.yaml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            read_study(file, cpus, 0 if cpus else None)
        return located(tmp_path, caught.value)

    def test_every_problem_has_the_line_of_its_setting(self, tmp_path: Path) -> None:
        starts = [
            (7, "experiment.model.widht is unknown; did you mean 'width'?"),
            (10, "experiment.training.warmup_steps must be below steps; got 30 and 20."),
            (17, "baselines.1. linear: old.seed: is set by confirm.seeds"),
            (19, "baselines.linear.model.widht: the experiment has no such setting; did you mean 'model.width'?"),
            (22, "search.model.width.int: low must be below high"),
            (24, "search.model.dropout.float: must be two finite numbers, [low, high]; got [0.0, inf]."),
            (25, "trials: must be at least 1 where something is searched"),
            (26, "confirm.against: 'nobody' is no baseline"),
            (28, "resources.workers: a run needs 9"),
        ]
        found = self.problems(tmp_path, LINES, cpus=2)
        for line, start in starts:
            assert any(one == line and problem.startswith(start) for one, problem in found), (line, start, found)

    def test_a_missing_setting_has_the_line_of_its_mapping(self, tmp_path: Path) -> None:
        text = "# a study\n\nquestion: Q\nexperiment:\n  seed: 1\n  data:\n    corpus: grammar-en-de\n"
        assert self.problems(tmp_path, text) == [
            (4, "experiment.training is missing; add it."),
            (3, "baselines: there is nothing to run; name a baseline, or a search and trials."),
        ]

    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("train: [t.en", "train: [no.en", 4),
            ("  mask-predict: {", "  mask-predict: {\n    data.train: [no.en, t.de],", 11),
            ("search: {", "search: {\n  data.train: {choice: [[t.en, t.de], [no.en, t.de]]},", 12),
            ("baselines:", "columns:\n  own: {}\n  other:\n    data.train: [no.en, t.de]\nbaselines:", 12),
            ("mask-predict: {", "mask-predict: &mask {data.train: [no.en, t.de]}\n  other: {<<: *mask, ", 10),
            ("  mask-predict: {", "  mask-predict: {\n    model.width: 3, model.heads: 2,", 11),
        ],
    )
    def test_a_value_set_by_dotted_path_has_its_own_line(self, tmp_path: Path, old: str, new: str, line: int) -> None:
        text = (
            "question: Q\nexperiment:\n  data:\n    train: [t.en, t.de]\n    valid: [t.en, t.de]\n    test: [t.en, t.de]\n"
            "    vocabulary_size: 64\n  training: {steps: 20, warmup_steps: 5}\nbaselines:\n  mask-predict: {}\n"
            "search: {model.dropout: {float: [0.0, 0.5]}}\ntrials: 1\n"
        )

        assert [one for one, _ in self.problems(tmp_path, text.replace(old, new))][:1] == [line]


class TestHostileStudies:
    """Studies with one change each that used to end in a traceback or never ended."""

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"search": True}, "search: must be `name: value` lines; got True."),
            ({"search": 3}, "search: must be `name: value` lines; got 3."),
            ({"search/model.width": 3}, "search.model.width: must be `name: value` lines; got 3."),
            ({f"search/{KIND}/when": {True: 1}}, f"search.{KIND}.when: a name must be text; got True; put it in quotes."),
            ({f"search/{KIND}/when": {"on": True}}, f"search.{KIND}.when.on: is not searched itself"),
            (
                {"search/model.dropout": {"float": [0.0, float("inf")]}},
                "search.model.dropout.float: must be two finite numbers, [low, high]; got [0.0, inf].",
            ),
            (
                {"search/model.dropout": {"float": [0.0, float("nan")]}},
                "search.model.dropout.float: must be two finite numbers, [low, high]; got [0.0, nan].",
            ),
            (
                {"search/model.dropout": {"float": [-1.7e308, 1.7e308]}},
                "search.model.dropout.float: high minus low must be a finite number; got [-1.7e+308, 1.7e+308].",
            ),
            (
                {"search/model.dropout": {"float": [0.0, 0.5], "step": float("inf")}},
                "search.model.dropout.step: must be a number above 0; got inf.",
            ),
            (
                {"search/model.width": {"int": [8, 2**62]}},
                "search.model.width.int: must be between -2^53 and 2^53; got [8, 461",
            ),
            (
                {"resources/workers": [1, 2**62]},
                "experiment.training.batches_per_step: must be a multiple of resources.workers; got 1 and 2.",
            ),
        ],
        ids=str,
    )
    def test_a_hostile_value_is_reported_in_a_sentence(self, tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
        found = problems(tmp_path, changes)
        assert [problem for problem in found if problem.startswith(sentence)], found

    def test_names_that_are_not_text_are_reported(self, tmp_path: Path) -> None:
        data = deepcopy(GOOD)
        data["search"][1] = {"choice": [1]}
        data["baselines"][2] = {}
        with pytest.raises(ConfigError) as caught:
            read(tmp_path, data)
        assert [problem for _, problem in located(tmp_path, caught.value) if "text" in problem] == [
            "baselines: a name must be text; got 2; put it in quotes.",
            "search: a name must be text; got 1; put it in quotes.",
        ]

    def test_a_huge_number_of_trials_is_accepted_and_reserves_its_folder_names(self, tmp_path: Path) -> None:
        assert read(tmp_path, GOOD | {"trials": 2**62}).trials == 2**62
        found = problems(tmp_path, {"trials": 2**62, f"baselines/trial-{2**59}": {}, "baselines/trial-1": {}})
        assert found == [f"baselines.trial-{2**59}: its folder would be that of a proposal; choose another name."]


@pytest.mark.parametrize(
    "changes",
    [
        {"search": None, "trials": None, "confirm/top": 0},
        {"metrics": TWO},
        {"trials": 9, "confirm/top": 5},
        {"baselines/1e-3": {}, "baselines/on": {}, "baselines/~": {}, "baselines/0x1f": {}, "confirm/against": "1e-3"},
        {"question": "λ: 'yes' or\n\n \"no\"\t😀?", "search/model.norm": {"choice": ["pre", "post"]}},
    ],
    ids=str,
)
def test_a_written_study_file_reads_back_as_the_same_study(tmp_path: Path, changes: dict[str, Any]) -> None:
    study = read(tmp_path, changed(changes))
    file = tmp_path / "written.yaml"
    file.write_text(write_yaml(study))
    assert read_study(file) == study
