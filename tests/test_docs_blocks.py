"""Every block of code in README.md and docs/ is run, or a comment before it says what it needs more than a test has.

Blocks of YAML are checked as a study, an experiment, or a part of one. Commands are parsed, and those without a comment are run
on small models in a folder that has the files they name. The files of examples/ are run by tests/systems/test_plug_in.py.
"""

import argparse
import gzip
import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mtnat.cli import main
from mtnat.cli.options import command_line
from mtnat.config import build, read_value, to_yaml
from mtnat.experiment import Experiment
from mtnat.lab.study.reading import read_study
from mtnat.lab.study.record import Study

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
QUICKSTART = ROOT / "studies" / "quickstart.yaml"
BLOCK = re.compile(r"^(?:<!-- not run: (?P<needs>.+?) -->\n\n?)?```(?P<language>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
SNIPPET = re.compile(r'^--8<-- "(examples/.+)"$', re.MULTILINE)
RUN_ELSEWHERE = ("python.md", "python")
"""Blocks that tests/api/test_notebook.py runs."""
LINES = {"en": ["The dog sleeps.", "", "She sees him."], "de": ["Der Hund schläft.", "", "Sie sieht ihn."]}
NUMBERS = {
    "en": ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    "de": ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"],
}


@dataclass(frozen=True)
class Block:
    """A block of code."""

    page: str
    language: str
    text: str
    needs: str | None
    """What the block needs more than a test has."""
    is_example: bool
    """Whether the block shows a file of examples/."""

    def __str__(self) -> str:
        return f"{self.page}: {self.text.splitlines()[0][:60]}"

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command."""
        return [words for line in self.text.splitlines() if (words := shlex.split(line, comments=True))]


def read_blocks(page: Path) -> Iterator[Block]:
    """Yields the blocks of a page, with the files that it includes."""
    for found in BLOCK.finditer(page.read_text(encoding="utf-8")):
        text = SNIPPET.sub(lambda name: (ROOT / name[1]).read_text(encoding="utf-8").rstrip("\n"), found["text"])
        yield Block(page.name, found["language"], text, found["needs"], text != found["text"])


BLOCKS = [block for page in PAGES for block in read_blocks(page)]
SHELL = [block for block in BLOCKS if block.language == "bash"]
YAML = [block for block in BLOCKS if block.language == "yaml" and not block.is_example]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_belongs_to_a_block(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(list(read_blocks(page)))
    assert text.count("<!-- not run:") == sum(block.needs is not None for block in read_blocks(page))


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_every_block_is_run_or_says_what_it_needs(block: Block) -> None:
    is_run = block.is_example or block.language in ("yaml", "bash") or (block.page, block.language) == RUN_ELSEWHERE
    assert is_run or (block.language in ("json", "text") and block.needs)


@pytest.mark.parametrize("block", YAML, ids=str)
def test_every_block_of_yaml_is_valid(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_value(block.text, block.page)
    if data.keys() <= Experiment.model_fields.keys():
        build(Experiment, {"data": {"corpus": "grammar-en-de"}, "training": {}} | data)
        return
    for folder in data.get("warm_start", []):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "study.yaml").write_text(QUICKSTART.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(to_yaml(data if "question" in data else study_around(data)), encoding="utf-8")
    read_study(Path("study.yaml"))


def study_around(part: dict[str, Any]) -> dict[str, Any]:
    """Returns a study with some fields."""
    assert part.keys() <= Study.model_fields.keys()
    experiment = {
        "data": {"corpus": "grammar-en-de", "corpus_size": 300, "vocabulary_size": 300},
        "training": {"steps": 5400, "warmup_steps": 100, "validate_every": 600},
        "decoding": {"iterations": 4},
    }
    base = {
        "question": "Which?",
        "experiment": experiment,
        "baselines": {"mask-predict": {"objective.schedule": {"kind": "constant", "value": 1.0}}},
        "search": {"objective.schedule.kind": {"choice": ["linear", "power"]}},
        "confirm": {"top": 1, "seeds": [2], "against": "mask-predict"},
    }
    return base | ({} if "budget" in part else {"trials": 8}) | part


def parser_of(words: list[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """Returns the parser of a command of mtnat, and the words behind the command."""
    parser = command_line()
    while subparsers := [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]:
        if not words or words[0] not in subparsers[0].choices:
            break
        parser, words = subparsers[0].choices[words[0]], words[1:]
    return parser, words


def arguments_of(words: list[str]) -> list[str] | None:
    """Returns the arguments of a command of mtnat, or None if the command is another one."""
    words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    if words[0] == "torchrun":
        words = words[words.index("-m") + 1 :]
    if words[:2] == ["python", "tune.py"]:
        words = ["mtnat", "tune", *words[2:]]
    return [word for word in words[1:] if word != "<"] if words[0] == "mtnat" else None


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_every_command_exists(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in block.commands:
        assert all((ROOT / word).exists() for word in words if word.startswith(("studies/", "examples/", "cluster/", "./")))
        if words[0] == "eval":
            words = shlex.split(words[1].removeprefix("$(").removesuffix(")"))
        if words[:3] == ["ray", "job", "submit"]:
            words = words[words.index("--") + 1 :]
        if arguments := arguments_of(redirected(words)[0]):
            try:
                command_line().parse_args(arguments)
            except SystemExit:
                pytest.fail(capsys.readouterr().err)
        elif words[0] == "make":
            assert words[1] in targets
            assert all(re.match(r"(STUDY|PYTHON|TORCH)=", word) for word in words[2:])
        else:
            assert words[0] in ("chmod", "export", "kubectl", "mkdir", "mlflow", "pip", "pytest", "ray", "source")


def redirected(words: list[str]) -> tuple[list[str], str | None]:
    """Returns a command without its redirection, and the file of its standard input."""
    return (words[: words.index("<")], words[-1]) if "<" in words else (words, None)


SPANS = [
    pytest.param(words[1:], id=f"{page.name}: {span}")
    for page in PAGES
    for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", BLOCK.sub("", page.read_text(encoding="utf-8")))
    if (words := span.split())[0] == "mtnat" and len(words) > 1 and words[1] not in ("…", "COMMAND")
]


@pytest.mark.parametrize("words", SPANS)
def test_every_command_named_in_the_text_exists(words: list[str]) -> None:
    parser, rest = parser_of(words)
    assert parser.prog.split()[1:]
    options = {option for action in parser._actions for option in action.option_strings}
    assert {word for word in rest if word.startswith("--")} <= options


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A folder with the files that the commands name; its models are practically untrained."""
    folder = tmp_path_factory.mktemp("place")
    runs = ["best", "runs/mask-predict-seed2/model", "runs/mask-predict-seed3/model"]
    for name in [*(f"outputs/quickstart/{run}" for run in runs), "outputs/mine/model", "outputs/teacher/model"]:
        shutil.copytree(tiny_run / "model", folder / name)
    for language, lines in LINES.items():
        text = "".join(f"{line}\n" for line in lines)
        (folder / f"input.{language}.gz").write_bytes(gzip.compress(text.encode()))
        for name in ("input", "more"):
            (folder / f"{name}.{language}").write_text(text, encoding="utf-8")
        digits = [" ".join(NUMBERS[language][int(digit)] for digit in str(number)) for number in range(100, 400)]
        (folder / f"my.{language}.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in digits).encode()))
    experiment = next(block for block in YAML if block.page == "one-experiment.md")
    (folder / "experiment.yaml").write_text(experiment.text, encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted({block.page for block in SHELL if not block.needs}))
def test_the_commands_of_a_page_run(
    page: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.setenv("MTNAT_DATA", "data")
    for block in SHELL:
        for words in block.commands if block.page == page and not block.needs else ():
            command, source = redirected(words)
            arguments = arguments_of(command)
            assert arguments, f"no test can run {words[0]}; say so before the block"
            if arguments[0] == "train":
                shutil.rmtree("outputs/mine")
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(source).read_bytes() if source else b"")))
            assert main(arguments) == 0, capfd.readouterr().err
