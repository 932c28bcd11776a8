"""A corpus folder appears only when complete, has reproducible content, and is not written twice."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from range_server import serving

from mtnat.corpora import CORPORA, CatalogueEntry, Download, Part, get
from mtnat.corpora.formats import Columns, Members
from mtnat.errors import DataError

ROOT = Path(__file__).parent.parent.parent
NO_SERVER = "http://127.0.0.1:9"  # the discard port, on which no server listens


def tgz(members: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


FILES = {
    "news.tgz": tgz({"news.en": "One.\nTwo.\n", "news.de": "Eins.\nZwei.\n"}),
    "titles.tsv.gz": gzip.compress(b"Drei\tThree\nVier\tFour\n"),
}


def small_corpus(address: str) -> CatalogueEntry:
    digest = hashlib.sha256(FILES["news.tgz"]).hexdigest()
    news = Part(Download(f"{address}news.tgz", digest), Members("news.en", "news.de"))
    titles = Part(Download(f"{address}titles.tsv.gz"), Columns(source=1, target=0))
    return CatalogueEntry("small", ("en", "de"), "four pairs", train=(news, titles))


def lines(path: Path) -> Sequence[str]:
    return gzip.decompress(path.read_bytes()).decode().split("\n")


def test_parts_are_concatenated_and_the_record_states_their_origin(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with serving(FILES) as server:
        found = get(small_corpus(server.url("")), folder)
        again = get(small_corpus(server.url("")), folder)
        assert [path for path, _ in server.asked] == ["news.tgz", "titles.tsv.gz"]
    assert (found.was_there, again.was_there) == (False, True)
    assert found.files == again.files == ("train.de.gz", "train.en.gz")
    assert found.pairs == again.pairs == {"train": 4}
    assert lines(folder / "train.en.gz") == ["One.", "Two.", "Three", "Four", ""]
    assert lines(folder / "train.de.gz") == ["Eins.", "Zwei.", "Drei", "Vier", ""]
    digest = hashlib.sha256(FILES["titles.tsv.gz"]).hexdigest()
    assert found.unchecked == again.unchecked == {"titles.tsv.gz": digest}
    record = json.loads((folder / "corpus.json").read_text())
    assert record["files"]["train.en.gz"]["sha256"] == hashlib.sha256((folder / "train.en.gz").read_bytes()).hexdigest()
    assert [entry["checked"] for entry in record["downloads"].values()] == [True, False]


def test_equal_downloads_give_equal_bytes(tmp_path: Path) -> None:
    for place, name in ((tmp_path / "a", "x"), (tmp_path / "b", "y")):
        place.mkdir()
        for file, content in FILES.items():
            (place / file).write_bytes(content)
        get(small_corpus(f"{NO_SERVER}/"), place / name, brought=place)
        os.utime(place / name / "train.en.gz", (0, 0))
    for file in ("train.en.gz", "train.de.gz", "corpus.json"):
        assert (tmp_path / "a" / "x" / file).read_bytes() == (tmp_path / "b" / "y" / file).read_bytes()


def test_an_interrupted_get_leaves_only_downloads_and_the_next_get_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with (
        serving({"news.tgz": FILES["news.tgz"]}) as server,
        pytest.raises(DataError, match=r"titles.tsv.gz: cannot"),
    ):
        get(small_corpus(server.url("")), folder)
    assert not folder.exists()
    assert [path.name for path in tmp_path.rglob("*.*gz")] == ["news.tgz"]
    (tmp_path / ".small.partial").mkdir()  # left by a killed process
    with serving(FILES) as server:
        get(small_corpus(server.url("")), folder)
        assert [path for path, _ in server.asked] == ["titles.tsv.gz"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["downloads", "small"]


def test_a_damaged_archive_leaves_no_folder(tmp_path: Path) -> None:
    files = {**FILES, "titles.tsv.gz": FILES["titles.tsv.gz"][:-9]}
    with serving(files) as server, pytest.raises(DataError, match=r"titles.tsv.gz: cannot be unpacked"):
        get(small_corpus(server.url("")), tmp_path / "small")
    assert [path.name for path in tmp_path.iterdir()] == ["downloads"]


def test_a_folder_with_other_content_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "train.en.gz").write_bytes(b"precious")
    with pytest.raises(DataError, match=r"small: is not a complete small; remove it"):
        get(small_corpus(f"{NO_SERVER}/"), tmp_path / "small")
    assert (tmp_path / "small" / "train.en.gz").read_bytes() == b"precious"


def copied_corpus(address: str) -> CatalogueEntry:
    wanted = [Download(f"{address}{name}", hashlib.sha256(content).hexdigest()) for name, content in FILES.items()]
    return CatalogueEntry("copied", ("en", "de"), "two files", copied=tuple(wanted))


def test_copied_files_are_downloaded_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "news.tgz").write_bytes(FILES["news.tgz"])
    with serving(FILES) as server:
        assert not get(copied_corpus(server.url("")), tmp_path).was_there
        assert get(copied_corpus(server.url("")), tmp_path).was_there
        assert [path for path, _ in server.asked] == ["titles.tsv.gz"]
    assert (tmp_path / "titles.tsv.gz").read_bytes() == FILES["titles.tsv.gz"]


def test_copied_files_from_another_folder_are_unchanged(tmp_path: Path) -> None:
    (tmp_path / "brought").mkdir()
    for name, content in FILES.items():
        (tmp_path / "brought" / name).write_bytes(content)
    get(copied_corpus(f"{NO_SERVER}/"), tmp_path / "copied", brought=tmp_path / "brought")
    assert {name: (tmp_path / "copied" / name).read_bytes() for name in FILES} == FILES


def test_multi30k_has_the_published_digests(corpora: Path, tmp_path: Path) -> None:
    folder = corpora / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    assert get(CORPORA["multi30k"], folder).was_there
    assert len(get(CORPORA["multi30k"], tmp_path / "copy", brought=folder).files) == 8


def test_every_file_of_the_registry_has_one_name_and_every_name_one_file() -> None:
    downloads = {
        download for corpus in CORPORA.values() for download in (*corpus.copied, *(part.download for part in corpus.train))
    }
    assert len({download.name for download in downloads}) == len(downloads)
    assert all(len(download.sha256) == 64 for download in downloads if download.sha256)
    unknown = {download.name for download in downloads if not download.sha256}
    assert {part.download.name for part in CORPORA["wmt20-en-de"].train} >= unknown


NAMED_SET = """
import sys
from pathlib import Path
from mtnat.corpora import CatalogueEntry, Download, get
from mtnat.corpora.testsets import named_set_downloads, named_set_files, place_named_set

