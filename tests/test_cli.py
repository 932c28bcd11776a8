"""The command line, as a user calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.process import typed
from mtnat.training import load_model


def test_train_prints_its_score_and_the_next_command(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = model.parent
    assert main(["train", str(run.parent / "tiny.yaml"), "--output", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("valid BLEU ")
    assert f"{typed('mtnat')} translate --model {model}" in out


def test_train_reports_early_stopping(tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (tiny_run.parent / "tiny.yaml").read_text()
    standstill = "validate_every: 1, patience: 1, peak_learning_rate: 1.0e-20, initial_learning_rate: 0.0"
    (tmp_path / "patient.yaml").write_text(text.replace("validate_every: 2", standstill))
    for _ in range(2):  # the second time the run is finished
        assert main(["train", str(tmp_path / "patient.yaml"), "--output", str(tmp_path / "patient")]) == 0
        assert "stopped at step 2 of 4: training.patience is 1" in capsys.readouterr().err


def test_translate_gives_one_line_for_each_line_in_order(model: Path) -> None:
    lines = ["The dog sleeps.", "", "zzz 🙂 \u2028 \u0085 word", "a " * 400, "The dog sleeps."]
    command = [sys.executable, "-m", "mtnat", "translate", "--model", str(model)]
    done = subprocess.run(command, input="\n".join(lines).encode() + b"\n\xff\xfe\n", capture_output=True, check=True)
    translations = done.stdout.decode().split("\n")
    assert translations.pop() == ""
    assert len(translations) == len(lines) + 1
    assert translations[1] == ""
    assert translations[0] == translations[4]


def test_translate_reads_and_writes_files_and_takes_other_settings(model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("The dog sleeps.\nShe sees him.\n")
    common = ["translate", str(tmp_path / "in.txt"), "--model", str(model), "--output", str(tmp_path / "out.txt")]
    assert main([*common, "--decoder", "at", "--beam", "1"]) == 0
    loaded = load_model(model)
    greedy = loaded.experiment.decoding.model_copy(update={"beam": 1})
    expected = [line.text for line in loaded.translate(["The dog sleeps.", "She sees him."], greedy, "at")]
    assert (tmp_path / "out.txt").read_text().split("\n")[:-1] == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["train", "tiny.yaml", "--micro-batches", "0"], "--micro-batches: must be at least 1; got 0"),
        (["translate", "--model", "nowhere"], "nowhere: is not a model folder"),
        (["translate", "--model", "MODEL", "--iterations", "0"], "iterations: must be greater than or equal to 1; got 0"),
        (["translate", "nowhere.txt", "--model", "MODEL"], "nowhere.txt: cannot be opened"),
        (["bench", "train", "--steps", "0"], "steps: must be greater than or equal to 1; got 0"),
        (["bench", "data", "--pairs", "1"], "pairs: must be greater than or equal to 1000; got 1"),
    ],
)
def test_bad_input_of_a_command_gives_one_message_and_exit_code_2(
    model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main([str(model) if argument == "MODEL" else argument for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_all_problems_of_an_experiment_are_reported_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("data: {corpus: grammar-en-de}\nmodel: {widht: 8, heads: x}\ntraining: {steps: -1}\n")
    assert main(["train", str(tmp_path / "bad.yaml"), "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "model.widht is unknown; did you mean 'width'?" in error
    assert "model.heads" in error
    assert "training.steps" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [["new", "x" * 400], ["data", "stats", "x" * 400, "y"]])
def test_a_name_that_is_too_long_for_a_file_is_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.endswith("the name is too long for a file; give a shorter one.\n")
