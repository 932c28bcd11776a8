"""Folders of a newer format are refused in one sentence, before anything in them is changed; folders without one are read."""

import json
import shutil
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.errors import ModelError
from mtnat.formats import FORMAT_FILE, check_entries, check_format, format_entries, write_format


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The files of a folder with their contents and times."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_written_format_passes(tmp_path: Path) -> None:
    write_format(tmp_path, 3)
    assert json.loads((tmp_path / FORMAT_FILE).read_text())["format"] == 3
    check_format(tmp_path, 3, ModelError)
    check_format(tmp_path, 4, ModelError)
    check_entries(format_entries(2), tmp_path, 3, ModelError)


def test_a_folder_without_a_format_passes(tmp_path: Path) -> None:
    check_format(tmp_path, 1, ModelError)
    check_format(tmp_path / "missing", 1, ModelError)
    check_entries({"step": 10}, tmp_path, 1, ModelError)


@pytest.mark.parametrize(
    ("newest", "writer", "sentence"),
    [
        (1, "0.3.0", "has format 4, and this version of mtnat reads format 1; install mtnat 0.3.0 or newer."),
        (3, None, "has format 4, and this version of mtnat reads formats 1 to 3; install a newer mtnat."),
    ],
)
def test_the_message_for_a_newer_format_says_what_to_install(
    tmp_path: Path, newest: int, writer: str | None, sentence: str
) -> None:
    (tmp_path / FORMAT_FILE).write_text(json.dumps({"format": 4, "mtnat": writer}))
    with pytest.raises(ModelError) as raised:
        check_format(tmp_path, newest, ModelError)
    assert raised.value.problems == (f"{tmp_path}: {sentence}",)


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"mtnat": "0.2.0"}', '{"format": "1"}', '{"format": 0}', '{"format": true}']
)
def test_a_damaged_format_file_is_reported(tmp_path: Path, content: str) -> None:
    (tmp_path / FORMAT_FILE).write_text(content)
    with pytest.raises(ModelError) as raised:
        check_format(tmp_path, 1, ModelError)
    assert raised.value.problems == (
        f'{tmp_path / FORMAT_FILE}: must contain a format, such as {{"format": 1}}; copy the folder again.',
    )


@pytest.mark.parametrize(
    "command",
    [
        ["translate"],
        ["evaluate"],
        ["bench", "decode"],
        ["distil", "--output", "distilled.de"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_every_command_refuses_a_newer_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    newer = tmp_path / "newer"
    shutil.copytree(model, newer)
    (newer / FORMAT_FILE).write_text('{"format": 2, "mtnat": "0.9.0"}')
    (newer / "weights.pt").rename(newer / "weights.safetensors")  # what a format contains is only known to those who read it
    before = files(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--model", str(newer)]) == 2
    told = f"mtnat: {newer}: has format 2, and this version of mtnat reads format 1; install mtnat 0.9.0 or newer.\n"
    assert capsys.readouterr().err == told
    assert files(tmp_path) == before