(wanted,) = named_set_downloads("wmt13", "en-de")
assert (wanted.name, wanted.md5) == ("wmt13.test.tgz", "48eca5d02f637af44e85186847141f67"), wanted
place_named_set("wmt13", {wanted: Path(sys.argv[1])})
assert named_set_files("wmt13", "en-de", name_as="wmt13")[0].read_text() == "A & B.\\nTwo.\\n"
assert named_set_downloads("wmt13", "en-de") == []
found = get(CatalogueEntry("some", ("en", "de"), "", valid="wmt13"), Path(sys.argv[2]))
assert found.pairs == {"valid": 2}, found
"""


def test_a_named_set_is_placed_in_the_folder_that_sacrebleu_reads(tmp_path: Path) -> None:
    sides = {"en": ["A & B.", "Two."], "de": ["A & B.", "Zwei."]}
    members = {
        f"test/newstest2013-src.{language}.sgm": '<srcset>\n<doc docid="1" genre="news" origlang="en">\n'
        + "".join(f'<seg id="{number}">{line}</seg>\n' for number, line in enumerate(text, 1))
        + "</doc>\n</srcset>\n"
        for language, text in sides.items()
    }
    (tmp_path / "brought.tgz").write_bytes(tgz(members))
    command = [sys.executable, "-c", NAMED_SET, str(tmp_path / "brought.tgz"), str(tmp_path / "some")]
    environment = {**os.environ, "SACREBLEU": str(tmp_path / "sets"), "https_proxy": NO_SERVER}
    subprocess.run(command, env=environment, cwd=ROOT, check=True)
    assert lines(tmp_path / "some" / "valid.de.gz") == ["A & B.", "Zwei.", ""]
