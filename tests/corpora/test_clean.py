"""Cleaning: the rules that drop pairs, and the normalisation of text."""

import gzip
from pathlib import Path

import pytest

from mtnat.config import build
from mtnat.corpora import Cleaning, CleanOptions, clean
from mtnat.corpora.clean import tidy
from mtnat.errors import DataError

NONE = dict.fromkeys(("broken", "empty", "long", "ratio", "equal", "duplicate"), 0)


def cleaned(folder: Path, pairs: list[tuple[str, str]], **options: float | bool) -> tuple[Cleaning, list[tuple[str, str]]]:
    """Cleans `pairs`; returns the counts and the remaining pairs."""
    for side, name in enumerate(("raw.en", "raw.de")):
        (folder / name).write_bytes("".join(f"{pair[side]}\n" for pair in pairs).encode(errors="surrogateescape"))
    found, paths = clean(folder / "raw.en", folder / "raw.de", folder / "out" / "clean", build(CleanOptions, options))
    assert [path.name for path in paths] == ["clean.en", "clean.de"]
    sides = [path.read_text(encoding="utf-8").split("\n")[:-1] for path in paths]
    return found, list(zip(*sides, strict=True))


def test_each_cleaning_rule_drops_and_counts_its_own_pairs(tmp_path: Path) -> None:
    pairs = [
        ("A dog barks.", "Ein Hund bellt."),
        ("M\udcfcnchen", "Munich"),
        ("A \ufffd", "Ein X"),
        ("", "Etwas"),
        ("Something", "\u200b \t"),
        ("w " * 251, "w " * 251 + "x"),
        ("one two three four five", "eins zwei"),
        ("Berlin", "Berlin"),
        ("A dog barks.", "Ein Hund bellt."),
        ("A dog barks.", "Ein Hund bellte."),
        ("one two three four", "eins zwei"),
    ]
    found, kept = cleaned(tmp_path, pairs)
    assert found.dropped == {"broken": 2, "empty": 2, "long": 1, "ratio": 1, "equal": 1, "duplicate": 1}
    assert (found.read, found.kept, found.rewritten) == (11, 3, 0)
    assert kept == [pairs[0], pairs[9], pairs[10]]


def test_the_limits_of_the_rules_are_options(tmp_path: Path) -> None:
    pairs = [("one two three", "eins"), ("one", "eins"), ("one", "eins"), ("a b c d", "e f g h")]
    found, kept = cleaned(tmp_path, pairs, max_words=3, max_ratio=3.0, keep_duplicates=True)
    assert found.dropped == NONE | {"long": 1}
    assert kept == pairs[:3]


def test_duplicates_are_found_after_normalisation(tmp_path: Path) -> None:
    found, kept = cleaned(
        tmp_path, [("cafe\u0301 au  lait", "Milch\u00adkaffee"), ("caf\u00e9 au lait", "Milchkaffee\x07")], max_ratio=9
    )
    assert (found.kept, found.rewritten, found.dropped) == (1, 1, NONE | {"duplicate": 1})
    assert kept == [("café au lait", "Milchkaffee")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("plain text", "plain text"),
        ("  a\u00a0b\u2028c\x85d\te ", "a b c d e"),
        ("A\u0308pfel", "Äpfel"),
        ("ab\x00c\u200b\ufeff\ue000d\u00ad", "abcd"),
        ("می\u200cروم 👨\u200d👩", "می\u200cروم 👨\u200d👩"),
        ("ﬁne ½ “x”", "ﬁne ½ “x”"),
    ],
)
def test_tidy_normalises_characters_and_white_space(line: str, expected: str) -> None:
    """Tidy text has composed, visible characters and single spaces. Compatibility forms stay: the vocabulary folds them."""
    assert tidy(line) == expected


def test_compressed_input_gives_compressed_output_with_equal_bytes(tmp_path: Path) -> None:
    for name in ("x.en.gz", "x.de.gz"):
        (tmp_path / name).write_bytes(gzip.compress(f"{name}\n".encode()))
    _, first = clean(tmp_path / "x.en.gz", tmp_path / "x.de.gz", tmp_path / "a.b", CleanOptions())
    _, second = clean(tmp_path / "x.en.gz", tmp_path / "x.de.gz", tmp_path / "c", CleanOptions())
    assert [path.name for path in (*first, *second)] == ["a.b.en.gz", "a.b.de.gz", "c.en.gz", "c.de.gz"]
    assert gzip.decompress(first[0].read_bytes()) == b"x.en.gz\n"
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_refused_cleaning_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.en").write_text("a\nb\n")
    (tmp_path / "x.de").write_text("c\n")
    (tmp_path / "y.en").write_text("d\ne\n")
    (tmp_path / "z.de").write_text("precious\n")
    before = sorted(tmp_path.iterdir())
    for source, target, prefix, said in (
        ("x.en", "x.de", "out", r"x.en: has more lines than .*x.de, which has 1; give files that belong together"),
        ("x.en", "y.en", "out", r"have the same suffix, so both would become .*out.en; rename one"),
        ("x.en", "gone.de", "out", r"gone.de: no such file; give a text file"),
        ("y.en", "x.de", "z", r"z.de: already exists; remove it"),
        ("y.en", "x.de", "x.en/out", r"cannot be written"),
    ):
        with pytest.raises(DataError, match=said):
            clean(tmp_path / source, tmp_path / target, tmp_path / prefix, CleanOptions())
        assert sorted(tmp_path.iterdir()) == before
