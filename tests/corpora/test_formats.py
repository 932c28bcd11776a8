"""Every format of published text gives the same pairs."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from mtnat.corpora.formats import Columns, Format, Members, TranslationMemory
from mtnat.errors import DataError

PAIRS = [("A dog\u2028barks.", "Ein Hund\x85bellt."), ("One.", ""), ("Tom & <Ann>.", "Tom & <Anna>.")]
MEMBERS = Members("training/x.en", "training/x.de")
TMX = """<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en"/><body>
<tu tuid="1"><tuv xml:lang="en"><prop type="source">web</prop><seg>A dog
  barks.</seg></tuv><tuv xml:lang="DE"><seg>Ein Hund bellt.</seg></tuv></tu>
<tu><tuv xml:lang="en"><seg>Only English.</seg></tuv></tu>
<tu><tuv xml:lang="de"><seg>Tom &amp; <b>Anna</b>.</seg></tuv><tuv xml:lang="en"><seg>Tom &amp; Ann.</seg></tuv></tu>
</body></tmx>
"""


def text(side: int) -> bytes:
    return "".join(f"{pair[side]}\n" for pair in PAIRS).encode()


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_pairs_are_read_from_members_of_a_tgz_in_either_order(tmp_path: Path) -> None:
    sides = {"training/x.de": text(1), "./training/x.en": text(0), "training/y.en": b"no\n"}
    assert list(MEMBERS.pairs(tgz(tmp_path / "a.tgz", sides))) == PAIRS
    assert list(MEMBERS.pairs(tgz(tmp_path / "b.tgz", dict(reversed(sides.items()))))) == PAIRS


def test_pairs_are_read_from_members_of_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("training/x.de", text(1))
        archive.writestr("training/x.en", text(0))
    assert list(MEMBERS.pairs(tmp_path / "a.zip")) == PAIRS


def test_pairs_are_read_from_columns_without_document_separators(tmp_path: Path) -> None:
    rows = "".join(f"1.04\t{german}\t{english}\tde\ten\n" for english, german in PAIRS) + "1\t\t\n" + "1.0\tAllein\n"
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    assert list(Columns(source=2, target=1).pairs(tmp_path / "a.tsv.gz")) == [*PAIRS, ("", "Allein")]


def test_pairs_are_read_from_a_translation_memory(tmp_path: Path) -> None:
    (tmp_path / "a.tmx.gz").write_bytes(gzip.compress(TMX.encode()))
    expected = [("A dog barks.", "Ein Hund bellt."), ("Tom & Ann.", "Tom & Anna.")]
    assert list(TranslationMemory("en", "de").pairs(tmp_path / "a.tmx.gz")) == expected


def test_bytes_that_are_not_utf8_become_replacement_characters(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress("\ufeffgr\n".encode() + b"M\xfcnchen\tMunich\n"))
    assert list(Columns(0, 1).pairs(tmp_path / "a.tsv.gz")) == [("gr", ""), ("M\ufffdnchen", "Munich")]


@pytest.mark.parametrize(
    ("name", "content", "reader", "said"),
    [
        ("a.tgz", b"nonsense", MEMBERS, "cannot be unpacked"),
        ("a.zip", b"nonsense", MEMBERS, "cannot be unpacked"),
        ("a.tsv.gz", gzip.compress(text(0) * 99, mtime=0)[:-20], Columns(0, 1), "cannot be unpacked"),
        ("a.tmx.gz", gzip.compress(TMX[:400].encode(), mtime=0), TranslationMemory("en", "de"), "is not valid XML"),
    ],
)
def test_a_damaged_file_gives_one_message(tmp_path: Path, name: str, content: bytes, reader: Format, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: {said} .*fetch it again\.$"):
        list(reader.pairs(tmp_path / name))


def test_an_archive_without_the_members_gives_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not contain training/x.de"):
        list(MEMBERS.pairs(tgz(tmp_path / "a.tgz", {"training/x.en": text(0)})))
    with pytest.raises(DataError, match=r"training/x.en and training/x.de are not equally long"):
        list(MEMBERS.pairs(tgz(tmp_path / "b.tgz", {"training/x.en": text(0), "training/x.de": text(1) + b"more\n"})))
