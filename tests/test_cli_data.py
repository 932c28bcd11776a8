"""`python -m mtnat data`, as a user calls it."""

import gzip
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtnat.cli import main

ROOT = Path(__file__).parent.parent
NO_SERVER = "http://127.0.0.1:9"  # the discard port, on which no server listens
SOURCES = ["The dog barks.", "", "She sees him.", "The dog barks."]
TARGETS = ["Der Hund bellt.", "Nichts.", "Sie sieht\u00a0ihn.", "Der Hund bellt."]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """A small corpus with an empty line and a repeated pair."""
    (tmp_path / "x.en").write_text("".join(f"{line}\n" for line in SOURCES), encoding="utf-8")
    (tmp_path / "x.de.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in TARGETS).encode()))
    return [str(tmp_path / "x.en"), str(tmp_path / "x.de.gz")]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a new process without network access."""
    env = {**os.environ, "https_proxy": NO_SERVER, "http_proxy": NO_SERVER, "no_proxy": "", **environment}
    command = [sys.executable, "-m", "mtnat", "data", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=ROOT)


def test_get_without_a_name_lists_the_corpora(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "get"]) == 0
    out = capsys.readouterr().out
    for said in ("multi30k ", "wmt14-en-de ", "wmt16-en-ro ", "1.66 GB", "over 1.03 GB"):
        assert said in out


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("multi30k", ["train.en.gz (https://", "val.de.gz", "test_2017_flickr.de.gz"]),
        (
            "wmt14-en-de",
            ["training-parallel-europarl-v7.tgz (https://", "nc-v9.tgz", "wmt13.test.tgz", "wmt14_full"],
        ),
        ("sacrebleu/wmt16/dev --languages en-ro", ["wmt16_dev.dev.tgz (https://"]),
    ],
)
def test_get_without_a_network_names_the_missing_files(tmp_path: Path, name: str, wanted: list[str]) -> None:
    done = run("get", *name.split(), MTNAT_DATA=str(tmp_path), SACREBLEU=str(tmp_path / "sets"))
    assert done.returncode == 2
    for each in [*wanted, "download these files in another way and name their folder with --from: "]:
        assert each in done.stderr
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_get_copies_a_named_set_that_sacrebleu_already_has(tmp_path: Path) -> None:
    place = tmp_path / "sets" / "wmt20" / "robust" / "set1"
    place.mkdir(parents=True)
    (place / "wmt20_robust_set1.en-de.src").write_text("One.\nTwo.\n")
    (place / "wmt20_robust_set1.en-de.ref").write_text("Eins.\nZwei.\n")
    arguments = ["get", "sacrebleu/wmt20/robust/set1", "--languages", "en-de"]
    for _ in range(2):
        done = run(*arguments, MTNAT_DATA=str(tmp_path), SACREBLEU=str(tmp_path / "sets"))
        assert (done.returncode, done.stderr) == (0, "")
    assert "(was there)" in done.stdout
    folder = tmp_path / "sacrebleu-wmt20-robust-set1-en-de"
    assert gzip.decompress((folder / "test.de.gz").read_bytes()) == b"Eins.\nZwei.\n"


def test_get_takes_files_from_another_folder(corpora: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    brought = corpora / "multi30k"
    if not brought.is_dir():
        pytest.skip(f"needs {brought}")
    assert main(["data", "get", "multi30k", "--output", str(tmp_path / "m"), "--from", str(brought)]) == 0
    assert "test_2016_flickr.en.gz" in capsys.readouterr().out
    assert (tmp_path / "m" / "val.de.gz").read_bytes() == (brought / "val.de.gz").read_bytes()


def test_clean_reports_the_dropped_pairs(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "clean", *files, "--output", str(tmp_path / "clean")]) == 0
    out = capsys.readouterr().out
    for said in ("pairs read", "dropped, empty", "25.00 %", "clean.en,", "clean.de.gz"):
        assert said in out
    assert (tmp_path / "clean.en").read_text() == "The dog barks.\nShe sees him.\n"
    assert gzip.decompress((tmp_path / "clean.de.gz").read_bytes()).decode() == "Der Hund bellt.\nSie sieht ihn.\n"
    assert main(["data", "clean", *files, "--output", str(tmp_path / "all"), "--keep-duplicates", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["read"], found["kept"], found["rewritten"], found["dropped"]["empty"]) == (4, 3, 1, 1)


def test_stats_are_printed_as_tables_and_as_json(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", *files]) == 0
    out = capsys.readouterr().out
    for said in ("empty lines", "Latin letters", "repeated pairs", "target words a source word", "over 1.5 times"):
        assert said in out
    assert main(["data", "stats", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["pairs"], found["repeated"], found["one_empty"], found["source"]["empty"]) == (4, 1, 1, 1)
    assert "modality" not in found


def test_stats_with_modality_show_the_conditional_entropy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entropies = []
    for name, cars in (("one", ["Wagen"] * 40), ("two", ["Wagen", "Auto"] * 20)):
        (tmp_path / "cars.en").write_text("car\n" * 40)
        (tmp_path / f"{name}.de").write_text("".join(f"{car}\n" for car in cars))
        files = [str(tmp_path / "cars.en"), str(tmp_path / f"{name}.de")]
        assert main(["data", "stats", *files, "--modality"]) == 0
        assert "conditional entropy" in capsys.readouterr().out
        assert main(["data", "stats", *files, "--modality", "--json"]) == 0
        entropies.append(json.loads(capsys.readouterr().out)["modality"]["conditional_entropy"])
    assert entropies == pytest.approx([0.0, math.log(2)])


EXPERIMENT = "{data: {corpus: grammar-en-de, corpus_size: 300, vocabulary_size: 300}, training: {steps: 9, warmup_steps: 1}}"


@pytest.mark.parametrize("is_study", [False, True])
def test_prepare_accepts_an_experiment_or_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str], is_study: bool) -> None:
    text = f"question: Which?\nexperiment: {EXPERIMENT}\n" if is_study else EXPERIMENT
    (tmp_path / "x.yaml").write_text(text)
    assert main(["data", "prepare", str(tmp_path / "x.yaml")]) == 0
    out = capsys.readouterr().out
    figures = dict(line.split("  ", 1) for line in out.splitlines())
    shown = {name: figure.strip() for name, figure in figures.items()}
    assert (shown["training pairs"], shown["valid pairs"], shown["vocabulary"]) == ("300", "500", "300 pieces, joint")
    assert Path(shown["folder"].split(" (")[0], "tokens.bin").exists()


def test_prepare_prepares_every_column_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = "{there: {}, back: {data.corpus: grammar-de-en}}"
    (tmp_path / "x.yaml").write_text(f"question: Which?\nexperiment: {EXPERIMENT}\ncolumns: {columns}\n")
    assert main(["data", "prepare", str(tmp_path / "x.yaml")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [words[1] for words in lines if words[0] == "column"] == ["there", "back"]
    assert len({words[1] for words in lines if words[0] == "folder"}) == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("get multi31k", "multi31k: there is no such corpus; did you mean 'multi30k'?"),
        ("get x", "x: there is no such corpus; give one of multi30k, wmt14-en-de,"),
        ("get multi30k --languages en-de", "--languages: is only for sacreBLEU's test sets; multi30k is en-de."),
        ("get sacrebleu/wmt14/full", "sacrebleu/wmt14/full: needs --languages, such as en-de."),
        (
            "get sacrebleu/wmt14/ful --languages en-de",
            "sacrebleu/wmt14/ful: is not a test set of sacreBLEU; did you mean 'wmt14/full'?",
        ),
        ("get sacrebleu/wmt13 --languages en-xx", "--languages en-xx: wmt13 has no such pair; give one of cs-en,"),
        ("get multi30k --from FOLDER/gone --output FOLDER/m", "--from FOLDER/gone: no such folder"),
        ("clean FOLDER/x.en FOLDER/gone --output FOLDER/y", "FOLDER/gone: no such file"),
        (
            "clean FOLDER/x.en FOLDER/x.de.gz --output FOLDER/y --max-words 0",
            "max_words: must be greater than or equal to 1; got 0",
        ),
        ("clean FOLDER/x.en FOLDER/x.de.gz --output FOLDER/x", "FOLDER/x.en: already exists"),
        ("stats FOLDER/x.en FOLDER", "FOLDER: cannot be read"),
        ("prepare FOLDER/gone.yaml", "FOLDER/gone.yaml: no such file"),
        ("prepare FOLDER/study.yaml", "experiment.data.corpus: must be"),
    ],
)
def test_bad_input_of_data_commands_gives_one_message_and_exit_code_2(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    (tmp_path / "study.yaml").write_text(
        "question: Which?\nexperiment: {data: {corpus: grammar-de-fr}, training: {steps: 9, warmup_steps: 1}}\n"
    )
    before = sorted(tmp_path.iterdir())
    assert main(["data", *given.replace("FOLDER", str(tmp_path)).split()]) == 2
    captured = capsys.readouterr()
    assert said.replace("FOLDER", str(tmp_path)) in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert sorted(tmp_path.iterdir()) == before
