"""`python -m mtnat translate`, as a user calls it."""

import gzip
import io
import json
import os
import pty
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.training import load_model

LINES = ["The dog sleeps.", "", "She sees him."]
TEXT = "".join(f"{line}\n" for line in LINES)


def command(model: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "mtnat", "translate", "--model", str(model), *options]


@dataclass(frozen=True)
class Done:
    """The output of a command."""

    out: bytes
    error: str


Piped = Callable[..., Done]


@pytest.fixture
def piped(model: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Piped:
    """Translates standard input in this process, because starting another takes seconds."""

    def run(text: bytes | str, *options: str) -> Done:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert main(["translate", "--model", str(model), *options]) == 0
        captured = capfdbinary.readouterr()
        return Done(captured.out, captured.err.decode())

    return run


def on_a_terminal(arguments: Sequence[str], typed: bytes | None = None, file: str = os.devnull) -> tuple[str, bytes]:
    """Runs a command with a terminal as its standard error, and with a file or, if `typed` is given, the terminal as its input.

    Returns:
        The text on the terminal, and the bytes on standard output.
    """
    leader, follower = pty.openpty()
    with open(file, "rb") as source:
        process = subprocess.Popen(
            arguments,
            stdin=follower if typed is not None else source,
            stdout=subprocess.PIPE,
            stderr=follower,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
        )
    os.close(follower)
    if typed is not None:
        os.write(leader, typed)
    shown = b""
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        shown += chunk
    assert process.stdout is not None
    out = process.stdout.read()
    assert process.wait() == 0, shown.decode()
    return shown.decode(), out


def test_several_files_plain_and_compressed_are_one_input(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The dog sleeps.\n\n")
    (tmp_path / "two.gz").write_bytes(gzip.compress(b"She sees him.\n"))
    assert piped("", str(tmp_path / "one.txt"), str(tmp_path / "two.gz")).out == piped(TEXT).out


def test_the_lines_at_once_option_does_not_change_the_output(piped: Piped) -> None:
    assert piped(TEXT, "--lines-at-once", "1").out == piped(TEXT).out


def test_json_holds_all_figures_of_each_line(model: Path, piped: Piped) -> None:
    records = [json.loads(line) for line in piped(TEXT, "--json", "--n-best", "2").out.splitlines()]
    assert [record["source"] for record in records] == LINES
    expected = load_model(model).translate(LINES, n_best=2)
    for record, line in zip(records, expected, strict=True):
        assert (record["parts"], record["pieces"]) == (1, line.pieces)
        assert [each["text"] for each in record["translations"]] == [each.text for each in line.translations]
        assert [each["length"] for each in record["translations"]] == [len(each.tokens) for each in line.translations]
        assert [each["passes"] for each in record["translations"]] == [each.passes for each in line.translations]
        assert [each["score"] for each in record["translations"]] == pytest.approx([each.score for each in line.translations])


@pytest.mark.parametrize("options", [[], ["--decoder", "at"], ["--rerank", "at"]])
def test_n_best_prints_line_translation_and_score(piped: Piped, options: list[str]) -> None:
    rows = [row.split(" ||| ") for row in piped(TEXT, "--n-best", "2", *options).out.decode().splitlines()]
    assert [number for number, _, _ in rows] == ["0", "0", "1", "2", "2"]
    best = piped(TEXT, *options).out.decode().split("\n")
    assert [rows[0][1], rows[2][1], rows[3][1]] == best[:3]
    assert float(rows[0][2]) >= float(rows[1][2])


def test_a_preset_with_options_equals_its_settings(model: Path, piped: Piped) -> None:
    loaded = load_model(model)
    options = ["--preset", "paper", "--iterations", "3", "--n-best", "5", "--json"]
    records = [json.loads(line) for line in piped(TEXT, *options).out.splitlines()]
    paper = loaded.experiment.decoding.model_copy(update={"iterations": 3, "length_candidates": 5})
    expected = loaded.translate(LINES, paper, n_best=5)
    for record, line in zip(records, expected, strict=True):
        assert [each["text"] for each in record["translations"]] == [each.text for each in line.translations]
        assert [each["passes"] for each in record["translations"]] == [each.passes for each in line.translations]
    assert len(expected[0].translations) == 5  # more candidate lengths than in the model's own experiment


def test_the_set_option_changes_settings_of_the_search(model: Path, piped: Piped) -> None:
    settings = ["--set", "narrow_after=1", "--set", "narrow_to=2", "--n-best", "2"]
    assert piped(TEXT, *settings).out.count(b"\n") == 5
    assert main(["translate", "--model", str(model), *settings[:-1], "3"]) == 2


def test_a_trace_shows_each_pass_and_ends_with_the_translation(piped: Piped) -> None:
    shown = piped(b"The dog sleeps.\n", "--trace").out.decode()
    plain = piped(b"The dog sleeps.\n").out.decode()
    first, *_ = shown.split("\n")
    last = shown.split("\n")[-3:]
    assert first.startswith("pass 1")
    assert "lengths" in first
    assert "\n".join(last) == f"{plain}\n"


def test_a_line_too_long_for_the_model_is_reported_and_translated(piped: Piped) -> None:
    done = piped("She sees him.\n" + "The dog sleeps. " * 100 + "\n")
    assert len(done.out.decode().split("\n")) == 3
    [note] = done.error.splitlines()
    assert note.startswith("line 2: ")
    assert "exceed the model's 127; translated in" in note


def test_a_line_of_a_hundred_thousand_characters_is_one_line(piped: Piped) -> None:
    done = piped(b"x" * 50_000 + " schöne Wörter".encode() * 3_600 + b"\nThe dog sleeps.\n")
    first, second, rest = done.out.decode().split("\n")
    assert (bool(first), rest) == (True, "")
    assert second == piped(b"The dog sleeps.\n").out.decode().rstrip("\n")


def random_lines(count: int) -> list[str]:
    """Draws lines of any characters that UTF-8 can encode, except the line feed."""
    generator = random.Random(1)
    blocks = [
        (0, 0x7F),
        (0x80, 0x2FF),
        (0x370, 0x1FFF),
        (0x2000, 0x2FFF),
        (0x3000, 0xD7FF),
        (0xE000, 0xFFFF),
        (0x10000, 0x10FFFF),
    ]
    return [
        "".join(chr(generator.randint(*generator.choice(blocks))) for _ in range(generator.randint(0, 40))).replace("\n", " ")
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_random_unicode_keeps_the_number_of_lines(piped: Piped, count: int) -> None:
    lines = random_lines(count)
    done = piped("".join(f"{line}\n" for line in lines).encode())
    assert done.out.count(b"\n") == count
    done.out.decode()  # is UTF-8


@pytest.mark.slow
def test_real_unseen_text_keeps_its_number_of_lines(piped: Piped, corpora: Path) -> None:
    path = corpora / "newstest2014" / "newstest2014.en-de.en.gz"
    if not path.exists():
        pytest.skip("needs newstest2014 under MTNAT_DATA")
    assert piped("", str(path)).out.count(b"\n") == gzip.decompress(path.read_bytes()).count(b"\n")


def test_lines_typed_on_a_terminal_are_translated_with_a_hint_how_to_end(model: Path, piped: Piped) -> None:
    shown, out = on_a_terminal(command(model), b"The dog sleeps.\nShe sees him.\n\x04")
    assert "One sentence a line; Ctrl-D ends." in shown
    assert out == piped(b"The dog sleeps.\nShe sees him.\n").out


@pytest.mark.parametrize("is_redirected", [False, True])
def test_a_progress_bar_does_not_change_the_output(model: Path, piped: Piped, tmp_path: Path, *, is_redirected: bool) -> None:
    (tmp_path / "in.txt").write_text("The dog sleeps.\n" * 40)
    arguments = command(model, *([] if is_redirected else [str(tmp_path / "in.txt")]), "--lines-at-once", "10")
    shown, out = on_a_terminal(arguments, file=str(tmp_path / "in.txt") if is_redirected else os.devnull)
    assert "translating" in shown
    assert "40/40" in shown
    unseen = piped("", str(tmp_path / "in.txt"), "--lines-at-once", "10")
    assert (out, unseen.error) == (unseen.out, "")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--n-best", "4"], "n_best: must be at least 1 and at most length_candidates, 3; got 4"),
        (["--decoder", "at", "--trace"], "--trace: shows only the passes of mask-predict"),
        (["--set", "narow_after=1"], "narow_after is unknown; did you mean 'narrow_after'?"),
        (["--set", "narrow_after"], "--set narrow_after: must be SETTING=VALUE, such as narrow_after=2"),
        (["--set", "narrow_after=x"], "narrow_after: must be"),
        (["--lines-at-once", "0"], "--lines-at-once: must be at least 1; got 0"),
        (["--output", "/nowhere/at/all"], "/nowhere/at/all: cannot be opened"),
        (["--output", "in.txt"], "--output in.txt: is also an input, which would be lost"),
        (["broken.gz"], "broken.gz: cannot be read"),
        (["--model", "runs:/0123/model"], "mlflow.db does not exist"),
    ],
)
def test_bad_input_of_translate_gives_one_message_and_exit_code_2(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    Path("broken.gz").write_bytes(gzip.compress(b"The dog sleeps.\n" * 100)[:-20])
    Path("in.txt").write_text("The dog sleeps.\n")
    arguments = options if options == ["broken.gz"] else ["in.txt", *options]
    assert main(["translate", "--model", str(model), *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert Path("in.txt").read_text() == "The dog sleeps.\n"


@pytest.mark.parametrize("link", ["in.txt", "symbolic", "hard"])
def test_the_standard_input_is_not_overwritten(model: Path, tmp_path: Path, link: str) -> None:
    text = tmp_path / "in.txt"
    text.write_text("The dog sleeps.\n")
    (tmp_path / "symbolic").symlink_to(text)
    (tmp_path / "hard").hardlink_to(text)
    command = [sys.executable, "-m", "mtnat", "translate", "--model", str(model), "--output", str(tmp_path / link)]
    with text.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"mtnat: --output {tmp_path / link}: is also an input, which would be lost; give another path.\n"
    assert text.read_text() == "The dog sleeps.\n"


@pytest.mark.parametrize("name", ["in.gz", "in.GZ"])
def test_a_damaged_compressed_file_gives_one_message(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    whole = gzip.compress(b"The dog sleeps.\n" * 1_000)
    for place in range(11, len(whole) - 1, 7):
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert main(["translate", "--model", str(model), str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"mtnat: {tmp_path / name}: cannot be read (")
        assert error.count("\n") == 1


def test_a_compressed_file_may_have_its_ending_in_capitals(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "in.GZ").write_bytes(gzip.compress(b"The dog sleeps.\nShe sees him.\n"))
    assert piped("", str(tmp_path / "in.GZ")).out == piped("The dog sleeps.\nShe sees him.\n").out
