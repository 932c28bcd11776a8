"""Statistics of a corpus that was counted by hand."""

import gzip
from pathlib import Path

import pytest

from mtnat.corpora import describe
from mtnat.errors import DataError

SOURCE = (
    "The dog barks .\nThe dog barks .\nThe dog barks .\nBerlin\n\n\u2028 \n50 € + 5 $ $\nab\x85c\ufeff M\udcfcller\none more\n"
)
TARGET = "Der Hund bellt .\nDer Hund bellt .\nDer Hund bellte .\nBerlin\nEtwas\n\n50 € £\nПриветº \ufffd\n"


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "x.en", tmp_path / "x.de.gz"
    source.write_bytes(SOURCE.encode(errors="surrogateescape"))
    target.write_bytes(gzip.compress(TARGET.encode()))
    return source, target


def test_statistics_of_each_side(paths: tuple[Path, Path]) -> None:
    found = describe(*paths)
    source, target = found.source, found.target
    assert (source.lines, source.empty, source.words, source.repeated) == (9, 2, 24, 2)
    # 4 4 4 1 0 0 6 3 2 words; U+0085 is white space and separates two words
    assert (source.median_words, source.percentile95_words, source.longest_words) == (3, 6, 6)
    assert source.mean_words == pytest.approx(24 / 9)
    assert (source.characters, source.longest_characters) == (sum(map(len, SOURCE.split("\n"))), 15)
    assert source.faults == {
        "byte order mark U+FEFF": 1,
        "bytes that are not UTF-8": 1,
        "line break U+0085": 1,
        "line break U+2028": 1,
    }
    assert source.signs == {"$ U+0024 DOLLAR SIGN": 2, "+ U+002B PLUS SIGN": 1, "€ U+20AC EURO SIGN": 1}
    assert target.faults == {"replacement character U+FFFD": 1}
    assert target.scripts == {"LATIN": 12 + 12 + 13 + 6 + 5 + 1, "CYRILLIC": 6}
    assert (target.lines, target.empty, target.words, target.repeated) == (8, 1, 19, 1)


def test_statistics_of_pairs(paths: tuple[Path, Path]) -> None:
    found = describe(*paths)
    assert (found.pairs, found.unpaired) == (8, 1)
    assert (found.repeated, found.ambiguous_sources) == (1, 1)  # "the dog barks" has two targets
    assert (found.one_empty, found.equal) == (1, 1)
    assert found.words_ratio == pytest.approx(19 / 24)
    assert found.beyond_ratio == {"1.5": 1, "2": 0, "3": 0, "9": 0}  # 6 to 3 is not beyond 2; 3 to 2 is not beyond 1.5


def test_an_empty_and_a_missing_file_give_one_message(tmp_path: Path) -> None:
    (tmp_path / "x.en").write_text("a\n")
    (tmp_path / "x.de").write_text("")
    with pytest.raises(DataError, match=r"x.de: is empty; give a file"):
        describe(tmp_path / "x.en", tmp_path / "x.de")
    with pytest.raises(DataError, match=r"gone: no such file; give a text file"):
        describe(tmp_path / "x.en", tmp_path / "gone")


def test_multi30k_has_the_published_size(corpora: Path) -> None:
    """29,000 pairs; the number of words and the mean are those of `zcat | wc -w`."""
    folder = corpora / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    found = describe(folder / "train.en.gz", folder / "train.de.gz")
    assert (found.pairs, found.unpaired, found.source.words) == (29_000, 0, 345_020)
    assert (found.repeated, found.one_empty, found.equal) == (3, 0, 0)
