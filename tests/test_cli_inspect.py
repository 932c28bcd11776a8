"""`python -m mtnat inspect`, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.analysis.inspection import inspect_sentence, page_of, record_of
from mtnat.cli import main
from mtnat.training import load_model

SENTENCE = "The dog sleeps."


def inspected(model: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Returns what the command prints."""
    assert main(["inspect", "--model", str(model), *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_short_form_shows_translations_passes_and_pieces(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [part] = inspect_sentence(load_model(model), SENTENCE).parts
    shown = inspected(model, capsys, SENTENCE)
    assert f"{part.text} (score {part.score:.3f}, the AT decoder scores it" in shown
    assert part.at is not None
    assert f"{part.at.text} (score {part.at.score:.3f})" in shown
    assert shown.count("\npass ") == len(part.passes)
    rows = [line.split() for line in shown.partition("attends most to")[2].splitlines()[1:]]
    assert [row[0] for row in rows[: len(part.pieces)]] == [piece.text for piece in part.pieces]
    assert [row[0] for row in rows[len(part.pieces) :]] == ["end", "confidence:", "AT:"]


@pytest.mark.parametrize("options", [[], ["--decoder", "at"], ["--iterations", "1", "--length-candidates", "2"]])
def test_the_translation_is_that_of_translate_with_the_same_options(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    (tmp_path / "line.txt").write_text(f"{SENTENCE}\n")
    assert main(["translate", "--model", str(model), str(tmp_path / "line.txt"), *options, "--json"]) == 0
    [expected] = json.loads(capsys.readouterr().out)["translations"]
    found = json.loads(inspected(model, capsys, SENTENCE, *options, "--json"))
    [part] = found["parts"]
    assert found["translation"] == expected["text"]
    assert (part["score"], len(part["pieces"]), part["passes_made"]) == (
        expected["score"],
        expected["length"],
        expected["passes"],
    )


def test_json_and_page_hold_the_whole_inspection(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "inspect.html"
    shown = inspected(model, capsys, SENTENCE, "--json", "--page", page)
    found = inspect_sentence(load_model(model), SENTENCE)
    assert json.loads(shown) == json.loads(json.dumps({"model": str(model), **record_of(found)}))
    assert page.read_text(encoding="utf-8") == page_of(found, str(model))
    assert inspected(model, capsys, SENTENCE, "--json") == shown


def test_a_sentence_in_parts_shows_each_part(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = inspected(model, capsys, " ".join([SENTENCE] * 40))
    assert [f"part {number} of 3\n" in shown for number in (1, 2, 3)] == [True] * 3
    assert shown.count("attends most to") == 3


def test_bytes_that_are_not_text_are_replaced(model: Path, tmp_path: Path) -> None:
    page = tmp_path / "inspect.html"
    words = [sys.executable, "-m", "mtnat", "inspect", "--model", str(model), "--page", str(page)]
    done = subprocess.run(
        [*map(os.fsencode, words), b"The \xff dog."], capture_output=True, env=os.environ | {"PYTHONUTF8": "1"}
    )
    assert (done.returncode, done.stderr.decode()) == (0, f"page: {page}\n")
    assert "<dd>The \ufffd dog.</dd>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["", "--page", "x.html"], "sentence: is empty; give one to translate, in quotes."),
        ([" \t"], "sentence: is empty; give one to translate, in quotes."),
        ([SENTENCE, "--page", "x.png"], "--page x.png: must end with .html or .htm; give another name."),
        (
            [SENTENCE, "--page", "no/x.html"],
            "--page no/x.html: cannot be written (No such file or directory); give another path.",
        ),
        (
            [SENTENCE, "--page", f"{'x' * 300}.html"],
            f"--page {'x' * 300}.html: cannot be written (File name too long); give another path.",
        ),
        ([SENTENCE, "--page", "a.html"], "--page a.html: cannot be written (Is a directory); give another path."),
    ],
)
def test_a_sentence_or_page_that_is_refused_is_refused_before_the_model_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.html").mkdir()
    assert main(["inspect", "--model", "no model", *options]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"mtnat: {said}\n")
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write every file")
def test_a_page_that_may_not_be_written_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "inspect.html"
    page.touch(mode=0o400)
    assert main(["inspect", "--model", "no model", SENTENCE, "--page", str(page)]) == 2
    assert "cannot be written (Permission denied)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "iterations"], "--set iterations: must be SETTING=VALUE"),
        (["--iterations", "0"], "iterations: must be greater than or equal to 1; got 0."),
        (["--preset", "slow"], "--preset slow: the model's kind of decoding has no such preset"),
    ],
)
def test_wrong_settings_give_one_message_and_leave_a_former_page(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    page = tmp_path / "inspect.html"
    page.write_text("former")
    assert main(["inspect", "--model", str(model), SENTENCE, "--page", str(page), *options]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert page.read_text() == "former"
