"""Division of a text into train, valid and test."""

import gzip
import json
from pathlib import Path

import pytest

from mtnat.cli import main
from mtnat.corpora import SplitOptions, split
from mtnat.data.corpus import read_lines
from mtnat.errors import DataError

FILES = [f"{name}.{language}.gz" for name in ("train", "valid", "test") for language in ("en", "de")]


def write(folder: Path, pairs: list[tuple[str, str]]) -> tuple[Path, Path]:
    (folder / "all.en").write_text("".join(f"{source}\n" for source, _ in pairs), encoding="utf-8")
    (folder / "all.de.gz").write_bytes(gzip.compress("".join(f"{target}\n" for _, target in pairs).encode()))
    return folder / "all.en", folder / "all.de.gz"


def read(folder: Path, name: str) -> list[tuple[str, str]]:
    return list(zip(read_lines(folder / f"{name}.en.gz"), read_lines(folder / f"{name}.de.gz"), strict=True))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A text of 300 pairs in which sentences repeat on either side and some sides are empty."""
    pairs = [(f"source {number % 170}", f"target {number % 130} ") for number in range(290)]
    return write(tmp_path, [*pairs, *[("", "alone"), ("alone", " \t")] * 5])


def test_no_sentence_of_valid_or_test_occurs_in_train(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = split(*files, tmp_path / "out", SplitOptions(valid=12, test=9))
    texts = {name: read(tmp_path / "out", name) for name in ("train", "valid", "test")}
    assert {name: len(pairs) for name, pairs in texts.items()} == found.pairs
    assert (found.read, found.empty, found.pairs["valid"], found.pairs["test"]) == (300, 10, 12, 9)
    assert found.shared > 0
    assert sum(found.pairs.values()) + found.empty + found.shared == found.read
    for side in (0, 1):
        sentences = {name: {pair[side] for pair in pairs} for name, pairs in texts.items()}
        assert sentences["train"].isdisjoint(sentences["valid"] | sentences["test"])
        assert sentences["valid"].isdisjoint(sentences["test"])
    assert all(source and target for pairs in texts.values() for source, target in pairs)
    numbers = [
        int(source.split()[1]) + 170 * (int(source.split()[1]) % 130 != int(target.split()[1]))
        for source, target in texts["train"]
    ]
    assert numbers == sorted(numbers)  # in the order of the text


def test_a_seed_gives_the_same_files_and_another_seed_others(files: tuple[Path, Path], tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        split(*files, tmp_path / name, SplitOptions(seed=seed))
    one, again, other = ([(tmp_path / name / file).read_bytes() for file in FILES] for name in ("one", "again", "other"))
    assert one == again
    assert one[2] != other[2]


def test_the_sizes_of_a_short_text_are_a_tenth(files: tuple[Path, Path], tmp_path: Path) -> None:
    pairs = split(*files, tmp_path / "out", SplitOptions()).pairs
    assert (pairs["valid"], pairs["test"]) == (29, 29)


def test_split_shows_counts_and_records_the_direction(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").touch()  # other files in the folder do no harm
    source, target = files
    assert main(["data", "split", str(target), str(source), "--output", str(tmp_path / "out"), "--languages", "xx-yyy"]) == 0
    out = capsys.readouterr().out
    assert "dropped, empty" in out
    assert "train.xx.gz, train.yyy.gz, valid.xx.gz" in out
    assert json.loads((tmp_path / "out" / "corpus.json").read_text())["languages"] == ["xx", "yyy"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["all.en", "short.de"], "must have equally many lines"),
        (["few.en", "few.de"], "the text: has 9 pairs with two sides, too few to divide; give at least 10."),
        (["all.en", "all.en"], "all.en, all.en: do not name two languages; give --languages, such as en-de."),
        (["all.en", "all.de.gz", "--languages", "en"], "--languages en: must be two codes of languages"),
        (["all.en", "all.de.gz", "--valid", "200", "--test", "90"], "--valid, --test: take 200 and 90 pairs of 290"),
        (["all.en", "all.de.gz", "--valid", "140"], "has too few different sentences for valid and test"),
        (["all.en", "all.de.gz", "--valid", "0"], "valid: must be greater than or equal to 1; got 0."),
        (["all.en", "no.de"], "no.de: no such file; give a text file"),
        (["all.en", "latin.de"], "latin.de, line 1: is not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_divided_gives_one_message_and_no_file(
    files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.de").write_text("eins\n")
    for side in ("en", "de"):
        (tmp_path / f"few.{side}").write_text("".join(f"{number}\n" for number in range(9)))
    (tmp_path / "latin.de").write_bytes(b"\xe4\n" * 300)
    assert main(["data", "split", *arguments, "--output", "out"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_existing_file_is_not_overwritten(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "test.de.gz").write_text("mine")
    with pytest.raises(DataError, match=r"test.de.gz: already exists; remove it, or give another --output\."):
        split(*files, tmp_path / "out", SplitOptions())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["test.de.gz"]
