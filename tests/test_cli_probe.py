"""`python -m mtnat probe`, as a user calls it."""

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mtnat.analysis.encoding import encoder_states
from mtnat.analysis.probing import Pooling, ProbingConfig, grammar_tasks, probe, read_tasks, sentence_features, untrained
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
    models = {name: load_model(name) for name in (str(model), str(folder / "other"))}
    for task, result in zip(found["tasks"], probe(models, read_tasks(folder / "tasks")), strict=True):
        assert set(task["majority"]) == set(task["bag_of_words"]) == MODEL_FIGURES
        for name in models:
            assert task["models"][name]["folds"] == list(result.models[name].folds)
            assert len(task["untrained"][name]["folds"]) == 10
        assert set(task["comparisons"]) == {str(folder / "other")}
        assert task["comparisons"][str(folder / "other")]["adjusted"] >= task["comparisons"][str(folder / "other")]["p_value"]
    assert json.loads(probed(capsys, arguments)) == found


def test_the_table_shows_models_baselines_and_notes(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = probed(capsys, ["--model", model, "--model", folder / "other", "--tasks", folder / "tasks"])
    for said in (f"A  {model}", "bag of words", "untrained", "tense", "adjusted for 2 comparisons (Holm 1979)"):
        assert said in shown
    assert "say nothing about other training seeds" in " ".join(shown.split())
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
    arguments = [str(model) if option == "MODEL" else option for option in options]
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
