import gzip
import os
from pathlib import Path

import pytest

from mtnat.data import DataConfig
from mtnat.data.corpus import read_lines, scan
from mtnat.data.training_text import open_corpus
from mtnat.errors import DataError

A = ("a.en", "a.de")


def config(train: tuple[str, str] = A, valid: tuple[str, str] = A, test: tuple[str, str] = A) -> DataConfig:
    return DataConfig(train=train, valid=valid, test=test)


def write(folder: Path, **texts: str) -> None:
    for name, text in texts.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8", newline="")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MTNAT_DATA", str(tmp_path))
    write(tmp_path, a_en="one\ntwo\n", a_de="eins\nzwei\n")
    return tmp_path


@pytest.mark.parametrize(
    ("pair", "languages"),
    [
        (("train.en.gz", "train.de.gz"), ("en", "de")),
        (("corpus/test.ro", "corpus/test.en"), ("ro", "en")),
        (("newstest2014.en-de.en.gz", "newstest2014.en-de.de.gz"), ("en", "de")),
        (("train.src", "train.tgt"), None),
        (("train.en.txt", "train.de.txt"), None),
        (("a.en", "b.en"), None),
        (("train.en", "train"), None),
    ],
)
def test_languages_are_read_from_file_names(pair: tuple[str, str], languages: tuple[str, str] | None) -> None:
    assert config(train=pair, valid=pair, test=pair).languages == languages
    assert config(train=("t.src", "t.tgt"), valid=("v.src", "v.tgt"), test=pair).languages == languages


def test_file_names_that_disagree_give_no_languages() -> None:
    assert config(valid=("a.de", "a.en")).languages is None


def test_the_embedded_corpus_has_languages() -> None:
    assert DataConfig(corpus="grammar-en-de").languages == ("en", "de")
    assert DataConfig(corpus="grammar-de-en").languages == ("de", "en")


def age(path: Path, seconds: float = 60) -> None:
    """Sets the modification time of a file into the past."""
    status = path.stat()
    os.utime(path, (status.st_atime, status.st_mtime - seconds))


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b"]),
        ("a\n\nb\n\n", ["a", "", "b", ""]),
        ("a\u0085b\u2028c\x0b\x0c\x1dd\re\n", ["a\u0085b\u2028c\x0b\x0c\x1dd\re"]),
        ("\ufeffa\n\ufeffb\n", ["a", "\ufeffb"]),
        ("", []),
    ],
)
def test_lines_end_at_newlines_only(tmp_path: Path, text: str, lines: list[str]) -> None:
    write(tmp_path, plain_txt=text)
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    assert list(read_lines(tmp_path / "plain.txt")) == lines
    assert list(read_lines(tmp_path / "packed.gz")) == lines


def test_a_file_whose_lines_end_in_a_carriage_return_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_bytes(b"a\rb\rc\r")
    with pytest.raises(DataError, match=r"old\.txt: a carriage return alone \(CR\) ends its lines"):
        list(read_lines(tmp_path / "old.txt"))


def test_invalid_utf8_is_reported_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes(b"gut\nsch\xf6n\n")
    with pytest.raises(DataError, match=r"latin1, line 2: is not UTF-8 \(byte 4 is 0xf6\); convert the file\.$"):
        list(read_lines(tmp_path / "latin1"))


@pytest.mark.parametrize(
    "content", [b"no gzip at all\n", gzip.compress(b"a line of text\n" * 99, mtime=0)[:-20], b"\x1f\x8b\x08\x00broken"]
)
def test_an_unreadable_gz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "text.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"text\.gz: cannot be read \(.*\); give a whole file, plain text or \.gz\.$"):
        list(read_lines(tmp_path / "text.gz"))


def test_a_digest_does_not_depend_on_compression_or_line_ends(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    write(tmp_path, plain_txt="a\nb\n", crlf_txt="a\r\nb", other_txt="a\nc\n")
    (tmp_path / "here" / "packed.gz").write_bytes(gzip.compress(b"a\nb\n"))
    same = [scan(tmp_path / name, tmp_path / "cache") for name in ("plain.txt", "crlf.txt", "here/packed.gz")]
    assert same[0] == same[1] == same[2]
    assert same[0].lines == 2
    assert scan(tmp_path / "other.txt", tmp_path / "cache").digest != same[0].digest


def test_a_scan_is_cached_until_the_file_changes(tmp_path: Path) -> None:
    path, cache = tmp_path / "text", tmp_path / "cache"
    path.write_text("old\n")
    age(path)
    old, modified = scan(path, cache), path.stat().st_mtime_ns
    path.write_text("new\n")
    new = scan(path, cache)
    assert new != old
    os.utime(path, ns=(modified, modified))  # indistinguishable from the old file without reading it
    assert scan(path, cache) == old


def test_a_damaged_cache_entry_is_ignored(tmp_path: Path) -> None:
    path, cache = tmp_path / "text", tmp_path / "cache"
    path.write_text("a\n")
    age(path)
    found = scan(path, cache)
    (note,) = (cache / "scans").iterdir()
    note.write_text('{"lines": 1')
    assert scan(path, cache) == found


def test_pairs_are_parallel_lines(folder: Path) -> None:
    corpus = open_corpus(config(), folder / "cache")
    assert corpus.problems() == []
    assert list(corpus.pairs("valid")) == [("one", "eins"), ("two", "zwei")]
    assert corpus.train_size() == 2


def test_all_problems_of_a_corpus_are_reported_at_once(folder: Path) -> None:
    write(folder, empty_de="", short_de="eins\n")
    (folder / "bad.de").write_bytes(b"\xff\n")
    bad = config(train=("a.en", "short.de"), valid=("none.en", "empty.de"), test=("a.en", "bad.de"))
    unequal, missing, empty, not_text = open_corpus(bad, folder / "cache").problems()
    assert unequal.startswith("data.train: both sides must have equally many lines; got 2 in a.en and 1 in short.de;")
    assert missing.startswith(f"data.valid: {folder}/none.en: no such file; paths are relative to the folder in $MTNAT_DATA")
    assert empty == f"data.valid: {folder}/empty.de: is empty; give a file with one sentence a line."
    assert not_text.startswith(f"data.test: {folder}/bad.de, line 1: is not UTF-8")


def test_without_mtnat_data_paths_are_relative_to_the_data_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "data").mkdir()
    write(folder / "data", b_en="x\n")
    monkeypatch.delenv("MTNAT_DATA")
    monkeypatch.chdir(folder)
    assert list(open_corpus(config(valid=("b.en", "b.en")), folder / "cache").pairs("valid")) == [("x", "x")]


def test_the_embedded_corpus_has_both_directions() -> None:
    english, german = (open_corpus(DataConfig(corpus=name), Path("unused")) for name in ("grammar-en-de", "grammar-de-en"))
    assert english.problems() == []
    forward, backward = list(english.pairs("valid")), list(german.pairs("valid"))
    assert len(forward) == 500
    assert [(target, source) for source, target in forward] == backward
    assert english.train_digest() != german.train_digest()


@pytest.mark.parametrize(("size", "seed"), [(300, 1), (200, 2)])
def test_another_embedded_corpus_has_another_digest(size: int, seed: int) -> None:
    plain = DataConfig(corpus="grammar-en-de", corpus_size=200)
    other = DataConfig(corpus="grammar-en-de", corpus_size=size, corpus_seed=seed)
    assert open_corpus(plain, Path("unused")).train_digest() != open_corpus(other, Path("unused")).train_digest()
