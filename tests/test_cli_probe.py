"""`python -m mtnat probe`, as a user calls it."""

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

import pytest
import torch
from torch import Tensor

from mtnat.analysis.encoding import encoder_states
from mtnat.analysis.probing import (
    Pooling,
    ProbingConfig,
    grammar_tasks,
    probe,
    read_tasks,
    seed_t_test,
    sentence_features,
    untrained,
)
from mtnat.cli import main
from mtnat.data.grammar import generate
from mtnat.training import load_model, save_model

MODEL_FIGURES = {"mean", "deviation", "folds"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """A text, two tasks, and a second model."""
    folder = tmp_path_factory.mktemp("probe")
    pairs = list(generate("test", 200, seed=1))
    (folder / "text.en").write_text("".join(f"{pair.english}\n" for pair in pairs))
    (folder / "tasks").mkdir()
    lines = [f"{pair.english}\t{pair.structure.tense}\n" for pair in pairs]
    (folder / "tasks" / "tense.txt").write_text("".join([*lines, lines[0]]))
    numbers = [f"tr\t{pair.structure.subject_number}\t{pair.english}\n" for pair in pairs]
    (folder / "tasks" / "subject.tsv").write_text("".join(numbers))
    save_model(untrained(load_model(model), seed=9), folder / "other")
    return folder


def probed(capsys: pytest.CaptureFixture[str], arguments: Sequence[object]) -> str:
    """Returns what the command prints."""
    assert main(["probe", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_json_holds_every_figure(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", model, "--model", folder / "other", "--tasks", folder / "tasks", "--json"]
    found = json.loads(probed(capsys, arguments))
    assert [(task["name"], task["sentences"], task["classes"]) for task in found["tasks"]] == [
        ("subject", 200, 2),
        ("tense", 200, 2),
    ]
    assert found["tasks"][1]["updates"] == 8  # 180 training sentences are 2 batches of 64 in each of 4 epochs
    assert found["tasks"][1]["left_out"] == {"repeated": 1, "contradictory": 0, "rare": 0, "undrawn": 0}
    assert found["groups"] == {str(model): [str(model)], str(folder / "other"): [str(folder / "other")]}
    models = {name: [load_model(name)] for name in (str(model), str(folder / "other"))}
    for task, result in zip(found["tasks"], probe(models, read_tasks(folder / "tasks")), strict=True):
        assert set(task["majority"]) == set(task["bag_of_words"]) == MODEL_FIGURES
        for name in models:
            assert task["models"][name]["folds"] == list(result.layers[0].models[name].folds)
            assert len(task["untrained"][name]["folds"]) == 10
        assert set(task["comparisons"]) == {str(folder / "other")}
        assert task["comparisons"][str(folder / "other")]["adjusted"] >= task["comparisons"][str(folder / "other")]["p_value"]
    assert json.loads(probed(capsys, arguments)) == found


def test_the_table_shows_models_baselines_and_notes(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = probed(capsys, ["--model", model, "--model", folder / "other", "--tasks", folder / "tasks"])
    for said in (f"A  {model}", "bag of words", "untrained", "tense", "adjusted for 2 comparisons (Holm 1979)"):
        assert said in shown
    assert "It speaks of these models only" in " ".join(shown.split())
    assert "tense: sentences left out: 1 repeated." in shown


def test_a_text_gives_tasks(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--layer", "0", "--pooling", "max", "--seed", "2", "--sentences", "150", "--epochs", "1"]
    shown = probed(capsys, ["--model", model, "--text", folder / "text.en", *options])
    assert "sentence_length" in shown
    assert "bigram_shift" in shown
    assert "layer 0, max over" in shown
    assert "The folds of one model say nothing about other training seeds." in shown


def test_the_grammar_gives_ten_tasks(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(probed(capsys, ["--model", model, "--grammar", "--sentences", "400", "--json"]))
    assert [task["name"] for task in found["tasks"]] == [task.name for task in grammar_tasks(400)]
    assert found["settings"]["sentences"] == 400


def with_seed(model: Path, seed: int, folder: Path) -> Path:
    """Saves a model of the same settings with another seed and other weights."""
    loaded = untrained(load_model(model), seed)
    save_model(replace(loaded, experiment=loaded.experiment.model_copy(update={"seed": seed})), folder)
    return folder


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory, model: Path) -> list[str]:
    """Options for two groups, of two and of three seeds."""
    folder = tmp_path_factory.mktemp("groups")
    names = {"one": (11, 12), "two": (21, 22, 23)}
    return [f"--model={name}={with_seed(model, seed, folder / str(seed))}" for name, seeds in names.items() for seed in seeds]


def test_groups_are_compared_by_their_seeds(groups: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*groups, "--tasks", folder / "tasks", "--epochs", "1"]
    found = json.loads(probed(capsys, [*arguments, "--json"]))
    assert {name: len(models) for name, models in found["groups"].items()} == {"one": 2, "two": 3}
    for task in found["tasks"]:
        for name, seeds in (("one", 2), ("two", 3)):
            means = [seed["mean"] for seed in task["models"][name]["seeds"]]
            assert len(means) == seeds
            assert task["models"][name]["mean"] == pytest.approx(fmean(means))
            assert task["models"][name]["deviation"] == pytest.approx(stdev(means))
        one, two = ([seed["folds"] for seed in task["models"][name]["seeds"]] for name in ("one", "two"))
        assert task["comparisons"]["two"]["p_value"] == pytest.approx(seed_t_test(two, one))
        assert task["comparisons"]["two"]["seeds"] == [3, 2]
    shown = " ".join(probed(capsys, arguments).split())
    assert "A one, 2 models:" in shown
    assert "mean ± standard deviation between training seeds" in shown
    assert "Two seeds rarely settle a difference" in shown


def test_models_of_a_group_that_differ_in_more_than_the_seed_are_noted(
    model: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_model(model)
    settings = loaded.experiment.model_copy(update={"training": loaded.experiment.training.model_copy(update={"steps": 9})})
    save_model(replace(loaded, experiment=settings), folder / "longer")
    arguments = ["--model", f"at={model}", "--model", f"at={folder / 'longer'}", "--tasks", folder / "tasks", "--epochs", "1"]
    assert main(["probe", *map(str, arguments)]) == 0
    assert "at: its models differ not only in the seed but in training.steps" in capsys.readouterr().err


def test_every_layer_is_probed_as_it_is_alone(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model", model, "--model", folder / "other", "--tasks", folder / "tasks"]
    together = json.loads(probed(capsys, [*arguments, "--layers", "all", "--json"]))["tasks"]
    alone = [json.loads(probed(capsys, [*arguments, "--layer", layer, "--json"]))["tasks"] for layer in (0, 1)]
    for number, task in enumerate(together):
        assert [each["layer"] for each in task["layers"]] == [0, 1]
        for each, single in zip(task["layers"], alone, strict=True):
            assert each["models"] == single[number]["models"]
            assert each["untrained"] == single[number]["untrained"]
            # Four comparisons instead of two.
            compared, other = each["comparisons"], single[number]["comparisons"]
            assert compared[str(folder / "other")]["p_value"] == other[str(folder / "other")]["p_value"]
    shown = probed(capsys, [*arguments, "--layers", "all"])
    assert "each layer (0 is the embeddings)" in shown
    assert "adjusted for 4 comparisons" in shown


@pytest.mark.parametrize("layers", ["top", "all"])
def test_pictures_show_tasks_models_and_baselines(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layers: str
) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "picture.svg"
    options = ["--layers", layers, "--picture", picture, "--published", "--epochs", "1"]
    shown = probed(capsys, ["--model", f"at={model}", "--model", folder / "other", "--tasks", folder / "tasks", *options])
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text())
    assert {"tense", "subject", "at", "B", "untrained", "majority"} <= set(texts)
    assert f"B = {folder / 'other'}" in texts
    if layers == "all":
        assert {"accuracy, %", "encoder layer", "0", "1"} <= set(texts)
    else:
        assert {"94.4", "multi-task", "Published: Hao et al. 2021, Tables 1 and 4;"} <= set(texts)
        assert any("not comparable" in text for text in texts)
    assert re.search(r"sentence_length +SeLen +91\.7 +93\.4 +94\.4", shown)


def test_a_model_that_translates_into_the_language_of_the_sentences_is_warned_of(
    model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_model(model)
    german = loaded.experiment.model_copy(update={"data": loaded.experiment.data.reversed})
    save_model(replace(loaded, experiment=german), tmp_path / "german")
    (tmp_path / "text.de").write_text("".join(f"{pair.german}\n" for pair in generate("test", 100, seed=1)))
    warning = "the sentences seem to be in its target language"
    for source, text, warned in (
        (tmp_path / "german", folder / "text.en", True),
        (tmp_path / "german", tmp_path / "text.de", False),
        (model, tmp_path / "text.de", True),
        (model, folder / "text.en", False),
    ):
        assert main(["probe", "--model", str(source), "--text", str(text), "--epochs", "1", "--json"]) == 0
        captured = capsys.readouterr()
        assert (f"warning: {source}: {warning}" in captured.err) == warned
        assert bool(captured.err) == warned
        json.loads(captured.out)


def test_a_pooling_is_over_the_pieces_without_end_and_padding(model: Path) -> None:
    loaded, sentences = load_model(model), ["She sees him.", "The dog sleeps at home every day."]
    [batch] = encoder_states(loaded, sentences, [-1])
    pooled: dict[Pooling, Callable[[Tensor], Tensor]] = {
        "mean": lambda states_SD: states_SD.mean(0),
        "max": lambda states_SD: states_SD.amax(0),
        "first": lambda states_SD: states_SD[0],
        "last": lambda states_SD: states_SD[-1],
    }
    for pooling, expected in pooled.items():
        found_ND = sentence_features(loaded, sentences, pooling=pooling)
        for row, states_SD, is_piece_S in zip(batch.rows, batch.states[0], batch.is_piece_BS, strict=True):
            torch.testing.assert_close(found_ND[row], expected(states_SD[is_piece_S]))


def test_the_control_has_other_weights_and_depends_on_the_seed_only(model: Path) -> None:
    loaded = load_model(model)
    one, again, other = (sentence_features(untrained(loaded, seed), ["She sees him."]) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert not torch.equal(one, sentence_features(loaded, ["She sees him."]))
    config = ProbingConfig()
    assert (config.layer, config.pooling, config.probe.hidden, config.probe.epochs) == (-1, "mean", 200, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tasks", "tasks", "--layers", "deep"], "--layers: must be the number of a layer, top or all; got 'deep'."),
        (
            ["--tasks", "tasks", "--model", "at="],
            "--model at=: must be MODEL or NAME=MODEL; give both sides of the equals sign.",
        ),
        (["--tasks", "tasks", "--model", "at=MODEL"], "is given twice; give different models."),
        (
            ["--tasks", "tasks", "--model", "at=OTHER", "--model", "at=COPY"],
            "and are one training; give models of different seeds.",
        ),
        (["--tasks", "tasks", "--model", "at=OTHER", "--model", "at=WIDE"], "have different architectures or vocabularies"),
        (["--tasks", "tasks", "--picture", "x.jpeg"], "--picture x.jpeg: must end with .png, .svg or .pdf"),
        (["--tasks", "tasks", "--layer", "7"], "layers: must be from 0 to 1, the top encoder layer of this model; got 7."),
        (["--tasks", "absent"], "absent: cannot be read (No such file or directory); give a folder of probing tasks."),
        (["--text", "absent.en"], "--text absent.en: no such file; give a text file, plain or .gz."),
        (["--tasks", "wrong"], "wrong/task.txt, line 2: has 1 columns instead of 2; give sentence TAB label."),
        (["--tasks", "one"], "task: all 20 sentences have the label 'O'; give two or more."),
        (["--tasks", "tasks", "--sentences", "3"], "--sentences: must be at least 20, two for each fold; got 3."),
        (["--tasks", "tasks", "--epochs", "0"], "--epochs: must be at least 1; got 0."),
        (["--tasks", "tasks", "--seed", "-1"], "--seed: must be from 0 to"),
        (["--tasks", "tasks", "--model", "nothing"], "nothing: "),
        (["--tasks", "tasks", "--model", "MODEL"], "is given twice; give different models."),
    ],
)
def test_bad_input_of_probe_gives_one_message_and_exit_code_2(
    model: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "tasks", "tasks")
    for name, lines in (("wrong", ["a\tO", "b"]), ("one", [f"{number}\tO" for number in range(20)])):
        Path(name).mkdir()
        (Path(name) / "task.txt").write_text("\n".join(lines))
    loaded = load_model(model)
    settings = loaded.experiment.model_copy(update={"model": loaded.experiment.model.model_copy(update={"width": 32})})
    save_model(untrained(replace(loaded, experiment=settings)), tmp_path / "wide")
    shutil.copytree(folder / "other", "copy")
    places = {"MODEL": str(model), "OTHER": str(folder / "other"), "COPY": "copy", "WIDE": "wide"}
    arguments = [re.sub("[A-Z]{4,}", lambda each: places[each[0]], option) for option in options]
    assert main(["probe", "--model", str(model), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_without_scikit_learn_the_command_says_how_to_install_it(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert main(["probe", "--model", str(model), "--text", str(folder / "text.en")]) == 2
    assert capsys.readouterr().err == "mtnat: probe: needs scikit-learn; install it: pip install 'mtnat[analysis]'.\n"
