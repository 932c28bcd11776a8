"""Downloads are complete and checked, also after interruptions."""

import hashlib
from pathlib import Path

import pytest
from range_server import serving

from mtnat.corpora import Download
from mtnat.corpora.fetch import alone, fetch
from mtnat.errors import DataError

CONTENT = bytes(range(256)) * 40
NO_SERVER = "http://127.0.0.1:9"  # the discard port, on which no server listens


def download(url: str, content: bytes = CONTENT) -> Download:
    return Download(url, hashlib.sha256(content).hexdigest(), len(content))


def test_a_file_is_downloaded_once(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int | None]] = []
    with serving({"a.tgz": CONTENT}) as server:
        wanted = download(server.url("a.tgz"))
        for _ in range(2):
            found = fetch([wanted, wanted], tmp_path, listener=lambda *report: reports.append(report))
            assert found == {wanted: tmp_path / "a.tgz"}
        assert server.asked == [("a.tgz", "")]
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT
    assert ("a.tgz", len(CONTENT), len(CONTENT)) in reports
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_an_interrupted_download_is_resumed(tmp_path: Path) -> None:
    with serving({"a.tgz": CONTENT}, most_bytes=4_000) as server:
        wanted = download(server.url("a.tgz"))
        assert fetch([wanted], tmp_path)[wanted].read_bytes() == CONTENT
        assert server.asked == [("a.tgz", ""), ("a.tgz", "bytes=4000-"), ("a.tgz", "bytes=8000-")]


def test_the_download_of_an_earlier_call_is_resumed(tmp_path: Path) -> None:
    (tmp_path / "a.tgz.partial").write_bytes(CONTENT[:5_000])
    with serving({"a.tgz": CONTENT}) as server:
        wanted = download(server.url("a.tgz"))
        assert fetch([wanted], tmp_path)[wanted].read_bytes() == CONTENT
        assert server.asked == [("a.tgz", "bytes=5000-")]


@pytest.mark.parametrize("there", [len(CONTENT), len(CONTENT) + 5])
def test_a_partial_file_that_is_complete_or_too_long_gives_the_right_file(tmp_path: Path, there: int) -> None:
    """If the size is unknown, the server replies that the range is not satisfiable."""
    (tmp_path / "a.tgz.partial").write_bytes((CONTENT + b"extra")[:there])
    with serving({"a.tgz": CONTENT}) as server:
        wanted = Download(server.url("a.tgz"))
        assert fetch([wanted], tmp_path)[wanted].read_bytes() == CONTENT


def test_a_server_without_ranges_sends_the_file_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "a.tgz.partial").write_bytes(CONTENT[:5_000])
    with serving({"a.tgz": CONTENT}, knows_ranges=False) as server:
        wanted = download(server.url("a.tgz"))
        assert fetch([wanted], tmp_path)[wanted].read_bytes() == CONTENT


def test_a_download_without_progress_is_aborted(tmp_path: Path) -> None:
    with serving({"a.tgz": CONTENT}, most_bytes=4_000, knows_ranges=False) as server:
        with pytest.raises(DataError, match=r"^a.tgz: cannot be fetched \(the connection ended after 4,000 bytes\); try again"):
            fetch([download(server.url("a.tgz"))], tmp_path)
        assert len(server.asked) == 2


def test_a_wrong_download_is_not_kept(tmp_path: Path) -> None:
    with serving({"a.tgz": CONTENT[::-1], "b.tgz": CONTENT[:-1]}) as server:
        for name, said in (("a.tgz", "sha256 .* instead of "), ("b.tgz", r"10,239 bytes instead of 10,240")):
            with pytest.raises(DataError, match=rf"{name}: the download is another file \({said}.*try again"):
                fetch([download(server.url(name))], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_existing_file_is_reported_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(CONTENT[::-1])
    with pytest.raises(DataError, match=r"a\.tgz: is another file \(sha256 .*; remove it, or replace it by the right file\.$"):
        fetch([download(f"{NO_SERVER}/a.tgz")], tmp_path)
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT[::-1]


def test_sacrebleus_md5_is_checked_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(CONTENT)
    right = Download(f"{NO_SERVER}/a.tgz", md5=hashlib.md5(CONTENT).hexdigest())
    assert fetch([right], tmp_path) == {right: tmp_path / "a.tgz"}
    with pytest.raises(DataError, match="md5"):
        fetch([Download(f"{NO_SERVER}/a.tgz", md5="0" * 32)], tmp_path)


def test_files_from_another_folder_need_no_network(tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "short.tgz").write_bytes(CONTENT)
    wanted = Download(f"{NO_SERVER}/a.tgz", hashlib.sha256(CONTENT).hexdigest(), saved_as="short.tgz")
    assert fetch([wanted], tmp_path / "downloads", brought=brought) == {wanted: brought / "short.tgz"}
    assert not (tmp_path / "downloads").exists()


def test_without_a_network_one_message_names_all_missing_files(tmp_path: Path) -> None:
    (tmp_path / "b.tgz").write_bytes(CONTENT)
    wanted = [download(f"{NO_SERVER}/{name}") for name in ("a.tgz", "b.tgz", "c.zip")]
    with pytest.raises(DataError) as raised:
        fetch(wanted, tmp_path)
    assert str(raised.value) == (
        "a.tgz: cannot be fetched (Connection refused); "
        "try again, or download these files in another way and name their folder with --from: "
        f"a.tgz ({NO_SERVER}/a.tgz), c.zip ({NO_SERVER}/c.zip)."
    )


def test_a_file_missing_on_the_server_gives_one_message(tmp_path: Path) -> None:
    with serving({}) as server, pytest.raises(DataError, match=r"^a.tgz: cannot be fetched \(HTTP 404 Not Found\)"):
        fetch([Download(server.url("a.tgz"))], tmp_path)


def test_two_processes_do_not_download_into_one_folder(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(DataError, match="another process"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass
