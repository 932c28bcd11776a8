"""`python -m mtnat distil`, as a user calls it."""

import gzip
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.decoding import MaskPredictDecoding
from mtnat.training import load_model

LINES = ["The dog sees a cat .", "", "She reads a book .", "The old man sleeps ."]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "text.en"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def test_distil_writes_a_line_for_each_source_plain_or_compressed(model: Path, source: Path, tmp_path: Path) -> None:
    options = ["distil", "--model", str(model), "--source", str(source), "--beam", "2"]
    assert main([*options, "--output", str(tmp_path / "new" / "out.de")]) == 0
    assert main([*options, "--output", str(tmp_path / "out.de.gz")]) == 0
    written = (tmp_path / "new" / "out.de").read_text()
    expected = load_model(model).translate(LINES, MaskPredictDecoding(beam=2), "at")
    assert written == "".join(f"{line.text}\n" for line in expected)
    assert gzip.decompress((tmp_path / "out.de.gz").read_bytes()).decode() == written


def test_distil_translates_the_teachers_own_training_sources_by_default(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["distil", "--model", str(model), "--beam", "1", "--output", str(tmp_path / "train.de")]) == 0
    assert (tmp_path / "train.de").read_text().count("\n") == 300
    said = capsys.readouterr().err
    assert f"data: {{distilled: {tmp_path / 'train.de'}}}" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--source", "nowhere.en"], "--source nowhere.en: no such file; give a text file, plain or .gz."),
        (["--beam", "0"], "beam: must be greater than or equal to 1; got 0."),
        (["--model", "nowhere"], "nowhere: is not a model folder"),
    ],
)
def test_wrong_input_of_distil_gives_one_message(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    given = ["distil", "--model", str(model), "--output", str(tmp_path / "out"), *options]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_output_is_reported_before_the_work(
    model: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "out.de"
    assert main(["distil", "--model", str(model), "--source", str(source), "--output", str(output)]) == 2
    assert f"--output {output}: cannot be written" in capsys.readouterr().err


def test_the_source_is_not_overwritten(model: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, link = source.read_bytes(), tmp_path / "link.de"
    link.symlink_to(source)
    assert main(["distil", "--model", str(model), "--source", str(source), "--output", str(link)]) == 2
    assert f"--output {link}: is also an input, which would be lost" in capsys.readouterr().err
    assert source.read_bytes() == before
