"""A study reduced for `--smoke` keeps its structure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtnat.config import build, read_yaml, replace
from mtnat.experiment import Experiment
from mtnat.lab.outputs.folder import StudyFolder, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.rehearsal.smoke import SENTENCES, failures, smoke, write_text
from mtnat.lab.study.record import Settings, Study
from mtnat.lab.study.searching import compressed

STUDIES = Path(__file__).parents[3] / "studies"
FILES = sorted(STUDIES.rglob("*.yaml"))


def experiments(study: Study) -> Iterator[tuple[str, Experiment]]:
    """All baselines, teachers and corners of the search space of the study, each under a name."""
    for column, part in study.parts.items():
        for name, settings in part.baselines.items():
            yield f"{column}/{name}", replace(part.experiment, settings)
        if part.teacher and not part.teacher.model:
            yield f"{column}/teacher", replace(part.experiment, part.teacher.settings)
        for number, (_, settings) in enumerate(part.space.corners()):
            yield f"{column}/corner {number}", replace(part.experiment, settings)


def small(study: Study) -> Study:
    return smoke(study, Path("text"))


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(STUDIES)) for file in FILES])
def test_every_study_file_can_be_reduced_for_a_smoke_run(file: Path) -> None:
    study = build(Study, read_yaml(file))
    cut = build(Study, small(study).model_dump(mode="json"))
    assert (cut.baselines.keys(), cut.columns.keys(), cut.search.keys()) == (
        study.baselines.keys(),
        study.columns.keys(),
        study.search.keys(),
    )
    before, after = dict(experiments(study)), dict(experiments(cut))
    assert len(set(map(repr, after.values()))) == len(set(map(repr, before.values())))
    for experiment in after.values():
        assert experiment.training.steps < 100  # few, but as many different numbers as the study has
        assert experiment.model.width < 100
        assert experiment.data.vocabulary_size < 400
        assert experiment.training.batches_per_step in (cut.resources.most_workers, 2 * cut.resources.most_workers)
        for steps in cut.horizon.steps if cut.horizon else ():
            compressed(experiment, steps)


def of(**changes: Any) -> Study:
    experiment = {
        "data": {"corpus": "grammar-en-de"},
        "training": {"steps": 1_000, "warmup_steps": 100},
        "model": {"width": 256, "heads": 4},
    }
    return build(Study, {"question": "?", "experiment": experiment} | changes)


def corners(study: Study) -> list[Settings]:
    cut = small(study)
    found = [settings for _, settings in cut.space.corners()]
    for settings in found:
        replace(cut.experiment, settings)
    return found


def test_reduced_model_sizes_keep_their_order() -> None:
    baselines = {str(width): {"model.width": width, "model.heads": heads} for width, heads in ((1024, 16), (128, 2), (512, 8))}
    cut = small(of(baselines=baselines))
    models = {name: replace(cut.experiment, settings).model for name, settings in cut.baselines.items()}
    assert models["128"].width < models["512"].width < models["1024"].width
    assert models["128"].heads < models["512"].heads < models["1024"].heads


def test_a_part_that_is_set_as_a_whole_is_reduced_too() -> None:
    study = of(baselines={"base": {"model": {"dropout": 0.2}}, "equal": {"model": {"width": 256, "heads": 4}}})
    base = replace(small(study).experiment, small(study).baselines["base"])
    assert base.model.width < 100
    assert base.model.dropout == 0.2
    assert base.model.width > replace(small(study).experiment, small(study).baselines["equal"]).model.width


def test_an_analysis_is_reduced_with_the_steps() -> None:
    analysis = {"every": 100, "similarity": {"against": ["mask-predict"]}, "probing": {"over_training": True}}
    confirm = {"top": 0, "seeds": [2], "against": "mask-predict"}
    cut = small(of(baselines={"mask-predict": {}}, confirm=confirm, analysis=analysis))
    assert cut.analysis
    assert cut.analysis.every == cut.experiment.training.steps // 2
    assert cut.analysis.similarity
    assert cut.analysis.probing
    assert cut.analysis.similarity.sentences == cut.analysis.probing.sentences == SENTENCES


def test_searches_of_reduced_settings_are_reduced_with_their_conditions() -> None:
    width, heads = "model.width", "model.heads"
    study = of(
        search={
            width: {"choice": [128, 512]},
            heads: {"int": [2, 16], "log": True, "when": {width: 512}},
            "model.dropout": {"float": [0.0, 0.3]},
        },
        trials=40,
    )
    cut = small(study)
    large = cut.search[width]["choice"][1]
    assert large < 100
    assert cut.search[heads]["when"] == {width: [large]}
    assert cut.search["model.dropout"] == study.search["model.dropout"]
    assert {settings[heads] for settings in corners(study) if heads in settings} == {2, 8}  # the experiment's own are 4
    assert cut.trials == 2


def test_reduced_rungs_keep_their_proportions_and_end_at_the_reduced_steps() -> None:
    study = of(
        search={"model.dropout": {"float": [0.0, 0.3]}},
        trials=9,
        horizon={"steps": [111, 333, 1_000]},
    )
    cut = small(study)
    assert cut.horizon is not None
    assert cut.horizon.steps == (1, 3, 8)
    assert cut.experiment.training.steps == 8


def test_a_smoke_run_reads_only_the_first_lines_of_corpus_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    for language in ("en", "de"):
        (tmp_path / f"t.{language}").write_text("".join(f"{language} {number}\n" for number in range(5_000)))
    pair = ["t.en", "t.de"]
    study = of(
        experiment={
            "data": {"train": pair, "valid": pair, "test": pair},
            "training": {"steps": 1_000, "warmup_steps": 100},
        },
        columns={"en-de": {}, "de-en": {f"data.{split}": pair[::-1] for split in ("train", "valid", "test")}},
        baselines={"one": {}},
    )
    pieces = write_text(study, tmp_path / "text")
    cut = smoke(study, tmp_path / "text", pieces)
    forth, back = (part.experiment.data for part in cut.parts.values())
    assert forth.train is not None
    assert back.train == forth.train[::-1]
    assert forth.languages == ("en", "de")
    lines = [Path(name).read_text().splitlines() for name in (*forth.train, *(forth.valid or ()))]
    assert lines == [[f"{language} {number}" for number in range(most)] for most in (300, 8) for language in ("en", "de")]
    assert forth.vocabulary_size == pieces


def test_failures_include_runs_without_a_value_for_a_metric(tmp_path: Path) -> None:
    study = of(baselines={"one": {}}, metrics=[{"valid.bleu": "max"}, {"decode.seconds": "min"}])
    folder = StudyFolder(tmp_path / "x")
    for result in (
        Result(run="whole", valid=1.0, decode_seconds=2.0),
        Result(run="pruned", valid=1.0, pruned=4),
        Result(run="half", valid=1.0),
        Result(run="broken", failed="it broke"),
    ):
        write_result(folder.run(result.run), result)
    assert sorted(failures(study, folder)) == ["x, broken: it broke", "x, half: has no decode.seconds"]
