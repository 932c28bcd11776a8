"""The command line as a whole: help without heavy imports, exit codes, and the command `tune`."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from mtnat import __version__
from mtnat.cli import main
from mtnat.cli.options import command_line

HEAVY = {"mlflow", "optuna", "ray", "torch"}


def commands(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Yields the words of each command and the name of the function that runs it."""
    yield words, parser.get_default("command")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, (*words, name))


COMMANDS = dict(commands(command_line()))


def test_the_help_of_every_command_imports_no_heavy_library() -> None:
    code = f"""
import contextlib, io, json, sys
from mtnat.__main__ import main
for words in {[list(words) for words in COMMANDS]!r}:
    sys.argv = ["mtnat", *words, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
        main()
    assert out.getvalue().startswith(" ".join(["usage: mtnat", *words])), out.getvalue()
print(json.dumps(sorted(name.partition(".")[0] for name in sys.modules)))
"""
    environment = {"GLIBC_TUNABLES": "glibc.malloc.check=0", "PYTHONPATH": ":".join(sys.path)}  # the command does not restart
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert set(json.loads(loaded)) & (HEAVY | {"numpy", "pydantic"}) == set()


@pytest.mark.parametrize("words", [words for words, function in COMMANDS.items() if function])
def test_every_command_names_a_function(words: tuple[str, ...]) -> None:
    assert callable(resolve_name(str(COMMANDS[words])))


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"mtnat {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["tune"], ["tune", "x.yaml", "--smoke", "--dry-run"], ["data"]])
def test_a_wrong_command_line_has_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ("quikstart", "quikstart: no such file, and no study of mtnat has this name; did you mean 'quickstart'?\n"),
        ("studies/qickstart.yaml", "did you mean 'quickstart'?\n"),
        ("table2-grammar", "did you mean 'paper/table2-grammar'?\n"),
        ("zzz", "zzz: no such file, and no study of mtnat has this name; give the path of a YAML file, or one of annealing, "),
    ],
)
def test_tune_names_the_studies_that_are_part_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], study: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", study]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", [["tune", "quickstart"], ["bench", "study"]])
def test_a_command_without_the_packages_of_studies_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    for name in ("optuna", "ray"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main(command) == 2
    said = f"{' '.join(command[:1] if command[0] == 'tune' else command)}: needs optuna, ray; install the study platform"
    assert said in (error := capsys.readouterr().err)
    assert "pip install 'mtnat[study]'" in error
    assert error.count("\n") == 1


def completed(script: Path, line: str) -> list[str]:
    """Returns what bash offers after the words of a line, of which the last may be empty."""
    words = line.split(" ")
    code = f"""
source {script}
COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
COMP_CWORD={len(words) - 1}
$(complete -p mtnat | sed 's/.*-F \\([^ ]*\\).*/\\1/') mtnat
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, cwd=script.parent)
    return done.stdout.split()


def test_bash_completes_commands_options_files_and_studies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "mtnat.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "mine.yaml").touch()
    assert completed(script, "mtnat tr") == ["train", "translate"]
    assert completed(script, "mtnat tune --dr") == ["--dry-run"]
    assert completed(script, "mtnat tune quick") == ["quickstart"]
    assert completed(script, "mtnat tune mi") == ["mine.yaml"]
    assert "split" in completed(script, "mtnat data s")


def test_zsh_has_a_completion_script_too(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("shtab")
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef mtnat")


def test_completion_without_shtab_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    assert capsys.readouterr().err == "mtnat: completion: needs shtab; install it: pip install 'mtnat[completion]'.\n"


@pytest.mark.parametrize("words", [["new", "a\0b"], ["translate", "--model", "m", "a\0"], ["tune", "x", "--outputs", "\0"]])
def test_a_nul_in_an_argument_gives_one_message(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert "holds the character NUL" in captured.err
